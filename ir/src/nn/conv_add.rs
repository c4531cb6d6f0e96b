//! A convolution and the sum that reads its result, as one operation. It is defined as the two, so that nothing has to be said
//! of rounding here.

use super::ops::{Add, Conv2d, Conv2dAdd};
use super::{EvalError, NnSemantics};
use crate::quant::QuantType;
use crate::tensor::Tensor;
use crate::types::{Scalar, Shape, TensorType};

impl Conv2dAdd {
    /// A convolution and a sum of which it has `scale` and `zero_point` in between; `None` if that is not int8.
    pub fn of(conv: &Conv2d, between: &TensorType, add: &Add) -> Option<Self> {
        let Conv2d { stride, pad, dilation, clamp } = conv.clone();
        let affine = between.affine().filter(|_| between.storage() == Scalar::I8)?;
        let (scale, zero_point, sum_clamp) = (affine.scale, affine.zero_point, add.clamp);
        Some(Self { stride, pad, dilation, clamp, scale, zero_point, sum_clamp })
    }

    /// The convolution.
    pub fn conv(&self) -> Conv2d {
        let Self { stride, pad, dilation, clamp, .. } = self.clone();
        Conv2d { stride, pad, dilation, clamp }
    }

    /// The sum of its result and the addend.
    pub fn add(&self) -> Add {
        Add { clamp: self.sum_clamp }
    }

    /// Type of the convolution's result; `result` is that of the sum.
    pub fn between(&self, result: &TensorType) -> TensorType {
        let quant = QuantType::per_tensor(Scalar::I8, self.scale.get(), self.zero_point);
        TensorType::quantized(result.shape.clone(), quant)
    }
}

impl NnSemantics for Conv2dAdd {
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String> {
        let shapes = self.conv().infer_shapes(&operands[..3])?;
        // conv2d_add C2
        match shapes.first() {
            Some(shape) if *shape != operands[3].shape => {
                Err(format!("expected an addend of shape {shape}, got {}", operands[3].shape))
            }
            _ => Ok(shapes),
        }
    }

    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>) {
        // conv2d_add C1
        for (what, ty) in [("input", operands[0]), ("addend", operands[3]), ("result", results[0])] {
            if ty.storage() != Scalar::I8 || ty.affine().is_none() {
                let found = ty.storage().name();
                report.push(format!("expected an int8 {what} quantized per tensor, got {found}"));
                return;
            }
        }
        // conv2d_add C3
        let between = self.between(results[0]);
        if i8::try_from(self.zero_point).is_err() {
            report.push(format!("expected a zero point within -128:127, got {}", self.zero_point));
            return;
        }
        self.conv().verify(&operands[..3], &[&between], report);
        self.add().verify(&[&between, operands[3]], results, report);
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
        let between = self.between(results[0]);
        let convolved = self.conv().evaluate(&operands[..3], &[&between])?;
        let first =
            convolved.first().ok_or_else(|| EvalError::Unsupported("expected a result".to_owned()))?;
        self.add().evaluate(&[first, operands[3]], results)
    }

    fn macs(&self, operands: &[&TensorType], results: &[&TensorType]) -> u64 {
        self.conv().macs(operands, results)
    }
}
