"""Operators that only move, convert or describe data."""

import numpy as np

from .case import Builder, Domain
from .model import TENSOR_TYPES, Quant, options


def shaped(name, about, op, shape, results, opts=None, dtype="int8", constants=(), data_first=True, inputs=1, domain=None, version=None):
    """One operator with `inputs` operands of `shape` and `constants`, an int32 array each, that fill the other operand places.

    `results` are the shapes of the results; all of them have the operands' type and quantization.
    """
    build = Builder(name, about)
    quant = build.quant() if dtype == "int8" else None
    data = [build.input(shape, dtype, quant, domain) for _ in range(inputs)]
    extra = [build.graph.constant(f"constant{i}", np.array(value, np.int32)) for i, value in enumerate(constants)]
    outputs = [build.activation(result, dtype, quant) for result in results]
    build.graph.operator(op, data + extra if data_first else extra + data, outputs, opts, version)
    return build.finish(outputs)


def shape_cases():
    yield shaped(
        "reshape_i8",
        "the new shape as a second input",
        "RESHAPE",
        (1, 3, 4, 5),
        [(4, 15)],
        options("ReshapeOptions", newShape=[4, 15]),
        constants=[[4, 15]],
    )
    yield shaped(
        "reshape_inferred_i8",
        "the new shape has a -1",
        "RESHAPE",
        (2, 3, 4),
        [(6, 4)],
        options("ReshapeOptions", newShape=[-1, 4]),
        constants=[[-1, 4]],
    )
    yield shaped(
        "reshape_options_f32",
        "the new shape in the options only",
        "RESHAPE",
        (2, 6),
        [(3, 2, 2)],
        options("ReshapeOptions", newShape=[3, 2, 2]),
        "float32",
    )
    yield shaped(
        "expand_dims_i8", "a new axis in the middle", "EXPAND_DIMS", (3, 4, 2), [(3, 1, 4, 2)], options("ExpandDimsOptions"), constants=[1]
    )
    yield shaped(
        "expand_dims_last_f32",
        "a new last axis, negative",
        "EXPAND_DIMS",
        (3, 4),
        [(3, 4, 1)],
        options("ExpandDimsOptions"),
        "float32",
        constants=[[-1]],
    )
    yield shaped(
        "squeeze_i8",
        "two axes named, one of them negatively",
        "SQUEEZE",
        (1, 3, 1, 4),
        [(3, 4)],
        options("SqueezeOptions", squeezeDims=[0, -2]),
    )
    yield shaped(
        "squeeze_all_f32", "all axes of size 1", "SQUEEZE", (1, 3, 1, 4), [(3, 4)], options("SqueezeOptions", squeezeDims=[]), "float32"
    )
    for suffix, shape, order in (
        ("hw", (1, 3, 4, 2), [0, 2, 1, 3]),
        ("nchw", (2, 3, 4, 5), [0, 3, 1, 2]),
        ("nhwc", (1, 3, 4, 5), [0, 2, 3, 1]),
        ("rank2", (7, 5), [1, 0]),
        ("rank3_reversed", (2, 3, 5), [2, 1, 0]),
        ("rank5", (2, 3, 1, 4, 2), [4, 2, 0, 3, 1]),
    ):
        yield shaped(
            f"transpose_{suffix}_i8",
            f"order {order}",
            "TRANSPOSE",
            shape,
            [[shape[i] for i in order]],
            options("TransposeOptions"),
            constants=[order],
        )
    yield shaped(
        "transpose_nchw_f32",
        "order [0, 3, 1, 2]",
        "TRANSPOSE",
        (1, 2, 3, 4),
        [(1, 4, 2, 3)],
        options("TransposeOptions"),
        "float32",
        constants=[[0, 3, 1, 2]],
    )
    yield describe_shape()


def describe_shape():
    build = Builder("shape_f32", "the shape as int32; the same for every input")
    x = build.input((2, 3, 1, 5), "float32")
    y = build.activation((4,), "int32")
    build.graph.operator("SHAPE", [x], [y], options("ShapeOptions", outType=TENSOR_TYPES["int32"]))
    return build.finish([y])


def concatenation(name, about, axis, shapes, dtype="int8"):
    build = Builder(name, about)
    quant = build.quant() if dtype == "int8" else None
    data = [build.input(shape, dtype, quant) for shape in shapes]
    place = axis % len(shapes[0])
    total = [sum(s[i] for s in shapes) if i == place else d for i, d in enumerate(shapes[0])]
    y = build.activation(total, dtype, quant)
    build.graph.operator("CONCATENATION", data, [y], options("ConcatenationOptions", axis=axis))
    return build.finish([y])


def joining_cases():
    yield concatenation("concatenation_channels_i8", "axis 3, three inputs", 3, [(1, 3, 4, 2), (1, 3, 4, 5), (1, 3, 4, 1)])
    yield concatenation("concatenation_rows_i8", "axis 1", 1, [(1, 2, 4, 3), (1, 3, 4, 3)])
    yield concatenation("concatenation_last_i8", "axis -1", -1, [(2, 3), (2, 5)])
    yield concatenation("concatenation_batch_f32", "axis 0", 0, [(1, 3, 2), (2, 3, 2)], "float32")
    yield concatenation("concatenation_i32", "int32", 1, [(2, 3), (2, 2)], "int32")
    yield shaped("pack_i8", "three inputs, axis 1", "PACK", (3, 4), [(3, 3, 4)], options("PackOptions", valuesCount=3, axis=1), inputs=3)
    yield shaped(
        "pack_last_f32",
        "two inputs, axis -1",
        "PACK",
        (3, 4),
        [(3, 4, 2)],
        options("PackOptions", valuesCount=2, axis=-1),
        "float32",
        inputs=2,
    )


def parting_cases():
    yield shaped(
        "split_i8",
        "three parts of axis 3",
        "SPLIT",
        (1, 2, 3, 6),
        [(1, 2, 3, 2)] * 3,
        options("SplitOptions", numSplits=3),
        constants=[3],
        data_first=False,
    )
    yield shaped(
        "split_f32",
        "two parts of axis -2",
        "SPLIT",
        (2, 4, 3),
        [(2, 2, 3)] * 2,
        options("SplitOptions", numSplits=2),
        "float32",
        constants=[-2],
        data_first=False,
    )
    yield shaped(
        "split_v_i8",
        "sizes 1, 4 and 2 of axis 3",
        "SPLIT_V",
        (1, 2, 3, 7),
        [(1, 2, 3, 1), (1, 2, 3, 4), (1, 2, 3, 2)],
        options("SplitVOptions", numSplits=3),
        constants=[[1, 4, 2], 3],
    )
    yield shaped(
        "split_v_inferred_i8",
        "sizes 2 and -1 of axis 1",
        "SPLIT_V",
        (2, 5, 3),
        [(2, 2, 3), (2, 3, 3)],
        options("SplitVOptions", numSplits=2),
        constants=[[2, -1], 1],
    )
    yield shaped("unpack_i8", "axis 1", "UNPACK", (2, 3, 4), [(2, 4)] * 3, options("UnpackOptions", num=3, axis=1))
    yield shaped("unpack_last_f32", "axis -1", "UNPACK", (2, 3, 2), [(2, 3)] * 2, options("UnpackOptions", num=2, axis=-1), "float32")
    yield shaped(
        "slice_i8",
        "from the middle",
        "SLICE",
        (1, 5, 6, 4),
        [(1, 3, 2, 4)],
        options("SliceOptions"),
        constants=[[0, 1, 3, 0], [1, 3, 2, 4]],
    )
    yield shaped(
        "slice_rest_i8",
        "sizes -1: to the end",
        "SLICE",
        (2, 5, 6),
        [(1, 3, 6)],
        options("SliceOptions"),
        constants=[[1, 2, 0], [-1, 3, -1]],
    )
    yield shaped("slice_f32", "rank 1", "SLICE", (9,), [(4,)], options("SliceOptions"), "float32", constants=[[3], [4]])
    for name, about, shape, result, begin, end, strides, masks in (
        ("strided_slice_i8", "every second row and column", (1, 6, 7, 2), (1, 3, 3, 2), [0, 0, 1, 0], [1, 6, 7, 2], [1, 2, 2, 1], {}),
        (
            "strided_slice_begin_mask_i8",
            "begin masked in axis 1",
            (1, 6, 5, 2),
            (1, 4, 3, 2),
            [0, 3, 2, 0],
            [1, 4, 5, 2],
            [1, 1, 1, 1],
            {"beginMask": 2},
        ),
        (
            "strided_slice_end_mask_i8",
            "end masked in axes 1 and 3",
            (1, 6, 5, 2),
            (1, 3, 2, 2),
            [0, 3, 2, 0],
            [1, 4, 4, 1],
            [1, 1, 1, 1],
            {"endMask": 10},
        ),
        (
            "strided_slice_shrink_i8",
            "axis 0 shrunk, begin and end masked elsewhere",
            (3, 4, 5),
            (4, 5),
            [1, 0, 0],
            [2, 0, 0],
            [1, 1, 1],
            {"beginMask": 6, "endMask": 6, "shrinkAxisMask": 1},
        ),
        (
            "strided_slice_shrink_last_i8",
            "last axis shrunk, begin -1",
            (2, 4, 5),
            (2, 4),
            [0, 0, -1],
            [0, 0, 0],
            [1, 1, 1],
            {"beginMask": 3, "endMask": 3, "shrinkAxisMask": 4},
        ),
        (
            "strided_slice_reverse_i8",
            "stride -1 with masks: reversed",
            (1, 5, 3),
            (1, 5, 3),
            [0, 0, 0],
            [1, 0, 3],
            [1, -1, 1],
            {"beginMask": 2, "endMask": 2},
        ),
        ("strided_slice_negative_i8", "stride -2 between negative bounds", (2, 7, 3), (2, 3, 3), [0, -1, 0], [2, -7, 3], [1, -2, 1], {}),
        ("strided_slice_beyond_i8", "an end beyond the axis", (1, 5, 3), (1, 2, 3), [0, 3, 0], [1, 99, 3], [1, 1, 1], {}),
    ):
        yield shaped(
            name, about, "STRIDED_SLICE", shape, [result], options("StridedSliceOptions", **masks), constants=[begin, end, strides]
        )
    yield shaped(
        "strided_slice_f32",
        "every third element",
        "STRIDED_SLICE",
        (10,),
        [(3,)],
        options("StridedSliceOptions"),
        "float32",
        constants=[[1], [10], [3]],
    )
    for name, about, shape, result, axis, indices, dtype in (
        ("gather_i8", "axis 0, with repeats", (5, 3), (4, 3), 0, [4, 0, 0, 2], "int8"),
        ("gather_channels_i8", "axis 3", (1, 2, 3, 5), (1, 2, 3, 3), 3, [3, 1, 4], "int8"),
        ("gather_rank2_indices_i8", "indices of rank 2, axis -2", (2, 5, 3), (2, 2, 2, 3), -2, [[1, 4], [0, 3]], "int8"),
        ("gather_f32", "axis 1, one index", (3, 4), (3, 1), 1, [2], "float32"),
    ):
        yield shaped(name, about, "GATHER", shape, [result], options("GatherOptions", axis=axis, batchDims=0), dtype, constants=[indices])


def pad_v2(name, about, dtype, shape, paddings, value):
    """One PADV2, whose third operand is the constant to pad with."""
    build = Builder(name, about)
    quant = build.quant() if dtype == "int8" else None
    x = build.input(shape, dtype, quant)
    amounts = build.graph.constant("paddings", np.array(paddings, np.int32))
    constant = build.graph.constant("value", np.array([value], dtype), quant)
    y = build.activation([d + before + after for d, (before, after) in zip(shape, paddings, strict=True)], dtype, quant)
    build.graph.operator("PADV2", [x, amounts, constant], [y], options("PadV2Options"))
    return build.finish([y])


def growing_cases():
    image = [[0, 0], [1, 2], [0, 3], [0, 0]]
    yield shaped(
        "pad_image_i8",
        "rows and columns, with the zero point",
        "PAD",
        (1, 3, 4, 2),
        [(1, 6, 7, 2)],
        options("PadOptions"),
        constants=[image],
    )
    yield shaped(
        "pad_image_f32",
        "rows and columns, with 0",
        "PAD",
        (1, 3, 4, 2),
        [(1, 6, 7, 2)],
        options("PadOptions"),
        "float32",
        constants=[image],
    )
    yield shaped(
        "pad_channels_i8",
        "all four axes",
        "PAD",
        (1, 2, 3, 2),
        [(2, 3, 4, 5)],
        options("PadOptions"),
        constants=[[[1, 0], [0, 1], [1, 0], [1, 2]]],
    )
    yield shaped("pad_rank2_i8", "rank 2", "PAD", (3, 4), [(5, 4)], options("PadOptions"), constants=[[[2, 0], [0, 0]]])
    yield pad_v2("padv2_i8", "with a given value", "int8", (1, 3, 4, 2), image, -77)
    yield pad_v2("padv2_f32", "with a given value", "float32", (2, 3), [[1, 1], [0, 2]], -1.5)
    yield shaped("tile_i8", "multiples 2, 1, 3", "TILE", (2, 3, 4), [(4, 3, 12)], options("TileOptions"), constants=[[2, 1, 3]])
    yield shaped(
        "tile_f32",
        "multiples 1, 2, 2, 1",
        "TILE",
        (1, 2, 3, 2),
        [(1, 4, 6, 2)],
        options("TileOptions"),
        "float32",
        constants=[[1, 2, 2, 1]],
    )


def convert(name, about, op, source, target, source_quant=None, target_quant=None, domain=None, shape=(1, 4, 8, 8), opts=None):
    """One conversion between two types."""
    build = Builder(name, about)
    x = build.input(shape, source, source_quant, domain)
    y = build.activation(shape, target, target_quant)
    build.graph.operator(op, [x], [y], opts)
    return build.finish([y])


def conversion_cases():
    fine, coarse = Quant.of(0.0391, -12), Quant.of(0.0713, 17)
    halves = Domain(-80.0, 80.0)
    plain = options("QuantizeOptions")
    yield convert("quantize_f32_i8", "saturates at both ends", "QUANTIZE", "float32", "int8", None, fine, Domain(-6.0, 6.0), opts=plain)
    yield convert(
        "quantize_ties_f32_i8",
        "scale 1 and inputs on halves: ties",
        "QUANTIZE",
        "float32",
        "int8",
        None,
        Quant.of(1.0, 3),
        halves,
        shape=(1, 321),
        opts=plain,
    )
    yield convert(
        "quantize_u8_i8", "equal scales, zero points 128 apart", "QUANTIZE", "uint8", "int8", Quant.of(0.0391, 116), fine, opts=plain
    )
    yield convert("quantize_rescale_u8_i8", "different scales", "QUANTIZE", "uint8", "int8", Quant.of(0.0713, 99), fine, opts=plain)
    yield convert("quantize_i8_i8", "to a finer scale: saturates", "QUANTIZE", "int8", "int8", coarse, fine, opts=plain)
    yield convert("quantize_coarser_i8_i8", "to a coarser scale", "QUANTIZE", "int8", "int8", fine, coarse, opts=plain)
    yield convert(
        "quantize_ties_i8_i8", "to twice the scale: ties", "QUANTIZE", "int8", "int8", Quant.of(0.25, 2), Quant.of(0.5, -1), opts=plain
    )
    yield convert(
        "quantize_i8_u8", "equal scales, zero points 128 apart", "QUANTIZE", "int8", "uint8", fine, Quant.of(0.0391, 116), opts=plain
    )
    yield convert("quantize_rescale_i8_u8", "different scales", "QUANTIZE", "int8", "uint8", coarse, Quant.of(0.0391, 116), opts=plain)
    yield convert("dequantize_i8_f32", "int8 to float", "DEQUANTIZE", "int8", "float32", coarse, opts=options("DequantizeOptions"))
    yield convert(
        "dequantize_u8_f32", "uint8 to float", "DEQUANTIZE", "uint8", "float32", Quant.of(0.0713, 99), opts=options("DequantizeOptions")
    )
    wide = Domain(-(2**31), 2**31 - 1)
    for source, target, about, domain in (
        ("int8", "int16", "widening", None),
        ("int8", "int32", "widening", None),
        ("int8", "float32", "exact", None),
        ("int16", "int8", "wraps", None),
        ("int16", "int32", "widening", None),
        ("int32", "int8", "wraps", wide),
        ("int32", "int16", "wraps", wide),
        ("int32", "float32", "rounds to even above 2^24", wide),
        ("float32", "int8", "truncates toward zero", Domain(-127.9, 127.9)),
        ("float32", "int16", "truncates toward zero", Domain(-32000.0, 32000.0)),
        ("float32", "int32", "truncates toward zero", Domain(-1.0e6, 1.0e6)),
    ):
        yield convert(
            f"cast_{source}_{target}",
            about,
            "CAST",
            source,
            target,
            domain=domain,
            shape=(2, 32),
            opts=options("CastOptions", inDataType=TENSOR_TYPES[source], outDataType=TENSOR_TYPES[target]),
        )


def cases():
    yield from shape_cases()
    yield from joining_cases()
    yield from parting_cases()
    yield from growing_cases()
    yield from conversion_cases()
