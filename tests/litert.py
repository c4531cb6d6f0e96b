"""Compares models in pairs under LiteRT's interpreter with its reference kernels.

Reads lines `name TAB original TAB exported TAB folder`, where the folder holds the inputs `0.in0.bin` and so on, and, if the original
is `-`, the outputs `0.out0.bin` that are expected. It writes a line
`name TAB verdict` for each: `same`, `runs` if only the exported one does, `neither: why`, `exported: why it does not run while
the original does`, or what differs.
"""

import pathlib
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType


def run(model, folder):
    """Bytes of the outputs for the first sample."""
    interpreter = Interpreter(model_path=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    details = interpreter.get_input_details()
    for i, detail in enumerate(details):
        data = np.fromfile(folder / f"0.in{i}.bin", dtype=detail["dtype"])
        shape = detail["shape"]
        if data.size != np.prod(shape, dtype=int):
            shape = np.array([1, *shape[1:]], dtype=np.int32)
        if not np.array_equal(shape, detail["shape"]):
            interpreter.resize_tensor_input(detail["index"], shape)
    interpreter.allocate_tensors()
    for i, detail in enumerate(interpreter.get_input_details()):
        data = np.fromfile(folder / f"0.in{i}.bin", dtype=detail["dtype"])
        interpreter.set_tensor(detail["index"], data.reshape(detail["shape"]))
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def one_line(error):
    return " ".join(str(error).split())


def attempt(model, folder):
    """Outputs, or why there are none."""
    try:
        return run(model, folder), None
    except (RuntimeError, ValueError) as error:
        return None, one_line(error)


def stored(outputs, folder):
    """Expected outputs of the folder, typed as those that were found."""
    read = lambda i, like: np.fromfile(folder / f"0.out{i}.bin", dtype=like.dtype).reshape(like.shape)
    return [read(i, like) for i, like in enumerate(outputs)]


def verdict(original, exported, folder):
    found, reason = attempt(exported, folder)
    if original == "-":
        expected = stored(found or [], folder)
    else:
        expected, _ = attempt(original, folder)
    if found is None:
        return f"neither: {reason}" if expected is None else f"exported: {reason}"
    if expected is None:
        return "runs"
    if len(expected) != len(found):
        return f"expected {len(expected)} outputs, got {len(found)}"
    for i, (a, b) in enumerate(zip(expected, found)):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"output {i}: expected {a.dtype}{a.shape}, got {b.dtype}{b.shape}"
        if a.tobytes() != b.tobytes():
            differing = int((a.reshape(-1) != b.reshape(-1)).sum())
            worst = np.abs(a.astype(np.float64) - b.astype(np.float64)).max()
            return f"output {i}: {differing} of {a.size} elements differ, by at most {worst:.9g}"
    return "same"


def main():
    for line in sys.stdin:
        name, original, exported, folder = line.rstrip("\n").split("\t")
        print(f"{name}\t{verdict(original, exported, pathlib.Path(folder))}", flush=True)


if __name__ == "__main__":
    main()
