//! Floats between a dequantization and a quantization, made integers.

use super::table::{evaluate, variable_operand};
use super::{Proof, Rule};
use crate::fuse::graph::Graph;
use crate::fuse::language::OpNode;
use egg::Id;
use mcunet_ir::attr::Clamp;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::nn::quantize::quantize_real;
use mcunet_ir::quant::Affine;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Tensor, TensorType};

/// The rules of this family.
pub const RULES: &[Rule] = &[
    Rule {
        name: "table-of-floats",
        summary: "`quantize(f(dequantize(x)))` of an int8 `x` becomes one `nn.lookup`",
        condition: "`f` is nothing, or up to 8 operations on one float each: of one operand, or with a constant that is \
                    the same number everywhere",
        proof: Proof::Exact("the reference evaluates all of it on all 256 numbers"),
        roots: |kind| matches!(kind, NnOp::Quantize(_)),
        apply: table_of_floats,
    },
    Rule {
        name: "dequantize-after-movement",
        summary: "`move(dequantize(x))` becomes `dequantize(move(x))`",
        condition: "the operation copies elements, or takes the greatest or least; all operands have one quantization",
        proof: Proof::Exact(
            "the same floats are made of the same numbers, and their order is that of the numbers",
        ),
        roots: is_movement,
        apply: after_movement,
    },
    Rule {
        name: "integer-arithmetic",
        summary: "`quantize(op(dequantize(x), dequantize(y)))` becomes `op(x, y)` on int8",
        condition: "the operation is a sum, difference or product",
        proof: Proof::Approximate(
            "operands are rescaled in fixed point and the result is rounded once more, which can change it by a step",
        ),
        roots: |kind| matches!(kind, NnOp::Quantize(_)),
        apply: integer_arithmetic,
    },
];

/// Operations of a chain of floats at most.
const MAX_CHAIN: usize = 8;

/// Int8 values, quantized per tensor, that a float value is made from by dequantization alone.
fn dequantized(graph: &Graph<'_>, id: Id) -> Vec<Id> {
    let sources = graph.makers(id, |kind| match kind {
        NnOp::Dequantize(dequantize) => Some(dequantize),
        _ => None,
    });
    let int8 = |ty: &TensorType| ty.storage() == Scalar::I8 && ty.affine().is_some();
    sources.into_iter().map(|(_, op)| op.operands[0]).filter(|&id| int8(&graph.ty(id))).collect()
}

/// The int8 value that a float value is a function of, and the floats for all 256 numbers.
fn floats_of(graph: &Graph<'_>, id: Id, depth: usize) -> Option<(Id, Tensor)> {
    if let Some(&source) = dequantized(graph, id).first() {
        let numbers = Data::I8((i8::MIN..=i8::MAX).collect());
        let numbers = Tensor::new(graph.ty(source).with_shape([256]), numbers).ok()?;
        let kind: NnOp = n::Dequantize {}.into();
        let floats = TensorType::plain([256], Scalar::F32);
        return Some((source, kind.semantics().evaluate(&[&numbers], &[&floats]).ok()?.pop()?));
    }
    let deeper = depth.checked_sub(1)?;
    graph.ops(id).iter().find_map(|op| {
        let (input, constants) = variable_operand(graph, op)?;
        let is_float = |ty: &TensorType| ty.storage() == Scalar::F32;
        if !is_float(&graph.ty(input)) || !is_float(op.ty()) || graph.same(input, id) {
            return None;
        }
        let (source, floats) = floats_of(graph, input, deeper)?;
        Some((source, evaluate(op, &constants, &floats)?))
    })
}

fn table_of_floats(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    if root.ty().storage() != Scalar::I8 || graph.ty(root.operands[0]).storage() != Scalar::F32 {
        return Vec::new();
    }
    let Some((source, floats)) = floats_of(graph, root.operands[0], MAX_CHAIN) else { return Vec::new() };
    let results = evaluate(root, &[None, None], &floats);
    let table = results.and_then(|results| <[i8; 256]>::try_from(results.i8s().ok()?).ok());
    let lookup =
        table.and_then(|table| graph.op(n::Lookup { table: table.into() }, &[source], root.ty().clone()));
    lookup.into_iter().collect()
}

fn is_movement(kind: &NnOp) -> bool {
    matches!(
        kind,
        NnOp::Reshape(_)
            | NnOp::Transpose(_)
            | NnOp::Slice(_)
            | NnOp::Concat(_)
            | NnOp::Tile(_)
            | NnOp::DepthToSpace(_)
            | NnOp::SpaceToDepth(_)
            | NnOp::ResizeNearest(_)
            | NnOp::ReduceMax(_)
            | NnOp::ReduceMin(_)
    )
}

fn after_movement(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    // The greatest of nothing is another number for each type.
    if root.operands.iter().any(|&id| graph.ty(id).elements() == 0) {
        return Vec::new();
    }
    let sources: Option<Vec<Id>> =
        root.operands.iter().map(|&id| dequantized(graph, id).first().copied()).collect();
    let Some(sources) = sources.filter(|sources| !sources.is_empty()) else { return Vec::new() };
    let element = graph.ty(sources[0]).element.clone();
    if sources.iter().any(|&id| graph.ty(id).element != element) {
        return Vec::new();
    }
    let moved = graph.shaped((*root.kind).clone(), &sources, &element);
    moved.and_then(|value| graph.op(n::Dequantize {}, &[value], root.ty().clone())).into_iter().collect()
}

/// A clamp of floats in steps of a quantization.
fn in_steps(clamp: Clamp, affine: Affine) -> Option<Clamp> {
    match clamp {
        Clamp::None => Some(Clamp::None),
        Clamp::Real(low, high) if low.get() <= high.get() => {
            let step = |x: f32| quantize_real(x, affine, (-128, 127)) as i32;
            Some(Clamp::Int(step(low.get()), step(high.get())))
        }
        _ => None,
    }
}

fn integer_arithmetic(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let Some(affine) = root.ty().affine().filter(|_| root.ty().storage() == Scalar::I8) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for op in graph.ops(root.operands[0]) {
        let kind: Option<NnOp> = match &*op.kind {
            NnOp::Add(n::Add { clamp }) => in_steps(*clamp, affine).map(|clamp| n::Add { clamp }.into()),
            NnOp::Sub(n::Sub { clamp }) => in_steps(*clamp, affine).map(|clamp| n::Sub { clamp }.into()),
            NnOp::Mul(n::Mul { clamp }) => in_steps(*clamp, affine).map(|clamp| n::Mul { clamp }.into()),
            _ => None,
        };
        let sources: Option<Vec<Id>> =
            op.operands.iter().map(|&id| dequantized(graph, id).first().copied()).collect();
        if let (Some(kind), Some(sources)) = (kind, sources) {
            found.extend(graph.op(kind, &sources, root.ty().clone()));
        }
    }
    found
}
