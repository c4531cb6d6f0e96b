//! Elementwise ops of one operand. Source: the reference kernels' `activations.h`, `leaky_relu.h`, `elu.cc`, `tanh.h`,
//! `logistic.h`, `hard_swish.h`, `elementwise.cc`.

use super::ops::{
    Abs, Elu, Exp, HardSwish, LeakyRelu, Log, Logistic, Lookup, Neg, Relu, Rsqrt, Sqrt, Square, Tanh,
};
use super::requantize::{check_clamp, check_symmetric, integer_limits};
use super::{EvalError, NnOp, NnSemantics};
use crate::attr::Clamp;
use crate::fixed_point::interpolation::{
    SigmoidScaling, checked_log2, logistic_i16, sigmoid_table, tanh_i16,
};
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
    /// The function of stored integers of the given type, for the given quantizations; `None` where the reference refuses them.
    fn quantized(&self, storage: Scalar, input: Affine, output: Affine) -> Option<Box<dyn Fn(i32) -> i32>>;
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
    if !scalar.is_float() {
        check_symmetric(&[input, output], report);
        match (input.affine(), output.affine()) {
            (Some(from), Some(to)) if op.quantized(scalar, from, to).is_some() => {}
            (Some(_), Some(_)) => {
                report.push("expected scales that the reference kernel accepts, got others".to_owned());
            }
            _ => report.push(format!(
                "expected {} input and result quantized per tensor, got others",
                if scalar == Scalar::I8 { "int8" } else { "int16" }
            )),
        }
    }
    op.check(input, output, report);
}

fn evaluate<U: Unary>(op: &U, input: &Tensor, output: &TensorType) -> Result<Vec<Tensor>, EvalError> {
    if output.storage() == Scalar::F32 {
        let out: Vec<f32> = input.f32s()?.iter().map(|&x| op.real(x)).collect();
        return Ok(vec![Tensor::new(output.clone(), out)?]);
    }
    let (affines, storage) = (input.ty.affine().zip(output.affine()), output.storage());
    let function = affines.and_then(|(from, to)| op.quantized(storage, from, to)).ok_or_else(|| {
        EvalError::Unsupported("expected scales that the reference kernel accepts".to_owned())
    })?;
    let data: Data = if storage == Scalar::I16 {
        input.i16s()?.iter().map(|&x| function(x.into()) as i16).collect::<Vec<_>>().into()
    } else {
        input.i8s()?.iter().map(|&x| function(x.into()) as i8).collect::<Vec<_>>().into()
    };
    Ok(vec![Tensor::new(output.clone(), data)?])
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
/// Of the ops whose reference has an int16 kernel.
const WIDE: &[Scalar] = &[Scalar::I8, Scalar::F32, Scalar::I16];

fn clamp8(x: i32) -> i32 {
    x.clamp(-128, 127)
}

/// Limits of all numbers of a type.
fn whole(storage: Scalar) -> (i32, i32) {
    integer_limits(Clamp::None, storage)
}

/// The multiplier of ops that only rescale, in float: `input scale / output scale`.
pub fn rescale_multiplier(input: Affine, output: Affine) -> Option<QuantizedMultiplier> {
    QuantizedMultiplier::from_real((input.scale.get() / output.scale.get()).into())
}

impl Unary for Relu {
    const TYPES: &'static [Scalar] = WIDE;

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
    fn quantized(&self, storage: Scalar, input: Affine, output: Affine) -> Option<Box<dyn Fn(i32) -> i32>> {
        let multiplier = rescale_multiplier(input, output)?;
        let limits = integer_limits(self.clamp, storage);
        Some(Box::new(move |x| requantize(x - input.zero_point, multiplier, output.zero_point, limits)))
    }

    fn check(&self, input: &TensorType, _output: &TensorType, report: &mut Vec<String>) {
        check_clamp(self.clamp, input.storage(), report);
    }
}

impl LeakyRelu {
    /// Multipliers of positive and of negative inputs, in float. Source: `leaky_relu_common.cc`.
    pub fn multipliers(&self, input: Affine, output: Affine) -> Option<[Slope; 2]> {
        let negative = input.scale.get() * self.alpha.get() / output.scale.get();
        Some([Slope::new(input.scale.get() / output.scale.get())?, Slope::new(negative)?])
    }
}

/// A multiplier whose products with its magnitude are negated if it is negative, which ties tell from products with itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slope {
    /// The magnitude.
    pub multiplier: QuantizedMultiplier,
    /// Whether products are negated.
    pub negative: bool,
}

impl Slope {
    fn new(real: f32) -> Option<Self> {
        let multiplier = QuantizedMultiplier::from_real(real.abs().into())?;
        Some(Self { multiplier, negative: real < 0.0 })
    }

    fn of(self, x: i32) -> i32 {
        let product = multiply_by_quantized_multiplier(x, self.multiplier);
        if self.negative { product.wrapping_neg() } else { product }
    }
}

impl Unary for LeakyRelu {
    const TYPES: &'static [Scalar] = WIDE;

    fn real(&self, x: f32) -> f32 {
        if x > 0.0 { x } else { x * self.alpha.get() }
    }

    fn quantized(&self, storage: Scalar, input: Affine, output: Affine) -> Option<Box<dyn Fn(i32) -> i32>> {
        let [above, below] = self.multipliers(input, output)?;
        let (low, high) = whole(storage);
        Some(Box::new(move |x| {
            let x = x - input.zero_point;
            let scaled = if x >= 0 { above.of(x) } else { below.of(x) };
            scaled.wrapping_add(output.zero_point).clamp(low, high)
        }))
    }
}

impl Unary for Elu {
    const TYPES: &'static [Scalar] = INT8_AND_FLOAT;

    fn real(&self, x: f32) -> f32 {
        if x < 0.0 { x.exp_m1() } else { x }
    }

    fn quantized(&self, _storage: Scalar, input: Affine, output: Affine) -> Option<Box<dyn Fn(i32) -> i32>> {
        let inverse = 1.0 / output.scale.get();
        Some(Box::new(move |x| {
            let x = input.scale.get() * (x - input.zero_point) as f32;
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

/// The same of int16, whose result has scale 2^-15. `most_exact` tells the two apart, see [`SigmoidScaling::new`].
pub fn wide_sigmoid_scaling(input: Affine, output: Affine, most_exact: i32) -> Option<SigmoidScaling> {
    let symmetric = input.zero_point == 0 && output.zero_point == 0;
    let fits = symmetric && checked_log2(output.scale.get()) == Some(-15);
    if fits { SigmoidScaling::new(input.scale.get(), most_exact) } else { None }
}

impl Unary for Tanh {
    const TYPES: &'static [Scalar] = WIDE;

    fn real(&self, x: f32) -> f32 {
        x.tanh()
    }

    /// The result's quantization is not read of int8: the reference assumes scale 1/128 and zero point 0. That of int16 has to
    /// be 2^-15.
    fn quantized(&self, storage: Scalar, input: Affine, output: Affine) -> Option<Box<dyn Fn(i32) -> i32>> {
        if storage == Scalar::I16 {
            let (scaling, table) = (wide_sigmoid_scaling(input, output, 1)?, sigmoid_table());
            return Some(Box::new(move |x| tanh_i16(x as i16, scaling, &table).into()));
        }
        let (multiplier, radius) = sigmoid_scaling(input)?;
        Some(Box::new(move |x| match x - input.zero_point {
            x if x <= -radius => i8::MIN.into(),
            x if x >= radius => i8::MAX.into(),
            x => {
                let scaled = FixedPoint::<4>::from_raw(multiply_by_quantized_multiplier(x, multiplier));
                clamp8(rounding_divide_by_pot(fixed_point::tanh(scaled).raw(), 24))
            }
        }))
    }
}

impl Unary for Logistic {
    const TYPES: &'static [Scalar] = WIDE;

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

    /// The result's scale is not read of int8: the reference assumes 1/256 and demands zero point -128. That of int16 has to be
    /// 2^-15.
    fn quantized(&self, storage: Scalar, input: Affine, output: Affine) -> Option<Box<dyn Fn(i32) -> i32>> {
        if storage == Scalar::I16 {
            let (scaling, table) = (wide_sigmoid_scaling(input, output, 0)?, sigmoid_table());
            return Some(Box::new(move |x| logistic_i16(x as i16, scaling, &table).into()));
        }
        let (multiplier, radius) = sigmoid_scaling(input)?;
        if output.zero_point != -128 {
            return None;
        }
        Some(Box::new(move |x| match x - input.zero_point {
            x if x <= -radius => i8::MIN.into(),
            x if x >= radius => i8::MAX.into(),
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

    fn quantized(&self, _storage: Scalar, input: Affine, output: Affine) -> Option<Box<dyn Fn(i32) -> i32>> {
        let hires_scale = (1.0f32 / 128.0) * input.scale.get();
        let to_output = QuantizedMultiplier::from_real((hires_scale / output.scale.get()).into())?;
        let to_reluish = QuantizedMultiplier::from_real((hires_scale / (3.0f32 / 32768.0)).into())?;
        if to_output.shift > 0 {
            return None;
        }
        let output_factor = downscale_multiplier_to_i16(to_output.multiplier);
        let reluish_factor = downscale_multiplier_to_i16(to_reluish.multiplier);
        Some(Box::new(move |x| {
            let hires = ((x - input.zero_point) << 7) as i16;
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
    const TYPES: &'static [Scalar] = WIDE;

    fn real(&self, x: f32) -> f32 {
        x.abs()
    }

    fn quantized(&self, storage: Scalar, input: Affine, output: Affine) -> Option<Box<dyn Fn(i32) -> i32>> {
        let multiplier = rescale_multiplier(input, output)?;
        let (low, high) = whole(storage);
        Some(Box::new(move |x| {
            let x = (x - input.zero_point).abs();
            let x =
                if input.scale == output.scale { x } else { multiply_by_quantized_multiplier(x, multiplier) };
            x.wrapping_add(output.zero_point).clamp(low, high)
        }))
    }
}

/// The multiplier of a reciprocal root: `1 / (sqrt(input scale) * output scale)`, the product in float.
pub fn rsqrt_multiplier(input: Affine, output: Affine) -> Option<QuantizedMultiplier> {
    QuantizedMultiplier::from_real(1.0 / f64::from(input.scale.get().sqrt() * output.scale.get()))
}

impl Unary for Rsqrt {
    const TYPES: &'static [Scalar] = WIDE;

    fn real(&self, x: f32) -> f32 {
        1.0 / x.sqrt()
    }

    /// Of negative numbers, which the reference refuses at run time, the result is that of 0: the greatest.
    fn quantized(&self, storage: Scalar, input: Affine, output: Affine) -> Option<Box<dyn Fn(i32) -> i32>> {
        let multiplier = rsqrt_multiplier(input, output)?;
        let (low, high) = whole(storage);
        Some(Box::new(move |x| {
            let x = x - input.zero_point;
            if x <= 0 {
                return high;
            }
            const FRACTION_BITS: i32 = 20;
            let inverse = get_inv_sqrt_quantized_multiplier_exp(x);
            let inverse = QuantizedMultiplier { shift: inverse.shift + FRACTION_BITS, ..inverse };
            let data = multiply_by_quantized_multiplier(1, inverse);
            let multiplier = QuantizedMultiplier { shift: multiplier.shift - FRACTION_BITS, ..multiplier };
            multiply_by_quantized_multiplier(data, multiplier)
                .wrapping_add(output.zero_point)
                .clamp(low, high)
        }))
    }
}

impl Unary for Lookup {
    const TYPES: &'static [Scalar] = &[Scalar::I8];

    /// Never called: the op has no meaning for floats.
    fn real(&self, x: f32) -> f32 {
        x
    }

    fn quantized(
        &self,
        _storage: Scalar,
        _input: Affine,
        _output: Affine,
    ) -> Option<Box<dyn Fn(i32) -> i32>> {
        let table = self.table.clone();
        Some(Box::new(move |x| table.of(x as i8).into()))
    }
}

macro_rules! float_only {
    ($($op:ident |$x:ident| $real:expr;)*) => {$(
        impl Unary for $op {
            const TYPES: &'static [Scalar] = &[Scalar::F32];

            fn real(&self, $x: f32) -> f32 {
                $real
            }

            fn quantized(&self, _storage: Scalar, _input: Affine, _output: Affine) -> Option<Box<dyn Fn(i32) -> i32>> {
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
