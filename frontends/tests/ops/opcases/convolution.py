"""CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV."""

import math

import numpy as np

from .case import Builder, Domain
from .model import ACTIVATION, PADDING, Quant, options

# Output scales that put the bounds of a fused activation well inside the int8 range.
ACTIVATION_SCALES = {"RELU6": 6.0 / 131.7, "RELU_N1_TO_1": 1.0 / 47.3}


def out_size(size, kernel, stride, padding, dilation=1):
    """Output height or width of a forward convolution or pool."""
    reach = (kernel - 1) * dilation + 1
    return math.ceil(size / stride) if padding == "SAME" else (size - reach) // stride + 1


def quantize_weights(build, taps, channels, axis, input_quant, act, per_channel, output=None, spread=1.6):
    """Weight and output quantization for which sums of `taps` random products about fill the output range.

    Returns `(weights, output, accumulator)`, the last being a typical magnitude of the accumulator, to scale biases with.
    """
    accumulator = 74.0 * math.sqrt(taps * (74.0**2 + input_quant.zero_point**2))
    multiplier = 62.0 / accumulator
    if output is None:
        scale = ACTIVATION_SCALES.get(act) or build.scale(0.01, 0.1)
        output = Quant.of(scale, build.zero_point(-128, 60) if act != "NONE" else build.zero_point())
    typical = multiplier * output.scale / input_quant.scale
    factors = np.exp(build.rng.uniform(-spread, spread, channels)) if per_channel else np.ones(1)
    return Quant.of(typical * factors, 0, axis), output, accumulator


def int8_weights(build, shape, limit=127):
    return build.rng.integers(-limit, limit + 1, shape).astype(np.int8)


def bias_constant(build, channels, input_quant, weight_quant, magnitude):
    """Random int32 biases up to `magnitude`, one number or one per channel."""
    limits = np.asarray(magnitude, np.int64)
    values = build.rng.integers(-limits, limits + 1, channels).astype(np.int32)
    scales = [input_quant.scale * s for s in weight_quant.scales]
    return build.graph.constant("bias", values, Quant.of(scales))


def float_weights(build, shape, taps):
    return (build.rng.standard_normal(shape) / math.sqrt(taps)).astype(np.float32)


def float_constants(build, filter_shape, taps, channels, bias):
    """Filter and bias (None if there is none) of a float convolution."""
    w = build.graph.constant("filter", float_weights(build, filter_shape, taps))
    return w, build.graph.constant("bias", build.rng.standard_normal(channels).astype(np.float32)) if bias else None


def window_shape(shape, channels, kernel, stride, padding, dilation):
    """Output shape of a convolution over an NHWC input."""
    rows, columns = (out_size(shape[1 + i], kernel[i], stride[i], padding, dilation[i]) for i in range(2))
    return shape[0], rows, columns, channels


def append_conv(
    build,
    x,
    channels,
    kernel=(3, 3),
    stride=(1, 1),
    padding="SAME",
    dilation=(1, 1),
    act="NONE",
    per_channel=True,
    bias=True,
    multipliers=None,
    weight_limit=127,
    bias_limit=None,
    groups=1,
    output_quant=None,
):
    """Appends a CONV_2D that reads `x` and returns its result.

    `multipliers` fixes the effective multiplier of every channel, the limits bound the magnitude of weights and biases.
    """
    filter_shape = (channels, *kernel, x.shape[3] // groups)
    taps = int(np.prod(filter_shape[1:]))
    output_shape = window_shape(x.shape, channels, kernel, stride, padding, dilation)
    opts = options(
        "Conv2DOptions",
        padding=PADDING[padding],
        strideH=stride[0],
        strideW=stride[1],
        dilationHFactor=dilation[0],
        dilationWFactor=dilation[1],
        fusedActivationFunction=ACTIVATION[act],
    )
    if x.dtype == "int8":
        weights, output, accumulator = quantize_weights(build, taps, channels, 0, x.quant, act, per_channel, output_quant)
        if multipliers is not None:
            weights = Quant.of(np.array(multipliers) * output.scale / x.quant.scale, 0, 0)
        w = build.graph.constant("filter", int8_weights(build, filter_shape, weight_limit), weights)
        b = bias_constant(build, channels, x.quant, weights, bias_limit or accumulator) if bias else None
        y = build.activation(output_shape, "int8", output, x.signature)
    else:
        w, b = float_constants(build, filter_shape, taps, channels, bias)
        y = build.activation(output_shape, "float32", signature=x.signature)
    build.graph.operator("CONV_2D", [x, w] + ([b] if bias else []), [y], opts)
    return y


def append_depthwise(
    build, x, multiplier=1, kernel=(3, 3), stride=(1, 1), padding="SAME", dilation=(1, 1), act="NONE", per_channel=True, bias=True
):
    """Appends a DEPTHWISE_CONV_2D that reads `x` and returns its result."""
    channels = x.shape[3] * multiplier
    filter_shape = (1, *kernel, channels)
    taps = kernel[0] * kernel[1]
    output_shape = window_shape(x.shape, channels, kernel, stride, padding, dilation)
    opts = options(
        "DepthwiseConv2DOptions",
        padding=PADDING[padding],
        strideH=stride[0],
        strideW=stride[1],
        depthMultiplier=multiplier,
        dilationHFactor=dilation[0],
        dilationWFactor=dilation[1],
        fusedActivationFunction=ACTIVATION[act],
    )
    if x.dtype == "int8":
        weights, output, accumulator = quantize_weights(build, taps, channels, 3, x.quant, act, per_channel)
        w = build.graph.constant("filter", int8_weights(build, filter_shape), weights)
        b = bias_constant(build, channels, x.quant, weights, accumulator) if bias else None
        y = build.activation(output_shape, "int8", output, x.signature)
    else:
        w, b = float_constants(build, filter_shape, taps, channels, bias)
        y = build.activation(output_shape, "float32", signature=x.signature)
    build.graph.operator("DEPTHWISE_CONV_2D", [x, w] + ([b] if bias else []), [y], opts)
    return y


def conv(name, about, dtype="int8", shape=(1, 6, 7, 3), channels=4, quant=None, domain=None, **attributes):
    """One CONV_2D; `quant` fixes the input's quantization and `domain` its values."""
    build = Builder(name, about)
    x = build.input(shape, dtype, (quant or build.quant()) if dtype == "int8" else None, domain)
    return build.finish([append_conv(build, x, channels, **attributes)])


def depthwise(name, about, dtype="int8", shape=(1, 6, 7, 4), **attributes):
    """One DEPTHWISE_CONV_2D."""
    build = Builder(name, about)
    x = build.input(shape, dtype, build.quant() if dtype == "int8" else None)
    return build.finish([append_depthwise(build, x, **attributes)])


def transpose_conv(
    name,
    about,
    dtype="int8",
    shape=(1, 3, 4, 3),
    channels=4,
    kernel=(3, 3),
    stride=(2, 2),
    padding="SAME",
    bias=True,
    act="NONE",
    per_channel=True,
    output_size=None,
):
    """One TRANSPOSE_CONV, whose first input is the constant shape of the output."""
    build = Builder(name, about)
    batch, height, width, depth = shape
    if output_size is None:
        grow = (lambda n, k, s: n * s) if padding == "SAME" else (lambda n, k, s: (n - 1) * s + k)
        output_size = (grow(height, kernel[0], stride[0]), grow(width, kernel[1], stride[1]))
    output_shape = (batch, *output_size, channels)
    taps = max(1, kernel[0] * kernel[1] * depth // (stride[0] * stride[1]))
    filter_shape = (channels, *kernel, depth)
    size = build.graph.constant("output_shape", np.array(output_shape, np.int32))
    if dtype == "int8":
        quant = build.quant()
        weights, output, accumulator = quantize_weights(build, taps, channels, 0, quant, act, per_channel)
        x = build.input(shape, dtype, quant)
        w = build.graph.constant("filter", int8_weights(build, filter_shape), weights)
        b = bias_constant(build, channels, quant, weights, accumulator) if bias else None
        y = build.activation(output_shape, dtype, output)
    else:
        x = build.input(shape, dtype)
        w, b = float_constants(build, filter_shape, taps, channels, bias)
        y = build.activation(output_shape, dtype)
    # Version 3 has the bias, version 4 the fused activation.
    version = 4 if act != "NONE" else 3 if bias else None
    build.graph.operator(
        "TRANSPOSE_CONV",
        [size, w, x] + ([b] if bias else []),
        [y],
        options(
            "TransposeConvOptions", padding=PADDING[padding], strideH=stride[0], strideW=stride[1], fusedActivationFunction=ACTIVATION[act]
        ),
        version,
    )
    return build.finish([y])


def multiplier_cases():
    """Pointwise convolutions whose effective multipliers probe requantization."""

    def pointwise(name, about, input_scale, output_scale, multipliers, **attributes):
        return conv(
            name,
            about,
            channels=len(multipliers),
            kernel=(1, 1),
            multipliers=multipliers,
            quant=Quant.of(input_scale, 5),
            output_quant=Quant.of(output_scale, -8),
            **attributes,
        )

    yield pointwise(
        "conv2d_ties_i8",
        "multipliers that are powers of two: many results half-way between integers",
        0.5,
        0.25,
        [0.5, 0.25, 0.125, 2.0**-5, 2.0**-8, 1.0],
        weight_limit=9,
        bias_limit=40,
    )
    yield pointwise(
        "conv2d_left_shift_i8",
        "effective multipliers above 1, up to a left shift of 6",
        0.5,
        0.25,
        [1.0, 1.37, 2.9, 7.31, 19.7, 37.3],
        weight_limit=1,
        bias_limit=3,
        domain=Domain(3, 7),
    )
    tiny = [4.7e-4, 3.1e-5, 9.7e-7, 4.4e-8, 1.3e-9, 5.3e-10, 6.1e-11]
    yield pointwise(
        "conv2d_tiny_multipliers_i8",
        "effective multipliers of 2^-11 to 2^-31 with large biases; below 2^-32 they count as 0",
        0.02,
        0.03,
        tiny,
        bias_limit=[min(110 / m, 1.6e9) for m in tiny],
    )
    yield pointwise("conv2d_saturating_i8", "multipliers so large that most results saturate", 0.02, 0.03, [0.004, 0.007, 0.013, 0.05])
    yield pointwise(
        "conv2d_multiplier_rounds_up_i8",
        "a multiplier whose mantissa rounds up to the next power of two",
        1 - 2.0**-17,
        1.0,
        [1 - 2.0**-34, 0.5 - 2.0**-35, 0.25 - 2.0**-36],
        weight_limit=1,
        bias_limit=30,
        domain=Domain(-60, 60),
    )
    yield pointwise(
        "conv2d_double_product_i8",
        "the product of input and filter scale is 1 - 2^-28, which matters: in float it would be 1",
        1 - 2.0**-14,
        2.0,
        [0.5 - 2.0**-29, 0.25 - 2.0**-30],
        weight_limit=1,
        bias_limit=60,
    )


def cases():
    yield conv("conv2d_1x1_i8", "pointwise", kernel=(1, 1), channels=5)
    yield conv("conv2d_1x1_f32", "pointwise", "float32", kernel=(1, 1), channels=5)
    yield conv("conv2d_1x1_stride2_i8", "pointwise, stride 2", kernel=(1, 1), stride=(2, 2), channels=5)
    yield conv("conv2d_3x3_same_i8", "3x3 SAME")
    yield conv("conv2d_3x3_same_f32", "3x3 SAME", "float32")
    yield conv("conv2d_3x3_valid_i8", "3x3 VALID", padding="VALID")
    yield conv("conv2d_3x3_valid_f32", "3x3 VALID", "float32", padding="VALID")
    yield conv("conv2d_3x3_same_stride2_even_i8", "stride 2 on an even height: nothing is padded before", shape=(1, 6, 8, 3), stride=(2, 2))
    yield conv("conv2d_3x3_same_stride2_odd_i8", "stride 2 on odd sizes", shape=(1, 7, 5, 3), stride=(2, 2))
    yield conv("conv2d_3x3_same_stride2_f32", "stride 2", "float32", shape=(1, 6, 7, 3), stride=(2, 2))
    yield conv("conv2d_3x3_same_stride3_i8", "stride 3", shape=(1, 7, 8, 3), stride=(3, 3))
    yield conv("conv2d_3x3_valid_stride2x3_i8", "different strides", shape=(1, 7, 9, 2), stride=(2, 3), padding="VALID")
    yield conv("conv2d_3x3_dilation2_same_i8", "dilation 2, SAME", shape=(1, 7, 6, 2), dilation=(2, 2))
    yield conv("conv2d_3x3_dilation2_valid_i8", "dilation 2, VALID", shape=(1, 7, 6, 2), dilation=(2, 2), padding="VALID")
    yield conv("conv2d_3x3_dilation2x1_f32", "dilation 2 in height only", "float32", shape=(1, 7, 6, 2), dilation=(2, 1))
    yield conv("conv2d_2x5_i8", "kernel of 2 by 5", kernel=(2, 5))
    yield conv("conv2d_5x2_valid_f32", "kernel of 5 by 2", "float32", kernel=(5, 2), padding="VALID")
    yield conv("conv2d_4x4_same_i8", "even kernel: one more row padded after than before", kernel=(4, 4), channels=3)
    yield conv("conv2d_10x4_stride2_i8", "kernel larger than the image is high", shape=(1, 7, 8, 1), kernel=(10, 4), stride=(2, 2))
    yield conv("conv2d_1_channel_i8", "one input channel", shape=(1, 6, 6, 1), channels=3)
    yield conv("conv2d_1_channel_out_i8", "one output channel", channels=1)
    yield conv("conv2d_1_row_i8", "input of one row", shape=(1, 1, 12, 3), kernel=(1, 3))
    yield conv("conv2d_1_row_3x3_i8", "3x3 on an input of one row", shape=(1, 1, 9, 2))
    yield conv("conv2d_1_column_f32", "input of one column", "float32", shape=(1, 9, 1, 2), kernel=(3, 1))
    yield conv("conv2d_1x1_image_i8", "input of one pixel", shape=(1, 1, 1, 9), kernel=(1, 1), channels=8)
    yield conv("conv2d_batch2_i8", "batch of 2", shape=(2, 4, 4, 2))
    for act in ("RELU", "RELU6", "RELU_N1_TO_1"):
        yield conv(f"conv2d_{act.lower()}_i8", f"fused {act}", shape=(1, 5, 5, 3), act=act)
        yield conv(f"conv2d_{act.lower()}_f32", f"fused {act}", "float32", shape=(1, 5, 5, 3), act=act)
    yield conv("conv2d_per_tensor_i8", "one scale for all weights", per_channel=False)
    yield conv("conv2d_per_tensor_relu6_i8", "one scale for all weights, fused RELU6", per_channel=False, act="RELU6")
    yield conv("conv2d_no_bias_i8", "two inputs only", bias=False)
    yield conv("conv2d_no_bias_f32", "two inputs only", "float32", bias=False)
    yield conv("conv2d_groups2_i8", "filter depth half of the input's: two groups", shape=(1, 4, 5, 4), channels=6, groups=2)
    yield from multiplier_cases()

    yield depthwise("depthwise_3x3_i8", "multiplier 1")
    yield depthwise("depthwise_3x3_f32", "multiplier 1", "float32")
    yield depthwise("depthwise_multiplier2_i8", "multiplier 2", shape=(1, 5, 5, 3), multiplier=2)
    yield depthwise("depthwise_multiplier3_i8", "multiplier 3", shape=(1, 5, 5, 2), multiplier=3)
    yield depthwise("depthwise_multiplier3_f32", "multiplier 3", "float32", shape=(1, 5, 5, 2), multiplier=3)
    yield depthwise("depthwise_multiplier8_one_channel_i8", "multiplier 8 of one channel", shape=(1, 5, 5, 1), multiplier=8)
    yield depthwise("depthwise_stride2_even_i8", "stride 2 on even sizes: pads only after", shape=(1, 6, 8, 3), stride=(2, 2))
    yield depthwise("depthwise_stride2_odd_i8", "stride 2 on odd sizes", shape=(1, 7, 5, 3), stride=(2, 2))
    yield depthwise("depthwise_stride2_f32", "stride 2", "float32", shape=(1, 6, 7, 3), stride=(2, 2))
    yield depthwise("depthwise_valid_i8", "VALID", shape=(1, 5, 6, 3), padding="VALID")
    yield depthwise("depthwise_dilation2_i8", "dilation 2", shape=(1, 7, 7, 2), dilation=(2, 2))
    yield depthwise("depthwise_dilation2_f32", "dilation 2", "float32", shape=(1, 7, 7, 2), dilation=(2, 2))
    yield depthwise("depthwise_5x5_i8", "5x5", shape=(1, 6, 6, 3), kernel=(5, 5))
    yield depthwise("depthwise_5x5_stride2_i8", "5x5, stride 2: 1 before, 2 after", shape=(1, 6, 8, 2), kernel=(5, 5), stride=(2, 2))
    yield depthwise("depthwise_7x7_stride2_i8", "7x7, stride 2", shape=(1, 8, 8, 2), kernel=(7, 7), stride=(2, 2))
    yield depthwise("depthwise_1x3_i8", "kernel of 1 by 3", shape=(1, 1, 9, 4), kernel=(1, 3))
    yield depthwise("depthwise_relu_i8", "fused RELU", shape=(1, 5, 5, 3), act="RELU")
    yield depthwise("depthwise_relu6_i8", "fused RELU6", shape=(1, 5, 5, 3), act="RELU6")
    yield depthwise("depthwise_relu6_f32", "fused RELU6", "float32", shape=(1, 5, 5, 3), act="RELU6")
    yield depthwise("depthwise_per_tensor_i8", "one scale for all weights", shape=(1, 5, 5, 3), per_channel=False)
    yield depthwise("depthwise_no_bias_f32", "two inputs only", "float32", shape=(1, 5, 5, 3), bias=False)

    yield transpose_conv("transpose_conv_same_stride1_i8", "stride 1, SAME", stride=(1, 1), bias=False)
    yield transpose_conv("transpose_conv_same_stride2_i8", "stride 2, SAME", bias=False)
    yield transpose_conv("transpose_conv_same_stride2_f32", "stride 2, SAME", "float32", bias=False)
    yield transpose_conv("transpose_conv_valid_stride2_i8", "stride 2, VALID", padding="VALID", bias=False)
    yield transpose_conv("transpose_conv_valid_stride1_f32", "stride 1, VALID", "float32", padding="VALID", stride=(1, 1), bias=False)
    yield transpose_conv("transpose_conv_bias_i8", "with bias", shape=(1, 3, 3, 3))
    yield transpose_conv("transpose_conv_bias_f32", "with bias", "float32", shape=(1, 3, 3, 3))
    yield transpose_conv("transpose_conv_bias_relu_i8", "with bias and fused RELU", shape=(1, 3, 3, 3), act="RELU")
    yield transpose_conv("transpose_conv_2x2_stride2_i8", "2x2 kernel, stride 2: no overlap", kernel=(2, 2))
    yield transpose_conv("transpose_conv_4x4_odd_output_i8", "4x4 kernel, odd output size", kernel=(4, 4), output_size=(5, 7))
    yield transpose_conv("transpose_conv_per_tensor_i8", "one scale for all weights", shape=(1, 3, 3, 2), per_channel=False)
