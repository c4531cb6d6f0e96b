//! Brings a float module into the form that quantizes best: multiplications and sums with constants folded into weights
//! (batch normalization), clamps into the ops before them, where they limit the range that integers have to cover.

use crate::manager::{self, Silent};
use crate::pass::PassContext;
use crate::pipeline::Pipeline;
use crate::registry::Registry;
use crate::target::{Core, Target};
use mcunet_ir::types::Scalar;
use mcunet_ir::{Diagnostic, Diagnostics, Module, Stage};

/// The passes. Only rules that save a rounding are applied: all others serve integers just as well afterwards.
const PIPELINE: &str =
    "canonicalize,fuse{rules=scale-into-weights+shift-into-bias+real-clamp-into-producer},canonicalize";

/// The module that is quantized: one function of tensors that computes in floats.
///
/// # Errors
/// Modules that are not of that kind, and those without weights.
pub fn prepare(module: &Module) -> Result<Module, Diagnostics> {
    check(module)?;
    let mut prepared = module.clone();
    let pipeline = Pipeline::parse(PIPELINE, &Registry::builtin())?;
    let target = Target::bare(Core::CortexM4);
    manager::run(&pipeline, &mut prepared, &PassContext::new(&target), true, &mut Silent)?;
    Ok(prepared)
}

fn check(module: &Module) -> Result<(), Diagnostics> {
    let mut errors = Diagnostics::default();
    if module.stage != Stage::Imported {
        let message =
            format!("expected an imported module to quantize, got one of stage '{}'", module.stage.name());
        return Err(Diagnostic::error(message).into());
    }
    let [function] = &module.functions[..] else {
        let message = format!("expected a model of one function to quantize, got {}", module.functions.len());
        return Err(Diagnostic::error(message).into());
    };
    for (name, resource) in module.resources() {
        if resource.bytes.is_none() {
            let message = format!("expected the data of '{name}', got a module without weights");
            errors.push(Diagnostic::error(message).help("print the module with --print-weights"));
        }
    }
    let floats = function.walk().into_iter().any(|op| {
        let data = &function.ops[op];
        let tensors =
            data.operands.iter().chain(&data.results).filter_map(|&value| function.ty(value).as_tensor());
        let converts = ["nn.quantize", "nn.dequantize", "func.return"].contains(&data.kind.name());
        !converts && tensors.into_iter().any(|ty| ty.storage() == Scalar::F32)
    });
    if !floats {
        errors.push(
            Diagnostic::error("expected a model that computes in floats, got one without float operations")
                .help("the model is quantized already: compile it as it is"),
        );
    }
    errors.into_result()
}
