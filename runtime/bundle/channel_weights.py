"""What a dream climbs: layers with signs, and within a layer single channels, picked ones, or a guide's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...models.arrays import Floats
from ...models.contract import Layer
from ..errors import SettingsError

Channels = Mapping[str, tuple[tuple[int, float], ...]]


@dataclass(frozen=True)
class Pick:
    """The `count` channels of each layer that the picture excites most (`strongest`) or least (`weakest`)."""

    which: str
    count: int


def parse_channels(texts: Sequence[str]) -> Channels:
    """Reads `mixed2:12,-40` (channel 12 up, channel 40 down), one layer a text. Raises SettingsError."""
    channels: dict[str, tuple[tuple[int, float], ...]] = {}
    for text in texts:
        layer, _, numbers = text.partition(":")
        parts = [part.strip() for part in numbers.split(",")]
        if not layer or layer in channels or not all(re.fullmatch(r"[+-]?\d{1,6}", part) for part in parts):
            raise SettingsError(f"channels {text!r}: write a layer once, as in mixed2:12,-40")
        # The sign is read as text, so that -0 lowers channel 0.
        channels[layer] = tuple((int(part.lstrip("+-")), -1.0 if part[0] == "-" else 1.0) for part in parts)
        if len({channel for channel, _ in channels[layer]}) < len(parts):
            raise SettingsError(f"channels {text!r}: write a channel once, as in mixed2:12,-40")
    return channels


def parse_pick(text: str) -> Pick:
    """Reads `strongest:5` or `weakest:1`. Raises SettingsError."""
    which, _, count = text.partition(":")
    if which not in ("strongest", "weakest") or not re.fullmatch(r"[1-9]\d{0,5}", count or "1"):
        raise SettingsError(f"pick {text!r}: write strongest:5 or weakest:5")
    return Pick(which, int(count or 1))


def plain_weights(layers: tuple[Layer, ...]) -> Floats:
    """Weights that make every layer's loss the mean over its channels, as a bundle has them by default."""
    return np.concatenate([np.full(layer.channels, 1 / layer.channels, np.float32) for layer in layers])


def chosen_channels(layers: tuple[Layer, ...], channels: Channels) -> Floats:
    """Weights that make a layer's loss the signed mean over the channels chosen; other layers keep theirs.

    Raises SettingsError for a layer or a channel that the bundle does not have.
    """
    weights = dict(zip([layer.name for layer in layers], _split(plain_weights(layers), layers), strict=True))
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
    """Weights for the channels that a picture excites most or least, given its channel means.

    A channel that the picture does not excite at all has no gradient and is never picked. Raises SettingsError where
    no layer that has a weight has such a channel.
    """
    parts = []
    for layer, excited in zip(layers, _split(means, layers), strict=True):
        order = np.argsort(excited, kind="stable")
        alive = order[excited[order] > 0]
        members = alive[: -pick.count - 1 : -1] if pick.which == "strongest" else alive[: pick.count]
        part = np.zeros(layer.channels, np.float32)
        part[members] = 1 / max(1, len(members))
        parts.append(part)
    if not _is_weighted(parts, layer_weights):
        raise SettingsError("the picture excites no channel of these layers: choose other layers, or no --pick")
    return np.concatenate(parts)


def guided_channels(layers: tuple[Layer, ...], layer_weights: Floats, guide_means: Floats, means: Floats) -> Floats:
    """Weights that climb what a guide has more of than the picture, and nothing else.

    Each layer's weights are the surplus of the guide's channel means over the picture's, with a sum of 1 (after
    crowsonkb's deep_dream, which takes the guide's sums alone). Raises SettingsError where that is nothing in the
    layers that have a weight.
    """
    parts = []
    for guide, own in zip(_split(guide_means, layers), _split(means, layers), strict=True):
        surplus = np.maximum(guide - own, 0)
        parts.append(surplus / max(float(surplus.sum()), 1e-12))
    if not _is_weighted(parts, layer_weights):
        raise SettingsError("the guide has nothing more than the picture in these layers: choose another guide")
    return np.concatenate(parts).astype(np.float32)


def _is_weighted(parts: list[Floats], layer_weights: Floats) -> bool:
    """Whether a layer that has a weight has a channel that has one."""
    return any(weight and part.any() for part, weight in zip(parts, layer_weights, strict=True))


def _split(values: Floats, layers: tuple[Layer, ...]) -> list[Floats]:
    return np.split(values, np.cumsum([layer.channels for layer in layers])[:-1])
