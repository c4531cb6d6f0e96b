//! Activations into the clamp of what computes their operand.

use super::table::table_of;
use super::{Proof, Rule};
use crate::fuse::analysis::index;
use crate::fuse::graph::Graph;
use crate::fuse::language::OpNode;
use egg::Id;
use mcunet_ir::attr::Clamp;
use mcunet_ir::define::Trait;
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::nn::binary::{CommonScale, product_multiplier};
use mcunet_ir::nn::ops as n;
use mcunet_ir::nn::requantize::{
    clamp_real, convolution_multipliers, fully_connected_multipliers, integer_limits,
};
use mcunet_ir::nn::{NnOp, clamp_mut};
use mcunet_ir::quant::F32;
use mcunet_ir::types::{Element, Scalar};

/// The rules of this family.
pub const RULES: &[Rule] = &[
    Rule {
        name: "clamp-into-producer",
        summary: "`f(op(x))` becomes `op(x)` with another clamp, and perhaps another zero point",
        condition: "on all that `op` can return, the int8 function `f` adds a constant and clamps; its result has \
                    `op`'s scale, and that constant is the distance of the zero points",
        proof: Proof::Exact(
            "`f` is compared on all numbers of the range; the zero point is added after the last rounding, right before the clamp",
        ),
        roots: |kind| kind.spec().has(Trait::Elementwise),
        apply: clamp_into_producer,
    },
    Rule {
        name: "requantize-into-producer",
        summary: "`quantize(op(x))` of int8 becomes `op(x)` with another quantization",
        condition: "`op` rescales its result: a convolution, a fully connected layer, a sum, difference or product",
        proof: Proof::Approximate(
            "results are rounded once instead of twice, which can change them by a step",
        ),
        roots: |kind| matches!(kind, NnOp::Quantize(_)),
        apply: requantize_into_producer,
    },
    Rule {
        name: "real-clamp-into-producer",
        summary: "`relu(op(x))` of floats becomes `op(x)` with another clamp",
        condition: "the rectifier is of floats",
        proof: Proof::Exact("`clamp(clamp(x, a, b), c, d)` is `clamp(x, clamp(a, c, d), clamp(b, c, d))`"),
        roots: |kind| matches!(kind, NnOp::Relu(_)),
        apply: real_clamp_into_producer,
    },
];

/// The clamp of an op that applies one last, after everything else.
fn clamp_of(kind: &NnOp) -> Option<Clamp> {
    let mut kind = kind.clone();
    clamp_mut(&mut kind).copied()
}

/// A clamp of int8 results; none if it allows all.
fn int8_clamp(low: i32, high: i32) -> Clamp {
    if (low, high) == (-128, 127) { Clamp::None } else { Clamp::Int(low, high) }
}

fn with_clamp(kind: &NnOp, clamp: Clamp) -> Option<NnOp> {
    let mut kind = kind.clone();
    *clamp_mut(&mut kind)? = clamp;
    Some(kind)
}

/// Whether an op stays so far from the ends of 32 bits before its zero point is added that another zero point can't make the
/// sum wrap.
fn moves_freely(graph: &Graph<'_>, op: &OpNode) -> bool {
    let types: Vec<_> = op.operands.iter().map(|&id| graph.ty(id)).collect();
    // A number below 2^bits times a multiplier below 2^shift stays below 2^30.
    let small = |multiplier: QuantizedMultiplier, bits: i32| multiplier.shift + bits <= 30;
    let (Some(first), Some(second)) = (types.first(), types.get(1)) else { return false };
    let channels = graph.ty(op.operands[op.operands.len() - 1]).elements();
    let three = [&**first, &**second, op.ty()];
    let all = |multipliers: Option<Vec<QuantizedMultiplier>>, bits| {
        multipliers.is_some_and(|multipliers| multipliers.iter().all(|&multiplier| small(multiplier, bits)))
    };
    match &*op.kind {
        NnOp::Conv2d(_) | NnOp::DepthwiseConv2d(_) | NnOp::TransposeConv2d(_) => {
            all(convolution_multipliers(first, second, op.ty(), channels), 31)
        }
        NnOp::FullyConnected(_) => all(fully_connected_multipliers(first, second, op.ty(), channels), 31),
        // Operands on their common scale are below 2^28, and so is half of each.
        NnOp::Add(_) => all(CommonScale::of_add(three).map(|scale| vec![scale.output]), 28),
        NnOp::Sub(_) => all(CommonScale::of_sub(three).map(|scale| vec![scale.output]), 28),
        NnOp::Mul(_) => all(product_multiplier(three).map(|multiplier| vec![multiplier]), 16),
        _ => false,
    }
}

/// Operations with a clamp that make a value. Not rectifiers: of int8 they are functions, which compose.
fn producers(graph: &Graph<'_>, id: Id) -> Vec<(NnOp, OpNode)> {
    let clamped = |kind: &NnOp| clamp_of(kind).is_some() && !matches!(kind, NnOp::Relu(_));
    graph.ops(id).into_iter().filter(|op| clamped(&op.kind)).map(|op| ((*op.kind).clone(), op)).collect()
}

/// A rectifier that makes a value; of several one that doesn't read another one.
fn first_rectifier(graph: &Graph<'_>, id: Id) -> Option<(NnOp, OpNode)> {
    let rectifiers = |id: Id| graph.ops(id).into_iter().filter(|op| matches!(&*op.kind, NnOp::Relu(_)));
    let mut found: Vec<OpNode> = rectifiers(id).collect();
    let at = found.iter().position(|op| rectifiers(op.operands[0]).next().is_none()).unwrap_or(0);
    let op = (at < found.len()).then(|| found.swap_remove(at))?;
    Some(((*op.kind).clone(), op))
}

fn clamp_into_producer(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let Some((middle, table)) = table_of(graph, root) else { return Vec::new() };
    let (Some(from), Some(to)) = (graph.ty(middle).affine(), root.ty().affine()) else { return Vec::new() };
    let distance = to.zero_point - from.zero_point;
    if from.scale != to.scale {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (kind, op) in producers(graph, middle) {
        let Some(Clamp::Int(..) | Clamp::None) = clamp_of(&kind) else { continue };
        let (low, high) = integer_limits(clamp_of(&kind).unwrap_or_default(), Scalar::I8);
        if low > high || (distance != 0 && !moves_freely(graph, &op)) {
            continue;
        }
        let (Ok(first), Ok(last)) = (i8::try_from(low), i8::try_from(high)) else { continue };
        let (least, most) = (i32::from(table[index(first)]), i32::from(table[index(last)]));
        let adds = |x: i32| (x + distance).max(least).min(most) == i32::from(table[(x + 128) as usize]);
        if least > most || !(low..=high).all(adds) {
            continue;
        }
        let clamp = int8_clamp(least, most);
        let Some(kind) = with_clamp(&kind, clamp) else { continue };
        found.extend(graph.op(kind, &op.operands, root.ty().clone()));
    }
    found
}

fn requantize_into_producer(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let Some((middle, table)) = table_of(graph, root) else { return Vec::new() };
    let mut found = Vec::new();
    for (kind, op) in producers(graph, middle) {
        let Some(Clamp::Int(..) | Clamp::None) = clamp_of(&kind) else { continue };
        // What saturates in the finer type would not in the coarser one.
        let (low, high) = integer_limits(clamp_of(&kind).unwrap_or_default(), Scalar::I8);
        let (Ok(low), Ok(high)) = (i8::try_from(low), i8::try_from(high)) else { continue };
        let clamp = int8_clamp(table[index(low)].into(), table[index(high)].into());
        // Pools refuse another quantization.
        let kind = with_clamp(&kind, clamp);
        found.extend(kind.and_then(|kind| graph.op(kind, &op.operands, root.ty().clone())));
    }
    found
}

fn real_clamp_into_producer(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Relu(n::Relu { clamp: Clamp::Real(low, high) }) = *root.kind else { return Vec::new() };
    let ordered = low.get() <= high.get();
    if root.ty().element != Element::Plain(Scalar::F32) || !ordered {
        return Vec::new();
    }
    let middle = root.operands[0];
    let mut found = Vec::new();
    for (kind, op) in producers(graph, middle).into_iter().chain(first_rectifier(graph, middle)) {
        let clamp = match (clamp_of(&kind), &kind) {
            // A rectifier has no limits but its own; other ops are limited to finite numbers.
            (Some(Clamp::Real(inner_low, inner_high)), _) if inner_low.get() <= inner_high.get() => {
                let limit = |x: F32| F32(clamp_real(x.get(), (low.get(), high.get())));
                Clamp::Real(limit(inner_low), limit(inner_high))
            }
            (Some(Clamp::None), _) => Clamp::Real(low, high),
            _ => continue,
        };
        found.extend(
            with_clamp(&kind, clamp).and_then(|kind| graph.op(kind, &op.operands, root.ty().clone())),
        );
    }
    found
}
