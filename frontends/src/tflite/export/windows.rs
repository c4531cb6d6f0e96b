//! Operations over windows of images, and fully connected layers.

use super::activation::CLAMPS;
use super::graph::Id;
use super::{Exporter, Refusal, Site, int};
use crate::tflite::ops::windows::image_pads;
use crate::tflite::reader::{
    Addition, BuiltinOperator as B, Conv2d, DepthwiseConv2d, ElementType, FullyConnected, OperatorOptions,
    Padding, Pool2d, Resize, TransposeConv, WeightsFormat,
};
use mcunet_ir::attr::Number;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::{Affine, F32, Granularity, QuantType};
use mcunet_ir::types::{Element, Scalar};
use mcunet_ir::{TensorType, Value};
use std::sync::Arc;

/// How a window walks over an image.
#[derive(Clone, Copy)]
struct Windows {
    taps: [usize; 2],
    stride: [u32; 2],
    dilation: [u32; 2],
    pad: [u32; 4],
}

/// Height and width of an NHWC or OHWI tensor.
fn image(ty: &TensorType) -> Result<[usize; 2], Refusal> {
    match ty.shape.nhwc() {
        Some([_, height, width, _]) => Ok([height, width]),
        None => Err(format!("expected a tensor with 4 dimensions, got shape {}", ty.shape)),
    }
}

/// The format's word for a padding, if it has one.
fn padding(windows: Windows, image: [usize; 2]) -> Result<Option<Padding>, Refusal> {
    let Windows { taps, stride, dilation, pad } = windows;
    if pad == [0; 4] {
        return Ok(Some(Padding::Valid));
    }
    let same = image_pads(Padding::Same, image, taps, stride, dilation)?;
    Ok((same == pad).then_some(Padding::Same))
}

/// Padding of a transposed convolution, and the height and width of its output, from which a slice is taken if they are not
/// those wanted. Runtimes ask that the convolution the other way makes the input's size.
fn transposed(
    op: &n::TransposeConv2d,
    input: [usize; 2],
    taps: [usize; 2],
) -> Result<(Padding, [usize; 2]), Refusal> {
    let wanted = op.output_size.map(|size| size as usize);
    let stride = op.stride.map(|stride| stride as usize);
    for padding in [Padding::Valid, Padding::Same] {
        let [top, bottom, left, right] = image_pads(padding, wanted, taps, op.stride, [1, 1])?;
        let there = |axis: usize, pads: u32| {
            let room = (wanted[axis] + pads as usize).checked_sub(taps[axis]);
            room.and_then(|room| room.checked_div(stride[axis])).map(|steps| steps + 1) == Some(input[axis])
        };
        if op.pad == [top, left] && there(0, top + bottom) && there(1, left + right) {
            return Ok((padding, wanted));
        }
    }
    let mut whole = wanted;
    for axis in 0..2 {
        // All that the windows reach, and what lies behind it before another window would begin.
        let reached = input[axis].saturating_sub(1).saturating_mul(stride[axis]).saturating_add(taps[axis]);
        let end = wanted[axis].saturating_add(op.pad[axis] as usize);
        if end >= reached.saturating_add(stride[axis]) {
            return Err(format!(
                "expected an output that the input reaches ({reached}), got one up to {end}"
            ));
        }
        whole[axis] = reached.max(end);
    }
    Ok((Padding::Valid, whole))
}

/// Strides and other pairs of options: height, width.
fn pair(values: [u32; 2], what: &str) -> Result<[i32; 2], Refusal> {
    Ok([int(values[0], what)?, int(values[1], what)?])
}

impl<'m> Exporter<'m> {
    /// The image and the padding of windows over it; what is neither SAME nor VALID is padded with `value` first.
    fn padded(
        &mut self,
        site: &Site<'m>,
        windows: Windows,
        value: impl FnOnce(&TensorType) -> Result<Number, Refusal>,
    ) -> Result<(Id, Padding), Refusal> {
        let (x, ty) = (self.operand(site.operands[0])?, site.inputs[0]);
        if let Some(padding) = padding(windows, image(ty)?)? {
            return Ok((x, padding));
        }
        let [top, bottom, left, right] = windows.pad.map(|amount| amount as usize);
        let (low, high) = ([0, top, left, 0], [0, bottom, right, 0]);
        let shape: Vec<usize> =
            ty.shape.iter().zip(low).zip(high).map(|((dim, low), high)| dim + low + high).collect();
        let padded = self.between(x, ty.with_shape(shape))?;
        super::movement::write_pad(self, x, &low, &high, value(ty)?, padded)?;
        Ok((padded, Padding::Valid))
    }

    /// Real zero, which a convolution sums like a tap outside of the image, unless a weight is no finite number.
    fn neutral_tap(&self, filter: Value, ty: &TensorType) -> Result<Number, Refusal> {
        if let Some(affine) = ty.affine() {
            return Ok(Number::Int(affine.zero_point.into()));
        }
        let finite = self.constant(filter)?.is_some_and(|bytes| {
            bytes
                .chunks_exact(4)
                .all(|item| f32::from_le_bytes([item[0], item[1], item[2], item[3]]).is_finite())
        });
        if !finite {
            return Err(
                "expected constant finite weights under a padding that is neither SAME nor VALID, got others"
                    .to_owned(),
            );
        }
        Ok(Number::Real(F32(0.0)))
    }

    /// The bias; that of quantized layers gets the scale that runtimes check.
    fn bias(&mut self, site: &Site<'m>) -> Result<Id, Refusal> {
        let (bias, ty) = (site.operands[2], site.inputs[2]);
        if ty.storage() == Scalar::F32 {
            return self.operand(bias);
        }
        let affine = |scale: f32| Affine { scale: F32(scale), zero_point: 0 };
        let expected = || "expected input and filter to be quantized, got plain integers".to_owned();
        let input = site.inputs[0].affine().ok_or_else(expected)?.scale.get();
        let filter = site.inputs[1].quant().ok_or_else(expected)?;
        let quant = match &filter.granularity {
            Granularity::PerTensor(filter) => {
                QuantType::per_tensor(ty.storage(), input * filter.scale.get(), 0)
            }
            Granularity::PerAxis { channels, .. } => {
                let channels = channels.iter().map(|filter| affine(input * filter.scale.get())).collect();
                QuantType::per_axis(ty.storage(), 0, channels)
            }
        };
        let mut channels = (0..ty.elements()).filter_map(|channel| quant.channel(channel));
        if let Some(Affine { scale, .. }) = channels.find(|affine| !affine.scale.get().is_finite()) {
            return Err(format!("expected scales of input and filter with a finite product, got {scale:?}"));
        }
        if let Some(&id) = self.biases.get(&(bias, quant.clone())) {
            return Ok(id);
        }
        let bytes =
            self.constant(bias)?.ok_or("expected a constant bias, got one that is computed at run time")?;
        let element = Element::Quant(Arc::new(quant.clone()));
        let id = self.graph.add(&self.name(bias), TensorType { shape: ty.shape.clone(), element });
        self.graph.fill(id, bytes);
        self.biases.insert((bias, quant), id);
        Ok(id)
    }

    pub(super) fn conv_2d(&mut self, site: &Site<'m>, op: &n::Conv2d) -> Result<(), Refusal> {
        self.conv_2d_into(site, op, site.results[0])
    }

    /// CONV_2D and ADD.
    pub(super) fn conv_2d_add(&mut self, site: &Site<'m>, op: &n::Conv2dAdd) -> Result<(), Refusal> {
        let result = site.results[0];
        let convolved = self.between(result, op.between(site.outputs[0]))?;
        self.conv_2d_into(site, &op.conv(), convolved)?;
        let addend = self.operand(site.operands[3])?;
        self.push_clamped(result, op.sum_clamp, &CLAMPS, B::ADD, vec![convolved, addend], |activation| {
            OperatorOptions::Add(Addition { activation, pot_scale_int16: false })
        })
    }

    fn conv_2d_into(&mut self, site: &Site<'m>, op: &n::Conv2d, result: Id) -> Result<(), Refusal> {
        let filter = self.window_filter(site.operands[1])?;
        let taps = image(site.inputs[1])?;
        let windows = Windows { taps, stride: op.stride, dilation: op.dilation, pad: op.pad };
        let weights = site.operands[1];
        let value = self.neutral_tap(weights, site.inputs[0]);
        let (x, padding) = self.padded(site, windows, |_| value)?;
        let [stride_height, stride_width] = pair(op.stride, "a stride")?;
        let [dilation_height, dilation_width] = pair(op.dilation, "a dilation")?;
        let bias = self.bias(site)?;
        self.push_clamped(result, op.clamp, &CLAMPS, B::CONV_2D, vec![x, filter, bias], |activation| {
            OperatorOptions::Conv2d(Conv2d {
                padding,
                stride_height,
                stride_width,
                dilation_height,
                dilation_width,
                activation,
                quantized_bias_type: ElementType::Float32,
            })
        })
    }

    pub(super) fn depthwise_conv_2d(
        &mut self,
        site: &Site<'m>,
        op: &n::DepthwiseConv2d,
    ) -> Result<(), Refusal> {
        let filter = self.window_filter(site.operands[1])?;
        let taps = image(site.inputs[1])?;
        let windows = Windows { taps, stride: op.stride, dilation: op.dilation, pad: op.pad };
        let value = self.neutral_tap(site.operands[1], site.inputs[0]);
        let (x, padding) = self.padded(site, windows, |_| value)?;
        let [stride_height, stride_width] = pair(op.stride, "a stride")?;
        let [dilation_height, dilation_width] = pair(op.dilation, "a dilation")?;
        let channels = |ty: &TensorType| ty.shape.last().copied().unwrap_or(0);
        let multiplier = channels(site.inputs[1]).checked_div(channels(site.inputs[0])).unwrap_or(0);
        let depth_multiplier = int(multiplier, "a multiplier of channels")?;
        let bias = self.bias(site)?;
        self.push_clamped(
            site.results[0],
            op.clamp,
            &CLAMPS,
            B::DEPTHWISE_CONV_2D,
            vec![x, filter, bias],
            |activation| {
                OperatorOptions::DepthwiseConv2d(DepthwiseConv2d {
                    padding,
                    stride_height,
                    stride_width,
                    depth_multiplier,
                    dilation_height,
                    dilation_width,
                    activation,
                })
            },
        )
    }

    /// What a padding cuts off is a slice where the format has no word for it. The bias is left out if it is zero, as few
    /// runtimes know it.
    pub(super) fn transpose_conv_2d(
        &mut self,
        site: &Site<'m>,
        op: &n::TransposeConv2d,
    ) -> Result<(), Refusal> {
        let (x, filter) = (self.operand(site.operands[0])?, self.operand(site.operands[1])?);
        let result = site.outputs[0];
        let (padding, size) = transposed(op, image(site.inputs[0])?, image(site.inputs[1])?)?;
        let mut whole = result.clone();
        if let [_, height, width, _] = whole.shape.0.as_mut_slice() {
            [*height, *width] = size;
        }
        let cut = whole != *result;
        let shape = self.list("output_shape", &whole.shape.0)?;
        let mut inputs = vec![shape, filter, x];
        let zero = self.constant(site.operands[2])?.is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0));
        if !zero {
            inputs.push(self.bias(site)?);
        }
        let [stride_height, stride_width] = pair(op.stride, "a stride")?;
        let options = |activation| {
            OperatorOptions::TransposeConv(TransposeConv {
                padding,
                stride_height,
                stride_width,
                activation,
                quantized_bias_type: ElementType::Float32,
            })
        };
        if !cut {
            return self.push_clamped(site.results[0], op.clamp, &CLAMPS, B::TRANSPOSE_CONV, inputs, options);
        }
        let uncut = self.between(site.results[0], whole)?;
        self.push_clamped(uncut, op.clamp, &CLAMPS, B::TRANSPOSE_CONV, inputs, options)?;
        let [top, left] = op.pad.map(|amount| amount as usize);
        let begin = self.list("begin", &[0, top, left, 0])?;
        let size = self.list("size", &result.shape.0)?;
        self.finish(site, B::SLICE, vec![uncut, begin, size], OperatorOptions::Slice)
    }

    fn pool_options(
        kernel: [u32; 2],
        stride: [u32; 2],
        padding: Padding,
    ) -> Result<impl FnOnce(crate::tflite::reader::Activation) -> OperatorOptions<'static>, Refusal> {
        let [filter_height, filter_width] = pair(kernel, "a kernel")?;
        let [stride_height, stride_width] = pair(stride, "a stride")?;
        Ok(move |activation| {
            OperatorOptions::Pool2d(Pool2d {
                padding,
                stride_height,
                stride_width,
                filter_height,
                filter_width,
                activation,
            })
        })
    }

    /// No padding value is as good as none for a mean.
    pub(super) fn avg_pool_2d(&mut self, site: &Site<'m>, op: &n::AvgPool2d) -> Result<(), Refusal> {
        let taps = op.kernel.map(|size| size as usize);
        let windows = Windows { taps, stride: op.stride, dilation: [1, 1], pad: op.pad };
        let (x, padding) = self.padded(site, windows, |_| {
            Err(format!("expected a padding that is SAME or VALID for a mean, got {:?}", op.pad))
        })?;
        let options = Self::pool_options(op.kernel, op.stride, padding)?;
        self.push_clamped(site.results[0], op.clamp, &CLAMPS, B::AVERAGE_POOL_2D, vec![x], options)
    }

    /// The least number is as good as none for a maximum.
    pub(super) fn max_pool_2d(&mut self, site: &Site<'m>, op: &n::MaxPool2d) -> Result<(), Refusal> {
        let taps = op.kernel.map(|size| size as usize);
        let windows = Windows { taps, stride: op.stride, dilation: [1, 1], pad: op.pad };
        let (x, padding) = self.padded(site, windows, |ty| {
            Ok(match ty.storage().integer_range() {
                Some((least, _)) => Number::Int(least),
                None => Number::Real(F32(f32::MIN)),
            })
        })?;
        let options = Self::pool_options(op.kernel, op.stride, padding)?;
        self.push_clamped(site.results[0], op.clamp, &CLAMPS, B::MAX_POOL_2D, vec![x], options)
    }

    pub(super) fn fully_connected(&mut self, site: &Site<'m>, op: &n::FullyConnected) -> Result<(), Refusal> {
        let (x, filter) = (self.operand(site.operands[0])?, self.operand(site.operands[1])?);
        // A file can't tell one scale per axis from one per tensor if there is one output.
        if let Some(Granularity::PerAxis { channels, .. }) =
            site.inputs[1].quant().map(|quant| &quant.granularity)
            && let [only] = channels.as_slice()
            && only.zero_point != 0
        {
            return Err(format!("expected a filter per axis of zero point 0, got {}", only.zero_point));
        }
        let bias = self.bias(site)?;
        let keep_num_dims = op.keep_dims;
        self.push_clamped(
            site.results[0],
            op.clamp,
            &CLAMPS,
            B::FULLY_CONNECTED,
            vec![x, filter, bias],
            |activation| {
                OperatorOptions::FullyConnected(FullyConnected {
                    activation,
                    weights_format: WeightsFormat::Default,
                    keep_num_dims,
                    asymmetric_quantize_inputs: false,
                    quantized_bias_type: ElementType::Float32,
                })
            },
        )
    }

    fn resize(
        &mut self,
        site: &Site<'m>,
        size: [u32; 2],
        code: B,
        options: OperatorOptions<'static>,
    ) -> Result<(), Refusal> {
        let x = self.operand(site.operands[0])?;
        let size = self.integers("size", [2], size.map(i64::from))?;
        self.finish(site, code, vec![x, size], options)
    }

    pub(super) fn resize_bilinear(&mut self, site: &Site<'m>, op: &n::ResizeBilinear) -> Result<(), Refusal> {
        let &n::ResizeBilinear { size, align_corners, half_pixel_centers } = op;
        let options = OperatorOptions::ResizeBilinear(Resize { align_corners, half_pixel_centers });
        self.resize(site, size, B::RESIZE_BILINEAR, options)
    }

    pub(super) fn resize_nearest(&mut self, site: &Site<'m>, op: &n::ResizeNearest) -> Result<(), Refusal> {
        let &n::ResizeNearest { size, align_corners, half_pixel_centers } = op;
        let options = OperatorOptions::ResizeNearestNeighbor(Resize { align_corners, half_pixel_centers });
        self.resize(site, size, B::RESIZE_NEAREST_NEIGHBOR, options)
    }
}
