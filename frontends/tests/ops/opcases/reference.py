"""Runs a model on the two reference runtimes, each in a process of its own, since a failed check inside them aborts the process."""

import contextlib
import multiprocessing
import os
import tempfile

import numpy as np

ARENA_BYTES = 1 << 20


def run_micro(model, samples):
    """Outputs of TensorFlow Lite Micro's reference kernels."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(model, arena_size=ARENA_BYTES)
    results = []
    for inputs in samples:
        for index, value in enumerate(inputs):
            interpreter.set_input(value, index)
        interpreter.invoke()
        results.append([np.array(interpreter.get_output(i)) for i in range(output_count(model))])
    return results


def run_lite(model, samples):
    """Outputs of the reference kernels of TensorFlow Lite 2.14."""
    from tflite_runtime.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    results = []
    for inputs in samples:
        for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        results.append([interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()])
    return results


def output_count(model):
    from tflite_micro.tensorflow.lite.python import schema_py_generated as schema

    return schema.Model.GetRootAs(bytearray(model), 0).Subgraphs(0).OutputsLength()


def _child(run, model, samples, log, pipe):
    """Body of the child process: native messages go to `log`, the outcome to `pipe`."""
    descriptor = os.open(log, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    try:
        pipe.send(("outputs", run(model, samples)))
    except Exception as error:  # the runtimes raise many kinds
        pipe.send(("error", str(error)))


def outcome(run, case):
    """`(outputs, None)`, or `(None, reason)` when the runtime refuses the model, fails or aborts."""
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.Process(target=_child, args=(run, case.model, case.samples, log.name, sender))
        child.start()
        sender.close()
        kind, value = "error", "aborted"
        with contextlib.suppress(EOFError):
            kind, value = receiver.recv()
        child.join()
        if kind == "outputs":
            return value, None
        with open(log.name, errors="replace") as lines:
            native = " ".join(line.strip() for line in lines if line.strip() and "INFO" not in line and "WARNING" not in line)
        return None, " ".join(f"{value} {native}".split())
