//! Elementwise ops of one operand. Source: the reference kernels' `activations.h`, `leaky_relu.h`, `elu.cc`, `tanh.h`,
//! `logistic.h`, `hard_swish.h`, `elementwise.cc`.

use super::ops::{
    Abs, Elu, Exp, HardSwish, LeakyRelu, Log, Logistic, Lookup, Neg, Relu, Rsqrt, Sqrt, Square, Tanh,
};
use super::requantize::{check_clamp, integer_limits};
use super::{EvalError, NnOp, NnSemantics};
use crate::attr::Clamp;
use crate::fixed_point::{
    self, FixedPoint, QuantizedMultiplier, calculate_input_radius, downscale_multiplier_to_i16,
    get_inv_sqrt_quantized_multiplier_exp, multiply_by_quantized_multiplier, requantize,
    rounding_divide_by_pot, rounding_divide_by_pot_i16, saturating_doubling_high_mul_i16,
    saturating_left_shift_i16, saturating_rounding_doubling_high_mul_i16,
};
use crate::quant::Affine;
use crate::tensor::{Data, Tensor};
use crate::types::{Scalar, Shape, TensorType};

/// The results of an int8 op of one operand for all inputs from -128 to 127: such an op *is* this table. `None` if the
/// op is of another kind or type.
pub fn int8_table(op: &NnOp, input: &TensorType, output: &TensorType) -> Option<[i8; 256]> {
    let elementwise = op.spec().has(crate::define::Trait::Elementwise) && op.spec().operands.len() == 1;
    if !elementwise || input.storage() != Scalar::I8 || output.storage() != Scalar::I8 {
        return None;
    }
    let all = Data::I8((i8::MIN..=i8::MAX).collect());
    let input = Tensor::new(input.with_shape([256]), all).ok()?;
    let output = output.with_shape([256]);
    let results = op.semantics().evaluate(&[&input], &[&output]).ok()?;
    results.first()?.i8s().ok()?.try_into().ok()
}

/// Semantics of an op of one operand: a function per element for each type.
trait Unary {
    /// Storage types the op has a meaning for.
    const TYPES: &'static [Scalar];
    /// The float function.
    fn real(&self, x: f32) -> f32;
    /// The int8 function for the given quantizations; `None` where the reference refuses them.
    fn quantized(&self, input: Affine, output: Affine) -> Option<Box<dyn Fn(i8) -> i8>>;
    /// Further checks.
    fn check(&self, _input: &TensorType, _output: &TensorType, _report: &mut Vec<String>) {}
}

fn verify<U: Unary>(op: &U, input: &TensorType, output: &TensorType, report: &mut Vec<String>) {
    let scalar = input.storage();
    if !U::TYPES.contains(&scalar) || output.storage() != scalar {
        let names: Vec<&str> = U::TYPES.iter().map(|scalar| scalar.name()).collect();
        report.push(format!(
            "expected input and result alike of {}, got {} and {}",
            names.join(" or "),
            scalar.name(),
            output.storage().name()
        ));
        return;
    }
    if scalar == Scalar::I8 {
        match (input.affine(), output.affine()) {
            (Some(from), Some(to)) if op.quantized(from, to).is_some() => {}
            (Some(_), Some(_)) => {
                report.push("expected scales that the reference kernel accepts, got others".to_owned());
            }
            _ => report.push("expected int8 input and result quantized per tensor, got others".to_owned()),
        }
    }
    op.check(input, output, report);
}

fn evaluate<U: Unary>(op: &U, input: &Tensor, output: &TensorType) -> Result<Vec<Tensor>, EvalError> {
    if output.storage() == Scalar::F32 {
        let out: Vec<f32> = input.f32s()?.iter().map(|&x| op.real(x)).collect();
        return Ok(vec![Tensor::new(output.clone(), out)?]);
    }
    let affines = input.ty.affine().zip(output.affine());
    let function = affines.and_then(|(from, to)| op.quantized(from, to)).ok_or_else(|| {
        EvalError::Unsupported("expected scales that the reference kernel accepts".to_owned())
    })?;
    let out: Vec<i8> = input.i8s()?.iter().map(|&x| function(x)).collect();
    Ok(vec![Tensor::new(output.clone(), out)?])
}

macro_rules! unary_semantics {
    ($($op:ident)*) => {$(
        impl NnSemantics for $op {
            fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
                Ok(vec![operands[0].shape.clone()])
            }

            fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
                verify(self, operands[0], results[0], report);
            }

            fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
                evaluate(self, operands[0], results[0])
            }
        }
    )*};
}
unary_semantics! { Relu LeakyRelu Elu Tanh Logistic HardSwish Abs Neg Exp Log Sqrt Rsqrt Square Lookup }

const INT8_AND_FLOAT: &[Scalar] = &[Scalar::I8, Scalar::F32];

fn clamp8(x: i32) -> i8 {
    x.clamp(-128, 127) as i8
}

impl Unary for Relu {
    const TYPES: &'static [Scalar] = INT8_AND_FLOAT;

    fn real(&self, x: f32) -> f32 {
        let (low, high) = match self.clamp {
            Clamp::Real(low, high) => (low.get(), high.get()),
            Clamp::None | Clamp::Int(..) => (f32::NEG_INFINITY, f32::INFINITY),
        };
        // Comparisons of the reference, in which -0.0 and NaN stay.
        if x > high {
            high
        } else if x < low {
            low
        } else {
            x
        }
    }

    /// Rescales by `input scale / output scale`, computed in float. Equal quantizations only clamp: the multiplier is
    /// then 1 exactly, and multiplying by it is the identity.
    fn quantized(&self, input: Affine, output: Affine) -> Option<Box<dyn Fn(i8) -> i8>> {
        let ratio = input.scale.get() / output.scale.get();
        let multiplier = QuantizedMultiplier::from_real(ratio.into())?;
        let limits = integer_limits(self.clamp, Scalar::I8);
        Some(Box::new(move |x| {
            requantize(i32::from(x) - input.zero_point, multiplier, output.zero_point, limits) as i8
        }))
    }

    fn check(&self, input: &TensorType, _output: &TensorType, report: &mut Vec<String>) {
        check_clamp(self.clamp, input.storage(), report);
    }
}

impl Unary for LeakyRelu {
    const TYPES: &'static [Scalar] = INT8_AND_FLOAT;

    fn real(&self, x: f32) -> f32 {
        if x > 0.0 { x } else { x * self.alpha.get() }
    }

    fn quantized(&self, input: Affine, output: Affine) -> Option<Box<dyn Fn(i8) -> i8>> {
        let alpha = input.scale.get() * self.alpha.get() / output.scale.get();
        let negative = QuantizedMultiplier::from_real(alpha.into())?;
        let positive = QuantizedMultiplier::from_real((input.scale.get() / output.scale.get()).into())?;
        Some(Box::new(move |x| {
            let x = i32::from(x) - input.zero_point;
            let multiplier = if x >= 0 { positive } else { negative };
            requantize(x, multiplier, output.zero_point, (-128, 127)) as i8
        }))
    }
}

impl Unary for Elu {
    const TYPES: &'static [Scalar] = INT8_AND_FLOAT;

    fn real(&self, x: f32) -> f32 {
        if x < 0.0 { x.exp_m1() } else { x }
    }

    fn quantized(&self, input: Affine, output: Affine) -> Option<Box<dyn Fn(i8) -> i8>> {
        let inverse = 1.0 / output.scale.get();
        Some(Box::new(move |x| {
            let x = input.scale.get() * (i32::from(x) - input.zero_point) as f32;
            let y = if x < 0.0 { x.exp() - 1.0 } else { x };
            let steps = (y * inverse).round() + output.zero_point as f32;
            clamp8(steps as i32)
        }))
    }
}

/// Factor and saturation radius of int8 TANH and LOGISTIC, whose argument has 4 integer bits.
fn sigmoid_scaling(input: Affine) -> Option<(QuantizedMultiplier, i32)> {
    let real = f64::from(input.scale.get()) * (1u64 << (31 - 4)) as f64;
    let multiplier = QuantizedMultiplier::from_real(real)?;
    Some((multiplier, calculate_input_radius(4, multiplier.shift)?))
}

impl Unary for Tanh {
    const TYPES: &'static [Scalar] = INT8_AND_FLOAT;

    fn real(&self, x: f32) -> f32 {
        x.tanh()
    }

    /// The result's quantization is not read: the reference assumes scale 1/128 and zero point 0.
    fn quantized(&self, input: Affine, _output: Affine) -> Option<Box<dyn Fn(i8) -> i8>> {
        let (multiplier, radius) = sigmoid_scaling(input)?;
        Some(Box::new(move |x| match i32::from(x) - input.zero_point {
            x if x <= -radius => i8::MIN,
            x if x >= radius => i8::MAX,
            x => {
                let scaled = FixedPoint::<4>::from_raw(multiply_by_quantized_multiplier(x, multiplier));
                clamp8(rounding_divide_by_pot(fixed_point::tanh(scaled).raw(), 24))
            }
        }))
    }
}

impl Unary for Logistic {
    const TYPES: &'static [Scalar] = INT8_AND_FLOAT;

    fn real(&self, x: f32) -> f32 {
        // Limits of the reference, beyond which the formula loses all its digits.
        const UPPER: f32 = 16.619_047;
        const LOWER: f32 = -9.0;
        if x > UPPER {
            1.0
        } else if x < LOWER {
            x.exp()
        } else {
            1.0 / (1.0 + (-x).exp())
        }
    }

    /// The result's scale is not read: the reference assumes 1/256 and demands zero point -128.
    fn quantized(&self, input: Affine, output: Affine) -> Option<Box<dyn Fn(i8) -> i8>> {
        let (multiplier, radius) = sigmoid_scaling(input)?;
        if output.zero_point != -128 {
            return None;
        }
        Some(Box::new(move |x| match i32::from(x) - input.zero_point {
            x if x <= -radius => i8::MIN,
            x if x >= radius => i8::MAX,
            x => {
                let scaled = FixedPoint::<4>::from_raw(multiply_by_quantized_multiplier(x, multiplier));
                clamp8(rounding_divide_by_pot(fixed_point::logistic(scaled).raw(), 23) - 128)
            }
        }))
    }
}

impl Unary for HardSwish {
    const TYPES: &'static [Scalar] = INT8_AND_FLOAT;

    fn real(&self, x: f32) -> f32 {
        x * (x + 3.0).clamp(0.0, 6.0) / 6.0
    }

    fn quantized(&self, input: Affine, output: Affine) -> Option<Box<dyn Fn(i8) -> i8>> {
        let hires_scale = (1.0f32 / 128.0) * input.scale.get();
        let to_output = QuantizedMultiplier::from_real((hires_scale / output.scale.get()).into())?;
        let to_reluish = QuantizedMultiplier::from_real((hires_scale / (3.0f32 / 32768.0)).into())?;
        if to_output.shift > 0 {
            return None;
        }
        let output_factor = downscale_multiplier_to_i16(to_output.multiplier);
        let reluish_factor = downscale_multiplier_to_i16(to_reluish.multiplier);
        Some(Box::new(move |x| {
            let hires = ((i32::from(x) - input.zero_point) << 7) as i16;
            let preshifted = saturating_rounding_doubling_high_mul_i16(hires, output_factor);
            let reluish = reluish(hires, reluish_factor, to_reluish.shift);
            // From [-1, 1] to [0, 1].
            let reluish = ((i32::from(reluish) + (1 << 15)) >> 1) as i16;
            let product = saturating_doubling_high_mul_i16(reluish, preshifted);
            let steps = rounding_divide_by_pot_i16(product, to_output.shift.unsigned_abs());
            clamp8(i32::from(steps.wrapping_add(output.zero_point as i16)))
        }))
    }
}

/// The input over 3, saturated to [-1, 1], in 16-bit fixed point.
fn reluish(hires: i16, factor: i16, shift: i32) -> i16 {
    let up = u32::try_from(shift).unwrap_or(0);
    let mut value = hires;
    if up > 0 {
        value = saturating_left_shift_i16(value, up - 1);
    }
    value = saturating_rounding_doubling_high_mul_i16(value, factor);
    if up > 0 {
        value = saturating_left_shift_i16(value, 1);
    }
    if shift < 0 { rounding_divide_by_pot_i16(value, shift.unsigned_abs()) } else { value }
}

impl Unary for Abs {
    const TYPES: &'static [Scalar] = INT8_AND_FLOAT;

    fn real(&self, x: f32) -> f32 {
        x.abs()
    }

    fn quantized(&self, input: Affine, output: Affine) -> Option<Box<dyn Fn(i8) -> i8>> {
        let ratio = input.scale.get() / output.scale.get();
        let multiplier = QuantizedMultiplier::from_real(ratio.into())?;
        Some(Box::new(move |x| {
            let x = (i32::from(x) - input.zero_point).abs();
            let x =
                if input.scale == output.scale { x } else { multiply_by_quantized_multiplier(x, multiplier) };
            clamp8(x.wrapping_add(output.zero_point))
        }))
    }
}

impl Unary for Rsqrt {
    const TYPES: &'static [Scalar] = INT8_AND_FLOAT;

    fn real(&self, x: f32) -> f32 {
        1.0 / x.sqrt()
    }

    /// Of negative numbers, which the reference refuses at run time, the result is that of 0: the greatest.
    fn quantized(&self, input: Affine, output: Affine) -> Option<Box<dyn Fn(i8) -> i8>> {
        let real = 1.0 / f64::from(input.scale.get().sqrt() * output.scale.get());
        let multiplier = QuantizedMultiplier::from_real(real)?;
        Some(Box::new(move |x| {
            let x = i32::from(x) - input.zero_point;
            if x <= 0 {
                return i8::MAX;
            }
            const FRACTION_BITS: i32 = 20;
            let inverse = get_inv_sqrt_quantized_multiplier_exp(x);
            let inverse = QuantizedMultiplier { shift: inverse.shift + FRACTION_BITS, ..inverse };
            let data = multiply_by_quantized_multiplier(1, inverse);
            let multiplier = QuantizedMultiplier { shift: multiplier.shift - FRACTION_BITS, ..multiplier };
            clamp8(multiply_by_quantized_multiplier(data, multiplier).wrapping_add(output.zero_point))
        }))
    }
}

impl Unary for Lookup {
    const TYPES: &'static [Scalar] = &[Scalar::I8];

    /// Never called: the op has no meaning for floats.
    fn real(&self, x: f32) -> f32 {
        x
    }

    fn quantized(&self, _input: Affine, _output: Affine) -> Option<Box<dyn Fn(i8) -> i8>> {
        let table = self.table.clone();
        Some(Box::new(move |x| table.of(x)))
    }
}

macro_rules! float_only {
    ($($op:ident |$x:ident| $real:expr;)*) => {$(
        impl Unary for $op {
            const TYPES: &'static [Scalar] = &[Scalar::F32];

            fn real(&self, $x: f32) -> f32 {
                $real
            }

            fn quantized(&self, _input: Affine, _output: Affine) -> Option<Box<dyn Fn(i8) -> i8>> {
                None
            }
        }
    )*};
}
float_only! {
    Neg |x| -x;
    Exp |x| x.exp();
    Log |x| x.ln();
    Sqrt |x| x.sqrt();
    Square |x| x * x;
}
