//! What is known of every e-class: type, constant data, and the range of stored integers.
//!
//! Ranges are intervals over all elements. They are exact or too wide, never too narrow, for every input of the model, and
//! start at the clamps of operations and the images of tables.

use super::constants::{ConstantId, Constants};
use super::language::{Node, OpNode};
use egg::{Analysis, DidMerge, EGraph, Id};
use mcunet_ir::TensorType;
use mcunet_ir::attr::{Clamp, Number};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::nn::requantize::integer_limits;
use mcunet_ir::nn::unary::int8_table;
use mcunet_ir::types::Scalar;
use std::sync::Arc;

/// Least and greatest stored integer.
pub type Range = (i8, i8);

/// All int8 numbers.
pub const FULL: Range = (i8::MIN, i8::MAX);

/// What is known of an e-class.
#[derive(Clone, PartialEq, Debug)]
pub struct Fact {
    /// Type, the same for all its nodes.
    pub ty: Arc<TensorType>,
    /// Its data, if it is constant.
    pub constant: Option<ConstantId>,
    /// Range of an int8 tensor; [`FULL`] for other types.
    pub range: Range,
}

/// The analysis, and the constants that its facts speak of.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Constant data.
    pub constants: Constants,
}

impl Analysis<Node> for Facts {
    type Data = Fact;

    fn make(egraph: &mut EGraph<Node, Self>, node: &Node, _id: Id) -> Fact {
        match node {
            Node::Argument(_, ty) => Fact { ty: ty.clone(), constant: None, range: FULL },
            Node::Constant(id, ty) => {
                let tensor = egraph.analysis.constants.tensor(*id, ty);
                let range = tensor.and_then(|tensor| {
                    let items = tensor.i8s().ok()?.iter().copied();
                    Some((items.clone().min()?, items.max()?))
                });
                Fact { ty: ty.clone(), constant: Some(*id), range: range.unwrap_or(FULL) }
            }
            Node::Op(op) => {
                let range = range_of(egraph, op).unwrap_or(FULL);
                Fact { ty: Arc::new(op.ty().clone()), constant: None, range }
            }
        }
    }

    fn merge(&mut self, a: &mut Fact, b: Fact) -> DidMerge {
        debug_assert_eq!(a.ty, b.ty, "a rule made tensors of two types equal");
        let before = a.clone();
        a.constant = a.constant.or(b.constant);
        let both = (a.range.0.max(b.range.0), a.range.1.min(b.range.1));
        // Both hold, so that they meet, unless there are no elements at all.
        if both.0 <= both.1 {
            a.range = both;
        }
        DidMerge(*a != before, *a != b)
    }
}

fn within(range: Range, clamp: Clamp) -> Range {
    let (low, high) = integer_limits(clamp, Scalar::I8);
    let apply = |x: i8| i32::from(x).max(low).min(high) as i8;
    (apply(range.0), apply(range.1))
}

/// Range of an int8 result, from the ranges of the operands; `None` if nothing is known.
fn range_of(egraph: &EGraph<Node, Facts>, op: &OpNode) -> Option<Range> {
    if op.ty().storage() != Scalar::I8 {
        return None;
    }
    let operand = |i: usize| op.operands.get(i).map(|&id| &egraph[id].data);
    let moved = || {
        let mut ranges = op.operands.iter().map(|&id| egraph[id].data.range);
        let first = ranges.next()?;
        Some(ranges.fold(first, |all, range| (all.0.min(range.0), all.1.max(range.1))))
    };
    Some(match &*op.kind {
        NnOp::Conv2d(n::Conv2d { clamp, .. })
        | NnOp::DepthwiseConv2d(n::DepthwiseConv2d { clamp, .. })
        | NnOp::TransposeConv2d(n::TransposeConv2d { clamp, .. })
        | NnOp::FullyConnected(n::FullyConnected { clamp, .. })
        | NnOp::Add(n::Add { clamp })
        | NnOp::Sub(n::Sub { clamp })
        | NnOp::Mul(n::Mul { clamp })
        | NnOp::Div(n::Div { clamp }) => within(FULL, *clamp),
        NnOp::Conv2dAdd(n::Conv2dAdd { sum_clamp, .. }) => within(FULL, *sum_clamp),
        NnOp::AvgPool2d(n::AvgPool2d { clamp, .. }) | NnOp::MaxPool2d(n::MaxPool2d { clamp, .. }) => {
            // An empty window gives 0 or the least number.
            within(if reads_only_padding(op, egraph) { FULL } else { moved()? }, *clamp)
        }
        NnOp::Reshape(_)
        | NnOp::Transpose(_)
        | NnOp::Concat(_)
        | NnOp::Split(_)
        | NnOp::Slice(_)
        | NnOp::Insert(_)
        | NnOp::Tile(_)
        | NnOp::Pack(_)
        | NnOp::Unpack(_)
        | NnOp::DepthToSpace(_)
        | NnOp::SpaceToDepth(_)
        | NnOp::ResizeNearest(_)
        | NnOp::ReduceMax(_)
        | NnOp::ReduceMin(_)
        | NnOp::Maximum(_)
        | NnOp::Minimum(_) => moved()?,
        NnOp::Gather(_) => operand(0)?.range,
        NnOp::Pad(n::Pad { value: Number::Int(value), .. }) => {
            let (value, range) = (i8::try_from(*value).ok()?, moved()?);
            (range.0.min(value), range.1.max(value))
        }
        kind => {
            let input = operand(0)?;
            let table = int8_table(kind, &input.ty, op.ty())?;
            let image = table.get(index(input.range.0)..=index(input.range.1))?.iter().copied();
            (image.clone().min()?, image.max()?)
        }
    })
}

/// Position of a number in a table of results for -128 to 127.
pub fn index(x: i8) -> usize {
    (i32::from(x) + 128) as usize
}

/// Whether a pool may have a window without any input.
fn reads_only_padding(op: &OpNode, egraph: &EGraph<Node, Facts>) -> bool {
    let (kernel, pad) = match &*op.kind {
        NnOp::AvgPool2d(pool) => (pool.kernel, pool.pad),
        NnOp::MaxPool2d(pool) => (pool.kernel, pool.pad),
        _ => return false,
    };
    let empty = op.operands.first().is_none_or(|&input| egraph[input].data.ty.elements() == 0);
    empty || (0..2).any(|axis| pad[2 * axis] >= kernel[axis] || pad[2 * axis + 1] >= kernel[axis])
}
