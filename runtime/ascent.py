"""Gradient ascent on a picture: the paper's eq. 2, through octaves, with the losses of every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas, Mask, Pixels
from .errors import DivergedError, RecordError
from .objective import Objective
from .octaves import next_octave, with_lost_detail
from .settings import Settings
from .update import Update

Array = NDArray[np.float32]

Ending = Literal["finished", "stopped", "diverged"]

# A plateau is left when the best loss of the last steps is higher than the best before by this share.
_PLATEAU_GAIN = 1e-3


@dataclass
class State:
    """Where an ascent is, between two steps; all that it needs to go on.

    `number` counts updates, `octave_step` those of this octave; `history` holds a row of losses for every update
    before this one; `last` says that only the last evaluation is left.
    """

    image: Array
    slots: list[Array]
    number: int = 0
    octave: int = 0
    octave_step: int = 0
    octave_start: int = 0
    last: bool = False
    history: list[Array] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """The state after `number` updates: the losses of each layer and their weighted sum."""

    number: int
    losses: Array
    total: float
    canvas: Canvas
    objective: Objective
    state: State

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the octave."""
        return self.state.image.shape[1], self.state.image.shape[2]

    @property
    def picture(self) -> Pixels:
        """The picture at this step, as it would be saved; to be asked for before the next step."""
        return self.canvas.develop(self.state.image)


class Ascent:
    """Climbs a canvas's octaves, from the smallest or from a state that an earlier ascent was in."""

    def __init__(
        self,
        canvas: Canvas,
        objective: Objective,
        settings: Settings,
        layer_weights: Array,
        limits: tuple[float, float],
        mask: Mask | None = None,
    ) -> None:
        self._canvas = canvas
        self._objective = objective
        self._settings = settings
        self._layer_weights = layer_weights
        self._update = Update(settings, limits)
        self._mask = mask

    def start(self) -> State:
        """The state before the first step."""
        image = self._canvas.base(self._canvas.octaves[0])
        return State(image, self._update.new_slots(image))

    def run(self, state: State, on_step: Callable[[Step], bool | None] | None) -> Ending:
        """Climbs to the end, changing the state; returns finished, stopped (by `on_step`) or diverged.

        Raises DivergedError where not even the first evaluation is a finite number, and RecordError for a state that
        was in another ascent.
        """
        self._require_own(state)
        before: Array | None = None
        while True:
            shift = self._shift(state.number)
            losses, gradient = self._objective.evaluate(_rolled(state.image, shift))
            if not (np.isfinite(losses).all() and np.isfinite(gradient.sum())):
                if not state.history:
                    raise DivergedError(
                        "the first gradient is no finite number: the bundle or its weights are broken, export it again"
                    )
                state.image = state.image if before is None else before
                return "diverged"
            step = Step(state.number, losses, float(losses @ self._layer_weights), self._canvas, self._objective, state)
            stop = on_step(step) if on_step else None
            state.history.append(losses)
            if state.last:
                return "finished"
            if stop:
                return "stopped"
            if len(self._objective.plan(step.size).tiles) == 1:  # where memory is scarce there is no room for it
                before = state.image.copy()
            self._climb(state, _rolled(gradient, (-shift[0], -shift[1])))

    def _require_own(self, state: State) -> None:
        octaves = self._canvas.octaves
        own = (
            0 <= state.octave < len(octaves)
            and state.image.shape[1:] == octaves[state.octave]
            and len(state.slots) == self._update.slots
            and all(losses.shape == self._layer_weights.shape for losses in state.history)
        )
        if not own:
            raise RecordError("the checkpoint fits neither its picture nor its settings: start the dream again")

    def _climb(self, state: State, gradient: Array) -> None:
        """One update, and the way into the next octave where this one is done."""
        mask = None if self._mask is None else self._mask.at((gradient.shape[1], gradient.shape[2]))
        state.octave_step += 1
        self._update.apply(state.image, gradient, state.slots, state.octave_step, mask)
        state.number += 1
        if state.octave_step < self._settings.steps and not self._is_satisfied(state):
            return
        self._leave_octave(state)

    def _leave_octave(self, state: State) -> None:
        octaves, settings = self._canvas.octaves, self._settings
        if settings.detail == "after" and state.octave > 0:
            base, smaller = (self._canvas.base(octaves[state.octave - back]) for back in (0, 1))
            state.image = with_lost_detail(state.image, base, smaller)
        if settings.octave_rounding:
            state.image = self._canvas.rounded(state.image)
        if state.octave + 1 == len(octaves):
            state.last = True
            return
        base, following = (self._canvas.base(octaves[state.octave + on]) for on in (0, 1))
        state.image = next_octave(state.image, base, following, settings.detail)
        state.slots = self._update.new_slots(state.image)
        state.octave += 1
        state.octave_step = 0
        state.octave_start = state.number

    def _is_satisfied(self, state: State) -> bool:
        """Whether the losses of this octave say that it is time to leave it (the update just made is kept)."""
        totals = [float(losses @ self._layer_weights) for losses in state.history[state.octave_start :]]
        if self._settings.max_loss is not None and totals[-1] > self._settings.max_loss:
            return True
        window = self._settings.plateau
        if window is None or len(totals) <= window:
            return False
        before, lately = max(totals[:-window]), max(totals[-window:])
        return lately <= before + _PLATEAU_GAIN * abs(before)

    def _shift(self, number: int) -> tuple[int, int]:
        """How far the picture is rolled at a step, down and right; follows from the seed and the step alone."""
        reach = self._settings.jitter
        if not reach:
            return 0, 0
        down, right = np.random.default_rng((self._settings.seed, number)).integers(-reach, reach + 1, 2)
        return int(down), int(right)


def _rolled(image: Array, shift: tuple[int, int]) -> Array:
    return np.roll(image, shift, axis=(1, 2)) if any(shift) else image
