//! Budgets that are not met: by how much, through what, and which options would help.

use super::alternatives::{self, Setup};
use crate::cli::{ModelArgs, PipelineArgs};
use crate::report::layers::{self, Layer};
use crate::report::{Alternative, Report};
use crate::session::Failure;
use mcunet_ir::diag::Category;
use mcunet_ir::loops::program::constant_bytes;
use mcunet_ir::{Diagnostic, Module};
use mcunet_passes::target::Target;

/// Layers that are named.
const NAMED: usize = 4;

/// Adds to a failure the options with which the arena is smaller, if it was too large.
pub fn advise(failure: Failure, setup: &Setup<'_>, model: &ModelArgs, pipeline: &PipelineArgs) -> Failure {
    let Some(budget) = setup.target.sram_bytes().filter(|_| failure.category() == Category::Budget) else {
        return failure;
    };
    let as_given = alternatives::measure(String::new(), setup, model, pipeline);
    let too_large = as_given.filter(|given| given.arena_bytes as u64 > budget);
    let smaller = too_large
        .map(|given| alternatives::below(given.arena_bytes, setup, model, pipeline))
        .unwrap_or_default();
    failure.advise(smaller.iter().map(|alternative| advice(alternative, budget)).collect())
}

fn advice(alternative: &Alternative, budget: u64) -> String {
    let Alternative { options, arena_bytes, .. } = alternative;
    match (*arena_bytes as u64).checked_sub(budget).filter(|&more| more > 0) {
        None => format!("{options} makes it {arena_bytes} bytes, which fits"),
        Some(more) => format!("{options} makes it {arena_bytes} bytes, still {more} too many"),
    }
}

/// A warning if constants fit into flash, but not with what code is estimated to take.
pub fn warn_of_code(report: &Report, target: &Target) -> Option<String> {
    let (budget, code) = (target.flash_bytes, report.estimated_code_bytes);
    let constants = report.weight_bytes as u64;
    (budget > 0 && constants + code > budget).then(|| {
        format!(
            "warning: constants of {constants} B and code of some {code} B, by an estimate that may be a quarter off, exceed the \
             flash of {budget} B\n"
        )
    })
}

/// Checks that a lowered module's constants fit into flash. `layers` are those before lowering.
pub fn check_flash(module: &Module, mut layers: Vec<Layer>, target: &Target) -> Result<(), Failure> {
    let constants: usize = module.functions.iter().map(constant_bytes).sum();
    let budget = target.flash_bytes;
    if budget == 0 || constants as u64 <= budget {
        return Ok(());
    }
    if let Some(function) = module.functions.first() {
        layers::keep_lowered(function, &mut layers);
        layers::measure(function, &mut layers);
    }
    layers.sort_by_key(|layer| std::cmp::Reverse(layer.weight_bytes));
    let mut error = Diagnostic::error(format!(
        "expected at most {budget} bytes of constants, got {constants}: {} too many",
        constants as u64 - budget
    ))
    .category(Category::Budget);
    for layer in layers.iter().filter(|layer| layer.weight_bytes > 0).take(NAMED) {
        let Layer { index, op, origin, weight_bytes, .. } = layer;
        error = error.note(format!("layer {index}, '{op}', reads {weight_bytes} of them: {origin}"));
    }
    let targets = Target::embedded();
    let larger = targets.iter().filter(|target| target.flash_bytes >= constants as u64);
    let raise = match larger.min_by_key(|target| target.flash_bytes) {
        Some(Target { name, flash_bytes, .. }) => format!(
            "raise --flash to {constants}, or choose a larger --target, such as {name} with {flash_bytes} bytes"
        ),
        None => format!("raise --flash to {constants}"),
    };
    Err(error.note("the program's code comes on top").help(raise).into())
}
