//! Constants and fully connected layers. Source: the reference kernels' `fully_connected.h`.

use super::conv::Rescale;
use super::ops::{Const, FullyConnected};
use super::requantize::{
    check_accumulator_multipliers, check_clamp, check_symmetric, clamp_real, fully_connected_multipliers,
    real_limits,
};
use super::{EvalError, NnSemantics};
use crate::tensor::Tensor;
use crate::types::{Scalar, Shape, TensorType};

impl NnSemantics for Const {
    /// A constant's shape is that of its type; only its number of elements can be checked.
    fn infer_shapes(&self, _operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        Ok(vec![[self.value.count].into()])
    }

    fn verify(&self, _operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        // const C1
        let result = results[0];
        if self.value.element != result.storage() || self.value.count != result.elements() {
            report.push(format!(
                "expected a resource of {} elements of {}, got {} of {}",
                result.elements(),
                result.storage().name(),
                self.value.count,
                self.value.element.name()
            ));
        }
    }

    /// The data is the module's; whoever evaluates a function takes it from there.
    fn evaluate(&self, _operands: &[&Tensor], _results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        Err(EvalError::Unsupported("a constant's data is in its module".to_owned()))
    }
}

impl NnSemantics for FullyConnected {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        let (input, filter) = (&operands[0].shape, &operands[1].shape);
        let [outputs, inputs] = filter.0[..] else {
            return Err(format!("expected a filter of 2 dimensions, got {filter}"));
        };
        if inputs == 0 || input.elements() % inputs != 0 {
            return Err(format!("expected an input of rows of {inputs} elements, got {input}"));
        }
        if !self.keep_dims {
            return Ok(vec![[input.elements() / inputs, outputs].into()]);
        }
        match input.0.split_last() {
            Some((&last, outer)) if last == inputs => Ok(vec![Shape([outer, &[outputs]].concat())]),
            _ => Err(format!("expected an input whose last dimension is {inputs}, got {input}")),
        }
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        let [input, filter, bias] = operands else { return };
        // Filters of 4 and 2 bits are read as if they were unpacked first.
        let storages = [input.storage(), filter.storage().unpacked(), results[0].storage()];
        let wanted_bias = match storages {
            [Scalar::F32, Scalar::F32, Scalar::F32] => Scalar::F32,
            [storage @ (Scalar::I8 | Scalar::I16), Scalar::I8, output] if output == storage => {
                if input.affine().is_none() || results[0].affine().is_none() || filter.quant().is_none() {
                    report.push(format!(
                        "expected {} tensors quantized per tensor and a quantized filter, got others",
                        if storage == Scalar::I8 { "int8" } else { "int16" }
                    ));
                } else {
                    let outputs = filter.shape.first().copied().unwrap_or(0);
                    let multipliers = fully_connected_multipliers(input, filter, results[0], outputs);
                    check_accumulator_multipliers(multipliers, results[0], report);
                }
                check_symmetric(&[input, results[0]], report);
                if storage == Scalar::I8 { Scalar::I32 } else { Scalar::I64 }
            }
            [input_storage, _, output_storage] => {
                report.push(format!(
                    "expected int8 (or int16 with an int8 filter) or float32 input, filter and output alike, got {}, {} and {}",
                    input_storage.name(),
                    filter.storage().name(),
                    output_storage.name()
                ));
                return;
            }
        };
        if bias.storage() != wanted_bias {
            report.push(format!("expected a bias of {}, got {}", wanted_bias.name(), bias.storage().name()));
        }
        let outputs = filter.shape.first().copied().unwrap_or(0);
        if bias.shape.0 != [outputs] {
            report.push(format!("expected {outputs} bias channels, got {}", bias.shape));
        }
        check_clamp(self.clamp, results[0].storage(), report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let [outputs, inputs] = operands[1].ty.shape.0[..] else {
            return Err(EvalError::Unsupported("expected a filter of 2 dimensions".to_owned()));
        };
        let rows = operands[0].ty.elements().checked_div(inputs).unwrap_or(0);
        if results[0].storage() == Scalar::F32 {
            let (x, w, bias) = (operands[0].f32s()?, operands[1].f32s()?, operands[2].f32s()?);
            let limits = real_limits(self.clamp);
            let mut out = Vec::with_capacity(rows * outputs);
            for row in 0..rows {
                for o in 0..outputs {
                    let pairs = x[row * inputs..][..inputs].iter().zip(&w[o * inputs..][..inputs]);
                    let sum = pairs.fold(0.0f32, |sum, (x, w)| sum + x * w);
                    out.push(clamp_real(sum + bias[o], limits));
                }
            }
            return Ok(vec![Tensor::new(results[0].clone(), out)?]);
        }
        let (input, filter) = (&operands[0].ty, &operands[1].ty);
        // The filter's zero point counts only where one scale serves all outputs.
        let filter_zero = filter.affine().map_or(0, |affine| affine.zero_point);
        if results[0].storage() == Scalar::I16 {
            let (x, w, bias) = (operands[0].i16s()?, operands[1].i8s()?, operands[2].i64s()?);
            let multipliers = fully_connected_multipliers(input, filter, results[0], outputs);
            let rescale = Rescale::new(multipliers, input, results[0], self.clamp)?;
            let mut out = Vec::with_capacity(rows * outputs);
            for row in 0..rows {
                for o in 0..outputs {
                    let pairs = x[row * inputs..][..inputs].iter().zip(&w[o * inputs..][..inputs]);
                    let sum = pairs.fold(bias[o], |sum, (&x, &w)| {
                        sum.wrapping_add(i64::from(x) * (i64::from(w) - i64::from(filter_zero)))
                    });
                    out.push(rescale.apply_wide(sum, o));
                }
            }
            return Ok(vec![Tensor::new(results[0].clone(), out)?]);
        }
        let (x, w, bias) = (operands[0].i8s()?, operands[1].i8s()?, operands[2].i32s()?);
        let multipliers = fully_connected_multipliers(input, filter, results[0], outputs);
        let rescale = Rescale::new(multipliers, input, results[0], self.clamp)?;
        let input_zero = rescale.input_zero_point;
        let mut out = Vec::with_capacity(rows * outputs);
        for row in 0..rows {
            for o in 0..outputs {
                let pairs = x[row * inputs..][..inputs].iter().zip(&w[o * inputs..][..inputs]);
                let sum = pairs.fold(bias[o], |sum, (&x, &w)| {
                    let product = (i32::from(x) - input_zero).wrapping_mul(i32::from(w) - filter_zero);
                    sum.wrapping_add(product)
                });
                out.push(rescale.apply(sum, o));
            }
        }
        Ok(vec![Tensor::new(results[0].clone(), out)?])
    }

    fn macs(&self, operands: &[&TensorType], results: &[&TensorType]) -> u64 {
        let inputs = operands[1].shape.get(1).copied().unwrap_or(0);
        results[0].elements() as u64 * inputs as u64
    }
}
