//! THE `nn` table. Semantics of the rows are in the family files beside this one.

use super::NnSemantics;
use crate::attr::{Clamp, Number, ResourceRef, Table};
use crate::define::define_ops;
use crate::quant::F32;

define_ops! {
    /// Tensor operations with TensorFlow Lite Micro's reference semantics.
    dialect "nn" enum NnOp requires NnSemantics;

    /// A constant tensor.
    ///
    /// C1: the resource has the storage type and number of elements of the result.
    Const = "nn.const" {
        attrs { value: ResourceRef }
        results { output: Tensor }
        traits [Pure]
    }

    /// Two-dimensional convolution.
    ///
    /// `input` NHWC, `filter` OHWI, `bias` one number per output channel: i32 with scale `s_input * s_filter[o]` for
    /// quantized types, f32 for floats. `pad` is top, bottom, left, right. If the filter has fewer input channels than
    /// the input, the convolution is grouped. Rounding as in [`crate::fixed_point`].
    ///
    /// - C1: stride and dilation are at least 1.
    /// - C2: the input's channels are a multiple of the filter's, and the output's a multiple of the groups.
    /// - C3: the bias has one element per output channel.
    /// - C4: input, filter and output are all f32, or all int8 with the filter quantized symmetrically per tensor or
    ///   along its output channels; or input and output are int16 of zero point 0, and the bias i64. The filter may have elements of 4 or 2 bits, which count as if they were int8.
    /// - C5: the ratios `s_input * s_filter[o] / s_output` are below 2^31, and below 2^7 for int16.
    Conv2d = "nn.conv2d" {
        operands { input: Tensor4D, filter: Tensor4D, bias: Tensor1D }
        attrs {
            stride: [u32; 2] = [1, 1],
            pad: [u32; 4] = [0, 0, 0, 0],
            dilation: [u32; 2] = [1, 1],
            clamp: Clamp = Clamp::None,
        }
        results { output: Tensor4D }
        traits [Pure]
    }

    /// The sum of a convolution's result and a tensor: what `nn.conv2d` and the `nn.add` that reads it compute, to the bit,
    /// with nothing stored in between. `clamp` is the convolution's, whose result is int8 with `scale` and `zero_point`;
    /// `sum_clamp` is the sum's.
    ///
    /// - C1: input, addend and result are int8, quantized per tensor.
    /// - C2: the addend has the shape of the result.
    /// - C3: the convolution is valid with a result of `scale` and `zero_point`, and so is the sum.
    Conv2dAdd = "nn.conv2d_add" {
        operands { input: Tensor4D, filter: Tensor4D, bias: Tensor1D, addend: Tensor4D }
        attrs {
            stride: [u32; 2] = [1, 1],
            pad: [u32; 4] = [0, 0, 0, 0],
            dilation: [u32; 2] = [1, 1],
            clamp: Clamp = Clamp::None,
            scale: F32,
            zero_point: i32 = 0,
            sum_clamp: Clamp = Clamp::None,
        }
        results { output: Tensor4D }
        traits [Pure]
    }

    /// Convolution of every channel by itself.
    ///
    /// `filter` is 1HWC with `C = input channels * multiplier`; output channel `c` reads input channel
    /// `c / multiplier`. Otherwise as `nn.conv2d`; a filter quantized per axis is so along dimension 3.
    DepthwiseConv2d = "nn.depthwise_conv2d" {
        operands { input: Tensor4D, filter: Tensor4D, bias: Tensor1D }
        attrs {
            stride: [u32; 2] = [1, 1],
            pad: [u32; 4] = [0, 0, 0, 0],
            dilation: [u32; 2] = [1, 1],
            clamp: Clamp = Clamp::None,
        }
        results { output: Tensor4D }
        traits [Pure]
    }

    /// Transposed convolution: every input pixel adds `filter` times itself to a window of the output.
    ///
    /// `filter` OHWI. `output_size` is the output's height and width; `pad` (top, left) is cut off its borders.
    TransposeConv2d = "nn.transpose_conv2d" {
        operands { input: Tensor4D, filter: Tensor4D, bias: Tensor1D }
        attrs {
            stride: [u32; 2] = [1, 1],
            pad: [u32; 2] = [0, 0],
            output_size: [u32; 2],
            clamp: Clamp = Clamp::None,
        }
        results { output: Tensor4D }
        traits [Pure]
    }

    /// Matrix times vector: `output[.., o] = sum_i input[.., i] * filter[o, i] + bias[o]`.
    ///
    /// The input is read as rows of as many elements as `filter` has columns. The result has shape `[rows, o]`, or the
    /// input's with the last dimension replaced if `keep_dims`.
    FullyConnected = "nn.fully_connected" {
        operands { input: Tensor, filter: Tensor, bias: Tensor1D }
        attrs { keep_dims: bool = false, clamp: Clamp = Clamp::None }
        results { output: Tensor }
        traits [Pure]
    }

    /// Mean over a window; padding does not count. `kernel` and `stride` are height, width.
    AvgPool2d = "nn.avg_pool2d" {
        operands { input: Tensor4D }
        attrs {
            kernel: [u32; 2],
            stride: [u32; 2] = [1, 1],
            pad: [u32; 4] = [0, 0, 0, 0],
            clamp: Clamp = Clamp::None,
        }
        results { output: Tensor4D }
        traits [Pure]
    }

    /// Greatest element of a window; padding does not count. `kernel` and `stride` are height, width.
    MaxPool2d = "nn.max_pool2d" {
        operands { input: Tensor4D }
        attrs {
            kernel: [u32; 2],
            stride: [u32; 2] = [1, 1],
            pad: [u32; 4] = [0, 0, 0, 0],
            clamp: Clamp = Clamp::None,
        }
        results { output: Tensor4D }
        traits [Pure]
    }

    /// Sum, with broadcasting; each quantized operand (int8, or int16 of zero point 0) is rescaled to twice the larger scale
    /// first.
    Add = "nn.add" {
        operands { lhs: Tensor, rhs: Tensor }
        attrs { clamp: Clamp = Clamp::None }
        results { output: Tensor }
        traits [Pure, Elementwise]
    }

    /// Difference `lhs - rhs`, with broadcasting.
    Sub = "nn.sub" {
        operands { lhs: Tensor, rhs: Tensor }
        attrs { clamp: Clamp = Clamp::None }
        results { output: Tensor }
        traits [Pure, Elementwise]
    }

    /// Product, with broadcasting.
    Mul = "nn.mul" {
        operands { lhs: Tensor, rhs: Tensor }
        attrs { clamp: Clamp = Clamp::None }
        results { output: Tensor }
        traits [Pure, Elementwise]
    }

    /// Quotient `lhs / rhs`, with broadcasting; of i32 rounded toward zero.
    Div = "nn.div" {
        operands { lhs: Tensor, rhs: Tensor }
        attrs { clamp: Clamp = Clamp::None }
        results { output: Tensor }
        traits [Pure, Elementwise]
    }

    /// Greater of two, with broadcasting; quantized operands and result share one scale and zero point.
    Maximum = "nn.maximum" {
        operands { lhs: Tensor, rhs: Tensor }
        results { output: Tensor }
        traits [Pure, Elementwise]
    }

    /// Lesser of two, with broadcasting; quantized operands and result share one scale and zero point.
    Minimum = "nn.minimum" {
        operands { lhs: Tensor, rhs: Tensor }
        results { output: Tensor }
        traits [Pure, Elementwise]
    }

    /// Square of the difference, with broadcasting; of quantized operands (int8, or int16 of zero point 0) too.
    SquaredDifference = "nn.squared_difference" {
        operands { lhs: Tensor, rhs: Tensor }
        results { output: Tensor }
        traits [Pure, Elementwise]
    }

    /// Rectifier with rescaling: `clamp` (TFLite's RELU, RELU6, RELU_N1_TO_1 as operators of their own) applied to the
    /// input rescaled to the result's type.
    Relu = "nn.relu" {
        operands { input: Tensor }
        attrs { clamp: Clamp }
        results { output: Tensor }
        traits [Pure, Elementwise]
    }

    /// `x` if positive, else `alpha * x`.
    LeakyRelu = "nn.leaky_relu" {
        operands { input: Tensor }
        attrs { alpha: F32 }
        results { output: Tensor }
        traits [Pure, Elementwise]
    }

    /// `x` if positive, else `alpha * x` with a learned `alpha` per element, broadcast: int8 for int8 and int16.
    Prelu = "nn.prelu" {
        operands { input: Tensor, alpha: Tensor }
        results { output: Tensor }
        traits [Pure, Elementwise]
    }

    /// `x` if positive, else `e^x - 1`.
    Elu = "nn.elu" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// Hyperbolic tangent. The result's scale is 1/128 for int8, 1/32768 for int16, both with zero point 0.
    Tanh = "nn.tanh" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// Logistic function `1 / (1 + e^-x)`. The result's scale is 1/256 with zero point -128 for int8, 1/32768 for int16.
    Logistic = "nn.logistic" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// `x * min(max(x + 3, 0), 6) / 6`.
    HardSwish = "nn.hard_swish" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// Absolute value.
    Abs = "nn.abs" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// Negation.
    Neg = "nn.neg" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// Exponential function.
    Exp = "nn.exp" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// Natural logarithm.
    Log = "nn.log" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// Square root.
    Sqrt = "nn.sqrt" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// Reciprocal of the square root.
    Rsqrt = "nn.rsqrt" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// Square.
    Square = "nn.square" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// Any function of one int8 number: `table[x]`. What chains of int8 ops of one operand become.
    ///
    /// - C1: input and result are int8, quantized per tensor.
    Lookup = "nn.lookup" {
        operands { input: Tensor }
        attrs { table: Table }
        results { output: Tensor }
        traits [Pure, Elementwise]
    }

    /// `e^(beta x_i) / sum_j e^(beta x_j)` along the last dimension.
    ///
    /// - C1: input and result are f32; or int8, the result with scale 1/256 and zero point -128; or int16 of zero point 0, the
    ///   result with scale 1/32768.
    /// - C2: rows of int16 have at most 65536 elements.
    Softmax = "nn.softmax" {
        operands { input: Tensor }
        attrs { beta: F32 = F32(1.0) }
        results { output: Tensor }
        traits [Pure]
    }

    /// Logarithm of the softmax along the last dimension.
    LogSoftmax = "nn.log_softmax" { operands { input: Tensor } results { output: Tensor } traits [Pure] }

    /// Divides by the Euclidean norm along the last dimension.
    L2Normalization = "nn.l2_normalization" {
        operands { input: Tensor }
        results { output: Tensor }
        traits [Pure]
    }

    /// Mean over `axes` (sorted, without repetition).
    Mean = "nn.mean" {
        operands { input: Tensor }
        attrs { axes: Vec<usize>, keep_dims: bool = false }
        results { output: Tensor }
        traits [Pure]
    }

    /// Mean over the axes `outer` of means over the axes `inner`, which are rounded to int8 with `scale` and `zero_point`:
    /// what two `nn.mean` in a row compute, to the bit.
    ///
    /// - C1: input and result are int8, quantized per tensor.
    /// - C2: no axis is in both, and none of the dimensions that are reduced is 0.
    /// - C3: the ratios of the scales, one to the next, are below 2^31.
    MeanOfMeans = "nn.mean_of_means" {
        operands { input: Tensor }
        attrs { inner: Vec<usize>, outer: Vec<usize>, keep_dims: bool = false, scale: F32, zero_point: i32 = 0 }
        results { output: Tensor }
        traits [Pure]
    }

    /// Sum over `axes`.
    Sum = "nn.sum" {
        operands { input: Tensor }
        attrs { axes: Vec<usize>, keep_dims: bool = false }
        results { output: Tensor }
        traits [Pure]
    }

    /// Greatest element over `axes`.
    ReduceMax = "nn.reduce_max" {
        operands { input: Tensor }
        attrs { axes: Vec<usize>, keep_dims: bool = false }
        results { output: Tensor }
        traits [Pure]
    }

    /// Least element over `axes`.
    ReduceMin = "nn.reduce_min" {
        operands { input: Tensor }
        attrs { axes: Vec<usize>, keep_dims: bool = false }
        results { output: Tensor }
        traits [Pure]
    }

    /// Index of the first greatest element along `axis`, as i32; that dimension vanishes.
    ArgMax = "nn.arg_max" {
        operands { input: Tensor }
        attrs { axis: usize }
        results { output: Tensor }
        traits [Pure]
    }

    /// Index of the first least element along `axis`, as i32; that dimension vanishes.
    ArgMin = "nn.arg_min" {
        operands { input: Tensor }
        attrs { axis: usize }
        results { output: Tensor }
        traits [Pure]
    }

    /// The same elements in another shape.
    Reshape = "nn.reshape" {
        operands { input: Tensor }
        attrs { shape: Vec<usize> }
        results { output: Tensor }
        traits [Pure, Alias]
    }

    /// Dimension `i` of the result is dimension `permutation[i]` of the input.
    Transpose = "nn.transpose" {
        operands { input: Tensor }
        attrs { permutation: Vec<usize> }
        results { output: Tensor }
        traits [Pure]
    }

    /// Joins tensors along `axis`.
    Concat = "nn.concat" {
        operands { inputs: [Tensor] }
        attrs { axis: usize }
        results { output: Tensor }
        traits [Pure]
    }

    /// Cuts a tensor along `axis` into pieces of the given sizes, which sum to the dimension.
    Split = "nn.split" {
        operands { input: Tensor }
        attrs { axis: usize, sizes: Vec<usize> }
        results { outputs: [Tensor] }
        traits [Pure]
    }

    /// Elements `begin + stride * i` for `i` below `size`, along every dimension. Strides may be negative.
    Slice = "nn.slice" {
        operands { input: Tensor }
        attrs { begin: Vec<usize>, size: Vec<usize>, stride: Vec<i64> }
        results { output: Tensor }
        traits [Pure]
    }

    /// `into` with the elements of the box that begins at `begin` replaced by those of `tile`. MLIR's `tensor.insert_slice`
    /// with unit strides.
    ///
    /// - C1: `begin` has an entry per dimension, and the box lies inside of `into`.
    /// - C2: operands and result have one element type, quantization included.
    Insert = "nn.insert" {
        operands { into: Tensor, tile: Tensor }
        attrs { begin: Vec<usize> }
        results { output: Tensor }
        traits [Pure, Updates]
    }

    /// Adds `low[i]` elements before and `high[i]` after along dimension `i`, all equal to `value` (a stored integer, or
    /// a float).
    Pad = "nn.pad" {
        operands { input: Tensor }
        attrs { low: Vec<usize>, high: Vec<usize>, value: Number }
        results { output: Tensor }
        traits [Pure]
    }

    /// Slices of `input` along `axis` at `indices` (i32); out-of-range indices are clamped into the range.
    Gather = "nn.gather" {
        operands { input: Tensor, indices: Tensor }
        attrs { axis: usize }
        results { output: Tensor }
        traits [Pure]
    }

    /// Stacks tensors of one shape along a new dimension `axis`.
    Pack = "nn.pack" {
        operands { inputs: [Tensor] }
        attrs { axis: usize }
        results { output: Tensor }
        traits [Pure]
    }

    /// One result per index along `axis`, without that dimension.
    Unpack = "nn.unpack" {
        operands { input: Tensor }
        attrs { axis: usize }
        results { outputs: [Tensor] }
        traits [Pure]
    }

    /// Repeats the tensor `multiples[i]` times along dimension `i`.
    Tile = "nn.tile" {
        operands { input: Tensor }
        attrs { multiples: Vec<usize> }
        results { output: Tensor }
        traits [Pure]
    }

    /// Bilinear interpolation to height and width `size`.
    ResizeBilinear = "nn.resize_bilinear" {
        operands { input: Tensor4D }
        attrs { size: [u32; 2], align_corners: bool = false, half_pixel_centers: bool = false }
        results { output: Tensor4D }
        traits [Pure]
    }

    /// Nearest neighbour to height and width `size`.
    ResizeNearest = "nn.resize_nearest" {
        operands { input: Tensor4D }
        attrs { size: [u32; 2], align_corners: bool = false, half_pixel_centers: bool = false }
        results { output: Tensor4D }
        traits [Pure]
    }

    /// Moves groups of `block * block` channels into blocks of pixels.
    DepthToSpace = "nn.depth_to_space" {
        operands { input: Tensor4D }
        attrs { block: usize }
        results { output: Tensor4D }
        traits [Pure]
    }

    /// Moves blocks of pixels into groups of `block * block` channels.
    SpaceToDepth = "nn.space_to_depth" {
        operands { input: Tensor4D }
        attrs { block: usize }
        results { output: Tensor4D }
        traits [Pure]
    }

    /// Float to quantized, or quantized to another quantization.
    Quantize = "nn.quantize" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// Quantized to float: `scale * (q - zero_point)`.
    Dequantize = "nn.dequantize" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// Conversion of the stored number to another storage type, as C's conversion does.
    Cast = "nn.cast" { operands { input: Tensor } results { output: Tensor } traits [Pure, Elementwise] }

    /// The dimensions of the input, as i32.
    ShapeOf = "nn.shape" { operands { input: Tensor } results { output: Tensor1D } traits [Pure] }
}
