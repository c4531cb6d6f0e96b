//! Ops whose semantics are still to be written; this file shrinks to nothing.

use super::ops::*;
use super::{EvalError, NnSemantics};
use crate::tensor::Tensor;
use crate::types::{Shape, TensorType};

macro_rules! pending { ($($op:ident)*) => {$(
    impl NnSemantics for $op {
        fn infer_shapes(&self, _: &[&TensorType]) -> Result<Vec<Shape>, String> { Err("pending".into()) }
        fn verify(&self, _: &[&TensorType], _: &[&TensorType], _: &mut Vec<String>) {}
        fn evaluate(&self, _: &[&Tensor], _: &[&TensorType]) -> Result<Vec<Tensor>, EvalError> {
            Err(EvalError::Unsupported("pending".into()))
        }
    }
)*}; }
pending! {
    Add Sub Mul Div Maximum Minimum SquaredDifference Relu LeakyRelu Prelu Elu Tanh Logistic HardSwish Abs Neg Exp Log Sqrt Rsqrt Square Reshape Transpose Concat Split Slice Pad Gather Pack Unpack Tile ResizeBilinear ResizeNearest DepthToSpace SpaceToDepth Quantize Dequantize Cast ShapeOf
}
