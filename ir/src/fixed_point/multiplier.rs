//! Real factors as integers, and requantization by them.

use super::primitive::{rounding_divide_by_pot, saturating_rounding_doubling_high_mul};

/// The real factor `multiplier · 2^(shift - 31)`.
///
/// [`QuantizedMultiplier::from_real`] normalizes: `multiplier` is 0, or 2³⁰ to 2³¹ in magnitude, and `shift` is -31
/// to 31. Other values mean what the formula says; the functions of this module are defined for all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuantizedMultiplier {
    /// The significand, in Q0.31.
    pub multiplier: i32,
    /// The binary exponent: a left shift when positive, a right shift when negative.
    pub shift: i32,
}

impl QuantizedMultiplier {
    /// The factor zero.
    pub const ZERO: Self = Self { multiplier: 0, shift: 0 };

    /// `real` with 31 significant bits, to nearest, ties away from zero.
    ///
    /// A magnitude below about 2⁻³² becomes zero. A shift of 31, which the scaling of softmax may need, stays; there
    /// is no saturation at 30, which the reference has for single rounding alone.
    ///
    /// `None` when `real` is not finite, where the reference aborts, or from about 2³¹ on, where it would shift an
    /// `i32` by 32 and more.
    ///
    /// Source: `QuantizeMultiplier`, tensorflow/lite/kernels/internal/quantization_util.cc.
    pub fn from_real(real: f64) -> Option<Self> {
        if !real.is_finite() {
            return None;
        }
        let (significand, mut shift) = frexp(real);
        let mut multiplier = (significand * (1u64 << 31) as f64).round() as i64;
        if multiplier == 1 << 31 {
            multiplier /= 2;
            shift += 1;
        }
        if shift < -31 {
            return Some(Self::ZERO);
        }
        let multiplier = i32::try_from(multiplier).ok()?;
        (shift <= 31).then_some(Self { multiplier, shift })
    }

    /// [`QuantizedMultiplier::from_real`] for a factor of the open interval (0, 1), so that `shift` is at most 0.
    ///
    /// `None` outside the interval, and for a factor so near to 1 that it rounds to it: the reference aborts on both.
    ///
    /// Source: `QuantizeMultiplierSmallerThanOneExp`, tensorflow/lite/kernels/internal/quantization_util.cc.
    pub fn from_real_smaller_than_one(real: f64) -> Option<Self> {
        if !(real > 0.0 && real < 1.0) {
            return None;
        }
        Self::from_real(real).filter(|quantized| quantized.shift <= 0)
    }

    /// [`QuantizedMultiplier::from_real`] for a factor above 1, so that `shift` is at least 1. `None` otherwise: the
    /// reference aborts.
    ///
    /// Source: `QuantizeMultiplierGreaterThanOne`, tensorflow/lite/kernels/internal/quantization_util.cc.
    pub fn from_real_greater_than_one(real: f64) -> Option<Self> {
        if real > 1.0 { Self::from_real(real) } else { None }
    }

    /// The factor that the pair stands for.
    pub fn to_real(self) -> f64 {
        f64::from(self.multiplier) * 2f64.powi(self.shift.saturating_sub(31))
    }
}

/// `real` as `significand · 2^exponent`, the significand of [0.5, 1) in magnitude; `(real, 0)` for zero. `real` is
/// finite.
///
/// Source: C17, 7.12.6.4, the function `frexp`.
fn frexp(real: f64) -> (f64, i32) {
    const EXPONENT_SHIFT: u32 = 52;
    const EXPONENT_MASK: u64 = 0x7ff << EXPONENT_SHIFT;
    // The exponent field of [0.5, 1).
    const HALF: u64 = 1022;
    if real == 0.0 {
        return (real, 0);
    }
    if real.is_subnormal() {
        let (significand, exponent) = frexp(real * (1u64 << 54) as f64);
        return (significand, exponent - 54);
    }
    let bits = real.to_bits();
    let exponent = ((bits & EXPONENT_MASK) >> EXPONENT_SHIFT) as i32 - HALF as i32;
    (f64::from_bits(bits & !EXPONENT_MASK | HALF << EXPONENT_SHIFT), exponent)
}

/// `x · m`, rounded twice: `round_away(high_mul(x · 2^max(shift, 0) mod 2³², multiplier) / 2^max(-shift, 0))`.
///
/// The left shift wraps, it doesn't saturate: bits above the 31st are lost, and a shift by 32 and more leaves 0. The
/// high multiply and the right shift are [`saturating_rounding_doubling_high_mul`] and [`rounding_divide_by_pot`],
/// each with its rule for ties.
///
/// For a `shift` of at least 0 this is also the reference's `MultiplyByQuantizedMultiplierGreaterThanOne`.
///
/// Source: `MultiplyByQuantizedMultiplier(int32_t, …)`, tensorflow/lite/kernels/internal/common.cc, without
/// `TFLITE_SINGLE_ROUNDING`.
pub const fn multiply_by_quantized_multiplier(x: i32, m: QuantizedMultiplier) -> i32 {
    if m.shift <= 0 {
        let product = saturating_rounding_doubling_high_mul(x, m.multiplier);
        return rounding_divide_by_pot(product, m.shift.unsigned_abs());
    }
    let shifted = match x.checked_shl(m.shift.unsigned_abs()) {
        Some(shifted) => shifted,
        None => 0,
    };
    saturating_rounding_doubling_high_mul(shifted, m.multiplier)
}

/// `x · m` for a factor below one: the same as [`multiply_by_quantized_multiplier`] under the name by which ADD, SUB,
/// DIV and others of the reference call it.
///
/// A positive `shift`, undefined in the reference, is a left shift here too.
///
/// Source: `MultiplyByQuantizedMultiplierSmallerThanOneExp`, tensorflow/lite/kernels/internal/common.h.
pub const fn multiply_by_quantized_multiplier_smaller_than_one_exp(x: i32, m: QuantizedMultiplier) -> i32 {
    multiply_by_quantized_multiplier(x, m)
}

/// `⌊(x · r + 2^(t-1)) / 2^t⌋` with `t = 15 - shift` and `r` the multiplier in 16 bits, see
/// [`downscale_multiplier_to_i16`]: the product for 64-bit accumulators of int16x8 kernels, rounded once, ties
/// towards +∞.
///
/// The reference requires `multiplier >= 0`, `-31 <= shift <= 7`, `-2⁴⁷ <= x < 2⁴⁷` and a result in `i32`. Beyond
/// that, product and sum wrap in 64 bits and the result is cut to its low 32. A shift of 15 and more drops no bits
/// and moves the product left; one below -48 drops them all and leaves 0.
///
/// Source: `MultiplyByQuantizedMultiplier(int64_t, …)`, tensorflow/lite/kernels/internal/common.cc, without
/// `TFLITE_SINGLE_ROUNDING`.
pub const fn multiply_by_quantized_multiplier_i64(x: i64, m: QuantizedMultiplier) -> i32 {
    let product = x.wrapping_mul(downscale_multiplier_to_i16(m.multiplier) as i64);
    let total_shift = 15i32.saturating_sub(m.shift);
    match total_shift {
        1..=63 => (product.wrapping_add(1 << (total_shift - 1)) >> total_shift) as i32,
        -31..=0 => (product << -total_shift) as i32,
        _ => 0,
    }
}

/// `⌊(multiplier + 2¹⁵) / 2¹⁶⌋`, at most `i16::MAX`: a significand of Q0.31 in Q0.15.
///
/// Source: `DownScaleInt32ToInt16Multiplier`, tensorflow/lite/kernels/internal/common.h; the same value is computed
/// within the 64-bit `MultiplyByQuantizedMultiplier`.
pub const fn downscale_multiplier_to_i16(multiplier: i32) -> i16 {
    let rounded = (multiplier as i64 + (1 << 15)) >> 16;
    if rounded > i16::MAX as i64 { i16::MAX } else { rounded as i16 }
}

/// From accumulator to output: `min(max(acc · m + zero_point, clamp.0), clamp.1)`, the sum wrapping.
///
/// The order of the two limits matters when they cross, as they do for an activation whose range lies outside that of
/// the storage type: the result is then `clamp.1`.
///
/// Source: the epilogue of tensorflow/lite/kernels/internal/reference/integer_ops/conv.h and its siblings.
pub fn requantize(acc: i32, m: QuantizedMultiplier, zero_point: i32, clamp: (i32, i32)) -> i32 {
    offset_and_clamp(multiply_by_quantized_multiplier(acc, m), zero_point, clamp)
}

/// [`requantize`] for the 64-bit accumulators of int16x8 kernels, by [`multiply_by_quantized_multiplier_i64`].
pub fn requantize_i64(acc: i64, m: QuantizedMultiplier, zero_point: i32, clamp: (i32, i32)) -> i32 {
    offset_and_clamp(multiply_by_quantized_multiplier_i64(acc, m), zero_point, clamp)
}

fn offset_and_clamp(scaled: i32, zero_point: i32, (low, high): (i32, i32)) -> i32 {
    // Not `clamp`, which panics when the limits cross.
    scaled.wrapping_add(zero_point).max(low).min(high)
}

/// `zero_point + round(real / scale)`, with quotient and rounding in `f32`, ties away from zero; not clamped to a
/// storage type.
///
/// `None` when the quotient is not a number or outside `i32`, where the reference reports an error, or when the sum
/// overflows.
///
/// Source: `Quantize`, tensorflow/lite/kernels/kernel_util.cc.
pub fn quantize(real: f32, scale: f32, zero_point: i32) -> Option<i32> {
    let quotient = (real / scale).round();
    // As an f32 i32::MAX is 2³¹, which the reference lets pass and then converts with undefined result.
    if !(quotient >= i32::MIN as f32 && quotient < i32::MAX as f32) {
        return None;
    }
    zero_point.checked_add(quotient as i32)
}

/// The quantized limits of a fused activation: those of `storage`, narrowed by the [`quantize`]d real limits of the
/// activation.
///
/// `activation` holds the least and the greatest real value, each `None` where the activation doesn't limit:
/// `(Some(0.0), None)` is RELU, `(Some(0.0), Some(6.0))` RELU6, `(Some(-1.0), Some(1.0))` RELU_N1_TO_1. The limits of
/// the result may cross, see [`requantize`].
///
/// `None` when a limit can't be quantized.
///
/// Source: `CalculateActivationRangeQuantizedImpl`, tensorflow/lite/kernels/kernel_util.cc.
pub fn calculate_activation_range_quantized(
    activation: (Option<f32>, Option<f32>),
    scale: f32,
    zero_point: i32,
    storage: (i32, i32),
) -> Option<(i32, i32)> {
    let low = match activation.0 {
        Some(real) => storage.0.max(quantize(real, scale, zero_point)?),
        None => storage.0,
    };
    let high = match activation.1 {
        Some(real) => storage.1.min(quantize(real, scale, zero_point)?),
        None => storage.1,
    };
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed_point::testing::{Random, edges};

    fn pair(multiplier: i32, shift: i32) -> QuantizedMultiplier {
        QuantizedMultiplier { multiplier, shift }
    }

    #[test]
    fn from_real_at_the_edges() {
        let from_real = QuantizedMultiplier::from_real;
        assert_eq!(from_real(0.0), Some(QuantizedMultiplier::ZERO));
        assert_eq!(from_real(-0.0), Some(QuantizedMultiplier::ZERO));
        assert_eq!(from_real(1.0), Some(pair(1 << 30, 1)));
        assert_eq!(from_real(-1.0), Some(pair(-1 << 30, 1)));
        assert_eq!(from_real(0.1), Some(pair(1_717_986_918, -3)));
        // Rounding up to 2³¹ moves into the exponent; downwards there is room for -2³¹.
        assert_eq!(from_real(1.0 - f64::EPSILON), Some(pair(1 << 30, 1)));
        assert_eq!(from_real(f64::EPSILON - 1.0), Some(pair(i32::MIN, 0)));
        // The least factor that is not flushed to zero is 2⁻³².
        assert_eq!(from_real(2f64.powi(-32)), Some(pair(1 << 30, -31)));
        assert_eq!(from_real(2f64.powi(-33)), Some(QuantizedMultiplier::ZERO));
        assert_eq!(from_real(f64::from_bits(1)), Some(QuantizedMultiplier::ZERO));
        // The greatest is the last below 2³¹ in 31 bits.
        assert_eq!(from_real(2f64.powi(31) - 1.0), Some(pair(i32::MAX, 31)));
        for real in
            [2f64.powi(31), 2f64.powi(31) - 0.25, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]
        {
            assert_eq!(from_real(real), None, "{real}");
        }
    }

    #[test]
    fn from_real_is_the_nearest() {
        let mut random = Random(2);
        for _ in 0..100_000 {
            let exponent = random.range(-31, 31) as i32;
            let real = (random.next() >> 11) as f64 / (1u64 << 53) as f64 * 2f64.powi(exponent);
            let quantized = QuantizedMultiplier::from_real(real).unwrap();
            if quantized == QuantizedMultiplier::ZERO {
                assert!(real < 2f64.powi(-32));
                continue;
            }
            assert!(quantized.multiplier >= 1 << 30, "{quantized:?} is not normal");
            // Half a unit in the last of the 31 places.
            assert!((quantized.to_real() - real).abs() <= 2f64.powi(quantized.shift - 32), "{real}");
        }
    }

    #[test]
    fn frexp_splits_every_scale() {
        for exponent in -1074..1024 {
            // Not by `powi`, whose reciprocal overflows for subnormal results.
            let real = 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2);
            assert_eq!(frexp(real), (0.5, exponent + 1));
            assert_eq!(frexp(-real), (-0.5, exponent + 1));
        }
        assert_eq!(frexp(6.5), (0.8125, 3));
    }

    #[test]
    fn restricted_conversions_refuse_the_rest() {
        let smaller = QuantizedMultiplier::from_real_smaller_than_one;
        assert_eq!(smaller(0.5), Some(pair(1 << 30, 0)));
        for real in [0.0, -0.5, 1.0, 1.0 - f64::EPSILON, f64::NAN] {
            assert_eq!(smaller(real), None, "{real}");
        }
        let greater = QuantizedMultiplier::from_real_greater_than_one;
        assert_eq!(greater(1.5), Some(pair(3 << 29, 1)));
        for real in [0.5, 1.0, -2.0, f64::NAN, f64::INFINITY] {
            assert_eq!(greater(real), None, "{real}");
        }
    }

    /// The two roundings written out on wide integers, for a shift of -31 to 31.
    fn multiply_twice_rounded(x: i32, m: QuantizedMultiplier) -> i32 {
        let shifted = (i128::from(x) << m.shift.max(0)) as i32;
        let doubled = i128::from(shifted) * i128::from(m.multiplier) * 2;
        let high = ((doubled + (1 << 31)) >> 32).min(i32::MAX.into());
        let unit = 1i128 << (-m.shift).max(0);
        ((2 * high.abs() + unit) / (2 * unit) * high.signum()) as i32
    }

    #[test]
    fn product_is_two_roundings() {
        let mut random = Random(3);
        for _ in 0..200_000 {
            let m = pair(random.i32(), random.range(-31, 32) as i32);
            let x = random.i32();
            assert_eq!(multiply_by_quantized_multiplier(x, m), multiply_twice_rounded(x, m), "{x} * {m:?}");
        }
        for x in edges() {
            for shift in -31..=31 {
                for multiplier in [i32::MIN, -1, 0, 1, 1 << 30, i32::MAX] {
                    let m = pair(multiplier, shift);
                    assert_eq!(
                        multiply_by_quantized_multiplier(x, m),
                        multiply_twice_rounded(x, m),
                        "{x} * {m:?}"
                    );
                    assert_eq!(
                        multiply_by_quantized_multiplier_smaller_than_one_exp(x, m),
                        multiply_by_quantized_multiplier(x, m)
                    );
                }
            }
        }
    }

    #[test]
    fn rounding_twice_differs_from_rounding_once() {
        // 3 · 0.1640625 is 0.4921875: once rounded 0, but the high multiply first makes 1.96875 of it, that is 2, a
        // tie for the shift.
        let m = pair(1_409_286_144, -2);
        assert_eq!(m.to_real(), 0.1640625);
        assert_eq!(multiply_by_quantized_multiplier(3, m), 1);
    }

    #[test]
    fn left_shift_wraps() {
        assert_eq!(multiply_by_quantized_multiplier(1 << 30, pair(1 << 30, 1)), -1 << 30);
        assert_eq!(multiply_by_quantized_multiplier(3, pair(1 << 30, 31)), -1 << 30);
        assert_eq!(multiply_by_quantized_multiplier(2, pair(1 << 30, 31)), 0);
        for shift in [32, i32::MAX] {
            assert_eq!(multiply_by_quantized_multiplier(-1, pair(i32::MAX, shift)), 0);
        }
        assert_eq!(multiply_by_quantized_multiplier(i32::MIN, pair(i32::MIN, 0)), i32::MAX);
        assert_eq!(multiply_by_quantized_multiplier(5, pair(1 << 30, i32::MIN)), 1);
    }

    #[test]
    fn wide_product_is_one_rounding() {
        let mut random = Random(4);
        for _ in 0..200_000 {
            let shift = random.range(-31, 8) as i32;
            let m = pair(random.range(1 << 30, 1 << 31) as i32, shift);
            // The greatest of the accumulators for which the result is in `i32`.
            let bound = 1i64 << (31 - shift).min(47);
            let x = random.range(-bound / 2, bound / 2);
            let reduced = ((i128::from(m.multiplier) + (1 << 15)) / (1 << 16)).min(0x7fff);
            let unit = 1i128 << (15 - shift);
            let expected = (2 * i128::from(x) * reduced + unit).div_euclid(2 * unit);
            assert_eq!(i128::from(multiply_by_quantized_multiplier_i64(x, m)), expected, "{x} * {m:?}");
        }
    }

    #[test]
    fn wide_product_is_total() {
        assert_eq!(multiply_by_quantized_multiplier_i64(3, pair(1 << 30, 15)), 3 << 14);
        assert_eq!(multiply_by_quantized_multiplier_i64(3, pair(1 << 30, 16)), 3 << 15);
        assert_eq!(multiply_by_quantized_multiplier_i64(3, pair(1 << 30, 14)), 3 << 13);
        assert_eq!(multiply_by_quantized_multiplier_i64(-1, pair(i32::MAX, -48)), 0);
        for shift in [i32::MIN, -49, 47, i32::MAX] {
            assert_eq!(multiply_by_quantized_multiplier_i64(i64::MIN, pair(i32::MAX, shift)), 0);
        }
        assert_eq!(multiply_by_quantized_multiplier_i64(i64::MAX, pair(i32::MAX, 15)), -0x7fff);
    }

    #[test]
    fn downscaling_rounds_and_saturates() {
        assert_eq!(downscale_multiplier_to_i16(1 << 30), 1 << 14);
        assert_eq!(downscale_multiplier_to_i16((1 << 30) + (1 << 15)), (1 << 14) + 1);
        assert_eq!(downscale_multiplier_to_i16((1 << 30) + (1 << 15) - 1), 1 << 14);
        for multiplier in [0x7fff_0000, 0x7fff_7fff, 0x7fff_8000, i32::MAX] {
            assert_eq!(downscale_multiplier_to_i16(multiplier), i16::MAX);
        }
    }

    #[test]
    fn requantize_offsets_then_clamps() {
        let half = pair(1 << 30, 0);
        assert_eq!(requantize(21, half, -3, (-128, 127)), 8);
        assert_eq!(requantize(-1000, half, -3, (-128, 127)), -128);
        assert_eq!(requantize(1000, half, -3, (-128, 127)), 127);
        assert_eq!(requantize_i64(1000, half, 0, (0, 32767)), 500);
        assert_eq!(requantize_i64(-1000, half, 0, (0, 32767)), 0);
        assert_eq!(requantize(0, half, 0, (10, -10)), -10, "crossed limits");
    }

    #[test]
    fn activation_ranges() {
        let int8 = (-128, 127);
        let range = |activation, scale, zero_point| {
            calculate_activation_range_quantized(activation, scale, zero_point, int8)
        };
        assert_eq!(range((None, None), 0.1, 3), Some(int8));
        assert_eq!(range((Some(0.0), None), 0.1, 3), Some((3, 127)));
        assert_eq!(range((Some(0.0), Some(6.0)), 0.1, -128), Some((-128, -68)));
        assert_eq!(range((Some(0.0), Some(6.0)), 0.01, -128), Some((-128, 127)));
        assert_eq!(range((Some(-1.0), Some(1.0)), 0.4, 0), Some((-3, 3)), "a tie goes away from zero");
        assert_eq!(range((Some(0.0), None), 0.1, 200), Some((200, 127)), "crossed limits");
        for scale in [0.0, f32::NAN, 1e-30] {
            assert_eq!(range((Some(0.0), Some(6.0)), scale, 0), None, "{scale}");
        }
        assert_eq!(range((None, None), f32::NAN, 0), Some(int8));
    }

    #[test]
    fn quantize_rounds_the_single_precision_quotient() {
        assert_eq!(quantize(-2.5, 1.0, 10), Some(7));
        // In f64 the quotient is just below 2.5.
        assert_eq!((f64::from(0.25f32) / f64::from(0.1f32)).round(), 2.0);
        assert_eq!(quantize(0.25, 0.1, 0), Some(3));
        assert_eq!(quantize(i32::MIN as f32, 1.0, 0), Some(i32::MIN));
        assert_eq!(quantize(i32::MIN as f32, 1.0, -1), None);
        assert_eq!(quantize(2f32.powi(31), 1.0, 0), None);
    }
}
