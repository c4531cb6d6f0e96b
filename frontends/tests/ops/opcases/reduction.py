"""Pools, MEAN, SUM, REDUCE_MAX, REDUCE_MIN, ARG_MAX and ARG_MIN."""

import numpy as np

from .case import Builder
from .convolution import ACTIVATION_SCALES, window_shape
from .elementwise import QUOTIENT_DENOMINATOR, QUOTIENT_NUMERATOR
from .model import ACTIVATION, PADDING, TENSOR_TYPES, Quant, options


def append_pool(build, x, op, kernel=(2, 2), stride=(2, 2), padding="VALID", act="NONE"):
    """Appends a pool that reads `x` and returns its result, which has the quantization of `x`."""
    y = build.activation(window_shape(x.shape, x.shape[3], kernel, stride, padding, (1, 1)), x.dtype, x.quant, x.signature)
    build.graph.operator(
        op,
        [x],
        [y],
        options(
            "Pool2DOptions",
            padding=PADDING[padding],
            strideH=stride[0],
            strideW=stride[1],
            filterHeight=kernel[0],
            filterWidth=kernel[1],
            fusedActivationFunction=ACTIVATION[act],
        ),
    )
    return y


def pool(name, about, op, dtype="int8", shape=(1, 5, 6, 3), act="NONE", **attributes):
    """One pool."""
    build = Builder(name, about)
    quant = None
    if dtype == "int8":
        quant = Quant.of(ACTIVATION_SCALES.get(act) or build.scale(), build.zero_point(-60, 40))
    return build.finish([append_pool(build, build.input(shape, dtype, quant), op, act=act, **attributes)])


def pool_cases(op):
    low = op.split("_")[0].lower() + "_pool"
    same3 = {"kernel": (3, 3), "stride": (1, 1), "padding": "SAME"}
    yield pool(f"{low}_2x2_i8", "2x2 VALID, stride 2", op)
    yield pool(f"{low}_2x2_f32", "2x2 VALID, stride 2", op, "float32")
    yield pool(f"{low}_3x3_same_i8", "3x3 SAME: fewer elements at the border", op, **same3)
    yield pool(f"{low}_3x3_same_f32", "3x3 SAME", op, "float32", **same3)
    yield pool(f"{low}_3x3_same_stride2_i8", "3x3 SAME, stride 2 on an even size", op, shape=(1, 6, 8, 2), kernel=(3, 3), padding="SAME")
    yield pool(f"{low}_3x2_stride1x3_i8", "kernel of 3 by 2, strides 1 and 3", op, kernel=(3, 2), stride=(1, 3))
    yield pool(f"{low}_whole_i8", "the whole image", op, shape=(2, 5, 5, 4), kernel=(5, 5), stride=(1, 1))
    yield pool(f"{low}_relu6_i8", "fused RELU6", op, act="RELU6", **same3)
    yield pool(f"{low}_relu_f32", "fused RELU", op, "float32", act="RELU", **same3)


def append_reduce(build, x, op, axes, keep=True, quant=None):
    """Appends a reduction of `x` over `axes` (an int for a scalar axis tensor) and returns its result."""
    resolved = {int(a) % len(x.shape) for a in np.atleast_1d(axes)}
    shape = [1 if i in resolved else d for i, d in enumerate(x.shape) if keep or i not in resolved]
    axis = build.graph.constant("axis", np.array(axes, np.int32))
    y = build.activation(shape, x.dtype, quant or x.quant)
    build.graph.operator(op, [x, axis], [y], options("ReducerOptions", keepDims=keep))
    return y


def reduce(name, about, op, axes, dtype="int8", shape=(1, 4, 5, 6), keep=True, quants=None):
    """One reduction; `quants` are those of input and result (default: one random quantization for both)."""
    build = Builder(name, about)
    first, second = quants or ((build.quant(),) * 2 if dtype == "int8" else (None, None))
    return build.finish([append_reduce(build, build.input(shape, dtype, first), op, axes, keep, second)])


def argument(name, about, op, axis, dtype="int8", shape=(1, 4, 5, 6)):
    """One ARG_MAX or ARG_MIN."""
    build = Builder(name, about)
    x = build.input(shape, dtype, build.quant() if dtype == "int8" else None)
    constant = build.graph.constant("axis", np.array(axis, np.int32))
    y = build.activation([d for i, d in enumerate(shape) if i != axis % len(shape)], "int32")
    table = "ArgMaxOptions" if op == "ARG_MAX" else "ArgMinOptions"
    build.graph.operator(op, [x, constant], [y], options(table, outputType=TENSOR_TYPES["int32"]))
    return build.finish([y])


def mean_cases():
    different = (Quant.of(0.0713, 17), Quant.of(0.0391, -40))
    narrow = (Quant.of(0.0713, -9), Quant.of(0.0123, 3))
    quotient = (Quant.of(QUOTIENT_NUMERATOR, 3), Quant.of(QUOTIENT_DENOMINATOR, -5))
    yield reduce("mean_hw_keep_i8", "height and width, kept, equal scales", "MEAN", [1, 2])
    yield reduce("mean_hw_keep_rescale_i8", "height and width, kept, different scales", "MEAN", [1, 2], quants=different)
    yield reduce("mean_hw_keep_batch_i8", "two images", "MEAN", [1, 2], shape=(2, 3, 3, 8), quants=narrow)
    yield reduce("mean_hw_i8", "height and width, not kept, different scales", "MEAN", [1, 2], keep=False, quants=narrow)
    yield reduce("mean_wh_i8", "axes in the order 2, 1", "MEAN", [2, 1], keep=False)
    yield reduce("mean_ties_i8", "four elements, equal scales: ties", "MEAN", [1, 2], shape=(1, 2, 2, 60), quants=(Quant.of(0.5, 3),) * 2)
    yield reduce(
        "mean_ties_keep_no_i8",
        "two elements of the last axis, equal scales: ties",
        "MEAN",
        [2],
        shape=(1, 60, 2),
        keep=False,
        quants=(Quant.of(0.5, -7),) * 2,
    )
    yield reduce(
        "mean_quotient_i8",
        "one element, the multiplier in double: quotient just below 3/4",
        "MEAN",
        [2],
        shape=(1, 120, 1),
        quants=quotient,
    )
    yield reduce("mean_last_i8", "the last axis, negative", "MEAN", [-1], shape=(3, 5, 7), keep=False)
    yield reduce("mean_all_i8", "all axes", "MEAN", [0, 1, 2, 3], shape=(2, 2, 3, 3), quants=narrow)
    yield reduce("mean_scalar_axis_i8", "axis tensor of rank 0", "MEAN", 1, shape=(2, 9, 5), keep=False, quants=narrow)
    yield reduce("mean_repeated_axes_i8", "an axis named twice, once negatively", "MEAN", [1, -2], shape=(2, 6, 5), quants=narrow)
    yield reduce("mean_hw_keep_f32", "height and width, kept", "MEAN", [1, 2], "float32")
    yield reduce("mean_hw_f32", "height and width, not kept", "MEAN", [1, 2], "float32", keep=False)
    yield reduce("mean_last_f32", "the last axis, negative", "MEAN", [-1], "float32", shape=(3, 5, 7), keep=False)


def other_cases():
    wide = (Quant.of(0.0713, 17), Quant.of(0.613, -4))
    yield reduce("sum_hw_i8", "height and width", "SUM", [1, 2], quants=wide, keep=False)
    yield reduce("sum_last_i8", "the last axis, equal scales: saturates", "SUM", [-1])
    yield reduce("sum_all_i8", "all axes", "SUM", [0, 1, 2], shape=(2, 3, 4), quants=wide)
    yield reduce("sum_hw_f32", "height and width", "SUM", [1, 2], "float32")
    for op in ("REDUCE_MAX", "REDUCE_MIN"):
        low = op.lower()
        yield reduce(f"{low}_hw_i8", "height and width, not kept", op, [1, 2], keep=False)
        yield reduce(f"{low}_last_i8", "the last axis, negative, kept", op, [-1], shape=(2, 6, 5))
        yield reduce(f"{low}_first_f32", "the first axis", op, [0], "float32", shape=(5, 2, 4), keep=False)
    for op in ("ARG_MAX", "ARG_MIN"):
        low = op.lower()
        yield argument(f"{low}_last_i8", "the last axis, negative; ties go to the first", op, -1)
        yield argument(f"{low}_middle_i8", "axis 1", op, 1)
        yield argument(f"{low}_last_f32", "the last axis", op, 3, "float32")


def cases():
    for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        yield from pool_cases(op)
    yield pool(
        "average_pool_ties_i8", "two elements: ties of both signs", "AVERAGE_POOL_2D", shape=(1, 2, 8, 8), kernel=(1, 2), stride=(1, 2)
    )
    yield from mean_cases()
    yield from other_cases()
