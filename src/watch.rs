//! Watches the searches of a command: shows how far they are once that takes longer than a second, and ends them when the
//! time that they were given is over.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mcunet_passes::watch::Watch;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// What takes less is over before anybody could read of it.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// Time between two drawings.
const DRAWN_EVERY: Duration = Duration::from_millis(80);

/// Watches all searches of a command, from when it is made on.
#[derive(Debug)]
pub struct Watcher {
    started: Instant,
    limit: Option<Duration>,
    /// Whether there is a terminal to show anything on.
    terminal: bool,
    bar: ProgressBar,
    drawn: Cell<Option<Instant>>,
    ended: Cell<bool>,
}

impl Watcher {
    /// Searches may take `limit` together, all of which they use if they can; without, as long as they usually do.
    pub fn new(limit: Option<Duration>, terminal: bool) -> Self {
        let bar = ProgressBar::hidden();
        if let Ok(style) = ProgressStyle::with_template("{prefix}{bar:24} {msg} {elapsed:.dim}") {
            bar.set_style(style);
        }
        Self {
            started: Instant::now(),
            limit,
            terminal,
            bar,
            drawn: Cell::new(None),
            ended: Cell::new(false),
        }
    }

    /// What is being done besides, such as "way 2 of 8: ".
    pub fn stage(&self, text: String) {
        self.bar.set_prefix(text);
    }

    /// Whether a search was ended before it had done what it would have.
    pub fn has_ended_a_search(&self) -> bool {
        self.ended.get()
    }

    /// Prints something while nothing is shown.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Removes what is shown.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Draws from the searching thread, since the command holds the lock of standard error.
    fn show(&self) {
        let waits = match self.drawn.get() {
            None => self.started.elapsed() < SHOWN_AFTER,
            Some(drawn) => drawn.elapsed() < DRAWN_EVERY,
        };
        if !self.terminal || waits {
            return;
        }
        if self.drawn.replace(Some(Instant::now())).is_none() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.tick();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Watch for Watcher {
    fn pass(&self, index: usize, count: usize, name: &str) {
        self.bar.set_length(count as u64);
        self.bar.set_position(index as u64);
        self.bar.set_message(name.to_owned());
        self.show();
    }

    fn progress(&self, done: usize, of: usize) {
        let name = self.bar.message();
        let name = name.split(':').next().unwrap_or_default();
        self.bar.set_message(format!("{name}: {done} of {of}"));
        self.show();
    }

    fn is_over(&self) -> bool {
        self.show();
        let over = self.limit.is_some_and(|limit| self.started.elapsed() >= limit);
        self.ended.set(self.ended.get() || over);
        over
    }

    fn is_patient(&self) -> bool {
        self.limit.is_some()
    }
}
