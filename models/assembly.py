"""Built-in bundles: graphs without weights, and the rules by which weights are made for them when they are read.

A built-in bundle is two files in `models/builtin`. `NAME.graph` holds the ONNX model without the kernels and biases of
its convolutions, compressed: all of the model but its graph, then the graph, both as protobuf writes them.
`NAME.json` is the recipe: the weight file and its SHA-256, where in the model the graph begins, a rule for each
convolution, and the SHA-256 of the bundle that all of this makes.

So weights are committed once, however many bundles they are for, and do not change when the graph does. The arithmetic
is elementwise IEEE float32 and float64, so a bundle has the same bytes on every platform.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Floats
from .contract import BundleFormatError

Buffer = bytes | memoryview

FOLDER = Path(__file__).parent / "builtin"
_REPAIR = "install onnxdream again"

# Field numbers and types of onnx.proto.
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9
_FLOAT = 1


@dataclass(frozen=True)
class BuiltIn:
    """A bundle that comes with the package: its name, and what `export` makes it of."""

    name: str
    backbone: str
    layers: tuple[str, ...]
    objective: str

    @property
    def path(self) -> Path:
        """The recipe, which stands for the bundle wherever a bundle's file is named."""
        return FOLDER / f"{self.name}.json"


_MIXED = tuple(f"mixed{number}" for number in range(6))
BUILT_IN: tuple[BuiltIn, ...] = (
    BuiltIn("v3-low", "v3", _MIXED[:3], "mean"),
    BuiltIn("v3-mid", "v3", _MIXED, "mean"),
    BuiltIn("v3-mid-l2", "v3", _MIXED, "l2"),
)
# The bundle that serves where none is named and none was exported.
DEFAULT = BUILT_IN[0]


@dataclass(frozen=True)
class Rule:
    """How the kernel and the bias of a convolution are made from a block of a weight file.

    The kernel is dequantised; where there is an `epsilon`, the BatchNormalization behind the convolution is folded
    into both; both are multiplied by `scale`, and the kernel goes from HWIO to OIHW.
    """

    convolution: str
    block: str
    epsilon: float | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """What makes a built-in bundle of its graph; `graph_at` is where the graph begins, in bytes of the model."""

    weights: str
    weights_sha256: str
    sha256: str
    graph_at: int
    rules: tuple[Rule, ...]

    def to_json(self) -> str:
        """The recipe's text, with a line for each rule."""
        facts = {key: value for key, value in asdict(self).items() if key != "rules"}
        lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items()]
        rules = ",\n".join(f"  {json.dumps(asdict(rule))}" for rule in self.rules)
        return "{\n" + ",\n".join([*lines, f' "rules": [\n{rules}\n ]']) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Reads a recipe's text. Raises ValueError, KeyError and TypeError."""
        facts = json.loads(text)
        return cls(**{**facts, "rules": tuple(Rule(**rule) for rule in facts["rules"])})


def is_built_in(path: Path) -> bool:
    """Whether a path is that of a built-in bundle's recipe."""
    return path.suffix == ".json" and path.parent == FOLDER


@dataclass(frozen=True)
class Assembled:
    """An ONNX model whose weights lie beside it, so that they are made once for all forms of its graph.

    `rest` is all of the model but its graph, `graph` that without the weights, `weights` the graph's fields that hold
    them, in pieces, and `names` are what the weights are called.
    """

    rest: bytes
    graph: bytes
    weights: tuple[Buffer, ...]
    names: frozenset[str]

    @property
    def bare(self) -> bytes:
        """The model without its weights."""
        return b"".join([self.rest, *_field(_GRAPH, [self.graph])])

    @property
    def pieces(self) -> list[Buffer]:
        """The bytes of the whole model, in their order."""
        return [self.rest, *_field(_GRAPH, [self.graph, *self.weights])]

    @property
    def whole(self) -> bytes:
        """The bytes of the whole model."""
        return b"".join(self.pieces)

    def with_graph(self, rest: bytes, graph: bytes) -> bytes:
        """A model with the same weights and another graph, its form for some provider."""
        return replace(self, rest=rest, graph=graph).whole


def assemble_built_in(path: Path) -> Assembled:
    """The built-in bundle with that recipe. Raises BundleFormatError."""
    try:
        recipe = Recipe.from_json(path.read_text(encoding="utf-8"))
        model = zlib.decompress(path.with_suffix(".graph").read_bytes())
        weights = WeightFile(_read(path.with_name(recipe.weights), recipe.weights_sha256))
        return assemble(model, recipe.graph_at, recipe.rules, weights)
    except BundleFormatError:
        raise
    except (OSError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise BundleFormatError(f"the built-in bundle {path.stem} is damaged ({error}): {_REPAIR}") from error


def assemble(model: bytes, graph_at: int, rules: Iterable[Rule], weights: WeightFile) -> Assembled:
    """An ONNX model without weights, its graph from `graph_at` on, with those that the rules make. Raises KeyError."""
    fields: list[Buffer] = []
    names = []
    for rule in rules:
        for part, array in zip(("kernel", "bias"), convolution_weights(weights, rule), strict=True):
            names.append(f"{rule.convolution}/{part}")
            fields += _field(_INITIALIZER, _tensor(names[-1], array))
    return Assembled(model[:graph_at], model[graph_at:], tuple(fields), frozenset(names))


class WeightFile:
    """The bytes of an .npz that holds a network's weights, a block for each convolution.

    | key | type | shape | meaning |
    |---|---|---|---|
    | `BLOCK/kernel` | uint8, float16 or float32 | height, width, in, out | the convolution's kernel |
    | `BLOCK/kernel_scale`, `BLOCK/kernel_least` | float32 | – | of a uint8 kernel: value = kernel · scale + least |
    | `BLOCK/bias` | float32 | out | the convolution's bias, where it has one |
    | `BLOCK/gamma`, `beta`, `mean`, `variance` | float32 | out | the BatchNormalization behind it; gamma is optional |
    """

    def __init__(self, data: bytes) -> None:
        self._arrays = np.load(io.BytesIO(data), allow_pickle=False)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of its blocks, in its order."""
        return tuple(name.removesuffix("/kernel") for name in self._arrays.files if name.endswith("/kernel"))

    def kernel(self, block: str) -> Floats:
        """The kernel in float32, HWIO. Raises KeyError."""
        kernel: Floats = self._arrays[f"{block}/kernel"]
        return self._dequantised(block, kernel) if kernel.dtype == np.uint8 else kernel.astype(np.float32)

    def kernel_oihw(self, block: str) -> Floats:
        """The kernel in float32, OIHW and contiguous. Raises KeyError."""
        kernel = np.ascontiguousarray(self._arrays[f"{block}/kernel"].transpose(3, 2, 0, 1))
        return self._dequantised(block, kernel) if kernel.dtype == np.uint8 else kernel.astype(np.float32)

    def vector(self, block: str, part: str) -> Floats | None:
        """One of its vectors in float32, None where the block has none of that name."""
        name = f"{block}/{part}"
        return self._arrays[name].astype(np.float32) if name in self._arrays else None

    def _dequantised(self, block: str, kernel: NDArray[Any]) -> Floats:
        """In place, in float32, multiplied and then added, which rounds the same everywhere."""
        values = kernel.astype(np.float32)
        values *= self._arrays[f"{block}/kernel_scale"]
        values += self._arrays[f"{block}/kernel_least"]
        return values


def convolution_weights(weights: WeightFile, rule: Rule) -> tuple[Floats, Floats]:
    """The kernel, float32 OIHW, and the bias, float32 [O], that a rule makes. Raises KeyError."""
    kernel = weights.kernel_oihw(rule.block)
    bias = weights.vector(rule.block, "bias")
    if bias is None:
        bias = np.zeros(len(kernel), np.float32)
    if rule.epsilon is not None:
        kernel, bias = _normalized(weights, rule.block, rule.epsilon, kernel, bias)
    if rule.scale != 1:
        kernel, bias = _scaled(kernel, rule.scale), _scaled(bias, rule.scale)
    return kernel, bias


def _normalized(weights: WeightFile, block: str, epsilon: float, kernel: Floats, bias: Floats) -> tuple[Floats, Floats]:
    """Folds a BatchNormalization into the convolution before it (Jacob et al. 2018, eq. 14), in float64."""
    gamma, beta, mean, variance = (weights.vector(block, part) for part in ("gamma", "beta", "mean", "variance"))
    if mean is None or variance is None:
        raise KeyError(f"{block}/mean and {block}/variance")
    factor = (1.0 if gamma is None else gamma.astype(np.float64)) / np.sqrt(variance.astype(np.float64) + epsilon)
    shift = (bias.astype(np.float64) - mean) * factor + (0.0 if beta is None else beta.astype(np.float64))
    return _scaled(kernel, factor[:, None, None, None]), shift.astype(np.float32)


def _scaled(values: Floats, factor: NDArray[np.float64] | float) -> Floats:
    """In place: multiplied in float64, rounded to float32."""
    return np.multiply(values, factor, out=values, dtype=np.float64, casting="same_kind")


def _read(path: Path, sha256: str) -> bytes:
    """A weight file's bytes. Raises OSError and BundleFormatError."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BundleFormatError(f"the weight file {path.name} is not the one that its bundles are made for: {_REPAIR}")
    return data


def _tensor(name: str, array: Floats) -> list[Buffer]:
    """A TensorProto, in pieces."""
    dims = [_number(_DIMS, side) for side in array.shape]
    values = np.ascontiguousarray(array, "<f4").reshape(-1).view(np.uint8).data
    return [*dims, _number(_DATA_TYPE, _FLOAT), *_field(_NAME, [name.encode()]), *_field(_RAW_DATA, [values])]


def _field(number: int, value: list[Buffer]) -> list[Buffer]:
    """A field of protobuf's wire format whose value is bytes or a message; in pieces, so that nothing is copied."""
    return [_varint(number << 3 | 2) + _varint(sum(map(len, value))), *value]


def _number(number: int, value: int) -> bytes:
    """A field of protobuf's wire format whose value is a whole number from 0."""
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    groups = max(1, math.ceil(value.bit_length() / 7))
    return bytes((value >> 7 * place & 0x7F) | (0x80 if place + 1 < groups else 0) for place in range(groups))
