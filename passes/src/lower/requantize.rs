//! From 32-bit accumulators to stored integers.
//!
//! The reference multiplies (saturating rounding doubling high multiply), shifts right rounding ties away from zero, adds
//! the zero point and limits: a dozen instructions. With `x = a * m / 2^31`, `C = 2^(e-1) + zero_point * 2^e`:
//!
//! - `x` is one multiply that adds, `a + (a * m') / 2^32` with `m' = 2m - 2^32`, for every `a` and `2^30 <= m < 2^31`;
//! - rounding shift and zero point are one sum and one shift, `(x + sign(a) + C) >> e`, as long as neither overflows:
//!   `|a| < 2^30` and `e <= 21`. The sign of `a` serves instead of that of `x`, since they differ for `x = 0` only, where
//!   one less than `C` can't cross a multiple of `2^e`;
//! - without the sign, results differ below the zero point only, so that it is left out where they are limited to that;
//! - `C` and the sign are what the multiply adds to.
//!
//! All of it needs a bound on accumulators, which lowering has from the weights; without one the general form is used.

use super::kernel::Kernel;
use mcunet_ir::fixed_point::{QuantizedMultiplier, downscale_multiplier_to_i16};
use mcunet_ir::loops::ops as l;
use mcunet_ir::tensor::Data;
use mcunet_ir::{Builder, Type, Value};

/// Accumulators below this in magnitude can be doubled, and their results shifted exactly.
const SMALL: u64 = 1 << 30;

/// The longest shift for which `C` fits.
const MAX_SHIFT: i32 = 21;

/// A number of each channel.
#[derive(Clone, Copy, Debug)]
enum Column {
    /// The same for all channels.
    Same(i32),
    /// A table by channel.
    Table(Value),
}

impl Column {
    fn load(self, b: &mut Builder<'_>, channel: Value) -> Value {
        match self {
            Column::Same(value) => b.i32(value),
            Column::Table(table) => b.load(table, channel),
        }
    }
}

/// The form with one multiply that adds.
#[derive(Clone, Copy, Debug)]
struct Short {
    /// `2m - 2^32`.
    factor: Column,
    /// `e`.
    shift: Column,
    /// What `C` is made from.
    zero_point: i32,
    /// Whether negative accumulators are rounded differently.
    signed: bool,
}

/// The general form: a multiplier and its shift.
#[derive(Clone, Copy, Debug)]
struct General {
    multiplier: Column,
    /// To the left if positive; to the right if `right`, which all are then.
    shift: Column,
    right: bool,
}

impl Short {
    /// `C` for a loaded shift: two instructions, and no word of flash.
    fn offset(self, b: &mut Builder<'_>, distance: Value) -> Value {
        if let Column::Same(distance) = self.shift {
            return b.i32(offset(distance, self.zero_point));
        }
        let odd = b.i32(2 * self.zero_point + 1);
        let doubled = b.value(l::Shl { bounded: true }, &[odd, distance], Type::I32);
        b.shr_const(doubled, 1)
    }
}

#[derive(Clone, Copy, Debug)]
enum Factor {
    Short(Short),
    General(General, i32),
}

/// How to bring accumulators to the result's scale, per channel.
#[derive(Clone, Copy, Debug)]
pub struct Requantizer {
    factor: Factor,
    limits: (i32, i32),
}

/// The numbers of a channel: factor, offset and shift, or multiplier and shift.
#[derive(Clone, Copy, Debug)]
pub struct Loaded([Value; 3]);

/// Whether the short form takes a multiplier, and `C` fits for a zero point: those of 8 bits are small enough.
fn is_short(multiplier: QuantizedMultiplier, zero_point: i32) -> bool {
    let fits = (i8::MIN.into()..=u8::MAX.into()).contains(&zero_point);
    fits && multiplier.multiplier >= 1 << 30 && (-MAX_SHIFT..=0).contains(&multiplier.shift)
}

/// `2m - 2^32`, in the 32 bits of a signed integer.
fn doubled(multiplier: QuantizedMultiplier) -> i32 {
    multiplier.multiplier.wrapping_mul(2)
}

/// `C` for a shift of `distance` to the right.
fn offset(distance: i32, zero_point: i32) -> i32 {
    ((2 * zero_point + 1) << distance) >> 1
}

/// Whether the short form takes all multipliers, and then whether negative accumulators are rounded differently.
fn short_form(
    multipliers: &[QuantizedMultiplier],
    zero_point: i32,
    limits: (i32, i32),
    bound: Option<u64>,
) -> Option<bool> {
    let small = bound.is_some_and(|bound| bound < SMALL);
    // Where nothing is shifted nothing is rounded, so that signs make no difference.
    let shifted = multipliers.iter().any(|multiplier| multiplier.shift < 0);
    let signed = shifted && limits.0 != zero_point;
    let alike = !signed || multipliers.iter().all(|multiplier| multiplier.shift < 0);
    let short = small && alike && multipliers.iter().all(|&multiplier| is_short(multiplier, zero_point));
    short.then_some(signed)
}

/// The short form for `loop.matmul`: multiplier and `e` of each channel, and whether negative accumulators are rounded
/// differently. `None` where the form does not apply or nothing is shifted.
pub fn short_table(
    multipliers: &[QuantizedMultiplier],
    zero_point: i32,
    limits: (i32, i32),
    bound: Option<u64>,
) -> Option<(Vec<i32>, bool)> {
    let signed = short_form(multipliers, zero_point, limits, bound)?;
    let shifted = multipliers.iter().all(|multiplier| multiplier.shift < 0);
    shifted.then(|| (multipliers.iter().flat_map(|m| [m.multiplier, -m.shift]).collect(), signed))
}

/// Factors and shifts by channel: tables where they differ, 5 bytes a channel.
fn columns(kernel: &mut Kernel<'_>, names: [&str; 2], factors: Vec<i32>, shifts: &[i32]) -> [Column; 2] {
    let same = |list: &[i32]| list.iter().all(|value| Some(value) == list.first());
    let only = |list: &[i32]| Column::Same(list.first().copied().unwrap_or(0));
    let factor = match same(&factors) {
        true => only(&factors),
        false => Column::Table(kernel.data(names[0], &Data::I32(factors))),
    };
    // The verifier bounds shifts far below what a byte holds.
    let bytes = shifts.iter().map(|&shift| shift.clamp(i8::MIN.into(), i8::MAX.into()) as i8).collect();
    let shift = match same(shifts) {
        true => only(shifts),
        false => Column::Table(kernel.data(names[1], &Data::I8(bytes))),
    };
    [factor, shift]
}

impl Requantizer {
    /// Prepares tables where channels differ. `bound` is what no accumulator exceeds in magnitude, if that is known.
    pub fn new(
        kernel: &mut Kernel<'_>,
        multipliers: &[QuantizedMultiplier],
        zero_point: i32,
        limits: (i32, i32),
        bound: Option<u64>,
    ) -> Self {
        let list =
            |of: &dyn Fn(QuantizedMultiplier) -> i32| multipliers.iter().map(|&m| of(m)).collect::<Vec<_>>();
        if let Some(signed) = short_form(multipliers, zero_point, limits, bound) {
            let (factors, shifts) = (list(&doubled), list(&|m| -m.shift));
            let [factor, shift] = columns(kernel, ["factors", "shifts"], factors, &shifts);
            let short = Short { factor, shift, zero_point, signed };
            return Self { factor: Factor::Short(short), limits };
        }
        let right = multipliers.iter().all(|multiplier| multiplier.shift <= 0);
        let (factors, shifts) = (list(&|m| m.multiplier), list(&|m| if right { -m.shift } else { m.shift }));
        let [multiplier, shift] = columns(kernel, ["multipliers", "shifts"], factors, &shifts);
        Self { factor: Factor::General(General { multiplier, shift, right }, zero_point), limits }
    }

    /// The stored integer of an accumulator of channel `channel`.
    pub fn apply(&self, b: &mut Builder<'_>, accumulator: Value, channel: Value) -> Value {
        let loaded = self.load(b, channel);
        self.apply_loaded(b, accumulator, loaded)
    }

    /// The numbers of a channel, for several of its accumulators.
    pub fn load(&self, b: &mut Builder<'_>, channel: Value) -> Loaded {
        match self.factor {
            Factor::Short(short) => {
                let [factor, distance] = [short.factor, short.shift].map(|column| column.load(b, channel));
                Loaded([factor, short.offset(b, distance), distance])
            }
            Factor::General(General { multiplier, shift, .. }, _) => {
                let [multiplier, shift] = [multiplier, shift].map(|column| column.load(b, channel));
                Loaded([multiplier, shift, shift])
            }
        }
    }

    /// The stored integer of an accumulator of the channel whose numbers were loaded.
    pub fn apply_loaded(&self, b: &mut Builder<'_>, accumulator: Value, loaded: Loaded) -> Value {
        match self.factor {
            Factor::Short(short) => {
                let Loaded([factor, offset, distance]) = loaded;
                let scaled = short_product(b, accumulator, factor, offset, short.signed);
                let scaled = match short.shift {
                    Column::Same(0) => scaled,
                    _ => b.value(l::Shr { bounded: true }, &[scaled, distance], Type::I32),
                };
                finish(b, scaled, 0, self.limits)
            }
            Factor::General(general, zero_point) => {
                let Loaded([multiplier, shift, _]) = loaded;
                let scaled = if general.right {
                    let product = b.value(l::DoublingHighMul {}, &[accumulator, multiplier], Type::I32);
                    match general.shift {
                        Column::Same(distance) => shift_right(b, product, distance),
                        Column::Table { .. } => b.value(l::RoundShift {}, &[product, shift], Type::I32),
                    }
                } else {
                    b.value(l::Requantize {}, &[accumulator, multiplier, shift], Type::I32)
                };
                finish(b, scaled, zero_point, self.limits)
            }
        }
    }
}

/// `value * m / 2^31 + offset`, less 1 if `value` is negative and `signed`.
fn short_product(b: &mut Builder<'_>, value: Value, factor: Value, offset: Value, signed: bool) -> Value {
    let addend = if signed {
        let sign = b.shr_const(value, 31);
        let sum = b.add(value, sign);
        b.add(sum, offset)
    } else {
        b.add(value, offset)
    };
    b.value(l::MulAddHigh {}, &[value, factor, addend], Type::I32)
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

/// [`rescale`] for values that do not exceed `bound` in magnitude.
pub fn rescale_small(
    b: &mut Builder<'_>,
    value: Value,
    multiplier: QuantizedMultiplier,
    bound: u64,
) -> Value {
    if bound >= SMALL || !is_short(multiplier, 0) {
        return rescale(b, value, multiplier);
    }
    let distance = -multiplier.shift;
    let (factor, half) = (b.i32(doubled(multiplier)), b.i32(offset(distance, 0)));
    let scaled = short_product(b, value, factor, half, distance > 0);
    if distance == 0 { scaled } else { b.shr_const(scaled, distance) }
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
        let half = b.value(l::Shl { bounded: false }, &[one, below], Type::I64);
        let rounded = b.add_wrap(product, half);
        let scaled = b.value(l::Shr { bounded: true }, &[rounded, shift], Type::I64);
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
    // One instruction limits to what int8 holds, and most activations are narrower on one side only.
    if low < -128 || high > 127 || (low != -128 && high != 127) {
        return b.clamp(sum, low, high);
    }
    let result = b.value(l::Saturate { bits: 8 }, &[sum], Type::I32);
    let result = if low > -128 {
        {
            let low = b.i32(low);
            b.max(result, low)
        }
    } else {
        result
    };
    if high < 127 {
        {
            let high = b.i32(high);
            b.min(result, high)
        }
    } else {
        result
    }
}

/// [`rescale_small`] and [`finish`].
pub fn requantize(
    b: &mut Builder<'_>,
    value: Value,
    multiplier: QuantizedMultiplier,
    bound: u64,
    zero_point: i32,
    limits: (i32, i32),
) -> Value {
    if bound >= SMALL || !is_short(multiplier, zero_point) {
        let scaled = rescale(b, value, multiplier);
        return finish(b, scaled, zero_point, limits);
    }
    let distance = -multiplier.shift;
    let (factor, offset) = (b.i32(doubled(multiplier)), b.i32(offset(distance, zero_point)));
    let scaled = short_product(b, value, factor, offset, distance > 0 && limits.0 != zero_point);
    let scaled = if distance == 0 { scaled } else { b.shr_const(scaled, distance) };
    finish(b, scaled, 0, limits)
}
