"""Built-in bundles: each is assembled from a graph without weights and a shared weight file when it is loaded.

A built-in bundle consists of two files in `models/builtin`. `NAME.graph` is the ONNX model without the kernels and
biases of its convolutions, compressed with zlib: first the model without its graph, then the graph, both serialized by
protobuf. `NAME.json` is the recipe: the weight file and its SHA-256, the offset at which the graph begins, a rule for
each convolution, and the SHA-256 of the assembled bundle.

Thus the weights are stored once for all bundles and stay the same when the graph changes. All arithmetic is elementwise
IEEE float32 and float64, so an assembled bundle has the same bytes on every platform.
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

# Field numbers of onnx.proto's ModelProto and GraphProto, of its TensorProto, and its type FLOAT.
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9
_FLOAT = 1


@dataclass(frozen=True)
class BuiltIn:
    """A bundle that comes with the package, and the backbone, layers and objective that it was exported with."""

    name: str
    backbone: str
    layers: tuple[str, ...]
    objective: str

    @property
    def path(self) -> Path:
        """The path of its recipe, which is accepted wherever the path of a bundle is."""
        return FOLDER / f"{self.name}.json"


_MIXED = tuple(f"mixed{number}" for number in range(6))
BUILT_IN: tuple[BuiltIn, ...] = (
    BuiltIn("v3-low", "v3", _MIXED[:3], "mean"),
    BuiltIn("v3-mid", "v3", _MIXED, "mean"),
    BuiltIn("v3-mid-l2", "v3", _MIXED, "l2"),
    BuiltIn("lite0", "lite0", tuple(f"block{number:02d}" for number in (3, 5, 6, 7, 8, 9, 10)), "l2"),
    BuiltIn("lite0-high", "lite0", ("block12", "block13"), "l2"),
)
# The bundle that is used if none is named and none was exported.
DEFAULT = BUILT_IN[0]


@dataclass(frozen=True)
class WeightRule:
    """How the kernel and the bias of a convolution are computed from a block of a weight file.

    The kernel is dequantised and transposed from HWIO to OIHW; a `depthwise` one has an I of 1. If there is an
    `epsilon`, the BatchNormalization behind the convolution is folded into kernel and bias. Both are multiplied by
    `scale`.
    """

    convolution: str
    block: str
    epsilon: float | None = None
    scale: float = 1.0
    depthwise: bool = False


@dataclass(frozen=True)
class Recipe:
    """How a built-in bundle is assembled; `graph_at` is the offset of the graph in the model, in bytes."""

    weights: str
    weights_sha256: str
    sha256: str
    graph_at: int
    rules: tuple[WeightRule, ...]

    def to_json(self) -> str:
        """Returns the text of the recipe, with one line for each rule."""
        facts = {key: value for key, value in asdict(self).items() if key != "rules"}
        lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items()]
        rules = ",\n".join(f"  {json.dumps(asdict(rule))}" for rule in self.rules)
        return "{\n" + ",\n".join([*lines, f' "rules": [\n{rules}\n ]']) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Reads the text of a recipe. Raises ValueError, KeyError and TypeError."""
        facts = json.loads(text)
        return cls(**{**facts, "rules": tuple(WeightRule(**rule) for rule in facts["rules"])})


def is_built_in(path: Path) -> bool:
    """Whether a path is the recipe of a built-in bundle."""
    return path.suffix == ".json" and path.parent == FOLDER


@dataclass(frozen=True, repr=False)
class Assembled:
    """An ONNX model, kept apart from its weights so that all forms of its graph can share them.

    All parts are serialized: `rest` is the model without its graph, `graph` the graph without the weights, and
    `weights` are the graph's initializer fields that hold the weights. `names` are the names of the weights.
    """

    rest: bytes
    graph: bytes
    weights: tuple[Buffer, ...]
    names: frozenset[str]

    def __repr__(self) -> str:
        return f"<Assembled: a graph of {len(self.graph)} bytes, {len(self.names)} weights>"

    @property
    def without_weights(self) -> bytes:
        """The model without its weights."""
        return b"".join([self.rest, *_bytes_field(_GRAPH, [self.graph])])

    @property
    def pieces(self) -> list[Buffer]:
        """The bytes of the complete model as a list of buffers, so that the weights are not copied."""
        return [self.rest, *_bytes_field(_GRAPH, [self.graph, *self.weights])]

    @property
    def whole(self) -> bytes:
        """The bytes of the complete model."""
        return b"".join(self.pieces)

    def with_graph(self, rest: bytes, graph: bytes) -> bytes:
        """Returns the bytes of a model with the same weights and another form of the graph."""
        return replace(self, rest=rest, graph=graph).whole


def load_built_in(path: Path) -> Assembled:
    """Loads the built-in bundle with the recipe `path`. Raises BundleFormatError."""
    try:
        recipe = Recipe.from_json(path.read_text(encoding="utf-8"))
        model = zlib.decompress(path.with_suffix(".graph").read_bytes())
        weights = WeightFile(_read_weights(path.with_name(recipe.weights), recipe.weights_sha256))
        return assemble(model, recipe.graph_at, recipe.rules, weights)
    except BundleFormatError:
        raise
    except (OSError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise BundleFormatError(f"the built-in bundle {path.stem} is damaged ({error}): {_REPAIR}") from error


def assemble(model: bytes, graph_at: int, rules: Iterable[WeightRule], weights: WeightFile) -> Assembled:
    """Adds the weights that the rules compute to a serialized ONNX model, whose graph begins at byte `graph_at`.

    Raises KeyError if the weight file lacks an array.
    """
    fields: list[Buffer] = []
    names = []
    for rule in rules:
        for part, array in zip(("kernel", "bias"), folded_weights(weights, rule), strict=True):
            names.append(f"{rule.convolution}/{part}")
            fields += _bytes_field(_INITIALIZER, _tensor_proto(names[-1], array))
    return Assembled(model[:graph_at], model[graph_at:], tuple(fields), frozenset(names))


class WeightFile:
    """A network's weights, read from the bytes of an .npz file with a block of arrays for each convolution.

    | key | type | shape | meaning |
    |---|---|---|---|
    | `BLOCK/kernel` | uint8, float16 or float32 | height, width, in, out | the convolution's kernel; in, out if dense |
    | `BLOCK/kernel_scale`, `BLOCK/kernel_least` | float32 | – | for a uint8 kernel: value = kernel · scale + least |
    | `BLOCK/bias` | float32 | out | the convolution's bias; optional |
    | `BLOCK/gamma`, `beta`, `mean`, `variance` | float32 | out | the BatchNormalization behind it; gamma is optional |
    """

    def __init__(self, data: bytes) -> None:
        self._arrays = np.load(io.BytesIO(data), allow_pickle=False)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of the blocks, in the order of the file."""
        return tuple(name.removesuffix("/kernel") for name in self._arrays.files if name.endswith("/kernel"))

    def kernel(self, block: str) -> Floats:
        """Returns the kernel of a block, float32 HWIO. Raises KeyError."""
        kernel: Floats = self._arrays[f"{block}/kernel"]
        return self._dequantised(block, kernel) if kernel.dtype == np.uint8 else kernel.astype(np.float32)

    def kernel_oihw(self, block: str, depthwise: bool = False) -> Floats:
        """Returns the kernel of a block, float32 OIHW and contiguous. Raises KeyError.

        A depthwise kernel is stored as height, width, channels, outputs of a channel; a dense one, IO, is that of a 1x1
        convolution.
        """
        stored = self._arrays[f"{block}/kernel"]
        if stored.ndim == 2:
            stored = stored[None, None]
        elif depthwise:
            stored = stored.reshape(*stored.shape[:2], 1, -1)
        kernel = np.ascontiguousarray(stored.transpose(3, 2, 0, 1))
        return self._dequantised(block, kernel) if kernel.dtype == np.uint8 else kernel.astype(np.float32)

    def vector(self, block: str, part: str) -> Floats | None:
        """Returns a vector of a block, such as `beta`, as float32 [O], or None if the block lacks it."""
        name = f"{block}/{part}"
        return self._arrays[name].astype(np.float32) if name in self._arrays else None

    def _dequantised(self, block: str, kernel: NDArray[Any]) -> Floats:
        """Dequantises a uint8 kernel of any layout.

        Separate multiplication and addition in float32 round the same on every platform; a fused one would not.
        """
        values = kernel.astype(np.float32)
        values *= self._arrays[f"{block}/kernel_scale"]
        values += self._arrays[f"{block}/kernel_least"]
        return values


def folded_weights(weights: WeightFile, rule: WeightRule) -> tuple[Floats, Floats]:
    """Computes the kernel, float32 OIHW, and the bias, float32 [O], that a rule describes. Raises KeyError."""
    kernel = weights.kernel_oihw(rule.block, rule.depthwise)
    bias = weights.vector(rule.block, "bias")
    if bias is None:
        bias = np.zeros(len(kernel), np.float32)
    if rule.epsilon is not None:
        kernel, bias = _fold_batch_norm(weights, rule.block, rule.epsilon, kernel, bias)
    if rule.scale != 1:
        kernel, bias = _scaled(kernel, rule.scale), _scaled(bias, rule.scale)
    return kernel, bias


def _fold_batch_norm(
    weights: WeightFile, block: str, epsilon: float, kernel: Floats, bias: Floats
) -> tuple[Floats, Floats]:
    """Folds a BatchNormalization into the convolution before it (Jacob et al. 2018, eq. 14), in float64.

    Overwrites `kernel`, float32 OIHW, and returns it with the new bias, float32 [O]. Raises KeyError.
    """
    gamma, beta, mean, variance = (weights.vector(block, part) for part in ("gamma", "beta", "mean", "variance"))
    if mean is None or variance is None:
        raise KeyError(f"{block}/mean and {block}/variance")
    factor = (1.0 if gamma is None else gamma.astype(np.float64)) / np.sqrt(variance.astype(np.float64) + epsilon)
    shift = (bias.astype(np.float64) - mean) * factor + (0.0 if beta is None else beta.astype(np.float64))
    return _scaled(kernel, factor[:, None, None, None]), shift.astype(np.float32)


def _scaled(values: Floats, factor: NDArray[np.float64] | float) -> Floats:
    """Multiplies float32 values by a factor in place; computes in float64 and rounds to float32."""
    return np.multiply(values, factor, out=values, dtype=np.float64, casting="same_kind")


def _read_weights(path: Path, sha256: str) -> bytes:
    """Reads a weight file and checks its hash. Raises OSError and BundleFormatError."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BundleFormatError(f"the weight file {path.name} does not match its SHA-256: {_REPAIR}")
    return data


def _tensor_proto(name: str, array: Floats) -> list[Buffer]:
    """Serializes a float32 array of any shape as a TensorProto."""
    dims = [_int_field(_DIMS, side) for side in array.shape]
    values = np.ascontiguousarray(array, "<f4").reshape(-1).view(np.uint8).data
    return [
        *dims,
        _int_field(_DATA_TYPE, _FLOAT),
        *_bytes_field(_NAME, [name.encode()]),
        *_bytes_field(_RAW_DATA, [values]),
    ]


def _bytes_field(number: int, value: list[Buffer]) -> list[Buffer]:
    """Serializes a protobuf field that holds bytes or a message, as a list of buffers so that nothing is copied."""
    return [_varint(number << 3 | 2) + _varint(sum(map(len, value))), *value]


def _int_field(number: int, value: int) -> bytes:
    """Serializes a protobuf field that holds a non-negative integer."""
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Serializes a non-negative integer in protobuf's variable length: 7 bits a byte, the lowest first."""
    size = max(1, math.ceil(value.bit_length() / 7))
    return bytes((value >> 7 * index & 0x7F) | (0x80 if index + 1 < size else 0) for index in range(size))
