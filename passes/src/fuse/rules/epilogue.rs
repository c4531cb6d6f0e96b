//! Operations into the kernels that make their operands. They run late, by `fuse{late=true}`: of what they make, other passes
//! know less than of its parts.

use super::linear::convolutions;
use super::{Proof, Rule};
use crate::fuse::graph::Graph;
use crate::fuse::language::OpNode;
use egg::Id;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;

/// The rules of this family.
pub const RULES: &[Rule] = &[Rule {
    name: "add-into-convolution",
    summary: "`conv(x) + y` becomes one `nn.conv2d_add`, which stores the sum alone",
    condition: "int8; `y` has the shape of the result, and is not made from `x` by several operations in a row, for which \
                rows of `x` would have to wait",
    proof: Proof::Exact("the operation is defined as the two, rounding in between included"),
    roots: |kind| matches!(kind, NnOp::Add(_)),
    apply: add_into_convolution,
}];

/// Whether a value is made from another one by several operations in a row.
fn is_far(graph: &Graph<'_>, value: Id, from: Id) -> bool {
    let between = graph.ops(value).into_iter().flat_map(|op| op.operands);
    between.into_iter().any(|operand| !graph.same(operand, from) && graph.depends(operand, from))
}

/// A sum does not depend on the order of its operands: both are rescaled by the larger of their scales.
fn add_into_convolution(graph: &mut Graph<'_>, root: &OpNode) -> Vec<Id> {
    let (NnOp::Add(add), &[lhs, rhs]) = (&*root.kind, &root.operands[..]) else { return Vec::new() };
    let mut found = Vec::new();
    for (convolved, addend) in [(lhs, rhs), (rhs, lhs)] {
        for (conv, op) in convolutions(graph, convolved) {
            let Some(fused) = n::Conv2dAdd::of(&conv, op.ty(), add) else { continue };
            let &[x, filter, bias] = &op.operands[..] else { continue };
            if is_far(graph, addend, x) {
                continue;
            }
            found.extend(graph.op(fused, &[x, filter, bias, addend], root.ty().clone()));
        }
    }
    found
}
