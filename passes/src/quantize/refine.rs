//! Layer after layer, in the order in which they run: learned rounding and bias correction against the float layers.
//!
//! The float module and the integer module are evaluated side by side on the samples. Before a layer runs on integers, its
//! weights are chosen for the inputs that it will get, and its bias is shifted by the mean error that is left; later layers then
//! see what the corrected layer makes. Source of the correction: Nagel et al. 2019, arXiv:1906.04721, section 4.2, in its
//! empirical form (appendix D), per output channel.

use super::batch::Batch;
use super::fit::Fit;
use super::form::{Form, form, unclamped};
use super::gram::{self, Split};
use super::measure::reals;
use super::rewrite::{Choice, Plan, constant, rewrite};
use super::scheme::Bits;
use super::weights::{self, Parameters};
use mcunet_ir::module::OpKind;
use mcunet_ir::nn::NnOp;
use mcunet_ir::{Diagnostics, Module, Op, Tensor};
use std::collections::BTreeMap;

/// What to refine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refinement {
    /// Learn which way weights are rounded.
    pub rounding: bool,
    /// Correct biases.
    pub bias: bool,
}

/// What layers would be with other bits, in the order in which those were asked for.
pub type Alternatives = BTreeMap<Op, Vec<Choice>>;

/// Refines the choices of a plan's layers on samples. Bits of weights stay; roundings and shifts are made anew. Says as well what each
/// layer would be with `others` for bits, all before it being as in the plan.
///
/// # Errors
/// An op that fails.
pub fn refine(
    module: &Module,
    plan: &mut Plan,
    samples: &[Vec<Tensor>],
    refinement: Refinement,
    others: &[Bits],
) -> Result<Alternatives, Diagnostics> {
    for choice in plan.choices.values_mut() {
        *choice = Choice { bits: choice.bits, ..Choice::default() };
    }
    let mut alternatives = Alternatives::new();
    if refinement == Refinement::default() {
        return Ok(alternatives);
    }
    let rewritten = rewrite(module, plan);
    let (old, new) = (&module.functions[0], &rewritten.module.functions[0]);
    let mut exact = Batch::new(module, samples);
    let mut integers = Batch::new(&rewritten.module, samples);
    for (op, layer) in old.walk().into_iter().filter_map(|op| Some((op, *rewritten.layers.get(&op)?))) {
        exact.advance_to(op)?;
        integers.advance_to(layer)?;
        let OpKind::Nn(kind) = &old.ops[op].kind else { continue };
        let Form::Weighted { axis } = form(kind, plan.activations) else { continue };
        let [input, filter, bias] = old.ops[op].operands[..] else { continue };
        let (Some(filter), Some(bias)) = (constant(module, old, filter), constant(module, old, bias)) else {
            continue;
        };
        let parameters = Parameters { filter: &filter, bias: bias.f32s().unwrap_or_default(), axis };
        let operands = &new.ops[layer].operands;
        let Some(wanted) = wanted(kind, &filter, &exact.tensors(input), old, op) else { continue };
        let got = integers.tensors(operands[0]);
        let (Some(splits), Some(from)) =
            (moments(kind, parameters, &got, &wanted, refinement), plan.affines.of(input))
        else {
            continue;
        };
        let per_tensor = plan.linear_per_tensor && matches!(kind, NnOp::FullyConnected(_));
        let fit = Fit { splits, parameters, input: from, per_tensor };
        let choice = fit.choose(plan.choice_for(op, kind).bits, refinement);
        alternatives.insert(op, others.iter().map(|&bits| fit.choose(bits, refinement)).collect());
        if let Some(stored) = weights::chosen(parameters, &choice, per_tensor, (from, plan.activations)) {
            integers.replace(operands[1], &stored.filter);
            integers.replace(operands[2], &stored.bias);
            plan.choices.insert(op, choice);
        }
    }
    Ok(alternatives)
}

/// Moments of a layer for its inputs as they are and the results that are wanted of it.
fn moments(
    kind: &NnOp,
    parameters: Parameters<'_>,
    inputs: &[&Tensor],
    wanted: &[Tensor],
    refinement: Refinement,
) -> Option<Vec<Split>> {
    let shape = &inputs.first()?.ty.shape;
    let seen: Vec<Vec<f32>> = inputs.iter().copied().map(reals).collect();
    gram::moments(kind, &parameters.filter.ty.shape, &seen, shape, wanted, refinement.rounding)
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
