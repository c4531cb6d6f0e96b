"""RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR, DEPTH_TO_SPACE and SPACE_TO_DEPTH."""

import numpy as np

from .case import Builder
from .model import options


def append_resize(build, x, op, size, align=False, half=False):
    """Appends a resize of `x` to `size` and returns its result."""
    constant = build.graph.constant("size", np.array(size, np.int32))
    y = build.activation((x.shape[0], *size, x.shape[3]), x.dtype, x.quant, x.signature)
    table = "ResizeBilinearOptions" if op == "RESIZE_BILINEAR" else "ResizeNearestNeighborOptions"
    build.graph.operator(op, [x, constant], [y], options(table, alignCorners=align, halfPixelCenters=half), 3 if half else None)
    return y


def resize(name, about, op, size, dtype="int8", shape=(1, 3, 4, 2), **attributes):
    build = Builder(name, about)
    x = build.input(shape, dtype, build.quant() if dtype == "int8" else None)
    return build.finish([append_resize(build, x, op, size, **attributes)])


def resize_cases(op):
    low = op.lower().removesuffix("_neighbor")
    for suffix, about, flags in (
        ("", "", {}),
        ("_align", ", align_corners", {"align": True}),
        ("_half", ", half_pixel_centers", {"half": True}),
    ):
        yield resize(f"{low}{suffix}_double_i8", f"to twice the size{about}", op, (6, 8), **flags)
        yield resize(f"{low}{suffix}_odd_i8", f"to 7x5{about}", op, (7, 5), **flags)
        yield resize(f"{low}{suffix}_smaller_i8", f"to a smaller size{about}", op, (3, 4), shape=(1, 7, 9, 2), **flags)
        yield resize(f"{low}{suffix}_odd_f32", f"to 7x5{about}", op, (7, 5), "float32", **flags)
    yield resize(f"{low}_from_one_i8", "from one pixel", op, (3, 2), shape=(2, 1, 1, 9))
    yield resize(f"{low}_align_to_one_i8", "to one row, align_corners", op, (1, 5), align=True)


def block(name, about, op, size, shape, dtype="int8"):
    """One DEPTH_TO_SPACE or SPACE_TO_DEPTH."""
    build = Builder(name, about)
    quant = build.quant() if dtype == "int8" else None
    batch, height, width, depth = shape
    if op == "DEPTH_TO_SPACE":
        result = (batch, height * size, width * size, depth // size**2)
        opts = options("DepthToSpaceOptions", blockSize=size)
    else:
        result = (batch, height // size, width // size, depth * size**2)
        opts = options("SpaceToDepthOptions", blockSize=size)
    x = build.input(shape, dtype, quant)
    y = build.activation(result, dtype, quant)
    build.graph.operator(op, [x], [y], opts)
    return build.finish([y])


def cases():
    for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        yield from resize_cases(op)
    yield block("depth_to_space_i8", "blocks of 2", "DEPTH_TO_SPACE", 2, (1, 2, 3, 12))
    yield block("depth_to_space_f32", "blocks of 3", "DEPTH_TO_SPACE", 3, (1, 2, 1, 18), "float32")
    yield block("space_to_depth_i8", "blocks of 2", "SPACE_TO_DEPTH", 2, (1, 4, 6, 3))
    yield block("space_to_depth_f32", "blocks of 3", "SPACE_TO_DEPTH", 3, (1, 3, 6, 2), "float32")
