//! Conversions between number representations. Source: the reference kernels' `quantize.h`, `requantize.h`,
//! `dequantize.h`, `cast.cc`.

use super::ops::{Cast, Dequantize, Quantize};
use super::requantize::check_multipliers;
use super::{EvalError, NnSemantics};
use crate::fixed_point::{QuantizedMultiplier, multiply_by_quantized_multiplier};
use crate::quant::Affine;
use crate::tensor::{Data, Tensor};
use crate::types::{Scalar, Shape, TensorType};

/// Storage types that quantized numbers may have at the borders of a model.
const QUANTIZED: &[Scalar] = &[Scalar::I8, Scalar::U8, Scalar::I16, Scalar::I32];

/// The multiplier of a requantization: `input scale / output scale` in double.
pub fn requantize_multiplier(input: Affine, output: Affine) -> Option<QuantizedMultiplier> {
    QuantizedMultiplier::from_real(f64::from(input.scale.get()) / f64::from(output.scale.get()))
}

/// `x / scale` rounded to the nearest, ties away from zero, plus the zero point, within `min..=max`. Numbers beyond the
/// range saturate and NaN becomes the zero point; the reference leaves both undefined.
pub fn quantize_real(x: f32, affine: Affine, (min, max): (i64, i64)) -> i64 {
    let steps = (x / affine.scale.get()).round() as i32;
    (i64::from(steps) + i64::from(affine.zero_point)).clamp(min, max)
}

impl NnSemantics for Quantize {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        Ok(vec![operands[0].shape.clone()])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        let (input, result) = (operands[0], results[0]);
        let Some(output) = result.affine().filter(|_| QUANTIZED.contains(&result.storage())) else {
            report.push(format!("expected a result quantized per tensor, got {}", result.storage().name()));
            return;
        };
        match (input.storage(), input.affine()) {
            (Scalar::F32, _) => {}
            (scalar, Some(affine)) if QUANTIZED.contains(&scalar) => {
                check_multipliers(requantize_multiplier(affine, output), report);
            }
            (scalar, _) => {
                report.push(format!("expected a float32 or quantized input, got {}", scalar.name()))
            }
        }
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let (input, result) = (operands[0], results[0]);
        let unsupported = || EvalError::Unsupported("expected quantized tensors".to_owned());
        let output = result.affine().ok_or_else(unsupported)?;
        let range = result.storage().integer_range().ok_or_else(unsupported)?;
        let steps: Vec<i64> = match &input.data {
            Data::F32(items) => items.iter().map(|&x| quantize_real(x, output, range)).collect(),
            integers => {
                let affine = input.ty.affine().ok_or_else(unsupported)?;
                let multiplier = requantize_multiplier(affine, output).ok_or_else(unsupported)?;
                let requantize = |x: i64| {
                    let centered = (x as i32).wrapping_sub(affine.zero_point);
                    let scaled = multiply_by_quantized_multiplier(centered, multiplier);
                    (i64::from(scaled) + i64::from(output.zero_point)).clamp(range.0, range.1)
                };
                integers.to_i64s().ok_or_else(unsupported)?.into_iter().map(requantize).collect()
            }
        };
        let data = Data::from_i64s(result.storage(), steps).ok_or_else(unsupported)?;
        Ok(vec![Tensor::new(result.clone(), data)?])
    }
}

impl NnSemantics for Dequantize {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        Ok(vec![operands[0].shape.clone()])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        let input = operands[0];
        if input.affine().is_none() || !QUANTIZED.contains(&input.storage()) {
            report.push(format!("expected an input quantized per tensor, got {}", input.storage().name()));
        }
        if results[0].storage() != Scalar::F32 {
            report.push(format!("expected a float32 result, got {}", results[0].storage().name()));
        }
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let unsupported = || EvalError::Unsupported("expected a quantized input".to_owned());
        let affine = operands[0].ty.affine().ok_or_else(unsupported)?;
        let items = operands[0].data.to_i64s().ok_or_else(unsupported)?;
        let scale = f64::from(affine.scale.get());
        let real = |x: i64| (scale * (x - i64::from(affine.zero_point)) as f64) as f32;
        let out: Vec<f32> = items.into_iter().map(real).collect();
        Ok(vec![Tensor::new(results[0].clone(), out)?])
    }
}

impl NnSemantics for Cast {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        Ok(vec![operands[0].shape.clone()])
    }

    fn verify(&self, _operands: &[&TensorType], _results: &[&TensorType], _report: &mut Vec<String>) {
        // Every pair of storage types has a conversion.
    }

    /// Floats become integers toward zero, saturating at 32 bits, NaN as 0; integers keep their low bits.
    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let to = results[0].storage();
        let data = match (&operands[0].data, to) {
            (Data::F32(items), Scalar::F32) => Data::F32(items.clone()),
            (Data::F32(items), Scalar::I1) => Data::I1(items.iter().map(|&x| x != 0.0).collect()),
            (Data::F32(items), Scalar::I64 | Scalar::U64 | Scalar::U32) => {
                Data::from_i64s(to, items.iter().map(|&x| x as i64))
                    .unwrap_or_else(|| Data::zeros(to, items.len()))
            }
            (Data::F32(items), _) => Data::from_i64s(to, items.iter().map(|&x| i64::from(x as i32)))
                .unwrap_or_else(|| Data::zeros(to, items.len())),
            (integers, Scalar::F32) => {
                Data::F32(integers.to_i64s().unwrap_or_default().into_iter().map(|x| x as f32).collect())
            }
            (integers, _) => Data::from_i64s(to, integers.to_i64s().unwrap_or_default())
                .unwrap_or_else(|| Data::zeros(to, integers.len())),
        };
        Ok(vec![Tensor::new(results[0].clone(), data)?])
    }
}
