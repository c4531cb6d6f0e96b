//! Pooling over windows. Source: the reference kernels' `pooling.h`.

use super::ops::{AvgPool2d, MaxPool2d};
use super::requantize::{check_clamp, clamp_real, integer_limits, real_limits};
use super::window::{Windows, four};
use super::{EvalError, NnSemantics};
use crate::attr::Clamp;
use crate::tensor::{Data, Tensor};
use crate::types::{Scalar, Shape, TensorType};

/// What both pools share.
struct Pool {
    kernel: [u32; 2],
    stride: [u32; 2],
    pad: [u32; 4],
    clamp: Clamp,
}

impl Pool {
    fn windows(&self, input: &TensorType) -> Result<(Windows, [usize; 4]), String> {
        let input = four(input)?;
        let taps = self.kernel.map(|size| size as usize);
        Ok((Windows::new(input, taps, self.stride, [1, 1], self.pad), input))
    }

    fn infer_shapes(&self, input: &TensorType) -> Result<Vec<Shape>, String> {
        let (windows, input) = self.windows(input)?;
        Ok(vec![windows.shape(input[0], input[3])?])
    }

    fn verify(&self, input: &TensorType, result: &TensorType, report: &mut Vec<String>) {
        let scalar = input.storage();
        if !matches!(scalar, Scalar::F32 | Scalar::I8 | Scalar::I16) || result.storage() != scalar {
            report.push(format!(
                "expected int8, int16 or float32 input and result alike, got {} and {}",
                scalar.name(),
                result.storage().name()
            ));
        } else if !scalar.is_float() && !same_quantization(input, result) {
            report.push("expected input and result of one scale and zero point, got others".to_owned());
        }
        check_clamp(self.clamp, result.storage(), report);
    }

    /// Folds the window of every output element with `step`, then maps it (with the number of taps) to the result.
    fn fold<T: Copy, A: Copy>(
        &self,
        input: &TensorType,
        output: &TensorType,
        items: &[T],
        start: A,
        step: impl Fn(A, T) -> A,
        end: impl Fn(A, usize) -> T,
    ) -> Result<Vec<T>, EvalError> {
        let (windows, [_, ih, iw, channels]) = self.windows(input).map_err(EvalError::Unsupported)?;
        let [batch, oh, ow, _] = four(output).map_err(EvalError::Unsupported)?;
        let mut out = Vec::with_capacity(output.elements());
        for n in 0..batch {
            for oy in 0..oh {
                let (ys, y0) = windows.y.taps_inside(oy);
                for ox in 0..ow {
                    let (xs, x0) = windows.x.taps_inside(ox);
                    for c in 0..channels {
                        let mut sum = start;
                        for ky in ys.clone() {
                            let row = (n * ih + (y0 + ky as isize) as usize) * iw;
                            for kx in xs.clone() {
                                let x = (x0 + kx as isize) as usize;
                                sum = step(sum, items[(row + x) * channels + c]);
                            }
                        }
                        out.push(end(sum, ys.len() * xs.len()));
                    }
                }
            }
        }
        Ok(out)
    }
}

/// Whether two tensors have nearly the same scale (within 1e-6, as the reference asks) and the same zero point.
pub(super) fn same_quantization(a: &TensorType, b: &TensorType) -> bool {
    match (a.affine(), b.affine()) {
        (Some(a), Some(b)) => a.zero_point == b.zero_point && (a.scale.get() - b.scale.get()).abs() <= 1e-6,
        (None, None) => a.quant().is_none() && b.quant().is_none(),
        _ => false,
    }
}

impl AvgPool2d {
    fn pool(&self) -> Pool {
        Pool { kernel: self.kernel, stride: self.stride, pad: self.pad, clamp: self.clamp }
    }
}

impl NnSemantics for AvgPool2d {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        self.pool().infer_shapes(operands[0])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        self.pool().verify(operands[0], results[0], report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let (pool, input) = (self.pool(), &operands[0].ty);
        let data = if results[0].storage() == Scalar::F32 {
            let limits = real_limits(self.clamp);
            let mean = |sum: f32, taps: usize| clamp_real(sum / taps as f32, limits);
            Data::F32(pool.fold(input, results[0], operands[0].f32s()?, 0.0, |sum, x: f32| sum + x, mean)?)
        } else if results[0].storage() == Scalar::I16 {
            let (low, high) = integer_limits(self.clamp, Scalar::I16);
            let mean = |sum: i32, taps: usize| rounded_mean(sum, taps).max(low).min(high) as i16;
            let add = |sum: i32, x: i16| sum.wrapping_add(x.into());
            Data::I16(pool.fold(input, results[0], operands[0].i16s()?, 0, add, mean)?)
        } else {
            let (low, high) = integer_limits(self.clamp, Scalar::I8);
            let mean = |sum: i32, taps: usize| rounded_mean(sum, taps).max(low).min(high) as i8;
            let add = |sum: i32, x: i8| sum.wrapping_add(x.into());
            Data::I8(pool.fold(input, results[0], operands[0].i8s()?, 0, add, mean)?)
        };
        Ok(vec![Tensor::new(results[0].clone(), data)?])
    }
}

/// `sum / taps`, rounded to the nearest, ties away from zero; 0 for an empty window.
fn rounded_mean(sum: i32, taps: usize) -> i32 {
    let taps = taps as i32;
    let half = if sum > 0 { taps / 2 } else { -(taps / 2) };
    sum.wrapping_add(half).checked_div(taps).unwrap_or(0)
}

impl MaxPool2d {
    fn pool(&self) -> Pool {
        Pool { kernel: self.kernel, stride: self.stride, pad: self.pad, clamp: self.clamp }
    }
}

impl NnSemantics for MaxPool2d {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        self.pool().infer_shapes(operands[0])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        self.pool().verify(operands[0], results[0], report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let (pool, input) = (self.pool(), &operands[0].ty);
        let data = if results[0].storage() == Scalar::F32 {
            let limits = real_limits(self.clamp);
            let greater = |a: f32, b: f32| if a < b { b } else { a };
            let end = |max: f32, _| clamp_real(max, limits);
            Data::F32(pool.fold(input, results[0], operands[0].f32s()?, f32::MIN, greater, end)?)
        } else if results[0].storage() == Scalar::I16 {
            let (low, high) = integer_limits(self.clamp, Scalar::I16);
            let end = |max: i16, _| i32::from(max).max(low).min(high) as i16;
            Data::I16(pool.fold(input, results[0], operands[0].i16s()?, i16::MIN, i16::max, end)?)
        } else {
            let (low, high) = integer_limits(self.clamp, Scalar::I8);
            let end = |max: i8, _| i32::from(max).max(low).min(high) as i8;
            Data::I8(pool.fold(input, results[0], operands[0].i8s()?, i8::MIN, i8::max, end)?)
        };
        Ok(vec![Tensor::new(results[0].clone(), data)?])
    }
}
