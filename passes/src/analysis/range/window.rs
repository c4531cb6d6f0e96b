//! Convolutions, linear layers, pools and reductions.

use super::movement::regrouped;
use super::{Interval, Operand, channel_count, requantized};
use mcunet_ir::attr::Clamp;
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::nn::ops::{AvgPool2d, Conv2d, DepthwiseConv2d, FullyConnected, MaxPool2d, TransposeConv2d};
use mcunet_ir::nn::reduce::reduction_multiplier;
use mcunet_ir::nn::requantize::{convolution_multipliers, fully_connected_multipliers, integer_limits};
use mcunet_ir::nn::window::{Window, Windows};
use mcunet_ir::types::Scalar;
use mcunet_ir::{Tensor, TensorType};
use std::collections::HashSet;
use std::ops::Range;

/// At which pixels a tap lies inside of the image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Inside {
    /// At none: it always meets padding.
    Never,
    /// At some: it meets padding at the border.
    Sometimes,
    /// At all.
    Always,
}

/// Taps along one dimension, and which of them lie inside of the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Axis {
    /// Number of taps.
    pub taps: usize,
    /// The different ranges of taps that lie inside at some position.
    pub sets: Vec<Range<usize>>,
}

impl Axis {
    /// Of a window that slides; `None` if it doesn't fit.
    pub fn of(window: &Window) -> Option<Self> {
        let mut seen = HashSet::new();
        let sets = (0..window.outputs().ok()?).map(|index| window.taps_inside(index).0);
        let sets = sets.filter(|set| seen.insert(set.clone())).collect();
        Some(Self { taps: window.taps, sets })
    }

    /// One tap that is always inside.
    pub fn one() -> Self {
        Self { taps: 1, sets: std::iter::once(0..1).collect() }
    }

    /// Where a tap lies.
    pub fn inside(&self, tap: usize) -> Inside {
        match self.sets.iter().filter(|set| set.contains(&tap)).count() {
            0 => Inside::Never,
            count if count == self.sets.len() => Inside::Always,
            _ => Inside::Sometimes,
        }
    }
}

/// Taps of a window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taps {
    /// Along height.
    pub y: Axis,
    /// Along width.
    pub x: Axis,
}

impl Taps {
    /// Of a window that slides; `None` if it doesn't fit.
    pub fn of(windows: &Windows) -> Option<Self> {
        Some(Self { y: Axis::of(&windows.y)?, x: Axis::of(&windows.x)? })
    }

    /// One tap that is always inside.
    pub fn one() -> Self {
        Self { y: Axis::one(), x: Axis::one() }
    }

    /// Number of taps.
    pub fn count(&self) -> usize {
        self.y.taps * self.x.taps
    }

    /// Where a tap lies, counted row by row.
    pub fn inside(&self, tap: usize) -> Inside {
        let (y, x) = (self.y.inside(tap / self.x.taps), self.x.inside(tap % self.x.taps));
        y.min(x)
    }

    /// Whether no tap lies inside at some pixel.
    fn can_be_empty(&self) -> bool {
        let empty = |axis: &Axis| axis.sets.iter().any(Range::is_empty);
        empty(&self.y) || empty(&self.x)
    }

    /// Sums of the intervals of the taps that are inside, for every set of such taps.
    fn sums(&self, taps: &[Interval], start: i64) -> Vec<Interval> {
        let mut sums = Vec::with_capacity(self.y.sets.len() * self.x.sets.len());
        for ys in &self.y.sets {
            let mut columns = vec![Interval::point(0); self.x.taps];
            for row in ys.clone().filter_map(|y| taps.get(y * self.x.taps..(y + 1) * self.x.taps)) {
                columns.iter_mut().zip(row).for_each(|(sum, &tap)| *sum = sum.plus(tap));
            }
            for xs in &self.x.sets {
                let inside = columns.get(xs.clone()).unwrap_or_default();
                sums.push(inside.iter().fold(Interval::point(start), |sum, &tap| sum.plus(tap)));
            }
        }
        sums
    }
}

/// From accumulators to a result's stored integers.
#[derive(Clone, Debug)]
pub struct Rescale {
    /// One per output channel.
    pub multipliers: Vec<QuantizedMultiplier>,
    /// Of the result.
    pub zero_point: i32,
    /// Of the result.
    pub limits: (i32, i32),
}

impl Rescale {
    fn interval(&self, channel: usize, sums: &[Interval]) -> Option<Interval> {
        let multiplier = *self.multipliers.get(channel)?;
        Interval::hull(sums.iter().map(|&sum| requantized(sum, multiplier, self.zero_point, self.limits)))
    }
}

/// Accumulators of a convolution or linear layer, and what becomes of them.
#[derive(Clone, Debug)]
pub struct Accumulators {
    /// Of every output channel, for every set of taps that lies inside of the image at some pixel.
    pub sums: Vec<Vec<Interval>>,
    /// To the result.
    pub rescale: Rescale,
}

impl Accumulators {
    fn results(&self) -> Option<Vec<Interval>> {
        self.sums.iter().enumerate().map(|(channel, sums)| self.rescale.interval(channel, sums)).collect()
    }
}

/// Numbers of an int8 filter or an i32 bias.
fn integers(tensor: Option<&Tensor>) -> Option<Vec<i64>> {
    tensor?.data.to_i64s()
}

/// Intervals of the operand's channels relative to its zero point.
fn centered(operand: &Operand<'_>) -> Option<Vec<Interval>> {
    let zero_point = operand.ty.affine()?.zero_point;
    Some(operand.channels?.iter().map(|x| x.minus(zero_point)).collect())
}

fn is_int8(operands: &[Operand<'_>], result: &TensorType) -> bool {
    operands.len() == 3 && result.storage() == Scalar::I8 && operands[0].ty.storage() == Scalar::I8
}

/// Sums over the taps of each output channel; `term(o, tap)` is what a tap adds.
fn accumulate(
    taps: &Taps,
    bias: &[i64],
    rescale: Rescale,
    term: impl Fn(usize, usize) -> Option<Interval>,
) -> Option<Accumulators> {
    let sums = bias.iter().enumerate().map(|(o, &bias)| {
        let terms: Vec<Interval> = (0..taps.count()).map(|tap| term(o, tap)).collect::<Option<_>>()?;
        Some(taps.sums(&terms, bias))
    });
    Some(Accumulators { sums: sums.collect::<Option<_>>()?, rescale })
}

/// Sum over a row of products.
fn dot(inputs: &[Interval], weights: &[i64], weight_zero: i64) -> Interval {
    let products = inputs.iter().zip(weights).map(|(x, &w)| x.times(w - weight_zero));
    products.fold(Interval::point(0), Interval::plus)
}

/// Accumulators of an int8 convolution with constant filter and bias.
pub(crate) fn conv_accumulators(
    op: &Conv2d,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Option<Accumulators> {
    if !is_int8(operands, result) {
        return None;
    }
    let (input, filter) = (operands[0].ty.shape.nhwc()?, operands[1].ty.shape.nhwc()?);
    let taps = Taps::of(&Windows::new(input, [filter[1], filter[2]], op.stride, op.dilation, op.pad))?;
    let (x, w, bias) = (centered(&operands[0])?, integers(operands[1].data)?, integers(operands[2].data)?);
    let multipliers = convolution_multipliers(operands[0].ty, operands[1].ty, result, filter[0])?;
    let zero_point = result.affine()?.zero_point;
    let rescale = Rescale { multipliers, zero_point, limits: integer_limits(op.clamp, Scalar::I8) };
    let per_group = (filter[0] * filter[3]).checked_div(input[3])?.max(1);
    accumulate(&taps, &bias, rescale, |o, tap| {
        let first = o / per_group * filter[3];
        let weights = w.get((o * taps.count() + tap) * filter[3]..)?.get(..filter[3])?;
        Some(dot(x.get(first..first + filter[3])?, weights, 0))
    })
}

pub(super) fn conv(op: &Conv2d, operands: &[Operand<'_>], result: &TensorType) -> Option<Vec<Interval>> {
    conv_accumulators(op, operands, result)?.results()
}

/// Accumulators of an int8 depthwise convolution with constant filter and bias.
pub(crate) fn depthwise_accumulators(
    op: &DepthwiseConv2d,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Option<Accumulators> {
    if !is_int8(operands, result) {
        return None;
    }
    let (input, filter) = (operands[0].ty.shape.nhwc()?, operands[1].ty.shape.nhwc()?);
    let taps = Taps::of(&Windows::new(input, [filter[1], filter[2]], op.stride, op.dilation, op.pad))?;
    let (x, w, bias) = (centered(&operands[0])?, integers(operands[1].data)?, integers(operands[2].data)?);
    let multipliers = convolution_multipliers(operands[0].ty, operands[1].ty, result, filter[3])?;
    let zero_point = result.affine()?.zero_point;
    let rescale = Rescale { multipliers, zero_point, limits: integer_limits(op.clamp, Scalar::I8) };
    let multiplier = filter[3].checked_div(input[3])?.max(1);
    accumulate(&taps, &bias, rescale, |o, tap| {
        Some(x.get(o / multiplier)?.times(*w.get(tap * filter[3] + o)?))
    })
}

pub(super) fn depthwise(
    op: &DepthwiseConv2d,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Option<Vec<Interval>> {
    depthwise_accumulators(op, operands, result)?.results()
}

/// Which taps meet an input depends on the pixel: each may add its product or nothing.
pub(super) fn transposed(
    op: &TransposeConv2d,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Option<Vec<Interval>> {
    if !is_int8(operands, result) {
        return None;
    }
    let filter = operands[1].ty.shape.nhwc()?;
    let (x, w, bias) = (centered(&operands[0])?, integers(operands[1].data)?, integers(operands[2].data)?);
    let multipliers = convolution_multipliers(operands[0].ty, operands[1].ty, result, filter[0])?;
    let zero_point = result.affine()?.zero_point;
    let rescale = Rescale { multipliers, zero_point, limits: integer_limits(op.clamp, Scalar::I8) };
    let per_output = filter[1] * filter[2] * filter[3];
    let channel = |o: usize| {
        let rows = w.get(o * per_output..)?.get(..per_output)?.chunks(filter[3].max(1));
        let terms = rows.map(|row| dot(&x, row, 0).union(Interval::point(0)));
        rescale.interval(o, &[terms.fold(Interval::point(*bias.get(o)?), Interval::plus)])
    };
    (0..filter[0]).map(channel).collect()
}

/// Accumulators of an int8 linear layer with constant filter and bias.
pub(crate) fn linear_accumulators(
    op: &FullyConnected,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Option<Accumulators> {
    if !is_int8(operands, result) {
        return None;
    }
    let [outputs, inputs] = operands[1].ty.shape.0[..] else { return None };
    let x = regrouped(&centered(&operands[0])?, inputs)?;
    let (w, bias) = (integers(operands[1].data)?, integers(operands[2].data)?);
    let multipliers = fully_connected_multipliers(operands[0].ty, operands[1].ty, result, outputs)?;
    let zero_point = result.affine()?.zero_point;
    let rescale = Rescale { multipliers, zero_point, limits: integer_limits(op.clamp, Scalar::I8) };
    let weight_zero = i64::from(operands[1].ty.affine().map_or(0, |affine| affine.zero_point));
    accumulate(&Taps::one(), &bias, rescale, |o, _| {
        Some(dot(&x, w.get(o * inputs..)?.get(..inputs)?, weight_zero))
    })
}

pub(super) fn fully_connected(
    op: &FullyConnected,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Option<Vec<Interval>> {
    linear_accumulators(op, operands, result)?.results()
}

fn pool_taps(operand: &Operand<'_>, kernel: [u32; 2], stride: [u32; 2], pad: [u32; 4]) -> Option<Taps> {
    let taps = kernel.map(|size| size as usize);
    Taps::of(&Windows::new(operand.ty.shape.nhwc()?, taps, stride, [1, 1], pad))
}

/// The rounded mean of numbers of an interval lies in it; that of nothing is 0.
pub(super) fn average_pool(
    op: &AvgPool2d,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Option<Vec<Interval>> {
    let operand = operands.first()?;
    let taps = pool_taps(operand, op.kernel, op.stride, op.pad)?;
    // Sums of larger windows could wrap.
    if taps.count() > 1 << 23 {
        return None;
    }
    let limits = integer_limits(op.clamp, result.storage());
    let mean = |&x: &Interval| if taps.can_be_empty() { x.union(Interval::point(0)) } else { x };
    Some(operand.channels?.iter().map(|x| mean(x).limited(limits)).collect())
}

/// The greatest number of an interval lies in it; that of nothing is the least there is.
pub(super) fn max_pool(
    op: &MaxPool2d,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Option<Vec<Interval>> {
    let operand = operands.first()?;
    let taps = pool_taps(operand, op.kernel, op.stride, op.pad)?;
    let limits = integer_limits(op.clamp, result.storage());
    let least = Interval::point(Interval::of_storage(result.storage())?.min);
    let greatest = |&x: &Interval| if taps.can_be_empty() { x.union(least) } else { x };
    Some(operand.channels?.iter().map(|x| greatest(x).limited(limits)).collect())
}

/// Elements that are reduced into one, beside the channels, and whether the channels are.
fn reduced(axes: &[usize], operand: &Operand<'_>) -> Option<(usize, bool)> {
    let last = operand.ty.shape.rank().checked_sub(1)?;
    let others = axes.iter().filter(|&&axis| axis != last);
    Some((others.filter_map(|&axis| operand.ty.shape.get(axis)).product(), axes.contains(&last)))
}

/// Channels of a reduction: those of the operand, or all alike where the channels themselves are reduced.
fn spread(of_channels: Vec<Interval>, over_channels: bool, result: &TensorType) -> Option<Vec<Interval>> {
    if over_channels {
        let all = *of_channels.first()?;
        return Some(vec![all; channel_count(&result.shape)]);
    }
    Some(of_channels)
}

pub(super) fn sum(
    axes: &[usize],
    mean: bool,
    operands: &[Operand<'_>],
    result: &TensorType,
) -> Option<Vec<Interval>> {
    let operand = operands.first()?;
    let (count, over_channels) = reduced(axes, operand)?;
    let mut channels = centered(operand)?;
    if over_channels {
        channels = vec![channels.into_iter().fold(Interval::point(0), Interval::plus)];
    }
    let width = if over_channels { channel_count(&operand.ty.shape) } else { 1 };
    let multiplier = reduction_multiplier(operand.ty, result, mean.then_some(count * width))?;
    let (zero_point, limits) = (result.affine()?.zero_point, integer_limits(Clamp::None, result.storage()));
    let total = |x: &Interval| requantized(x.times(count as i64), multiplier, zero_point, limits);
    spread(channels.iter().map(total).collect(), over_channels, result)
}

pub(super) fn extreme(
    axes: &[usize],
    operands: &[Operand<'_>],
    result: &TensorType,
    better: fn(i64, i64) -> i64,
) -> Option<Vec<Interval>> {
    let operand = operands.first()?;
    let (count, over_channels) = reduced(axes, operand)?;
    let channels = operand.channels?;
    if count == 0 || channels.is_empty() {
        return None;
    }
    if !over_channels {
        return Some(channels.to_vec());
    }
    let both = |a: Interval, b: &Interval| Interval { min: better(a.min, b.min), max: better(a.max, b.max) };
    let best = channels.iter().skip(1).fold(channels[0], both);
    spread(vec![best], true, result)
}

/// A position along an axis.
pub(super) fn position(axis: usize, operands: &[Operand<'_>], result: &TensorType) -> Option<Vec<Interval>> {
    let size = *operands.first()?.ty.shape.get(axis)?;
    let positions = Interval { min: 0, max: size.saturating_sub(1) as i64 };
    Some(vec![positions; channel_count(&result.shape)])
}
