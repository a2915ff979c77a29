"""The positions of layers: the parts of the picture whose neurons count, down to a single neuron."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...models.arrays import Floats
from ...models.contract import EVERYWHERE, Layer
from ..errors import SettingsError
from ..settings.parsing import finite_number

# layer -> y, x and radius, as `contract` defines them
Positions = Mapping[str, tuple[float, float, float]]

_ADVICE = "write y, x and a radius as parts of the picture, as in mixed4:0.5,0.25,0.1"


def parse_positions(texts: Sequence[str]) -> Positions:
    """Parses texts such as `mixed4:0.5,0.25,0.1`, one for each layer; without a radius, it is 0, a single neuron.

    Raises SettingsError.
    """
    positions: dict[str, tuple[float, float, float]] = {}
    for text in texts:
        layer, _, numbers = text.rpartition(":")  # a name may have colons of its own
        parts = numbers.split(",")
        values = [number for part in parts if (number := finite_number(part)) is not None]
        if not layer or layer in positions or len(parts) not in (2, 3) or len(values) < len(parts):
            raise SettingsError(f"position {text!r} is not understood: {_ADVICE}, each layer once")
        y, x, radius = (*values, 0.0)[:3]
        if not (0 <= y <= 1 and 0 <= x <= 1):
            raise SettingsError(f"position {text!r} lies outside the picture: y and x are from 0 to 1")
        if not 0 <= radius <= EVERYWHERE[2]:
            raise SettingsError(f"position {text!r} has a radius below 0 or far beyond the picture: {_ADVICE}")
        positions[layer] = (y, x, radius)
    return positions


def chosen_positions(layers: tuple[Layer, ...], positions: Positions) -> Floats | None:
    """Returns the position of each layer, float32 [layers, 3], or None if none is chosen.

    Layers without a chosen position keep all their neurons. Raises SettingsError for layers that the bundle does not
    have, and for layers with one value for the whole picture.
    """
    for name in positions:
        found = next((layer for layer in layers if layer.name == name), None)
        if found is None:
            known = ", ".join(layer.name for layer in layers)
            raise SettingsError(f"layer {name!r} of --position is not in the bundle: it has {known}")
        if not found.stride:
            raise SettingsError(
                f"layer {name} has one value for the whole picture, so it has no position: leave it out"
            )
    if not positions:
        return None
    return np.array([positions.get(layer.name, EVERYWHERE) for layer in layers], np.float32)
