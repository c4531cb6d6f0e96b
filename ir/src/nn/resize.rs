//! Interpolation of images. Source: the reference kernels' `resize_bilinear.h` and `resize_nearest_neighbor.h`.

use super::ops::{ResizeBilinear, ResizeNearest};
use super::window::four;
use super::{EvalError, NnSemantics};
use crate::tensor::{Data, Tensor};
use crate::types::{Scalar, Shape, TensorType};

fn infer(operands: &[&TensorType], size: [u32; 2]) -> Result<Vec<Shape>, String> {
    let [batch, height, width, channels] = four(operands[0])?;
    if height == 0 || width == 0 {
        return Err(format!("expected an image with pixels, got {}", operands[0].shape));
    }
    Ok(vec![[batch, size[0] as usize, size[1] as usize, channels].into()])
}

fn verify(operands: &[&TensorType], results: &[&TensorType], allowed: &[Scalar], report: &mut Vec<String>) {
    let scalar = operands[0].storage();
    if !allowed.contains(&scalar) || results[0].storage() != scalar {
        let names: Vec<&str> = allowed.iter().map(|scalar| scalar.name()).collect();
        report.push(format!(
            "expected input and result alike of {}, got {} and {}",
            names.join(", "),
            scalar.name(),
            results[0].storage().name()
        ));
    }
}

/// Two neighbouring positions and the weight of the second in 1/1024.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FixedSample {
    /// First position.
    pub low: usize,
    /// Second position; the first where there is only one.
    pub high: usize,
    /// Distance from the first in 1/1024; negative at a border with half-pixel centers.
    pub weight: i32,
}

/// Where the int8 kernel samples one dimension for output position `index`.
pub fn fixed_sample(
    index: usize,
    input: usize,
    output: usize,
    align_corners: bool,
    half_pixel_centers: bool,
) -> FixedSample {
    const ONE: i64 = 1 << 10;
    let (input, output, index) = (input as i64, output as i64, index as i64);
    let scale = if align_corners && output > 1 {
        (ONE * (input - 1) + (output - 1) / 2) / (output - 1)
    } else {
        (ONE * input + output / 2) / output.max(1)
    };
    let position = if half_pixel_centers { index * scale + scale / 2 - ONE / 2 } else { index * scale };
    let low = (position / ONE).max(0);
    let high = ((position + ONE - 1) / ONE).min(input - 1).max(0);
    FixedSample { low: low as usize, high: high as usize, weight: (position - ONE * low) as i32 }
}

/// Two neighbouring positions and the weight of the second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RealSample {
    /// First position.
    pub low: usize,
    /// Second position; the first where there is only one.
    pub high: usize,
    /// Distance from the first.
    pub weight: f32,
}

/// Where the float kernel samples one dimension for output position `index`.
pub fn real_sample(
    index: usize,
    input: usize,
    output: usize,
    align_corners: bool,
    half_pixel_centers: bool,
) -> RealSample {
    let scale = if align_corners && output > 1 {
        (input - 1) as f32 / (output - 1) as f32
    } else {
        input as f32 / output as f32
    };
    let position = if half_pixel_centers { (index as f32 + 0.5) * scale - 0.5 } else { index as f32 * scale };
    let low = (position.floor() as i64).max(0) as usize;
    let high = (position.ceil() as i64).clamp(0, input as i64 - 1) as usize;
    RealSample { low, high, weight: position - low as f32 }
}

/// The position that nearest-neighbour sampling reads for output position `index`.
pub fn nearest(
    index: usize,
    input: usize,
    output: usize,
    align_corners: bool,
    half_pixel_centers: bool,
) -> usize {
    let scale = if align_corners && output > 1 {
        (input - 1) as f32 / (output - 1) as f32
    } else {
        input as f32 / output as f32
    };
    let offset = if half_pixel_centers { 0.5 } else { 0.0 };
    let position = (index as f32 + offset) * scale;
    let rounded = if align_corners { position.round() } else { position.floor() };
    (rounded as i64).clamp(0, input as i64 - 1) as usize
}

impl NnSemantics for ResizeBilinear {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        if self.align_corners && self.half_pixel_centers {
            return Err("expected one of align_corners and half_pixel_centers, got both".to_owned());
        }
        infer(operands, self.size)
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        verify(operands, results, &[Scalar::I8, Scalar::F32, Scalar::I16], report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let [batch, ih, iw, channels] = four(&operands[0].ty).map_err(EvalError::Unsupported)?;
        let [_, oh, ow, _] = four(results[0]).map_err(EvalError::Unsupported)?;
        let at = |n: usize, y: usize, x: usize| ((n * ih + y) * iw + x) * channels;
        let (align, half) = (self.align_corners, self.half_pixel_centers);
        let data = if results[0].storage() == Scalar::F32 {
            let x = operands[0].f32s()?;
            let mut out = Vec::with_capacity(results[0].elements());
            for n in 0..batch {
                for oy in 0..oh {
                    let sy = real_sample(oy, ih, oh, align, half);
                    for ox in 0..ow {
                        let sx = real_sample(ox, iw, ow, align, half);
                        for c in 0..channels {
                            let (dy, dx) = (sy.weight, sx.weight);
                            out.push(
                                x[at(n, sy.low, sx.low) + c] * (1.0 - dy) * (1.0 - dx)
                                    + x[at(n, sy.high, sx.low) + c] * dy * (1.0 - dx)
                                    + x[at(n, sy.low, sx.high) + c] * (1.0 - dy) * dx
                                    + x[at(n, sy.high, sx.high) + c] * dy * dx,
                            );
                        }
                    }
                }
            }
            Data::F32(out)
        } else {
            let unsupported = || EvalError::Unsupported("expected integers".to_owned());
            let x = operands[0].data.to_i64s().ok_or_else(unsupported)?;
            let mut out = Vec::with_capacity(results[0].elements());
            for n in 0..batch {
                for oy in 0..oh {
                    let sy = fixed_sample(oy, ih, oh, align, half);
                    for ox in 0..ow {
                        let sx = fixed_sample(ox, iw, ow, align, half);
                        for c in 0..channels {
                            let pixel = |y, x_at| x[at(n, y, x_at) + c];
                            out.push(interpolate(sy, sx, pixel));
                        }
                    }
                }
            }
            Data::from_i64s(results[0].storage(), out).ok_or_else(unsupported)?
        };
        Ok(vec![Tensor::new(results[0].clone(), data)?])
    }
}

/// Weighted sum of four pixels in 1/2^20, rounded to the nearest, ties away from zero.
fn interpolate(y: FixedSample, x: FixedSample, pixel: impl Fn(usize, usize) -> i64) -> i64 {
    let (dy, dx) = (i64::from(y.weight), i64::from(x.weight));
    let sum = pixel(y.low, x.low) * (1024 - dy) * (1024 - dx)
        + pixel(y.high, x.low) * dy * (1024 - dx)
        + pixel(y.low, x.high) * (1024 - dy) * dx
        + pixel(y.high, x.high) * dy * dx;
    let half = if sum > 0 { 1 << 19 } else { -(1 << 19) };
    (sum + half) / (1 << 20)
}

impl NnSemantics for ResizeNearest {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        infer(operands, self.size)
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        verify(operands, results, &[Scalar::I8, Scalar::F32, Scalar::U8, Scalar::I16], report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let [batch, ih, iw, channels] = four(&operands[0].ty).map_err(EvalError::Unsupported)?;
        let [_, oh, ow, _] = four(results[0]).map_err(EvalError::Unsupported)?;
        let mut offsets = Vec::with_capacity(results[0].elements());
        for n in 0..batch {
            for oy in 0..oh {
                let y = nearest(oy, ih, oh, self.align_corners, self.half_pixel_centers);
                for ox in 0..ow {
                    let x = nearest(ox, iw, ow, self.align_corners, self.half_pixel_centers);
                    let first = ((n * ih + y) * iw + x) * channels;
                    offsets.extend(first..first + channels);
                }
            }
        }
        let data = operands[0].data.pick(offsets.into_iter());
        Ok(vec![Tensor::new(results[0].clone(), data)?])
    }
}
