"""Small graphs of several operators, as they occur in networks for microcontrollers."""

import numpy as np

from .case import Builder
from .convolution import append_conv, append_depthwise
from .dense import append_fully_connected
from .elementwise import binary_options, broadcast
from .model import Quant, options
from .reduction import append_pool, append_reduce
from .unary import SOFTMAX_OUTPUT


def append_binary(build, op, a, b, quant, act="NONE"):
    y = build.activation(broadcast(a.shape, b.shape), a.dtype, quant, a.signature)
    build.graph.operator(op, [a, b], [y], binary_options(op, act))
    return y


def append_unary(build, op, x, quant, dtype="int8", opts=None):
    y = build.activation(x.shape, dtype, quant, x.signature)
    build.graph.operator(op, [x], [y], opts)
    return y


def append_softmax(build, x):
    return append_unary(build, "SOFTMAX", x, Quant.of(*SOFTMAX_OUTPUT), opts=options("SoftmaxOptions", beta=1.0))


def append_reshape(build, x, shape):
    size = build.graph.constant("shape", np.array(shape, np.int32))
    y = build.activation(shape, x.dtype, x.quant)
    build.graph.operator("RESHAPE", [x, size], [y], options("ReshapeOptions", newShape=list(shape)))
    return y


def residual():
    build = Builder("graph_residual_i8", "expansion, depthwise, projection and the sum with the block's input")
    x = build.input((1, 5, 5, 4), "int8", build.quant(0.02, 0.05))
    hidden = append_conv(build, x, 8, kernel=(1, 1), act="RELU6")
    hidden = append_depthwise(build, hidden, act="RELU6")
    projected = append_conv(build, hidden, 4, kernel=(1, 1))
    return build.finish([append_binary(build, "ADD", projected, x, Quant.of(0.09, 6))])


def residual_float():
    build = Builder("graph_residual_f32", "expansion, depthwise, projection and the sum with the block's input")
    x = build.input((1, 4, 4, 3), "float32")
    hidden = append_conv(build, x, 6, kernel=(1, 1), act="RELU6")
    hidden = append_depthwise(build, hidden, act="RELU6")
    projected = append_conv(build, hidden, 3, kernel=(1, 1))
    return build.finish([append_binary(build, "ADD", projected, x, None)])


def two_inputs_two_outputs():
    build = Builder("graph_two_inputs_two_outputs_i8", "two inputs of different types of layer, their sum and their product as outputs")
    first = build.input((1, 4, 6, 3), "int8", build.quant(0.02, 0.05))
    second = build.input((1, 2, 3, 4), "int8", build.quant(0.02, 0.05))
    hidden = append_conv(build, first, 4, stride=(2, 2), act="RELU")
    total = append_binary(build, "ADD", hidden, second, Quant.of(0.11, -3), "RELU")
    product = append_binary(build, "MUL", second, hidden, Quant.of(0.23, 20))
    return build.finish([total, product])


def branch_concatenation():
    build = Builder("graph_branch_concat_i8", "three branches of one input, concatenated; one is brought to the common scale by QUANTIZE")
    x = build.input((1, 6, 6, 3), "int8", build.quant(0.02, 0.05))
    common = Quant.of(0.061, -9)
    left = append_conv(build, x, 2, kernel=(1, 1), output_quant=common)
    middle = append_conv(build, x, 3, act="RELU", output_quant=common)
    right = append_pool(build, x, "MAX_POOL_2D", kernel=(3, 3), stride=(1, 1), padding="SAME")
    right = append_unary(build, "QUANTIZE", right, common, opts=options("QuantizeOptions"))
    joined = build.activation((1, 6, 6, 8), "int8", common)
    build.graph.operator("CONCATENATION", [left, middle, right], [joined], options("ConcatenationOptions", axis=3))
    return build.finish([append_pool(build, joined, "AVERAGE_POOL_2D")])


def squeeze_excite():
    build = Builder("graph_squeeze_excite_i8", "the mean of each channel through two dense layers gates the channels")
    x = build.input((1, 4, 5, 6), "int8", build.quant(0.02, 0.05))
    mean = append_reduce(build, x, "MEAN", [1, 2], keep=False, quant=Quant.of(x.quant.scale / 4, -5))
    hidden = append_fully_connected(build, mean, 3, act="RELU")
    gate = append_unary(build, "LOGISTIC", append_fully_connected(build, hidden, 6), Quant.of(1 / 256, -128))
    gate = append_reshape(build, gate, (1, 1, 1, 6))
    return build.finish([append_binary(build, "MUL", x, gate, Quant.of(x.quant.scale * 0.8, x.quant.zero_point))])


def unsigned_boundary():
    build = Builder("graph_uint8_boundary", "uint8 input and output around an int8 network, as converters write it")
    x = build.input((1, 5, 5, 3), "uint8", Quant.of(1 / 255, 0))
    inner = append_unary(build, "QUANTIZE", x, Quant.of(1 / 255, -128), opts=options("QuantizeOptions"))
    hidden = append_conv(build, inner, 5, stride=(2, 2), act="RELU")
    hidden = append_reduce(build, hidden, "MEAN", [1, 2], keep=False)
    result = append_softmax(build, append_fully_connected(build, hidden, 4))
    y = append_unary(build, "QUANTIZE", result, Quant.of(1 / 256, 0), "uint8", options("QuantizeOptions"))
    return build.finish([y])


def float_boundary():
    build = Builder("graph_float_boundary", "float input and output around an int8 network")
    x = build.input((1, 5, 5, 2), "float32")
    inner = append_unary(build, "QUANTIZE", x, Quant.of(8 / 255, 0), opts=options("QuantizeOptions"))
    hidden = append_pool(build, append_depthwise(build, inner, 2, act="RELU"), "AVERAGE_POOL_2D")
    result = append_fully_connected(build, hidden, 3)
    y = append_unary(build, "DEQUANTIZE", result, None, "float32", options("DequantizeOptions"))
    return build.finish([y])


def dynamic_batch():
    build = Builder("graph_dynamic_batch_i8", "batch written as 1 in the shape and -1 in the shape signature")
    signature = (-1, 6, 6, 2)
    x = build.input(signature_shape(signature), "int8", build.quant(0.02, 0.05), signature=signature)
    hidden = append_conv(build, x, 4, stride=(2, 2), act="RELU")
    return build.finish([append_softmax(build, append_fully_connected(build, hidden, 5))])


def signature_shape(signature):
    """The shape that goes with a signature: unknown sizes are 1."""
    return tuple(max(1, size) for size in signature)


def cases():
    yield residual()
    yield residual_float()
    yield two_inputs_two_outputs()
    yield branch_concatenation()
    yield squeeze_excite()
    yield unsigned_boundary()
    yield float_boundary()
    yield dynamic_batch()
