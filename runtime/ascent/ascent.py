"""Gradient ascent on a picture: eq. 2 of the paper in every octave, with the losses of every step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models.arrays import Floats, Image, Losses, Size
from ..errors import DivergedError, DreamError, RecordError, SettingsError
from ..image.octaves import next_octave, with_lost_detail
from ..image.processor import ImageProcessor, Mask
from ..provider.machine import FloatMode
from ..settings.changes import Change
from ..settings.colours import parse_colours
from ..settings.settings import Settings
from .course import Course, MakeObjective, Setup
from .evaluator import Evaluator
from .step import OnStep, State, Step, StopReason
from .stepper import StepConfig, Stepper, new_stepper
from .update import new_slots, slot_count

# An octave is on a plateau while the best loss of the latest steps exceeds the best loss before by less than this
# share.
_PLATEAU_GAIN = 1e-3


class Ascent:
    """One run through the octaves of a picture, from the smallest octave or from the state of an earlier run.

    `limits` are the lowest and the highest value of an image. During the run, a stepper holds the octave's image and
    slots; `state` is up to date when the run has ended. Without `evaluates_result`, the run ends with its last update,
    and the losses of the result are not computed.

    `planned` are changes of the settings, in order, with those that the run of `state` has made; a run with
    `make_objective` takes more on the way. `course` holds those made. `seconds_paused` is the time that `on_step` has
    waited for its user. Raises RecordError for a state of another ascent.
    """

    def __init__(
        self,
        processor: ImageProcessor,
        evaluator: Evaluator,
        settings: Settings,
        limits: tuple[float, float],
        mask: Mask | None = None,
        state: State | None = None,
        evaluates_result: bool = True,
        planned: Sequence[Change] = (),
        make_objective: MakeObjective | None = None,
    ) -> None:
        self.course = Course(Setup(settings, settings, processor, evaluator, make_objective), planned)
        self.has_begun = False
        self.seconds_paused = 0.0
        self._limits = limits
        self._mask = mask
        self._evaluates_result = evaluates_result
        self.state = state or self._initial_state()
        self.course.catch_up(self.state.number, self.state.octave_starts, self.state.only_evaluation_left)
        self._require_matching_state()
        del self.state.history[self.state.number :]
        self._stepper: Stepper | None = None
        self._current_step: int | None = None  # the number of the step that `on_step` is being called with
        self._has_diverged = False
        # A diverged run is rolled back to this number of losses and to the image that the stepper keeps. At the start
        # of an octave its stepper keeps no image yet; then it is the last finite image of the octave before.
        self._finite_count = self.state.number
        self._earlier_finite_image: Image | None = None

    @property
    def processor(self) -> ImageProcessor:
        """The picture with the settings of now."""
        return self.course.setup.processor

    @property
    def evaluator(self) -> Evaluator:
        """The objective and the tiles of now."""
        return self.course.setup.evaluator

    @property
    def layer_weights(self) -> Floats:
        """The layer weights of now, float32 [layers]."""
        return self.evaluator.objective.layer_weights

    @property
    def wanted_settings(self) -> Settings:
        """The settings of the next step, with those that wait for the next octave."""
        return self.course.wanted

    @property
    def max_steps(self) -> int:
        """The most updates of the whole run with the settings of now."""
        state, steps = self.state, self._settings.steps
        if state.only_evaluation_left:
            return state.number
        octaves_left = len(self.processor.octaves) - state.octave - 1
        return state.octave_starts[-1] + max(steps, state.octave_step + 1) + steps * octaves_left

    def run(self, on_step: OnStep | None) -> StopReason:
        """Ascends until the last octave is done, `on_step` returns True, or a loss or gradient is not finite.

        Raises DivergedError if not even the first losses and gradient are finite.
        """
        reason: StopReason = "finished"
        state, self.has_begun = self.state, True
        callers_mode = FloatMode()
        try:
            with FloatMode(flush=True):
                while True:
                    self._evaluate()
                    if self._must_fetch_losses():
                        self._fetch_losses()
                    with callers_mode:
                        stops = self._call(on_step)
                    if state.only_evaluation_left:
                        break
                    if stops:
                        reason = "stopped"
                        break
                    self._change()
                    self._update()
                    if state.octave_step >= self._settings.steps or self._should_leave_octave():
                        self._leave_octave()
                    if state.only_evaluation_left and not self._evaluates_result:
                        break
            self._fetch_state()
        except DivergedError:
            if not self._has_diverged:  # `on_step` raised it, and it concerns another run
                raise
            if not state.history:
                raise DivergedError(
                    "the first gradient is not a finite number: the bundle or its weights are broken, export it again"
                ) from None
            reason = "diverged"
        self._stepper = None
        return reason

    def losses_at(self, number: int) -> Losses:
        """Returns a copy of the losses after `number` updates. Raises DivergedError if they are not finite."""
        if number >= len(self.state.history):
            self._fetch_losses()
        return np.array(self.state.history[number])

    def state_at(self, number: int) -> State:
        """Returns the state at the step that `on_step` is being called with.

        Raises DivergedError if a loss or gradient so far is not finite, and DreamError for any other step.
        """
        if number != self._current_step:
            raise DreamError(f"step {number} is over: fetch its picture or its state while on_step is called with it")
        return self._fetch_state()

    def change_at(self, number: int, settings: Settings) -> None:
        """Asks for other settings at the step that `on_step` is being called with. Raises what `Step.change` raises."""
        if number != self._current_step:
            raise DreamError(f"step {number} is over: change its settings while on_step is called with it")
        if not isinstance(settings, Settings):
            raise SettingsError(
                f"a step changes to Settings, not {type(settings).__name__}: write replace(step.settings, …)"
            )
        if self.state.only_evaluation_left and settings != self.course.setup.wanted:
            raise SettingsError("no step is left that the settings could change: dream the result again with them")
        self.course.ask_for(settings, self.state.octave)

    def step_config(self, size: Size) -> StepConfig:
        """Returns the configuration of an octave's stepper."""
        mask = None if self._mask is None else self._mask.at(size)
        base = self.processor.base(size) if self._settings.stay else None
        state = self.state
        slots_after = max(0, self.course.slots_since - state.octave_starts[-1])
        return StepConfig(
            self.evaluator, self._settings, self._limits, mask, state.colours, base, state.means_before, slots_after
        )

    def _initial_state(self) -> State:
        image = self.processor.base(self.processor.octaves[0])
        return State(image, new_slots(self._settings, image), colours=self.processor.colour_matrix())

    def _require_matching_state(self) -> None:
        state, octaves = self.state, self.processor.octaves
        matches = (
            0 <= state.octave < len(octaves)
            and state.image.shape[1:] == octaves[state.octave]
            and len(state.slots) == slot_count(self._settings)
            and (state.colours is not None) == parse_colours(self._settings.colours).has_matrix
            and all(losses.shape == self.layer_weights.shape for losses in state.history)
            and (state.means_before is None or state.means_before.shape == (self.evaluator.channel_count,))
        )
        if not matches:
            raise RecordError("the checkpoint does not match its picture and settings: start the dream again")

    @property
    def _settings(self) -> Settings:
        return self.course.setup.settings

    def _change(self) -> None:
        """Continues from the current state with the settings asked for, if any. Its losses are known."""
        if self.course.asked_for is None:
            return
        state, before = self._fetch_state(), self._settings
        self.course.take(state.number)
        if self._settings == before:
            return
        self._drop_stepper()
        if self.course.slots_since == state.number:
            state.slots = new_slots(self._settings, state.image)
        if self._settings.colours != before.colours:
            state.colours = self.processor.colour_matrix()
        if self.evaluator.objective.function is None:
            state.means_before = None
        self._evaluate()
        self._discard_new_rows()

    def _drop_stepper(self) -> None:
        """Lets the stepper go, but not the image that it keeps."""
        self._earlier_finite_image = self._stepper.kept_image() if self._stepper else None
        self._stepper = None

    @property
    def _octave_size(self) -> Size:
        return self.processor.octaves[self.state.octave]

    def _evaluate(self) -> None:
        while True:
            try:
                stepper = self._stepper or self._new_stepper()
                stepper.evaluate(self._jitter_shift() if self._settings.jitter else (0, 0))
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
                self._discard_new_rows()  # these losses are known from the first evaluation
        self.state.octave_step += 1
        self.state.number += 1

    def _new_stepper(self) -> Stepper:
        self._stepper = new_stepper(self.step_config(self._octave_size), self.state.image, self.state.slots)
        return self._stepper

    def _jitter_shift(self) -> tuple[int, int]:
        """Returns the pixels, down and right, that the image is rolled by at this step.

        They depend on the seed and the step alone, so that a resumed run continues with the same shifts.
        """
        reach = self._settings.jitter
        down, right = np.random.default_rng((self._settings.seed, self.state.number)).integers(-reach, reach + 1, 2)
        return int(down), int(right)

    def _shrink_tiles(self, error: MemoryError) -> None:
        """Continues from the current state in smaller tiles. Raises the error if the tiles cannot be smaller."""
        self._fetch_state()
        self._stepper = None
        self.evaluator.shrink_tiles(self._octave_size, error)

    def _call(self, on_step: OnStep | None) -> bool:
        """Returns whether `on_step` asks to stop; planned changes are asked for before it may ask for others.

        Raises DivergedError if one of its fetches did, caught or not.
        """
        state = self.state
        if not state.only_evaluation_left:
            self.course.ask_for_planned(state.number, state.octave)
        if on_step is None:
            return False
        self._current_step = state.number
        try:
            stop = on_step(Step(state.number, state.octave, state.octave_step, self._octave_size, self))
        finally:
            self._current_step = None
        self._require_finite()
        return bool(stop)

    def _must_fetch_losses(self) -> bool:
        """Whether losses must be fetched although `on_step` has not asked for them."""
        settings, waiting = self._settings, self.state.number + 1 - len(self.state.history)
        watched = settings.max_loss is not None or settings.plateau is not None
        return watched or self._stepper is None or waiting >= self._stepper.fetch_interval

    def _fetch_losses(self) -> None:
        """Appends the stepper's waiting losses to the history. Raises DivergedError if any of them, or one of their
        gradients, is not finite."""
        self._require_finite()
        if self._stepper is None:
            return
        rows = self._stepper.fetch_loss_rows()
        for row in rows:
            if not np.isfinite(row).all():
                self._has_diverged = True
                self._roll_back(self._stepper)
                self._require_finite()
            self.state.history.append(row[:-1].copy())
        if rows:
            self._stepper.keep_image()
            self._finite_count, self._earlier_finite_image = len(self.state.history), None

    def _discard_new_rows(self) -> None:
        if self._stepper:
            self._stepper.fetch_loss_rows()

    def _fetch_state(self) -> State:
        """Returns the current state. Raises DivergedError if a loss or gradient so far is not finite."""
        self._fetch_losses()
        if self._stepper:
            self.state.image, self.state.slots = self._stepper.arrays()
            self.state.means_before = self._stepper.means_before
        return self.state

    def _require_finite(self) -> None:
        if self._has_diverged:
            raise DivergedError(f"the losses were not finite numbers after step {len(self.state.history) - 1}")

    def _roll_back(self, stepper: Stepper) -> None:
        """Returns to the last image whose losses and gradient are known to be finite."""
        kept = stepper.kept_image()
        finite = self._earlier_finite_image if kept is None else kept
        self.state.image = stepper.arrays()[0] if finite is None else finite
        del self.state.history[self._finite_count :]
        self._stepper = None

    def _should_leave_octave(self) -> bool:
        """Whether this octave has come to its goals, or its losses, one row for each update, exceed `max_loss` or are
        on a plateau."""
        goals, means = self.evaluator.objective.goals, self._stepper.fetch_means() if self._stepper else None
        if goals is not None and means is not None and goals.are_reached(means):
            return True
        highest, window = self._settings.max_loss, self._settings.plateau
        if highest is None and window is None:
            return False
        since = max(self.state.octave_starts[-1], self.course.objective_since)
        totals = [float(losses @ self.layer_weights) for losses in self.state.history[since:]]
        if not totals:
            return False
        if highest is not None and totals[-1] > highest:
            return True
        if window is None or len(totals) <= window:
            return False
        before, lately = max(totals[:-window]), max(totals[-window:])
        return lately <= before + _PLATEAU_GAIN * abs(before)

    def _leave_octave(self) -> None:
        """Makes the next octave's image and slots, on the host, from the image after the last update."""
        state, settings = self._fetch_state(), self._settings
        processor, octaves = self.processor, self.processor.octaves
        self._drop_stepper()
        state.means_before = None
        if settings.detail == "after" and state.octave > 0:
            base, smaller = (processor.base(octaves[state.octave - back]) for back in (0, 1))
            state.image = with_lost_detail(state.image, base, smaller)
        if settings.octave_rounding:
            state.image = processor.quantized(state.image)
        self.course.leave(state.octave)
        if state.octave + 1 == len(self.processor.octaves):
            state.only_evaluation_left = True
            return
        base, following = (
            processor.base(octaves[state.octave]),
            self.processor.base(self.processor.octaves[state.octave + 1]),
        )
        state.image = next_octave(state.image, base, following, self._settings.detail)
        state.slots = new_slots(self._settings, state.image)
        state.octave += 1
        state.octave_step = 0
        state.octave_starts.append(state.number)
