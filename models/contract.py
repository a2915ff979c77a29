"""The bundle contract: one self-contained ONNX file whose outputs are layer losses and the picture's gradient.

| name | kind | shape, type |
|---|---|---|
| `image` | input | [batch, 3, height, width] float32, RGB planes in the backbone's range |
| `layer_weights` | input | [layers] float32, signed |
| `channel_weights` | input with a default | [channels of all layers] float32, signed |
| `losses` | output | [batch, layers] float32, unweighted |
| `gradient` | output | [batch, 3, height, width] float32, d(sum of layer_weights * losses) / d(image) |
| `channel_means` | output | [batch, channels of all layers] float32, each channel's mean objective |

A layer's loss is the sum of channel_weights * channel_means over its channels; the default weight, 1 / channels, makes
it the layer's mean.

The facts of a bundle travel in it as one metadata entry, `onnxdream`, a JSON object.

The graph may come in further forms that compute the same, for a provider that another choice of operators suits
better: each is a metadata entry of its own, `onnxdream.<form>`, a GraphProto compressed by zlib, in base64. An
initializer in it without a type is the one of that name in the file's own graph.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from .arrays import Size
from .decoding import DecodeError, decoded
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
SCHEMA = (1, 0)
# What all our ONNX graphs are written in, those that the runtime makes itself too: onnxruntime 1.18 loads it.
OPSET, IR_VERSION = 17, 8

# The form for onnxruntime's own CPU provider on x86-64.
BLOCKED = "blocked"
# The form for OpenVINO.
CHANNELS_LAST = "channels_last"


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
    """The bundle follows another version of the contract than this onnxdream."""


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
    smallest_size: Size
    weights: Weights
    precision: str
    opset: int
    exporter: Mapping[str, str]
    verification: tuple[Check, ...]
    border: int
    memory: Memory

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers in the order of `losses` and `layer_weights`."""
        return tuple(layer.name for layer in self.layers)

    def to_json(self) -> str:
        """The metadata entry's text."""
        return json.dumps({"schema": "{}.{}".format(*SCHEMA), **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Metadata:
        """Reads a metadata entry. Raises BundleFormatError and BundleVersionError."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise BundleFormatError("its metadata is not JSON: export the bundle again") from None
        if not isinstance(data, dict):
            raise BundleFormatError("its metadata is not a JSON object: export the bundle again")
        _require_schema(data.pop("schema", None))
        try:
            _require_plain(data)
            metadata: Metadata = decoded(cls, data)
            _require_sound(metadata)
        except (DecodeError, RecursionError) as error:
            raise BundleFormatError(f"its metadata is damaged ({error}): export the bundle again") from None
        return metadata


# Texts end up in terminals.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _require_plain(data: object) -> None:
    """Raises DecodeError for control characters in any text of JSON data."""
    if isinstance(data, str) and _CONTROL.search(data):
        raise DecodeError("a text in it has control characters")
    for inner in (*data.keys(), *data.values()) if isinstance(data, dict) else data if isinstance(data, list) else ():
        _require_plain(inner)


def _require_sound(facts: Metadata) -> None:
    """Raises DecodeError for numbers out of their bounds, and for layers that have no name of their own."""
    low, high = facts.input_range
    sound = {
        "layers": facts.layers and len(set(facts.layer_names)) == len(facts.layers),
        "channels": all(1 <= layer.channels < 2**31 for layer in facts.layers),
        "stride": all(1 <= layer.stride < 2**31 for layer in facts.layers),
        "input_range": -1e6 < low < high < 1e6,
        "smallest_size": all(1 <= side <= 4096 for side in facts.smallest_size),
        "opset": 1 <= facts.opset < 2**31,
        "border": 0 <= facts.border < 1000,
        "memory": 0 <= facts.memory.fixed < 1e12 and 1 <= facts.memory.per_pixel < 1e9,
    }
    for name, is_sound in sound.items():
        if not is_sound:
            raise DecodeError(f"{name} is out of bounds")
    if facts.channel_order != "RGB":
        raise BundleFormatError(
            f"its channel order is {facts.channel_order[:20]!r}, only RGB is known: update onnxdream"
        )


def _require_schema(version: object) -> None:
    if version is None:
        raise BundleFormatError("its metadata lacks schema: export the bundle again")
    if not isinstance(version, str) or not re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}", version):
        raise BundleFormatError(f"its contract version {str(version)[:20]!r} is not a version: export the bundle again")
    major, minor = map(int, version.split("."))
    if (major, minor) != SCHEMA:
        raise BundleVersionError(
            f"it follows contract {version}, this onnxdream follows {SCHEMA[0]}.{SCHEMA[1]}: "
            f"{'update onnxdream' if (major, minor) > SCHEMA else 'export the bundle again'}"
        )
