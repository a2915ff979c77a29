"""The bundle contract: a bundle is one self-contained ONNX file that computes layer losses and the image's gradient.

| name | kind | shape, type |
|---|---|---|
| `image` | input | [batch, 3, height, width] float32, RGB planes from -1 to 1 |
| `layer_weights` | input | [layers] float32, signed |
| `channel_weights` | input with a default | [batch or 1, channels of all layers] float32, signed |
| `position` | input with a default | [layers, 3] float32: y, x and radius, as parts of the picture |
| `losses` | output | [batch, layers] float32, unweighted |
| `gradient` | output | [batch, 3, height, width] float32, d(sum of layer_weights * losses) / d(image) |
| `channel_means` | output | [batch, channels of all layers] float32, each channel's mean objective |

For every network, black is -1 and white is 1; the graph itself turns that into the values that the network was trained
on. Zero padding takes place behind that step.

A layer's loss is the sum of channel_weights * channel_means over its channels. With the default weight, 1 / channels,
it is the layer's mean.

A channel's mean is weighted by a Gaussian window around the layer's `position`. y and x are parts of the picture's
height and width, from 0 to 1, and the radius, the window's standard deviation, is a part of its shorter side. The
weights are divided by their mean. A radius of 0 leaves the single neuron that is nearest to the position; the default
radius is so large that all weights are exactly 1. Layers with one value for the whole picture have no position.

The bundle's metadata is stored in one metadata entry of the file, `onnxdream`, as a JSON object.

A bundle may hold further forms of the graph. They compute the same from other operators, which run faster on certain
providers. Each form is a metadata entry of its own, `onnxdream.<form>`: a GraphProto, compressed with zlib, in base64.
An initializer without a type in it refers to the initializer with the same name in the file's own graph.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .arrays import Size
from .decoding import DecodeError, decoded
from .errors import OnnxdreamError

IMAGE = "image"
LAYER_WEIGHTS = "layer_weights"
LOSSES = "losses"
GRADIENT = "gradient"
CHANNEL_WEIGHTS = "channel_weights"
POSITION = "position"
CHANNEL_MEANS = "channel_means"
BATCH, HEIGHT, WIDTH = "batch", "height", "width"
# The first dimension of `channel_weights`: the batch, or 1 for the same weights for every picture.
WEIGHTS_BATCH = "weights_batch"

# The range of `image`.
INPUT_RANGE = (-1.0, 1.0)
# A position that gives every neuron of a layer the same weight: the centre, with a radius far beyond the picture.
EVERYWHERE = (0.5, 0.5, 1e6)

# The layer with a classifier's scores, before its softmax.
LOGITS = "logits"

# The name of the built-in weights as a source.
IMAGENET_8BIT = "imagenet-8bit"

METADATA_KEY = "onnxdream"
SCHEMA = (1, 0)
# The versions of all ONNX graphs that onnxdream writes, at export and at run time; onnxruntime 1.18 loads them.
OPSET, IR_VERSION = 17, 8

# The form for onnxruntime's own CPU provider on x86-64, which stores channels in blocks (NCHWc).
BLOCKED = "blocked"
# The form for OpenVINO, which stores channels last (NHWC).
CHANNELS_LAST = "channels_last"


def weights_title(source: str) -> str:
    """Returns the title of a source of weights that users see."""
    return {"imagenet": "ImageNet", IMAGENET_8BIT: "ImageNet (8-bit)"}.get(source, source)


def form_key(form: str) -> str:
    """Returns the key of the metadata entry that holds a form of the graph."""
    return f"{METADATA_KEY}.{form}"


def export_command(
    model: str,
    layers: Sequence[str],
    *,
    objective: str = "mean",
    border: int = 0,
    precision: str = "fp32",
    weights: str = "imagenet",
) -> str:
    """Returns the command that exports a bundle; options with their default values are left out.

    `weights` is the source of the weights, as in `Weights`. It is the model itself for a model of the user's own.
    """
    options = {
        "model": model,
        "layers": ",".join(layers),
        "weights": "" if weights in ("imagenet", IMAGENET_8BIT, model) else weights,
        "objective": "" if objective == "mean" else objective,
        "border": str(border or ""),
        "precision": "" if precision == "fp32" else precision,
    }
    words = (f"--{name} {shlex.quote(value)}" for name, value in options.items() if value)
    return " ".join(["onnxdream export", *words])


class BundleError(OnnxdreamError):
    """The base class of the errors that make a bundle unusable."""


class BundleNotFoundError(BundleError, FileNotFoundError):
    """There is no bundle with that path or name."""


class BundleFormatError(BundleError, ValueError):
    """The file is not a bundle: it is truncated, of another kind, or violates the contract."""


class BundleVersionError(BundleError, ValueError):
    """The bundle follows a different version of the contract than this onnxdream."""


@dataclass(frozen=True)
class Layer:
    """A layer whose loss the bundle computes.

    `stride` is the distance of its pixels, in pixels of the image, and 0 if there is one value for the whole picture.
    `is_global` is whether the layer lies behind an operation on the whole picture, such as its mean, so that its losses
    of tiles are not those of the picture.
    """

    name: str
    channels: int
    stride: int
    is_global: bool = False


@dataclass(frozen=True)
class Weights:
    """The origin of the weights: `source` is imagenet, imagenet-8bit (built in), random or the name of a file."""

    source: str
    sha256: str
    licence: str

    @property
    def title(self) -> str:
        """The title of the source that users see."""
        return weights_title(self.source)


@dataclass(frozen=True)
class Memory:
    """The memory that a bundle needs on a CPU: bytes once it is loaded, and bytes per pixel of the image."""

    fixed: float
    per_pixel: float


@dataclass(frozen=True)
class Check:
    """One comparison of the bundle with TensorFlow's GradientTape on the stock Keras model.

    `picture` describes the test image. `climbed` is the objective whose gradient was compared: a layer's name, "mixed
    signs" for all layers with weights of both signs, "channels" for all their channels with weights of both signs,
    "positions" for all layers around a position of each, or "all layers" for all layers with weight 1. `loss_error` is
    the largest |a - b| / |b| of the losses. `cosine` is the cosine similarity of the two gradients, `norm_ratio` the
    ratio of their L2 norms; after an ascent both compare the changes of the image instead.
    """

    picture: str
    climbed: str
    loss_error: float
    cosine: float
    norm_ratio: float


@dataclass(frozen=True)
class Metadata:
    """The metadata of a bundle.

    `smallest_size` is the minimum height and width of `image`, in pixels. `border` is the number of rows and columns at
    each edge of a layer that its loss ignores. `exporter` maps each package that made the bundle to its version.
    `class_names` are the names of the channels of the layer `logits`: synonyms, separated by commas.
    """

    backbone: str
    layers: tuple[Layer, ...]
    objective: str
    smallest_size: Size
    weights: Weights
    precision: str
    opset: int
    exporter: Mapping[str, str]
    verification: tuple[Check, ...]
    border: int
    memory: Memory
    class_names: tuple[str, ...] = ()

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of the layers, in the order of `losses` and `layer_weights`."""
        return tuple(layer.name for layer in self.layers)

    @property
    def export_command(self) -> str:
        """The command that exports such a bundle again."""
        return export_command(
            self.backbone,
            self.layer_names,
            objective=self.objective,
            border=self.border,
            precision=self.precision,
            weights=self.weights.source,
        )

    def to_json(self) -> str:
        """Returns the text of the metadata entry."""
        return json.dumps({"schema": "{}.{}".format(*SCHEMA), **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Metadata:
        """Reads the text of a metadata entry. Raises BundleFormatError and BundleVersionError."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise BundleFormatError("its metadata is not JSON: export the bundle again") from None
        if not isinstance(data, dict):
            raise BundleFormatError("its metadata is not a JSON object: export the bundle again")
        _require_schema(data.pop("schema", None))
        try:
            _require_printable(data)
            _require_one_input_range(data)
            metadata: Metadata = decoded(cls, data)
            _require_valid(metadata)
        except (DecodeError, RecursionError) as error:
            raise BundleFormatError(f"its metadata is damaged ({error}): export the bundle again") from None
        return metadata


# Texts are printed to terminals, where control characters could do harm.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def is_printable(text: str) -> bool:
    """Whether a text has no control characters."""
    return not _CONTROL.search(text)


def _require_printable(data: object) -> None:
    """Raises DecodeError if any text in JSON data contains control characters."""
    if isinstance(data, str) and not is_printable(data):
        raise DecodeError("a text contains control characters")
    for inner in (*data.keys(), *data.values()) if isinstance(data, dict) else data if isinstance(data, list) else ():
        _require_printable(inner)


def _require_valid(metadata: Metadata) -> None:
    """Raises DecodeError unless numbers are within their bounds, and the layers' names differ."""
    valid = {
        "layers": metadata.layers and len(set(metadata.layer_names)) == len(metadata.layers),
        "channels": all(layer.channels >= 1 for layer in metadata.layers)
        and sum(layer.channels for layer in metadata.layers) < 10**7,  # a dream holds numbers for each
        "stride": all(0 <= layer.stride < 2**31 for layer in metadata.layers),
        "smallest_size": all(1 <= side <= 4096 for side in metadata.smallest_size),
        "opset": 1 <= metadata.opset < 2**31,
        "class_names": len(metadata.class_names) in (0, *(n.channels for n in metadata.layers if n.name == LOGITS)),
        "border": 0 <= metadata.border < 1000,
        "memory": 0 <= metadata.memory.fixed < 1e12 and 1 <= metadata.memory.per_pixel < 1e9,
    }
    for name, is_valid in valid.items():
        if not is_valid:
            raise DecodeError(f"{name} is out of bounds")


def _require_schema(version: object) -> None:
    if version is None:
        raise BundleFormatError("its metadata lacks schema, the contract's version: export the bundle again")
    if not isinstance(version, str) or not re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}", version):
        raise BundleFormatError(f"its contract version {str(version)[:20]!r} is not a version: export the bundle again")
    major, minor = map(int, version.split("."))
    if (major, minor) != SCHEMA:
        raise BundleVersionError(
            f"it follows contract {version}, this onnxdream follows {SCHEMA[0]}.{SCHEMA[1]}: "
            f"{'update onnxdream' if (major, minor) > SCHEMA else 'export the bundle again'}"
        )


# The keys of the metadata from the time when each network had an input range of its own.
_FORMER_KEYS = {"input_range", "channel_order"}


def _require_one_input_range(data: dict[str, Any]) -> None:
    """Raises BundleVersionError for the metadata of a bundle whose network has an input range of its own."""
    if not _FORMER_KEYS & data.keys():
        return
    try:
        rest: Metadata = decoded(Metadata, {key: value for key, value in data.items() if key not in _FORMER_KEYS})
        _require_valid(rest)
        remedy = f"export it again with {rest.export_command}"
    except DecodeError:
        remedy = "export the bundle again"
    raise BundleVersionError(f"it was made by an earlier onnxdream: {remedy}")
