"""Features to draw: channels of layers, as a user names them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...models.arrays import Floats
from ...models.contract import LOGITS, Layer, Metadata
from ..bundle.channel_weights import channel_starts
from ..bundle.classes import class_channels
from ..bundle.objective import Objective
from ..errors import SettingsError

_OF_CLASSES = f"{LOGITS}:"  # how a text with classes begins
_ADVICE = "write a layer, channels of it or classes, as in mixed4, mixed4:40,41 or logits:castle"


@dataclass(frozen=True)
class Feature:
    """A channel of a layer; `label` is the name of its class, or empty."""

    layer: str
    channel: int
    label: str = ""

    def __str__(self) -> str:
        return f"{self.layer}:{self.channel}{f' ({self.label})' if self.label else ''}"

    @property
    def file_stem(self) -> str:
        """The name of its picture, without a suffix, as in `mixed4-40`."""
        words = re.sub(r"\W+", "-", self.label).strip("-")
        layer = re.sub(r"[^\w.-]", "_", self.layer)  # which may have a slash or a colon
        return f"{layer}-{self.channel}{f'-{words}' if words else ''}"

    @property
    def noise(self) -> int:
        """The number of the noise that its picture starts from."""
        return self.channel

    def objective(self, metadata: Metadata) -> Objective:
        """Returns what its picture maximises: the channel's mean."""
        return weighed(metadata, {self: 1.0})


def parse_features(metadata: Metadata, texts: list[str]) -> list[Feature]:
    """Returns the features that texts such as `mixed4`, `mixed4:40,41` or `logits:castle` name, each once.

    Raises SettingsError for layers, channels and classes that the bundle does not have.
    """
    return list(dict.fromkeys(feature for text in texts for feature in _parsed(metadata, text)))


def layer_of(text: str) -> str:
    """Returns the layer that a text names, as far as this can be told without a bundle.

    A layer's name may have colons of its own; what follows the last one is a channel's number.
    """
    return LOGITS if text.startswith(_OF_CLASSES) else text.rpartition(":")[0] or text


def named_feature(metadata: Metadata, layer: str, channel: int) -> Feature:
    """Returns the feature of a channel, with the name of its class if it is one."""
    names = metadata.class_names if layer == LOGITS else ()
    return Feature(layer, channel, names[channel].split(",")[0].strip() if names else "")


def _parsed(metadata: Metadata, text: str) -> Iterator[Feature]:
    name, colon, rest = text.rpartition(":")
    if text.startswith(_OF_CLASSES):
        for number, _ in class_channels(metadata, text[len(_OF_CLASSES) :])[LOGITS]:
            yield named_feature(metadata, LOGITS, number)
        return
    if not colon or text in metadata.layer_names:
        layer = find_layer(metadata, text)
        yield from (named_feature(metadata, text, channel) for channel in range(layer.channels))
        return
    layer = find_layer(metadata, name)
    for part in rest.split(","):
        if not re.fullmatch(r"\s*\d{1,6}\s*", part):
            raise SettingsError(f"{text!r} is not understood: {_ADVICE}")
        if int(part) >= layer.channels:
            raise SettingsError(f"channel {int(part)} is not in {name}: it has channels 0 to {layer.channels - 1}")
        yield named_feature(metadata, name, int(part))


def find_layer(metadata: Metadata, name: str) -> Layer:
    """Returns a layer of a bundle by its name. Raises SettingsError."""
    found = next((layer for layer in metadata.layers if layer.name == name), None)
    if found is None and name == LOGITS:
        class_channels(metadata, "0")  # which says how to get them
    if found is None:
        raise SettingsError(f"layer {name!r} is not in the bundle: it has {', '.join(metadata.layer_names)}")
    return found


def layer_weights(metadata: Metadata, features: list[Feature]) -> Floats:
    """Returns the weight 1 for the layers of features and 0 for all others, float32 [layers]."""
    named = {feature.layer for feature in features}
    return np.array([name in named for name in metadata.layer_names], np.float32)


def channel_numbers(metadata: Metadata, features: list[Feature]) -> list[int]:
    """Returns the number of each feature's channel among the channels of all layers."""
    starts = channel_starts(metadata.layers)
    return [starts[feature.layer] + feature.channel for feature in features]


def channels_of(metadata: Metadata, layer: str) -> slice:
    """Returns the place of a layer's channels among those of all layers."""
    start = channel_starts(metadata.layers)[layer]
    return slice(start, start + find_layer(metadata, layer).channels)


def weighed(metadata: Metadata, weights: dict[Feature, float], positions: Floats | None = None) -> Objective:
    """Returns the objective that is the weighted sum of channels' means; `positions` are float32 [layers, 3]."""
    features = list(weights)
    channel_weights = np.zeros(sum(layer.channels for layer in metadata.layers), np.float32)
    channel_weights[channel_numbers(metadata, features)] = list(weights.values())
    return Objective(layer_weights(metadata, features), channel_weights, positions)
