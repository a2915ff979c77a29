"""Chooses what a run maximises, by its settings and by what its pictures show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...models.arrays import Floats, Pixels, Size
from ...models.contract import Metadata
from ..bundle.channel_weights import (
    Channels,
    chosen_channels,
    guided_channels,
    parse_channels,
    parse_pick,
    picked_channels,
)
from ..bundle.classes import class_channels
from ..bundle.directions import Direction
from ..bundle.means import chosen_goals, functions_towards, parse_until
from ..bundle.objective import Objective
from ..bundle.positions import chosen_positions, parse_positions
from ..bundle.sessions import Sessions
from ..errors import SettingsError
from ..image.processor import ImageProcessor
from ..provider.machine import Machine
from ..settings.parsing import parse_guide_by
from ..settings.settings import Settings

# Longer side in pixels at which channels are picked and a guide is read: large enough for any channel to respond, and
# small enough to be fast.
_STATISTICS_SIZE = 512


def require_objective(metadata: Metadata, settings: Settings, has_guide: bool, has_direction: bool = False) -> None:
    """Raises SettingsError unless a bundle has the layers, channels and classes of the settings, without a guide's.

    What is maximised may be chosen in one way only.
    """
    guide_by = parse_guide_by(settings.guide_by)
    if guide_by.kind == "cosine" and not has_guide:
        raise SettingsError("guide by cosine turns a picture towards a guide: give one, as in --guide PICTURE")
    chosen = [name for name in ("channels", "classes", "pick") if getattr(settings, name)]
    chosen += ["a direction"] if has_direction else []
    chosen += ["a guide"] if has_guide else ["guide by caricature"] if guide_by.is_function else []
    if len(chosen) > 1:
        raise SettingsError(f"{chosen[0]} and {chosen[1]} contradict each other: give one of them")
    named = _named_channels(metadata, settings)
    chosen_positions(metadata.layers, parse_positions(settings.position))
    chosen_goals(metadata.layers, parse_until(settings.until))
    settings.weights_of(metadata.layer_names)
    chosen_channels(metadata.layers, named)


def objective_for(
    picture: Pixels,
    guide: Pixels | None,
    sessions: Sessions,
    settings: Settings,
    machine: Machine,
    direction: Direction | None = None,
) -> Objective:
    """Returns what a run with these settings maximises; `pick` and a guide choose channels by the picture.

    Raises SettingsError, ComputationError and BundleError.
    """
    metadata = sessions.bundle.metadata
    layers = metadata.layers
    layer_weights = np.array(settings.weights_of(metadata.layer_names), np.float32)
    positions = chosen_positions(layers, parse_positions(settings.position))
    goals = chosen_goals(layers, parse_until(settings.until))
    plain = Objective(layer_weights, positions=positions, goals=goals)

    def means_of(pixels: Pixels) -> Floats:
        max_size = min(_STATISTICS_SIZE, settings.max_size or _STATISTICS_SIZE)
        return channel_means(
            pixels, sessions, machine, Settings(max_size=max_size, normalization=settings.normalization)
        )

    guide_by = parse_guide_by(settings.guide_by)
    if guide is not None:
        _require_size(guide, metadata.smallest_size)
    if guide_by.is_function:
        target = means_of(picture if guide is None else guide)
        return replace(plain, function=functions_towards(layers, layer_weights, target, guide_by))
    named = _named_channels(metadata, settings)
    if named:
        channel_weights = chosen_channels(layers, named)
    elif settings.pick:
        channel_weights = picked_channels(layers, layer_weights, means_of(picture), parse_pick(settings.pick))
    elif direction is not None:
        channel_weights = direction.channel_weights(layers, layer_weights, means_of)
    elif guide is not None:
        channel_weights = guided_channels(layers, layer_weights, means_of(guide), means_of(picture))
    else:
        return plain
    return replace(plain, channel_weights=channel_weights)


def channel_means(picture: Pixels, sessions: Sessions, machine: Machine, settings: Settings) -> Floats:
    """Returns the mean objective of each channel on a picture, float32 [channels of all layers].

    The settings say at which size and with which values the network sees it. Raises SettingsError, ComputationError and
    BundleError.
    """
    processor = ImageProcessor(picture, sessions.bundle.metadata, settings)
    session = sessions.get(*processor.size, machine)
    layers = len(sessions.bundle.metadata.layers)
    return session.channel_means(processor.base(processor.size), Objective(np.ones(layers, np.float32)))


def _named_channels(metadata: Metadata, settings: Settings) -> Channels:
    """The channels that the settings name, as channels or classes, if any. Raises SettingsError."""
    return class_channels(metadata, settings.classes) if settings.classes else parse_channels(settings.channels)


def _require_size(guide: Pixels, smallest: Size) -> None:
    height, width = guide.shape[:2]
    if height < smallest[0] or width < smallest[1]:
        raise SettingsError(
            f"the guide has {width}x{height} pixels, but the network needs {smallest[1]}x{smallest[0]}: "
            "give a larger one"
        )
