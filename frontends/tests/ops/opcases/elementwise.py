"""Operators of two operands, with and without broadcasting."""

import numpy as np

from .case import Builder, Domain
from .model import ACTIVATION, Quant, options

SHAPE = (1, 3, 4, 5)

# Two float32 scales whose quotient, rounded to float32, is exactly 3/4 and in double precision just below it. A kernel that computes its
# multiplier in one of the two precisions then rounds ties the other way than one that computes it in the other.
QUOTIENT_NUMERATOR = 0.75 + 2.0**-22
QUOTIENT_DENOMINATOR = 1 + 3 * 2.0**-23


def broadcast(a, b):
    return np.broadcast_shapes(a, b)


def binary(name, about, op, dtype="int8", first=SHAPE, second=SHAPE, act="NONE", constant=None, quants=None, domains=(None, None)):
    """One binary operator. `constant` is the operand (0 or 1) that is a constant; `quants` the three quantizations."""
    build = Builder(name, about)
    if dtype == "int8":
        quants = quants or default_quants(build, op, act)
    else:
        quants = (None, None, None)
    operands = []
    for index, shape in enumerate((first, second)):
        if constant == index:
            operands.append(build.graph.constant(f"constant{index}", constant_values(build, dtype, shape), quants[index]))
        else:
            operands.append(build.input(shape, dtype, quants[index], domains[index]))
    result = build.activation(broadcast(first, second), dtype, quants[2])
    build.graph.operator(op, operands, [result], binary_options(op, act))
    return build.finish([result])


def constant_values(build, dtype, shape):
    if dtype == "float32":
        return build.rng.uniform(-3, 3, shape).astype(np.float32)
    if dtype == "int8":
        return build.rng.integers(-128, 128, shape).astype(np.int8)
    return build.rng.integers(-1000, 1000, shape).astype(dtype)


def binary_options(op, act):
    if op in ("ADD", "SUB", "MUL", "DIV"):
        return options(op.capitalize() + "Options", fusedActivationFunction=ACTIVATION[act])
    return options(
        {"MAXIMUM": "MaximumMinimumOptions", "MINIMUM": "MaximumMinimumOptions", "SQUARED_DIFFERENCE": "SquaredDifferenceOptions"}[op]
    )


def default_quants(build, op, act):
    """Quantizations of both operands and of the result, the latter so that some results saturate and most do not."""
    if op in ("MAXIMUM", "MINIMUM"):
        quant = build.quant()
        return quant, quant, quant
    # Bounds of fused activations lie inside the range when 6 is about 100 steps.
    low, high = {"RELU6": (0.04, 0.06), "RELU_N1_TO_1": (0.015, 0.02)}.get(act, (0.01, 0.08))
    first, second = (Quant.of(build.scale(low, high), build.zero_point(-35, 35)) for _ in range(2))
    if op in ("ADD", "SUB"):
        scale = max(first.scale, second.scale) * (1.0 if act != "NONE" else build.rng.uniform(0.9, 1.7))
    elif op == "MUL":
        scale = first.scale * second.scale * build.rng.uniform(60, 110)
    elif op == "SQUARED_DIFFERENCE":
        scale = max(first.scale, second.scale) ** 2 * build.rng.uniform(90, 180)
    else:
        # The divisor is mostly tens of steps.
        scale = first.scale / second.scale * build.rng.uniform(0.02, 0.05)
    if op == "MUL" and act != "NONE":
        first = Quant.of(0.06, first.zero_point)
        second = Quant.of(0.05, second.zero_point)
        scale = {"RELU6": 6 / 120.3, "RELU_N1_TO_1": 1 / 60.7}.get(act, 0.11)
    return first, second, Quant.of(scale, build.zero_point(-60, 60))


def arithmetic_cases(op):
    low = op.lower()
    yield binary(f"{low}_i8", "same shapes, different scales", op)
    yield binary(f"{low}_f32", "same shapes", op, "float32")
    yield binary(f"{low}_scalar_i8", "second operand of one element", op, second=(1,))
    yield binary(f"{low}_channel_i8", "second operand one row of channels, constant", op, second=(5,), constant=1)
    yield binary(f"{low}_middle_i8", "second operand has 1 in the two middle dimensions", op, first=(2, 3, 2, 3), second=(2, 1, 1, 3))
    yield binary(f"{low}_both_broadcast_i8", "each operand broadcasts in one dimension", op, first=(1, 3, 1, 4), second=(1, 1, 5, 4))
    yield binary(f"{low}_broadcast_f32", "the first operand broadcasts", op, "float32", first=(3, 1), second=(2, 2, 3, 4))
    for act in ("RELU", "RELU6", "RELU_N1_TO_1"):
        yield binary(f"{low}_{act.lower()}_i8", f"fused {act}", op, act=act)
    yield binary(f"{low}_relu6_f32", "fused RELU6", op, "float32", act="RELU6")
    yield binary(f"{low}_i32", "unquantized int32", op, "int32", domains=int32_domains(op))


def int32_domains(op):
    return (Domain(-40000, 40000), Domain(-40000, 40000)) if op == "MUL" else (Domain(-(2**30), 2**30 - 1),) * 2


def quotient_quants(zero_points=(3, 0, -5)):
    scales = (QUOTIENT_NUMERATOR, QUOTIENT_NUMERATOR, QUOTIENT_DENOMINATOR)
    return tuple(Quant.of(scale, zero_point) for scale, zero_point in zip(scales, zero_points, strict=True))


def division_cases():
    """DIV: the divisor must not be 0.

    The quotient's last right shift, `7 + 31 - exponent of the multiplier` at most, must stay below 32, beyond which the reference kernel is
    undefined; so the multiplier is 131.
    """
    positive = Quant.of(0.031, -128)
    quants = (Quant.of(0.047, 9), positive, Quant.of(0.047 / (0.031 * 131), -20))
    nonzero = Domain(-127, 127)
    yield binary("div_f32", "float", "DIV", "float32", domains=(None, Domain(0.3, 5.0)))
    yield binary("div_channel_f32", "divisor one row of channels", "DIV", "float32", second=(5,), domains=(None, Domain(-5.0, -0.3)))
    yield binary("div_relu6_f32", "fused RELU6", "DIV", "float32", act="RELU6", domains=(None, Domain(0.3, 5.0)))
    yield binary("div_i8", "positive divisors", "DIV", quants=quants, domains=(None, nonzero))
    yield binary(
        "div_signed_i8",
        "divisors of both signs, never 0",
        "DIV",
        quants=(quants[0], Quant.of(0.031, 4), quants[2]),
        domains=(None, Domain(-128, 127, (4,))),
    )
    yield binary("div_channel_i8", "divisor one row of channels", "DIV", second=(5,), quants=quants, domains=(None, nonzero))
    yield binary("div_i32", "int32, truncating", "DIV", "int32", domains=(Domain(-(2**30), 2**30 - 1), Domain(-3000, 3000, (0,))))


def extremum_cases(op):
    low = op.lower()
    yield binary(f"{low}_i8", "same shapes", op)
    yield binary(f"{low}_f32", "same shapes", op, "float32")
    yield binary(f"{low}_channel_i8", "second operand one row of channels, constant", op, second=(5,), constant=1)
    yield binary(f"{low}_scalar_f32", "second operand of rank 0", op, "float32", second=(), constant=1)
    yield binary(f"{low}_middle_i8", "second operand has 1 in the two middle dimensions", op, first=(2, 3, 2, 3), second=(2, 1, 1, 3))
    yield binary(f"{low}_i32", "int32", op, "int32", domains=(Domain(-(2**30), 2**30 - 1),) * 2)


def cases():
    for op in ("ADD", "SUB", "MUL"):
        yield from arithmetic_cases(op)
    yield binary(
        "add_equal_scales_i8",
        "all scales equal: exact sums, saturating",
        "ADD",
        quants=(Quant.of(0.05, 10), Quant.of(0.05, -4), Quant.of(0.05, 0)),
    )
    yield binary(
        "add_ties_i8",
        "the result's scale is twice the operands': half of the sums are ties",
        "ADD",
        quants=(Quant.of(0.25, 1), Quant.of(0.25, 0), Quant.of(0.5, -3)),
    )
    yield binary(
        "add_far_scales_i8",
        "one operand's scale 700 times the other's",
        "ADD",
        quants=(Quant.of(0.0001, -7), Quant.of(0.07, 20), Quant.of(0.0731, 5)),
    )
    yield binary("add_quotient_i8", "multipliers in double: quotient just below 3/4", "ADD", quants=quotient_quants())
    yield binary("sub_quotient_i8", "multipliers in float: quotient exactly 3/4", "SUB", quants=quotient_quants())
    yield binary("add_constant_first_i8", "the first operand is a constant", "ADD", constant=0)
    yield binary(
        "mul_large_multiplier_i8",
        "an effective multiplier above 1",
        "MUL",
        quants=(Quant.of(0.9, 2), Quant.of(0.7, -1), Quant.of(0.31, 0)),
        domains=(Domain(-9, 12), Domain(-12, 10)),
    )
    yield from division_cases()
    for op in ("MAXIMUM", "MINIMUM"):
        yield from extremum_cases(op)
    yield binary("squared_difference_i8", "same shapes, different scales", "SQUARED_DIFFERENCE")
    yield binary("squared_difference_f32", "same shapes", "SQUARED_DIFFERENCE", "float32")
    yield binary("squared_difference_channel_i8", "second operand one row of channels", "SQUARED_DIFFERENCE", second=(5,))
    yield binary(
        "squared_difference_middle_i8",
        "second operand has 1 in the two middle dimensions",
        "SQUARED_DIFFERENCE",
        second=(1, 1, 1, 5),
        first=(1, 3, 4, 5),
    )
    yield binary(
        "squared_difference_equal_scales_i8",
        "all scales equal powers of two: ties",
        "SQUARED_DIFFERENCE",
        quants=(Quant.of(0.125, 2), Quant.of(0.125, -1), Quant.of(0.125, -100)),
        domains=(Domain(-20, 30), Domain(-20, 20)),
    )
    yield binary("squared_difference_i32", "int32", "SQUARED_DIFFERENCE", "int32", domains=(Domain(-20000, 20000),) * 2)
