#!/usr/bin/env python3
"""Generates the corpus of single-operator models under `cases/`, with golden outputs of the reference kernels.

    pip install 'numpy<2' flatbuffers tflite-runtime==2.14.0 tflite-micro==0.dev20260930204519     # Python 3.11
    ./make_cases.py              write cases/ anew
    ./make_cases.py --check      regenerate in memory and compare with cases/
    ./make_cases.py PREFIX...    only the cases with these prefixes; leaves the rest and README.md alone

Layout: `cases/<name>/model.tflite`, and per sample k = 0, 1, 2 `<k>.in<i>.bin` and `<k>.out<i>.bin`: the elements in row-major order,
little-endian, in the tensor's own type. Models and inputs depend only on the case's name and definition, never on order or time.

The golden output is TensorFlow Lite Micro's reference kernel. Where it lacks the operator, TensorFlow Lite 2.14's reference kernel stands
in. Every case is run on both, and `cases/README.md` lists where they differ.

Both versions are pinned. TensorFlow Lite Micro's behaviour is that of its commit 90b983c2 (2026-08-20), on which this wheel and the one of
that very commit agree; wheels from October 2026 on compute the multipliers of FULLY_CONNECTED, SUB, RELU, LEAKY_RELU and ABS in double
precision in place of float, which the cases with `float_product` or `quotient` in their names show.
"""

import argparse
import pathlib
import shutil
import sys
from dataclasses import dataclass

import numpy as np

import opcases
from opcases import reference

HERE = pathlib.Path(__file__).resolve().parent
CASES = HERE / "cases"


@dataclass
class Golden:
    """A case with the outputs it must produce, and what the two runtimes said."""

    case: object
    outputs: list
    source: str
    difference: str | None = None


def describe_difference(micro, lite):
    """How the outputs of the two runtimes differ; None if they are equal bit for bit."""
    differing, total, worst = 0, 0, 0.0
    for ours, theirs in zip(micro, lite, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            if a.shape != b.shape or a.dtype != b.dtype:
                return f"shape or type: {a.dtype}{list(a.shape)} against {b.dtype}{list(b.shape)}"
            differing += int((bit_patterns(a) != bit_patterns(b)).sum())
            total += a.size
            worst = max(worst, float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()))
    return f"{differing} of {total} elements, by at most {worst:.4g}" if differing else None


def bit_patterns(array):
    """The elements as unsigned integers, so that -0.0 is not 0.0 and a NaN equals itself."""
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")


def golden(case):
    """Runs `case` on both runtimes and decides on the outputs."""
    micro, micro_error = reference.outcome(reference.run_micro, case)
    lite, lite_error = reference.outcome(reference.run_lite, case)
    if micro is None and lite is None:
        raise RuntimeError(f"{case.name}: no runtime accepts it. micro: {micro_error}; lite: {lite_error}")
    if micro is None:
        return Golden(case, lite, "lite", micro_error)
    if lite is None:
        return Golden(case, micro, "micro", lite_error)
    return Golden(case, micro, "both", describe_difference(micro, lite))


def require_sensitive(result):
    """Refuses a case that a kernel returning a constant would pass."""
    if result.case.constant_output:
        return
    for index in range(len(result.outputs[0])):
        values = np.concatenate([outputs[index].ravel() for outputs in result.outputs])
        if np.unique(values).size < 2:
            raise RuntimeError(f"{result.case.name}: expected output {index} to vary, got only {values[:1]}")


def files_of(result):
    """The files of a case as `{name: content}`."""
    files = {"model.tflite": result.case.model}
    for sample, (inputs, outputs) in enumerate(zip(result.case.samples, result.outputs, strict=True)):
        for kind, tensors in (("in", inputs), ("out", outputs)):
            for index, value in enumerate(tensors):
                files[f"{sample}.{kind}{index}.bin"] = value.astype(value.dtype.newbyteorder("<")).tobytes()
    return files


def readme(results):
    """The text of `cases/README.md`."""
    lines = [
        "# Single-operator models with golden outputs",
        "",
        "Written by `make_cases.py`, which also says what the files hold; do not edit by hand. The golden output is that of TensorFlow",
        "Lite Micro's reference kernel (`micro`); where that lacks the operator or type, it is that of TensorFlow Lite 2.14 (`lite`).",
        "",
        f"{len(results)} cases. Float results that go through `exp`, `log` or `tanh` depend on the C library in the last bits; all other",
        "results, float ones included, are exact: sums run in the kernels' order, without fused multiply-add.",
        "",
        "## The runtimes differ: golden is `micro`",
        "",
        "| case | `lite` differs in |",
        "|---|---|",
    ]
    lines += [f"| {r.case.name} | {r.difference} |" for r in results if r.source == "both" and r.difference]
    lines += ["", "## Only `micro` runs it", "", "| case | what `lite` says |", "|---|---|"]
    lines += [f"| {r.case.name} | {table_text(r.difference)} |" for r in results if r.source == "micro"]
    lines += ["", "## Only `lite` runs it: golden is `lite`", "", "| case | what `micro` says |", "|---|---|"]
    lines += [f"| {r.case.name} | {table_text(r.difference)} |" for r in results if r.source == "lite"]
    lines += ["", "## All cases", "", "| case | what it shows |", "|---|---|"]
    lines += [f"| {r.case.name} | {r.case.about} |" for r in results]
    return "\n".join(lines) + "\n"


def table_text(message):
    """A native error message, shortened and without what depends on the build or would break a table."""
    words = [word.rsplit("/", 1)[-1] for word in message.replace("|", "/").split()]
    return " ".join(words)[:160].rstrip()


def write(results, complete):
    """Writes the cases; a complete run also removes stale ones and rewrites the README."""
    if complete:
        shutil.rmtree(CASES, ignore_errors=True)
    for result in results:
        folder = CASES / result.case.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in files_of(result).items():
            (folder / name).write_bytes(content)
    if complete:
        (CASES / "README.md").write_text(readme(results))


def check(results):
    """Names what differs between `results` and the files on disk."""
    wrong = []
    for result in results:
        folder = CASES / result.case.name
        expected = files_of(result)
        found = {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}
        wrong += [f"{result.case.name}/{name}" for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name)]
    return wrong


def main():
    parser = argparse.ArgumentParser(description="Generates the single-operator cases and their golden outputs.")
    parser.add_argument("prefixes", nargs="*", metavar="PREFIX", help="only cases whose names start so")
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    arguments = parser.parse_args()
    prefixes = tuple(arguments.prefixes)
    chosen = [case for case in opcases.all_cases() if not prefixes or case.name.startswith(prefixes)]
    results = []
    for case in chosen:
        results.append(golden(case))
        require_sensitive(results[-1])
    if arguments.check:
        wrong = check(results)
        print("\n".join(wrong) or f"{len(results)} cases are up to date")
        return 1 if wrong else 0
    write(results, complete=not prefixes)
    size = sum(len(content) for result in results for content in files_of(result).values())
    for result in results:
        if result.difference:
            print(f"{result.case.name}: {result.source}: {result.difference[:150]}")
    print(f"{len(results)} cases, {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
