//! The verifier: which modules are valid. It reports every error, not the first.
//!
//! Rules, by group; each is one function.
//! - Structure (`structure.rs`): S1 every op has as many operands, results and regions as its row of the table; S2 their
//!   types satisfy the row's constraints; S3 a value is defined before it is used, in its own block or an enclosing one;
//!   S4 blocks that need a terminator end with it and have it nowhere else; S5 resources exist with the size their
//!   references say, and elements of less than 8 bits are in range.
//! - Types (`types.rs`): T1 tensors have at most 64 MiB; T2 quantization parameters are finite, not zero, and fit
//!   shape and storage; T3 the op's own rules hold (`infer_shapes`, `verify`); T4 loops carry values of equal types; T5 only
//!   constants have elements of less than 8 bits, and only filters are read so.
//! - Rows: P1 to P8, what kernels, buffers and cascades say about rows (`program.rs`); the constraints of `tile.cascade`
//!   (`cascade.rs`).
//! - Stages (`stage.rs`): G1 only ops of the stage's dialects occur; G2 ports match arguments and returns; G3 the plan of
//!   a planned module holds ([`memory`]).
//!
//! A group is checked only if those before it hold, since its rules rely on theirs.

mod cascade;
pub mod memory;
mod program;
mod stage;
mod structure;
mod types;
mod views;

use crate::diag::{Diagnostic, Diagnostics, Severity};
use crate::module::{Function, Module, Op};
pub use types::MAX_TENSOR_BYTES;

/// A module that satisfies every rule. Back ends take nothing else, so that they need not check again.
#[derive(Clone, Copy, Debug)]
pub struct Verified<'m>(&'m Module);

impl std::ops::Deref for Verified<'_> {
    type Target = Module;
    fn deref(&self) -> &Module {
        self.0
    }
}

/// Checks a module.
///
/// # Errors
/// Every violated rule, with the op's origin.
pub fn verify(module: &Module) -> Result<Verified<'_>, Diagnostics> {
    let mut report = Report::default();
    for function in &module.functions {
        structure::check(module, function, &mut report);
    }
    report.finish()?;
    for function in &module.functions {
        types::check(function, &mut report);
        stage::check(module, function, &mut report);
        program::check(function, &mut report);
        cascade::check(function, &mut report);
    }
    report.finish()?;
    if module.stage == crate::module::Stage::Planned {
        memory::check_plan(module)?;
    }
    Ok(Verified(module))
}

/// Errors found so far.
#[derive(Default)]
pub(crate) struct Report {
    errors: Diagnostics,
}

impl Report {
    /// Adds an error at an op: `'nn.conv2d' op expected ...`.
    pub(crate) fn at(&mut self, function: &Function, op: Op, message: impl std::fmt::Display) {
        let data = &function.ops[op];
        let message = format!("'{}' op {message}", data.kind.name());
        self.errors.push(Diagnostic::error(message).at(data.origin.clone()));
    }

    /// Adds an error of a function as a whole.
    pub(crate) fn function(&mut self, function: &Function, message: impl std::fmt::Display) {
        self.errors.push(Diagnostic::error(format!("function '{}' {message}", function.name)));
    }

    fn finish(&mut self) -> Result<(), Diagnostics> {
        let errors = std::mem::take(&mut self.errors);
        debug_assert!(errors.0.iter().all(|error| error.severity == Severity::Error));
        errors.into_result()
    }
}
