//! The `nn` dialect: tensor operations with exactly the semantics of TensorFlow Lite Micro's reference kernels.
//!
//! Activations are NHWC, convolution filters OHWI (depthwise filters 1HWC). Integer results are specified to the bit:
//! `evaluate` is the specification, written as plain loops and independent of every lowering.

pub mod binary;
pub mod broadcast;
mod conv;
mod conv_add;
mod linear;
pub mod ops;
mod pool;
pub mod quantize;
pub mod reduce;
pub mod requantize;
pub mod resize;
pub mod rows;
mod shape;
pub mod softmax;
pub mod unary;
pub mod window;

pub use ops::NnOp;

use crate::attr::Clamp;
use crate::tensor::{Tensor, TensorError};
use crate::types::{Shape, TensorType};

/// The clamp of an op, if it can have one, to change it.
pub fn clamp_mut(kind: &mut NnOp) -> Option<&mut Clamp> {
    Some(match kind {
        NnOp::Conv2d(ops::Conv2d { clamp, .. })
        | NnOp::DepthwiseConv2d(ops::DepthwiseConv2d { clamp, .. })
        | NnOp::TransposeConv2d(ops::TransposeConv2d { clamp, .. })
        | NnOp::FullyConnected(ops::FullyConnected { clamp, .. })
        | NnOp::AvgPool2d(ops::AvgPool2d { clamp, .. })
        | NnOp::MaxPool2d(ops::MaxPool2d { clamp, .. })
        | NnOp::Add(ops::Add { clamp })
        | NnOp::Sub(ops::Sub { clamp })
        | NnOp::Mul(ops::Mul { clamp })
        | NnOp::Div(ops::Div { clamp })
        | NnOp::Relu(ops::Relu { clamp }) => clamp,
        _ => return None,
    })
}

/// Whether an operand may have a sub-byte type: filters, which ops read as if they were int8.
pub fn reads_sub_byte(kind: &NnOp, operand: usize) -> bool {
    let has_filter = matches!(
        kind,
        NnOp::Conv2d(_) | NnOp::Conv2dAdd(_) | NnOp::DepthwiseConv2d(_) | NnOp::FullyConnected(_)
    );
    has_filter && operand == 1
}

/// Reports operands of sub-byte types where the op can't read them.
pub fn check_sub_byte(kind: &NnOp, operands: &[&TensorType], report: &mut Vec<String>) {
    for (index, ty) in operands.iter().enumerate() {
        if ty.storage().is_sub_byte() && !reads_sub_byte(kind, index) {
            let found = ty.storage().name();
            report.push(format!(
                "expected operand {index} of at least 8 bits, got {found}, which only filters may have"
            ));
        }
    }
}

/// Why an op could not be evaluated.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EvalError {
    /// The tensor data does not fit the op.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The op has no meaning for these types; the verifier reports the same.
    #[error("{0}")]
    Unsupported(String),
}

/// What a tensor op means. Operands and results come in the order of the op's row.
pub trait NnSemantics {
    /// Result shapes from operand types and attributes.
    ///
    /// # Errors
    /// What is wrong with the operands, as `expected X, got Y`.
    fn infer_shapes(&self, operands: &[&TensorType]) -> Result<Vec<Shape>, String>;

    /// Adds a message for every constraint on types that does not hold. Shapes were compared with
    /// [`NnSemantics::infer_shapes`] before.
    fn verify(&self, operands: &[&TensorType], results: &[&TensorType], report: &mut Vec<String>);

    /// The reference semantics: results of the given types from operands. Called on verified ops only; must not panic
    /// on any values of the right types.
    ///
    /// # Errors
    /// If the operands don't fit the op, which the verifier would have reported.
    fn evaluate(&self, operands: &[&Tensor], results: &[&TensorType]) -> Result<Vec<Tensor>, EvalError>;

    /// Multiply-accumulates of the op as usually counted: those of convolutions and fully connected layers, padding
    /// included; 0 for all others.
    fn macs(&self, _operands: &[&TensorType], _results: &[&TensorType]) -> u64 {
        0
    }
}
