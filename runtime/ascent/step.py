"""What a run shows of itself between two updates: its state, and the step that `on_step` is called with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ...models.arrays import Floats, Image, Losses, Pixels, Size
from ..image.processor import ImageProcessor
from ..settings.settings import Settings

StopReason = Literal["finished", "stopped", "diverged"]
OnStep = Callable[["Step"], bool | None]


@dataclass
class State:
    """Everything that an ascent needs in order to continue from between two steps.

    `number` counts the updates of the run, `octave` the octaves from 0, `octave_step` the updates of this octave.
    `octave_starts` are the values of `number` at the beginning of each octave so far. `slots` are the arrays that the
    optimizer keeps, each of the image's shape. `history` holds the losses before every update and, after an evaluation,
    those of the image itself. `only_evaluation_left` says that all updates are done and the final evaluation remains.
    `colours` is the colour matrix, float32 [3, 3], made once for the settings; None without one. `means_before` are
    the channel means, float32 [channels of all layers], at which the last evaluation took the slope of the objective's
    function; None without one, and as an octave begins. During a run, only the state that a step's `fetch_state`
    returns is up to date.
    """

    image: Image = field(repr=False)
    slots: list[Image] = field(repr=False)
    number: int = 0
    octave: int = 0
    octave_step: int = 0
    octave_starts: list[int] = field(default_factory=lambda: [0])
    only_evaluation_left: bool = False
    history: list[Losses] = field(default_factory=list, repr=False)
    colours: Floats | None = field(default=None, repr=False)
    means_before: Floats | None = field(default=None, repr=False)


class Run(Protocol):
    """What a step asks of its run; `Ascent` documents the members."""

    seconds_paused: float

    @property
    def layer_weights(self) -> Floats: ...

    @property
    def processor(self) -> ImageProcessor: ...

    @property
    def wanted_settings(self) -> Settings: ...

    def losses_at(self, number: int) -> Losses: ...

    def state_at(self, number: int) -> State: ...

    def change_at(self, number: int, settings: Settings) -> None: ...


@dataclass(frozen=True)
class Step:
    """The position of a run after `number` updates, `octave_step` of them in the octave `octave`, which counts from 0.

    `size` is the octave's size. Losses, image and slots may be in a GPU's memory. The `fetch_` methods copy them to the
    host, which takes time there, and raise DivergedError if a loss or gradient so far is not a finite number. The run
    then ends as diverged when `on_step` returns, even if `on_step` caught the error.
    """

    number: int
    octave: int
    octave_step: int
    size: Size
    _run: Run = field(repr=False, compare=False)

    def fetch_losses(self) -> Losses:
        """Returns the losses at this step, also later and after the run. Raises DivergedError."""
        return self._run.losses_at(self.number)

    def fetch_total(self) -> float:
        """Returns the sum of the losses with the layer weights of now, also later and after the run. Raises
        DivergedError."""
        return float(self.fetch_losses() @ self._run.layer_weights)

    def fetch_state(self) -> State:
        """Returns the state to continue from. Its arrays belong to the run and change with the next update.

        Raises DivergedError, and DreamError once `on_step` has returned.
        """
        return self._run.state_at(self.number)

    def fetch_picture(self) -> Pixels:
        """Returns the picture at this step as it would be saved. Raises what `fetch_state` raises."""
        return self._run.processor.postprocess(self.fetch_state().image)

    @property
    def settings(self) -> Settings:
        """The settings of the run at its latest step, with those that wait for the next octave."""
        return self._run.wanted_settings

    def change(self, settings: Settings) -> None:
        """Lets the run go on with other settings, from this step's update or from the next octave on.

        `changes_at` tells which of the two, by name. Raises SettingsError for settings that cannot change on the way or
        do not fit the bundle, and DreamError once `on_step` has returned. Then the run goes on as before.
        """
        self._run.change_at(self.number, settings)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A context for `on_step` to wait in: its time does not count as the run's."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._run.seconds_paused += time.perf_counter() - started
