//! Lets whoever runs a pipeline watch its searches, and end them.
//!
//! Passes have neither a clock nor a terminal. A search asks from time to time whether it is over, and then returns the
//! best that it has found: every search has a valid result at any time. Unless somebody ends them, searches are bounded by
//! what they look at, so that results are the same on every machine.

/// Watches searches.
pub trait Watch: std::fmt::Debug {
    /// A pass begins, `index` of `count`.
    fn pass(&self, _index: usize, _count: usize, _name: &str) {}

    /// The running search has done so much of its work, as far as it can tell.
    fn progress(&self, _done: usize, _of: usize) {}

    /// Whether searches end now. Asked often.
    fn is_over(&self) -> bool {
        false
    }

    /// Whether a search that could go on should do so until it is over, instead of ending after the usual effort.
    fn is_patient(&self) -> bool {
        false
    }
}

/// Watches searches beside the one that the time is meant for.
#[derive(Clone, Copy, Debug)]
pub struct Impatient<'w>(pub &'w dyn Watch);

impl Watch for Impatient<'_> {
    fn progress(&self, done: usize, of: usize) {
        self.0.progress(done, of);
    }

    fn is_over(&self) -> bool {
        self.0.is_over()
    }
}

/// Searches are left alone.
#[derive(Clone, Copy, Debug)]
pub struct Unwatched;

impl Watch for Unwatched {}
