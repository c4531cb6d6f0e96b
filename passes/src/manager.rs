//! Runs a pipeline: checks stages, verifies after every pass, and tells an [`Observer`] what happens.
//!
//! The manager itself neither prints nor measures time: dumps, diffs and timing are observers of the driver.

use crate::pass::{Changed, ConfiguredPass, PassContext};
use crate::pipeline::Pipeline;
use mcunet_ir::verify::verify;
use mcunet_ir::{Diagnostic, Diagnostics, Module};
use std::collections::BTreeMap;

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
    for (index, pass) in pipeline.passes.iter().enumerate() {
        let pass = pass.as_ref();
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
        let changed = pass.run(module, cx)?;
        let statistics = cx.take_statistics();
        observer.after(&PassRun { index, pass, changed, statistics }, module);
        if verify_each && changed == Changed::Yes {
            if let Err(mut errors) = verify(module).map(|_| ()) {
                for error in &mut errors.0 {
                    error.notes.push(format!("after pass '{pass}'; this is an error of the compiler"));
                }
                return Err(errors);
            }
            observer.verified(index);
        }
    }
    Ok(())
}
