//! From accumulators to stored integers.

use super::kernel::Kernel;
use mcunet_ir::fixed_point::{QuantizedMultiplier, downscale_multiplier_to_i16};
use mcunet_ir::loops::ops as l;
use mcunet_ir::tensor::Data;
use mcunet_ir::{Builder, Type, Value};

/// A multiplier and its shift: literals, or tables indexed by channel.
#[derive(Clone, Copy, Debug)]
enum Factor {
    Literal(QuantizedMultiplier),
    /// Table of multipliers and one shift for all.
    Multipliers(Value, i32),
    /// Tables of multipliers and shifts; whether all shifts are to the right.
    Tables(Value, Value, bool),
}

/// How to bring accumulators to the result's scale, per channel.
#[derive(Clone, Copy, Debug)]
pub struct Requantizer {
    factor: Factor,
    zero_point: i32,
    limits: (i32, i32),
}

impl Requantizer {
    /// Prepares tables where channels differ.
    pub fn new(
        kernel: &mut Kernel<'_>,
        multipliers: &[QuantizedMultiplier],
        zero_point: i32,
        limits: (i32, i32),
    ) -> Self {
        let first = multipliers.first().copied().unwrap_or(QuantizedMultiplier::ZERO);
        let factor = if multipliers.iter().all(|&multiplier| multiplier == first) {
            Factor::Literal(first)
        } else {
            let table = |values: Vec<i32>| Data::I32(values);
            let values = table(multipliers.iter().map(|m| m.multiplier).collect());
            let values = kernel.data("multipliers", &values);
            if multipliers.iter().all(|multiplier| multiplier.shift == first.shift) {
                Factor::Multipliers(values, first.shift)
            } else {
                let right = multipliers.iter().all(|multiplier| multiplier.shift <= 0);
                let sign = if right { -1 } else { 1 };
                let shifts = table(multipliers.iter().map(|m| sign * m.shift).collect());
                Factor::Tables(values, kernel.data("shifts", &shifts), right)
            }
        };
        Self { factor, zero_point, limits }
    }

    /// The stored integer of an accumulator of channel `channel`.
    pub fn apply(&self, b: &mut Builder<'_>, accumulator: Value, channel: Value) -> Value {
        let scaled = match self.factor {
            Factor::Literal(multiplier) => rescale(b, accumulator, multiplier),
            Factor::Multipliers(multipliers, shift) => {
                let multiplier = b.load(multipliers, channel);
                let shift = b.i32(shift);
                self.general(b, accumulator, multiplier, shift)
            }
            Factor::Tables(multipliers, shifts, right) => {
                let (multiplier, shift) = (b.load(multipliers, channel), b.load(shifts, channel));
                if right {
                    let product = b.value(l::DoublingHighMul {}, &[accumulator, multiplier], Type::I32);
                    b.value(l::RoundShift {}, &[product, shift], Type::I32)
                } else {
                    b.value(l::Requantize {}, &[accumulator, multiplier, shift], Type::I32)
                }
            }
        };
        finish(b, scaled, self.zero_point, self.limits)
    }

    fn general(&self, b: &mut Builder<'_>, accumulator: Value, multiplier: Value, shift: Value) -> Value {
        match self.factor {
            Factor::Multipliers(_, right) if right <= 0 => {
                let product = b.value(l::DoublingHighMul {}, &[accumulator, multiplier], Type::I32);
                shift_right(b, product, -right)
            }
            _ => b.value(l::Requantize {}, &[accumulator, multiplier, shift], Type::I32),
        }
    }
}

fn shift_right(b: &mut Builder<'_>, value: Value, distance: i32) -> Value {
    if distance == 0 {
        return value;
    }
    let distance = b.i32(distance);
    b.value(l::RoundShift {}, &[value, distance], Type::I32)
}

/// Multiplies by a constant multiplier as the reference does, rounding twice.
pub fn rescale(b: &mut Builder<'_>, value: Value, multiplier: QuantizedMultiplier) -> Value {
    let factor = b.i32(multiplier.multiplier);
    if multiplier.shift > 0 {
        let shift = b.i32(multiplier.shift);
        return b.value(l::Requantize {}, &[value, factor, shift], Type::I32);
    }
    let product = b.value(l::DoublingHighMul {}, &[value, factor], Type::I32);
    shift_right(b, product, -multiplier.shift)
}

/// From accumulators of int16 layers to stored integers: one rounding in 64 bits. The bias is added here, last, so that sums
/// of products may be kept in 32 bits where they fit.
#[derive(Clone, Copy, Debug)]
pub struct WideRequantizer {
    /// Factors of 16 bits, by channel.
    multipliers: Value,
    /// By how many bits products are shifted right, by channel.
    shifts: Value,
    /// Of 64 bits, by channel.
    bias: Value,
    limits: (i32, i32),
}

impl WideRequantizer {
    /// Prepares the tables. The verifier bounds the shifts: see `check_accumulator_multipliers`.
    pub fn new(
        kernel: &mut Kernel<'_>,
        multipliers: &[QuantizedMultiplier],
        bias: Value,
        limits: (i32, i32),
    ) -> Self {
        let factor = |m: &QuantizedMultiplier| i32::from(downscale_multiplier_to_i16(m.multiplier));
        let factors = Data::I32(multipliers.iter().map(factor).collect());
        let shifts = Data::I32(multipliers.iter().map(|m| 15 - m.shift).collect());
        let multipliers = kernel.data("multipliers", &factors);
        Self { multipliers, shifts: kernel.data("shifts", &shifts), bias, limits }
    }

    /// The stored integer of a sum of products (i32 or i64) of a channel.
    pub fn apply(&self, b: &mut Builder<'_>, sum: Value, channel: Value) -> Value {
        let sum = widened(b, sum);
        let bias = b.load(self.bias, channel);
        let sum = b.add_wrap(sum, bias);
        let (multiplier, shift) = (b.load(self.multipliers, channel), b.load(self.shifts, channel));
        let multiplier = widened(b, multiplier);
        let product = b.value(l::Mul { wrap: true }, &[sum, multiplier], Type::I64);
        let (one, below) = (b.i64(1), b.add_const(shift, -1));
        let half = b.value(l::Shl {}, &[one, below], Type::I64);
        let rounded = b.add_wrap(product, half);
        let scaled = b.value(l::Shr {}, &[rounded, shift], Type::I64);
        let scaled = b.value(l::Truncate {}, &[scaled], Type::I32);
        b.clamp(scaled, self.limits.0, self.limits.1)
    }
}

/// A number as i64.
pub fn widened(b: &mut Builder<'_>, value: Value) -> Value {
    if *b.function.ty(value) == Type::I64 {
        return value;
    }
    b.value(l::Extend {}, &[value], Type::I64)
}

/// Adds the zero point and limits the result. The sum wraps as the reference's does.
pub fn finish(b: &mut Builder<'_>, scaled: Value, zero_point: i32, (low, high): (i32, i32)) -> Value {
    let sum = if zero_point == 0 {
        scaled
    } else {
        let zero_point = b.i32(zero_point);
        b.add_wrap(scaled, zero_point)
    };
    if (low, high) == (-128, 127) {
        return b.value(l::Saturate { bits: 8 }, &[sum], Type::I32);
    }
    b.clamp(sum, low, high)
}

/// [`rescale`] and [`finish`].
pub fn requantize(
    b: &mut Builder<'_>,
    value: Value,
    multiplier: QuantizedMultiplier,
    zero_point: i32,
    limits: (i32, i32),
) -> Value {
    let scaled = rescale(b, value, multiplier);
    finish(b, scaled, zero_point, limits)
}
