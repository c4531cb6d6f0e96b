//! Float arithmetic in loop ops: limits, and functions that the product has no library for.
//!
//! Exponential and logarithm are range reductions and polynomials, accurate to about 2 units in the last place.

use mcunet_ir::attr::Clamp;
use mcunet_ir::loops::ops as l;
use mcunet_ir::nn::requantize::real_limits;
use mcunet_ir::{Builder, Type, Value};

/// Limits a float; NaN passes, as in the reference.
pub fn clamp_float(b: &mut Builder<'_>, value: Value, clamp: Clamp) -> Value {
    if clamp == Clamp::None {
        return value;
    }
    let (low, high) = real_limits(clamp);
    let value = if low > f32::MIN {
        let low = b.f32(low);
        b.max(low, value)
    } else {
        value
    };
    if high < f32::MAX {
        let high = b.f32(high);
        b.min(high, value)
    } else {
        value
    }
}

fn div(b: &mut Builder<'_>, lhs: Value, rhs: Value) -> Value {
    b.value(l::Div {}, &[lhs, rhs], Type::F32)
}

fn round(b: &mut Builder<'_>, rounding: l::Rounding, value: Value) -> Value {
    b.value(l::Round { rounding }, &[value], Type::F32)
}

/// `((c0 x + c1) x + c2) ...`
fn polynomial(b: &mut Builder<'_>, x: Value, coefficients: &[f32]) -> Value {
    let mut sum = b.f32(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        let product = b.mul(sum, x);
        let coefficient = b.f32(coefficient);
        sum = b.add(product, coefficient);
    }
    sum
}

/// `e^x`; 0 below about -103, infinite above about 88.7.
///
/// `x = k ln 2 + r` with `|r| <= ln 2 / 2`; `e^r` is a Taylor polynomial of degree 7, whose error is below half a unit
/// in the last place there. `2^k` is applied in two factors, so that subnormal results are right.
pub fn exp(b: &mut Builder<'_>, x: Value) -> Value {
    let (low, high) = (b.f32(-104.0), b.f32(89.0));
    // NaN passes both limits.
    let x = b.max(low, x);
    let x = b.min(high, x);
    let log2_e = b.f32(std::f32::consts::LOG2_E);
    let steps = b.mul(x, log2_e);
    let k = round(b, l::Rounding::HalfEven, steps);
    // ln 2 in two parts, the first short enough that k times it is exact.
    let (ln2_high, ln2_low) = (b.f32(0.693_359_4), b.f32(-2.121_944_4e-4));
    let high_part = b.mul(k, ln2_high);
    let r = b.sub(x, high_part);
    let low_part = b.mul(k, ln2_low);
    let r = b.sub(r, low_part);
    let coefficients = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let mantissa = polynomial(b, r, &coefficients);
    let k = b.value(l::ToInt {}, &[k], Type::I32);
    let one = b.i32(1);
    let half = b.value(l::Shr { bounded: false }, &[k, one], Type::I32);
    let rest = b.sub(k, half);
    let (first, second) = (power_of_two(b, half), power_of_two(b, rest));
    let scaled = b.mul(mantissa, first);
    b.mul(scaled, second)
}

/// `2^k` for `k` from -126 to 127.
fn power_of_two(b: &mut Builder<'_>, k: Value) -> Value {
    let biased = b.add_const(k, 127);
    let distance = b.i32(23);
    let bits = b.value(l::Shl { bounded: false }, &[biased, distance], Type::I32);
    b.value(l::BitsFloat {}, &[bits], Type::F32)
}

/// `ln x`; minus infinity for 0, NaN for negative numbers.
///
/// `x = 2^k m` with `m` in `[sqrt(1/2), sqrt(2))` and `ln m = 2 artanh(s)`, `s = (m - 1) / (m + 1)`, as a series in `s`.
pub fn log(b: &mut Builder<'_>, x: Value) -> Value {
    let (zero, least_normal) = (b.f32(0.0), b.f32(f32::MIN_POSITIVE));
    // Subnormal numbers are scaled into the normal range first.
    let is_subnormal = b.cmp(l::Predicate::Lt, x, least_normal);
    let up = b.f32(8_388_608.0);
    let scaled = b.mul(x, up);
    let normal = b.select(is_subnormal, scaled, x);
    let (minus_23, none) = (b.i32(-23), b.i32(0));
    let extra = b.select(is_subnormal, minus_23, none);
    let bits = b.value(l::FloatBits {}, &[normal], Type::I32);
    // Adding this moves the boundary between exponents to sqrt(1/2). The bits of NaN leave 32 bits.
    let offset = b.i32(0x3f80_0000 - 0x3f35_04f3);
    let moved = b.add_wrap(bits, offset);
    let distance = b.i32(23);
    let exponent = b.value(l::Shr { bounded: false }, &[moved, distance], Type::I32);
    let exponent = b.add_const(exponent, -127);
    let exponent_bits = b.value(l::Shl { bounded: false }, &[exponent, distance], Type::I32);
    let mantissa_bits = b.value(l::Sub { wrap: true }, &[bits, exponent_bits], Type::I32);
    let m = b.value(l::BitsFloat {}, &[mantissa_bits], Type::F32);
    let one = b.f32(1.0);
    let (below, above) = (b.sub(m, one), b.add(m, one));
    let s = div(b, below, above);
    let square = b.mul(s, s);
    let tail = polynomial(b, square, &[2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0]);
    let cubed = b.mul(s, square);
    let tail = b.mul(cubed, tail);
    let twice = b.add(s, s);
    let ln_m = b.add(twice, tail);
    let k = b.add(exponent, extra);
    let k = b.value(l::ToFloat {}, &[k], Type::F32);
    let (ln2_high, ln2_low) = (b.f32(0.693_359_4), b.f32(-2.121_944_4e-4));
    let low_part = b.mul(k, ln2_low);
    let sum = b.add(ln_m, low_part);
    let high_part = b.mul(k, ln2_high);
    let finite = b.add(high_part, sum);
    // The special cases: 0, negative numbers and NaN, infinity.
    let (minus_infinity, infinity, nan) = (b.f32(f32::NEG_INFINITY), b.f32(f32::INFINITY), b.f32(f32::NAN));
    let is_infinite = b.cmp(l::Predicate::Eq, x, infinity);
    let result = b.select(is_infinite, infinity, finite);
    let is_positive = b.cmp(l::Predicate::Gt, x, zero);
    let is_zero = b.cmp(l::Predicate::Eq, x, zero);
    let otherwise = b.select(is_zero, minus_infinity, nan);
    b.select(is_positive, result, otherwise)
}

/// `e^x - 1`; accurate near 0 too.
pub fn exp_minus_one(b: &mut Builder<'_>, x: Value) -> Value {
    let e = exp(b, x);
    let one = b.f32(1.0);
    let far = b.sub(e, one);
    let coefficients =
        [1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 0.0];
    let near = polynomial(b, x, &coefficients);
    let (low, high) = (b.f32(-0.5), b.f32(0.5));
    let above = b.cmp(l::Predicate::Gt, x, low);
    let below = b.cmp(l::Predicate::Lt, x, high);
    let inner = b.select(below, near, far);
    b.select(above, inner, far)
}

/// Hyperbolic tangent: `(e^2x - 1) / (e^2x + 1)`.
pub fn tanh(b: &mut Builder<'_>, x: Value) -> Value {
    let (low, high) = (b.f32(-20.0), b.f32(20.0));
    let limited = b.max(low, x);
    let limited = b.min(high, limited);
    let twice = b.add(limited, limited);
    let e = exp_minus_one(b, twice);
    let two = b.f32(2.0);
    let divisor = b.add(e, two);
    div(b, e, divisor)
}

/// Logistic function, with the reference's limits.
pub fn logistic(b: &mut Builder<'_>, x: Value) -> Value {
    let (zero, one) = (b.f32(0.0), b.f32(1.0));
    let negative = b.sub(zero, x);
    let e = exp(b, negative);
    let divisor = b.add(one, e);
    let middle = div(b, one, divisor);
    let far_below = exp(b, x);
    let (low, high) = (b.f32(-9.0), b.f32(16.619_047));
    let is_low = b.cmp(l::Predicate::Lt, x, low);
    let result = b.select(is_low, far_below, middle);
    let is_high = b.cmp(l::Predicate::Gt, x, high);
    b.select(is_high, one, result)
}
