"""A case: one model, a description, and three input samples drawn from a generator seeded by the case's name."""

import zlib
from dataclasses import dataclass

import numpy as np

from .model import Graph, Quant

SAMPLES = 3

INTEGER_RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "int32": (-(2**20), 2**20)}


@dataclass
class Case:
    """A finished case. `samples[k][i]` is input `i` of sample `k`."""

    name: str
    about: str
    model: bytes
    samples: list
    constant_output: bool = False


@dataclass
class Domain:
    """What values an input takes: `low <= value <= high`, less those in `without`."""

    low: float
    high: float
    without: tuple = ()


class Builder:
    """A graph under construction together with the generator of its constants and samples."""

    def __init__(self, name, about):
        self.name = name
        self.about = about
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.graph = Graph(name)
        self.inputs = []
        self.domains = []

    def scale(self, low=0.004, high=0.12):
        """A scale with a full mantissa, log-uniform in the given range."""
        return float(np.float32(np.exp(self.rng.uniform(np.log(low), np.log(high)))))

    def zero_point(self, low=-100, high=100):
        return int(self.rng.integers(low, high + 1))

    def quant(self, low=0.004, high=0.12):
        """A random per-tensor quantization for int8."""
        return Quant.of(self.scale(low, high), self.zero_point())

    def input(self, shape, dtype, quant=None, domain=None, signature=None):
        """Adds an input of the model whose samples come from `domain` (default: the whole range; floats: -4 to 4)."""
        tensor = self.graph.tensor(f"input{len(self.inputs)}", shape, dtype, quant, signature)
        self.inputs.append(tensor)
        if domain is None:
            domain = Domain(-4.0, 4.0) if dtype == "float32" else Domain(*INTEGER_RANGES[dtype])
        self.domains.append(domain)
        return tensor

    def activation(self, shape, dtype, quant=None, signature=None, name=None):
        """Adds a tensor that an operator writes."""
        name = name or f"tensor{len(self.graph.subgraph.tensors)}"
        return self.graph.tensor(name, shape, dtype, quant, signature)

    def finish(self, outputs, constant_output=False):
        """Declares inputs and outputs and draws the samples."""
        self.graph.subgraph.inputs = [t.index for t in self.inputs]
        self.graph.subgraph.outputs = [t.index for t in outputs]
        fields = list(zip(self.inputs, self.domains, strict=True))
        samples = [[draw(self.rng, tensor, domain, kind) for tensor, domain in fields] for kind in range(SAMPLES)]
        return Case(self.name, self.about, self.graph.serialize(), samples, constant_output)


def draw(rng, tensor, domain, kind):
    """Values for one input: kind 0 is uniform, 1 walks through the whole domain in large steps, 2 keeps to its edges and its middle."""
    count = int(np.prod(tensor.shape, dtype=int))
    if tensor.dtype == "float32":
        values = draw_floats(rng, count, domain, kind)
    elif tensor.dtype == "bool":
        values = rng.integers(0, 2, count)
    else:
        values = draw_integers(rng, count, domain, kind, tensor.quant.zero_point if tensor.quant else 0)
    return values.astype(tensor.dtype).reshape(tensor.shape)


def draw_integers(rng, count, domain, kind, zero_point):
    low, high = int(domain.low), int(domain.high)
    if kind == 0:
        values = rng.integers(low, high + 1, count)
    elif kind == 1:
        # 97 is coprime to 256 (and to most other sizes): 256 elements visit every int8 value, starting at both ends.
        size = high - low + 1
        values = low + (np.arange(count, dtype=np.int64) * (97 if size < 1000 else 7919 * 31) - 1) % size
    else:
        edges = [low, low + 1, high - 1, high] + [z for z in (zero_point - 1, zero_point, zero_point + 1) if low <= z <= high]
        values = rng.choice(edges, count)
    for forbidden in domain.without:
        values[values == forbidden] = high
    return values


def draw_floats(rng, count, domain, kind):
    low, high = domain.low, domain.high
    if kind == 0:
        values = rng.uniform(low, high, count)
    elif kind == 1:
        values = np.linspace(low, high, count) if count > 1 else np.array([high])
    else:
        middle = (low + high) / 2
        edges = [low, high, middle, middle + (high - low) / 64, middle - (high - low) / 64, low + (high - low) / 7]
        values = rng.choice(edges, count) + rng.choice([0.0, 0.0, 1e-3], count)
        values = np.clip(values, low, high)
    values = values.astype(np.float32)
    for forbidden in domain.without:
        values[values == forbidden] = high
    return values
