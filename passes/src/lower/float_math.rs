//! Real functions of floats as polynomials in loop operations, so that the firmware needs no math library and every
//! executor computes the same bits.
//!
//! Each function is total (infinities, zeros, subnormals and NaN give what C's function gives) and accurate to about
//! two units in the last place. Source of the polynomials: S. Moshier, Cephes, `expf.c` and `logf.c`.

use mcunet_ir::loops::ops::{self as l, Predicate, Rounding};
use mcunet_ir::{Builder, Type, Value};

/// ln 2 in two parts, the first with so few bits that its products with small integers are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `(((c0 x + c1) x + c2) x + ...)`.
fn polynomial(b: &mut Builder<'_>, x: Value, coefficients: &[f32]) -> Value {
    let Some((&first, rest)) = coefficients.split_first() else { return b.f32(0.0) };
    let mut sum = b.f32(first);
    for &coefficient in rest {
        let product = b.mul(sum, x);
        let coefficient = b.f32(coefficient);
        sum = b.add(product, coefficient);
    }
    sum
}

fn bits_float(b: &mut Builder<'_>, bits: Value) -> Value {
    b.value(l::BitsFloat {}, &[bits], Type::F32)
}

/// The float with these bits; the way to write infinities and NaN.
fn float_of_bits(b: &mut Builder<'_>, bits: u32) -> Value {
    let bits = b.i32(bits as i32);
    bits_float(b, bits)
}

/// `2^exponent` for an i32 of -126 to 127.
fn power_of_two(b: &mut Builder<'_>, exponent: Value) -> Value {
    let biased = b.add_const(exponent, 127);
    let bits = b.shl_const(biased, 23);
    bits_float(b, bits)
}

/// `e^x`.
pub(crate) fn exp(b: &mut Builder<'_>, x: Value) -> Value {
    // Beyond these limits the result is 0 or infinite; NaN passes both.
    let (low, high) = (b.f32(-104.0), b.f32(89.0));
    let x = b.max(low, x);
    let x = b.min(high, x);
    // x = n ln 2 + r with |r| <= ln 2 / 2
    let log2_e = b.f32(std::f32::consts::LOG2_E);
    let n = b.mul(x, log2_e);
    let n = b.value(l::Round { rounding: Rounding::HalfEven }, &[n], Type::F32);
    let (ln2_high, ln2_low) = (b.f32(LN2_HIGH), b.f32(LN2_LOW));
    let high = b.mul(n, ln2_high);
    let low = b.mul(n, ln2_low);
    let r = b.sub(x, high);
    let r = b.sub(r, low);
    let series = polynomial(
        b,
        r,
        &[1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_1e-1],
    );
    let square = b.mul(r, r);
    let series = b.mul(series, square);
    let series = b.add(series, r);
    let one = b.f32(1.0);
    let series = b.add(series, one);
    // 2^n in two factors, since n reaches from -150 to 128.
    let n = b.value(l::ToInt {}, &[n], Type::I32);
    let half = b.shr_const(n, 1);
    let rest = b.sub(n, half);
    let (half, rest) = (power_of_two(b, half), power_of_two(b, rest));
    let result = b.mul(series, half);
    b.mul(result, rest)
}

/// Natural logarithm; that of 0 is `-inf`, of a negative number NaN.
pub(crate) fn log(b: &mut Builder<'_>, x: Value) -> Value {
    const SQRT_HALF_BITS: i32 = 0x3f35_04f3;
    let smallest = b.f32(f32::MIN_POSITIVE);
    let is_subnormal = b.cmp(Predicate::Lt, x, smallest);
    let scale = b.f32((1u32 << 25) as f32);
    let scaled = b.mul(x, scale);
    let normal = b.select(is_subnormal, scaled, x);
    let (shifted, unshifted) = (b.i32(-25), b.i32(0));
    let exponent_offset = b.select(is_subnormal, shifted, unshifted);
    // x = m 2^e with m of [sqrt(1/2), sqrt(2))
    let bits = b.value(l::FloatBits {}, &[normal], Type::I32);
    let base = b.i32(SQRT_HALF_BITS);
    let above = b.sub_wrap(bits, base);
    let e = b.shr_const(above, 23);
    let e = b.add(e, exponent_offset);
    let e = b.value(l::ToFloat {}, &[e], Type::F32);
    let mask = b.i32(0x007f_ffff);
    let fraction = b.value(l::And {}, &[above, mask], Type::I32);
    let fraction = b.add(fraction, base);
    let m = bits_float(b, fraction);
    let one = b.f32(1.0);
    let f = b.sub(m, one);
    let square = b.mul(f, f);
    let series = polynomial(
        b,
        f,
        &[
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_7e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333_1e-1,
        ],
    );
    let series = b.mul(series, f);
    let series = b.mul(series, square);
    let (ln2_high, ln2_low) = (b.f32(LN2_HIGH), b.f32(LN2_LOW));
    let low = b.mul(e, ln2_low);
    let series = b.add(series, low);
    let half = b.f32(0.5);
    let half_square = b.mul(square, half);
    let series = b.sub(series, half_square);
    let result = b.add(f, series);
    let high = b.mul(e, ln2_high);
    let result = b.add(result, high);
    special_logarithms(b, x, result)
}

/// `result`, unless x is 0, negative, infinite or NaN.
fn special_logarithms(b: &mut Builder<'_>, x: Value, result: Value) -> Value {
    let zero = b.f32(0.0);
    let infinity = float_of_bits(b, f32::INFINITY.to_bits());
    let is_finite = b.cmp(Predicate::Lt, x, infinity);
    let of_positive = b.select(is_finite, result, x);
    let minus_infinity = float_of_bits(b, f32::NEG_INFINITY.to_bits());
    let nan = float_of_bits(b, f32::NAN.to_bits());
    let is_zero = b.cmp(Predicate::Eq, x, zero);
    let otherwise = b.select(is_zero, minus_infinity, nan);
    let is_positive = b.cmp(Predicate::Gt, x, zero);
    b.select(is_positive, of_positive, otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcunet_ir::loops::interp::{Options, run};
    use mcunet_ir::types::{MemRefType, Scalar};
    use mcunet_ir::{Function, Module, Tensor, TensorType};

    /// Applies `f` to every element of `inputs` with the interpreter.
    fn apply(f: impl Fn(&mut Builder<'_>, Value) -> Value, inputs: &[f32]) -> Vec<f32> {
        let count = inputs.len();
        let ty = TensorType::plain([count], Scalar::F32);
        let mut function = Function::new("f");
        let port = mcunet_ir::module::Port { name: "x".into(), ty: ty.clone().into() };
        (function.inputs, function.outputs) = (vec![port.clone()], vec![port]);
        let (top, body) = (function.body, function.create_block());
        let mut b = Builder::at_end(&mut function, top);
        let [x, y] = [l::Role::Input, l::Role::Output].map(|role| {
            let memref = MemRefType { shape: [count].into(), element: Scalar::F32 };
            b.value(l::Buffer { role, index: 0, live: None, place: None }, &[], memref.into())
        });
        b.within(body, |b| {
            b.for_count(count, |b, i| {
                let value = b.load(x, i);
                let value = f(b, value);
                b.store(value, y, i);
            });
            b.op(l::Yield {}, &[], &[]);
        });
        let kernel = l::Kernel { layer: "f".into(), writes: 1, in_place: Vec::new() };
        b.op_with_regions(kernel, &[y, x], &[], &[body]);
        let input = Tensor::new(ty, inputs.to_vec()).unwrap();
        let outputs = run(&Module::new("m"), &function, &[input], Options::default()).unwrap();
        outputs[0].f32s().unwrap().to_vec()
    }

    /// Units in the last place between the result and the exact value, in double.
    fn error(found: f32, exact: f64) -> f64 {
        let nearest = exact as f32;
        if found == nearest || (found.is_nan() && nearest.is_nan()) {
            return 0.0;
        }
        let unit = f64::from(nearest.next_up()) - f64::from(nearest);
        (f64::from(found) - exact).abs() / unit
    }

    fn check(name: &str, inputs: &[f32], found: &[f32], exact: impl Fn(f64) -> f64) {
        for (&x, &y) in inputs.iter().zip(found) {
            let error = error(y, exact(x.into()));
            assert!(error <= 2.0, "{name}({x}) = {y}, {error} units off");
        }
    }

    const SPECIAL: [f32; 11] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        1e-45,
    ];

    #[test]
    fn exp_is_accurate() {
        let grid = (-21_500..18_000).map(|i| i as f32 * 0.005 + 0.000_37);
        let inputs: Vec<f32> = grid.chain(SPECIAL).chain([88.7, 88.73, -87.4, -103.9, -104.1]).collect();
        check("exp", &inputs, &apply(exp, &inputs), f64::exp);
    }

    #[test]
    fn log_is_accurate() {
        let grid = (1..40_000u32).map(|i| f32::from_bits(i * 53_687));
        let near_one = (-2000..2000).map(|i| 1.0 + i as f32 * 1e-4);
        let inputs: Vec<f32> = grid.chain(near_one).chain(SPECIAL).collect();
        check("log", &inputs, &apply(log, &inputs), f64::ln);
    }
}
