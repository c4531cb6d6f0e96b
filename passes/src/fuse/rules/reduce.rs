//! Means.

use super::{Proof, Rule};
use crate::fuse::graph::Graph;
use crate::fuse::language::OpNode;
use egg::Id;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::types::Scalar;

/// The rules of this family.
pub const RULES: &[Rule] = &[
    Rule {
        name: "mean-of-means",
        summary: "`mean(mean(x))` of int8 becomes one `nn.mean_of_means`",
        condition: "the means are int8",
        proof: Proof::Exact("the operation is defined as the two means, rounding in between included"),
        roots: is_mean,
        apply: mean_of_means,
    },
    Rule {
        name: "merge-means",
        summary: "`mean(mean(x))` becomes one mean over the axes of both",
        condition: "none",
        proof: Proof::Approximate(
            "int8 means are rounded once instead of twice, which can change results by a step of the inner scale; \
             floats are summed in another order",
        ),
        roots: is_mean,
        apply: merge_means,
    },
];

fn is_mean(kind: &NnOp) -> bool {
    matches!(kind, NnOp::Mean(_))
}

/// The inner mean of a mean of means, and the axes of both, numbered as dimensions of the inner mean's operand.
struct Means {
    inner: OpNode,
    inner_axes: Vec<usize>,
    outer_axes: Vec<usize>,
    keep_dims: bool,
}

/// Means whose operand is a mean. Dimensions that the inner mean keeps and the outer one drops, or the other way round, have
/// no form as one operation.
fn means(graph: &Graph<'_>, root: &OpNode) -> Vec<Means> {
    let NnOp::Mean(outer) = &*root.kind else { return Vec::new() };
    let inner = graph.makers(root.operands[0], |kind| match kind {
        NnOp::Mean(mean) => Some(mean),
        _ => None,
    });
    let mut found = Vec::new();
    for (mean, op) in inner {
        let rank = graph.ty(op.operands[0]).shape.rank();
        let kept: Vec<usize> = match mean.keep_dims {
            true => (0..rank).collect(),
            false => (0..rank).filter(|axis| !mean.axes.contains(axis)).collect(),
        };
        let outer_axes: Option<Vec<usize>> = outer.axes.iter().map(|&axis| kept.get(axis).copied()).collect();
        let Some(outer_axes) = outer_axes else { continue };
        let apart = outer_axes.iter().all(|axis| !mean.axes.contains(axis));
        if apart && (mean.keep_dims == outer.keep_dims || mean.axes.is_empty() || outer.axes.is_empty()) {
            let keep_dims = if outer.axes.is_empty() { mean.keep_dims } else { outer.keep_dims };
            found.push(Means { inner: op, inner_axes: mean.axes, outer_axes, keep_dims });
        }
    }
    found
}

fn mean_of_means(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    if root.ty().storage() != Scalar::I8 {
        return Vec::new();
    }
    let mut found = Vec::new();
    for Means { inner, inner_axes, outer_axes, keep_dims } in means(graph, root) {
        let Some(between) = inner.ty().affine() else { continue };
        let kind = n::MeanOfMeans {
            inner: inner_axes,
            outer: outer_axes,
            keep_dims,
            scale: between.scale,
            zero_point: between.zero_point,
        };
        found.extend(graph.op(kind, &inner.operands, root.ty().clone()));
    }
    found
}

fn merge_means(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let mut found = Vec::new();
    for Means { inner, inner_axes, outer_axes, keep_dims } in means(graph, root) {
        let mut axes = [inner_axes, outer_axes].concat();
        axes.sort_unstable();
        found.extend(graph.op(n::Mean { axes, keep_dims }, &inner.operands, root.ty().clone()));
    }
    found
}
