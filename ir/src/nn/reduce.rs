//! Reductions over axes. Source: the reference kernels' `reduce.h` and `arg_min_max.h`.

use super::ops::{ArgMax, ArgMin, Mean, MeanOfMeans, ReduceMax, ReduceMin, Sum};
use super::pool::same_quantization;
use super::requantize::{check_multipliers, check_symmetric, integer_limits};
use super::{EvalError, NnSemantics};
use crate::attr::Clamp;
use crate::fixed_point::{QuantizedMultiplier, requantize};
use crate::quant::QuantType;
use crate::tensor::{Data, Tensor};
use crate::types::{Scalar, Shape, TensorType};

/// Shape of a reduction over `axes`.
fn reduced_shape(input: &TensorType, axes: &[usize], keep_dims: bool) -> Result<Shape, String> {
    let rank = input.shape.rank();
    if !axes.is_sorted_by(|a, b| a < b) || axes.iter().any(|&axis| axis >= rank) {
        return Err(format!("expected sorted axes below {rank}, got {axes:?}"));
    }
    let dims = input.shape.iter().enumerate();
    let dims = dims.filter_map(|(i, &dim)| match (axes.contains(&i), keep_dims) {
        (false, _) => Some(dim),
        (true, true) => Some(1),
        (true, false) => None,
    });
    Ok(Shape(dims.collect()))
}

/// For every input element, row-major, the output element that it is reduced into.
fn targets(input: &Shape, axes: &[usize]) -> Vec<usize> {
    let kept: Vec<usize> = (0..input.rank()).filter(|axis| !axes.contains(axis)).collect();
    let kept_strides = Shape(kept.iter().map(|&axis| input[axis]).collect()).strides();
    let mut steps = vec![0; input.rank()];
    for (&axis, &stride) in kept.iter().zip(&kept_strides) {
        steps[axis] = stride;
    }
    let mut index = vec![0; input.rank()];
    let mut target = 0;
    let mut all = Vec::with_capacity(input.elements());
    for _ in 0..input.elements() {
        all.push(target);
        for axis in (0..input.rank()).rev() {
            index[axis] += 1;
            target += steps[axis];
            if index[axis] < input[axis] {
                break;
            }
            target -= steps[axis] * input[axis];
            index[axis] = 0;
        }
    }
    all
}

fn verify_types(input: &TensorType, result: &TensorType, report: &mut Vec<String>) -> bool {
    let scalar = input.storage();
    let fits = match scalar {
        Scalar::F32 => result.storage() == Scalar::F32,
        Scalar::I8 | Scalar::I16 => {
            result.storage() == scalar && input.affine().is_some() && result.affine().is_some()
        }
        _ => false,
    };
    check_symmetric(&[input, result], report);
    if !fits {
        report.push(format!(
            "expected int8 or int16 (quantized per tensor) or float32 input and result alike, got {} and {}",
            scalar.name(),
            result.storage().name()
        ));
    }
    fits
}

/// Elements that make one result.
pub(crate) fn reduced_count(input: &TensorType, axes: &[usize]) -> usize {
    axes.iter().filter_map(|&axis| input.shape.get(axis)).product()
}

/// The multiplier of a quantized sum, `input scale / output scale` in double, or of a mean: that divided by `count`, as
/// the reference divides it. Source: `QuantizedMeanOrSum`, tensorflow/lite/kernels/internal/reference/reduce.h.
pub fn reduction_multiplier(
    input: &TensorType,
    output: &TensorType,
    mean_of: Option<usize>,
) -> Option<QuantizedMultiplier> {
    let real = f64::from(input.affine()?.scale.get()) / f64::from(output.affine()?.scale.get());
    let multiplier = QuantizedMultiplier::from_real(real)?;
    let Some(count) = mean_of else { return Some(multiplier) };
    // The quotient keeps as many bits as fit: shifted up by log2 of the count before the division.
    let bits = i64::try_from(count).ok()?.checked_ilog2().unwrap_or(0);
    let up = bits.min(32).min(u32::try_from(31 + multiplier.shift).unwrap_or(0));
    let quotient = (i64::from(multiplier.multiplier) << up).checked_div(count as i64)?;
    Some(QuantizedMultiplier { multiplier: quotient as i32, shift: multiplier.shift - up as i32 })
}

fn evaluate_sum(
    input: &Tensor,
    output: &TensorType,
    axes: &[usize],
    mean: bool,
) -> Result<Vec<Tensor>, EvalError> {
    let targets = targets(&input.ty.shape, axes);
    let count = reduced_count(&input.ty, axes);
    if output.storage() == Scalar::F32 {
        let mut sums = vec![0.0f32; output.elements()];
        for (&x, &at) in input.f32s()?.iter().zip(&targets) {
            sums[at] += x;
        }
        if mean {
            sums.iter_mut().for_each(|sum| *sum /= count as f32);
        }
        return Ok(vec![Tensor::new(output.clone(), sums)?]);
    }
    let unsupported = || EvalError::Unsupported("expected integers quantized per tensor".to_owned());
    let multiplier =
        reduction_multiplier(&input.ty, output, mean.then_some(count)).ok_or_else(unsupported)?;
    let input_zero = input.ty.affine().ok_or_else(unsupported)?.zero_point;
    let output_zero = output.affine().ok_or_else(unsupported)?.zero_point;
    let mut sums = vec![0i32; output.elements()];
    for (x, &at) in input.data.to_i64s().ok_or_else(unsupported)?.into_iter().zip(&targets) {
        sums[at] = sums[at].wrapping_add(x as i32);
    }
    let offset = input_zero.wrapping_mul(count as i32);
    let limits = integer_limits(Clamp::None, output.storage());
    let stored = |sum: i32| requantize(sum.wrapping_sub(offset), multiplier, output_zero, limits).into();
    let data = Data::from_i64s(output.storage(), sums.into_iter().map(stored)).ok_or_else(unsupported)?;
    Ok(vec![Tensor::new(output.clone(), data)?])
}

macro_rules! sums {
    ($($op:ident mean $mean:literal),*) => {$(
        impl NnSemantics for $op {
            fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
                Ok(vec![reduced_shape(operands[0], &self.axes, self.keep_dims)?])
            }

            fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
                if !verify_types(operands[0], results[0], report) {
                    return;
                }
                if $mean && reduced_count(operands[0], &self.axes) == 0 {
                    report.push("expected at least one element to take the mean of, got none".to_owned());
                } else if !results[0].storage().is_float() {
                    check_multipliers(reduction_multiplier(operands[0], results[0], None), report);
                }
            }

            fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
                evaluate_sum(operands[0], results[0], &self.axes, $mean)
            }
        }
    )*};
}
sums!(Mean mean true, Sum mean false);

impl MeanOfMeans {
    /// Type of the means over `inner`, with dimensions of 1 in their place.
    pub fn between(&self, input: &TensorType) -> Result<TensorType, String> {
        let shape = reduced_shape(input, &self.inner, true)?;
        let quant = QuantType::per_tensor(Scalar::I8, self.scale.get(), self.zero_point);
        Ok(TensorType::quantized(shape, quant))
    }

    /// Axes that are reduced.
    fn axes(&self) -> Vec<usize> {
        let mut axes = [self.inner.as_slice(), &self.outer].concat();
        axes.sort_unstable();
        axes
    }
}

impl NnSemantics for MeanOfMeans {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        // mean_of_means C2
        reduced_shape(operands[0], &self.inner, true)?;
        reduced_shape(operands[0], &self.outer, true)?;
        Ok(vec![reduced_shape(operands[0], &self.axes(), self.keep_dims)?])
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        let (input, result) = (operands[0], results[0]);
        // mean_of_means C1
        if input.storage() != Scalar::I8 || !verify_types(input, result, report) {
            report.push(format!("expected an int8 input, got {}", input.storage().name()));
            return;
        }
        if reduced_count(input, &self.axes()) == 0 {
            report.push("expected at least one element to take the mean of, got none".to_owned());
            return;
        }
        // mean_of_means C3
        if let Ok(between) = self.between(input) {
            let first = reduction_multiplier(input, &between, None);
            check_multipliers(first.and(reduction_multiplier(&between, result, None)), report);
        }
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let between = self.between(&operands[0].ty).map_err(EvalError::Unsupported)?;
        let means = evaluate_sum(operands[0], &between, &self.inner, true)?;
        let first = means.first().ok_or_else(|| EvalError::Unsupported("expected means".to_owned()))?;
        // The dimensions of 1 that are left of the inner axes make no difference to the order of results.
        evaluate_sum(first, results[0], &self.outer, true)
    }
}

fn fold<T: Copy>(
    items: &[T],
    targets: &[usize],
    start: T,
    count: usize,
    better: impl Fn(T, T) -> bool,
) -> Vec<T> {
    let mut out = vec![start; count];
    for (&x, &at) in items.iter().zip(targets) {
        if better(x, out[at]) {
            out[at] = x;
        }
    }
    out
}

macro_rules! extremes {
    ($($op:ident $compare:tt starting $int:ident $float:ident),*) => {$(
        impl NnSemantics for $op {
            fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
                Ok(vec![reduced_shape(operands[0], &self.axes, self.keep_dims)?])
            }

            fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
                if verify_types(operands[0], results[0], report) && !same_quantization(operands[0], results[0]) {
                    report.push("expected input and result of one scale and zero point, got others".to_owned());
                }
            }

            fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
                let targets = targets(&operands[0].ty.shape, &self.axes);
                let count = results[0].elements();
                let data: Data = match results[0].storage() {
                    Scalar::F32 => {
                        fold(operands[0].f32s()?, &targets, f32::$float, count, |a, b| a $compare b).into()
                    }
                    Scalar::I16 => {
                        fold(operands[0].i16s()?, &targets, i16::$int, count, |a, b| a $compare b).into()
                    }
                    _ => fold(operands[0].i8s()?, &targets, i8::$int, count, |a, b| a $compare b).into(),
                };
                Ok(vec![Tensor::new(results[0].clone(), data)?])
            }
        }
    )*};
}
extremes!(ReduceMax > starting MIN MIN, ReduceMin < starting MAX MAX);

fn arg_best<T: Copy>(
    items: &[T],
    shape: &Shape,
    axis: usize,
    better: impl Fn(T, T) -> bool,
) -> Result<Vec<i32>, EvalError> {
    let size = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    if size == 0 {
        return Err(EvalError::Unsupported("expected at least one element along the axis".to_owned()));
    }
    let mut out = Vec::with_capacity(outer * inner);
    for o in 0..outer {
        for i in 0..inner {
            let at = |k: usize| items[(o * size + k) * inner + i];
            let best = (1..size).fold(0, |best, k| if better(at(k), at(best)) { k } else { best });
            out.push(best as i32);
        }
    }
    Ok(out)
}

macro_rules! arguments {
    ($($op:ident $compare:tt),*) => {$(
        impl NnSemantics for $op {
            fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
                if self.axis >= operands[0].shape.rank() {
                    return Err(format!("expected an axis below {}, got {}", operands[0].shape.rank(), self.axis));
                }
                Ok(vec![reduced_shape(operands[0], &[self.axis], false)?])
            }

            fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
                if !matches!(operands[0].storage(), Scalar::F32 | Scalar::I8) {
                    report.push(format!("expected int8 or float32 input, got {}", operands[0].storage().name()));
                }
                if results[0].storage() != Scalar::I32 {
                    report.push(format!("expected an i32 result, got {}", results[0].storage().name()));
                }
                if operands[0].shape.get(self.axis) == Some(&0) {
                    report.push("expected at least one element along the axis, got none".to_owned());
                }
            }

            fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
                let shape = &operands[0].ty.shape;
                let out = if operands[0].ty.storage() == Scalar::F32 {
                    arg_best(operands[0].f32s()?, shape, self.axis, |a, b| a $compare b)?
                } else {
                    arg_best(operands[0].i8s()?, shape, self.axis, |a, b| a $compare b)?
                };
                Ok(vec![Tensor::new(results[0].clone(), out)?])
            }
        }
    )*};
}
arguments!(ArgMax >, ArgMin <);
