//! Filters and biases as integers.

use super::rewrite::Choice;
use super::scheme::{Activations, Bits, round_weight, weight_scale};
use mcunet_ir::quant::{Affine, F32, Granularity, QuantType};
use mcunet_ir::tensor::Data;
use mcunet_ir::types::Scalar;
use mcunet_ir::{Tensor, TensorType};

/// A layer's parameters as floats.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    /// The filter.
    pub filter: &'a Tensor,
    /// One number per output channel.
    pub bias: &'a [f32],
    /// Dimension of the filter that is the output channel.
    pub axis: usize,
}

/// The integers of a filter.
#[derive(Clone, PartialEq, Debug)]
pub struct Integers {
    /// What a step is worth, by output channel.
    pub scales: Vec<f32>,
    /// One for each weight.
    pub steps: Vec<i64>,
}

/// A layer's parameters as integers.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The filter, quantized along its output channels or as a whole.
    pub filter: Tensor,
    /// The bias, plain numbers of scale `input scale * filter scale`.
    pub bias: Tensor,
}

/// Parts of the largest accumulator that a bias may take; products need the rest.
const LARGEST_BIAS: f64 = (1u32 << 30) as f64;

/// Which output channel each weight belongs to.
pub fn channels(filter: &TensorType, axis: usize) -> impl Fn(usize) -> usize + use<> {
    let inner: usize = filter.shape[axis + 1..].iter().product::<usize>().max(1);
    let count = filter.shape[axis].max(1);
    move |index| index / inner % count
}

/// The weights of every output channel.
pub fn by_channel(filter: &Tensor, axis: usize) -> Vec<Vec<f32>> {
    let channel = channels(&filter.ty, axis);
    let mut rows = vec![Vec::new(); filter.ty.shape[axis]];
    for (index, &weight) in filter.f32s().unwrap_or_default().iter().enumerate() {
        rows[channel(index)].push(weight);
    }
    rows
}

/// Scales of a filter, one per output channel (all equal if `per_tensor`), wide enough for the bias.
pub fn scales(parameters: Parameters<'_>, input: Affine, bits: Bits, per_tensor: bool) -> Vec<f32> {
    let rows = by_channel(parameters.filter, parameters.axis);
    let mut scales: Vec<f32> = if per_tensor {
        let all = parameters.filter.f32s().unwrap_or_default();
        vec![weight_scale(all, bits); rows.len()]
    } else {
        rows.iter().map(|row| weight_scale(row, bits)).collect()
    };
    let least = least_scales(parameters, input).into_iter();
    if per_tensor {
        let least = least.fold(0.0, f32::max);
        scales.iter_mut().for_each(|scale| *scale = scale.max(least));
    } else {
        scales.iter_mut().zip(least).for_each(|(scale, least)| *scale = scale.max(least));
    }
    scales
}

/// Scales that a filter needs, by output channel: a bias beyond the accumulator would need weights of a larger scale.
pub fn least_scales(parameters: Parameters<'_>, input: Affine) -> Vec<f32> {
    let input = f64::from(input.scale.get());
    let least = |bias: &f32| (f64::from(bias.abs()) / (input * LARGEST_BIAS)) as f32;
    parameters.bias.iter().map(least).collect()
}

/// The integers of a filter, each the nearest.
pub fn nearest(parameters: Parameters<'_>, scales: Vec<f32>, bits: Bits) -> Integers {
    let channel = channels(&parameters.filter.ty, parameters.axis);
    let weights = parameters.filter.f32s().unwrap_or_default().iter().enumerate();
    let steps = weights.map(|(index, &weight)| round_weight(weight, scales[channel(index)], bits)).collect();
    Integers { scales, steps }
}

/// A layer's parameters as it was chosen to have them. `None` if the numbers don't fit each other.
pub fn chosen(
    parameters: Parameters<'_>,
    choice: &Choice,
    per_tensor: bool,
    (input, activations): (Affine, Activations),
) -> Option<Stored> {
    let mut bias = parameters.bias.to_vec();
    bias.iter_mut().zip(&choice.shift).for_each(|(bias, shift)| *bias += shift);
    let parameters = Parameters { bias: &bias, ..parameters };
    let integers = choice.integers.clone().unwrap_or_else(|| {
        nearest(parameters, scales(parameters, input, choice.bits, per_tensor), choice.bits)
    });
    stored(parameters, &integers, choice.bits, per_tensor, (input, activations))
}

/// Puts integers and scales together.
fn stored(
    parameters: Parameters<'_>,
    Integers { scales, steps }: &Integers,
    bits: Bits,
    per_tensor: bool,
    (input, activations): (Affine, Activations),
) -> Option<Stored> {
    let affine = |scale: &f32| Affine { scale: F32(*scale), zero_point: 0 };
    let granularity = if per_tensor {
        Granularity::PerTensor(affine(scales.first()?))
    } else {
        Granularity::PerAxis { axis: parameters.axis, channels: scales.iter().map(affine).collect() }
    };
    let storage = bits.storage();
    let quant = QuantType { storage, min: -bits.greatest(), max: bits.greatest(), granularity };
    let data = Data::from_i64s(Scalar::I8, steps.iter().copied())?;
    let filter = Tensor::new(TensorType::quantized(parameters.filter.ty.shape.clone(), quant), data).ok()?;
    let input = f64::from(input.scale.get());
    let limit = match activations {
        Activations::Int8 => i64::from(i32::MAX),
        // The accumulator of the 16x8 kernels has 48 bits to multiply.
        Activations::Int16 => 1 << 46,
    };
    let steps = parameters.bias.iter().zip(scales).map(|(&bias, &scale)| {
        // As the converter computes it: the product of scales as a float.
        let scale = (input * f64::from(scale)) as f32;
        ((f64::from(bias) / f64::from(scale)).round() as i64).clamp(-limit, limit)
    });
    let storage = activations.bias_storage();
    let bias = Data::from_i64s(storage, steps)?;
    let bias = Tensor::new(TensorType::plain([parameters.bias.len()], storage), bias).ok()?;
    Some(Stored { filter, bias })
}

/// A filter of integers as the floats they stand for.
pub fn dequantized(filter: &Tensor) -> Option<Tensor> {
    let quant = filter.ty.quant()?;
    let axis = match &quant.granularity {
        Granularity::PerTensor(_) => 0,
        Granularity::PerAxis { axis, .. } => *axis,
    };
    let channel = channels(&filter.ty, axis);
    let real = |(index, step): (usize, i64)| {
        let affine = quant.channel(channel(index))?;
        Some(affine.scale.get() * (step - i64::from(affine.zero_point)) as f32)
    };
    let reals: Option<Vec<f32>> = filter.data.to_i64s()?.into_iter().enumerate().map(real).collect();
    Tensor::new(TensorType::plain(filter.ty.shape.clone(), Scalar::F32), reals?).ok()
}
