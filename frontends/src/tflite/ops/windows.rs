//! Operators over windows of images, and fully connected layers.

use super::{clamp, input, optional_input, output_element, positive};
use crate::tflite::importer::{Importer, Refusal};
use crate::tflite::reader::{Operator, OperatorOptions, Padding, options};
use mcunet_ir::nn::ops as n;
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Tensor, TensorType, Value};

/// What the options of an operator have to be; every operator of the table has options of its own.
fn wrong_options<T>() -> Result<T, Refusal> {
    Err("expected options of its kind, got none or others".to_owned())
}

/// Padding before and after along one dimension, as TensorFlow Lite computes it.
fn pads(padding: Padding, size: usize, taps: usize, stride: u32, dilation: u32) -> Result<[u32; 2], Refusal> {
    if padding == Padding::Valid {
        return Ok([0, 0]);
    }
    let (stride, dilation) = (stride as usize, dilation as usize);
    let outputs = size.div_ceil(stride);
    let extent = taps.saturating_sub(1).saturating_mul(dilation).saturating_add(1);
    let needed = outputs.saturating_sub(1).saturating_mul(stride).saturating_add(extent);
    let total = needed.saturating_sub(size);
    let part =
        |amount: usize| u32::try_from(amount).map_err(|_| format!("expected moderate padding, got {amount}"));
    Ok([part(total / 2)?, part(total - total / 2)?])
}

/// Padding of an image: top, bottom, left, right.
pub(in crate::tflite) fn image_pads(
    padding: Padding,
    image: [usize; 2],
    taps: [usize; 2],
    stride: [u32; 2],
    dilation: [u32; 2],
) -> Result<[u32; 4], Refusal> {
    let [top, bottom] = pads(padding, image[0], taps[0], stride[0], dilation[0])?;
    let [left, right] = pads(padding, image[1], taps[1], stride[1], dilation[1])?;
    Ok([top, bottom, left, right])
}

/// Height and width of an NHWC or OHWI tensor.
fn image(importer: &Importer<'_>, value: Value) -> Result<[usize; 2], Refusal> {
    let shape = &importer.ty(value).shape;
    match shape.nhwc() {
        Some([_, height, width, _]) => Ok([height, width]),
        None => Err(format!("expected a tensor with 4 dimensions, got shape {shape}")),
    }
}

/// The bias, or zeros where there is none.
fn bias(
    importer: &mut Importer<'_>,
    operator: &Operator<'_>,
    position: usize,
    channels: usize,
    input: Value,
) -> Result<Value, Refusal> {
    if let Some(index) = optional_input(operator, position) {
        return importer.value(index);
    }
    let scalar = match importer.ty(input).storage() {
        Scalar::F32 => Scalar::F32,
        Scalar::I16 => Scalar::I64,
        _ => Scalar::I32,
    };
    let zeros = Tensor { ty: TensorType::plain([channels], scalar), data: Data::zeros(scalar, channels) };
    Ok(importer.constant("zero_bias", zeros))
}

pub(super) fn conv_2d<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let OperatorOptions::Conv2d(options) = &operator.options else { return wrong_options() };
    let (x, w) = (input(importer, operator, 0)?, input(importer, operator, 1)?);
    let stride = [positive(options.stride_height, "a stride")?, positive(options.stride_width, "a stride")?];
    let dilation =
        [positive(options.dilation_height, "a dilation")?, positive(options.dilation_width, "a dilation")?];
    let pad = image_pads(options.padding, image(importer, x)?, image(importer, w)?, stride, dilation)?;
    let clamp = clamp(options.activation, &output_element(importer, operator)?)?;
    let channels = importer.ty(w).shape[0];
    let bias = bias(importer, operator, 2, channels, x)?;
    importer.finish(operator, n::Conv2d { stride, pad, dilation, clamp }, vec![x, w, bias])
}

pub(super) fn depthwise_conv_2d<'m>(
    importer: &mut Importer<'m>,
    operator: &Operator<'m>,
) -> Result<(), Refusal> {
    let OperatorOptions::DepthwiseConv2d(options) = &operator.options else { return wrong_options() };
    let (x, w) = (input(importer, operator, 0)?, input(importer, operator, 1)?);
    let stride = [positive(options.stride_height, "a stride")?, positive(options.stride_width, "a stride")?];
    let dilation =
        [positive(options.dilation_height, "a dilation")?, positive(options.dilation_width, "a dilation")?];
    let pad = image_pads(options.padding, image(importer, x)?, image(importer, w)?, stride, dilation)?;
    let clamp = clamp(options.activation, &output_element(importer, operator)?)?;
    let channels = importer.ty(w).shape[3];
    let bias = bias(importer, operator, 2, channels, x)?;
    importer.finish(operator, n::DepthwiseConv2d { stride, pad, dilation, clamp }, vec![x, w, bias])
}

/// Inputs: output shape, filter, input, bias. The padding is that of the forward convolution from output to input.
pub(super) fn transpose_conv<'m>(
    importer: &mut Importer<'m>,
    operator: &Operator<'m>,
) -> Result<(), Refusal> {
    let OperatorOptions::TransposeConv(options) = &operator.options else { return wrong_options() };
    let shape = input(importer, operator, 0)?;
    let shape = importer.integers(shape, "output shape")?;
    let size = |at: usize| {
        let dim = shape.get(at).copied().and_then(|dim| u32::try_from(dim).ok());
        dim.ok_or_else(|| format!("expected an output shape of 4 dimensions, got {shape:?}"))
    };
    let output_size = [size(1)?, size(2)?];
    let (w, x) = (input(importer, operator, 1)?, input(importer, operator, 2)?);
    let stride = [positive(options.stride_height, "a stride")?, positive(options.stride_width, "a stride")?];
    let output_image = output_size.map(|size| size as usize);
    let [top, _, left, _] = image_pads(options.padding, output_image, image(importer, w)?, stride, [1, 1])?;
    let clamp = clamp(options.activation, &output_element(importer, operator)?)?;
    let channels = importer.ty(w).shape[0];
    let bias = bias(importer, operator, 3, channels, x)?;
    let kind = n::TransposeConv2d { stride, pad: [top, left], output_size, clamp };
    importer.finish(operator, kind, vec![x, w, bias])
}

/// Kernel, stride, padding and clamp of a pool.
struct Pool {
    kernel: [u32; 2],
    stride: [u32; 2],
    pad: [u32; 4],
    clamp: mcunet_ir::attr::Clamp,
}

fn pool(
    importer: &Importer<'_>,
    operator: &Operator<'_>,
    x: Value,
    options: &options::Pool2d,
) -> Result<Pool, Refusal> {
    let kernel = [positive(options.filter_height, "a kernel")?, positive(options.filter_width, "a kernel")?];
    let stride = [positive(options.stride_height, "a stride")?, positive(options.stride_width, "a stride")?];
    let taps = kernel.map(|size| size as usize);
    let pad = image_pads(options.padding, image(importer, x)?, taps, stride, [1, 1])?;
    let clamp = clamp(options.activation, &output_element(importer, operator)?)?;
    Ok(Pool { kernel, stride, pad, clamp })
}

pub(super) fn average_pool_2d<'m>(
    importer: &mut Importer<'m>,
    operator: &Operator<'m>,
) -> Result<(), Refusal> {
    let OperatorOptions::Pool2d(options) = &operator.options else { return wrong_options() };
    let x = input(importer, operator, 0)?;
    let Pool { kernel, stride, pad, clamp } = pool(importer, operator, x, options)?;
    importer.finish(operator, n::AvgPool2d { kernel, stride, pad, clamp }, vec![x])
}

pub(super) fn max_pool_2d<'m>(importer: &mut Importer<'m>, operator: &Operator<'m>) -> Result<(), Refusal> {
    let OperatorOptions::Pool2d(options) = &operator.options else { return wrong_options() };
    let x = input(importer, operator, 0)?;
    let Pool { kernel, stride, pad, clamp } = pool(importer, operator, x, options)?;
    importer.finish(operator, n::MaxPool2d { kernel, stride, pad, clamp }, vec![x])
}

pub(super) fn fully_connected<'m>(
    importer: &mut Importer<'m>,
    operator: &Operator<'m>,
) -> Result<(), Refusal> {
    let OperatorOptions::FullyConnected(options) = &operator.options else { return wrong_options() };
    if options.weights_format != crate::tflite::reader::WeightsFormat::Default {
        return Err("expected weights in the default format, got shuffled ones".to_owned());
    }
    let (x, w) = (input(importer, operator, 0)?, input(importer, operator, 1)?);
    let clamp = clamp(options.activation, &output_element(importer, operator)?)?;
    let channels = importer.ty(w).shape.first().copied().unwrap_or(0);
    let bias = bias(importer, operator, 2, channels, x)?;
    importer.finish(operator, n::FullyConnected { keep_dims: options.keep_num_dims, clamp }, vec![x, w, bias])
}

fn size(importer: &mut Importer<'_>, operator: &Operator<'_>) -> Result<[u32; 2], Refusal> {
    let size = input(importer, operator, 1)?;
    let size = importer.integers(size, "size")?;
    let sizes: Option<Vec<u32>> = size.iter().map(|&dim| u32::try_from(dim).ok()).collect();
    sizes
        .and_then(|sizes| sizes.try_into().ok())
        .ok_or_else(|| format!("expected height and width, got {size:?}"))
}

pub(super) fn resize_bilinear<'m>(
    importer: &mut Importer<'m>,
    operator: &Operator<'m>,
) -> Result<(), Refusal> {
    let OperatorOptions::ResizeBilinear(options) = &operator.options else { return wrong_options() };
    let (x, size) = (input(importer, operator, 0)?, size(importer, operator)?);
    let options::Resize { align_corners, half_pixel_centers } = *options;
    importer.finish(operator, n::ResizeBilinear { size, align_corners, half_pixel_centers }, vec![x])
}

pub(super) fn resize_nearest_neighbor<'m>(
    importer: &mut Importer<'m>,
    operator: &Operator<'m>,
) -> Result<(), Refusal> {
    let OperatorOptions::ResizeNearestNeighbor(options) = &operator.options else { return wrong_options() };
    let (x, size) = (input(importer, operator, 0)?, size(importer, operator)?);
    let options::Resize { align_corners, half_pixel_centers } = *options;
    importer.finish(operator, n::ResizeNearest { size, align_corners, half_pixel_centers }, vec![x])
}
