//! One row per operation of `nn`: the operators it is written as, or why there are none. What the rows of
//! [`ops`](crate::tflite::ops) do the other way.

use super::{Exporter, Refusal, Site};
use crate::tflite::reader::{BuiltinOperator as B, ElementType, OperatorOptions as O};
use mcunet_ir::nn::NnOp as N;

/// The table.
pub(super) fn row<'m>(exporter: &mut Exporter<'m>, site: &Site<'m>, op: &N) -> Result<(), Refusal> {
    match op {
        // Constants are written when they are read.
        N::Const(_) => Ok(()),
        N::Conv2d(op) => exporter.conv_2d(site, op),
        N::Conv2dAdd(op) => exporter.conv_2d_add(site, op),
        N::DepthwiseConv2d(op) => exporter.depthwise_conv_2d(site, op),
        N::TransposeConv2d(op) => exporter.transpose_conv_2d(site, op),
        N::FullyConnected(op) => exporter.fully_connected(site, op),
        N::AvgPool2d(op) => exporter.avg_pool_2d(site, op),
        N::MaxPool2d(op) => exporter.max_pool_2d(site, op),
        N::Add(op) => exporter.add(site, op),
        N::Sub(op) => exporter.sub(site, op),
        N::Mul(op) => exporter.mul(site, op),
        N::Div(op) => exporter.div(site, op),
        N::Maximum(_) => exporter.same(site, B::MAXIMUM, O::MaximumMinimum),
        N::Minimum(_) => exporter.same(site, B::MINIMUM, O::MaximumMinimum),
        N::SquaredDifference(_) => exporter.same(site, B::SQUARED_DIFFERENCE, O::SquaredDifference),
        N::Relu(op) => exporter.relu(site, op),
        N::LeakyRelu(op) => exporter.same(site, B::LEAKY_RELU, O::LeakyRelu { alpha: op.alpha.get() }),
        N::Prelu(_) => exporter.same(site, B::PRELU, O::None),
        N::Elu(_) => exporter.same(site, B::ELU, O::None),
        N::Tanh(_) => exporter.same(site, B::TANH, O::None),
        N::Logistic(_) => exporter.same(site, B::LOGISTIC, O::None),
        N::HardSwish(_) => exporter.same(site, B::HARD_SWISH, O::HardSwish),
        N::Abs(_) => exporter.same(site, B::ABS, O::Abs),
        N::Neg(_) => exporter.same(site, B::NEG, O::Neg),
        N::Exp(_) => exporter.same(site, B::EXP, O::Exp),
        N::Log(_) => exporter.same(site, B::LOG, O::None),
        N::Sqrt(_) => exporter.same(site, B::SQRT, O::None),
        N::Rsqrt(_) => exporter.same(site, B::RSQRT, O::None),
        N::Square(_) => exporter.same(site, B::SQUARE, O::Square),
        N::Lookup(_) => Err("expected a function that TensorFlow Lite has, got a table".to_owned()),
        N::Softmax(op) => exporter.same(site, B::SOFTMAX, O::Softmax { beta: op.beta.get() }),
        N::LogSoftmax(_) => exporter.same(site, B::LOG_SOFTMAX, O::LogSoftmax),
        N::L2Normalization(_) => exporter.l2_normalization(site),
        N::Mean(op) => exporter.reduce(site, B::MEAN, &op.axes, op.keep_dims),
        N::MeanOfMeans(op) => exporter.mean_of_means(site, op),
        N::Sum(op) => exporter.reduce(site, B::SUM, &op.axes, op.keep_dims),
        N::ReduceMax(op) => exporter.reduce(site, B::REDUCE_MAX, &op.axes, op.keep_dims),
        N::ReduceMin(op) => exporter.reduce(site, B::REDUCE_MIN, &op.axes, op.keep_dims),
        N::ArgMax(op) => {
            exporter.argument(site, B::ARG_MAX, op.axis, O::ArgMax { output_type: ElementType::Int32 })
        }
        N::ArgMin(op) => {
            exporter.argument(site, B::ARG_MIN, op.axis, O::ArgMin { output_type: ElementType::Int32 })
        }
        N::Reshape(_) => exporter.reshape(site),
        N::Transpose(op) => exporter.transpose(site, op),
        N::Concat(op) => exporter.concat(site, op),
        N::Split(op) => exporter.split(site, op),
        N::Slice(op) => exporter.slice(site, op),
        N::Insert(_) => {
            Err("expected an operation that makes a new tensor, got an update of a part".to_owned())
        }
        N::Pad(op) => exporter.pad(site, op),
        N::Gather(op) => exporter.gather(site, op),
        N::Pack(op) => exporter.pack(site, op),
        N::Unpack(op) => exporter.unpack(site, op),
        N::Tile(op) => exporter.tile(site, op),
        N::ResizeBilinear(op) => exporter.resize_bilinear(site, op),
        N::ResizeNearest(op) => exporter.resize_nearest(site, op),
        N::DepthToSpace(op) => exporter.depth_to_space(site, op),
        N::SpaceToDepth(op) => exporter.space_to_depth(site, op),
        N::Quantize(_) => exporter.convert(site, B::QUANTIZE, O::Quantize),
        N::Dequantize(_) => exporter.convert(site, B::DEQUANTIZE, O::Dequantize),
        N::Cast(_) => exporter.cast(site),
        N::ShapeOf(_) => exporter.shape_of(site),
    }
}
