//! Which stored integers each channel of each tensor can hold, for every input of the model.
//!
//! A channel is an index along the last dimension. The analysis runs forward over a tensor function: graph inputs hold
//! anything that their storage type can, constants what they hold, and every operation maps intervals to intervals. Intervals
//! are computed with the arithmetic of the reference kernels (`ir/src/fixed_point`), by evaluating the operation itself where
//! its extremes lie at the ends of its operands' intervals. Where an accumulator could leave the range in which that arithmetic
//! is monotone, and for operations without a rule, the interval is all that the result's type and clamp allow.
//!
//! Invariant: whatever the inputs, each element of a tensor lies in the interval of its channel. A convolution's accumulator is
//! bounded for each set of taps that lies inside of the image at some pixel, so that padding is neither ignored nor
//! counted where there is none. Operands are taken as independent of each other, which makes intervals larger, never smaller.
//!
//! Cost: one visit of every weight, and 256 look-ups a channel for unary operations.
//! Source: interval arithmetic, Moore, "Interval Analysis", 1966.

mod elementwise;
mod movement;
pub mod window;

use mcunet_ir::fixed_point::{QuantizedMultiplier, requantize};
use mcunet_ir::module::{Function, Module, Op, OpKind, Value};
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops::Conv2dAdd;
use mcunet_ir::types::{Scalar, Shape};
use mcunet_ir::{Tensor, TensorType};
use std::collections::HashMap;

/// Tensors of more channels are not looked at: nothing is known of them.
pub const MAX_CHANNELS: usize = 1 << 17;

/// Integers from `min` to `max`, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interval {
    /// The least.
    pub min: i64,
    /// The greatest.
    pub max: i64,
}

impl Interval {
    /// One number.
    pub fn point(value: i64) -> Self {
        Self { min: value, max: value }
    }

    /// From the lesser of two numbers to the greater.
    pub fn between(a: i64, b: i64) -> Self {
        Self { min: a.min(b), max: a.max(b) }
    }

    /// All that a storage type holds; `None` for floats.
    pub fn of_storage(storage: Scalar) -> Option<Self> {
        storage.integer_range().map(|(min, max)| Self { min, max })
    }

    /// The least interval around both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// The least interval around all; `None` of nothing.
    pub fn hull(intervals: impl IntoIterator<Item = Self>) -> Option<Self> {
        intervals.into_iter().reduce(Self::union)
    }

    /// The only number of the interval, if there is no other.
    pub fn constant(self) -> Option<i64> {
        (self.min == self.max).then_some(self.min)
    }

    /// Whether the interval has a number.
    pub fn contains(self, value: i64) -> bool {
        (self.min..=self.max).contains(&value)
    }

    /// Numbers limited as the reference limits them: first from below, then from above, so that limits may cross.
    #[must_use]
    pub fn limited(self, (low, high): (i32, i32)) -> Self {
        let limit = |x: i64| x.max(low.into()).min(high.into());
        Self { min: limit(self.min), max: limit(self.max) }
    }

    /// Sum of any two numbers; saturating, which no accumulator comes near.
    fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    /// Products with a number.
    fn times(self, factor: i64) -> Self {
        Self::between(self.min.saturating_mul(factor), self.max.saturating_mul(factor))
    }

    fn minus(self, number: i32) -> Self {
        self.plus(Self::point(-i64::from(number)))
    }
}

/// Accumulators of an interval requantized; all within the limits where the arithmetic could wrap.
pub fn requantized(
    accumulators: Interval,
    multiplier: QuantizedMultiplier,
    zero_point: i32,
    limits: (i32, i32),
) -> Interval {
    if !is_monotone(accumulators, multiplier, zero_point) {
        return Interval { min: i32::MIN.into(), max: i32::MAX.into() }.limited(limits);
    }
    let end = |x: i64| requantize(x as i32, multiplier, zero_point, limits).into();
    Interval { min: end(accumulators.min), max: end(accumulators.max) }
}

/// Whether requantizing never wraps on an interval of accumulators; then greater ones never have a lesser result.
fn is_monotone(accumulators: Interval, multiplier: QuantizedMultiplier, zero_point: i32) -> bool {
    let left = multiplier.shift.max(0);
    if multiplier.multiplier < 0 || left > 31 {
        return false;
    }
    // The product is no larger than what is shifted.
    [accumulators.min, accumulators.max].into_iter().all(|end| {
        let shifted = i128::from(end) << left;
        let shifted_in_range = i32::try_from(shifted).is_ok();
        shifted_in_range && i32::try_from(shifted + i128::from(zero_point)).is_ok()
    })
}

/// An operand as rules see it.
pub(crate) struct Operand<'a> {
    pub(crate) ty: &'a TensorType,
    /// One interval per channel; `None` where nothing is known.
    pub(crate) channels: Option<&'a [Interval]>,
    /// The elements of a constant.
    pub(crate) data: Option<&'a Tensor>,
}

impl Operand<'_> {
    /// The interval of all channels together.
    pub(crate) fn hull(&self) -> Option<Interval> {
        Interval::hull(self.channels?.iter().copied())
    }
}

/// Intervals of all channels of all integer tensors of a function.
#[derive(Clone, Debug, Default)]
pub struct Ranges {
    channels: HashMap<Value, Vec<Interval>>,
}

impl Ranges {
    /// Analyses a tensor function of a module.
    pub fn of(module: &Module, function: &Function) -> Self {
        let mut ranges = Self::default();
        let args = function.blocks[function.body].args.clone();
        args.into_iter().for_each(|arg| ranges.set(function, arg, None));
        let constants = constants(module, function);
        for &op in &function.blocks[function.body].ops {
            let found = ranges.of_op(function, op, &constants);
            let results = function.ops[op].results.iter();
            for (index, &result) in results.enumerate() {
                let channels = found.as_ref().and_then(|found| found.get(index)?.clone());
                ranges.set(function, result, channels);
            }
        }
        ranges
    }

    /// One interval per index along the last dimension (one for a scalar) of an integer tensor; `None` for floats, and of more
    /// than [`MAX_CHANNELS`].
    pub fn channels(&self, value: Value) -> Option<&[Interval]> {
        self.channels.get(&value).map(Vec::as_slice)
    }

    /// The number that a channel always holds.
    pub fn constant(&self, value: Value, channel: usize) -> Option<i64> {
        self.channels(value)?.get(channel)?.constant()
    }

    fn set(&mut self, function: &Function, value: Value, channels: Option<Vec<Interval>>) {
        let Some(ty) = function.ty(value).as_tensor() else { return };
        let Some(all) = Interval::of_storage(ty.storage()) else { return };
        let count = channel_count(&ty.shape);
        if count > MAX_CHANNELS {
            return;
        }
        let channels = channels.filter(|channels| channels.len() == count);
        self.channels.insert(value, channels.unwrap_or_else(|| vec![all; count]));
    }

    fn of_op(
        &self,
        function: &Function,
        op: Op,
        constants: &HashMap<Value, Tensor>,
    ) -> Option<Vec<Option<Vec<Interval>>>> {
        let data = &function.ops[op];
        let OpKind::Nn(kind) = &data.kind else { return None };
        let tensor = |&value: &Value| function.ty(value).as_tensor();
        let results: Vec<&TensorType> = data.results.iter().map(tensor).collect::<Option<_>>()?;
        if let NnOp::Const(_) = kind {
            return Some(vec![constants.get(&data.results[0]).and_then(of_constant)]);
        }
        let operand = |&value: &Value| {
            let (channels, data) = (self.channels(value), constants.get(&value));
            Some(Operand { ty: function.ty(value).as_tensor()?, channels, data })
        };
        let operands: Vec<Operand<'_>> = data.operands.iter().map(operand).collect::<Option<_>>()?;
        of_kind(kind, &operands, &results)
    }
}

/// Channels of a shape: its last dimension, or 1 of a scalar.
pub fn channel_count(shape: &Shape) -> usize {
    shape.last().copied().unwrap_or(1)
}

/// Constants of a function whose data is at hand.
pub fn constants(module: &Module, function: &Function) -> HashMap<Value, Tensor> {
    let constant = |&op: &Op| {
        let data = &function.ops[op];
        let OpKind::Nn(NnOp::Const(constant)) = &data.kind else { return None };
        let ty = function.ty(data.results[0]).as_tensor()?.clone();
        Some((data.results[0], Tensor::from_bytes(ty, module.bytes(&constant.value)?).ok()?))
    };
    function.blocks[function.body].ops.iter().filter_map(constant).collect()
}

fn of_constant(tensor: &Tensor) -> Option<Vec<Interval>> {
    let count = channel_count(&tensor.ty.shape);
    let items = tensor.data.to_i64s()?;
    let mut channels = vec![None; count];
    for (i, &item) in items.iter().enumerate() {
        let (channel, item) = (&mut channels[i % count], Interval::point(item));
        *channel = Some(channel.map_or(item, |interval: Interval| interval.union(item)));
    }
    channels.into_iter().collect()
}

/// Intervals of the sum of what a convolution makes and another operand.
fn conv_add(op: &Conv2dAdd, operands: &[Operand<'_>], result: &TensorType) -> Option<Vec<Interval>> {
    let between = op.between(result);
    let convolved = window::conv(&op.conv(), operands.get(..3)?, &between)?;
    let convolved = Operand { ty: &between, channels: Some(&convolved), data: None };
    let Operand { ty, channels, data } = *operands.get(3)?;
    elementwise::binary(&op.add().into(), &[convolved, Operand { ty, channels, data }], result)
}

/// Intervals of an operation's results; `None` where there is no rule.
fn of_kind(
    kind: &NnOp,
    operands: &[Operand<'_>],
    results: &[&TensorType],
) -> Option<Vec<Option<Vec<Interval>>>> {
    let one = |channels: Option<Vec<Interval>>| Some(vec![channels]);
    match kind {
        NnOp::Conv2d(op) => one(window::conv(op, operands, results[0])),
        NnOp::Conv2dAdd(op) => one(conv_add(op, operands, results[0])),
        NnOp::DepthwiseConv2d(op) => one(window::depthwise(op, operands, results[0])),
        NnOp::TransposeConv2d(op) => one(window::transposed(op, operands, results[0])),
        NnOp::FullyConnected(op) => one(window::fully_connected(op, operands, results[0])),
        NnOp::AvgPool2d(op) => one(window::average_pool(op, operands, results[0])),
        NnOp::MaxPool2d(op) => one(window::max_pool(op, operands, results[0])),
        NnOp::Mean(op) => one(window::sum(&op.axes, true, operands, results[0])),
        NnOp::Sum(op) => one(window::sum(&op.axes, false, operands, results[0])),
        NnOp::ReduceMax(op) => one(window::extreme(&op.axes, operands, results[0], i64::max)),
        NnOp::ReduceMin(op) => one(window::extreme(&op.axes, operands, results[0], i64::min)),
        NnOp::ArgMax(op) => one(window::position(op.axis, operands, results[0])),
        NnOp::ArgMin(op) => one(window::position(op.axis, operands, results[0])),
        NnOp::Add(_)
        | NnOp::Sub(_)
        | NnOp::Mul(_)
        | NnOp::Div(_)
        | NnOp::Maximum(_)
        | NnOp::Minimum(_)
        | NnOp::SquaredDifference(_)
        | NnOp::Prelu(_) => one(elementwise::binary(kind, operands, results[0])),
        NnOp::Relu(_)
        | NnOp::LeakyRelu(_)
        | NnOp::Elu(_)
        | NnOp::Tanh(_)
        | NnOp::Logistic(_)
        | NnOp::HardSwish(_)
        | NnOp::Abs(_)
        | NnOp::Neg(_)
        | NnOp::Exp(_)
        | NnOp::Log(_)
        | NnOp::Sqrt(_)
        | NnOp::Rsqrt(_)
        | NnOp::Square(_)
        | NnOp::Lookup(_)
        | NnOp::Quantize(_)
        | NnOp::Cast(_) => one(elementwise::unary(kind, operands, results[0])),
        // A softmax of one class is one number, of several anything; so are norms. Floats have no intervals. Means of means
        // have no rule.
        NnOp::Const(_)
        | NnOp::Softmax(_)
        | NnOp::LogSoftmax(_)
        | NnOp::L2Normalization(_)
        | NnOp::MeanOfMeans(_)
        | NnOp::Dequantize(_)
        | NnOp::ShapeOf(_) => None,
        _ => movement::of_kind(kind, operands, results),
    }
}
