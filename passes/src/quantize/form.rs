//! How each op is computed on integers: the one table that the rest of quantization reads.

use super::scheme::Activations;
use mcunet_ir::nn::NnOp;
use mcunet_ir::nn::ops as n;
use mcunet_ir::quant::{Affine, F32};

/// How an op is quantized.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Form {
    /// A layer with weights; the filter's output channels are along `axis`.
    Weighted {
        /// Dimension of the filter.
        axis: usize,
    },
    /// The result has a range of its own.
    Own,
    /// Operands and results share scale and zero point.
    Shared,
    /// The op itself says what its result's integers mean.
    Fixed(Affine),
    /// Reads quantized numbers and makes something else of them.
    Reads,
    /// Computed in float, between DEQUANTIZE and QUANTIZE.
    Real,
    /// A constant.
    Constant,
}

/// The form of an op.
pub fn form(op: &NnOp, activations: Activations) -> Form {
    let fixed = |int8: (f32, i32), int16: f32| {
        let (scale, zero_point) = match activations {
            Activations::Int8 => int8,
            Activations::Int16 => (int16, 0),
        };
        Form::Fixed(Affine { scale: F32(scale), zero_point })
    };
    match op {
        NnOp::Conv2d(_) | NnOp::TransposeConv2d(_) | NnOp::FullyConnected(_) => Form::Weighted { axis: 0 },
        NnOp::DepthwiseConv2d(_) => Form::Weighted { axis: 3 },
        NnOp::Add(_)
        | NnOp::Sub(_)
        | NnOp::Mul(_)
        | NnOp::Div(_)
        | NnOp::SquaredDifference(_)
        | NnOp::Relu(_)
        | NnOp::LeakyRelu(_)
        | NnOp::Prelu(_)
        | NnOp::Elu(_)
        | NnOp::HardSwish(_)
        | NnOp::Abs(_)
        | NnOp::Neg(_)
        | NnOp::Rsqrt(_)
        | NnOp::Square(_)
        | NnOp::Mean(_)
        | NnOp::Sum(_) => Form::Own,
        NnOp::AvgPool2d(_)
        | NnOp::MaxPool2d(_)
        | NnOp::Maximum(_)
        | NnOp::Minimum(_)
        | NnOp::ReduceMax(_)
        | NnOp::ReduceMin(_)
        | NnOp::Reshape(_)
        | NnOp::Transpose(_)
        | NnOp::Concat(_)
        | NnOp::Split(_)
        | NnOp::Slice(_)
        | NnOp::Insert(_)
        | NnOp::Pad(_)
        | NnOp::Gather(_)
        | NnOp::Pack(_)
        | NnOp::Unpack(_)
        | NnOp::Tile(_)
        | NnOp::ResizeBilinear(_)
        | NnOp::ResizeNearest(_)
        | NnOp::DepthToSpace(_)
        | NnOp::SpaceToDepth(_) => Form::Shared,
        NnOp::Softmax(_) | NnOp::Logistic(_) => fixed((1.0 / 256.0, -128), 1.0 / 32768.0),
        NnOp::Tanh(_) | NnOp::L2Normalization(_) => fixed((1.0 / 128.0, 0), 1.0 / 32768.0),
        NnOp::LogSoftmax(_) => fixed((16.0 / 256.0, 127), 16.0 / 65536.0),
        NnOp::ArgMax(_) | NnOp::ArgMin(_) => Form::Reads,
        // No kernel on integers; or, for the last four, ops on other numbers.
        NnOp::Exp(_) | NnOp::Log(_) | NnOp::Sqrt(_) => Form::Real,
        NnOp::Quantize(_)
        | NnOp::Dequantize(_)
        | NnOp::Cast(_)
        | NnOp::ShapeOf(_)
        | NnOp::Lookup(_)
        | NnOp::Conv2dAdd(_)
        | NnOp::MeanOfMeans(_) => Form::Real,
        NnOp::Const(_) => Form::Constant,
    }
}

/// What an op becomes on integers, if that is another op: a square is a product, a negation one with -1.
pub enum Integer {
    /// The op itself.
    Same,
    /// `x * x`.
    Square,
    /// `x * -1`.
    Negation,
}

/// How an op is spelled on integers.
pub fn integer(op: &NnOp) -> Integer {
    match op {
        NnOp::Square(_) => Integer::Square,
        NnOp::Neg(_) => Integer::Negation,
        _ => Integer::Same,
    }
}

/// The op without its clamp.
pub fn unclamped(op: &NnOp) -> NnOp {
    use mcunet_ir::attr::Clamp;
    let mut op = op.clone();
    match &mut op {
        NnOp::Conv2d(n::Conv2d { clamp, .. })
        | NnOp::DepthwiseConv2d(n::DepthwiseConv2d { clamp, .. })
        | NnOp::TransposeConv2d(n::TransposeConv2d { clamp, .. })
        | NnOp::FullyConnected(n::FullyConnected { clamp, .. }) => *clamp = Clamp::None,
        _ => {}
    }
    op
}
