//! Elementwise ops of two operands. Source: the reference kernels' `add.h`, `sub.h`, `mul.h`, `div.h`,
//! `maximum_minimum.h`, `squared_difference.cc`, `prelu.h`.

use super::broadcast::{broadcast_offsets, broadcast_shape};
use super::ops::{Add, Div, Maximum, Minimum, Mul, Prelu, SquaredDifference, Sub};
use super::pool::same_quantization;
use super::requantize::{
    check_clamp, check_multipliers, check_symmetric, clamp_real, int8_affine, integer_limits, real_limits,
};
use super::{EvalError, NnSemantics};
use crate::attr::Clamp;
use crate::fixed_point::{
    QuantizedMultiplier, count_leading_sign_bits, get_reciprocal, multiply_by_quantized_multiplier,
    requantize, rounding_divide_by_pot, saturating_rounding_doubling_high_mul,
};
use crate::quant::Affine;
use crate::tensor::{Data, Tensor};
use crate::types::{Scalar, Shape, TensorType};

/// Parameters of a quantized sum, difference or squared difference: both operands are brought to a common scale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommonScale {
    /// Bits by which the operands are shifted up first.
    pub left_shift: u32,
    /// From the left operand to the common scale.
    pub lhs: QuantizedMultiplier,
    /// From the right operand to the common scale.
    pub rhs: QuantizedMultiplier,
    /// From the common scale to the result.
    pub output: QuantizedMultiplier,
}

/// Bits by which operands of a sum are shifted up: as many as 32 hold. Source: `add_common.cc`, `sub_common.cc`.
fn sum_left_shift(output: &TensorType) -> u32 {
    if output.storage() == Scalar::I16 { 15 } else { 20 }
}

/// Scales of operands and result.
fn affines(types: [&TensorType; 3]) -> Option<[Affine; 3]> {
    Some([types[0].affine()?, types[1].affine()?, types[2].affine()?])
}

impl CommonScale {
    /// Of an addition, in double. Source: `add_common.cc`.
    pub fn of_add(types: [&TensorType; 3]) -> Option<Self> {
        let [lhs, rhs, output] = affines(types)?.map(|affine| f64::from(affine.scale.get()));
        let twice_max = 2.0 * lhs.max(rhs);
        let left_shift = sum_left_shift(types[2]);
        let to_output = twice_max / ((1u32 << left_shift) as f64 * output);
        Self::new(left_shift, lhs / twice_max, rhs / twice_max, to_output)
    }

    /// Of a subtraction, in float. Source: `sub_common.cc`.
    pub fn of_sub(types: [&TensorType; 3]) -> Option<Self> {
        let [lhs, rhs, output] = affines(types)?.map(|affine| affine.scale.get());
        let twice_max = 2.0 * lhs.max(rhs);
        let left_shift = sum_left_shift(types[2]);
        let to_output = twice_max / ((1u32 << left_shift) as f32 * output);
        Self::new(left_shift, (lhs / twice_max).into(), (rhs / twice_max).into(), to_output.into())
    }

    /// Of a squared difference, in double. Source: `squared_difference.cc`.
    pub fn of_squared_difference(types: [&TensorType; 3]) -> Option<Self> {
        let [lhs, rhs, output] = affines(types)?.map(|affine| f64::from(affine.scale.get()));
        let twice_max = 2.0 * lhs.max(rhs);
        // As many bits as leave room for the square.
        let left_shift = if types[2].storage() == Scalar::I16 { 0 } else { 7 };
        let to_output = twice_max * twice_max / ((1u32 << (2 * left_shift)) as f64 * output);
        Self::new(left_shift, lhs / twice_max, rhs / twice_max, to_output)
    }

    fn new(left_shift: u32, lhs: f64, rhs: f64, output: f64) -> Option<Self> {
        Some(Self {
            left_shift,
            lhs: QuantizedMultiplier::from_real(lhs)?,
            rhs: QuantizedMultiplier::from_real(rhs)?,
            output: QuantizedMultiplier::from_real(output)?,
        })
    }

    fn left(&self, x: i32) -> i32 {
        multiply_by_quantized_multiplier(x << self.left_shift, self.lhs)
    }

    fn right(&self, x: i32) -> i32 {
        multiply_by_quantized_multiplier(x << self.left_shift, self.rhs)
    }
}

/// The multiplier of a quantized product, in double. Source: `mul_common.cc`.
pub fn product_multiplier(types: [&TensorType; 3]) -> Option<QuantizedMultiplier> {
    let [lhs, rhs, output] = affines(types)?.map(|affine| f64::from(affine.scale.get()));
    QuantizedMultiplier::from_real(lhs * rhs / output)
}

/// The multiplier of a quantized quotient, in float. Source: `div.cc`.
pub fn quotient_multiplier(types: [&TensorType; 3]) -> Option<QuantizedMultiplier> {
    let [lhs, rhs, output] = affines(types)?.map(|affine| affine.scale.get());
    QuantizedMultiplier::from_real((lhs / (rhs * output)).into())
}

/// Multipliers of a quantized PRELU: of positive inputs, and of negative ones times alpha. Source: `prelu.cc`.
pub fn prelu_multipliers(types: [&TensorType; 3]) -> Option<[QuantizedMultiplier; 2]> {
    let [input, alpha, output] = affines(types)?.map(|affine| f64::from(affine.scale.get()));
    Some([
        QuantizedMultiplier::from_real(input / output)?,
        QuantizedMultiplier::from_real(input * alpha / output)?,
    ])
}

/// A quotient of centered int8 numbers, before zero point and clamp. A zero divisor gives 0, which the reference leaves
/// undefined; so does a quotient whose last shift leaves the 32-bit range.
pub fn quantized_quotient(a: i32, b: i32, multiplier: QuantizedMultiplier) -> i32 {
    let (a, b) = if b < 0 { (-a, -b) } else { (a, b) };
    if b == 0 {
        return 0;
    }
    let reciprocal = get_reciprocal(b, 31);
    let headroom = count_leading_sign_bits(a);
    let shifted = a.wrapping_shl(headroom);
    let quotient = saturating_rounding_doubling_high_mul(shifted, reciprocal.scale.raw());
    let exponent = multiplier.shift - reciprocal.bits_over_unit - headroom as i32;
    let product = saturating_rounding_doubling_high_mul(quotient, multiplier.multiplier);
    match u32::try_from(-exponent) {
        Ok(right) if right <= 31 => rounding_divide_by_pot(product, right),
        Ok(_) => 0,
        // The reference asserts that this does not happen; saturate as a left shift would.
        Err(_) => crate::fixed_point::saturating_rounding_multiply_by_pot(product, exponent),
    }
}

fn infer(operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
    Ok(vec![broadcast_shape(&operands[0].shape, &operands[1].shape)?])
}

/// Checks that operands and result have one of `allowed` as storage, all alike, int8 quantized per tensor.
fn verify_types(
    operands: &[&TensorType],
    result: &TensorType,
    allowed: &[Scalar],
    report: &mut Vec<String>,
) -> bool {
    let scalar = operands[0].storage();
    let alike = operands.iter().all(|ty| ty.storage() == scalar) && result.storage() == scalar;
    if !alike || !allowed.contains(&scalar) {
        let names: Vec<&str> = allowed.iter().map(|scalar| scalar.name()).collect();
        let found: Vec<&str> = operands.iter().map(|ty| ty.storage().name()).collect();
        report.push(format!(
            "expected operands and result alike of {}, got {} and {}",
            names.join(", "),
            found.join(", "),
            result.storage().name()
        ));
        return false;
    }
    let quantized = operands.iter().all(|ty| ty.affine().is_some()) && result.affine().is_some();
    if scalar == Scalar::I8 && !quantized {
        report.push("expected int8 operands and result quantized per tensor, got others".to_owned());
        return false;
    }
    true
}

/// Applies `f` to every pair of broadcast elements.
fn zip<T: Copy, U: Copy, R>(
    lhs: &Tensor,
    rhs: &Tensor,
    result: &TensorType,
    a: &[T],
    b: &[U],
    f: impl Fn(T, U) -> R,
) -> Vec<R> {
    let left = broadcast_offsets(&lhs.ty.shape, &result.shape);
    let right = broadcast_offsets(&rhs.ty.shape, &result.shape);
    left.into_iter().zip(right).map(|(i, j)| f(a[i], b[j])).collect()
}

/// The three arithmetics of an op of two operands.
struct Arithmetic<Q, F, I> {
    quantized: Q,
    real: F,
    integer: I,
}

/// Evaluates an op of two operands; `quantized` works on centered int8 numbers and includes the result's zero point.
fn evaluate<Q: Fn(i32, i32) -> i32, F: Fn(f32, f32) -> f32, I: Fn(i32, i32) -> i32>(
    operands: &[&Tensor],
    result: &TensorType,
    clamp: Clamp,
    arithmetic: Arithmetic<Q, F, I>,
) -> Result<Vec<Tensor>, EvalError> {
    let (lhs, rhs) = (operands[0], operands[1]);
    let data = match result.storage() {
        Scalar::F32 => {
            let limits = real_limits(clamp);
            let f = |a, b| clamp_real((arithmetic.real)(a, b), limits);
            Data::F32(zip(lhs, rhs, result, lhs.f32s()?, rhs.f32s()?, f))
        }
        Scalar::I32 => {
            let (low, high) = integer_limits(clamp, Scalar::I32);
            let f = |a, b| (arithmetic.integer)(a, b).max(low).min(high);
            Data::I32(zip(lhs, rhs, result, lhs.i32s()?, rhs.i32s()?, f))
        }
        Scalar::I16 => {
            let (low, high) = integer_limits(clamp, Scalar::I16);
            let f = |a: i16, b: i16| (arithmetic.quantized)(a.into(), b.into()).max(low).min(high) as i16;
            Data::I16(zip(lhs, rhs, result, lhs.i16s()?, rhs.i16s()?, f))
        }
        _ => {
            let (low, high) = integer_limits(clamp, Scalar::I8);
            let zero = |ty: &TensorType| ty.affine().map_or(0, |affine| affine.zero_point);
            let (left, right) = (zero(&lhs.ty), zero(&rhs.ty));
            let f = |a: i8, b: i8| {
                (arithmetic.quantized)(i32::from(a) - left, i32::from(b) - right).max(low).min(high) as i8
            };
            Data::I8(zip(lhs, rhs, result, lhs.i8s()?, rhs.i8s()?, f))
        }
    };
    Ok(vec![Tensor::new(result.clone(), data)?])
}

/// What a quantized op needs beside its operands, or a message.
fn parameters<P>(
    result: &TensorType,
    operands: &[&Tensor],
    of: impl Fn([&TensorType; 3]) -> Option<P>,
) -> Result<(Option<P>, i32), EvalError> {
    if !is_quantized(result) {
        return Ok((None, 0));
    }
    let parameters = of([&operands[0].ty, &operands[1].ty, result]);
    let zero = result.affine().map_or(0, |affine| affine.zero_point);
    match parameters {
        Some(parameters) => Ok((Some(parameters), zero)),
        None => Err(EvalError::Unsupported("expected scales whose ratio can be quantized".to_owned())),
    }
}

/// Whether an arithmetic op of this result rescales.
fn is_quantized(result: &TensorType) -> bool {
    matches!(result.storage(), Scalar::I8 | Scalar::I16)
}

/// What int16 asks for beyond [`verify_types`]: all quantized per tensor, with zero point 0.
fn verify_int16(operands: &[&TensorType], result: &TensorType, report: &mut Vec<String>) -> bool {
    let all = [operands, &[result]].concat();
    if result.storage() != Scalar::I16 {
        return true;
    }
    if all.iter().any(|ty| ty.affine().is_none()) {
        report.push("expected int16 operands and result quantized per tensor, got others".to_owned());
        return false;
    }
    check_symmetric(&all, report);
    true
}

const ARITHMETIC: &[Scalar] = &[Scalar::I8, Scalar::F32, Scalar::I32];
/// Of the ops whose reference has an int16 kernel.
const WIDE_ARITHMETIC: &[Scalar] = &[Scalar::I8, Scalar::F32, Scalar::I32, Scalar::I16];

macro_rules! common_scale_ops {
    ($($op:ident of $types:ident, $parameters:path, $real:expr, $integer:expr, $combine:expr, $clamp:expr;)*) => {$(
        impl NnSemantics for $op {
            fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
                infer(operands)
            }

            fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
                let clamp: fn(&Self) -> Clamp = $clamp;
                check_clamp(clamp(self), results[0].storage(), report);
                if verify_types(operands, results[0], $types, report)
                    && is_quantized(results[0])
                    && verify_int16(operands, results[0], report)
                {
                    check_multipliers($parameters([operands[0], operands[1], results[0]]), report);
                }
            }

            fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
                let (scale, zero) = parameters(results[0], operands, $parameters)?;
                let combine: fn(i32, i32) -> i32 = $combine;
                let quantized = |a, b| match &scale {
                    Some(scale) => {
                        let sum = combine(scale.left(a), scale.right(b));
                        multiply_by_quantized_multiplier(sum, scale.output).wrapping_add(zero)
                    }
                    None => 0,
                };
                let clamp: fn(&Self) -> Clamp = $clamp;
                let arithmetic = Arithmetic { quantized, real: $real, integer: $integer };
                evaluate(operands, results[0], clamp(self), arithmetic)
            }
        }
    )*};
}
common_scale_ops! {
    Add of WIDE_ARITHMETIC, CommonScale::of_add, |a, b| a + b, i32::wrapping_add, i32::wrapping_add, |op| op.clamp;
    Sub of WIDE_ARITHMETIC, CommonScale::of_sub, |a, b| a - b, i32::wrapping_sub, i32::wrapping_sub, |op| op.clamp;
    SquaredDifference of WIDE_ARITHMETIC, CommonScale::of_squared_difference, |a, b| (a - b) * (a - b),
        |a: i32, b: i32| a.wrapping_sub(b).wrapping_mul(a.wrapping_sub(b)),
        |a: i32, b: i32| a.wrapping_sub(b).wrapping_mul(a.wrapping_sub(b)), |_| Clamp::None;
}

macro_rules! product_ops {
    ($($op:ident of $types:ident, $parameters:path, $real:expr, $integer:expr, $quantized:expr;)*) => {$(
        impl NnSemantics for $op {
            fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
                infer(operands)
            }

            fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
                check_clamp(self.clamp, results[0].storage(), report);
                if verify_types(operands, results[0], $types, report)
                    && is_quantized(results[0])
                    && verify_int16(operands, results[0], report)
                {
                    check_multipliers($parameters([operands[0], operands[1], results[0]]), report);
                }
            }

            fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
                let (multiplier, zero) = parameters(results[0], operands, $parameters)?;
                let apply: fn(i32, i32, QuantizedMultiplier) -> i32 = $quantized;
                let quantized = |a, b| match multiplier {
                    Some(multiplier) => apply(a, b, multiplier).wrapping_add(zero),
                    None => 0,
                };
                evaluate(operands, results[0], self.clamp, Arithmetic { quantized, real: $real, integer: $integer })
            }
        }
    )*};
}
product_ops! {
    Mul of WIDE_ARITHMETIC, product_multiplier, |a, b| a * b, i32::wrapping_mul,
        |a, b, multiplier| multiply_by_quantized_multiplier(a * b, multiplier);
    Div of ARITHMETIC, quotient_multiplier, |a, b| a / b,
        |a: i32, b: i32| if b == 0 { 0 } else { a.wrapping_div(b) }, quantized_quotient;
}

macro_rules! extremes {
    ($($op:ident $compare:tt),*) => {$(
        impl NnSemantics for $op {
            fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
                infer(operands)
            }

            fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
                let allowed = &[Scalar::I8, Scalar::F32, Scalar::I16, Scalar::I32, Scalar::I64];
                let alike = operands.iter().all(|ty| same_quantization(ty, results[0]));
                if verify_types(operands, results[0], allowed, report) && !alike {
                    report.push("expected operands and result of one scale and zero point, got others".to_owned());
                }
            }

            fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
                let (lhs, rhs, result) = (operands[0], operands[1], results[0]);
                macro_rules! choose {
                    ($get:ident) => {
                        zip(lhs, rhs, result, lhs.$get()?, rhs.$get()?, |a, b| if a $compare b { a } else { b }).into()
                    };
                }
                let data: Data = match result.storage() {
                    Scalar::F32 => choose!(f32s),
                    Scalar::I16 => choose!(i16s),
                    Scalar::I32 => choose!(i32s),
                    Scalar::I64 => choose!(i64s),
                    _ => choose!(i8s),
                };
                Ok(vec![Tensor::new(result.clone(), data)?])
            }
        }
    )*};
}
extremes!(Maximum >, Minimum <);

impl NnSemantics for Prelu {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        infer(operands)
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        let wide = operands[0].storage() == Scalar::I16;
        // The slopes of int16 are int8: they stand for themselves alone.
        let alike = if wide { [operands[0], operands[0]] } else { [operands[0], operands[1]] };
        if wide && int8_affine(operands[1]).is_none() {
            report.push("expected int8 slopes quantized per tensor for int16, got others".to_owned());
        } else if verify_types(&alike, results[0], &[Scalar::I8, Scalar::F32, Scalar::I16], report)
            && is_quantized(results[0])
            && verify_int16(&alike, results[0], report)
        {
            check_multipliers(prelu_multipliers([operands[0], operands[1], results[0]]), report);
        }
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let (multipliers, zero) = parameters(results[0], operands, prelu_multipliers)?;
        let limits = integer_limits(Clamp::None, results[0].storage());
        let quantized = |x, alpha| match multipliers {
            Some([positive, _]) if x >= 0 => requantize(x, positive, zero, limits),
            Some([_, negative]) => requantize(x * alpha, negative, zero, limits),
            None => 0,
        };
        if results[0].storage() == Scalar::I16 {
            let slope_zero = operands[1].ty.affine().map_or(0, |affine| affine.zero_point);
            let f = |x: i16, alpha: i8| quantized(x.into(), i32::from(alpha) - slope_zero) as i16;
            let (x, alpha) = (operands[0], operands[1]);
            let out = zip(x, alpha, results[0], x.i16s()?, alpha.i8s()?, f);
            return Ok(vec![Tensor::new(results[0].clone(), out)?]);
        }
        let real = |x: f32, alpha: f32| if x >= 0.0 { x } else { x * alpha };
        // Integers other than int8 are refused by the verifier.
        let integer = |x: i32, alpha: i32| if x >= 0 { x } else { x.wrapping_mul(alpha) };
        evaluate(operands, results[0], Clamp::None, Arithmetic { quantized, real, integer })
    }
}
