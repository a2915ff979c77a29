"""The stations that a dream travels through: channels, layers and looks of one bundle, and mixes of them."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field

import numpy as np

from ....models.arrays import Floats
from ....models.contract import Metadata
from ...ascent.objectives import require_objective
from ...bundle.channel_weights import plain_weights, split_channels
from ...bundle.objective import Objective
from ...errors import SettingsError
from ...settings.presets import PRESETS, Preset
from ...settings.settings import Settings


@dataclass(frozen=True)
class Station:
    """A place to travel through: its name as the user has written it, and the settings that choose its objective.

    `look` is the preset that the station names, if it names one; its colours belong to it, too.
    """

    name: str
    settings: Settings
    look: Preset | None = None


def parse_stations(text: str, bundle: Metadata) -> tuple[Station, ...]:
    """Reads `mixed3:12,mixed4:-40,mixed5` or `creatures,fur,neon`: channels, layers and looks of a bundle.

    A minus sign lowers a channel. Raises SettingsError.
    """
    names = [name.strip() for name in text.split(",")]
    if len(names) < 2 or not all(names):
        raise SettingsError(f"through {text!r}: give two stations at least, as in creatures,fur or mixed3:12,mixed4")
    return tuple(_station(name, bundle) for name in names)


def _station(name: str, bundle: Metadata) -> Station:
    layer, colon, channel = name.rpartition(":")  # a name may have colons of its own
    if name in bundle.layer_names:
        station = Station(name, Settings(layer_weights={name: 1.0}))
    elif colon:
        if layer not in bundle.layer_names:
            raise _unknown(name, layer, bundle)
        if not re.fullmatch(r"[+-]?\d{1,6}", channel):
            raise SettingsError(f"station {name!r}: write a layer and the number of one channel, as in mixed3:12")
        station = Station(name, Settings(channels=(name,)))
    elif name in PRESETS:
        station = _look(PRESETS[name], bundle)
    else:
        raise _unknown(name, name, bundle)
    try:
        require_objective(bundle, station.settings, has_guide=False)
    except SettingsError as error:
        raise SettingsError(f"station {name!r}: {error}") from None
    return station


def _look(look: Preset, bundle: Metadata) -> Station:
    if not look.is_made_for(bundle):
        raise SettingsError(
            f"station {look.name!r} is made for {look.made_for}, and a journey stays in one bundle: for this one, "
            f"{_looks_hint(bundle)}"
        )
    return Station(look.name, look.with_changes({}), look)


def _unknown(station: str, name: str, bundle: Metadata) -> SettingsError:
    near = difflib.get_close_matches(name, [*bundle.layer_names, *_looks_of(bundle)], n=2)
    hint = f"its layers are {', '.join(bundle.layer_names)}, and {_looks_hint(bundle)}"
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    return SettingsError(
        f"station {station!r}: the bundle has no layer {name!r}, and no look of it has that name: {hint}"
    )


def _looks_hint(bundle: Metadata) -> str:
    looks = _looks_of(bundle)
    return f"its looks are {', '.join(looks)}" if looks else "no look is made for it"


def _looks_of(bundle: Metadata) -> list[str]:
    return [look.name for look in PRESETS.values() if look.bundle is not None and look.is_made_for(bundle)]


@dataclass(frozen=True, eq=False)
class Aim:
    """What a station maximises: `weights`, float32 [channels of all layers], are those of layers times channels.

    `colours` is the colour matrix, float32 [3, 3], or None without one. `positions` are those of an Objective.
    """

    weights: Floats = field(repr=False)
    colours: Floats | None = field(repr=False)
    positions: Floats | None = field(repr=False)

    @classmethod
    def of(cls, objective: Objective, colours: Floats | None, bundle: Metadata) -> Aim:
        """The aim of an objective."""
        channels = plain_weights(bundle.layers) if objective.channel_weights is None else objective.channel_weights
        counts = [layer.channels for layer in bundle.layers]
        return cls(np.repeat(objective.layer_weights, counts) * channels, colours, objective.positions)

    def scaled(self, factor: float) -> Aim:
        """The aim with weights multiplied by a factor."""
        return Aim(self.weights * np.float32(factor), self.colours, self.positions)

    def mixed(self, other: Aim, share: float) -> Aim:
        """The mix with another aim, whose share is 0..1."""
        own, others = np.float32(1 - share), np.float32(share)
        colours = self.colours
        if colours is not None and other.colours is not None:
            colours = own * colours + others * other.colours
        return Aim(own * self.weights + others * other.weights, colours, self.positions)

    def objective(self, bundle: Metadata) -> Objective:
        """The objective of these weights.

        The weight of a layer is the sum of the sizes of its channels' weights, so that a layer without any is left
        out, and each loss is a mean as always.
        """
        parts = split_channels(self.weights, bundle.layers)
        layer_weights = np.array([np.abs(part).sum(dtype=np.float64) for part in parts], np.float32)
        channels = [part / weight if weight else part for part, weight in zip(parts, layer_weights, strict=True)]
        return Objective(layer_weights, np.concatenate(channels), self.positions)
