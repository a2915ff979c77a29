"""The table of backbones: everything that export, runtime and study need to know about each network.

A backbone is the convolutional part of a trained network, without the classifier at its top.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .errors import OnnxdreamError


class UnknownBackboneError(OnnxdreamError, ValueError):
    """No backbone in the table has that name."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, [n for b in BACKBONES for n in b.names], n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        known = "; ".join(" or ".join(b.names) for b in BACKBONES)
        super().__init__(f"unknown model {name!r}{hint}: choose {known}")


@dataclass(frozen=True)
class Backbone:
    """A network to dream with.

    `builder` is the "module:function" of a Keras application that takes include_top, weights and input_shape; only
    export imports it. `input_range` is the range of pixel values that the network was trained on. `layer_sets` maps the
    name of each set to its layers. `built_in_weights` is a file in `models/builtin`, or None; it holds the weights of
    the layers up to `built_in_end`.
    """

    name: str
    aliases: tuple[str, ...]
    title: str
    builder: str
    input_range: tuple[float, float]
    layer_sets: Mapping[str, tuple[str, ...]]
    default_set: str
    imagenet_url: str
    imagenet_licence: str
    built_in_weights: str | None = None
    built_in_end: str = ""
    built_in_licence: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The backbone's name, followed by its aliases."""
        return (self.name, *self.aliases)

    @property
    def imagenet_file(self) -> str:
        """The file name of Keras's ImageNet weights in Keras's cache."""
        return self.imagenet_url.rsplit("/", 1)[1]

    def set_of(self, layers: tuple[str, ...]) -> str | None:
        """Returns the name of the layer set with exactly these layers in this order, or None."""
        return next((name for name, members in self.layer_sets.items() if members == layers), None)


_KERAS_WEIGHTS = "https://storage.googleapis.com/tensorflow/keras-applications"

BACKBONES: tuple[Backbone, ...] = (
    Backbone(
        name="v3",
        aliases=("inception-v3",),
        title="Inception-v3",
        builder="keras.applications:InceptionV3",
        input_range=(-1.0, 1.0),
        layer_sets=MappingProxyType(
            {
                "paper-low": ("mixed0", "mixed1", "mixed2"),
                "paper-high": ("mixed6", "mixed7", "mixed8"),
                "paper-high-text": ("mixed8", "mixed9", "mixed10"),
            }
        ),
        default_set="paper-low",
        imagenet_url=f"{_KERAS_WEIGHTS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        imagenet_licence="Apache-2.0 (Keras Applications), trained on ImageNet",
        built_in_weights="v3-imagenet-mixed5.npz",
        built_in_end="mixed5",
        built_in_licence=(
            "Apache-2.0 (Google; Keras Applications), trained on ImageNet; "
            "in 8 bits from nsfwjs 4.3.0, MIT (© 2019 Infinite Red, Inc.)"
        ),
    ),
    Backbone(
        name="inception-resnet-v2",
        aliases=("irv2",),
        title="Inception-ResNet-v2",
        builder="keras.applications:InceptionResNetV2",
        input_range=(-1.0, 1.0),
        layer_sets=MappingProxyType(
            {
                "paper-low": ("block35_2_mixed", "block35_4_mixed"),
                "paper-high": ("block35_5_mixed", "block35_6_mixed", "block35_8_mixed", "block35_9_mixed"),
            }
        ),
        default_set="paper-low",
        imagenet_url=(
            f"{_KERAS_WEIGHTS}/inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5"
        ),
        imagenet_licence="Apache-2.0 (Keras Applications), trained on ImageNet",
    ),
)


def find_backbone(name: str) -> Backbone:
    """Returns the backbone with that name or alias, ignoring case. Raises UnknownBackboneError."""
    for backbone in BACKBONES:
        if name.lower() in backbone.names:
            return backbone
    raise UnknownBackboneError(name)
