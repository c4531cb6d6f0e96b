//! Runs a pipeline: checks stages, verifies after every pass, and tells an [`Observer`] what happens. It can stop after a
//! number of passes (bisection), and keep the module as it was before the pass that failed (a reproducer).
//!
//! The manager itself neither prints nor measures time: dumps, diffs, timing and files are the driver's.

use crate::pass::{Changed, ConfiguredPass, PassContext};
use crate::pipeline::Pipeline;
use mcunet_ir::verify::verify;
use mcunet_ir::{Diagnostic, Diagnostics, Module};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Is told what the manager does.
pub trait Observer {
    /// A pass is about to run.
    fn before(&mut self, _index: usize, _pass: &dyn ConfiguredPass, _module: &Module) {}
    /// A pass has run, before its result is verified.
    fn after(&mut self, _run: &PassRun<'_>, _module: &Module) {}
    /// The result of a pass was verified.
    fn verified(&mut self, _index: usize) {}
}

/// What is known of a pass that ran.
#[derive(Debug)]
pub struct PassRun<'a> {
    /// Position in the pipeline.
    pub index: usize,
    /// The pass.
    pub pass: &'a dyn ConfiguredPass,
    /// Whether it changed the module.
    pub changed: Changed,
    /// Its statistics.
    pub statistics: BTreeMap<&'static str, u64>,
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// How a pipeline runs.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Verify the module after every pass that changed it.
    pub verify_each: bool,
    /// Run only so many passes.
    pub limit: Option<usize>,
    /// Keep the module as it is before each pass, and catch panics: for a [`Reproducer`].
    pub reproduce: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { verify_each: true, limit: None, reproduce: false }
    }
}

/// What repeats a failure.
#[derive(Clone, Debug)]
pub struct Reproducer {
    /// The module as it was before the pass that failed.
    pub module: Module,
    /// The pass with its options, as a pipeline.
    pub pass: String,
}

/// Why a pipeline did not run to its end.
#[derive(Clone, Debug)]
pub struct RunFailure {
    /// The reasons.
    pub diagnostics: Diagnostics,
    /// What repeats it, if it was asked for.
    pub reproducer: Option<Reproducer>,
}

/// Runs the passes in order. With `verify_each`, the module is verified after every pass that changed it.
///
/// # Errors
/// A pass that needs another stage, a pass that fails, or a pass that leaves invalid IR behind, which is an error of the
/// pass and says so.
pub fn run(
    pipeline: &Pipeline,
    module: &mut Module,
    cx: &PassContext<'_>,
    verify_each: bool,
    observer: &mut dyn Observer,
) -> Result<(), Diagnostics> {
    let options = RunOptions { verify_each, ..RunOptions::default() };
    run_with(pipeline, module, cx, options, observer).map_err(|failure| failure.diagnostics)
}

/// [`run`] with more options.
///
/// # Errors
/// As [`run`]; with `reproduce` also a pass that panics, and each with what repeats it.
pub fn run_with(
    pipeline: &Pipeline,
    module: &mut Module,
    cx: &PassContext<'_>,
    options: RunOptions,
    observer: &mut dyn Observer,
) -> Result<(), RunFailure> {
    let limit = options.limit.unwrap_or(usize::MAX);
    for (index, pass) in pipeline.passes.iter().enumerate().take(limit) {
        let pass = pass.as_ref();
        let before = options.reproduce.then(|| module.clone());
        cx.watch.pass(index, pipeline.passes.len().min(limit), pass.head().name);
        let cx = cx.before(&pipeline.passes[index + 1..]);
        run_pass(index, pass, module, &cx, options, observer).map_err(|diagnostics| RunFailure {
            diagnostics,
            reproducer: before.map(|module| Reproducer { module, pass: pass.to_string() }),
        })?;
    }
    Ok(())
}

fn run_pass(
    index: usize,
    pass: &dyn ConfiguredPass,
    module: &mut Module,
    cx: &PassContext<'_>,
    options: RunOptions,
    observer: &mut dyn Observer,
) -> Result<(), Diagnostics> {
    let head = pass.head();
    if module.stage != head.requires {
        return Err(Diagnostic::error(format!(
            "pass '{}' expected a module of stage '{}', got '{}'",
            head.name,
            head.requires.name(),
            module.stage.name()
        ))
        .help("check the order of the pipeline; --help-passes lists every pass's stages")
        .into());
    }
    observer.before(index, pass, module);
    let changed = if options.reproduce { run_caught(pass, module, cx)? } else { pass.run(module, cx)? };
    let statistics = cx.take_statistics();
    observer.after(&PassRun { index, pass, changed, statistics }, module);
    if options.verify_each && changed == Changed::Yes {
        if let Err(mut errors) = verify(module).map(|_| ()) {
            for error in &mut errors.0 {
                error.notes.push(format!("after pass '{pass}'; this is an error of the compiler"));
            }
            return Err(errors);
        }
        observer.verified(index);
    }
    Ok(())
}

/// Runs a pass whose panic, which is always an error of the compiler, becomes a diagnostic. The half-changed module is
/// not used any more.
fn run_caught(
    pass: &dyn ConfiguredPass,
    module: &mut Module,
    cx: &PassContext<'_>,
) -> Result<Changed, Diagnostics> {
    catch_unwind(AssertUnwindSafe(|| pass.run(module, cx))).unwrap_or_else(|payload| {
        let message = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        let message = format!("pass '{pass}' panicked: {message}");
        Err(Diagnostic::error(message).note("this is an error of the compiler").into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::Pass;
    use crate::registry::Registry;
    use crate::target::Target;

    crate::declare_pass! {
        /// Fails as it is told to.
        pub Fail = "fail" {
            /// Panic rather than break the module.
            panic: bool = false,
        } requires Imported ensures Imported;
    }

    impl Pass for Fail {
        fn run(&self, module: &mut Module, _cx: &PassContext<'_>) -> Result<Changed, Diagnostics> {
            assert!(!self.panic, "as told");
            for function in &mut module.functions {
                function.outputs.clear();
            }
            Ok(Changed::Yes)
        }
    }

    const TEXT: &str = r#"module "m" stage "imported" {
  func "main" inputs ["x" : tensor<4xf32>] outputs ["y" : tensor<4xf32>] {
  ^(%x: tensor<4xf32>):
    %a = nn.abs %x : tensor<4xf32>
    %y = nn.reshape %a {shape = [4]} : tensor<4xf32>
    func.return %y
  }
}
"#;

    fn run_text(pipeline: &str, options: RunOptions) -> (Module, Result<(), RunFailure>) {
        let mut registry = Registry::builtin();
        registry.register(Fail::HEAD);
        let mut module = mcunet_ir::text::parse(TEXT, "test").unwrap_or_else(|errors| panic!("{errors:?}"));
        let pipeline =
            Pipeline::parse(pipeline, &registry).unwrap_or_else(|errors| panic!("{pipeline}: {errors:?}"));
        let target = Target::find("cortex-m4").unwrap_or_else(|| panic!("no cortex-m4"));
        let result = run_with(&pipeline, &mut module, &PassContext::new(&target), options, &mut Silent);
        (module, result)
    }

    fn ops(module: &Module) -> usize {
        module.functions[0].walk().len()
    }

    #[test]
    fn the_reproducer_holds_the_module_before_the_pass_that_failed() {
        let options = RunOptions { reproduce: true, ..RunOptions::default() };
        for (pass, message) in
            [("fail", "expected 0 outputs as declared, got 1"), ("fail{panic=true}", "panicked: as told")]
        {
            let failure = run_text(&format!("canonicalize,{pass}"), options).1.expect_err(pass);
            assert!(failure.diagnostics.0[0].message.contains(message), "{:?}", failure.diagnostics);
            let reproducer = failure.reproducer.expect(pass);
            assert_eq!(reproducer.pass, pass);
            assert_eq!(ops(&reproducer.module), 2, "canonicalize has run");
        }
    }

    #[test]
    fn nothing_is_kept_unless_asked_for() {
        let failure = run_text("fail", RunOptions::default()).1.expect_err("invalid IR");
        assert!(failure.reproducer.is_none());
    }

    #[test]
    fn bisection_stops_before_the_culprit() {
        let limited =
            |limit| run_text("canonicalize,fail", RunOptions { limit: Some(limit), ..Default::default() });
        assert!(limited(0).1.is_ok_and(|()| ops(&limited(0).0) == 3));
        assert!(limited(1).1.is_ok_and(|()| ops(&limited(1).0) == 2));
        assert!(limited(2).1.is_err());
    }
}
