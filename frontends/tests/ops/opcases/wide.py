"""Operators on int16 activations, whose zero point is 0, with int8 weights."""

import math

import numpy as np

from .case import Builder, Domain
from .convolution import window_shape
from .model import ACTIVATION, PADDING, TENSOR_TYPES, Quant, options

SHAPE = (1, 4, 8, 12)

# Versions with which the kernels were registered when they learned int16; 1 otherwise.
VERSIONS = {
    "ABS": 3,
    "ADD": 3,
    "AVERAGE_POOL_2D": 3,
    "CONCATENATION": 3,
    "CONV_2D": 4,
    "DEPTHWISE_CONV_2D": 5,
    "DEQUANTIZE": 3,
    "FULLY_CONNECTED": 7,
    "GATHER": 4,
    "LEAKY_RELU": 2,
    "LOGISTIC": 3,
    "MAXIMUM": 4,
    "MAX_POOL_2D": 3,
    "MEAN": 3,
    "MINIMUM": 4,
    "MUL": 4,
    "PACK": 3,
    "PAD": 3,
    "PADV2": 3,
    "PRELU": 1,
    "QUANTIZE": 2,
    "REDUCE_MAX": 3,
    "REDUCE_MIN": 3,
    "RELU": 3,
    "RELU6": 3,
    "RESIZE_BILINEAR": 4,
    "RESIZE_NEAREST_NEIGHBOR": 4,
    "RSQRT": 2,
    "SLICE": 4,
    "SOFTMAX": 3,
    "SPLIT": 4,
    "SQUARED_DIFFERENCE": 2,
    "STRIDED_SLICE": 4,
    "SUB": 5,
    "SUM": 2,
    "TANH": 3,
    "TRANSPOSE": 5,
    "TRANSPOSE_CONV": 3,
    "UNPACK": 4,
}

# Results of LOGISTIC, TANH and SOFTMAX.
UNIT = Quant.of(2.0**-15)


def wide(name, about, op, operands, results, opts=None, domain=None, constant_output=False):
    """One operator. An operand is an input `(shape, quant)` or `(shape, quant, dtype)`, or a constant `(array, quant)`; a result
    `(shape, quant)` or `(shape, quant, dtype)`."""
    build = Builder(name, about)
    tensors = []
    for first, quant, *dtype in operands:
        if isinstance(first, np.ndarray):
            tensors.append(build.graph.constant(f"constant{len(tensors)}", first, quant))
        else:
            tensors.append(build.input(first, dtype[0] if dtype else "int16", quant, domain))
    outputs = [build.activation(shape, dtype[0] if dtype else "int16", quant) for shape, quant, *dtype in results]
    build.graph.operator(op, tensors, outputs, opts, VERSIONS.get(op, 1))
    return build.finish(outputs, constant_output)


def unary(name, about, op, first, second, shape=SHAPE, opts=None, domain=None, constant_output=False):
    """One operator of one operand; `first` and `second` are the scales of operand and result."""
    second = UNIT if second is None else Quant.of(second)
    return wide(name, about, op, [(shape, Quant.of(first))], [(shape, second)], opts, domain, constant_output)


def numbers(name, shape, limit=32767, dtype=np.int16):
    """Constants that follow from a case's name."""
    rng = np.random.default_rng([ord(c) for c in name])
    return rng.integers(-limit, limit + 1, shape).astype(dtype)


def function_cases():
    for suffix, about, scale in (
        ("", "a scale of its own", 0.000231),
        ("_exact", "scale 2^-12: the factor is 3", 2.0**-12),
        ("_nearly_exact", "a scale within a thousandth of 2^-12, which counts as that", 2.0**-12 * 1.0005),
        ("_double", "scale 2^-11: the factor of TANH is 6", 2.0**-11),
        ("_small_scale", "a small scale", 0.0000137),
        ("_large_scale", "a large scale, so that most saturate", 0.0173),
    ):
        yield unary(f"logistic{suffix}_i16", about, "LOGISTIC", scale, None)
        yield unary(f"tanh{suffix}_i16", about, "TANH", scale, None)
    for suffix, about, shape, scale, beta in (
        ("", "10 classes", (20, 10), 0.00031, 1.0),
        ("_2", "2 classes", (60, 2), 0.00017, 1.0),
        ("_1", "1 class", (9, 1), 0.0003, 1.0),
        ("_300", "300 classes", (1, 300), 0.00009, 1.0),
        ("_2000", "2000 classes", (1, 2000), 0.00002, 1.0),
        ("_beta", "beta 0.4", (20, 10), 0.00031, 0.4),
        ("_large_scale", "a large scale: one winner", (20, 10), 0.031, 1.0),
        ("_small_scale", "a small scale: nearly equal results", (20, 10), 0.00000113, 1.0),
        ("_4d", "rank 4, along the last axis", (1, 3, 4, 7), 0.00027, 1.0),
    ):
        yield unary(
            f"softmax{suffix}_i16", about, "SOFTMAX", scale, None, shape, options("SoftmaxOptions", beta=beta), None, shape[-1] == 1
        )


def activation_cases():
    yield unary("relu_i16", "equal scales", "RELU", 0.00031, 0.00031)
    yield unary("relu_rescale_i16", "different scales", "RELU", 0.00031, 0.00017)
    yield unary("relu6_i16", "equal scales", "RELU6", 0.00031, 0.00031)
    for name, about, scales, alpha in (
        ("leaky_relu_i16", "slope 0.1", (0.00031, 0.00027), 0.1),
        ("leaky_relu_above_1_i16", "slope 1.7", (0.00031, 0.00052), 1.7),
        ("leaky_relu_negative_i16", "slope -0.3", (0.00031, 0.00031), -0.3),
        ("leaky_relu_negative_ties_i16", "slope -0.5: ties", (0.25, 0.25), -0.5),
        ("leaky_relu_ties_i16", "slope 0.5 to twice the scale: ties", (0.25, 0.5), 0.5),
    ):
        yield unary(name, about, "LEAKY_RELU", *scales, opts=options("LeakyReluOptions", alpha=alpha))
    yield unary("abs_i16", "equal scales", "ABS", 0.00031, 0.00031, opts=options("AbsOptions"))
    yield unary("abs_rescale_i16", "different scales", "ABS", 0.00031, 0.00047, opts=options("AbsOptions"))
    yield unary("rsqrt_i16", "from 0, which gives the greatest, upwards", "RSQRT", 0.00031, 0.0013, domain=Domain(0, 32767))
    slopes = Quant.of(0.0091, -3)
    for suffix, about, constant in (("", "one int8 slope a channel", True), ("_full", "int8 slopes as an input", False)):
        name = f"prelu{suffix}_i16"
        shape = (1, 1, 12) if constant else SHAPE
        alpha = (numbers(name, shape, 127, np.int8), slopes) if constant else (shape, slopes, "int8")
        yield wide(name, about, "PRELU", [(SHAPE, Quant.of(0.00031)), alpha], [(SHAPE, Quant.of(0.00029))])


def binary(name, about, op, quants, second=SHAPE, constant=False, act="NONE", domain=None):
    """One operator of two operands."""
    first, other, result = (Quant.of(scale) for scale in quants)
    operand = (numbers(name, second), other) if constant else (second, other)
    tables = {"MAXIMUM": "MaximumMinimumOptions", "MINIMUM": "MaximumMinimumOptions", "SQUARED_DIFFERENCE": "SquaredDifferenceOptions"}
    if op in ("ADD", "SUB"):
        opts = options(op.capitalize() + "Options", fusedActivationFunction=ACTIVATION[act], potScaleInt16=False)
    elif op == "MUL":
        opts = options("MulOptions", fusedActivationFunction=ACTIVATION[act])
    else:
        opts = options(tables[op])
    return wide(name, about, op, [(SHAPE, first), operand], [(SHAPE, result)], opts, domain)


def arithmetic_cases():
    for op, scales in (
        ("ADD", (0.00031, 0.00022, 0.00043)),
        ("SUB", (0.00031, 0.00022, 0.00043)),
        ("MUL", (0.00031, 0.00022, 0.0013)),
        ("SQUARED_DIFFERENCE", (0.00031, 0.00022, 0.0049)),
    ):
        low = op.lower()
        yield binary(f"{low}_i16", "same shapes, different scales", op, scales)
        yield binary(f"{low}_channel_i16", "second operand one row of channels, constant", op, scales, (12,), True)
        yield binary(f"{low}_scalar_i16", "second operand of one element", op, scales, (1,))
        yield binary(f"{low}_equal_scales_i16", "all scales equal", op, (0.25, 0.25, 0.25), domain=Domain(-400, 400))
        if op != "SQUARED_DIFFERENCE":
            yield binary(f"{low}_relu6_i16", "fused RELU6", op, scales, act="RELU6")
    for op in ("MAXIMUM", "MINIMUM"):
        low = op.lower()
        yield binary(f"{low}_i16", "same shapes", op, (0.0003,) * 3)
        yield binary(f"{low}_channel_i16", "second operand one row of channels, constant", op, (0.0003,) * 3, (12,), True)


def reduce(name, about, op, axes, scales, shape=SHAPE, keep=True):
    first, second = (Quant.of(scale) for scale in scales)
    result = [1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes]
    axes = np.array(axes, np.int32)
    return wide(name, about, op, [(shape, first), (axes, None)], [(result, second)], options("ReducerOptions", keepDims=keep))


def reduction_cases():
    yield reduce("mean_hw_keep_i16", "height and width, kept", "MEAN", [1, 2], (0.0003, 0.0003))
    yield reduce("mean_hw_rescale_i16", "height and width, not kept, different scales", "MEAN", [1, 2], (0.0003, 0.00007), keep=False)
    yield reduce("mean_last_i16", "the last axis", "MEAN", [2], (0.0003, 0.0001), (3, 5, 7), False)
    yield reduce("mean_all_i16", "all axes", "MEAN", [0, 1, 2, 3], (0.0003, 0.00001))
    yield reduce("mean_ties_i16", "four elements, equal scales: ties", "MEAN", [1, 2], (0.5, 0.5), (1, 2, 2, 60))
    yield reduce("sum_hw_i16", "height and width", "SUM", [1, 2], (0.0003, 0.0031), keep=False)
    yield reduce("sum_last_i16", "the last axis, equal scales: saturates", "SUM", [3], (0.0003, 0.0003))
    for op in ("REDUCE_MAX", "REDUCE_MIN"):
        yield reduce(f"{op.lower()}_hw_i16", "height and width, not kept", op, [1, 2], (0.0003, 0.0003), keep=False)
        yield reduce(f"{op.lower()}_last_i16", "the last axis", op, [2], (0.0003, 0.0003), (2, 6, 5))


def layer(name, about, op, shape, filter_shape, axis, act="NONE", bias=True, per_channel=True, stride=1, padding="SAME", size=None):
    """One operator with int8 weights and 64-bit biases; the output's scale is such that its range is about filled."""
    build = Builder(name, about)
    rng, channels = build.rng, filter_shape[axis]
    taps = int(np.prod(filter_shape)) // channels
    source, scale = build.scale(0.0001, 0.0005), build.scale(0.0001, 0.0004)
    scale = 6.0 / 25000 if act == "RELU6" else scale
    accumulator = 74.0 * 19000.0 * math.sqrt(taps)
    factors = np.exp(rng.uniform(-1.2, 1.2, channels)) if per_channel else np.ones(1)
    weights = Quant.of(16000.0 / accumulator * scale / source * factors, 0, axis)
    x = build.input(shape, "int16", Quant.of(source))
    w = build.graph.constant("filter", rng.integers(-127, 128, filter_shape).astype(np.int8), weights)
    extra = []
    if bias:
        limit = int(accumulator)
        values = rng.integers(-limit, limit + 1, channels).astype(np.int64)
        extra = [build.graph.constant("bias", values, Quant.of([source * s for s in weights.scales]))]
    fused = {"fusedActivationFunction": ACTIVATION[act]}
    window = {"padding": PADDING[padding], "strideH": stride, "strideW": stride}
    kernel = filter_shape[1:3]
    inputs = [x, w, *extra]
    if op == "FULLY_CONNECTED":
        result, opts = (shape[0], channels), options("FullyConnectedOptions", **fused)
    elif op == "CONV_2D":
        result = window_shape(shape, channels, kernel, (stride, stride), padding, (1, 1))
        opts = options("Conv2DOptions", **window, **fused, dilationHFactor=1, dilationWFactor=1)
    elif op == "DEPTHWISE_CONV_2D":
        result = window_shape(shape, channels, kernel, (stride, stride), padding, (1, 1))
        multiplier = channels // shape[3]
        opts = options("DepthwiseConv2DOptions", **window, **fused, dilationHFactor=1, dilationWFactor=1, depthMultiplier=multiplier)
    else:
        result, opts = (shape[0], *size, channels), options("TransposeConvOptions", **window, **fused)
        inputs = [build.graph.constant("size", np.array(result, np.int32)), w, x, *extra]
    y = build.activation(result, "int16", Quant.of(scale))
    build.graph.operator(op, inputs, [y], opts, VERSIONS[op])
    return build.finish([y])


def layer_cases():
    conv, depthwise, linear, transposed = "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"
    yield layer("conv2d_3x3_i16", "3x3 SAME", conv, (1, 6, 7, 3), (4, 3, 3, 3), 0)
    yield layer("conv2d_1x1_i16", "pointwise", conv, (1, 5, 4, 7), (9, 1, 1, 7), 0)
    yield layer("conv2d_stride2_valid_i16", "3x3 VALID, stride 2", conv, (1, 7, 8, 3), (4, 3, 3, 3), 0, stride=2, padding="VALID")
    yield layer("conv2d_relu6_i16", "fused RELU6", conv, (1, 6, 7, 3), (4, 3, 3, 3), 0, "RELU6")
    yield layer("conv2d_no_bias_i16", "no bias", conv, (1, 6, 7, 3), (4, 2, 2, 3), 0, bias=False)
    yield layer("conv2d_per_tensor_i16", "one scale for all weights", conv, (1, 6, 7, 3), (4, 2, 2, 3), 0, per_channel=False)
    yield layer("depthwise_3x3_i16", "3x3 SAME", depthwise, (1, 6, 7, 5), (1, 3, 3, 5), 3)
    yield layer("depthwise_multiplier2_i16", "multiplier 2, fused RELU", depthwise, (1, 6, 7, 3), (1, 3, 3, 6), 3, "RELU")
    yield layer("fully_connected_i16", "70 inputs, one scale", linear, (3, 70), (5, 70), 0, per_channel=False)
    yield layer("fully_connected_relu_i16", "fused RELU", linear, (2, 12), (7, 12), 0, "RELU", per_channel=False)
    yield layer("transpose_conv_i16", "3x3, stride 2", transposed, (1, 3, 4, 3), (4, 3, 3, 3), 0, stride=2, size=(6, 8))


def moved(name, about, op, results, opts=None, constants=(), shape=(1, 4, 6, 8), inputs=1, data_first=True):
    """One operator that moves elements."""
    quant = Quant.of(0.00031)
    data = [(shape, quant)] * inputs
    extra = [(np.array(constant, np.int32), None) for constant in constants]
    return wide(name, about, op, data + extra if data_first else extra + data, [(result, quant) for result in results], opts)


def movement_cases():
    yield moved("concatenation_i16", "three inputs, axis 3", "CONCATENATION", [(1, 4, 6, 24)], options("ConcatenationOptions", axis=3), inputs=3)
    yield moved("pad_i16", "zeros around height and width", "PAD", [(1, 7, 9, 8)], options("PadOptions"), [[[0, 0], [1, 2], [3, 0], [0, 0]]])
    yield moved("reshape_i16", "to two dimensions", "RESHAPE", [(24, 8)], options("ReshapeOptions", newShape=[24, 8]), [[24, 8]])
    yield moved("transpose_i16", "order [0, 3, 1, 2]", "TRANSPOSE", [(1, 8, 4, 6)], options("TransposeOptions"), [[0, 3, 1, 2]])
    yield moved("slice_i16", "from the middle", "SLICE", [(1, 2, 3, 8)], options("SliceOptions"), [[0, 1, 2, 0], [1, 2, 3, 8]])
    yield moved(
        "strided_slice_i16",
        "every second row and column",
        "STRIDED_SLICE",
        [(1, 2, 3, 8)],
        options("StridedSliceOptions"),
        [[0, 0, 1, 0], [1, 4, 6, 8], [1, 2, 2, 1]],
    )
    yield moved("split_i16", "two parts of axis 3", "SPLIT", [(1, 4, 6, 4)] * 2, options("SplitOptions", numSplits=2), [3], data_first=False)
    yield moved("pack_i16", "two inputs, axis 1", "PACK", [(5, 2, 9)], options("PackOptions", valuesCount=2, axis=1), (), (5, 9), 2)
    yield moved("unpack_i16", "axis 1", "UNPACK", [(5, 9)] * 2, options("UnpackOptions", num=2, axis=1), (), (5, 2, 9))
    yield moved("gather_i16", "rows of axis 1", "GATHER", [(1, 3, 6, 8)], options("GatherOptions", axis=1), [[2, 0, 3]])
    for op, table in (("RESIZE_BILINEAR", "ResizeBilinearOptions"), ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions")):
        low = op.lower().removesuffix("_neighbor")
        for suffix, half in (("", False), ("_half", True)):
            opts = options(table, alignCorners=False, halfPixelCenters=half)
            yield moved(f"{low}{suffix}_i16", f"to 7x5, half_pixel_centers {half}", op, [(1, 7, 5, 3)], opts, [[7, 5]], (1, 3, 4, 3))
    for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        low = op.removesuffix("_2D").lower()
        size = {"padding": PADDING["SAME"], "filterHeight": 3, "filterWidth": 3}
        opts = options("Pool2DOptions", **size, strideH=1, strideW=1, fusedActivationFunction=ACTIVATION["NONE"])
        yield moved(f"{low}_3x3_same_i16", "3x3 SAME: fewer elements at the border", op, [(1, 5, 6, 3)], opts, (), (1, 5, 6, 3))


def conversion(name, about, op, first, second, domain=None):
    """One conversion; both ends are `(scale, zero point, type)`."""
    ends = []
    for scale, zero_point, dtype in (first, second):
        ends.append((SHAPE, None if dtype == "float32" else Quant.of(scale, zero_point), dtype))
    opts = options("QuantizeOptions" if op == "QUANTIZE" else "DequantizeOptions")
    return wide(name, about, op, ends[:1], ends[1:], opts, domain)


def conversion_cases():
    real = (0, 0, "float32")
    wide_type, narrow = (0.00031, 0, "int16"), (0.0713, -9, "int8")
    yield conversion("quantize_f32_i16", "floats, some beyond the range", "QUANTIZE", real, wide_type, Domain(-12.0, 12.0))
    yield conversion("quantize_i8_i16", "from int8", "QUANTIZE", narrow, wide_type)
    yield conversion("quantize_i16_i8", "to int8", "QUANTIZE", wide_type, narrow)
    yield conversion("quantize_i16_i16", "to another scale", "QUANTIZE", wide_type, (0.00047, 0, "int16"))
    yield conversion("dequantize_i16", "to floats", "DEQUANTIZE", wide_type, real)
    yield wide(
        "cast_quantized_i16",
        "stored numbers as int32",
        "CAST",
        [(SHAPE, Quant.of(0.00031))],
        [(SHAPE, None, "int32")],
        options("CastOptions", inDataType=TENSOR_TYPES["int16"], outDataType=TENSOR_TYPES["int32"]),
    )


def cases():
    yield from function_cases()
    yield from activation_cases()
    yield from arithmetic_cases()
    yield from reduction_cases()
    yield from layer_cases()
    yield from movement_cases()
    yield from conversion_cases()
