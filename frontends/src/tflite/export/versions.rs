//! Versions of operators: runtimes ask for the least one that has an operator's types and options.
//!
//! Source: tensorflow/tensorflow, tensorflow/lite/tools/versioning/op_version.cc, `GetBuiltinOperatorVersion`, for the
//! types and options that are written here.

use crate::tflite::reader::{Activation, BuiltinOperator as B, OperatorOptions as O};
use mcunet_ir::TensorType;
use mcunet_ir::types::Scalar;

/// The version of an operator.
pub(super) fn version(code: B, inputs: &[&TensorType], outputs: &[&TensorType], options: &O<'_>) -> i32 {
    let scalar = |ty: Option<&&TensorType>| ty.map_or(Scalar::F32, |ty| ty.storage());
    // Where the data is not the first operand.
    let data = if code == B::SPLIT || code == B::TRANSPOSE_CONV { 1 } else { 0 };
    let (from, to) = (scalar(inputs.get(data)), scalar(outputs.first()));
    let rank = inputs.iter().map(|ty| ty.shape.rank()).max().unwrap_or(0);
    let broadcasts = inputs.windows(2).any(|pair| pair[0].shape != pair[1].shape);
    let narrow = i32::from(from == Scalar::I8) + 1;
    if inputs.get(1).is_some_and(|filter| filter.storage().is_sub_byte()) {
        return sub_byte(code);
    }
    if let Some(version) = int16(code, from) {
        return version;
    }
    match code {
        B::CONV_2D => convolution(inputs, narrow),
        B::DEPTHWISE_CONV_2D | B::FULLY_CONNECTED | B::TRANSPOSE_CONV => layer(from, inputs, options),
        B::MUL => product(inputs, outputs, narrow),
        B::RESIZE_BILINEAR | B::RESIZE_NEAREST_NEIGHBOR => match options {
            O::ResizeBilinear(resize) if resize.half_pixel_centers => 3,
            O::ResizeNearestNeighbor(resize) if resize.half_pixel_centers || resize.align_corners => 3,
            _ => narrow,
        },
        B::MAXIMUM | B::MINIMUM => match from {
            Scalar::I16 => 4,
            _ if broadcasts && rank > 4 => 3,
            _ => narrow,
        },
        B::SUB if broadcasts && rank > 4 => 3,
        B::DIV => i32::from(broadcasts && rank > 4) + 1,
        B::DEQUANTIZE if from == Scalar::I16 => 3,
        B::QUANTIZE => i32::from(to == Scalar::I16) + 1,
        B::CAST => match [from, to] {
            types if types.contains(&Scalar::U16) => 4,
            types if types.contains(&Scalar::I8) => 3,
            types if types.contains(&Scalar::U32) => 2,
            _ => 1,
        },
        B::PRELU | B::ELU | B::HARD_SWISH | B::LEAKY_RELU | B::RELU_N1_TO_1 => 1,
        B::RESHAPE | B::SHAPE | B::NEG | B::SQRT | B::SQUARE => 1,
        _ => movement(code, from, rank, narrow),
    }
}

/// Arithmetic on int16 activations. Where the source gives a lower version, it asks for int16 weights, which no kernel has:
/// these are the versions with which the kernels were registered when they learned int16.
fn int16(code: B, from: Scalar) -> Option<i32> {
    let version = match code {
        B::CONV_2D => 4,
        B::DEPTHWISE_CONV_2D => 5,
        B::FULLY_CONNECTED => 7,
        B::TRANSPOSE_CONV => 4,
        B::AVERAGE_POOL_2D | B::MAX_POOL_2D => 3,
        B::MUL => 4,
        B::ADD => 3,
        B::SUB => 5,
        B::SOFTMAX | B::LOGISTIC | B::TANH => 3,
        B::MEAN | B::REDUCE_MAX | B::REDUCE_MIN | B::RELU | B::RELU6 | B::ABS | B::RSQRT => 3,
        B::RESIZE_BILINEAR | B::RESIZE_NEAREST_NEIGHBOR => 4,
        B::LEAKY_RELU => 2,
        _ => return None,
    };
    (from == Scalar::I16).then_some(version)
}

/// Operators that take many types because they copy; and all others, which need version 2 for int8.
fn movement(code: B, from: Scalar, rank: usize, narrow: i32) -> i32 {
    match (code, from) {
        (B::TRANSPOSE, _) if rank > 5 => 6,
        (B::TRANSPOSE, Scalar::I16) => 5,
        (B::TRANSPOSE, _) if rank > 4 => 4,
        (B::SLICE, Scalar::U32) => 6,
        (B::SLICE, _) if rank > 4 => 5,
        (B::STRIDED_SLICE, Scalar::U32) => 7,
        (B::STRIDED_SLICE, _) if rank > 4 => 4,
        (B::PAD | B::PADV2, _) if rank > 4 => 4,
        (B::PAD | B::PADV2 | B::CONCATENATION | B::PACK, Scalar::I16) => 3,
        (B::CONCATENATION | B::PACK, Scalar::U32) => 4,
        (B::SLICE | B::SPLIT | B::GATHER | B::UNPACK, Scalar::I16) => 4,
        (B::SPLIT, Scalar::I32) => 3,
        (B::TRANSPOSE | B::STRIDED_SLICE | B::GATHER | B::UNPACK | B::ARG_MAX | B::ARG_MIN, Scalar::I1) => 3,
        (B::UNPACK, Scalar::U8) => 2,
        // The reference kernels take int8, but are registered as versions without.
        (B::TILE | B::DEPTH_TO_SPACE, _) => 1,
        _ => narrow,
    }
}

/// Operators whose filter has 4 bits. The source knows none of 2 bits; LiteRT 2.3.0 takes fully connected layers of this version.
fn sub_byte(code: B) -> i32 {
    if code == B::FULLY_CONNECTED { 10 } else { 7 }
}

/// CONV_2D: grouped from version 6, int8 from 3.
fn convolution(inputs: &[&TensorType], narrow: i32) -> i32 {
    let channels = |at: usize| inputs.get(at).and_then(|ty| ty.shape.last().copied());
    match (channels(0) != channels(1), narrow > 1) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 1,
    }
}

/// The other operators with weights.
fn layer(from: Scalar, inputs: &[&TensorType], options: &O<'_>) -> i32 {
    let int8 = from == Scalar::I8;
    match options {
        O::DepthwiseConv2d(_) if int8 => 3,
        O::DepthwiseConv2d(op) if [op.dilation_height, op.dilation_width] != [1, 1] => 2,
        O::FullyConnected(op) if op.keep_num_dims => 5,
        O::FullyConnected(_) if int8 => 4,
        O::TransposeConv(op) if op.activation != Activation::None => 4,
        O::TransposeConv(_) if inputs.len() > 3 => 3,
        O::TransposeConv(_) if int8 => 2,
        _ => 1,
    }
}

/// MUL: from version 3, products may be of a larger scale than the result.
fn product(inputs: &[&TensorType], outputs: &[&TensorType], narrow: i32) -> i32 {
    let scales: Option<Vec<f32>> =
        inputs.iter().chain(outputs).map(|ty| ty.affine().map(|affine| affine.scale.get())).collect();
    match scales.as_deref() {
        Some(&[lhs, rhs, output]) if lhs * rhs / output >= 1.0 => 3,
        _ => narrow,
    }
}
