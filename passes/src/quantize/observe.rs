//! Runs the float module over the calibration samples and watches every value.

use super::histogram::Histogram;
use mcunet_ir::interp::{ExecError, evaluate_observed};
use mcunet_ir::types::Scalar;
use mcunet_ir::{Diagnostic, Diagnostics, Function, Module, Tensor, Value};
use std::collections::HashMap;

/// What a module's float values were over all samples.
#[derive(Clone, Debug, Default)]
pub struct Observations(HashMap<Value, Histogram>);

impl Observations {
    /// The values of a float tensor that was evaluated.
    pub fn of(&self, value: Value) -> Option<&Histogram> {
        self.0.get(&value)
    }
}

/// Checks calibration samples against a module's inputs: all that is wrong with them at once, by sample and input.
///
/// # Errors
/// No samples, other numbers of inputs, other shapes or types, numbers that are not finite.
pub fn check_samples(function: &Function, samples: &[Vec<Tensor>]) -> Result<(), Diagnostics> {
    if samples.is_empty() {
        let error = Diagnostic::error("expected at least one calibration sample, got none")
            .help("ranges of activations are measured: give some tens of typical inputs");
        return Err(error.into());
    }
    let mut errors = Diagnostics::default();
    for (number, sample) in samples.iter().enumerate() {
        if sample.len() != function.inputs.len() {
            errors.push(Diagnostic::error(format!(
                "calibration sample {number}: expected {} inputs, got {}",
                function.inputs.len(),
                sample.len()
            )));
            continue;
        }
        for (port, tensor) in function.inputs.iter().zip(sample) {
            let place = format!("calibration sample {number}, input '{}'", port.name);
            let Some(ty) = port.ty.as_tensor() else { continue };
            if (&ty.shape, ty.storage()) != (&tensor.ty.shape, tensor.ty.storage()) {
                errors.push(Diagnostic::error(format!(
                    "{place}: expected {} of {}, got {} of {}",
                    ty.shape,
                    ty.storage().name(),
                    tensor.ty.shape,
                    tensor.ty.storage().name()
                )));
                continue;
            }
            let infinite = tensor
                .f32s()
                .ok()
                .and_then(|items| items.iter().copied().enumerate().find(|(_, item)| !item.is_finite()));
            if let Some((at, item)) = infinite {
                errors.push(
                    Diagnostic::error(format!(
                        "{place}: expected finite numbers, got {item} at element {at}"
                    ))
                    .help("leave the sample out, or mend how it is made"),
                );
            }
        }
    }
    errors.into_result()
}

/// Evaluates all samples and gathers what every float value was.
///
/// # Errors
/// An op that fails, or makes numbers that are not finite: such a range cannot be quantized.
pub fn observe(
    module: &Module,
    function: &Function,
    samples: &[Vec<Tensor>],
) -> Result<Observations, Diagnostics> {
    let mut seen = Observations::default();
    let mut infinite: Option<Diagnostic> = None;
    for (number, sample) in samples.iter().enumerate() {
        for (&value, tensor) in function.blocks[function.body].args.iter().zip(sample) {
            seen.add(value, tensor);
        }
        let result = evaluate_observed(module, function, sample, &mut |op, values| {
            let data = &function.ops[op];
            for value in &data.results {
                let Some(tensor) = values.get(value) else { continue };
                if !seen.add(*value, tensor) && infinite.is_none() {
                    infinite = Some(
                        Diagnostic::error(format!(
                            "'{}' op makes numbers that are not finite of calibration sample {number}",
                            data.kind.name()
                        ))
                        .at(data.origin.clone())
                        .help(
                            "such a result has no range to quantize: leave the sample out, or mend the model",
                        ),
                    );
                }
            }
        });
        result.map_err(failed)?;
        if let Some(error) = infinite {
            return Err(error.into());
        }
    }
    Ok(seen)
}

impl Observations {
    /// Adds a tensor; false if not all its numbers are finite.
    fn add(&mut self, value: Value, tensor: &Tensor) -> bool {
        if tensor.ty.storage() != Scalar::F32 {
            return true;
        }
        let items = tensor.f32s().unwrap_or_default();
        // Padding with the least number for a maximum is no value that anything else reads.
        let finite: Vec<f32> = items.iter().copied().filter(|x| x.is_finite()).collect();
        let ok = items.iter().all(|x| x.is_finite() || *x == f32::NEG_INFINITY);
        self.0.entry(value).or_default().add(&finite);
        ok
    }
}

/// An evaluation that failed, as a message.
pub fn failed(error: ExecError) -> Diagnostics {
    Diagnostic::error(error.to_string()).into()
}
