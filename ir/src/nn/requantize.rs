//! Multipliers of quantized ops, each computed in the precision in which the reference kernels compute it, since that
//! decides the last bit. Evaluation and lowering both read them here.

use crate::attr::Clamp;
use crate::fixed_point::QuantizedMultiplier;
use crate::quant::Affine;
use crate::types::{Scalar, TensorType};

/// Scale and zero point of an int8 tensor that is quantized per tensor.
pub fn int8_affine(ty: &TensorType) -> Option<Affine> {
    if ty.storage() == Scalar::I8 { ty.affine() } else { None }
}

/// One multiplier per output channel of a convolution: `input scale * filter scale[o] / output scale` in double.
/// A filter with one scale gives every channel the same. Source: tensorflow/lite/kernels/kernel_util.cc,
/// `PopulateConvolutionQuantizationParams`.
pub fn convolution_multipliers(
    input: &TensorType,
    filter: &TensorType,
    output: &TensorType,
    channels: usize,
) -> Option<Vec<QuantizedMultiplier>> {
    let (input, output) = (f64::from(input.affine()?.scale.get()), f64::from(output.affine()?.scale.get()));
    let filter = filter.quant()?;
    let multiplier = |channel| {
        let scale = f64::from(filter.channel(channel)?.scale.get());
        QuantizedMultiplier::from_real(input * scale / output)
    };
    (0..channels).map(multiplier).collect()
}

/// One multiplier per output of a fully connected layer. With one filter scale the product is computed in float, with
/// one per output in double. Source: tensorflow/lite/kernels/kernel_util.cc, `GetQuantizedConvolutionMultipler`.
pub fn fully_connected_multipliers(
    input: &TensorType,
    filter: &TensorType,
    output: &TensorType,
    channels: usize,
) -> Option<Vec<QuantizedMultiplier>> {
    let Some(filter_affine) = filter.affine() else {
        return convolution_multipliers(input, filter, output, channels);
    };
    let product = f64::from(input.affine()?.scale.get() * filter_affine.scale.get());
    let multiplier = QuantizedMultiplier::from_real(product / f64::from(output.affine()?.scale.get()))?;
    Some(vec![multiplier; channels])
}

/// How far the integers of a type that is quantized per tensor are from their zero point at most.
pub fn reach(ty: &TensorType) -> Option<u64> {
    let (low, high) = ty.storage().integer_range()?;
    let zero_point = i64::from(ty.affine()?.zero_point);
    Some(low.abs_diff(zero_point).max(high.abs_diff(zero_point)))
}

/// Limits of a clamp in stored integers, within the storage type's range.
pub fn integer_limits(clamp: Clamp, storage: Scalar) -> (i32, i32) {
    let (min, max) = match storage.integer_range() {
        Some((min, max)) => (min.max(i32::MIN.into()) as i32, max.min(i32::MAX.into()) as i32),
        None => (i32::MIN, i32::MAX),
    };
    match clamp {
        Clamp::Int(low, high) => (low.max(min), high.min(max)),
        Clamp::None | Clamp::Real(..) => (min, max),
    }
}

/// Limits of a clamp in real numbers. Without a clamp they are the greatest finite floats, as in the reference.
pub fn real_limits(clamp: Clamp) -> (f32, f32) {
    match clamp {
        Clamp::Real(low, high) => (low.get().max(f32::MIN), high.get().min(f32::MAX)),
        Clamp::None | Clamp::Int(..) => (f32::MIN, f32::MAX),
    }
}

/// C++'s `std::min(std::max(x, low), high)`, in which NaN passes.
pub fn clamp_real(x: f32, (low, high): (f32, f32)) -> f32 {
    let x = if x < low { low } else { x };
    if high < x { high } else { x }
}

/// Reports multipliers that no fixed-point number can stand for: the scales' ratio is too large or no number.
pub fn check_multipliers<M>(multipliers: Option<M>, report: &mut Vec<String>) {
    if multipliers.is_none() {
        report.push("expected scales whose ratio can be quantized, got others".to_owned());
    }
}

/// As [`check_multipliers`] for a layer's accumulators. Those of int16 results have 64 bits, which leave room for factors
/// below 2^7 only: the reference asserts as much.
pub fn check_accumulator_multipliers(
    multipliers: Option<Vec<QuantizedMultiplier>>,
    result: &TensorType,
    report: &mut Vec<String>,
) {
    let large =
        |multipliers: &Vec<QuantizedMultiplier>| multipliers.iter().any(|multiplier| multiplier.shift > 7);
    if result.storage() == Scalar::I16 && multipliers.as_ref().is_some_and(large) {
        report.push(
            "expected scales whose ratio is below 2^7 for an int16 result, got a larger one".to_owned(),
        );
    }
    check_multipliers(multipliers, report);
}

/// Reports int16 tensors that are not symmetric: their kernels know no zero point.
pub fn check_symmetric(types: &[&TensorType], report: &mut Vec<String>) {
    let moved = |ty: &&TensorType| {
        ty.storage() == Scalar::I16 && ty.affine().is_some_and(|affine| affine.zero_point != 0)
    };
    if types.iter().any(moved) {
        report.push("expected int16 tensors of zero point 0, got another".to_owned());
    }
}

/// Whether a clamp has the kind that the storage type asks for; a message if not.
pub fn check_clamp(clamp: Clamp, storage: Scalar, report: &mut Vec<String>) {
    match (clamp, storage.is_float()) {
        (Clamp::Int(..), true) => report.push("expected a clamp of floats, got integers".to_owned()),
        (Clamp::Real(..), false) => report.push("expected a clamp of integers, got floats".to_owned()),
        _ => {}
    }
}
