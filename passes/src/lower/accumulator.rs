//! Accumulators of convolutions and fully connected layers: what they start from, whether they can overflow, and how
//! they become results.

use super::kernel::Kernel;
use super::requantize::{Requantizer, clamp_float};
use mcunet_ir::attr::Clamp;
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::loops::memory::PackLayout;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, TensorType, Value};

/// Operand positions of every op with a filter.
pub(crate) const INPUT: usize = 0;
/// See [`INPUT`].
pub(crate) const FILTER: usize = 1;
/// See [`INPUT`].
pub(crate) const BIAS: usize = 2;

/// How the filter's elements belong to output channels.
#[derive(Clone, Copy)]
pub(crate) enum FilterOrder {
    /// Channels x taps: all taps of a channel are neighbours.
    ChannelMajor,
    /// Taps x channels.
    TapMajor,
}

/// Zero points of the factors of a product; 0 for floats.
#[derive(Clone, Copy, Default)]
pub(crate) struct ZeroPoints {
    pub input: i32,
    pub filter: i32,
}

/// What accumulators start from.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// An i32 per channel, already added.
    Bias(Value),
    /// 0.0: the bias of floats is added last, as in the reference.
    Zero,
}

/// The initial values for products of `x - zero_point`.
///
/// With `fold` it is the initial value for products of `x` itself, the input's zero point folded into the bias; that
/// needs a constant filter and bias, and is right only for windows that lie inside of the input as a whole.
pub(crate) fn start(kernel: &mut Kernel<'_>, order: FilterOrder, fold: Option<i32>) -> Start {
    if kernel.operand_type(BIAS).storage() == Scalar::F32 {
        return Start::Zero;
    }
    match (fold, kernel.constant(BIAS), kernel.constant(FILTER)) {
        (Some(zero_point), Some(bias), Some(filter)) => {
            let zero_point = zero_point.into();
            let columns = filter.count.checked_div(bias.count).unwrap_or(0);
            let layout = match order {
                FilterOrder::ChannelMajor => PackLayout::FoldedBias { columns, zero_point },
                FilterOrder::TapMajor => PackLayout::FoldedDepthwiseBias { zero_point },
            };
            Start::Bias(kernel.pack(vec![bias, filter], layout))
        }
        _ => Start::Bias(kernel.input(BIAS)),
    }
}

/// Whether the input's zero point can be folded into the bias: both that and the filter are constant.
pub(crate) fn can_fold(kernel: &Kernel<'_>) -> bool {
    kernel.constant(FILTER).is_some() && kernel.constant(BIAS).is_some()
}

impl Start {
    /// The initial accumulator of a channel.
    pub fn load(self, b: &mut Builder<'_>, channel: Value) -> Value {
        match self {
            Start::Bias(memory) => b.load(memory, channel),
            Start::Zero => b.f32(0.0),
        }
    }
}

/// Whether an i32 accumulator may leave its range, on the way or at the end, with or without a folded zero point. Known
/// not to only if bias and filter are at hand: `|start| + sum |w| max |x|` is below 2^31 then.
pub(crate) fn may_overflow(kernel: &Kernel<'_>, order: FilterOrder, zero_points: ZeroPoints) -> bool {
    let (Some(Data::I32(bias)), Some(Data::I8(filter))) =
        (kernel.constant_data(BIAS), kernel.constant_data(FILTER))
    else {
        return true;
    };
    let taps = filter.len().checked_div(bias.len()).unwrap_or(0);
    let (input_zero, filter_zero) = (i64::from(zero_points.input), i64::from(zero_points.filter));
    let greatest = (127 - input_zero).max(input_zero + 128);
    bias.iter().enumerate().any(|(channel, &bias)| {
        let weight = |tap: usize| {
            let index = match order {
                FilterOrder::ChannelMajor => channel * taps + tap,
                FilterOrder::TapMajor => tap * filter_stride(&filter, taps) + channel,
            };
            i64::from(filter[index]) - filter_zero
        };
        let sum: i64 = (0..taps).map(weight).sum();
        let magnitude: i64 = (0..taps).map(|tap| weight(tap).abs()).sum();
        let folded = i64::from(bias) - input_zero * sum;
        let reach = |start: i64, greatest: i64| start.abs() + magnitude * greatest;
        reach(bias.into(), greatest) > i32::MAX.into() || reach(folded, 128) > i32::MAX.into()
    })
}

fn filter_stride(filter: &[i8], taps: usize) -> usize {
    filter.len().checked_div(taps).unwrap_or(0)
}

/// From accumulators to stored results.
#[derive(Clone, Copy)]
pub(crate) enum Finish {
    /// Requantize and clamp.
    Int(Requantizer),
    /// Add the bias and clamp.
    Float {
        /// One f32 per channel.
        bias: Value,
        /// The fused activation.
        clamp: Clamp,
    },
}

impl Finish {
    /// The end of an op whose result is float, or int8 with the given multipliers.
    ///
    /// # Errors
    /// If the multipliers can't be represented.
    pub fn new(
        kernel: &mut Kernel<'_>,
        multipliers: impl FnOnce(&TensorType, &TensorType, &TensorType) -> Option<Vec<QuantizedMultiplier>>,
        clamp: Clamp,
    ) -> Result<Self, Diagnostic> {
        let result = kernel.result_type(0);
        if result.storage() == Scalar::F32 {
            return Ok(Finish::Float { bias: kernel.input(BIAS), clamp });
        }
        let multipliers = multipliers(kernel.operand_type(INPUT), kernel.operand_type(FILTER), result)
            .ok_or_else(|| kernel.error("expected scales whose quotient fits a quantized multiplier"))?;
        Ok(Finish::Int(Requantizer::new(kernel, &multipliers, result, clamp)?))
    }

    /// The result of an accumulator of `channel`.
    pub fn apply(&self, b: &mut Builder<'_>, sum: Value, channel: Value) -> Value {
        match self {
            Finish::Int(requantizer) => requantizer.apply(b, sum, channel),
            Finish::Float { bias, clamp } => {
                let bias = b.load(*bias, channel);
                let sum = b.add(sum, bias);
                clamp_float(b, sum, *clamp)
            }
        }
    }
}

/// Zero points of input and filter. Convolutions ignore the filter's, fully connected layers with one filter scale
/// don't.
pub(crate) fn zero_points(kernel: &Kernel<'_>, filter_counts: bool) -> ZeroPoints {
    let zero_point = |index: usize| kernel.operand_type(index).affine().map_or(0, |affine| affine.zero_point);
    ZeroPoints { input: zero_point(INPUT), filter: if filter_counts { zero_point(FILTER) } else { 0 } }
}
