//! Real functions on [`FixedPoint`] numbers, step for step as the reference computes them.
//!
//! The order of operations is part of the result, since each product rounds. Constants are real numbers in Q0.31 or
//! Q2.29, rounded to nearest; the tests compute them anew.

use super::format::FixedPoint;
use super::multiplier::QuantizedMultiplier;
use super::primitive::{rounding_half_sum, saturating_rounding_multiply_by_pot};

type F0 = FixedPoint<0>;
type F2 = FixedPoint<2>;
type F3 = FixedPoint<3>;

/// exp(-1/8).
const EXP_MINUS_ONE_EIGHTH: F0 = F0::from_raw(1_895_147_668);
/// 1/3.
const ONE_THIRD: F0 = F0::from_raw(715_827_883);
/// The pairs of `k` and exp(-2ᵏ).
const EXP_OF_MINUS_POWERS: [(i32, F0); 7] = [
    (-2, F0::from_raw(1_672_461_947)),
    (-1, F0::from_raw(1_302_514_674)),
    (0, F0::from_raw(790_015_084)),
    (1, F0::from_raw(290_630_308)),
    (2, F0::from_raw(39_332_535)),
    (3, F0::from_raw(720_401)),
    (4, F0::from_raw(242)),
];
/// 48/17 and -32/17: the line that starts Newton's division with the least error over [1/2, 1].
const NEWTON_START: (F2, F2) = (F2::from_raw(1_515_870_810), F2::from_raw(-1_010_580_540));
/// √½.
const SQRT_HALF: F0 = F0::from_raw(1_518_500_250);

/// eˣ for `a` of [-1/4, 0), from the first five terms of the Taylor series around -1/8.
///
/// With `x = a + 1/8`: `exp(-1/8) · (1 + x + x²/2 + x³/6 + x⁴/24)`.
///
/// Source: the function of this name, google/gemmlowp:fixedpoint/fixedpoint.h.
pub fn exp_on_interval_between_negative_one_quarter_and_0_excl(a: FixedPoint<0>) -> FixedPoint<0> {
    let x = a + F0::from_raw(1 << 28);
    let x2 = x * x;
    let x3 = x2 * x;
    let x4 = x2 * x2;
    let quarter_x4 = divide_by_pot(x4, 2);
    let higher_terms = divide_by_pot((quarter_x4 + x3) * ONE_THIRD + x2, 1);
    EXP_MINUS_ONE_EIGHTH + EXP_MINUS_ONE_EIGHTH * (x + higher_terms)
}

fn divide_by_pot(x: F0, exponent: i32) -> F0 {
    F0::from_raw(saturating_rounding_multiply_by_pot(x.raw(), -exponent))
}

/// eᵃ for `a <= 0`; exactly [`FixedPoint::ONE`], the largest number below 1, for `a = 0`.
///
/// `a` is a multiple of 1/4 plus a rest of [-1/4, 0). The rest goes through
/// [`exp_on_interval_between_negative_one_quarter_and_0_excl`], then for every bit of the multiple follows a product
/// with a constant. Below -32 the result is 0. A positive `a` has no meaningful result.
///
/// `INTEGER_BITS` is at most 29, so that 1/4 is representable, checked when compiled.
///
/// Source: the function of this name, google/gemmlowp:fixedpoint/fixedpoint.h.
pub fn exp_on_negative_values<const INTEGER_BITS: u32>(a: FixedPoint<INTEGER_BITS>) -> FixedPoint<0> {
    const { assert!(INTEGER_BITS <= 29, "1/4 needs two fractional bits") };
    exp_of_raw(a.raw(), INTEGER_BITS)
}

/// [`exp_on_negative_values`] of `raw / 2^(31 - integer_bits)`, with at most 29 integer bits: the type of 2a can't be
/// spelled from that of `a`, and tanh needs it.
fn exp_of_raw(raw: i32, integer_bits: u32) -> F0 {
    if raw == 0 {
        return F0::ONE;
    }
    // exp(-32) is far below the last bit of the result; further bits of the argument than those up to 16 have no
    // constant.
    if integer_bits > 5 && raw < -(1 << (36 - integer_bits)) {
        return F0::ZERO;
    }
    let fractional_bits = 31 - integer_bits as i32;
    let one_quarter = 1i32 << (fractional_bits - 2);
    let rest = (raw & (one_quarter - 1)) - one_quarter;
    let rest_in_0 = F0::from_raw(saturating_rounding_multiply_by_pot(rest, integer_bits as i32));
    let multiple = rest.wrapping_sub(raw);
    EXP_OF_MINUS_POWERS
        .iter()
        .filter(|&&(power, _)| {
            power < integer_bits as i32 && multiple & (1 << (fractional_bits + power)) != 0
        })
        .fold(exp_on_interval_between_negative_one_quarter_and_0_excl(rest_in_0), |result, &(_, factor)| {
            result * factor
        })
}

/// `1 / ((1 + a) / 2)` for `a` of [0, 1), a number of (1, 2], by three steps of Newton's method.
///
/// Source: the division within `one_over_one_plus_x_for_x_in_0_1`, google/gemmlowp:fixedpoint/fixedpoint.h; the
/// constants are those of <https://en.wikipedia.org/wiki/Division_algorithm#Newton%E2%80%93Raphson_division>.
fn inverse_of_half_of_one_plus(a: F0) -> F2 {
    let half_denominator = F0::from_raw(rounding_half_sum(a.raw(), F0::ONE.raw()));
    let mut x = NEWTON_START.0 + half_denominator * NEWTON_START.1;
    for _ in 0..3 {
        let error: FixedPoint<4> = x.product(F2::ONE - half_denominator * x);
        x = x + error.rescale();
    }
    x
}

/// `1 / (1 + a)` for `a` of [0, 1).
///
/// Source: the function of this name, google/gemmlowp:fixedpoint/fixedpoint.h.
pub fn one_over_one_plus_x_for_x_in_0_1(a: FixedPoint<0>) -> FixedPoint<0> {
    // Half of a number is the same bits with one integer bit less.
    FixedPoint::<1>::from_raw(inverse_of_half_of_one_plus(a).raw()).rescale()
}

/// `(1 - a) / (1 + a)` for `a` of [0, 1).
///
/// Source: the function of this name, google/gemmlowp:fixedpoint/fixedpoint.h.
pub fn one_minus_x_over_one_plus_x_for_x_in_0_1(a: FixedPoint<0>) -> FixedPoint<0> {
    (inverse_of_half_of_one_plus(a) - F2::ONE).rescale()
}

/// The logistic function `1 / (1 + e⁻ᵃ)`, exactly ½ for `a = 0`.
///
/// Computed for |a|; a negative `a` then has [`FixedPoint::ONE`] minus that. int8 LOGISTIC calls it with 4 integer
/// bits.
///
/// Source: the function of this name, google/gemmlowp:fixedpoint/fixedpoint.h.
pub fn logistic<const INTEGER_BITS: u32>(a: FixedPoint<INTEGER_BITS>) -> FixedPoint<0> {
    if a == FixedPoint::ZERO {
        return F0::from_raw(1 << 30);
    }
    let is_positive = a > FixedPoint::ZERO;
    let magnitude = if is_positive { a } else { -a };
    let of_magnitude = one_over_one_plus_x_for_x_in_0_1(exp_on_negative_values(-magnitude));
    if is_positive { of_magnitude } else { F0::ONE - of_magnitude }
}

/// The hyperbolic tangent `(1 - e⁻²ᵃ) / (1 + e⁻²ᵃ)`, odd, and exactly 0 for `a = 0`.
///
/// `INTEGER_BITS` is at most 28, checked when compiled. int8 TANH calls it with 4.
///
/// Source: the function of this name, google/gemmlowp:fixedpoint/fixedpoint.h.
pub fn tanh<const INTEGER_BITS: u32>(a: FixedPoint<INTEGER_BITS>) -> FixedPoint<0> {
    const { assert!(INTEGER_BITS <= 28, "the double of the argument has an integer bit more") };
    if a == FixedPoint::ZERO {
        return F0::ZERO;
    }
    let is_negative = a < FixedPoint::ZERO;
    let negative = if is_negative { a } else { -a };
    // Twice a number is the same bits with one integer bit more.
    let of_magnitude = one_minus_x_over_one_plus_x_for_x_in_0_1(exp_of_raw(negative.raw(), INTEGER_BITS + 1));
    if is_negative { -of_magnitude } else { of_magnitude }
}

/// An inverse with its binary exponent: `scale · 2^-bits_over_unit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reciprocal {
    /// The inverse of the argument brought to [1, 2), a number of (½, 1].
    pub scale: FixedPoint<0>,
    /// How far the argument was shifted down for that; negative when it was shifted up.
    pub bits_over_unit: i32,
}

/// The inverse of `x / 2^(31 - x_integer_digits)`, for `x > 0`.
///
/// SOFTMAX calls it with 12 integer digits for its sum of exponentials, DIV with 31, that is for the integer itself.
/// Of an `x` of 0 or less, undefined in the reference, the result has no meaning.
///
/// Source: `GetReciprocal`, tensorflow/lite/kernels/internal/common.h.
pub fn get_reciprocal(x: i32, x_integer_digits: i32) -> Reciprocal {
    let headroom_plus_one = x.leading_zeros();
    // The leading one, that is the 1 of [1, 2), is shifted to the sign bit and then taken away.
    let shifted_minus_one = x.checked_shl(headroom_plus_one).unwrap_or(0).wrapping_sub(i32::MIN);
    Reciprocal {
        scale: one_over_one_plus_x_for_x_in_0_1(F0::from_raw(shifted_minus_one)),
        bits_over_unit: x_integer_digits.saturating_sub_unsigned(headroom_plus_one),
    }
}

/// `1 / √input` as a factor whose shift is at most 0; its significand is not normalized.
///
/// The result for 1 is the factor just below, of multiplier `i32::MAX` and shift 0; 0 counts as 1.
/// `input` is scaled by a power of four to [¼, 1), where five steps of Newton's method from 1 follow.
/// L2_NORMALIZATION and RSQRT are its users; the shift is that of the reference called with `kReverseShift`. A
/// negative `input`, outside the reference's contract, counts as 1.
///
/// Source: `GetInvSqrtQuantizedMultiplierExp`, tensorflow/lite/kernels/internal/common.h.
pub fn get_inv_sqrt_quantized_multiplier_exp(input: i32) -> QuantizedMultiplier {
    if input <= 1 {
        return QuantizedMultiplier { multiplier: i32::MAX, shift: 0 };
    }
    let (scaled, right_shift) = scale_by_power_of_four(input);
    let x = F3::from_raw(scaled >> 1);
    let half_x = F3::from_raw(saturating_rounding_multiply_by_pot(x.raw(), -1));
    let three_halves = F3::from_raw(3 << 27);
    let mut root = F3::ONE;
    for _ in 0..5 {
        let square: FixedPoint<6> = root.product(root);
        let cube: FixedPoint<9> = square.product(root);
        let step: FixedPoint<6> = three_halves.product::<3, 6>(root) - half_x.product(cube.rescale::<3>());
        root = step.rescale();
    }
    let multiplier = (SQRT_HALF * root).raw();
    if right_shift < 0 {
        // At most by 2: the significand is then that of 1/√2 or 1/√3, which fits.
        let multiplier = multiplier.wrapping_shl(right_shift.unsigned_abs());
        return QuantizedMultiplier { multiplier, shift: 0 };
    }
    QuantizedMultiplier { multiplier, shift: -right_shift }
}

/// `input > 1` times a power of four, a number of [2²⁷, 2²⁹), and the right shift that its inverse square root needs
/// to make up for it.
fn scale_by_power_of_four(input: i32) -> (i32, i32) {
    let mut scaled = input;
    let mut right_shift = 11;
    while scaled >= 1 << 29 {
        scaled /= 4;
        right_shift += 1;
    }
    // 3 leading zeros or more, so that there is at least one pair of bits below the sign.
    let shift_pairs = (scaled.leading_zeros().saturating_sub(1) / 2).saturating_sub(1);
    (scaled << (2 * shift_pairs), right_shift - shift_pairs as i32)
}

/// ln(x) for `x` of Q12.19 from 1 on, in Q5.26: the logarithm of the sum of exponentials in LOG_SOFTMAX.
///
/// `x = r · 2ᵉ` with r of [√½, 1), so that e is a multiple of ½; then `ln x = ln 2 · (e - ¼) + ln(r · ⁴√2)`, the last term
/// a rational approximation around its zero, `r = ⁴√½`. Below 1 the result has the right meaning too, as its range is
/// symmetric; of 0 or a negative number it has none.
///
/// Source: `log_x_for_x_greater_than_or_equal_to_1_impl<5, 12>`, tensorflow/lite/kernels/internal/common.h, the only
/// instantiation among the kernels.
pub fn log_x_for_x_greater_than_or_equal_to_1(x: FixedPoint<12>) -> FixedPoint<5> {
    let (r, exponent_less_quarter) = log_split(x);
    let (numerator, denominator_minus_one) = log_fraction(r);
    let inverse = one_over_one_plus_x_for_x_in_0_1(denominator_minus_one);
    (LOG_2 * exponent_less_quarter + inverse * numerator.rescale()).rescale()
}

/// `x` as r of [√½, 1) and e - ¼, with `x = r · 2ᵉ`.
///
/// Both an odd and an even multiple of ½ are tried for e. The wrong one makes r too great, by √2, and e too small.
fn log_split(x: FixedPoint<12>) -> (F0, FixedPoint<6>) {
    const INTEGER_BITS: i32 = 12;
    const QUARTER: FixedPoint<6> = FixedPoint::from_raw(1 << (FixedPoint::<6>::FRACTIONAL_BITS - 2));
    // Integers of at most 20 in magnitude, far from saturation.
    let integer = |value: i32| FixedPoint::<31>::from_raw(value).rescale::<6>();
    // The bits of x as a fraction; where the binary point was is part of the exponent.
    let fraction = F0::from_raw(x.raw());
    let headroom = |z: F0| z.raw().leading_zeros() as i32 - 1;
    let shift_left = |z: F0, amount| F0::from_raw(saturating_rounding_multiply_by_pot(z.raw(), amount));

    // e = INTEGER_BITS - headroom - ½.
    let odd_headroom = headroom(fraction);
    let odd_r = shift_left(shift_left(fraction, odd_headroom) * SQRT_HALF, 1);
    let odd_exponent = integer(INTEGER_BITS - odd_headroom - 1) + QUARTER;

    // e = INTEGER_BITS - headroom, where that of x · √½ leaves r below 1, or by rounding at 1.
    let even_headroom = headroom(fraction * SQRT_HALF);
    let even_r = shift_left(fraction, even_headroom);
    let even_exponent = integer(INTEGER_BITS - even_headroom) - QUARTER;

    (odd_r.min(even_r), odd_exponent.max(even_exponent))
}

/// ln 2.
const LOG_2: F0 = F0::from_raw(1_488_522_236);
/// ⁴√½.
const FOURTH_ROOT_HALF: F0 = F0::from_raw(1_805_811_301);
/// 11/240 · ⁴√2.
const ALPHA_N: F0 = F0::from_raw(117_049_297);
/// 1/20 · ⁴√2.
const ALPHA_D: F0 = F0::from_raw(127_690_142);
/// 2 / ⁴√2 - ⁴√2.
const ALPHA_I: F0 = F0::from_raw(1_057_819_769);
/// 1/4 · ⁴√2.
const ALPHA_F: F0 = F0::from_raw(638_450_708);

/// Numerator, and denominator less one, of the rational approximation of ln(r · ⁴√2) around `r = ⁴√½`.
fn log_fraction(r: F0) -> (F0, F0) {
    let p = F0::from_raw(rounding_half_sum(r.raw(), FOURTH_ROOT_HALF.raw()));
    let half_q = r - FOURTH_ROOT_HALF;
    let q = half_q + half_q;
    let q2 = q * q;
    let numerator = q * r + q * q2 * ALPHA_N;
    let denominator_minus_one = p * (ALPHA_I + q + ALPHA_D * q2) + ALPHA_F * q;
    (numerator, denominator_minus_one)
}

#[cfg(test)]
mod tests;
