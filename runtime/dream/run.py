"""One run, from a picture and a bundle to a dream with its losses and its record."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from inspect import iscoroutinefunction
from itertools import accumulate
from types import UnionType

import numpy as np

from ...models.arrays import Losses, Pixels, Size
from ...models.contract import INPUT_RANGE
from ..ascent.ascent import Ascent
from ..ascent.evaluator import Evaluator
from ..ascent.objectives import objective_for, require_objective
from ..ascent.step import State, Step, StopReason
from ..bundle.bundle import Bundle
from ..bundle.directions import Direction, DirectionLike
from ..bundle.objective import Objective
from ..bundle.sessions import Sessions
from ..errors import DreamError, SettingsError
from ..image.pixels import PictureLike, array_of, pixels_of
from ..image.processor import ImageProcessor, Mask
from ..image.source import noise_picture
from ..image.tiles import TilePlan
from ..processes.interrupts import interruptible_where_nothing_else_is
from ..provider.selection import ProviderChoice, choose_provider
from ..settings.changes import Change, require_changes
from ..settings.presets import preset
from ..settings.settings import Execution, Settings
from .record import Record

# What an argument is, for those who give another.
CHOICE = "is what choose_provider returns"
_STATE = "is what step.fetch_state returns"


@dataclass(frozen=True, eq=False, repr=False)
class Dream:
    """A finished run: its picture, its losses and its record.

    `losses` is float32 [updates + 1, layers]; row n holds the layers' losses after n updates. With several octaves,
    the losses of each are those of pictures of another size: `record.octaves` states at which row each begins.
    """

    picture: Pixels
    losses: Losses
    record: Record

    def __repr__(self) -> str:
        record, (height, width) = self.record, self.picture.shape[:2]
        change = f"loss {record.first_loss:.4g} to {record.last_loss:.4g}"
        return f"<Dream {width}x{height}: {change} in {record.steps_done} steps, {record.ended}>"


@dataclass(frozen=True, eq=False, repr=False)
class Preparation:
    """A run that is ready to start: the sizes of its octaves and tiles are known, and its provider works.

    `notices` are lines for the user and the record; more may be added while it runs.
    """

    bundle: Bundle
    settings: Settings
    ascent: Ascent
    notices: list[str]

    def __repr__(self) -> str:
        height, width = self.octaves[-1]
        sizes = f"{width}x{height}, {len(self.octaves)} octaves"
        return f"<Preparation of {sizes} with {self.bundle.name} on {self.execution.provider}>"

    @property
    def octaves(self) -> list[Size]:
        """The height and width of each octave in pixels, from the smallest."""
        return self.ascent.processor.octaves

    @property
    def max_steps(self) -> int:
        """The number of updates in all octaves with the settings of now, which may change on the way.

        There are fewer where a loss or a plateau ends an octave.
        """
        return self.ascent.max_steps

    @property
    def tile_plan(self) -> TilePlan:
        """How the largest octave is cut into tiles."""
        return self.ascent.evaluator.tile_plan(self.octaves[-1])

    @property
    def execution(self) -> Execution:
        """The provider, threads, memory and tiles that the run actually uses."""
        return self.ascent.evaluator.execution

    def ascend(self, on_step: Callable[[Step], bool | None] | None = None) -> Dream:
        """Runs the gradient ascent, once.

        `on_step` is called after every evaluation, before the update; if it returns True, the run ends and returns the
        picture so far: `record.ended` is then "stopped". So does the first KeyboardInterrupt, after the current step;
        a second one is raised. A loss or gradient that is not a finite number ends the run, too: `record.ended` is then
        "diverged". Raises DreamError and BundleError.
        """
        if on_step is not None:
            require_function("on_step", on_step, "a Step")
        if self.ascent.has_begun:
            raise DreamError("a preparation ascends once: call prepare again")
        with interruptible_where_nothing_else_is() as interrupted:

            def on_step_or_interrupt(step: Step) -> bool:
                stops = on_step is not None and on_step(step)
                return bool(stops) or interrupted()

            started = time.perf_counter()
            ended = self.ascent.run(on_step_or_interrupt)
            return self._dream(ended, time.perf_counter() - started - self.ascent.seconds_paused)

    def _dream(self, ended: StopReason, seconds: float) -> Dream:
        ascent, state = self.ascent, self.ascent.state
        losses = np.stack(state.history)
        starts = [start for start in state.octave_starts if start < len(losses)]  # it may diverge as an octave begins
        record = Record.of_run(
            bundle=self.bundle,
            settings=self.settings,
            execution=self.execution,
            plans=[ascent.evaluator.tile_plan(size) for size in self.octaves[: len(starts)]],
            starts=starts,
            notices=tuple(self.notices),
            losses=losses,
            layer_weights=ascent.layer_weights,
            ended=ended,
            seconds=seconds,
            changes=tuple(change for change in ascent.course.changes if change.step < len(losses)),
        )
        return Dream(ascent.processor.postprocess(state.image), losses, record)


def prepare(
    picture: PictureLike | None,
    bundle: Bundle | str | os.PathLike[str],
    settings: Settings | str | None = None,
    *,
    mask: PictureLike | None = None,
    guide: PictureLike | None = None,
    direction: DirectionLike | None = None,
    changes: Sequence[Change] = (),
    state: State | None = None,
    choice: ProviderChoice | None = None,
    sessions: Sessions | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Preparation:
    """Prepares a dream up to its first gradient.

    `picture` and `guide` are arrays, uint8 or uint16 [height, width] or [height, width, 3 or 4], RGB[A], or paths of
    files, or Pillow images; a grey picture becomes RGB. `picture` is None where the settings have `noise`. `mask` is
    one of these, too, or bool, or floating-point from 0 to 1; it has the picture's size. `direction` are the weights of
    the channels of the one layer that is maximised, float32 [channels], or the path of a .npy file with them; or two
    pictures, the one to go from and the one to go to. `bundle` may be named as for `Bundle.load`; `settings` may be the
    name of a preset, and None is the preset `paper` on all layers.

    `changes` of the settings are made on the way, as in a run to repeat. `state` is that of an earlier run of the same
    picture, bundle, settings and changes, to resume it; the run continues in its arrays, so give a `deepcopy` of one
    that you keep. `choice` is the result of `choose_provider` for these settings, if its notice has been shown to the
    user; None makes the choice here.
    `sessions` are the bundle's, if several dreams share them. `log` is called with each line for the user, now and
    during the run. Raises DreamError and BundleError.
    """
    require_function("log", log, "a line")
    require_kind("state", state, State | None, _STATE)
    require_kind("choice", choice, ProviderChoice | None, CHOICE)
    settings = as_settings(settings)
    bundle = as_bundle(bundle, sessions)
    pixels = picture_or_noise(picture, settings, log)
    guide_pixels = None if guide is None else pixels_of(guide, "guide", log)
    towards = None if direction is None else Direction.of(direction, log)
    region = None if mask is None else Mask.of(array_of(mask, "mask", log), pixels, settings.feather)
    metadata = bundle.metadata
    require_changes(settings, changes)
    for wanted in accumulate(changes, lambda before, change: change.applied_to(before), initial=settings):
        require_objective(metadata, wanted, guide is not None, direction is not None)
    processor = ImageProcessor(pixels, metadata, settings, region)
    bundle.require_precision(settings.execution.precision)
    if choice is None:
        choice = choose_provider(settings.execution)
        if choice.notice:
            log(choice.notice)
    notices = [choice.notice] if choice.notice else []

    def notice(line: str) -> None:
        notices.append(line)
        log(line)

    for line in processor.notices:
        notice(line)
    sessions = sessions or Sessions(bundle)

    def make_objective(wanted: Settings) -> Objective:
        require_objective(metadata, wanted, guide is not None, direction is not None)
        wanted = replace(wanted, max_size=settings.max_size)  # a picture's channels do not depend on the dream's size
        return objective_for(pixels, guide_pixels, sessions, wanted, choice.machine, towards)

    objective = make_objective(settings)
    evaluator = Evaluator(sessions, settings, choice.machine, objective, processor.largest_octave, notice)
    ascent = Ascent(
        processor,
        evaluator,
        settings,
        INPUT_RANGE,
        processor.mask,
        state,
        planned=changes,
        make_objective=make_objective,
    )
    return Preparation(bundle, settings, ascent, notices)


def dream(
    picture: PictureLike | None,
    bundle: Bundle | str | os.PathLike[str],
    settings: Settings | str | None = None,
    on_step: Callable[[Step], bool | None] | None = None,
    *,
    mask: PictureLike | None = None,
    guide: PictureLike | None = None,
    direction: DirectionLike | None = None,
    changes: Sequence[Change] = (),
    state: State | None = None,
    choice: ProviderChoice | None = None,
    sessions: Sessions | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Dream:
    """Dreams a picture: maximises the weighted sum of the bundle's losses, by `settings.steps` updates in every octave.

    `prepare` followed by `Preparation.ascend`, which document the arguments and errors.
    """
    preparation = prepare(
        picture,
        bundle,
        settings,
        mask=mask,
        guide=guide,
        direction=direction,
        changes=changes,
        state=state,
        choice=choice,
        sessions=sessions,
        log=log,
    )
    return preparation.ascend(on_step)


def require_kind(name: str, given: object, kind: type | UnionType, source: str) -> None:
    """Raises SettingsError for an argument of another type; `source` says what it is, in words behind its name."""
    if not isinstance(given, kind):
        raise SettingsError(f"{name} {source}, not {type(given).__name__}")


def require_function(name: str, given: object, argument: str) -> None:
    if not callable(given):
        raise SettingsError(f"{name} is a function that is called with {argument}, not {type(given).__name__}")
    if iscoroutinefunction(given):
        raise SettingsError(f"{name} is awaited by nobody: give a function that is not async")


def as_settings(given: Settings | str | None) -> Settings:
    """Returns the settings that a caller gives. Raises SettingsError."""
    if isinstance(given, str):
        return preset(given)
    if not isinstance(given, Settings | None):
        hint = ": write Settings(**settings)" if isinstance(given, dict) else ""
        raise SettingsError(f"settings are Settings, the name of a preset or None, not {type(given).__name__}{hint}")
    return given or Settings()


def as_bundle(given: Bundle | str | os.PathLike[str], sessions: Sessions | None) -> Bundle:
    """Returns the bundle that a caller gives or names.

    Raises BundleError, and SettingsError for sessions of another bundle.
    """
    require_kind("sessions", sessions, Sessions | None, "are made with Sessions(bundle)")
    bundle = given if isinstance(given, Bundle) else Bundle.load(given)
    if sessions and sessions.bundle.sha256 != bundle.sha256:
        raise SettingsError(f"the sessions are not those of {bundle.name}: make them with Sessions(bundle)")
    return bundle


def picture_or_noise(given: PictureLike | None, settings: Settings, log: Callable[[str], None]) -> Pixels:
    """The pixels of the picture or of the noise that a caller gives. Raises SettingsError and PictureError."""
    if settings.noise:
        if given is not None:
            raise SettingsError("noise is dreamed instead of a picture: give None for the picture, or leave out noise")
        return noise_picture(*settings.noise, settings.seed).pixels
    return pixels_of(given, "picture", log)  # type: ignore[arg-type]  # which explains None
