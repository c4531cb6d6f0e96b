"""FULLY_CONNECTED."""

import numpy as np

from .case import Builder
from .convolution import bias_constant, float_constants, int8_weights, quantize_weights
from .model import ACTIVATION, Quant, options


def append_fully_connected(
    build, x, units, act="NONE", per_channel=False, bias=True, keep_dims=False, weight_zero_point=0, absent_bias=False, scales=None
):
    """Appends a FULLY_CONNECTED that reads `x` and returns its result.

    `absent_bias` writes the index -1 in place of leaving the third input out; `scales` fixes the scales of weights and output, and keeps
    the weights small.
    """
    depth = x.shape[-1] if keep_dims else int(np.prod(x.shape[1:]))
    output_shape = (*x.shape[:-1], units) if keep_dims else (x.shape[0], units)
    filter_shape = (units, depth)
    if x.dtype == "int8":
        weights, output, accumulator = quantize_weights(build, depth, units, 0, x.quant, act, per_channel)
        if weight_zero_point:
            weights = Quant.of(weights.scales, weight_zero_point, 0)
        if scales:
            weights, output, accumulator = Quant.of(scales[0]), Quant.of(scales[1], -5), 40
        w = build.graph.constant("weights", int8_weights(build, filter_shape, 1 if scales else 127), weights)
        b = bias_constant(build, units, x.quant, weights, accumulator) if bias else None
        y = build.activation(output_shape, "int8", output)
    else:
        w, b = float_constants(build, filter_shape, depth, units, bias)
        y = build.activation(output_shape, "float32")
    opts = options("FullyConnectedOptions", fusedActivationFunction=ACTIVATION[act], keepNumDims=keep_dims)
    build.graph.operator("FULLY_CONNECTED", [x, w] + ([b] if bias or absent_bias else []), [y], opts, 5 if keep_dims else None)
    return y


def fully_connected(name, about, dtype="int8", shape=(2, 12), units=7, quant=None, **attributes):
    """One FULLY_CONNECTED."""
    build = Builder(name, about)
    x = build.input(shape, dtype, (quant or build.quant()) if dtype == "int8" else None)
    return build.finish([append_fully_connected(build, x, units, **attributes)])


def cases():
    yield fully_connected("fully_connected_i8", "weights' zero point 0, one scale")
    yield fully_connected("fully_connected_f32", "float", "float32")
    yield fully_connected("fully_connected_long_i8", "200 inputs, 3 outputs", shape=(1, 200), units=3)
    yield fully_connected("fully_connected_long_f32", "200 inputs, 3 outputs", "float32", shape=(1, 200), units=3)
    yield fully_connected("fully_connected_odd_i8", "one input, 13 outputs", shape=(3, 1), units=13)
    yield fully_connected("fully_connected_no_bias_i8", "two inputs only", bias=False)
    yield fully_connected("fully_connected_absent_bias_i8", "bias index -1", bias=False, absent_bias=True)
    yield fully_connected("fully_connected_no_bias_f32", "bias index -1", "float32", bias=False, absent_bias=True)
    yield fully_connected("fully_connected_weight_zero_point_i8", "weights with a zero point, which counts here", weight_zero_point=11)
    yield fully_connected("fully_connected_per_channel_i8", "one scale per output", per_channel=True)
    yield fully_connected("fully_connected_keep_dims_i8", "rank 3 kept", shape=(2, 3, 5), keep_dims=True)
    yield fully_connected("fully_connected_keep_dims_f32", "rank 3 kept", "float32", shape=(2, 3, 5), keep_dims=True)
    yield fully_connected("fully_connected_keep_dims_rank4_i8", "rank 4 kept", shape=(1, 2, 3, 4), keep_dims=True)
    yield fully_connected("fully_connected_rank3_i8", "rank 3 flattened", shape=(2, 3, 5))
    yield fully_connected("fully_connected_rank4_i8", "rank 4 flattened", shape=(2, 2, 3, 2))
    yield fully_connected("fully_connected_rank4_f32", "rank 4 flattened", "float32", shape=(2, 2, 3, 2))
    yield fully_connected(
        "fully_connected_float_product_i8",
        "the product of input and weight scale is taken in float: 1, not 1 - 2^-28",
        shape=(6, 2),
        quant=Quant.of(1 - 2.0**-14, 3),
        scales=(1 + 2.0**-14, 2.0),
    )
    for act in ("RELU", "RELU6", "RELU_N1_TO_1"):
        yield fully_connected(f"fully_connected_{act.lower()}_i8", f"fused {act}", act=act)
    yield fully_connected("fully_connected_relu_f32", "fused RELU", "float32", act="RELU")
