"""The weights of channels in a layer's loss: single channels, those picked by their activation, or a guide's.

In this module, channel weights and channel means are float32 [channels]: all layers' channels, one layer after another
in the bundle's order.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...models.arrays import Floats
from ...models.contract import Layer
from ..errors import SettingsError

# layer -> (channel, sign) of each chosen channel
Channels = Mapping[str, tuple[tuple[int, float], ...]]


@dataclass(frozen=True)
class Pick:
    """The choice of the `count` channels of each layer that a picture activates most or least.

    `which` is `strongest` or `weakest`.
    """

    which: str
    count: int


def parse_channels(texts: Sequence[str]) -> Channels:
    """Parses texts such as `mixed2:12,-40` (raise channel 12, lower channel 40), one for each layer.

    Raises SettingsError.
    """
    channels: dict[str, tuple[tuple[int, float], ...]] = {}
    for text in texts:
        layer, _, numbers = text.rpartition(":")  # a name may have colons of its own
        parts = [part.strip() for part in numbers.split(",")]
        if not layer or layer in channels or not all(re.fullmatch(r"[+-]?\d{1,6}", part) for part in parts):
            raise SettingsError(f"channels {text!r}: write each layer once, as in mixed2:12,-40")
        # The sign is taken from the text, so that -0 lowers channel 0.
        channels[layer] = tuple((int(part.lstrip("+-")), -1.0 if part[0] == "-" else 1.0) for part in parts)
        if len({channel for channel, _ in channels[layer]}) < len(parts):
            raise SettingsError(f"channels {text!r}: write each channel once, as in mixed2:12,-40")
    return channels


def parse_pick(text: str) -> Pick:
    """Parses `strongest:5` or `weakest:1`; the count defaults to 1. Raises SettingsError."""
    which, _, count = text.partition(":")
    if which not in ("strongest", "weakest") or not re.fullmatch(r"[1-9]\d{0,5}", count or "1"):
        raise SettingsError(f"pick {text!r}: write strongest:5 or weakest:5")
    return Pick(which, int(count or 1))


def plain_weights(layers: tuple[Layer, ...]) -> Floats:
    """Returns weights [channels] that make every layer's loss the mean over its channels: a bundle's default."""
    return np.concatenate([np.full(layer.channels, 1 / layer.channels, np.float32) for layer in layers])


def chosen_channels(layers: tuple[Layer, ...], channels: Channels) -> Floats:
    """Returns weights [channels] that make a layer's loss the signed mean over its chosen channels.

    Layers without chosen channels keep the mean over all their channels. Raises SettingsError for a layer or a channel
    that the bundle does not have.
    """
    weights = dict(zip([layer.name for layer in layers], split_channels(plain_weights(layers), layers), strict=True))
    for name, members in channels.items():
        if name not in weights:
            raise SettingsError(f"layer {name!r} of --channels is not in the bundle: it has {', '.join(weights)}")
        count = len(weights[name])
        weights[name] = np.zeros(count, np.float32)
        for channel, sign in members:
            if channel >= count:
                raise SettingsError(f"channel {channel} is not in {name}: it has channels 0 to {count - 1}")
            weights[name][channel] = sign / len(members)
    return np.concatenate(list(weights.values()))


def picked_channels(layers: tuple[Layer, ...], layer_weights: Floats, means: Floats, pick: Pick) -> Floats:
    """Returns weights [channels] for the channels that a picture activates most or least.

    `means` [channels] are the picture's channel means, and `layer_weights` [layers] those of the run. A channel that
    the picture does not activate at all has no gradient and is never picked. Raises SettingsError where that is the
    case for every channel of the layers with a weight.
    """
    parts = []
    for layer, activations in zip(layers, split_channels(means, layers), strict=True):
        order = np.argsort(activations, kind="stable")
        active = order[activations[order] > 0]
        members = active[: -pick.count - 1 : -1] if pick.which == "strongest" else active[: pick.count]
        part = np.zeros(layer.channels, np.float32)
        part[members] = 1 / max(1, len(members))
        parts.append(part)
    if not has_weight(parts, layer_weights):
        raise SettingsError(
            "the picture activates no channel of these layers: choose other layers, or leave out --pick"
        )
    return np.concatenate(parts)


def guided_channels(layers: tuple[Layer, ...], layer_weights: Floats, guide_means: Floats, means: Floats) -> Floats:
    """Returns weights [channels] for the channels that a guide activates more than the picture does.

    Each layer's weights are proportional to the surplus of the guide's channel means [channels] over the picture's, and
    sum to 1 (after crowsonkb's deep_dream, which takes the guide's sums alone). Raises SettingsError where there is no
    surplus in any layer with a weight; `layer_weights` are those of the run, [layers].
    """
    parts = []
    for guide, own in zip(split_channels(guide_means, layers), split_channels(means, layers), strict=True):
        surplus = np.maximum(guide - own, 0)
        parts.append(surplus / max(float(surplus.sum()), 1e-12))
    if not has_weight(parts, layer_weights):
        raise SettingsError(
            "the guide activates no channel of these layers more than the picture does: choose another guide"
        )
    return np.concatenate(parts).astype(np.float32)


def has_weight(parts: list[Floats], layer_weights: Floats) -> bool:
    """Whether some channel has a weight, within a layer that has a weight itself."""
    return any(weight and part.any() for part, weight in zip(parts, layer_weights, strict=True))


def channel_starts(layers: tuple[Layer, ...]) -> dict[str, int]:
    """Returns where each layer's channels begin among those of all layers, by its name."""
    starts = itertools.accumulate((layer.channels for layer in layers[:-1]), initial=0)
    return dict(zip((layer.name for layer in layers), starts, strict=True))


def split_channels(values: Floats, layers: tuple[Layer, ...]) -> list[Floats]:
    """Returns the parts of an array [channels] that belong to each layer."""
    return np.split(values, list(channel_starts(layers).values())[1:])
