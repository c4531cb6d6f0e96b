//! Convolutions. Source: the reference kernels' `conv.h`, `depthwise_conv.h`, `transpose_conv.h`.

use super::ops::{Conv2d, DepthwiseConv2d, TransposeConv2d};
use super::requantize::{
    check_accumulator_multipliers, check_clamp, check_symmetric, clamp_real, convolution_multipliers,
    integer_limits, real_limits,
};
use super::window::{Windows, four};
use super::{EvalError, NnSemantics};
use crate::attr::Clamp;
use crate::fixed_point::{requantize, requantize_i64};
use crate::quant::Granularity;
use crate::tensor::Tensor;
use crate::types::{Scalar, Shape, TensorType};

/// What the three convolutions check alike: element types, bias, clamp.
fn verify_types(
    operands: &[&TensorType],
    result: &TensorType,
    channel_axis: usize,
    channels: usize,
    clamp: Clamp,
    report: &mut Vec<String>,
) {
    let [input, filter, bias] = operands else { return };
    // Filters of 4 and 2 bits are read as if they were unpacked first.
    let storages = [input.storage(), filter.storage().unpacked(), result.storage()];
    let errors_before = report.len();
    // conv2d C4
    match storages {
        [Scalar::F32, Scalar::F32, Scalar::F32] => {
            if bias.storage() != Scalar::F32 {
                report.push(format!("expected an f32 bias, got {}", bias.storage().name()));
            }
        }
        [storage @ (Scalar::I8 | Scalar::I16), Scalar::I8, output] if output == storage => {
            if input.affine().is_none() || result.affine().is_none() || filter.quant().is_none() {
                report.push(format!(
                    "expected {} tensors quantized per tensor and a quantized filter, got others",
                    if storage == Scalar::I8 { "int8" } else { "int16" }
                ));
            }
            check_symmetric(&[input, result], report);
            if let Some(Granularity::PerAxis { axis, .. }) = filter.quant().map(|quant| &quant.granularity)
                && *axis != channel_axis
            {
                report.push(format!("expected filter scales along dimension {channel_axis}, got {axis}"));
            }
            let accumulator = if storage == Scalar::I8 { Scalar::I32 } else { Scalar::I64 };
            if bias.storage() != accumulator {
                report.push(format!("expected an {} bias, got {}", accumulator.name(), bias.storage().name()));
            }
        }
        [input_storage, _, output_storage] => report.push(format!(
            "expected int8 (or int16 with an int8 filter) or float32 input, filter and output alike, got {}, {} and {}",
            input_storage.name(),
            filter.storage().name(),
            output_storage.name()
        )),
    }
    // conv2d C5
    if !result.storage().is_float() && report.len() == errors_before {
        check_accumulator_multipliers(
            convolution_multipliers(input, filter, result, channels),
            result,
            report,
        );
    }
    // conv2d C3
    if bias.shape.0 != [channels] {
        report.push(format!("expected {channels} bias channels, got {}", bias.shape));
    }
    check_clamp(clamp, result.storage(), report);
}

/// Windows, and shapes of input and output.
struct Geometry {
    windows: Windows,
    input: [usize; 4],
    output: [usize; 4],
}

impl Conv2d {
    fn windows(&self, operands: &[&TensorType]) -> Result<(Windows, [usize; 4], [usize; 4]), String> {
        let (input, filter) = (four(operands[0])?, four(operands[1])?);
        let windows = Windows::new(input, [filter[1], filter[2]], self.stride, self.dilation, self.pad);
        Ok((windows, input, filter))
    }
}

/// The order in which the reference kernel sums, whatever the arithmetic.
trait Walk {
    /// From `start`, folds every product of input element and weight (by their positions) into the sum of its output element,
    /// and stores each sum by the output's position and channel.
    fn walk<A: Copy>(
        &self,
        start: A,
        mac: impl FnMut(A, usize, usize) -> A,
        store: impl FnMut(usize, usize, A),
    );
}

/// A convolution over all channels of a group.
struct Dense {
    geometry: Geometry,
    filter: [usize; 4],
}

impl Walk for Dense {
    fn walk<A: Copy>(
        &self,
        start: A,
        mut mac: impl FnMut(A, usize, usize) -> A,
        mut store: impl FnMut(usize, usize, A),
    ) {
        let geometry = &self.geometry;
        let [_, ih, iw, ic] = geometry.input;
        let [batch, oh, ow, oc] = geometry.output;
        let [_, kh, kw, fc] = self.filter;
        let per_group = (oc * fc).checked_div(ic).unwrap_or(0).max(1);
        for n in 0..batch {
            for oy in 0..oh {
                let (ys, y0) = geometry.windows.y.taps_inside(oy);
                for ox in 0..ow {
                    let (xs, x0) = geometry.windows.x.taps_inside(ox);
                    for o in 0..oc {
                        let first_channel = o / per_group * fc;
                        let mut sum = start;
                        for ky in ys.clone() {
                            let y = (y0 + (ky * geometry.windows.y.dilation) as isize) as usize;
                            for kx in xs.clone() {
                                let x = (x0 + (kx * geometry.windows.x.dilation) as isize) as usize;
                                let at = ((n * ih + y) * iw + x) * ic + first_channel;
                                let weight = ((o * kh + ky) * kw + kx) * fc;
                                for c in 0..fc {
                                    sum = mac(sum, at + c, weight + c);
                                }
                            }
                        }
                        store(((n * oh + oy) * ow + ox) * oc + o, o, sum);
                    }
                }
            }
        }
    }
}

/// Results of a layer in the arithmetic of its types.
fn evaluate(
    walk: &impl Walk,
    operands: &[&Tensor],
    result: &TensorType,
    clamp: Clamp,
) -> Result<Vec<Tensor>, EvalError> {
    let types = [&operands[0].ty, &operands[1].ty, &operands[2].ty];
    if result.storage() == Scalar::F32 {
        let (x, w, bias) = (operands[0].f32s()?, operands[1].f32s()?, operands[2].f32s()?);
        let (mut out, limits) = (vec![0.0; result.elements()], real_limits(clamp));
        walk.walk(
            0.0f32,
            |sum, i, j| sum + x[i] * w[j],
            |at, o, sum| {
                out[at] = clamp_real(sum + bias[o], limits);
            },
        );
        return Ok(vec![Tensor::new(result.clone(), out)?]);
    }
    let w = operands[1].i8s()?;
    let rescale = Rescale::of_convolution(&types, result, types[2].elements(), clamp)?;
    if result.storage() == Scalar::I16 {
        let (x, bias) = (operands[0].i16s()?, operands[2].i64s()?);
        let mut out = vec![0i16; result.elements()];
        walk.walk(
            0i64,
            |sum, i, j| sum.wrapping_add(i64::from(x[i]) * i64::from(w[j])),
            |at, o, sum| out[at] = rescale.apply_wide(sum.wrapping_add(bias[o]), o),
        );
        return Ok(vec![Tensor::new(result.clone(), out)?]);
    }
    let (x, bias) = (operands[0].i8s()?, operands[2].i32s()?);
    let zero = rescale.input_zero_point;
    let mut out = vec![0i8; result.elements()];
    walk.walk(
        0i32,
        |sum, i, j| sum.wrapping_add((i32::from(x[i]) - zero).wrapping_mul(w[j].into())),
        |at, o, sum| out[at] = rescale.apply(sum.wrapping_add(bias[o]), o),
    );
    Ok(vec![Tensor::new(result.clone(), out)?])
}

impl NnSemantics for Conv2d {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        let (windows, input, filter) = self.windows(operands)?;
        // conv2d C2
        let groups = input[3].checked_div(filter[3]).unwrap_or(0);
        if groups == 0 || groups * filter[3] != input[3] || filter[0] % groups != 0 {
            return Err(format!(
                "expected input channels to be a multiple of the filter's {} and {} output channels to be a multiple \
                 of the groups, got {} input channels",
                filter[3], filter[0], input[3]
            ));
        }
        Ok(vec![windows.shape(input[0], filter[0])?])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        let channels = operands[1].shape.first().copied().unwrap_or(0);
        verify_types(operands, results[0], 0, channels, self.clamp, report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let types = [&operands[0].ty, &operands[1].ty, &operands[2].ty];
        let (windows, input, filter) = self.windows(&types).map_err(EvalError::Unsupported)?;
        let output = four(results[0]).map_err(EvalError::Unsupported)?;
        let geometry = Geometry { windows, input, output };
        evaluate(&Dense { geometry, filter }, operands, results[0], self.clamp)
    }

    fn macs(&self, operands: &[&TensorType], results: &[&TensorType]) -> u64 {
        let per_output: usize = operands[1].shape.iter().skip(1).product();
        results[0].elements() as u64 * per_output as u64
    }
}

/// From accumulators to stored integers, per channel.
pub(super) struct Rescale {
    multipliers: Vec<crate::fixed_point::QuantizedMultiplier>,
    pub(super) input_zero_point: i32,
    output_zero_point: i32,
    limits: (i32, i32),
}

impl Rescale {
    pub(super) fn new(
        multipliers: Option<Vec<crate::fixed_point::QuantizedMultiplier>>,
        input: &TensorType,
        output: &TensorType,
        clamp: Clamp,
    ) -> Result<Self, EvalError> {
        let unsupported = || EvalError::Unsupported("expected multipliers that can be quantized".to_owned());
        Ok(Self {
            multipliers: multipliers.ok_or_else(unsupported)?,
            input_zero_point: input.affine().ok_or_else(unsupported)?.zero_point,
            output_zero_point: output.affine().ok_or_else(unsupported)?.zero_point,
            limits: integer_limits(clamp, output.storage()),
        })
    }

    fn of_convolution(
        operands: &[&TensorType],
        output: &TensorType,
        channels: usize,
        clamp: Clamp,
    ) -> Result<Self, EvalError> {
        let multipliers = convolution_multipliers(operands[0], operands[1], output, channels);
        Self::new(multipliers, operands[0], output, clamp)
    }

    pub(super) fn apply(&self, sum: i32, channel: usize) -> i8 {
        requantize(sum, self.multipliers[channel], self.output_zero_point, self.limits) as i8
    }

    /// For int16 results, whose accumulators have 64 bits.
    pub(super) fn apply_wide(&self, sum: i64, channel: usize) -> i16 {
        requantize_i64(sum, self.multipliers[channel], self.output_zero_point, self.limits) as i16
    }
}

impl DepthwiseConv2d {
    fn windows(&self, operands: &[&TensorType]) -> Result<(Windows, [usize; 4], [usize; 4]), String> {
        let (input, filter) = (four(operands[0])?, four(operands[1])?);
        let windows = Windows::new(input, [filter[1], filter[2]], self.stride, self.dilation, self.pad);
        Ok((windows, input, filter))
    }
}

/// A convolution of every channel by itself.
struct Depthwise {
    geometry: Geometry,
    filter: [usize; 4],
}

impl Walk for Depthwise {
    fn walk<A: Copy>(
        &self,
        start: A,
        mut mac: impl FnMut(A, usize, usize) -> A,
        mut store: impl FnMut(usize, usize, A),
    ) {
        let geometry = &self.geometry;
        let [_, ih, iw, ic] = geometry.input;
        let [batch, oh, ow, oc] = geometry.output;
        let kw = self.filter[2];
        let multiplier = oc.checked_div(ic).unwrap_or(0).max(1);
        for n in 0..batch {
            for oy in 0..oh {
                let (ys, y0) = geometry.windows.y.taps_inside(oy);
                for ox in 0..ow {
                    let (xs, x0) = geometry.windows.x.taps_inside(ox);
                    for o in 0..oc {
                        let mut sum = start;
                        for ky in ys.clone() {
                            let y = (y0 + (ky * geometry.windows.y.dilation) as isize) as usize;
                            for kx in xs.clone() {
                                let x = (x0 + (kx * geometry.windows.x.dilation) as isize) as usize;
                                let at = ((n * ih + y) * iw + x) * ic + o / multiplier;
                                sum = mac(sum, at, (ky * kw + kx) * oc + o);
                            }
                        }
                        store(((n * oh + oy) * ow + ox) * oc + o, o, sum);
                    }
                }
            }
        }
    }
}

impl NnSemantics for DepthwiseConv2d {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        let (windows, input, filter) = self.windows(operands)?;
        if filter[0] != 1 || input[3] == 0 || filter[3] % input[3] != 0 {
            return Err(format!(
                "expected a 1HWC filter with a multiple of the input's {} channels, got {}",
                input[3], operands[1].shape
            ));
        }
        Ok(vec![windows.shape(input[0], filter[3])?])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        let channels = operands[1].shape.last().copied().unwrap_or(0);
        verify_types(operands, results[0], 3, channels, self.clamp, report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let types = [&operands[0].ty, &operands[1].ty, &operands[2].ty];
        let (windows, input, filter) = self.windows(&types).map_err(EvalError::Unsupported)?;
        let output = four(results[0]).map_err(EvalError::Unsupported)?;
        let geometry = Geometry { windows, input, output };
        evaluate(&Depthwise { geometry, filter }, operands, results[0], self.clamp)
    }

    fn macs(&self, operands: &[&TensorType], results: &[&TensorType]) -> u64 {
        let taps: usize = operands[1].shape.iter().skip(1).take(2).product();
        results[0].elements() as u64 * taps as u64
    }
}

/// A transposed convolution: every pixel is added to the outputs of its window.
struct Scatter {
    input: [usize; 4],
    filter: [usize; 4],
    output: [usize; 4],
    stride: [u32; 2],
    pad: [u32; 2],
}

impl Walk for Scatter {
    fn walk<A: Copy>(
        &self,
        start: A,
        mut mac: impl FnMut(A, usize, usize) -> A,
        mut store: impl FnMut(usize, usize, A),
    ) {
        let ([batch, ih, iw, ic], [oc, kh, kw, _], [_, oh, ow, _]) = (self.input, self.filter, self.output);
        let mut sums = vec![start; self.output.iter().product()];
        for n in 0..batch {
            for y in 0..ih {
                for x in 0..iw {
                    for c in 0..ic {
                        let i = ((n * ih + y) * iw + x) * ic + c;
                        for ky in 0..kh {
                            let Some(oy) = place(y, ky, self.stride[0], self.pad[0], oh) else { continue };
                            for kx in 0..kw {
                                let Some(ox) = place(x, kx, self.stride[1], self.pad[1], ow) else {
                                    continue;
                                };
                                for o in 0..oc {
                                    let j = ((o * kh + ky) * kw + kx) * ic + c;
                                    let at = ((n * oh + oy) * ow + ox) * oc + o;
                                    sums[at] = mac(sums[at], i, j);
                                }
                            }
                        }
                    }
                }
            }
        }
        sums.into_iter().enumerate().for_each(|(at, sum)| store(at, at % oc.max(1), sum));
    }
}

/// Output position that input position `at` and a tap meet; `None` outside of the output.
fn place(at: usize, tap: usize, stride: u32, pad: u32, size: usize) -> Option<usize> {
    (at * stride as usize + tap).checked_sub(pad as usize).filter(|&position| position < size)
}

impl NnSemantics for TransposeConv2d {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        let (input, filter) = (four(operands[0])?, four(operands[1])?);
        if self.stride.contains(&0) {
            return Err("expected a stride of at least 1, got 0".to_owned());
        }
        if filter[3] != input[3] {
            return Err(format!("expected a filter of {} input channels, got {}", input[3], filter[3]));
        }
        let [height, width] = self.output_size;
        Ok(vec![[input[0], height as usize, width as usize, filter[0]].into()])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        let channels = operands[1].shape.first().copied().unwrap_or(0);
        verify_types(operands, results[0], 0, channels, self.clamp, report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let types = [&operands[0].ty, &operands[1].ty, &operands[2].ty];
        let shapes = [types[0], types[1], results[0]].map(four);
        let [Ok(input), Ok(filter), Ok(output)] = shapes else {
            return Err(EvalError::Unsupported("expected tensors of 4 dimensions".to_owned()));
        };
        let walk = Scatter { input, filter, output, stride: self.stride, pad: self.pad };
        evaluate(&walk, operands, results[0], self.clamp)
    }

    fn macs(&self, operands: &[&TensorType], _results: &[&TensorType]) -> u64 {
        let per_pixel: usize = operands[1].shape.iter().take(3).product();
        operands[0].elements() as u64 * per_pixel as u64
    }
}
