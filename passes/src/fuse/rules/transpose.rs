//! Transposes, moved from the operands of operations to their results, where they meet others and cancel, or vanish in
//! reductions.
//!
//! All rules move in this one direction, so that moving ends.

use super::{Proof, Rule};
use crate::canonicalize::identity::moves_no_data;
use crate::fuse::graph::Graph;
use crate::fuse::language::OpNode;
use egg::Id;
use mcunet_ir::define::Trait;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::{Tensor, TensorType};

/// The rules of this family.
pub const RULES: &[Rule] = &[
    Rule {
        name: "compose-transposes",
        summary: "`transpose(transpose(x))` becomes one transpose, or `x`",
        condition: "none",
        proof: Proof::Exact("both move each element to the same place"),
        roots: |kind| matches!(kind, NnOp::Transpose(_)),
        apply: compose,
    },
    Rule {
        name: "transpose-as-reshape",
        summary: "`transpose(x)` becomes `reshape(x)`, or `x`",
        condition: "all dimensions larger than 1 keep their order",
        proof: Proof::Exact("elements keep their order"),
        roots: |kind| matches!(kind, NnOp::Transpose(_)),
        apply: as_reshape,
    },
    Rule {
        name: "transpose-after-elementwise",
        summary: "`f(transpose(x), ...)` becomes `transpose(f(x, ...))`",
        condition: "all operands are transposed alike, or constants, which are transposed back",
        proof: Proof::Exact("the same function of the same elements"),
        roots: |kind| kind.spec().has(Trait::Elementwise),
        apply: after_elementwise,
    },
    Rule {
        name: "transpose-after-window",
        summary: "a convolution or pool of an image with height and width exchanged becomes one with an exchanged filter, \
                  exchanged afterwards",
        condition: "the operation is int8, or a max pool; the filter is constant",
        proof: Proof::Exact("integer sums wrap, so that their order makes no difference"),
        roots: |kind| {
            matches!(
                kind,
                NnOp::Conv2d(_) | NnOp::DepthwiseConv2d(_) | NnOp::AvgPool2d(_) | NnOp::MaxPool2d(_)
            )
        },
        apply: after_window,
    },
    Rule {
        name: "transpose-after-reduction",
        summary: "`reduce(transpose(x))` becomes `transpose(reduce(x))`",
        condition: "sums and means are int8",
        proof: Proof::Exact("integer sums wrap, so that their order makes no difference"),
        roots: |kind| matches!(kind, NnOp::Mean(_) | NnOp::Sum(_) | NnOp::ReduceMax(_) | NnOp::ReduceMin(_)),
        apply: after_reduction,
    },
    Rule {
        name: "transpose-after-concat",
        summary: "`concat(transpose(x), transpose(y))` becomes `transpose(concat(x, y))`",
        condition: "all operands are transposed alike",
        proof: Proof::Exact("both move each element to the same place"),
        roots: |kind| matches!(kind, NnOp::Concat(_)),
        apply: after_concat,
    },
];

/// Ways in which a value is a transposed other one: the permutation and the other one.
fn transposed(graph: &Graph<'_>, id: Id) -> Vec<(Vec<usize>, Id)> {
    let transposes = graph.makers(id, |kind| match kind {
        NnOp::Transpose(transpose) => Some(&transpose.permutation),
        _ => None,
    });
    transposes.into_iter().map(|(permutation, op)| (permutation, op.operands[0])).collect()
}

fn inverse(permutation: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; permutation.len()];
    for (to, &from) in permutation.iter().enumerate() {
        inverse[from] = to;
    }
    inverse
}

fn permuted<T: Copy>(items: &[T], permutation: &[usize]) -> Vec<T> {
    permutation.iter().map(|&i| items[i]).collect()
}

/// `value` transposed to a type.
fn transpose(graph: &mut Graph<'_>, permutation: Vec<usize>, value: Id, ty: &TensorType) -> Option<Id> {
    let identity = permutation.iter().enumerate().all(|(to, &from)| to == from);
    if identity && *graph.ty(value) == *ty {
        return Some(value);
    }
    graph.op(n::Transpose { permutation }, &[value], ty.clone())
}

/// A constant, transposed.
fn transposed_constant(graph: &mut Graph<'_>, permutation: &[usize], id: Id) -> Option<Id> {
    let tensor = graph.tensor(id)?;
    let kind: NnOp = n::Transpose { permutation: permutation.to_vec() }.into();
    let ty = tensor.ty.with_shape(permuted(&tensor.ty.shape, permutation));
    // A quantization that differs along an axis would have to move with it.
    tensor.ty.quant().is_none_or(|quant| quant.affine().is_some()).then_some(())?;
    let moved = kind.semantics().evaluate(&[&tensor], &[&ty]).ok()?.pop()?;
    Some(graph.constant("transposed", &moved))
}

fn compose(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Transpose(outer) = &*root.kind else { return Vec::new() };
    let mut found = Vec::new();
    for (inner, input) in transposed(graph, root.operands[0]) {
        let both = permuted(&inner, &outer.permutation);
        found.extend(transpose(graph, both, input, root.ty()));
    }
    found
}

fn as_reshape(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Transpose(op) = &*root.kind else { return Vec::new() };
    let input = root.operands[0];
    let (from, to) = (graph.ty(input), root.ty());
    if !moves_no_data(op, &from) {
        return Vec::new();
    }
    if *from == *to {
        return vec![input];
    }
    let shape = to.shape.0.clone();
    graph.op(n::Reshape { shape }, &[input], to.clone()).into_iter().collect()
}

fn after_elementwise(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let rank = root.ty().shape.rank();
    let mut found = Vec::new();
    for (permutation, _) in root.operands.iter().flat_map(|&id| transposed(graph, id)).collect::<Vec<_>>() {
        if permutation.len() != rank {
            continue;
        }
        let back = inverse(&permutation);
        let operands: Option<Vec<Id>> =
            root.operands.iter().map(|&id| untransposed(graph, &permutation, &back, id)).collect();
        let Some(operands) = operands else { continue };
        let ty = root.ty().with_shape(permuted(&root.ty().shape, &back));
        let moved = graph.op((*root.kind).clone(), &operands, ty);
        found.extend(moved.and_then(|value| transpose(graph, permutation, value, root.ty())));
    }
    found
}

/// What `id` is transposed from: an operand that is made so, a constant, or what is broadcast anyway.
fn untransposed(graph: &mut Graph<'_>, permutation: &[usize], back: &[usize], id: Id) -> Option<Id> {
    let source = transposed(graph, id).into_iter().find(|(other, _)| other == permutation);
    if let Some((_, source)) = source {
        return Some(source);
    }
    let ty = graph.ty(id);
    if ty.elements() == 1 {
        return Some(id);
    }
    if ty.shape.rank() != permutation.len() {
        return None;
    }
    transposed_constant(graph, back, id)
}

/// Height and width exchanged.
const EXCHANGE: [usize; 4] = [0, 2, 1, 3];

fn after_window(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let exchanged = transposed(graph, root.operands[0]);
    let Some((_, input)) = exchanged.into_iter().find(|(permutation, _)| *permutation == EXCHANGE) else {
        return Vec::new();
    };
    exchanged_window(graph, root, input).into_iter().collect()
}

fn exchanged_window(graph: &mut Graph<'_>, root: &OpNode, input: Id) -> Option<Id> {
    let float = root.ty().storage().is_float();
    let two = |[y, x]: [u32; 2]| [x, y];
    let four = |[top, bottom, left, right]: [u32; 4]| [left, right, top, bottom];
    let mut kind = (*root.kind).clone();
    match &mut kind {
        NnOp::Conv2d(n::Conv2d { stride, pad, dilation, .. })
        | NnOp::DepthwiseConv2d(n::DepthwiseConv2d { stride, pad, dilation, .. })
            if !float =>
        {
            (*stride, *dilation, *pad) = (two(*stride), two(*dilation), four(*pad));
        }
        NnOp::AvgPool2d(n::AvgPool2d { kernel, stride, pad, .. }) if !float => {
            (*kernel, *stride, *pad) = (two(*kernel), two(*stride), four(*pad));
        }
        NnOp::MaxPool2d(n::MaxPool2d { kernel, stride, pad, .. }) => {
            (*kernel, *stride, *pad) = (two(*kernel), two(*stride), four(*pad));
        }
        _ => return None,
    }
    let mut operands = root.operands.clone();
    operands[0] = input;
    if let Some(filter) = operands.get(1).copied() {
        operands[1] = exchanged_filter(graph, filter)?;
    }
    let ty = root.ty().with_shape(permuted(&root.ty().shape, &EXCHANGE));
    let value = graph.op(kind, &operands, ty)?;
    transpose(graph, EXCHANGE.to_vec(), value, root.ty())
}

/// OHWI to OWHI, or 1HWC to 1WHC; the axis of the quantization is another one in both.
fn exchanged_filter(graph: &mut Graph<'_>, id: Id) -> Option<Id> {
    let filter = graph.tensor(id)?;
    let ty = filter.ty.with_shape(permuted(&filter.ty.shape, &EXCHANGE));
    let [outputs, height, width, inputs] = filter.ty.shape.nhwc()?;
    let from = |o, x, y| ((o * height + y) * width + x) * inputs;
    let rows = (0..outputs).flat_map(|o| (0..width).flat_map(move |x| (0..height).map(move |y| (o, x, y))));
    let order = rows.flat_map(|(o, x, y)| from(o, x, y)..from(o, x, y) + inputs);
    let tensor = Tensor::new(ty, filter.data.pick(order)).ok()?;
    Some(graph.constant("exchanged_filter", &tensor))
}

fn after_reduction(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let sums = matches!(&*root.kind, NnOp::Mean(_) | NnOp::Sum(_));
    if sums && root.ty().storage().is_float() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (permutation, input) in transposed(graph, root.operands[0]) {
        let mut kind = (*root.kind).clone();
        let (NnOp::Mean(n::Mean { axes, keep_dims })
        | NnOp::Sum(n::Sum { axes, keep_dims })
        | NnOp::ReduceMax(n::ReduceMax { axes, keep_dims })
        | NnOp::ReduceMin(n::ReduceMin { axes, keep_dims })) = &mut kind
        else {
            continue;
        };
        let mut sources = permuted(&permutation, axes);
        // What is left of the permutation, in numbers of the dimensions that are left.
        let left: Vec<usize> = match *keep_dims {
            true => permutation.clone(),
            false => permutation.iter().copied().filter(|from| !sources.contains(from)).collect(),
        };
        let rank = |from: usize| left.iter().filter(|&&other| other < from).count();
        let rest: Vec<usize> = left.iter().map(|&from| rank(from)).collect();
        sources.sort_unstable();
        *axes = sources;
        let ty = root.ty().with_shape(permuted(&root.ty().shape, &inverse(&rest)));
        let reduced = graph.op(kind, &[input], ty);
        found.extend(reduced.and_then(|value| transpose(graph, rest, value, root.ty())));
    }
    found
}

fn after_concat(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Concat(concat) = &*root.kind else { return Vec::new() };
    let mut found = Vec::new();
    for (permutation, _) in root.operands.first().map(|&id| transposed(graph, id)).unwrap_or_default() {
        let source = |&id: &Id| {
            let mut sources = transposed(graph, id).into_iter();
            sources.find(|(other, _)| *other == permutation).map(|(_, source)| source)
        };
        let Some(sources) = root.operands.iter().map(source).collect::<Option<Vec<Id>>>() else { continue };
        let axis = permutation[concat.axis];
        let ty = root.ty().with_shape(permuted(&root.ty().shape, &inverse(&permutation)));
        let joined = graph.op(n::Concat { axis }, &sources, ty);
        found.extend(joined.and_then(|value| transpose(graph, permutation, value, root.ty())));
    }
    found
}
