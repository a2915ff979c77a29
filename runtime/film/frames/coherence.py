"""Dreams the frames of a film so that the dream moves along with the picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from ....models.arrays import Floats, Image, Pixels, Size, size_of
from ....models.contract import INPUT_RANGE
from ...ascent.ascent import Ascent
from ...ascent.evaluator import Evaluator
from ...ascent.objectives import objective_for, require_objective
from ...ascent.step import OnStep, State, StopReason
from ...ascent.update import new_slots
from ...bundle.bundle import Bundle
from ...bundle.objective import Objective
from ...bundle.sessions import Sessions
from ...dream.run import CHOICE, as_bundle, as_settings, require_function, require_kind
from ...errors import DivergedError
from ...image.pixels import PictureLike, array_of, pixels_of
from ...image.processor import ImageProcessor, Mask
from ...provider.selection import ProviderChoice, choose_provider
from ...settings.settings import Settings
from ..settings import Coherence
from .exposure import Exposure, visibility
from .flow import DisFlow, FlowMethod, Motion, motion_between
from .shots import Seen, role_of, seen_after, with_following


@dataclass(frozen=True)
class DreamedFrame:
    """A frame of a film, dreamed: uint8 or uint16 [height, width, 3], and its loss at the last gradient.

    `is_repeated` says that the frame could not be dreamed, and the one before it is shown again.
    """

    pixels: Pixels = field(repr=False)
    loss: float
    begins_shot: bool = False
    is_repeated: bool = False


@dataclass(frozen=True)
class Shot:
    """What a frame carries over to the next one of its shot.

    `change` is the difference between a dream and its picture, which is the frame in `seen`. `exposure`, `objective`
    and `colours`, the colour matrix, are those of the shot's first frame.
    """

    change: Image = field(repr=False)
    seen: Seen
    exposure: Exposure
    objective: Objective
    colours: Floats | None = field(repr=False)


@dataclass(frozen=True)
class FilmState:
    """Everything that a film needs in order to continue after a frame: the frame shown, and the shot that it is in.

    `shots` counts the shots so far. There is no shot before the first frame that is not blank.
    """

    shown: DreamedFrame
    shots: int = 0
    shot: Shot | None = None


class FilmDream:
    """One run through the frames of a film.

    The first frame of a shot gets the whole dream of the settings. For each later frame, the change that the dream has
    made is warped along the optical flow, as far as the flow can be trusted, added to the frame, and followed by a few
    gradients in the largest octave. The arguments are those of `prepare`; `coherence` states how the dream carries
    over, and `flow` computes the motion. `state` is that of an earlier run, to continue it. `earlier_shots` is the
    number of shots before the first frame, where the frames are those of a part of a film. Raises DreamError and
    BundleError.
    """

    def __init__(
        self,
        bundle: Bundle | str | os.PathLike[str],
        settings: Settings | str | None = None,
        coherence: Coherence | None = None,
        *,
        mask: PictureLike | None = None,
        guide: PictureLike | None = None,
        choice: ProviderChoice | None = None,
        sessions: Sessions | None = None,
        flow: FlowMethod | None = None,
        state: FilmState | None = None,
        earlier_shots: int = 0,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        require_function("log", log, "a line")
        flow = DisFlow() if flow is None else flow
        require_function("flow", flow, "two frames")
        require_kind("coherence", coherence, Coherence | None, "is made with Coherence(…)")
        require_kind("state", state, FilmState | None, "is that of an earlier FilmDream")
        require_kind("choice", choice, ProviderChoice | None, CHOICE)
        require_kind("earlier shots", earlier_shots, int, "are a number")
        self.bundle = as_bundle(bundle, sessions)
        self.settings = settings_of_frames(as_settings(settings))
        self.coherence = coherence or Coherence()
        self.state = state
        self._earlier_shots = earlier_shots
        self._log = log
        self._drawing = None if mask is None else array_of(mask, "mask", log)
        self._guide = None if guide is None else pixels_of(guide, "guide", log)
        self._flow = flow
        require_objective(self.bundle.metadata, self.settings, guide is not None)
        self.bundle.require_precision(self.settings.execution.precision)
        self._choice = choice or choose_provider(self.settings.execution)
        if choice is None and self._choice.notice:
            log(self._choice.notice)
        self._sessions = sessions or Sessions(self.bundle)
        self._evaluator: tuple[Objective, Size, Evaluator] | None = None
        self._mask: Mask | None = None

    def frames(self, frames: Iterable[Pixels | None], on_step: OnStep | None = None) -> Iterator[DreamedFrame]:
        """Yields a dreamed frame for each frame, uint8 or uint16 [height, width, 3].

        For a frame that is None, the frame before it is shown again; without any, it is left out. `on_step` is called
        at every step of a frame's ascent; if it returns True, the film ends before that frame. After each frame,
        `state` is what the film continues from. Some frames are read ahead. Raises DreamError.
        """
        for frame, following in with_following(frames):
            if frame is not None:
                state = self._state_after(pixels_of(frame, "frame", self._log), following, on_step)
            elif self.state:
                state = self._repeated()
            else:
                continue
            if state is None:
                return
            self.state = state
            yield state.shown

    def _state_after(self, frame: Pixels, following: list[Pixels], on_step: OnStep | None) -> FilmState | None:
        """Dreams a frame; returns the film's state after it, or None if `on_step` has ended the film."""
        processor = ImageProcessor(frame, self.bundle.metadata, self.settings, self._mask_for(frame))
        base = processor.base(processor.largest_octave)
        shot = self.state.shot if self.state else None

        @cache
        def motion(seen: Seen) -> Motion:
            return motion_between(frame, seen.frame, self._flow)

        before = shot.seen if shot else None
        role = role_of(frame, base, before, following, motion)
        seen = seen_after(frame, role, before)
        if role == "blank":
            return self._after_blank(seen, processor.postprocess(base))
        assert seen
        if role == "first" or shot is None:
            return self._begun(frame, seen, processor, on_step)
        return self._continued(shot, seen, processor, motion(shot.seen), on_step)

    def _begun(self, frame: Pixels, seen: Seen, processor: ImageProcessor, on_step: OnStep | None) -> FilmState | None:
        """Dreams the first frame of a shot: the whole dream of the settings."""
        shots = self.state.shots if self.state else self._earlier_shots
        machine = self._choice.machine
        objective = objective_for(frame, self._guide, self._sessions, self.settings, machine)
        evaluator = self._evaluator_for(objective, processor.largest_octave)
        settings = self._settings_of_shot(shots + 1)
        ascent = Ascent(processor, evaluator, settings, INPUT_RANGE, processor.mask)
        ended = _ascend(ascent, on_step)
        if ended == "stopped":
            return None
        if ended == "diverged":
            if self.state is None:
                raise DivergedError("the first frame's gradient is not a finite number: choose a smaller --step-size")
            return self._repeated()
        image, base = ascent.state.image, processor.base(processor.largest_octave)
        shot = Shot(image - base, seen, Exposure.of(image, base), objective, ascent.state.colours)
        return self._shown(shot, processor, base, shot.change, ascent, shots + 1, begins_shot=True)

    def _continued(
        self,
        shot: Shot,
        seen: Seen,
        processor: ImageProcessor,
        motion: Motion,
        on_step: OnStep | None,
    ) -> FilmState | None:
        """Dreams a later frame of a shot, from its picture and the change before, which moves along with it."""
        assert self.state
        base = processor.base(processor.largest_octave)
        moved = motion.warped(shot.change)
        # Where less of the picture is found again, as when one shot fades into another, all of it persists less.
        persist = np.float32(self.coherence.persist * motion.trusted_share)
        carried = moved * (persist * motion.trust_at(size_of(base)))
        settings = replace(self._settings_of_shot(self.state.shots), steps=self.coherence.steps_next, detail="before")
        image = base + carried
        if settings.clip:
            np.clip(image, *INPUT_RANGE, out=image)
        start = State(image, new_slots(settings, image), octave=len(processor.octaves) - 1, colours=shot.colours)
        evaluator = self._evaluator_for(shot.objective, processor.largest_octave)
        ascent = Ascent(processor, evaluator, settings, INPUT_RANGE, processor.mask, start, evaluates_result=False)
        ended = _ascend(ascent, on_step)
        if ended == "stopped":
            return None
        # What a flash lights up is no part of the shot: the next frame continues from the one before the flash.
        is_flash = seen is shot.seen
        if ended == "diverged":  # the shot goes on, so that where the next one begins does not depend on it
            return self._repeated(shot if is_flash else replace(shot, change=moved, seen=seen))
        change = shot.exposure.held(ascent.state.image - base, base, self.coherence.persist)
        following = shot if is_flash else replace(shot, change=change, seen=seen)
        return self._shown(following, processor, base, change, ascent, self.state.shots)

    def _shown(
        self,
        shot: Shot,
        processor: ImageProcessor,
        base: Image,
        change: Image,
        ascent: Ascent,
        shots: int,
        begins_shot: bool = False,
    ) -> FilmState:
        """The state after a frame that shows its picture with a change."""
        pixels = processor.postprocess(base + np.float32(visibility(base)) * change)
        loss = float(ascent.state.history[-1] @ ascent.layer_weights)
        return FilmState(DreamedFrame(pixels, loss, begins_shot), shots, shot)

    def _after_blank(self, seen: Seen | None, pixels: Pixels) -> FilmState:
        """The state after a frame that shows nothing, which is not dreamed."""
        shown = DreamedFrame(pixels, 0.0)
        if self.state is None:
            return FilmState(shown, self._earlier_shots)
        shot = self.state.shot
        return replace(self.state, shown=shown, shot=replace(shot, seen=seen) if shot and seen else shot)

    def _repeated(self, shot: Shot | None = None) -> FilmState:
        """The state after a frame that is missing or could not be dreamed; the shot as it was, unless it is given."""
        assert self.state
        shown = replace(self.state.shown, begins_shot=False, is_repeated=True)
        return replace(self.state, shown=shown, shot=shot or self.state.shot)

    def _settings_of_shot(self, number: int) -> Settings:
        """The settings of a shot, whose jitter is its own, and the same in all its frames."""
        return replace(self.settings, seed=(self.settings.seed + number - 1) % 2**32)

    def _mask_for(self, frame: Pixels) -> Mask | None:
        if self._drawing is not None and self._mask is None:
            self._mask = Mask.of(self._drawing, frame, self.settings.feather)
        return self._mask

    def _evaluator_for(self, objective: Objective, largest: Size) -> Evaluator:
        if self._evaluator is None or self._evaluator[:2] != (objective, largest):
            evaluator = Evaluator(self._sessions, self.settings, self._choice.machine, objective, largest, self._log)
            self._evaluator = objective, largest, evaluator
        return self._evaluator[2]


def settings_of_frames(settings: Settings) -> Settings:
    """The settings of a film's frames: a range of values that follows the picture would make the film flicker."""
    return replace(settings, normalization="backbone", snapshots=(), noise=None)


def dream_film(
    frames: Iterable[Pixels | None],
    bundle: Bundle | str | os.PathLike[str],
    settings: Settings | str | None = None,
    coherence: Coherence | None = None,
    *,
    mask: PictureLike | None = None,
    guide: PictureLike | None = None,
    choice: ProviderChoice | None = None,
    sessions: Sessions | None = None,
    flow: FlowMethod | None = None,
    state: FilmState | None = None,
    earlier_shots: int = 0,
    log: Callable[[str], None] = lambda line: None,
) -> Iterator[Pixels]:
    """Dreams the frames of a film, uint8 or uint16 [height, width, 3], one for each that is given.

    The other arguments are those of `FilmDream`, and the rules of its `frames` hold. Raises DreamError and BundleError.
    """
    film = FilmDream(
        bundle,
        settings,
        coherence,
        mask=mask,
        guide=guide,
        choice=choice,
        sessions=sessions,
        flow=flow,
        state=state,
        earlier_shots=earlier_shots,
        log=log,
    )
    for frame in film.frames(frames):
        yield frame.pixels


def _ascend(ascent: Ascent, on_step: OnStep | None) -> StopReason:
    try:
        return ascent.run(on_step)
    except DivergedError:  # not even its first gradient was finite
        return "diverged"
