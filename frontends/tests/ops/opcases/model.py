"""Writes `.tflite` flatbuffers with full control over types, quantization, options and versions.

The object API of the schema does the packing; this module only keeps tensors, buffers and operator codes consistent. Buffer 0 is the empty
buffer, as the format demands, and constant data is aligned to 16 bytes, as converters do.
"""

from dataclasses import dataclass

import flatbuffers
import numpy as np
from tflite_micro.tensorflow.lite.python import schema_py_generated as schema

TENSOR_TYPES = {
    "bool": schema.TensorType.BOOL,
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "int16": schema.TensorType.INT16,
    "int32": schema.TensorType.INT32,
    "int64": schema.TensorType.INT64,
    "uint8": schema.TensorType.UINT8,
}

PADDING = {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID}

ACTIVATION = {
    "NONE": schema.ActivationFunctionType.NONE,
    "RELU": schema.ActivationFunctionType.RELU,
    "RELU6": schema.ActivationFunctionType.RELU6,
    "RELU_N1_TO_1": schema.ActivationFunctionType.RELU_N1_TO_1,
}

# Operator versions that converters write for int8 operands, where not 1. Float operands get version 1.
INT8_VERSIONS = {
    "ADD": 2,
    "ARG_MAX": 2,
    "ARG_MIN": 2,
    "AVERAGE_POOL_2D": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "DEQUANTIZE": 2,
    "FULLY_CONNECTED": 4,
    "GATHER": 2,
    "L2_NORMALIZATION": 2,
    "LEAKY_RELU": 2,
    "LOGISTIC": 2,
    "LOG_SOFTMAX": 2,
    "MAXIMUM": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "MINIMUM": 2,
    "MUL": 2,
    "PACK": 2,
    "PAD": 2,
    "PADV2": 2,
    "QUANTIZE": 2,
    "REDUCE_MAX": 2,
    "REDUCE_MIN": 2,
    "RELU": 2,
    "RELU6": 2,
    "RESIZE_BILINEAR": 2,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "SLICE": 2,
    "SOFTMAX": 2,
    "SPACE_TO_DEPTH": 2,
    "SPLIT": 2,
    "SPLIT_V": 2,
    "SQUARED_DIFFERENCE": 2,
    "STRIDED_SLICE": 2,
    "SUB": 2,
    "SUM": 2,
    "TANH": 2,
    "TILE": 2,
    "TRANSPOSE": 2,
    "TRANSPOSE_CONV": 2,
    "UNPACK": 2,
}


@dataclass(frozen=True)
class Quant:
    """Affine quantization, `real = scale * (stored - zero_point)`; one scale per index of `axis` when there are several."""

    scales: tuple
    zero_points: tuple
    axis: int = 0

    @staticmethod
    def of(scale, zero_point=0, axis=0):
        """Quantization with one scale, or one per channel; scales are rounded to float32, as the file stores them."""
        scales = tuple(float(np.float32(s)) for s in np.atleast_1d(scale))
        zero_points = tuple(int(z) for z in np.atleast_1d(zero_point))
        if len(zero_points) == 1:
            zero_points *= len(scales)
        return Quant(scales, zero_points, axis)

    @property
    def scale(self):
        return self.scales[0]

    @property
    def zero_point(self):
        return self.zero_points[0]


@dataclass(frozen=True)
class Tensor:
    """Handle to a tensor of a graph, with what a case needs to know about it."""

    index: int
    shape: tuple
    dtype: str
    quant: Quant | None = None
    signature: tuple | None = None


class AlignedBuffer(schema.BufferT):
    """A buffer whose data starts at a multiple of 16 bytes."""

    def Pack(self, builder):
        if self.data is not None:
            content = bytes(self.data)
            builder.StartVector(1, len(content), 16)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            data = builder.EndVector()
        schema.BufferStart(builder)
        if self.data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def options(table, **fields):
    """The options table `table` of an operator (for example `Conv2DOptions`) with the given fields."""
    built = getattr(schema, table + "T")()
    for field, value in fields.items():
        if not hasattr(built, field):
            raise AttributeError(f"expected a field of {table}, got {field}")
        setattr(built, field, value)
    return getattr(schema.BuiltinOptions, table), built


class Graph:
    """One subgraph under construction."""

    def __init__(self, name):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = "operator case"
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.subgraph = schema.SubGraphT()
        self.subgraph.name = name
        self.subgraph.tensors = []
        self.subgraph.operators = []
        self.subgraph.inputs = []
        self.subgraph.outputs = []
        self.model.subgraphs = [self.subgraph]

    def tensor(self, name, shape, dtype, quant=None, signature=None, data=None):
        """Adds a tensor; with `data` it is a constant."""
        entry = schema.TensorT()
        entry.name = name
        entry.shape = [int(d) for d in shape]
        entry.type = TENSOR_TYPES[dtype]
        entry.hasRank = True
        if signature is not None:
            entry.shapeSignature = list(signature)
        if quant is not None:
            entry.quantization = schema.QuantizationParametersT()
            entry.quantization.scale = list(quant.scales)
            entry.quantization.zeroPoint = list(quant.zero_points)
            entry.quantization.quantizedDimension = quant.axis
        entry.buffer = 0
        if data is not None:
            buffer = AlignedBuffer()
            buffer.data = np.ascontiguousarray(data).tobytes()
            entry.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.subgraph.tensors.append(entry)
        return Tensor(len(self.subgraph.tensors) - 1, tuple(int(d) for d in shape), dtype, quant, signature)

    def constant(self, name, array, quant=None):
        """Adds a constant with the type and shape of `array`."""
        return self.tensor(name, array.shape, array.dtype.name, quant, data=array)

    def operator(self, op, inputs, outputs, opts=None, version=None):
        """Adds an operator; an input of None is an absent optional one."""
        if version is None:
            version = INT8_VERSIONS.get(op, 1) if any(t and t.dtype == "int8" for t in inputs) else 1
        entry = schema.OperatorT()
        entry.opcodeIndex = self._operator_code(getattr(schema.BuiltinOperator, op), version)
        entry.inputs = [-1 if t is None else t.index for t in inputs]
        entry.outputs = [t.index for t in outputs]
        if opts is not None:
            entry.builtinOptionsType, entry.builtinOptions = opts
        self.subgraph.operators.append(entry)

    def _operator_code(self, code, version):
        for index, known in enumerate(self.model.operatorCodes):
            if (known.builtinCode, known.version) == (code, version):
                return index
        entry = schema.OperatorCodeT()
        entry.builtinCode = code
        entry.deprecatedBuiltinCode = min(code, 127)
        entry.version = version
        self.model.operatorCodes.append(entry)
        return len(self.model.operatorCodes) - 1

    def serialize(self):
        """The model as bytes, with the file identifier `TFL3`."""
        builder = flatbuffers.Builder(4096)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
