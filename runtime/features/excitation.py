"""What a picture excites: the channels of each layer that respond to it more than to photographs in general."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.arrays import Floats, Pixels
from ...models.contract import LOGITS
from ..ascent import objectives
from ..bundle.sessions import Sessions
from ..provider.machine import Machine
from ..settings.settings import Settings
from .built_in import BuiltInAtlas
from .feature import Feature, channels_of, named_feature

# Pictures are seen with a longer side of 320 pixels: classifiers are trained on about 224 pixels on each side.
_SEEN = Settings(max_size=320, normalization="backbone")


@dataclass(frozen=True)
class Excited:
    """A channel that a picture excites: its mean on the picture, and how many times that on photographs in general.

    `times` is None where the latter is not known. A class has a `probability` instead. `name` says what its tile shows.
    """

    feature: Feature
    mean: float
    times: float | None = None
    probability: float | None = None
    name: str = ""

    def __str__(self) -> str:
        if self.probability is not None:
            return f"{self.feature.label or self.feature.channel} {100 * self.probability:.0f} %"
        name, times = f" {self.name}" if self.name else "", f" ({self.times:.2g}×)" if self.times is not None else ""
        return f"{self.feature.channel}{name} {self.mean:.4g}{times}"


def channel_means(picture: Pixels, sessions: Sessions, machine: Machine) -> Floats:
    """Returns the mean objective of each channel on a picture as it is seen here, float32 [channels of all layers].

    Raises SettingsError, ComputationError and BundleError.
    """
    return objectives.channel_means(picture, sessions, machine, _SEEN)


def most_excited(
    picture: Pixels, sessions: Sessions, machine: Machine, count: int, atlas: BuiltInAtlas | None = None
) -> dict[str, list[Excited]]:
    """Returns the channels of each layer that a picture excites most, the most excited first.

    With the bundle's `atlas`, these are those whose mean is the most times that on photographs in general. Raises what
    `channel_means` raises.
    """
    metadata = sessions.bundle.metadata
    means = channel_means(picture, sessions, machine)
    found: dict[str, list[Excited]] = {}
    for layer in metadata.layer_names:
        own = means[channels_of(metadata, layer)]
        natural = atlas.natural_means(layer) if atlas else None
        times = None if natural is None else own / np.maximum(natural, 1e-9)
        order = np.argsort(-(own if times is None else times), kind="stable")[:count]
        shares = _softmax(own) if layer == LOGITS else None
        found[layer] = [
            Excited(
                feature=named_feature(metadata, layer, channel),
                mean=float(own[channel]),
                times=None if times is None else float(times[channel]),
                probability=None if shares is None else float(shares[channel]),
                name=atlas.name_of(layer, channel) if atlas else "",
            )
            for channel in map(int, order)
        ]
    return found


def _softmax(scores: Floats) -> Floats:
    shares = np.exp(scores - scores.max())
    return np.asarray(shares / shares.sum(), np.float32)
