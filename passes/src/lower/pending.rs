//! Ops that have no kernel yet; this file shrinks to nothing.

use super::LowerOp;
use super::kernel::Kernel;
use mcunet_ir::Diagnostic;
use mcunet_ir::nn::ops::*;

macro_rules! pending { ($($op:ident)*) => {$(
    impl LowerOp for $op {
        fn lower(&self, kernel: &mut Kernel<'_>) -> Result<(), Diagnostic> {
            Err(kernel.error("has no kernel yet"))
        }
    }
)*}; }
pending! {
    DepthwiseConv2d AvgPool2d MaxPool2d Add Sub Mul Div Maximum Minimum SquaredDifference Relu LeakyRelu Prelu Elu Tanh Logistic HardSwish Abs Neg Exp Log Sqrt Rsqrt Square Softmax LogSoftmax L2Normalization Mean Sum ReduceMax ReduceMin ArgMax ArgMin Transpose Concat Split Slice Pad Gather Pack Unpack Tile ResizeBilinear ResizeNearest DepthToSpace SpaceToDepth Quantize Dequantize Cast ShapeOf
}
