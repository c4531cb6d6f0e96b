//! High multiplies and shifts on bare integers, each with its rule for ties and overflow.
//!
//! In the formulas ⌊·⌋ is floor, and all other arithmetic is exact.

/// `⌊(a·b + 2³⁰) / 2³¹⌋`: the product of two Q0.31 numbers, to nearest, ties towards +∞.
///
/// The one product outside `i32`, `i32::MIN · i32::MIN`, saturates to `i32::MAX`. Equal to Arm's `VQRDMULH.S32`.
///
/// Source: `SaturatingRoundingDoublingHighMul`, google/gemmlowp:fixedpoint/fixedpoint.h, which reaches the same value
/// by a nudge that depends on the sign and a division that truncates.
pub const fn saturating_rounding_doubling_high_mul(a: i32, b: i32) -> i32 {
    let rounded = (a as i64 * b as i64 + (1 << 30)) >> 31;
    if rounded > i32::MAX as i64 { i32::MAX } else { rounded as i32 }
}

/// `⌊(a·b + 2¹⁴) / 2¹⁵⌋`: the 16-bit form of [`saturating_rounding_doubling_high_mul`]; `i16::MIN · i16::MIN`
/// saturates to `i16::MAX`.
///
/// Source: as the 32-bit form. HARD_SWISH is its user.
pub const fn saturating_rounding_doubling_high_mul_i16(a: i16, b: i16) -> i16 {
    let rounded = (a as i32 * b as i32 + (1 << 14)) >> 15;
    if rounded > i16::MAX as i32 { i16::MAX } else { rounded as i16 }
}

/// `a·b / 2¹⁵` truncated towards zero; `i16::MIN · i16::MIN` saturates to `i16::MAX`.
///
/// Source: `SaturatingDoublingHighMul`, tensorflow/lite/kernels/internal/reference/hard_swish.h, where truncating
/// makes up for the bias of the rounding multiplies before it.
pub const fn saturating_doubling_high_mul_i16(a: i16, b: i16) -> i16 {
    let truncated = a as i32 * b as i32 / (1 << 15);
    if truncated > i16::MAX as i32 { i16::MAX } else { truncated as i16 }
}

/// `x / 2^exponent` to nearest, ties away from zero, for `exponent` up to 31.
///
/// From 32 on the result is 1 for `x >= 0` and -1 for `x < 0`, zero included. The reference asserts against such
/// exponents but reaches them in builds without assertions (DIV of a zero numerator does so with ordinary scales):
/// its mask of dropped bits is then all ones and its threshold negative, so that the correction is added although
/// nothing was dropped. That is the value on Arm, whose shifts by 32 and more drop all bits; on x86 it is so for `x =
/// 0`.
///
/// Source: `RoundingDivideByPOT`, google/gemmlowp:fixedpoint/fixedpoint.h.
pub const fn rounding_divide_by_pot(x: i32, exponent: u32) -> i32 {
    if exponent > 31 {
        return if x < 0 { -1 } else { 1 };
    }
    // Half a unit, less the least step when `x` is negative: the shift rounds down, and ties have to go away from
    // zero.
    let half = (1i64 << exponent) >> 1;
    let nudge = if x < 0 && exponent > 0 { half - 1 } else { half };
    ((x as i64 + nudge) >> exponent) as i32
}

/// The 16-bit form of [`rounding_divide_by_pot`]: exact up to an `exponent` of 15, and from 16 on 1 for `x >= 0` and
/// -1 for `x < 0`.
///
/// Here the odd values are within the contract of the reference, whose assertion allows up to 31 for every width:
/// HARD_SWISH reaches them when the ratio of its scales is below 2⁻¹⁵.
///
/// Source: as the 32-bit form, instantiated for `int16_t`.
pub const fn rounding_divide_by_pot_i16(x: i16, exponent: u32) -> i16 {
    if exponent > 15 {
        return if x < 0 { -1 } else { 1 };
    }
    rounding_divide_by_pot(x as i32, exponent) as i16
}

/// `x · 2^exponent`: saturating to `i32` for a positive `exponent`, as [`rounding_divide_by_pot`] for a negative one.
///
/// Source: `SaturatingRoundingMultiplyByPOT`, google/gemmlowp:fixedpoint/fixedpoint.h, and for exponents known at run
/// time `SaturatingRoundingMultiplyByPOTParam`, tensorflow/lite/kernels/internal/common.h.
pub const fn saturating_rounding_multiply_by_pot(x: i32, exponent: i32) -> i32 {
    if exponent <= 0 {
        return rounding_divide_by_pot(x, exponent.unsigned_abs());
    }
    // By 31 every value but zero has saturated.
    let exponent = if exponent > 31 { 31 } else { exponent };
    let shifted = (x as i64) << exponent;
    if shifted > i32::MAX as i64 {
        i32::MAX
    } else if shifted < i32::MIN as i64 {
        i32::MIN
    } else {
        shifted as i32
    }
}

/// `x · 2^amount`, saturating to `i16`.
///
/// Source: `SaturatingLeftShift`, tensorflow/lite/kernels/internal/reference/hard_swish.h.
pub const fn saturating_left_shift_i16(x: i16, amount: u32) -> i16 {
    // By 16 every value but zero has saturated.
    let shifted = (x as i64) << if amount > 16 { 16 } else { amount };
    if shifted > i16::MAX as i64 {
        i16::MAX
    } else if shifted < i16::MIN as i64 {
        i16::MIN
    } else {
        shifted as i16
    }
}

/// `(a + b) / 2` to nearest, ties away from zero. Never overflows.
///
/// Source: `RoundingHalfSum`, google/gemmlowp:fixedpoint/fixedpoint.h.
pub const fn rounding_half_sum(a: i32, b: i32) -> i32 {
    let sum = a as i64 + b as i64;
    let away_from_zero = if sum >= 0 { 1 } else { -1 };
    ((sum + away_from_zero) / 2) as i32
}

/// How many bits below the sign bit repeat it: the furthest that `x` can be shifted left without overflow. 31 for 0
/// and -1.
///
/// Source: `CountLeadingSignBits`, tensorflow/lite/kernels/internal/common.h. DIV is its user.
pub const fn count_leading_sign_bits(x: i32) -> u32 {
    (x ^ (x >> 31)).leading_zeros() - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed_point::testing::{Random, edges};

    /// `numerator / denominator` to nearest with ties towards +∞, by comparing the two neighbours.
    fn nearest_ties_up(numerator: i128, denominator: i128) -> i128 {
        let floor = numerator.div_euclid(denominator);
        let fraction = numerator.rem_euclid(denominator);
        if 2 * fraction >= denominator { floor + 1 } else { floor }
    }

    /// As `nearest_ties_up`, with ties away from zero.
    fn nearest_ties_away(numerator: i128, denominator: i128) -> i128 {
        numerator.signum() * nearest_ties_up(numerator.abs(), denominator)
    }

    fn saturate(x: i128) -> i32 {
        x.clamp(i32::MIN.into(), i32::MAX.into()) as i32
    }

    fn check_high_mul(a: i32, b: i32) {
        let expected = saturate(nearest_ties_up(i128::from(a) * i128::from(b), 1 << 31));
        assert_eq!(saturating_rounding_doubling_high_mul(a, b), expected, "{a} * {b}");
    }

    #[test]
    fn high_mul_is_the_rounded_rational() {
        let edges = edges();
        for &a in &edges {
            for &b in &edges {
                check_high_mul(a, b);
            }
        }
        let mut random = Random(1);
        for _ in 0..100_000 {
            check_high_mul(random.i32(), random.i32());
        }
    }

    #[test]
    fn high_mul_saturates_once_and_rounds_ties_up() {
        assert_eq!(saturating_rounding_doubling_high_mul(i32::MIN, i32::MIN), i32::MAX);
        assert_eq!(saturating_rounding_doubling_high_mul(i32::MIN, i32::MAX), -i32::MAX);
        assert_eq!(saturating_rounding_doubling_high_mul(1, 1 << 30), 1);
        assert_eq!(saturating_rounding_doubling_high_mul(-1, 1 << 30), 0);
        assert_eq!(saturating_rounding_doubling_high_mul(-3, 1 << 30), -1);
    }

    #[test]
    fn high_mul_i16_is_the_rounded_rational() {
        for a in (i16::MIN..=i16::MAX).step_by(61).chain([-1, 0, 1, i16::MAX]) {
            for b in (i16::MIN..=i16::MAX).step_by(257).chain([-1, 0, 1, 1 << 14, i16::MAX]) {
                let product = i128::from(a) * i128::from(b);
                let limit = |x: i128| x.min(i16::MAX.into()) as i16;
                let rounded = limit(nearest_ties_up(product, 1 << 15));
                assert_eq!(saturating_rounding_doubling_high_mul_i16(a, b), rounded, "{a} * {b}");
                let truncated = limit(product.signum() * (product.abs() >> 15));
                assert_eq!(saturating_doubling_high_mul_i16(a, b), truncated, "{a} * {b}");
            }
        }
    }

    #[test]
    fn divide_by_pot_is_the_rounded_rational() {
        for exponent in 0..=31 {
            for x in edges().into_iter().chain(-300..300) {
                let expected = nearest_ties_away(x.into(), 1 << exponent);
                assert_eq!(i128::from(rounding_divide_by_pot(x, exponent)), expected, "{x} / 2^{exponent}");
            }
        }
        for exponent in 0..=15 {
            for x in i16::MIN..=i16::MAX {
                let expected = nearest_ties_away(x.into(), 1 << exponent);
                assert_eq!(
                    i128::from(rounding_divide_by_pot_i16(x, exponent)),
                    expected,
                    "{x} / 2^{exponent}"
                );
            }
        }
    }

    #[test]
    fn divide_by_pot_past_the_width_keeps_the_correction() {
        for exponent in [32, 33, 63, 64, u32::MAX] {
            assert_eq!([0, 1, i32::MAX].map(|x| rounding_divide_by_pot(x, exponent)), [1; 3]);
            assert_eq!([-1, i32::MIN].map(|x| rounding_divide_by_pot(x, exponent)), [-1; 2]);
        }
        for exponent in [16, 31, u32::MAX] {
            assert_eq!([0, 1, i16::MAX].map(|x| rounding_divide_by_pot_i16(x, exponent)), [1; 3]);
            assert_eq!([-1, i16::MIN].map(|x| rounding_divide_by_pot_i16(x, exponent)), [-1; 2]);
        }
    }

    #[test]
    fn multiply_by_pot_saturates_upwards_and_rounds_downwards() {
        for exponent in -31..=40i32 {
            for x in edges() {
                let expected = match u32::try_from(exponent) {
                    Ok(exponent) => saturate(i128::from(x) << exponent),
                    Err(_) => rounding_divide_by_pot(x, exponent.unsigned_abs()),
                };
                assert_eq!(saturating_rounding_multiply_by_pot(x, exponent), expected, "{x} * 2^{exponent}");
            }
        }
        assert_eq!(saturating_rounding_multiply_by_pot(-1, i32::MAX), i32::MIN);
    }

    #[test]
    fn left_shift_i16_saturates() {
        for amount in 0..=40 {
            for x in i16::MIN..=i16::MAX {
                let exact = i128::from(x) << amount;
                let expected = exact.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
                assert_eq!(saturating_left_shift_i16(x, amount), expected, "{x} << {amount}");
            }
        }
        assert_eq!(saturating_left_shift_i16(-1, u32::MAX), i16::MIN);
    }

    #[test]
    fn half_sum_rounds_ties_away() {
        for a in edges() {
            for b in edges() {
                let expected = nearest_ties_away(i128::from(a) + i128::from(b), 2);
                assert_eq!(i128::from(rounding_half_sum(a, b)), expected, "{a}, {b}");
            }
        }
    }

    #[test]
    fn sign_bits_are_the_room_for_a_left_shift() {
        for x in edges() {
            let fits = |shift: u32| i32::try_from(i64::from(x) << shift).is_ok();
            let room = (0..=31).take_while(|&shift| fits(shift)).last();
            assert_eq!(Some(count_leading_sign_bits(x)), room, "{x}");
        }
    }
}
