"""Operators of one operand: activations, functions, softmax and normalization. Int8 inputs of 256 elements visit every value."""

import numpy as np

from .case import Builder, Domain
from .elementwise import QUOTIENT_DENOMINATOR, QUOTIENT_NUMERATOR
from .model import Quant, options

TABLE = (1, 4, 8, 8)
FLOATS = (1, 3, 4, 5)


def unary(name, about, op, dtype="int8", shape=None, quants=None, domain=None, opts=None, version=None):
    """One unary operator. `quants` are those of input and output."""
    build = Builder(name, about)
    shape = shape or (TABLE if dtype == "int8" else FLOATS)
    quants = quants or (None, None)
    x = build.input(shape, dtype, quants[0], domain)
    y = build.activation(shape, dtype, quants[1])
    build.graph.operator(op, [x], [y], opts, version)
    return build.finish([y])


def prelu(name, about, dtype="int8", shape=(1, 4, 5, 6), alpha_shape=(1, 1, 6), quants=None, constant=True):
    """One PRELU; the slopes are a constant unless said otherwise."""
    build = Builder(name, about)
    quants = quants or (None, None, None)
    x = build.input(shape, dtype, quants[0])
    if not constant:
        alpha = build.input(alpha_shape, dtype, quants[1])
    elif dtype == "int8":
        alpha = build.graph.constant("alpha", build.rng.integers(-128, 128, alpha_shape).astype(np.int8), quants[1])
    else:
        alpha = build.graph.constant("alpha", build.rng.uniform(-0.5, 1.5, alpha_shape).astype(np.float32))
    y = build.activation(shape, dtype, quants[2])
    build.graph.operator("PRELU", [x, alpha], [y])
    return build.finish([y])


def pair(first, first_zero, second, second_zero):
    return Quant.of(first, first_zero), Quant.of(second, second_zero)


QUOTIENT = pair(QUOTIENT_NUMERATOR, 3, QUOTIENT_DENOMINATOR, -5)
WIDE = Domain(-12.0, 12.0)
SOFTMAX_OUTPUT = (1 / 256, -128)
LOG_SOFTMAX_OUTPUT = (16 / 256, 127)


def activation_cases():
    same = pair(0.047, -11, 0.047, -11)
    other = pair(0.0713, 17, 0.0391, -40)
    yield unary("relu_i8", "equal scales", "RELU", quants=same)
    yield unary("relu_rescale_i8", "different scales", "RELU", quants=other)
    yield unary("relu_quotient_i8", "the multiplier in float: quotient exactly 3/4", "RELU", quants=QUOTIENT)
    yield unary("relu_f32", "float", "RELU", "float32")
    yield unary("relu6_i8", "equal scales", "RELU6", quants=same)
    yield unary("relu6_rescale_i8", "different scales, which the kernel ignores: it clamps the stored values", "RELU6", quants=other)
    yield unary("relu6_high_zero_point_i8", "6 is above the range", "RELU6", quants=pair(0.047, 60, 0.047, 60))
    yield unary("relu6_f32", "float", "RELU6", "float32", domain=WIDE)
    yield unary("relu_n1_to_1_i8", "equal scales", "RELU_N1_TO_1", quants=pair(0.0213, -11, 0.0213, -11))
    yield unary("relu_n1_to_1_f32", "float", "RELU_N1_TO_1", "float32")
    for name, about, quants, alpha in (
        ("leaky_relu_i8", "slope 0.1", other, 0.1),
        ("leaky_relu_above_1_i8", "slope 1.7", pair(0.031, 5, 0.052, 12), 1.7),
        ("leaky_relu_negative_i8", "slope -0.3", same, -0.3),
        ("leaky_relu_negative_ties_i8", "slope -0.5: ties, which products with the slope's magnitude decide", pair(0.25, 3, 0.25, 3), -0.5),
        ("leaky_relu_quotient_i8", "the multiplier in float: quotient exactly 3/4", QUOTIENT, 0.25),
    ):
        yield unary(name, about, "LEAKY_RELU", quants=quants, opts=options("LeakyReluOptions", alpha=alpha))
    yield unary("leaky_relu_f32", "slope 0.1", "LEAKY_RELU", "float32", opts=options("LeakyReluOptions", alpha=0.1))
    slopes = Quant.of(0.0091, -3)
    yield prelu("prelu_i8", "one slope a channel", quants=(Quant.of(0.0713, 17), slopes, Quant.of(0.0391, -40)))
    yield prelu(
        "prelu_full_i8",
        "slopes as an input of the same shape",
        shape=(1, 3, 4, 5),
        alpha_shape=(1, 3, 4, 5),
        constant=False,
        quants=(Quant.of(0.0713, 17), slopes, Quant.of(0.0591, -10)),
    )
    yield prelu("prelu_f32", "one slope a channel", "float32")
    yield unary("elu_i8", "a table", "ELU", quants=pair(0.041, 22, 0.033, -90))
    yield unary("elu_f32", "float", "ELU", "float32", domain=WIDE)
    yield unary("hard_swish_i8", "the reluish multiplier's exponent is positive", "HARD_SWISH", quants=pair(0.0573, -3, 0.0431, -110))
    yield unary("hard_swish_small_scale_i8", "a small input scale", "HARD_SWISH", quants=pair(0.0031, 40, 0.0057, 3))
    yield unary(
        "hard_swish_large_scale_i8", "a large input scale, so that most inputs saturate", "HARD_SWISH", quants=pair(0.31, -20, 0.33, -119)
    )
    yield unary("hard_swish_f32", "float", "HARD_SWISH", "float32", domain=WIDE)


def function_cases():
    for name, scale in (("", 0.0471), ("_small_scale", 0.0012), ("_large_scale", 0.19), ("_power_of_two", 0.0625)):
        zero = {"": 9, "_small_scale": -30, "_large_scale": -5, "_power_of_two": 0}[name]
        yield unary(f"tanh{name}_i8", f"input scale {scale}", "TANH", quants=pair(scale, zero, 1 / 128, 0))
        yield unary(f"logistic{name}_i8", f"input scale {scale}", "LOGISTIC", quants=pair(scale, zero, 1 / 256, -128))
    yield unary("tanh_f32", "float", "TANH", "float32", domain=WIDE)
    yield unary("logistic_f32", "float, both cutoffs included", "LOGISTIC", "float32", domain=Domain(-20.0, 20.0))
    yield unary("abs_i8", "equal scales", "ABS", quants=pair(0.047, -11, 0.047, -100))
    yield unary("abs_rescale_i8", "different scales", "ABS", quants=pair(0.047, -11, 0.083, -90))
    yield unary("abs_quotient_i8", "the multiplier in float: quotient exactly 3/4", "ABS", quants=QUOTIENT)
    yield unary("abs_f32", "float", "ABS", "float32")
    yield unary("neg_f32", "float", "NEG", "float32", opts=options("NegOptions"))
    yield unary("exp_f32", "float", "EXP", "float32", opts=options("ExpOptions"))
    yield unary("log_f32", "float, positive inputs", "LOG", "float32", domain=Domain(0.01, 30.0))
    yield unary("sqrt_f32", "float", "SQRT", "float32", domain=Domain(0.0, 30.0))
    yield unary("rsqrt_f32", "float", "RSQRT", "float32", domain=Domain(0.01, 30.0))
    yield unary("rsqrt_i8", "inputs from the zero point, which gives 127, upwards", "RSQRT", quants=pair(0.031, -128, 0.013, -128))
    yield unary(
        "rsqrt_zero_point_i8", "zero points inside the range", "RSQRT", quants=pair(0.11, -100, 0.021, -30), domain=Domain(-100, 127)
    )
    yield unary("square_f32", "float", "SQUARE", "float32", opts=options("SquareOptions"))


def softmax_cases():
    for name, about, shape, scale, beta in (
        ("softmax_10_i8", "10 classes", (6, 10), 0.0813, 1.0),
        ("softmax_2_i8", "2 classes", (40, 2), 0.0317, 1.0),
        ("softmax_1_i8", "1 class", (9, 1), 0.05, 1.0),
        ("softmax_300_i8", "300 classes", (1, 300), 0.0217, 1.0),
        ("softmax_beta_i8", "beta 0.4", (6, 10), 0.113, 0.4),
        ("softmax_large_scale_i8", "a large scale: one winner", (6, 10), 1.7, 1.0),
        ("softmax_small_scale_i8", "a small scale: nearly equal results", (6, 10), 0.0011, 1.0),
        ("softmax_4d_i8", "rank 4, along the last axis", (1, 3, 4, 7), 0.0913, 1.0),
    ):
        yield softmax(name, about, "int8", shape, beta, pair(scale, 13, *SOFTMAX_OUTPUT), constant_output=shape[-1] == 1)
    yield softmax("softmax_f32", "10 classes", "float32", (6, 10), 1.0)
    yield softmax("softmax_beta_f32", "beta 1.7", "float32", (4, 7), 1.7)
    for name, about, shape, scale in (
        ("log_softmax_i8", "10 classes", (6, 10), 0.0813),
        ("log_softmax_small_scale_i8", "a small scale", (6, 10), 0.0031),
        ("log_softmax_large_scale_i8", "a large scale", (5, 13), 0.77),
        ("log_softmax_200_i8", "200 classes", (1, 200), 0.0431),
    ):
        yield unary(name, about, "LOG_SOFTMAX", shape=shape, quants=pair(scale, 13, *LOG_SOFTMAX_OUTPUT), opts=options("LogSoftmaxOptions"))
    yield unary("log_softmax_f32", "10 classes", "LOG_SOFTMAX", "float32", (6, 10), opts=options("LogSoftmaxOptions"))


def softmax(name, about, dtype, shape, beta, quants=None, constant_output=False):
    case = unary(name, about, "SOFTMAX", dtype, shape, quants, opts=options("SoftmaxOptions", beta=beta))
    case.constant_output = constant_output
    return case


def normalization_cases():
    output = (1 / 128, 0)
    for name, about, shape, zero in (
        ("l2_normalization_i8", "rows of 5", (1, 3, 4, 5), 7),
        ("l2_normalization_long_i8", "rows of 100", (2, 100), -90),
        ("l2_normalization_1_i8", "rows of 1: the sign", (64, 1), 0),
    ):
        yield unary(name, about, "L2_NORMALIZATION", shape=shape, quants=pair(0.0431, zero, *output), opts=options("L2NormOptions"))
    yield unary(
        "l2_normalization_zero_i8",
        "rows that are mostly 0 or 1 above the zero point",
        "L2_NORMALIZATION",
        shape=(32, 3),
        quants=pair(0.0431, 7, *output),
        domain=Domain(7, 8),
        opts=options("L2NormOptions"),
    )
    yield unary("l2_normalization_f32", "rows of 5", "L2_NORMALIZATION", "float32", opts=options("L2NormOptions"))


def cases():
    yield from activation_cases()
    yield from function_cases()
    yield from softmax_cases()
    yield from normalization_cases()
