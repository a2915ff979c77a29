"""The whole of a run: a picture and a bundle in, a dream with its losses and its record out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ascent.ascent import Ascent, State, Step
from ..ascent.evaluator import Objective
from ..bundle.bundle import Bundle
from ..bundle.channel_weights import chosen_channels, guided_channels, parse_channels, parse_pick, picked_channels
from ..errors import SettingsError
from ..image.canvas import Canvas, Mask, Pixels
from ..provider.machine import Machine
from ..provider.selection import Choice, choose
from ..settings.settings import Settings
from .record import Record

Array = NDArray[np.float32]

# Large enough for any channel to show, small enough to be quick: where channels are picked or a guide is read.
_LOOK_SIZE = 512


@dataclass(frozen=True)
class Dream:
    """A finished run: HWC RGB[A] picture, losses [updates + 1, layers] (row n after n updates), and its record."""

    picture: Pixels
    losses: Array
    record: Record


@dataclass(frozen=True)
class Aids:
    """Pictures that a run needs besides its own: where to dream (white) and where not (black), and what to dream of.

    `mask` has the picture's height and width; `guide` may have any. Both are uint8 or uint16 [height, width, 3 or 4].
    """

    mask: Pixels | None = None
    guide: Pixels | None = None


def dream(
    picture: Pixels,
    bundle: Bundle,
    settings: Settings | None = None,
    on_step: Callable[[Step], bool | None] | None = None,
    *,
    aids: Aids | None = None,
    state: State | None = None,
    choice: Choice | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Dream:
    """Dreams a picture: updates that climb the bundle's weighted losses, `settings.steps` in every octave.

    `picture` is uint8 or uint16 [height, width, 3 or 4], RGB[A]. `on_step` is called after every evaluation, before
    the update; where it returns True the run ends with what there is. A loss or gradient that is not a finite number
    ends it too; `record.ended` says so. `state` is one that an earlier run of the same picture, bundle and settings was
    in.
    `choice` is what `choose` returned for these settings if the user has heard its notice; None chooses here.
    `say` hears lines for the user. Raises DreamError and BundleError.
    """
    settings, aids = settings or Settings(), aids or Aids()
    metadata = bundle.metadata
    layer_weights = np.array(settings.vector(metadata.layer_names), np.float32)
    mask = None if aids.mask is None else Mask.of(aids.mask, picture, settings.feather)
    canvas = Canvas(picture, metadata, settings, mask)
    bundle.require_precision(settings.execution.precision)
    if choice is None:
        choice = choose(settings.execution)
        if choice.notice:
            say(choice.notice)
    machine = choice.machine
    notices = [choice.notice] if choice.notice else []

    def notice(line: str) -> None:
        notices.append(line)
        say(line)

    channel_weights = _channel_weights(picture, aids.guide, bundle, settings, machine, layer_weights)
    objective = Objective(bundle, settings, machine, layer_weights, canvas.largest_octave, channel_weights, notice)
    ascent = Ascent(canvas, objective, settings, layer_weights, metadata.input_range, mask)
    state = state or ascent.start()
    started = time.perf_counter()
    ended = ascent.run(state, on_step)
    losses = np.stack(state.history)
    record = Record.of_run(
        bundle=bundle,
        settings=settings,
        execution=objective.execution,
        plans=[objective.plan(size) for size in canvas.octaves[: state.octave + 1]],
        notices=tuple(notices),
        losses=losses,
        layer_weights=layer_weights,
        ended=ended,
        seconds=time.perf_counter() - started,
    )
    return Dream(canvas.develop(state.image), losses, record)


def _channel_weights(
    picture: Pixels, guide: Pixels | None, bundle: Bundle, settings: Settings, machine: Machine, layer_weights: Array
) -> Array | None:
    """What the run's settings and its guide make of the bundle's channels; None leaves them all equal."""
    layers = bundle.metadata.layers
    if guide is None and not settings.channels and not settings.pick:
        return None
    if settings.channels:
        if guide is not None:
            raise SettingsError("channels and a guide contradict each other: give one of them")
        return chosen_channels(layers, parse_channels(settings.channels))

    def means(pixels: Pixels) -> Array:
        small = Settings(
            max_size=min(_LOOK_SIZE, settings.max_size or _LOOK_SIZE), normalization=settings.normalization
        )
        canvas = Canvas(pixels, bundle.metadata, small)
        session = bundle.session(*canvas.size, machine)
        return session.channel_means(canvas.base(canvas.size), layer_weights)

    if settings.pick:
        if guide is not None:
            raise SettingsError("pick and a guide contradict each other: give one of them")
        return picked_channels(layers, layer_weights, means(picture), parse_pick(settings.pick))
    assert guide is not None
    _require_size(guide, bundle.metadata.smallest_size)
    return guided_channels(layers, layer_weights, means(guide), means(picture))


def _require_size(guide: Pixels, smallest: tuple[int, int]) -> None:
    height, width = guide.shape[:2]
    if height < smallest[0] or width < smallest[1]:
        raise SettingsError(
            f"the guide has {width}x{height} pixels, the network needs {smallest[1]}x{smallest[0]}: give a larger one"
        )
