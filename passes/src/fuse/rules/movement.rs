//! Reshapes, slices, concatenations and paddings that undo or contain one another.

use super::{Proof, Rule};
use crate::canonicalize::identity::is_identity;
use crate::fuse::graph::Graph;
use crate::fuse::language::OpNode;
use egg::Id;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;

/// The rules of this family.
pub const RULES: &[Rule] = &[
    Rule {
        name: "drop-identity",
        summary: "`op(x)` becomes `x`",
        condition: "the operation moves nothing: a whole slice, a concatenation of one, a padding by nothing, ...",
        proof: Proof::Exact("every element stays where it is"),
        roots: |_| true,
        apply: drop_identity,
    },
    Rule {
        name: "compose-reshapes",
        summary: "`reshape(reshape(x))` becomes one reshape, or `x`",
        condition: "none",
        proof: Proof::Exact("elements keep their order"),
        roots: |kind| matches!(kind, NnOp::Reshape(_)),
        apply: compose_reshapes,
    },
    Rule {
        name: "reshape-of-reduction",
        summary: "`reshape(reduce(x))` that puts dimensions of 1 back becomes `reduce(x)` that keeps them",
        condition: "none",
        proof: Proof::Exact("the same elements in the same order"),
        roots: |kind| matches!(kind, NnOp::Reshape(_)),
        apply: reshape_of_reduction,
    },
    Rule {
        name: "split-as-slices",
        summary: "a result of `split(x)` becomes a slice of `x`",
        condition: "none",
        proof: Proof::Exact("both are the same elements in the same order"),
        roots: |kind| matches!(kind, NnOp::Split(_)),
        apply: split_as_slices,
    },
    Rule {
        name: "compose-slices",
        summary: "`slice(slice(x))` becomes one slice",
        condition: "strides are positive",
        proof: Proof::Exact("element `i` of both is `begin + stride * i` of `x`"),
        roots: |kind| matches!(kind, NnOp::Slice(_)),
        apply: compose_slices,
    },
    Rule {
        name: "slice-of-concat",
        summary: "`slice(concat(x, y))` becomes a slice of `x` or of `y`",
        condition: "the slice lies in one operand, and its strides are 1",
        proof: Proof::Exact("both are the same elements in the same order"),
        roots: |kind| matches!(kind, NnOp::Slice(_)),
        apply: slice_of_concat,
    },
    Rule {
        name: "concat-of-slices",
        summary: "`concat(slice(x), slice(x))` becomes one slice of `x`",
        condition: "the slices are neighbours along the axis, and their strides are 1",
        proof: Proof::Exact("both are the same elements in the same order"),
        roots: |kind| matches!(kind, NnOp::Concat(_)),
        apply: concat_of_slices,
    },
    Rule {
        name: "concat-of-concats",
        summary: "`concat(concat(x, y), z)` becomes `concat(x, y, z)`",
        condition: "both join along one axis",
        proof: Proof::Exact("both are the same elements in the same order"),
        roots: |kind| matches!(kind, NnOp::Concat(_)),
        apply: concat_of_concats,
    },
    Rule {
        name: "compose-pads",
        summary: "`pad(pad(x))` becomes one padding",
        condition: "both pad with the same number",
        proof: Proof::Exact("the same elements and the same number around them"),
        roots: |kind| matches!(kind, NnOp::Pad(_)),
        apply: compose_pads,
    },
];

fn drop_identity(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let ([input], [result]) = (&root.operands[..], &root.results[..]) else { return Vec::new() };
    if *graph.ty(*input) == *result && is_identity(&root.kind) { vec![*input] } else { Vec::new() }
}

fn compose_reshapes(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Reshape(outer) = &*root.kind else { return Vec::new() };
    let inner = graph.makers(root.operands[0], |kind| match kind {
        NnOp::Reshape(reshape) => Some(reshape),
        _ => None,
    });
    let mut found = Vec::new();
    for (_, op) in inner {
        let input = op.operands[0];
        if *graph.ty(input) == *root.ty() {
            found.push(input);
        } else {
            found.extend(graph.op(outer.clone(), &[input], root.ty().clone()));
        }
    }
    found
}

fn reshape_of_reduction(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let mut found = Vec::new();
    for op in graph.ops(root.operands[0]) {
        let mut kind = (*op.kind).clone();
        match &mut kind {
            NnOp::Mean(n::Mean { keep_dims, .. })
            | NnOp::MeanOfMeans(n::MeanOfMeans { keep_dims, .. })
            | NnOp::Sum(n::Sum { keep_dims, .. })
            | NnOp::ReduceMax(n::ReduceMax { keep_dims, .. })
            | NnOp::ReduceMin(n::ReduceMin { keep_dims, .. })
                if !*keep_dims =>
            {
                *keep_dims = true;
            }
            _ => continue,
        }
        found.extend(graph.op(kind, &op.operands, root.ty().clone()));
    }
    found
}

fn split_as_slices(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Split(n::Split { axis, sizes }) = &*root.kind else { return Vec::new() };
    let input = root.operands[0];
    let size = root.ty().shape.0.clone();
    let mut begin = vec![0; size.len()];
    begin[*axis] = sizes[..root.index].iter().sum();
    let stride = vec![1; size.len()];
    graph.op(n::Slice { begin, size, stride }, &[input], root.ty().clone()).into_iter().collect()
}

/// Ways in which a value is a slice.
fn slices(graph: &Graph<'_>, id: Id) -> Vec<(n::Slice, Id)> {
    let slices = graph.makers(id, |kind| match kind {
        NnOp::Slice(slice) => Some(slice),
        _ => None,
    });
    slices.into_iter().map(|(slice, op)| (slice, op.operands[0])).collect()
}

/// Ways in which a value is a concatenation.
fn concats(graph: &Graph<'_>, id: Id) -> Vec<(n::Concat, Vec<Id>)> {
    let concats = graph.makers(id, |kind| match kind {
        NnOp::Concat(concat) => Some(concat),
        _ => None,
    });
    concats.into_iter().map(|(concat, op)| (concat, op.operands)).collect()
}

fn has_unit_strides(slice: &n::Slice) -> bool {
    slice.stride.iter().all(|&stride| stride == 1)
}

fn compose_slices(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Slice(outer) = &*root.kind else { return Vec::new() };
    let mut found = Vec::new();
    for (inner, input) in slices(graph, root.operands[0]) {
        if outer.stride.iter().chain(&inner.stride).any(|&stride| stride < 1) {
            continue;
        }
        let axes = 0..outer.size.len();
        let begin = axes.clone().map(|i| inner.begin[i] + outer.begin[i] * inner.stride[i] as usize);
        let stride = axes.map(|i| inner.stride[i] * outer.stride[i]);
        let slice = n::Slice { begin: begin.collect(), size: outer.size.clone(), stride: stride.collect() };
        found.extend(graph.op(slice, &[input], root.ty().clone()));
    }
    found
}

fn slice_of_concat(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Slice(slice) = &*root.kind else { return Vec::new() };
    if !has_unit_strides(slice) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (concat, operands) in concats(graph, root.operands[0]) {
        let axis = concat.axis;
        let (begin, end) = (slice.begin[axis], slice.begin[axis] + slice.size[axis]);
        let mut start = 0;
        for operand in operands {
            let size = graph.ty(operand).shape[axis];
            if start <= begin && end <= start + size && begin < end {
                let mut slice = slice.clone();
                slice.begin[axis] -= start;
                found.extend(graph.op(slice, &[operand], root.ty().clone()));
            }
            start += size;
        }
    }
    found
}

fn concat_of_slices(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Concat(n::Concat { axis }) = *root.kind else { return Vec::new() };
    if root.operands.len() < 2 {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (first, input) in slices(graph, root.operands[0]) {
        let mut end = first.begin[axis] + first.size[axis];
        let continues = root.operands[1..].iter().all(|&id| {
            let next = slices(graph, id).into_iter().find(|(slice, other)| {
                let mut expected = first.clone();
                (expected.begin[axis], expected.size[axis]) = (end, slice.size[axis]);
                graph.same(*other, input) && *slice == expected
            });
            end += next.as_ref().map_or(0, |(slice, _)| slice.size[axis]);
            next.is_some()
        });
        if continues && has_unit_strides(&first) {
            let mut slice = first.clone();
            slice.size[axis] = end - first.begin[axis];
            found.extend(graph.op(slice, &[input], root.ty().clone()));
        }
    }
    found
}

fn concat_of_concats(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Concat(concat) = &*root.kind else { return Vec::new() };
    let inner = |&id: &Id| {
        let mut nested = concats(graph, id).into_iter();
        let nested =
            nested.find(|(inner, parts)| inner == concat && parts.iter().all(|&part| !graph.same(part, id)));
        nested.map_or_else(|| vec![id], |(_, parts)| parts)
    };
    let flat: Vec<Id> = root.operands.iter().flat_map(inner).collect();
    if flat.len() == root.operands.len() {
        return Vec::new();
    }
    graph.op(concat.clone(), &flat, root.ty().clone()).into_iter().collect()
}

fn compose_pads(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let NnOp::Pad(outer) = &*root.kind else { return Vec::new() };
    let inner = graph.makers(root.operands[0], |kind| match kind {
        NnOp::Pad(pad) => Some(pad),
        _ => None,
    });
    let mut found = Vec::new();
    for (inner, op) in inner {
        let add = |a: &[usize], b: &[usize]| a.iter().zip(b).map(|(a, b)| a + b).collect();
        if inner.value == outer.value && graph.ty(op.operands[0]).element == root.ty().element {
            let (low, high) = (add(&inner.low, &outer.low), add(&inner.high, &outer.high));
            let pad = n::Pad { low, high, value: outer.value };
            found.extend(graph.op(pad, &op.operands, root.ty().clone()));
        }
    }
    found
}
