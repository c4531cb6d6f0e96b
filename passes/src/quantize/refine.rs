//! Layer after layer, in the order in which they run: learned rounding and bias correction against the float layers.
//!
//! The float module and the integer module are evaluated side by side on the samples. Before a layer runs on integers, its
//! weights are chosen for the inputs that it will get, and its bias is shifted by the mean error that is left; later layers then
//! see what the corrected layer makes. Source of the correction: Nagel et al. 2019, arXiv:1906.04721, section 4.2, in its
//! empirical form (appendix D), per output channel.

use super::batch::Batch;
use super::form::{Form, form, unclamped};
use super::gram::{self, Moments};
use super::measure::reals;
use super::rewrite::{Plan, constant, rewrite};
use super::rounding;
use super::weights::{self, Parameters};
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::{Diagnostics, Module, Op, Tensor};

/// What to refine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refinement {
    /// Learn which way weights are rounded.
    pub rounding: bool,
    /// Correct biases.
    pub bias: bool,
}

/// Refines the choices of a plan's layers on samples, or of one layer alone. Bits of weights stay; roundings and shifts are made
/// anew.
///
/// # Errors
/// An op that fails.
pub fn refine(
    module: &Module,
    plan: &mut Plan,
    samples: &[Vec<Tensor>],
    refinement: Refinement,
    only: Option<Op>,
) -> Result<(), Diagnostics> {
    let concerned = |op: Op| only.is_none_or(|only| only == op);
    for (_, choice) in plan.choices.iter_mut().filter(|(op, _)| concerned(**op)) {
        choice.steps = None;
        choice.shift.clear();
    }
    if refinement == Refinement::default() {
        return Ok(());
    }
    let rewritten = rewrite(module, plan);
    let (old, new) = (&module.functions[0], &rewritten.module.functions[0]);
    let mut exact = Batch::new(module, samples);
    let mut integers = Batch::new(&rewritten.module, samples);
    for (op, layer) in old.walk().into_iter().filter_map(|op| Some((op, *rewritten.layers.get(&op)?))) {
        if !concerned(op) {
            continue;
        }
        exact.advance_to(op)?;
        integers.advance_to(layer)?;
        let OpKind::Nn(kind) = &old.ops[op].kind else { continue };
        let Form::Weighted { axis } = form(kind, plan.activations) else { continue };
        let [input, filter_value, bias_value] = old.ops[op].operands[..] else { continue };
        let (Some(filter), Some(bias)) =
            (constant(module, old, filter_value), constant(module, old, bias_value))
        else {
            continue;
        };
        let operands = &new.ops[layer].operands;
        let seen: Vec<Vec<f32>> = integers.tensors(operands[0]).into_iter().map(reals).collect();
        let wanted = wanted(kind, &filter, &exact.tensors(input), old, op);
        let shape = integers.tensors(operands[0]).first().map(|tensor| tensor.ty.shape.clone());
        let (Some(wanted), Some(shape)) = (wanted, shape) else { continue };
        let moments = gram::moments(kind, &filter.ty.shape, &seen, &shape, &wanted, refinement.rounding);
        let Some(moments) = moments else { continue };
        let bias = bias.f32s().unwrap_or_default();
        let parameters = Parameters { filter: &filter, bias, axis };
        let Some(from) = plan.affines.of(input) else { continue };
        let per_tensor = plan.linear_per_tensor && matches!(kind, NnOp::FullyConnected(_));
        let mut choice = plan.choice_for(op, kind);
        let scales = weights::scales(parameters, from, choice.bits, per_tensor);
        let mut steps = weights::nearest(parameters, &scales, choice.bits);
        if refinement.rounding {
            learn(&moments, parameters, &scales, choice.bits, refinement.bias, &mut steps);
            choice.steps = Some(steps.clone());
        }
        if refinement.bias {
            choice.shift = shifts(&moments, parameters, &scales, &steps);
        }
        let shifted: Vec<f32> =
            bias.iter().enumerate().map(|(o, bias)| bias + choice.shift.get(o).unwrap_or(&0.0)).collect();
        let parameters = Parameters { bias: &shifted, ..parameters };
        let stored =
            weights::stored(parameters, &scales, &steps, choice.bits, per_tensor, (from, plan.activations));
        if let Some(stored) = stored {
            integers.replace(operands[1], &stored.filter);
            integers.replace(operands[2], &stored.bias);
            plan.choices.insert(op, choice);
        }
    }
    Ok(())
}

/// What the float layer makes of its inputs, without bias and clamp.
fn wanted(
    kind: &NnOp,
    filter: &Tensor,
    inputs: &[&Tensor],
    function: &mcunet_ir::Function,
    op: Op,
) -> Option<Vec<Tensor>> {
    let result = function.ty(function.ops[op].results[0]).as_tensor()?;
    let zeros = Tensor::zeros(function.ty(function.ops[op].operands[2]).as_tensor()?.clone());
    let kind = unclamped(kind);
    let evaluate = |input: &&Tensor| {
        let results = kind.semantics().evaluate(&[input, filter, &zeros], &[result]);
        results.ok()?.into_iter().next()
    };
    inputs.iter().map(evaluate).collect()
}

/// Positions of an output channel's weights in the filter.
fn places(parameters: Parameters<'_>, output: usize) -> Vec<usize> {
    let channel = weights::channels(&parameters.filter.ty, parameters.axis);
    (0..parameters.filter.ty.elements()).filter(|&at| channel(at) == output).collect()
}

fn learn(
    moments: &[Moments],
    parameters: Parameters<'_>,
    scales: &[f32],
    bits: super::scheme::Bits,
    centered: bool,
    steps: &mut [i64],
) {
    let weights = parameters.filter.f32s().unwrap_or_default();
    for moments in moments {
        for (position, &output) in moments.outputs.iter().enumerate() {
            let places = places(parameters, output);
            let own: Vec<f32> = places.iter().map(|&at| weights[at]).collect();
            let learned = rounding::learn(moments, position, &own, scales[output], bits, centered);
            places.iter().zip(learned).for_each(|(&at, step)| steps[at] = step);
        }
    }
}

/// The mean error of every output channel, which its bias takes away.
fn shifts(moments: &[Moments], parameters: Parameters<'_>, scales: &[f32], steps: &[i64]) -> Vec<f32> {
    let mut shifts = vec![0.0; scales.len()];
    for moments in moments {
        for (position, &output) in moments.outputs.iter().enumerate() {
            let places = places(parameters, output);
            let weights = places.iter().map(|&at| f64::from(scales[output]) * steps[at] as f64);
            let made: f64 = weights.zip(&moments.inputs).map(|(w, x)| w * x).sum();
            shifts[output] = ((moments.wanted[position] - made) / moments.count.max(1.0)) as f32;
        }
    }
    shifts
}
