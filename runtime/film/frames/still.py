"""Films that grow out of one picture: its whole dream, and frames that each continue from an image."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, replace

from ....models.arrays import Floats, Image, Size
from ....models.contract import INPUT_RANGE
from ...ascent.ascent import Ascent
from ...ascent.evaluator import Evaluator
from ...ascent.step import OnStep, State
from ...ascent.update import new_slots
from ...bundle.bundle import Bundle
from ...bundle.objective import Objective
from ...bundle.sessions import Sessions
from ...dream.run import as_bundle, picture_or_noise
from ...errors import DivergedError
from ...image.octaves import resized
from ...image.pixels import PictureLike
from ...image.processor import ImageProcessor
from ...provider.selection import ProviderChoice, choose_provider
from ...settings.settings import Settings

_DIVERGED = "the gradient of frame {} is not a finite number: choose a smaller --step-size"


@dataclass(frozen=True, eq=False)
class Dreamed:
    """An image after its steps, float32 [3, height, width] of the largest octave, and its loss at the last gradient."""

    image: Image = field(repr=False)
    loss: float


class Still:
    """The picture that a film grows out of, and all that dreams it.

    `picture`, `bundle`, `settings`, `choice`, `sessions` and `log` are as in `prepare`, except that a film's frames
    have no transparency, and that the settings `full_size` and `blend`, which would show the picture itself where it
    was, have no effect. Raises DreamError and BundleError.
    """

    def __init__(
        self,
        picture: PictureLike | None,
        bundle: Bundle | str | os.PathLike[str],
        settings: Settings,
        choice: ProviderChoice | None,
        sessions: Sessions | None,
        log: Callable[[str], None],
    ) -> None:
        self.bundle = as_bundle(bundle, sessions)
        self.settings = replace(settings, full_size=False, blend=1.0, snapshots=())
        self._log = log
        pixels = picture_or_noise(picture, settings, log)
        if pixels.shape[2] == 4:
            log("the picture's transparency is left out: frames have none")
        self.pixels = pixels[..., :3]
        self.bundle.require_precision(settings.execution.precision)
        self.choice = choice or choose_provider(settings.execution)
        if choice is None and self.choice.notice:
            log(self.choice.notice)
        self.sessions = sessions or Sessions(self.bundle)
        self.processor = ImageProcessor(self.pixels, self.bundle.metadata, self.settings)
        for notice in self.processor.notices:
            log(notice)
        self._sessions_of_octaves = {self.processor.largest_octave: self.sessions}
        self._evaluators: tuple[Objective, dict[Size, Evaluator]] | None = None

    def dreamed(self, objective: Objective, colours: Floats | None, on_step: OnStep | None) -> Dreamed | None:
        """The whole dream of the picture; None if `on_step` has ended it. Raises DreamError."""
        processor = self.processor
        evaluator = self.evaluator_at(processor.largest_octave, objective)
        image = processor.base(processor.octaves[0])
        start = State(image, new_slots(self.settings, image), colours=colours)
        ascent = Ascent(processor, evaluator, self.settings, INPUT_RANGE, state=start)
        return _ascended(ascent, on_step, 0)

    def continued(
        self,
        image: Image,
        objective: Objective,
        colours: Floats | None,
        steps: int,
        octaves: int,
        number: int,
        on_step: OnStep | None,
    ) -> Dreamed | None:
        """An image of the largest octave after `steps` there, and before that half as many in each smaller octave.

        `octaves` counts the octaves, with the largest, and `number` is that of the frame. Returns None if `on_step` has
        ended it. Raises DreamError.
        """
        sizes = self.processor.octaves
        dreamed, change = None, None
        for octave in range(max(0, len(sizes) - octaves), len(sizes)):
            is_largest = octave == len(sizes) - 1
            settings = replace(self.settings, steps=steps if is_largest else (steps + 1) // 2, detail="before")
            base = resized(image, sizes[octave], "area")
            start = base if change is None else base + resized(change, sizes[octave])
            state = State(start.copy(), new_slots(settings, start), octave=octave, colours=colours)
            ascent = Ascent(
                _up_to(self.processor, octave),
                self.evaluator_at(sizes[octave], objective),
                settings,
                INPUT_RANGE,
                state=state,
                evaluates_result=False,
            )
            dreamed = _ascended(ascent, on_step, number)
            if dreamed is None:
                return None
            change = dreamed.image - base
        return dreamed

    def evaluator_at(self, size: Size, objective: Objective) -> Evaluator:
        """The evaluator of an objective at the size of an octave, which keeps a session of its own open."""
        if self._evaluators is None or self._evaluators[0] is not objective:
            self._evaluators = objective, {}
        evaluators = self._evaluators[1]
        if size not in evaluators:
            sessions = self._sessions_of_octaves.setdefault(size, Sessions(self.bundle))
            machine = self.choice.machine
            evaluators[size] = Evaluator(sessions, self.settings, machine, objective, size, self._log)
        return evaluators[size]


def _up_to(processor: ImageProcessor, octave: int) -> ImageProcessor:
    """The processor with no octave after this one, so that an ascent ends there."""
    shorter = copy(processor)
    shorter.octaves = processor.octaves[: octave + 1]
    return shorter


def _ascended(ascent: Ascent, on_step: OnStep | None, number: int) -> Dreamed | None:
    ended = ascent.run(on_step)
    if ended == "diverged":
        raise DivergedError(_DIVERGED.format(number))
    if ended == "stopped":
        return None
    return Dreamed(ascent.state.image, float(ascent.state.history[-1] @ ascent.layer_weights))
