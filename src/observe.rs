//! Observers of the pass manager: dumps, diffs, timing, statistics, and the layers for the report.

use crate::cli::OptArgs;
use mcunet_ir::Module;
use mcunet_ir::text::{PrintOptions, print};
use mcunet_passes::manager::{Observer, PassRun};
use mcunet_passes::pass::{Changed, ConfiguredPass};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// What `mcunetc opt` wants to see; gathers text for standard error.
pub struct Dumper<'a> {
    args: &'a OptArgs,
    options: PrintOptions,
    started: Instant,
    before: String,
    timings: Vec<(String, Duration)>,
    /// The text.
    pub text: String,
}

impl<'a> Dumper<'a> {
    /// A dumper that prints modules with the given options.
    pub fn new(args: &'a OptArgs, options: PrintOptions) -> Self {
        Self {
            args,
            options,
            started: Instant::now(),
            before: String::new(),
            timings: Vec::new(),
            text: String::new(),
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn dump(&mut self, when: &str, pass: &str, module: &Module) {
        let text = print(module, &self.options);
        self.line(format_args!("// ----- IR {when} {pass} -----\n{text}"));
    }

    /// Adds the table of timings, if it is wanted.
    pub fn finish(&mut self) {
        if !self.args.timing {
            return;
        }
        let total: Duration = self.timings.iter().map(|(_, time)| *time).sum();
        self.line(format_args!("pass timing, total {:.3} ms", total.as_secs_f64() * 1e3));
        for (pass, time) in std::mem::take(&mut self.timings) {
            let share = 100.0 * time.as_secs_f64() / total.as_secs_f64().max(1e-9);
            self.line(format_args!("  {:10.3} ms  {share:5.1} %  {pass}", time.as_secs_f64() * 1e3));
        }
    }
}

impl Observer for Dumper<'_> {
    fn before(&mut self, _index: usize, pass: &dyn ConfiguredPass, module: &Module) {
        let name = pass.head().name;
        if self.args.print_ir_before_all || self.args.print_ir_before.iter().any(|wanted| wanted == name) {
            self.dump("before", name, module);
        }
        if self.args.diff {
            self.before = print(module, &self.options);
        }
        self.started = Instant::now();
    }

    fn after(&mut self, run: &PassRun<'_>, module: &Module) {
        self.timings.push((run.pass.to_string(), self.started.elapsed()));
        let name = run.pass.head().name;
        if self.args.stats {
            let changed = if run.changed == Changed::Yes { "changed the module" } else { "changed nothing" };
            self.line(format_args!("{}: {changed}", run.pass));
            for (statistic, count) in &run.statistics {
                self.line(format_args!("  {count:>10}  {statistic}"));
            }
        }
        if self.args.diff {
            let now = print(module, &self.options);
            let diff = similar::TextDiff::from_lines(&self.before, &now);
            let title = (format!("before {name}"), format!("after {name}"));
            let unified = diff.unified_diff().context_radius(2).header(&title.0, &title.1).to_string();
            self.text.push_str(&unified);
        }
        if self.args.print_ir_after_all || self.args.print_ir_after.iter().any(|wanted| wanted == name) {
            self.dump("after", name, module);
        }
    }
}
