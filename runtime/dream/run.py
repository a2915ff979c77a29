"""The whole of a run: a picture and a bundle in, all made ready, a dream with its losses and its record out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...models.arrays import Floats, Losses, Pixels, Size
from ..ascent.ascent import Ascent, State, Step
from ..ascent.evaluator import Evaluator
from ..ascent.tiles import TilePlan
from ..bundle.bundle import Bundle
from ..bundle.channel_weights import chosen_channels, guided_channels, parse_channels, parse_pick, picked_channels
from ..bundle.sessions import Sessions
from ..errors import SettingsError
from ..image.processor import ImageProcessor, Mask
from ..provider.machine import Machine
from ..provider.selection import ProviderChoice, choose_provider
from ..settings.settings import Execution, Settings
from .record import Record

# Large enough for any channel to show, small enough to be quick: where channels are picked or a guide is read.
_STATISTICS_SIZE = 512


@dataclass(frozen=True)
class Dream:
    """A finished run: HWC RGB[A] picture, losses [updates + 1, layers] (row n after n updates), and its record."""

    picture: Pixels
    losses: Losses
    record: Record


@dataclass(frozen=True, eq=False)
class Preparation:
    """A run that can start: the sizes of its octaves and tiles are known, and its provider works.

    `notices` grow while it runs.
    """

    bundle: Bundle
    settings: Settings
    ascent: Ascent
    notices: list[str]

    @property
    def octaves(self) -> list[Size]:
        """Height and width of each octave."""
        return self.ascent.processor.octaves

    @property
    def tile_plan(self) -> TilePlan:
        """How the largest octave is cut into tiles."""
        return self.ascent.evaluator.tile_plan(self.octaves[-1])

    @property
    def execution(self) -> Execution:
        """What the run really has."""
        return self.ascent.evaluator.execution

    def ascend(self, on_step: Callable[[Step], bool | None] | None = None) -> Dream:
        """Dreams; to be called once.

        `on_step` is called after every evaluation, before the update; where it returns True the run ends with what
        there is. A loss or gradient that is not a finite number ends it too; `record.ended` says so. Raises DreamError
        and BundleError.
        """
        ascent, state = self.ascent, self.ascent.state
        started = time.perf_counter()
        ended = ascent.run(on_step)
        losses = np.stack(state.history)
        record = Record.of_run(
            bundle=self.bundle,
            settings=self.settings,
            execution=self.execution,
            plans=[ascent.evaluator.tile_plan(size) for size in self.octaves[: state.octave + 1]],
            notices=tuple(self.notices),
            losses=losses,
            layer_weights=ascent.layer_weights,
            ended=ended,
            seconds=time.perf_counter() - started,
        )
        return Dream(ascent.processor.postprocess(state.image), losses, record)


def prepare(
    picture: Pixels,
    bundle: Bundle,
    settings: Settings | None = None,
    *,
    mask: Pixels | None = None,
    guide: Pixels | None = None,
    state: State | None = None,
    choice: ProviderChoice | None = None,
    sessions: Sessions | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Preparation:
    """Makes all ready for a dream, up to its first gradient.

    `picture` is uint8 or uint16 [height, width, 3 or 4], RGB[A]. `state` is one that an earlier run of the same
    picture, bundle and settings was in. `choice` is what `choose` returned for these settings if the user has heard its
    notice; None chooses here. `sessions` are the bundle's where several dreams are to share them. `say` hears lines for
    the user, then and while it runs. Raises DreamError and BundleError.
    """
    settings = settings or Settings()
    metadata = bundle.metadata
    layer_weights = np.array(settings.weights_of(metadata.layer_names), np.float32)
    area = None if mask is None else Mask.of(mask, picture, settings.feather)
    processor = ImageProcessor(picture, metadata, settings, area)
    bundle.require_precision(settings.execution.precision)
    if choice is None:
        choice = choose_provider(settings.execution)
        if choice.notice:
            log(choice.notice)
    notices = [choice.notice] if choice.notice else []

    def notice(line: str) -> None:
        notices.append(line)
        log(line)

    sessions = sessions or Sessions(bundle)
    channel_weights = _channel_weights(picture, guide, sessions, settings, choice.machine, layer_weights)
    largest = processor.largest_octave
    evaluator = Evaluator(sessions, settings, choice.machine, layer_weights, largest, channel_weights, notice)
    ascent = Ascent(processor, evaluator, settings, layer_weights, metadata.input_range, area, state)
    return Preparation(bundle, settings, ascent, notices)


def dream(
    picture: Pixels,
    bundle: Bundle,
    settings: Settings | None = None,
    on_step: Callable[[Step], bool | None] | None = None,
    *,
    mask: Pixels | None = None,
    guide: Pixels | None = None,
    state: State | None = None,
    choice: ProviderChoice | None = None,
    sessions: Sessions | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Dream:
    """Dreams a picture: updates that climb the bundle's weighted losses, `settings.steps` in every octave.

    `prepare` and `Preparation.ascend` in one; what they take and raise is told there.
    """
    ready = prepare(
        picture, bundle, settings, mask=mask, guide=guide, state=state, choice=choice, sessions=sessions, log=log
    )
    return ready.ascend(on_step)


def _channel_weights(
    picture: Pixels,
    guide: Pixels | None,
    sessions: Sessions,
    settings: Settings,
    machine: Machine,
    layer_weights: Floats,
) -> Floats | None:
    """What the run's settings and its guide make of the bundle's channels; None leaves them all equal."""
    metadata = sessions.bundle.metadata
    layers = metadata.layers
    if guide is None and not settings.channels and not settings.pick:
        return None
    if settings.channels:
        if guide is not None:
            raise SettingsError("channels and a guide contradict each other: give one of them")
        return chosen_channels(layers, parse_channels(settings.channels))

    def means(pixels: Pixels) -> Floats:
        small = Settings(
            max_size=min(_STATISTICS_SIZE, settings.max_size or _STATISTICS_SIZE), normalization=settings.normalization
        )
        processor = ImageProcessor(pixels, metadata, small)
        session = sessions.get(*processor.size, machine)
        return session.channel_means(processor.base(processor.size), layer_weights)

    if settings.pick:
        if guide is not None:
            raise SettingsError("pick and a guide contradict each other: give one of them")
        return picked_channels(layers, layer_weights, means(picture), parse_pick(settings.pick))
    assert guide is not None
    _require_size(guide, metadata.smallest_size)
    return guided_channels(layers, layer_weights, means(guide), means(picture))


def _require_size(guide: Pixels, smallest: Size) -> None:
    height, width = guide.shape[:2]
    if height < smallest[0] or width < smallest[1]:
        raise SettingsError(
            f"the guide has {width}x{height} pixels, the network needs {smallest[1]}x{smallest[0]}: give a larger one"
        )
