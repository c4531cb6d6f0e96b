//! Normalizations along the last dimension. Source: the reference kernels' `softmax.h`, `log_softmax.h`,
//! `l2normalization.h`.

use super::ops::{L2Normalization, LogSoftmax, Softmax};
use super::requantize::check_symmetric;
use super::{EvalError, NnSemantics};
use crate::fixed_point::interpolation::{Interpolation, RealScale};
use crate::fixed_point::{
    FixedPoint, LogSoftmaxScaling, QuantizedMultiplier, calculate_input_radius, exp_on_negative_values,
    get_inv_sqrt_quantized_multiplier_exp, get_reciprocal, log_x_for_x_greater_than_or_equal_to_1,
    multiply_by_quantized_multiplier, preprocess_log_softmax_scaling, preprocess_softmax_scaling,
    rounding_divide_by_pot, saturating_rounding_doubling_high_mul,
};
use crate::quant::Affine;
use crate::tensor::Tensor;
use crate::types::{Scalar, Shape, TensorType};

/// Integer bits of the scaled difference to the row's maximum.
const SCALED_DIFF_INTEGER_BITS: u32 = 5;
/// Integer bits of the sum of exponentials.
const ACCUMULATION_INTEGER_BITS: i32 = 12;

/// Compile-time constants of an int8 softmax: exponentials of all differences that count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SoftmaxTable {
    /// `exponentials[d]` is the exponential of `-d` input steps, with no integer bits; differences beyond count as 0.
    pub exponentials: Vec<i32>,
}

impl SoftmaxTable {
    /// The table for an input scale and `beta`; `None` where the reference refuses them.
    pub fn new(beta: f32, input_scale: f32) -> Option<Self> {
        let scaling = preprocess_softmax_scaling(beta.into(), input_scale.into(), SCALED_DIFF_INTEGER_BITS)?;
        let radius = calculate_input_radius(SCALED_DIFF_INTEGER_BITS, scaling.shift)?;
        let count = usize::try_from(radius).ok()?.min(255) + 1;
        let exponential = |d: usize| exponential(-(d as i32), scaling).raw();
        Some(Self { exponentials: (0..count).map(exponential).collect() })
    }
}

fn exponential(difference: i32, scaling: QuantizedMultiplier) -> FixedPoint<0> {
    let scaled = multiply_by_quantized_multiplier(difference, scaling);
    exp_on_negative_values(FixedPoint::<SCALED_DIFF_INTEGER_BITS>::from_raw(scaled))
}

/// A row of softmax as the reference computes it.
fn softmax_row(row: &[i8], table: &SoftmaxTable) -> Vec<i8> {
    let max = row.iter().copied().max().unwrap_or(0);
    let exponential = |x: i8| {
        let difference = usize::from(max.abs_diff(x));
        table.exponentials.get(difference).copied()
    };
    let sum = row
        .iter()
        .filter_map(|&x| exponential(x))
        .fold(0i32, |sum, e| sum.wrapping_add(rounding_divide_by_pot(e, ACCUMULATION_INTEGER_BITS as u32)));
    let reciprocal = get_reciprocal(sum, ACCUMULATION_INTEGER_BITS);
    let shift = u32::try_from(reciprocal.bits_over_unit + 31 - 8).unwrap_or(0);
    row.iter()
        .map(|&x| match exponential(x) {
            None => i8::MIN,
            Some(e) => {
                let scaled = saturating_rounding_doubling_high_mul(reciprocal.scale.raw(), e);
                (rounding_divide_by_pot(scaled, shift) - 128).clamp(-128, 127) as i8
            }
        })
        .collect()
}

/// Compile-time constants of an int16 softmax.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WideSoftmax {
    /// From input steps to the 65535 steps from -10 to 0; exponentials of less count as that of -10.
    pub scaling: QuantizedMultiplier,
    /// `e^x` of those steps, whose greatest is 0, with 15 fractional bits.
    pub exponential: Interpolation,
    /// `1 / (1 + x)` for x from 0, the least number, to 1, with 15 fractional bits.
    pub reciprocal: Interpolation,
}

impl WideSoftmax {
    /// Rows of up to this many elements have sums of 31 bits.
    pub const LONGEST_ROW: usize = 1 << 16;

    /// The constants for an input scale and `beta`; `None` of a negative `beta`, and where differences times the factor leave
    /// 32 bits. Source: `softmax_common.cc`.
    pub fn new(beta: f32, input_scale: f32) -> Option<Self> {
        let real = f64::from(input_scale) * f64::from(beta) / (10.0 / 65535.0);
        let scaling = QuantizedMultiplier::from_real(real).filter(|_| real >= 0.0)?;
        if scaling.shift > 15 {
            return None;
        }
        let steps = |extent: f32, zero_point: i16| RealScale {
            scale: extent / 65535.0,
            zero_point: zero_point.into(),
        };
        let output = steps(2.0, 0);
        Some(Self {
            scaling,
            exponential: Interpolation::new(steps(10.0, i16::MAX), output, f32::exp),
            reciprocal: Interpolation::new(steps(1.0, i16::MIN), output, |x| 1.0 / (1.0 + x)),
        })
    }
}

/// A row of int16 softmax as the reference computes it.
fn wide_softmax_row(row: &[i16], constants: &WideSoftmax) -> Vec<i16> {
    let limited = |x: i32| x.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    let max = row.iter().copied().max().unwrap_or(0);
    let exponential = |&x: &i16| {
        let difference = i32::from(x) - i32::from(max);
        let scaled = multiply_by_quantized_multiplier(difference, constants.scaling);
        i32::from(constants.exponential.of(limited(scaled.saturating_add(i16::MAX.into()))))
    };
    let exponentials: Vec<i32> = row.iter().map(exponential).collect();
    let sum: i32 = exponentials.iter().sum();
    // The greatest exponential is about 1, so that the sum has its first bit among 17.
    let headroom = sum.leading_zeros().saturating_sub(1);
    // From 1 to 2, with 16 fractional bits; less 1.
    let shifted = (sum << headroom) as u32;
    let fraction = shifted.saturating_add(1 << 13) >> 14;
    let reciprocal = constants.reciprocal.of(limited(fraction as i32 - (1 << 15) - (1 << 16)));
    let shift = 30 - headroom;
    let half = 1 << (shift - 1);
    let share = |e: i32| ((e * i32::from(reciprocal) + half) >> shift).clamp(0, i16::MAX.into()) as i16;
    exponentials.into_iter().map(share).collect()
}

/// Applies `f` to every row along the last dimension.
fn map_rows<T: Copy>(items: &[T], shape: &Shape, f: impl Fn(&[T]) -> Vec<T>) -> Vec<T> {
    let last = shape.last().copied().unwrap_or(1).max(1);
    items.chunks(last).flat_map(f).collect()
}

fn same_shape(operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
    if operands[0].shape.rank() == 0 {
        return Err("expected at least 1 dimension, got a scalar".to_owned());
    }
    Ok(vec![operands[0].shape.clone()])
}

/// int8 with the given result quantization, or float32.
fn verify_types(
    operands: &[&TensorType],
    results: &[&TensorType],
    scale: f32,
    zero_point: i32,
    report: &mut Vec<String>,
) {
    let (input, result) = (operands[0], results[0]);
    match (input.storage(), result.storage()) {
        (Scalar::F32, Scalar::F32) => {}
        (Scalar::I8, Scalar::I8) if input.affine().is_some() => match result.affine() {
            Some(affine) if affine.zero_point == zero_point && (affine.scale.get() - scale).abs() <= 1e-6 => {
            }
            _ => report.push(format!(
                "expected a result of scale {scale} and zero point {zero_point}, got another quantization"
            )),
        },
        (input, result) => report.push(format!(
            "expected int8 (quantized per tensor) or float32 input and result alike, got {} and {}",
            input.name(),
            result.name()
        )),
    }
}

/// int16 of zero point 0, the result's scale nearly 2^-15.
fn verify_wide(beta: f32, input: &TensorType, result: &TensorType, report: &mut Vec<String>) {
    check_symmetric(&[input, result], report);
    let scale = 1.0 / 32768.0;
    let near = |affine: Affine| (affine.scale.get() - scale).abs() <= 0.001 * scale;
    if !result.affine().is_some_and(near) {
        report.push("expected a result of scale 2^-15, got another quantization".to_owned());
    }
    match input.affine() {
        Some(affine) if WideSoftmax::new(beta, affine.scale.get()).is_some() => {}
        Some(_) => report.push("expected beta times the input's scale from 0 to 5, got another".to_owned()),
        None => report.push("expected an int16 input quantized per tensor, got another".to_owned()),
    }
    let length = input.shape.last().copied().unwrap_or(1);
    if length > WideSoftmax::LONGEST_ROW {
        report.push(format!("expected rows of at most {} elements, got {length}", WideSoftmax::LONGEST_ROW));
    }
}

fn float_softmax_row(row: &[f32], beta: f32) -> Vec<f32> {
    let max = row.iter().fold(f32::MIN, |max, &x| if max < x { x } else { max });
    let exponentials: Vec<f32> = row.iter().map(|&x| ((x - max) * beta).exp()).collect();
    let sum = exponentials.iter().fold(0.0f32, |sum, e| sum + e);
    exponentials.into_iter().map(|e| e / sum).collect()
}

fn input_scale(ty: &TensorType) -> Result<f32, EvalError> {
    let unsupported = || EvalError::Unsupported("expected an input quantized per tensor".to_owned());
    Ok(ty.affine().ok_or_else(unsupported)?.scale.get())
}

impl NnSemantics for Softmax {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        same_shape(operands)
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        if [operands[0].storage(), results[0].storage()] == [Scalar::I16; 2] {
            return verify_wide(self.beta.get(), operands[0], results[0], report);
        }
        verify_types(operands, results, 1.0 / 256.0, -128, report);
        let affine = operands[0].affine();
        if affine.is_some_and(|affine| SoftmaxTable::new(self.beta.get(), affine.scale.get()).is_none()) {
            report.push("expected beta times the input's scale to be above 2^-26, got less".to_owned());
        }
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let shape = &results[0].shape;
        if results[0].storage() == Scalar::F32 {
            let beta = self.beta.get();
            let out = map_rows(operands[0].f32s()?, shape, |row| float_softmax_row(row, beta));
            return Ok(vec![Tensor::new(results[0].clone(), out)?]);
        }
        if results[0].storage() == Scalar::I16 {
            let constants = WideSoftmax::new(self.beta.get(), input_scale(&operands[0].ty)?)
                .ok_or_else(|| EvalError::Unsupported("expected a smaller input scale".to_owned()))?;
            let out = map_rows(operands[0].i16s()?, shape, |row| wide_softmax_row(row, &constants));
            return Ok(vec![Tensor::new(results[0].clone(), out)?]);
        }
        let table = SoftmaxTable::new(self.beta.get(), input_scale(&operands[0].ty)?)
            .ok_or_else(|| EvalError::Unsupported("expected a larger input scale".to_owned()))?;
        let out = map_rows(operands[0].i8s()?, shape, |row| softmax_row(row, &table));
        Ok(vec![Tensor::new(results[0].clone(), out)?])
    }
}

/// Everything of an int8 log softmax that does not depend on the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogSoftmaxParameters {
    /// Factors from and to input steps.
    pub scaling: LogSoftmaxScaling,
    /// Least difference to the maximum whose exponential counts.
    pub diff_min: i32,
}

impl LogSoftmaxParameters {
    /// The parameters for an input scale; `None` where the reference refuses it.
    pub fn new(input_scale: f32) -> Option<Self> {
        let scaling = preprocess_log_softmax_scaling(1.0, input_scale.into(), SCALED_DIFF_INTEGER_BITS)?;
        let diff_min = -calculate_input_radius(SCALED_DIFF_INTEGER_BITS, scaling.input.shift)?;
        Some(Self { scaling, diff_min })
    }
}

fn log_softmax_row(row: &[i8], parameters: &LogSoftmaxParameters) -> Vec<i8> {
    let max = i32::from(row.iter().copied().max().unwrap_or(0));
    let LogSoftmaxParameters { scaling, diff_min } = *parameters;
    let sum = row
        .iter()
        .map(|&x| i32::from(x) - max)
        .filter(|&difference| difference >= diff_min)
        .map(|difference| exponential(difference, scaling.input).raw())
        .fold(0i32, |sum, e| sum.wrapping_add(rounding_divide_by_pot(e, ACCUMULATION_INTEGER_BITS as u32)));
    let log = log_x_for_x_greater_than_or_equal_to_1(FixedPoint::from_raw(sum)).raw();
    let from_log = multiply_by_quantized_multiplier(log.wrapping_add(i32::MIN), scaling.reverse);
    let least = (diff_min - 1).max(from_log);
    row.iter()
        .map(|&x| {
            let difference = i32::from(x) - max;
            if difference <= least {
                return i8::MIN;
            }
            let scaled = multiply_by_quantized_multiplier(difference, scaling.input);
            let steps = rounding_divide_by_pot(scaled.wrapping_sub(log), 31 - 5 - 4);
            steps.wrapping_add(127).clamp(-128, 127) as i8
        })
        .collect()
}

fn float_log_softmax_row(row: &[f32]) -> Vec<f32> {
    let max = row.iter().fold(f32::MIN, |max, &x| if max < x { x } else { max });
    let sum = row.iter().fold(0.0f32, |sum, &x| sum + (x - max).exp());
    let log = sum.ln();
    row.iter().map(|&x| x - max - log).collect()
}

impl NnSemantics for LogSoftmax {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        same_shape(operands)
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        verify_types(operands, results, 16.0 / 256.0, 127, report);
        if operands[0].affine().is_some_and(|a| LogSoftmaxParameters::new(a.scale.get()).is_none()) {
            report.push("expected the input's scale to be above 2^-26, got less".to_owned());
        }
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let shape = &results[0].shape;
        if results[0].storage() == Scalar::F32 {
            let out = map_rows(operands[0].f32s()?, shape, float_log_softmax_row);
            return Ok(vec![Tensor::new(results[0].clone(), out)?]);
        }
        let parameters = LogSoftmaxParameters::new(input_scale(&operands[0].ty)?)
            .ok_or_else(|| EvalError::Unsupported("expected a larger input scale".to_owned()))?;
        let out = map_rows(operands[0].i8s()?, shape, |row| log_softmax_row(row, &parameters));
        Ok(vec![Tensor::new(results[0].clone(), out)?])
    }
}

fn l2_row(row: &[i8], zero_point: i32) -> Vec<i8> {
    let centered: Vec<i32> = row.iter().map(|&x| i32::from(x) - zero_point).collect();
    let sum = centered.iter().fold(0i32, |sum, &x| sum.wrapping_add(x.wrapping_mul(x)));
    let inverse = get_inv_sqrt_quantized_multiplier_exp(sum);
    // The result's scale is 1/128.
    let inverse = QuantizedMultiplier { shift: inverse.shift + 7, ..inverse };
    centered
        .into_iter()
        .map(|x| multiply_by_quantized_multiplier(x, inverse).clamp(-128, 127) as i8)
        .collect()
}

fn float_l2_row(row: &[f32]) -> Vec<f32> {
    let sum = row.iter().fold(0.0f32, |sum, &x| sum + x * x);
    let norm = sum.sqrt();
    let norm = if norm < 1e-6 { 1e-6 } else { norm };
    row.iter().map(|&x| x / norm).collect()
}

impl NnSemantics for L2Normalization {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        same_shape(operands)
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        verify_types(operands, results, 1.0 / 128.0, 0, report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let shape = &results[0].shape;
        if results[0].storage() == Scalar::F32 {
            let out = map_rows(operands[0].f32s()?, shape, float_l2_row);
            return Ok(vec![Tensor::new(results[0].clone(), out)?]);
        }
        let zero_point = operands[0].ty.affine().map_or(0, |affine| affine.zero_point);
        let out = map_rows(operands[0].i8s()?, shape, |row| l2_row(row, zero_point));
        Ok(vec![Tensor::new(results[0].clone(), out)?])
    }
}
