"""Gradient ascent on a picture: the paper's eq. 2, through octaves, with the losses of every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ...models.arrays import Floats, Image, Losses, Pixels, Size, size_of
from ..errors import DivergedError, DreamError, RecordError
from ..image.octaves import next_octave, with_lost_detail
from ..image.processor import ImageProcessor, Mask
from ..settings.colours import parse_colours
from ..settings.settings import Settings
from .evaluator import Evaluator
from .stepper import StepConfig, Stepper, new_stepper
from .update import new_slots, slots_of

StopReason = Literal["finished", "stopped", "diverged"]
OnStep = Callable[["Step"], bool | None]

# A plateau is left when the best loss of the last steps is higher than the best before by this share.
_PLATEAU_GAIN = 1e-3


@dataclass
class State:
    """Where an ascent is, between two steps; all that it needs to go on.

    `number` counts updates, `octave_step` those of this octave; `history` holds a row of losses for every update
    before this one, and after an evaluation that of the image itself; `last` says that only the last evaluation is
    left. The arrays are float32 [3, height, width]; `colours` is the matrix [3, 3] of settings that have one, the same
    from the first step to the last. While an ascent runs, only what a step's `fetch_state` returns is up to date.
    """

    image: Image
    slots: list[Image]
    number: int = 0
    octave: int = 0
    octave_step: int = 0
    octave_start: int = 0
    last: bool = False
    history: list[Losses] = field(default_factory=list)
    colours: Floats | None = None


@dataclass(frozen=True)
class Step:
    """Where a run is after `number` updates, `octave_step` of them in the octave `octave`, which counts from 0.

    `size` is the octave's height and width. Losses, image and optimizer may lie on a GPU. The methods fetch them, which
    takes time there, and raise DivergedError where a loss or gradient so far is not a finite number. The run then ends
    as diverged when `on_step` returns, even if it caught the error.
    """

    number: int
    octave: int
    octave_step: int
    size: Size
    _ascent: Ascent = field(repr=False, compare=False)

    def fetch_losses(self) -> Losses:
        """The loss of each layer, float32 [layers]; also later, and after the run. Raises DivergedError."""
        return self._ascent.losses_of(self.number)

    def fetch_total(self) -> float:
        """The weighted sum of the losses; also later, and after the run. Raises DivergedError."""
        return float(self.fetch_losses() @ self._ascent.layer_weights)

    def fetch_state(self) -> State:
        """What to go on from; its arrays are the run's own, and change with the next update.

        Raises DivergedError, and DreamError once `on_step` has returned.
        """
        return self._ascent.state_of(self.number)

    def fetch_picture(self) -> Pixels:
        """The picture at this step, as it would be saved. Raises what `fetch_state` raises."""
        return self._ascent.processor.postprocess(self.fetch_state().image)


class Ascent:
    """One run through a canvas's octaves, from the smallest, or from the state that an earlier run was in.

    The image of the octave at hand, and what the optimizer remembers, are its climb's; `state` is up to date when the
    run has ended. Raises RecordError for a state that was in another ascent.
    """

    def __init__(
        self,
        processor: ImageProcessor,
        evaluator: Evaluator,
        settings: Settings,
        layer_weights: Floats,
        limits: tuple[float, float],
        mask: Mask | None = None,
        state: State | None = None,
    ) -> None:
        self.processor = processor
        self.evaluator = evaluator
        self.layer_weights = layer_weights
        self._settings = settings
        self._limits = limits
        self._mask = mask
        self.state = state or self._first_state()
        self._require_own_state()
        del self.state.history[self.state.number :]
        self._stepper: Stepper | None = None
        self._shown: int | None = None  # the number of the step that `on_step` is looking at
        self._has_diverged = False
        # What a number that is not finite leads back to: so many rows, and in an octave's first the image before it.
        self._finite_rows = self.state.number
        self._finite_image: Image | None = None

    def run(self, on_step: OnStep | None) -> StopReason:
        """Climbs until the last octave is done, `on_step` says so, or a number is not finite.

        Raises DivergedError where not even the first evaluation is a finite number.
        """
        ending: StopReason = "finished"
        state = self.state
        try:
            while True:
                self._evaluate()
                if self._must_fetch_rows():
                    self._collect_rows()
                stops = on_step is not None and self._report(on_step)
                if state.last:
                    break
                if stops:
                    ending = "stopped"
                    break
                self._update()
                if state.octave_step >= self._settings.steps or self._should_leave_octave():
                    self._leave_octave()
            self._fetch_state()
        except DivergedError:
            if not self._has_diverged:  # it came out of `on_step`, and is not about this run
                raise
            if not state.history:
                raise DivergedError(
                    "the first gradient is not a finite number: the bundle or its weights are broken, export it again"
                ) from None
            ending = "diverged"
        self._stepper = None
        return ending

    def losses_of(self, number: int) -> Losses:
        """The losses after so many updates, float32 [layers]. Raises DivergedError where they are not finite."""
        if number >= len(self.state.history):
            self._collect_rows()
        return self.state.history[number]

    def state_of(self, number: int) -> State:
        """The state of the step that `on_step` is looking at.

        Raises DivergedError where losses or a gradient so far are not finite, and DreamError for any other step.
        """
        if number != self._shown:
            raise DreamError(f"step {number} is over: fetch its picture or its state while on_step is called with it")
        return self._fetch_state()

    def step_config(self, size: Size) -> StepConfig:
        """What an octave's climb goes by."""
        mask = None if self._mask is None else self._mask.at(size)
        return StepConfig(self.evaluator, self._settings, self._limits, mask, self.state.colours)

    def _first_state(self) -> State:
        image = self.processor.base(self.processor.octaves[0])
        return State(image, new_slots(self._settings, image), colours=self.processor.colour_matrix())

    def _require_own_state(self) -> None:
        state, octaves = self.state, self.processor.octaves
        own = (
            0 <= state.octave < len(octaves)
            and state.image.shape[1:] == octaves[state.octave]
            and len(state.slots) == slots_of(self._settings)
            and (state.colours is not None) == parse_colours(self._settings.colours).have_matrix
            and all(losses.shape == self.layer_weights.shape for losses in state.history)
        )
        if not own:
            raise RecordError("the checkpoint fits neither its picture nor its settings: start the dream again")

    @property
    def _size(self) -> Size:
        """Height and width of the octave."""
        return size_of(self.state.image)

    def _evaluate(self) -> None:
        while True:
            try:
                stepper = self._stepper or self._new_stepper()
                stepper.evaluate(self._shift() if self._settings.jitter else (0, 0))
                return
            except MemoryError as error:
                self._shrink_tiles(error)

    def _update(self) -> None:
        while True:
            try:
                stepper = self._stepper or self._new_stepper()
                stepper.update(self.state.octave_step + 1)
                break
            except MemoryError as error:
                self._shrink_tiles(error)
                self._evaluate()
                self._new_rows()  # known from the first time
        self.state.octave_step += 1
        self.state.number += 1

    def _new_stepper(self) -> Stepper:
        self._stepper = new_stepper(self.step_config(self._size), self.state.image, self.state.slots)
        return self._stepper

    def _shift(self) -> tuple[int, int]:
        """How far the picture is rolled at a step, down and right; follows from the seed and the step alone."""
        reach = self._settings.jitter
        down, right = np.random.default_rng((self._settings.seed, self.state.number)).integers(-reach, reach + 1, 2)
        return int(down), int(right)

    def _shrink_tiles(self, error: MemoryError) -> None:
        """Goes on from here in smaller pieces."""
        self._fetch_state()
        self._stepper = None
        self.evaluator.shrink_tiles(self._size, error)

    def _report(self, on_step: OnStep) -> bool:
        """Whether `on_step` wants to stop here. Raises DivergedError where one of its fetches did, caught or not."""
        state = self.state
        self._shown = state.number
        try:
            stop = on_step(Step(state.number, state.octave, state.octave_step, self._size, self))
        finally:
            self._shown = None
        self._require_finite()
        return bool(stop)

    def _must_fetch_rows(self) -> bool:
        """Whether rows must be fetched although nobody has asked for them."""
        settings, waiting = self._settings, self.state.number + 1 - len(self.state.history)
        watched = settings.max_loss is not None or settings.plateau is not None
        return watched or self._stepper is None or waiting >= self._stepper.fetch_interval

    def _collect_rows(self) -> None:
        """Fetches the losses that wait. Raises DivergedError where they, or one of their gradients, are not finite."""
        self._require_finite()
        if self._stepper is None:
            return
        rows = self._stepper.rows()
        for row in rows:
            if not np.isfinite(row).all():
                self._has_diverged = True
                self._roll_back(self._stepper)
                self._require_finite()
            self.state.history.append(row[:-1].copy())
        if rows:
            self._stepper.keep()
            self._finite_rows, self._finite_image = len(self.state.history), None

    def _new_rows(self) -> list[Floats]:
        return self._stepper.rows() if self._stepper else []

    def _fetch_state(self) -> State:
        """The state as it is now. Raises DivergedError where losses or a gradient so far are not finite."""
        self._collect_rows()
        if self._stepper:
            self.state.image, self.state.slots = self._stepper.arrays()
        return self.state

    def _require_finite(self) -> None:
        if self._has_diverged:
            raise DivergedError(f"the losses were not finite numbers after step {len(self.state.history) - 1}")

    def _roll_back(self, stepper: Stepper) -> None:
        """To the last image whose losses and gradient are known to be finite."""
        kept = stepper.kept()
        sound = self._finite_image if kept is None else kept
        self.state.image = stepper.arrays()[0] if sound is None else sound
        del self.state.history[self._finite_rows :]
        self._stepper = None

    def _should_leave_octave(self) -> bool:
        """Whether the losses of this octave, one row for each update, say that it is time to leave it."""
        highest, window = self._settings.max_loss, self._settings.plateau
        if highest is None and window is None:
            return False
        totals = [float(losses @ self.layer_weights) for losses in self.state.history[self.state.octave_start :]]
        if highest is not None and totals[-1] > highest:
            return True
        if window is None or len(totals) <= window:
            return False
        before, lately = max(totals[:-window]), max(totals[-window:])
        return lately <= before + _PLATEAU_GAIN * abs(before)

    def _leave_octave(self) -> None:
        """The way into the next octave, on the host; the update just made is kept."""
        state, settings = self._fetch_state(), self._settings
        processor, octaves = self.processor, self.processor.octaves
        self._finite_image = self._stepper.kept() if self._stepper else None
        self._stepper = None
        if settings.detail == "after" and state.octave > 0:
            base, smaller = (processor.base(octaves[state.octave - back]) for back in (0, 1))
            state.image = with_lost_detail(state.image, base, smaller)
        if settings.octave_rounding:
            state.image = processor.quantized(state.image)
        if state.octave + 1 == len(octaves):
            state.last = True
            return
        base, following = (processor.base(octaves[state.octave + on]) for on in (0, 1))
        state.image = next_octave(state.image, base, following, settings.detail)
        state.slots = new_slots(settings, state.image)
        state.octave += 1
        state.octave_step = 0
        state.octave_start = state.number
