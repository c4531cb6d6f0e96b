//! Which channels of an operation's operands and results are one: where one can't be left out without the other.

use super::filter::{Filter, Layout};
use crate::analysis::range::{MAX_CHANNELS, channel_count};
use mcunet_ir::define::Trait;
use mcunet_ir::module::{Function, Op, OpKind, Value};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::{Tensor, TensorType};
use std::collections::HashMap;

/// Channel `channel` of operand `operand` is channel `result_channel` of result `result`, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Position among the operands.
    pub operand: usize,
    /// Index along its last dimension.
    pub channel: usize,
    /// Position among the results.
    pub result: usize,
    /// Index along its last dimension.
    pub result_channel: usize,
}

/// What an operation does with channels.
#[derive(Debug)]
pub enum Structure<'a> {
    /// Every channel of the result is made of all of the input's.
    Dense(Filter<'a>),
    /// Channels stay apart; each is made with a filter of its own.
    Depthwise(Filter<'a>, Vec<Link>),
    /// Channels stay apart. Operands with `false` are not linked, and read as wholes.
    Linked(Vec<Link>, Vec<bool>),
    /// Everything is read, and nothing may be left out.
    Opaque,
}

/// The structure of an operation; `filter` is its filter, if it has one that elimination knows.
pub fn structure<'a>(
    function: &Function,
    op: Op,
    constants: &HashMap<Value, Tensor>,
    filter: Option<Filter<'a>>,
) -> Structure<'a> {
    let data = &function.ops[op];
    let OpKind::Nn(kind) = &data.kind else { return Structure::Opaque };
    match filter {
        Some(filter) if filter.layout == Layout::Dense => return Structure::Dense(filter),
        Some(filter) => {
            let link = |o| Link { operand: 0, channel: filter.channel(o, 0), result: 0, result_channel: o };
            let links = (0..filter.outputs).map(link).collect();
            return Structure::Depthwise(filter, links);
        }
        None => {}
    }
    let tensor = |value: &Value| function.ty(*value).as_tensor();
    let operands: Option<Vec<&TensorType>> = data.operands.iter().map(tensor).collect();
    let results: Option<Vec<&TensorType>> = data.results.iter().map(tensor).collect();
    let (Some(operands), Some(results)) = (operands, results) else { return Structure::Opaque };
    let is_constant: Vec<bool> = data.operands.iter().map(|value| constants.contains_key(value)).collect();
    // Constant folding is another pass's duty; here something has channels that go with those of the results.
    if is_constant.iter().all(|&constant| constant) {
        return Structure::Opaque;
    }
    let ty = Types { operands, results, is_constant };
    if ty.has_channels() { ty.links(kind).unwrap_or(Structure::Opaque) } else { Structure::Opaque }
}

struct Types<'t> {
    operands: Vec<&'t TensorType>,
    results: Vec<&'t TensorType>,
    is_constant: Vec<bool>,
}

impl Types<'_> {
    /// Whether all results and the first operand have a last dimension, not too long, with one quantization for all of it.
    fn has_channels(&self) -> bool {
        let per_tensor = |ty: &&TensorType| ty.quant().is_none_or(|quant| quant.affine().is_some());
        let all = self.operands.iter().chain(&self.results);
        all.clone().all(per_tensor)
            && all.clone().all(|ty| channel_count(&ty.shape) <= MAX_CHANNELS)
            && self.results.iter().chain(self.operands.first()).all(|ty| ty.shape.rank() > 0)
    }

    /// Links of a whole operand with a result of as many channels.
    fn same(&self, operand: usize, result: usize) -> Option<Vec<Link>> {
        let channels = channel_count(&self.operands[operand].shape);
        if channels != channel_count(&self.results[result].shape) {
            return None;
        }
        Some(links(operand, 0, result, 0, channels))
    }

    fn links<'a>(&self, kind: &NnOp) -> Option<Structure<'a>> {
        let last = self.operands.first()?.shape.rank() - 1;
        let whole = |links: Vec<Link>| Some(Structure::Linked(links, vec![true; self.operands.len()]));
        match kind {
            NnOp::AvgPool2d(_) | NnOp::MaxPool2d(_) | NnOp::ResizeBilinear(_) | NnOp::ResizeNearest(_) => {
                whole(self.same(0, 0)?)
            }
            NnOp::Mean(n::Mean { axes, .. })
            | NnOp::Sum(n::Sum { axes, .. })
            | NnOp::ReduceMax(n::ReduceMax { axes, .. })
            | NnOp::ReduceMin(n::ReduceMin { axes, .. })
                if !axes.contains(&last) =>
            {
                whole(self.same(0, 0)?)
            }
            NnOp::Reshape(_) => {
                let (from, to) =
                    (channel_count(&self.operands[0].shape), channel_count(&self.results[0].shape));
                if from == 0 || to % from != 0 {
                    return None;
                }
                let link = |j| Link { operand: 0, channel: j % from, result: 0, result_channel: j };
                whole((0..to).map(link).collect())
            }
            NnOp::Transpose(op) if op.permutation.last() == Some(&last) => whole(self.same(0, 0)?),
            NnOp::Tile(op) if op.multiples.last() == Some(&1) => whole(self.same(0, 0)?),
            NnOp::Gather(op) if op.axis < last => {
                Some(Structure::Linked(self.same(0, 0)?, vec![true, false]))
            }
            NnOp::Concat(op) if op.axis == last => whole(self.joined()),
            NnOp::Concat(_) => whole(self.each_operand()?),
            NnOp::Pack(op) if op.axis <= last => whole(self.each_operand()?),
            NnOp::Unpack(op) if op.axis < last => whole(self.each_result()?),
            NnOp::Split(op) if op.axis == last => {
                let mut start = 0;
                let pieces = op.sizes.iter().enumerate().flat_map(|(result, &size)| {
                    start += size;
                    links(0, start - size, result, 0, size)
                });
                whole(pieces.collect())
            }
            NnOp::Split(_) => whole(self.each_result()?),
            NnOp::Slice(op) if op.stride.get(last) == Some(&1) => {
                whole(links(0, *op.begin.get(last)?, 0, 0, channel_count(&self.results[0].shape)))
            }
            NnOp::Pad(op) => {
                whole(links(0, 0, 0, *op.low.get(last)?, channel_count(&self.operands[0].shape)))
            }
            NnOp::Insert(op) => {
                let tile = channel_count(&self.operands.get(1)?.shape);
                let mut all = self.same(0, 0)?;
                all.extend(links(1, 0, 0, *op.begin.get(last)?, tile));
                whole(all)
            }
            _ if kind.spec().has(Trait::Elementwise) => self.elementwise(),
            _ => None,
        }
    }

    /// Operands one after the other along the channels.
    fn joined(&self) -> Vec<Link> {
        let mut start = 0;
        let operands = self.operands.iter().enumerate().flat_map(|(operand, ty)| {
            let count = channel_count(&ty.shape);
            start += count;
            links(operand, 0, 0, start - count, count)
        });
        operands.collect()
    }

    fn each_operand(&self) -> Option<Vec<Link>> {
        let all: Option<Vec<_>> = (0..self.operands.len()).map(|operand| self.same(operand, 0)).collect();
        Some(all?.concat())
    }

    fn each_result(&self) -> Option<Vec<Link>> {
        let all: Option<Vec<_>> = (0..self.results.len()).map(|result| self.same(0, result)).collect();
        Some(all?.concat())
    }

    /// Operands of one channel serve all of the result's; they are not linked.
    fn elementwise<'a>(&self) -> Option<Structure<'a>> {
        let (mut all, mut linked) = (Vec::new(), Vec::new());
        for (operand, ty) in self.operands.iter().enumerate() {
            match self.same(operand, 0) {
                Some(links) if ty.shape.rank() > 0 => {
                    all.extend(links);
                    linked.push(true);
                }
                _ if channel_count(&ty.shape) == 1 => linked.push(false),
                _ => return None,
            }
        }
        // Something must be left to link the result with, or nothing but constants decides its shape.
        let linked_value =
            linked.iter().zip(&self.is_constant).any(|(&linked, &constant)| linked && !constant);
        linked_value.then_some(Structure::Linked(all, linked))
    }
}

/// `count` neighbours with as many neighbours.
fn links(operand: usize, channel: usize, result: usize, result_channel: usize, count: usize) -> Vec<Link> {
    let link = |i| Link { operand, channel: channel + i, result, result_channel: result_channel + i };
    (0..count).map(link).collect()
}
