"""Objectives that are functions of a layer's channel means, and values that channel means are to reach.

A bundle maximises a weighted sum of channel means. It maximises any other smooth function of them, too, if the weights
at each step are the function's slope at the current means: by the chain rule, the gradient is then the function's.

In this module, channel means are float32 [channels]: those of one layer for a function of one layer, else all layers'
channels, one layer after another in the bundle's order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ...models.arrays import Floats, Losses
from ...models.contract import Layer
from ..errors import SettingsError
from ..settings.parsing import GuideBy, finite_number
from .channel_weights import channel_starts, has_weight, split_channels

# Below this cosine, a caricature counts the cosine as this, so that its gradient does not vanish (as in lucid).
_LEAST_COSINE = 0.1
_TINY = 1e-12


class MeansFunction(Protocol):
    """A function of one layer's channel means."""

    def value_and_slope(self, means: Floats) -> tuple[float, Floats]:
        """Returns the function's value at means [channels], and its derivative by each of them, float32 [channels]."""


@dataclass(frozen=True, eq=False)
class Cosine:
    """The cosine between a layer's channel means and `target` [channels]: 1 where their proportions are the same.

    It is 0, without a slope, where either of them is all zeros.
    """

    target: Floats = field(repr=False)

    def value_and_slope(self, means: Floats) -> tuple[float, Floats]:
        """See `MeansFunction`."""
        own, target = means.astype(np.float64), self.target.astype(np.float64)
        length, target_length = np.linalg.norm(own), np.linalg.norm(target)
        if min(length, target_length) < _TINY:
            return 0.0, np.zeros_like(means)
        cosine = float(own @ target / (length * target_length))
        slope = target / (length * target_length) - cosine * own / length**2
        return cosine, slope.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Caricature:
    """The dot product of a layer's channel means with `target` [channels], times their cosine to a power.

    The dot product is in units of the target's squared length, so that the target itself has the value 1, and twice the
    target 2. The cosine counts as 0.1 at least. After `dot_compare` and `cossim_pow` of lucid's caricatures (Olah et
    al., https://github.com/tensorflow/lucid), which compare activations at each place instead of their means.
    """

    target: Floats = field(repr=False)
    power: float = 2.0

    def value_and_slope(self, means: Floats) -> tuple[float, Floats]:
        """See `MeansFunction`."""
        target = self.target.astype(np.float64)
        square = float(target @ target)
        if square < _TINY**2:
            return 0.0, np.zeros_like(means)
        dot, dot_slope = float(means @ target) / square, target / square
        cosine, cosine_slope = Cosine(self.target).value_and_slope(means)
        factor = max(cosine, _LEAST_COSINE) ** self.power
        slope = dot_slope * factor
        if cosine > _LEAST_COSINE:
            slope += dot * self.power * cosine ** (self.power - 1) * cosine_slope
        return dot * factor, slope.astype(np.float32)


@dataclass(frozen=True, eq=False)
class LayerFunctions:
    """A function of the channel means of each layer of a bundle."""

    layers: tuple[Layer, ...]
    functions: tuple[MeansFunction, ...]

    def values(self, means: Floats) -> Losses:
        """Returns the layers' values at means [channels], float32 [layers]."""
        return np.array([value for value, _ in self._found(means)], np.float32)

    def slopes(self, means: Floats) -> Floats:
        """Returns the channel weights whose gradient is that of the functions at means [channels], float32 [channels].

        With layer weights, it is the gradient of the weighted sum of the layers' functions.
        """
        return np.concatenate([slope for _, slope in self._found(means)])

    def _found(self, means: Floats) -> list[tuple[float, Floats]]:
        parts = zip(self.functions, split_channels(means, self.layers), strict=True)
        return [function.value_and_slope(part) for function, part in parts]


def functions_towards(
    layers: tuple[Layer, ...], layer_weights: Floats, target: Floats, guide_by: GuideBy
) -> LayerFunctions:
    """Returns the functions that turn a picture's channel means towards `target` [channels], or exaggerate them.

    `layer_weights` are those of the run, [layers]. Raises SettingsError where the target is all zeros in every layer
    with a weight.
    """
    targets = split_channels(target, layers)
    if not has_weight(targets, layer_weights):
        raise SettingsError("the guide activates no channel of these layers: choose other layers, or another guide")
    if guide_by.kind == "cosine":
        return LayerFunctions(layers, tuple(Cosine(part) for part in targets))
    return LayerFunctions(layers, tuple(Caricature(part, guide_by.power) for part in targets))


@dataclass(frozen=True)
class Goals:
    """Channel means that end an octave: the indices of channels among those of all layers, and the means' `values`."""

    channels: tuple[int, ...]
    values: tuple[float, ...]

    def are_reached(self, means: Floats) -> bool:
        """Whether all channels have at least their values in means [channels]."""
        return all(means[channel] >= value for channel, value in zip(self.channels, self.values, strict=True))


def parse_until(texts: Sequence[str]) -> tuple[tuple[str, int, float], ...]:
    """Parses texts such as `mixed4:40=0.8` to layers, channels and values. Raises SettingsError."""
    found = []
    for text in texts:
        place, _, number = text.rpartition("=")
        layer, _, channel = place.rpartition(":")  # a name may have colons of its own
        value = finite_number(number)
        if not layer or not re.fullmatch(r"\d{1,6}", channel) or value is None:
            raise SettingsError(f"until {text!r}: write a layer, its channel and a value, as in mixed4:40=0.8")
        found.append((layer, int(channel), value))
    if len({place[:2] for place in found}) < len(found):
        raise SettingsError("until names a channel twice: write each channel once")
    return tuple(found)


def chosen_goals(layers: tuple[Layer, ...], until: tuple[tuple[str, int, float], ...]) -> Goals | None:
    """Returns the goals in a bundle's channels, or None if there are none.

    Raises SettingsError for a layer or a channel that the bundle does not have.
    """
    counts, starts = {layer.name: layer.channels for layer in layers}, channel_starts(layers)
    for name, channel, _ in until:
        if name not in counts:
            raise SettingsError(f"layer {name!r} of --until is not in the bundle: it has {', '.join(counts)}")
        if channel >= counts[name]:
            raise SettingsError(f"channel {channel} is not in {name}: it has channels 0 to {counts[name] - 1}")
    if not until:
        return None
    return Goals(tuple(starts[name] + channel for name, channel, _ in until), tuple(value for *_, value in until))
