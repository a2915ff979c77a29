"""The bundle contract: one self-contained ONNX file whose outputs are layer losses and the picture's gradient.

| name | kind | shape, type |
|---|---|---|
| `image` | input | [batch, 3, height, width] float32, RGB planes in the backbone's range |
| `layer_weights` | input | [layers] float32, signed |
| `losses` | output | [batch, layers] float32, unweighted |
| `gradient` | output | [batch, 3, height, width] float32, d(sum of layer_weights * losses) / d(image) |

Since 1.1 there are two more, which a caller may leave alone:

| name | kind | shape, type |
|---|---|---|
| `channel_weights` | input with a default | [channels of all layers] float32 |
| `channel_means` | output | [batch, channels of all layers] float32, each channel's mean objective |

A layer's loss is the sum of channel_weights * channel_means over its channels; the default weight, 1 / channels, makes
it the layer's mean.

The facts of a bundle travel in it as one metadata entry, `onnxdream`, a JSON object.

Since 1.2 the graph may come in further forms that compute the same, for a provider that another choice of operators
suits better: each is a metadata entry of its own, `onnxdream.<form>`, a GraphProto compressed by zlib, in base64. An
initializer in it without a type is the one of that name in the file's own graph.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from .errors import OnnxdreamError

IMAGE = "image"
LAYER_WEIGHTS = "layer_weights"
LOSSES = "losses"
GRADIENT = "gradient"
CHANNEL_WEIGHTS = "channel_weights"
CHANNEL_MEANS = "channel_means"
BATCH, HEIGHT, WIDTH = "batch", "height", "width"

# The source of the built-in weights.
IMAGENET_8BIT = "imagenet-8bit"

METADATA_KEY = "onnxdream"
SCHEMA = (1, 2)
# What all our ONNX graphs are written in, those that the runtime makes itself too: onnxruntime 1.18 loads it.
OPSET, IR_VERSION = 17, 8

# The form for onnxruntime's own CPU provider on x86-64.
BLOCKED = "blocked"
# The form for OpenVINO.
CHANNELS_LAST = "channels_last"

Value = TypeVar("Value")


def weights_title(source: str) -> str:
    """A source of weights as a user reads it."""
    return {"imagenet": "ImageNet", IMAGENET_8BIT: "ImageNet (8-bit)"}.get(source, source)


def form_key(form: str) -> str:
    """The metadata entry that holds a form of the graph."""
    return f"{METADATA_KEY}.{form}"


class BundleError(OnnxdreamError):
    """Base of everything that makes a bundle unusable."""


class BundleNotFoundError(BundleError, FileNotFoundError):
    """No bundle lies at that path or goes by that name."""


class BundleFormatError(BundleError, ValueError):
    """The file is no bundle: truncated, foreign, or against the contract."""


class BundleVersionError(BundleError, ValueError):
    """The bundle follows a contract that this version does not know."""


@dataclass(frozen=True)
class Layer:
    """A layer whose loss the bundle gives; `stride` is in pixels of the picture."""

    name: str
    channels: int
    stride: int


@dataclass(frozen=True)
class Weights:
    """Where the weights came from: `source` is imagenet, imagenet-8bit (built in), random or a file's name."""

    source: str
    sha256: str
    licence: str

    @property
    def title(self) -> str:
        """The source as a user reads it."""
        return weights_title(self.source)


@dataclass(frozen=True)
class Memory:
    """What a bundle takes on a CPU, in bytes: for being loaded, and for each pixel of the picture it is given."""

    fixed: float
    per_pixel: float


@dataclass(frozen=True)
class Check:
    """One comparison of the bundle with TensorFlow's GradientTape on the stock Keras model.

    `climbed` is a layer's name, "mixed signs" for all layers with weights of both signs, or "channels" for all their
    channels with weights of both signs. `loss_error` is
    |a - b| / |b|, `cosine` and `norm_ratio` compare the gradients.
    """

    picture: str
    climbed: str
    loss_error: float
    cosine: float
    norm_ratio: float


@dataclass(frozen=True)
class Metadata:
    """The facts of a bundle.

    `input_range` is the range of `image`; `smallest_size` the least height and width, in pixels; `border` the rows and
    columns at a layer's edge that its loss leaves out.
    """

    backbone: str
    layers: tuple[Layer, ...]
    objective: str
    input_range: tuple[float, float]
    channel_order: str
    smallest_size: tuple[int, int]
    weights: Weights
    precision: str
    opset: int
    exporter: Mapping[str, str]
    verification: tuple[Check, ...]
    border: int = 0
    memory: Memory | None = None

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers in the order of `losses` and `layer_weights`."""
        return tuple(layer.name for layer in self.layers)

    def to_json(self) -> str:
        """The metadata entry's text."""
        facts = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps({"schema": "{}.{}".format(*SCHEMA), **facts})

    @classmethod
    def from_json(cls, text: str) -> Metadata:
        """Reads a metadata entry. Raises BundleFormatError and BundleVersionError."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise BundleFormatError("its metadata is no JSON: export the bundle again") from None
        entry = _Entry(data)
        _require_schema(entry.take("schema", str))
        weights = _Entry(entry.take("weights", dict), "weights.")
        return cls(
            backbone=entry.take("backbone", str),
            layers=_layers(entry),
            objective=entry.take("objective", str),
            input_range=_range(entry),
            channel_order=_rgb(entry),
            smallest_size=_smallest_size(entry),
            weights=Weights(*(weights.take(key, str) for key in ("source", "sha256", "licence"))),
            precision=entry.take("precision", str),
            opset=entry.take("opset", int),
            exporter=_exporter(entry),
            verification=tuple(_check(item) for item in entry.items("verification", dict)),
            border=_border(entry),
            memory=_memory(entry),
        )


class _Entry:
    """A JSON object whose values are taken by key and type; what is amiss is a BundleFormatError."""

    def __init__(self, data: object, prefix: str = "") -> None:
        if not isinstance(data, dict):
            raise BundleFormatError("its metadata is no JSON object: export the bundle again")
        self.data: dict[str, Any] = data
        self.prefix = prefix

    def take(self, key: str, kind: type[Value]) -> Value:
        """The value of a key; a whole number serves as a float, a boolean never as a number.

        Whole numbers are from 1 to 2^31 - 1, floats are finite, and text, which ends up in terminals, holds no
        control characters.
        """
        if key not in self.data:
            raise BundleFormatError(f"its metadata lacks {self.prefix}{key}: export the bundle again")
        value = self.data[key]
        if kind is float and type(value) is int and abs(value) < 2**31:
            value = float(value)
        if type(value) is not kind or not _sound(value):
            raise BundleFormatError(f"its metadata's {self.prefix}{key} is no {_KINDS[kind]}: export the bundle again")
        return value

    def items(self, key: str, kind: type[Value]) -> tuple[Value, ...]:
        """The values of a list whose items all have one type."""
        values = self.take(key, list)
        return tuple(_Entry({key: value}, self.prefix).take(key, kind) for value in values)


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_KINDS: dict[type, str] = {
    str: "plain text",
    int: "positive whole number",
    float: "number",
    list: "list",
    dict: "object",
}


def _sound(value: object) -> bool:
    if isinstance(value, str):
        return not _CONTROL.search(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or 1 <= value < 2**31


def _require_schema(version: str) -> None:
    if not re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}", version):
        raise BundleFormatError(f"its contract version {version[:20]!r} is no version: export the bundle again")
    major = int(version.split(".")[0])
    if major != SCHEMA[0]:
        raise BundleVersionError(
            f"it follows contract {version}, this onnxdream knows {SCHEMA[0]}.x: "
            f"{'update onnxdream' if major > SCHEMA[0] else 'export the bundle again'}"
        )


def _layers(entry: _Entry) -> tuple[Layer, ...]:
    layers = tuple(_layer(item) for item in entry.items("layers", dict))
    if not layers or len({layer.name for layer in layers}) < len(layers):
        raise BundleFormatError("its metadata names no layer, or one twice: export the bundle again")
    return layers


def _layer(data: dict[str, Any]) -> Layer:
    entry = _Entry(data, "layers.")
    return Layer(entry.take("name", str), entry.take("channels", int), entry.take("stride", int))


def _check(data: dict[str, Any]) -> Check:
    entry = _Entry(data, "verification.")
    numbers = [entry.take(key, float) for key in ("loss_error", "cosine", "norm_ratio")]
    return Check(entry.take("picture", str), entry.take("climbed", str), *numbers)


def _border(entry: _Entry) -> int:
    if "border" not in entry.data:  # of contract 1.0
        return 0
    border = entry.data["border"]
    if type(border) is not int or not 0 <= border < 1000:
        raise BundleFormatError("its metadata's border is no whole number from 0: export the bundle again")
    return border


def _memory(entry: _Entry) -> Memory | None:
    if "memory" not in entry.data:  # of contract 1.0, or exported where it could not be measured
        return None
    memory = _Entry(entry.take("memory", dict), "memory.")
    found = Memory(memory.take("fixed", float), memory.take("per_pixel", float))
    if not (0 <= found.fixed < 1e12 and 1 <= found.per_pixel < 1e9):
        raise BundleFormatError("its metadata's memory is absurd: export the bundle again")
    return found


def _exporter(entry: _Entry) -> dict[str, str]:
    versions = entry.take("exporter", dict)
    if not all(isinstance(value, str) and _sound(key) and _sound(value) for key, value in versions.items()):
        raise BundleFormatError("its metadata's exporter lists no versions: export the bundle again")
    return versions


def _range(entry: _Entry) -> tuple[float, float]:
    limits = entry.items("input_range", float)
    if len(limits) != 2 or not -1e6 < limits[0] < limits[1] < 1e6:
        raise BundleFormatError("its metadata's input_range is no range: export the bundle again")
    return limits[0], limits[1]


def _rgb(entry: _Entry) -> str:
    order = entry.take("channel_order", str)
    if order != "RGB":
        raise BundleFormatError(f"its channel order is {order[:20]!r}, only RGB is known: update onnxdream")
    return order


def _smallest_size(entry: _Entry) -> tuple[int, int]:
    size = entry.items("smallest_size", int)
    if len(size) != 2 or not all(1 <= side <= 4096 for side in size):
        raise BundleFormatError("its metadata's smallest_size is no size: export the bundle again")
    return size[0], size[1]
