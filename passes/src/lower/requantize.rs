//! From accumulators to results: requantization with one multiplier per channel, and the clamp of a fused activation.

use super::kernel::Kernel;
use mcunet_ir::attr::Clamp;
use mcunet_ir::fixed_point::QuantizedMultiplier;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::requantize::{integer_limits, real_limits};
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Builder, Diagnostic, TensorType, Type, Value};

/// A number per channel: a literal if all channels have the same, else constant data.
#[derive(Clone, Copy)]
enum PerChannel {
    Same(i32),
    Each(Value),
}

impl PerChannel {
    /// `narrow` stores the numbers as i8, into which they have to fit.
    fn new(kernel: &mut Kernel<'_>, name: &str, numbers: &[i32], narrow: bool) -> Self {
        let first = numbers.first().copied().unwrap_or(0);
        if numbers.iter().all(|&number| number == first) {
            return PerChannel::Same(first);
        }
        let data = if narrow {
            Data::I8(numbers.iter().map(|&number| number as i8).collect())
        } else {
            Data::I32(numbers.to_vec())
        };
        PerChannel::Each(kernel.data(name, &data))
    }

    fn at(self, b: &mut Builder<'_>, channel: Value) -> Value {
        match self {
            PerChannel::Same(number) => b.i32(number),
            PerChannel::Each(memory) => b.load(memory, channel),
        }
    }
}

/// How the scaled number is shifted after (or before) the high multiply.
#[derive(Clone, Copy)]
enum Shift {
    /// Not at all.
    None,
    /// To the right, by 0 to 31.
    Right(PerChannel),
    /// Either way: a left shift where positive.
    Either(PerChannel),
}

/// Requantizes i32 accumulators to integers of a narrower type.
#[derive(Clone, Copy)]
pub(crate) struct Requantizer {
    multiplier: PerChannel,
    shift: Shift,
    zero_point: i32,
    limits: (i32, i32),
    storage: Scalar,
    /// Adding the zero point may leave i32.
    wraps: bool,
}

impl Requantizer {
    /// A requantizer with one multiplier per channel, to results of type `result`.
    ///
    /// # Errors
    /// If the result is not quantized per tensor.
    pub fn new(
        kernel: &mut Kernel<'_>,
        multipliers: &[QuantizedMultiplier],
        result: &TensorType,
        clamp: Clamp,
    ) -> Result<Self, Diagnostic> {
        let affine = result
            .affine()
            .ok_or_else(|| kernel.error("expected a result quantized per tensor, got another type"))?;
        let numbers: Vec<i32> = multipliers.iter().map(|m| m.multiplier).collect();
        let multiplier = PerChannel::new(kernel, "multiplier", &numbers, false);
        let shifts = || multipliers.iter().map(|m| m.shift);
        let shift = if shifts().all(|shift| shift == 0) {
            Shift::None
        } else if shifts().all(|shift| shift <= 0) {
            let distances: Vec<i32> = shifts().map(|shift| -shift).collect();
            Shift::Right(PerChannel::new(kernel, "shift", &distances, true))
        } else {
            let shifts: Vec<i32> = shifts().collect();
            Shift::Either(PerChannel::new(kernel, "shift", &shifts, true))
        };
        Ok(Self {
            multiplier,
            shift,
            zero_point: affine.zero_point,
            limits: integer_limits(clamp, result.storage()),
            storage: result.storage(),
            // Shifted right, a number has a bit to spare.
            wraps: shifts().any(|shift| shift >= 0),
        })
    }

    /// The result of an accumulator of `channel`.
    pub fn apply(&self, b: &mut Builder<'_>, sum: Value, channel: Value) -> Value {
        let multiplier = self.multiplier.at(b, channel);
        let scaled = match self.shift {
            Shift::None => b.doubling_high_mul(sum, multiplier),
            Shift::Right(distance) => {
                let distance = distance.at(b, channel);
                let product = b.doubling_high_mul(sum, multiplier);
                b.round_shift(product, distance)
            }
            Shift::Either(shift) => {
                let shift = shift.at(b, channel);
                b.requantize(sum, multiplier, shift)
            }
        };
        let shifted = if self.wraps {
            let zero_point = b.i32(self.zero_point);
            b.add_wrap(scaled, zero_point)
        } else {
            b.add_const(scaled, self.zero_point)
        };
        clamp_integer(b, shifted, self.limits, self.storage)
    }
}

/// Limits an i32, first from below and then from above, to limits within the range of `storage`. The storage's own
/// limits cost one saturation.
pub(crate) fn clamp_integer(
    b: &mut Builder<'_>,
    value: Value,
    (low, high): (i32, i32),
    storage: Scalar,
) -> Value {
    let bits = match storage {
        Scalar::I8 => 8,
        Scalar::I16 => 16,
        _ => return b.clamp(value, low, high),
    };
    let mut value = b.value(l::Saturate { bits }, &[value], Type::I32);
    let limit = 1 << (bits - 1);
    if low > -limit {
        let low = b.i32(low);
        value = b.max(value, low);
    }
    if high < limit - 1 {
        let high = b.i32(high);
        value = b.min(value, high);
    }
    value
}

/// Limits a float as the reference does: from below, then from above; NaN passes.
pub(crate) fn clamp_float(b: &mut Builder<'_>, value: Value, clamp: Clamp) -> Value {
    let (low, high) = real_limits(clamp);
    let low = b.f32(low);
    let value = b.max(low, value);
    let high = b.f32(high);
    b.min(high, value)
}
