"""What the steps of a run follow: its settings and what is made of them, which may change on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..bundle.objective import Objective
from ..errors import SettingsError
from ..image.processor import ImageProcessor
from ..settings.changes import OBJECTIVE_SETTINGS, Change, Moment, changes_at, differing, require_changeable
from ..settings.settings import Settings
from .evaluator import Evaluator
from .update import shares_slots

# Makes the objective of a run's picture for other settings; raises DreamError.
MakeObjective = Callable[[Settings], Objective]


@dataclass(frozen=True, eq=False)
class Setup:
    """The settings that a run follows, and its picture, its objective and its tiles with them.

    `wanted` are the settings with those that wait for the next octave. Without `make_objective`, a run cannot change.
    """

    settings: Settings
    wanted: Settings
    processor: ImageProcessor
    evaluator: Evaluator
    make_objective: MakeObjective | None = None

    def changed(self, wanted: Settings, octave: int) -> Setup:
        """Returns the setup from the next step on, in the octave of that number, which counts from 0.

        Raises SettingsError for a change that is not possible there, and DreamError where its objective fails.
        """
        names = differing(self.wanted, wanted)
        require_changeable(names)
        if self.make_objective is None:
            raise SettingsError("the settings of this run cannot change on the way: they are those of a film")
        waiting = _those_at("octave", names)
        if waiting and octave + 1 == len(self.processor.octaves):
            raise SettingsError(
                f"{waiting[0].replace('_', ' ')} changes with the next octave, and no octave is left: dream the result "
                "again with it"
            )
        setup = replace(self, wanted=wanted)
        at_once = {name: getattr(wanted, name) for name in _those_at("step", names)}
        if at_once:
            settings = replace(self.settings, **at_once)
            processor = self.processor.with_settings(settings, octave + 1)
            objective = self.evaluator.objective
            if any(name in at_once for name in OBJECTIVE_SETTINGS):
                objective = self.make_objective(settings)
            evaluator = self.evaluator.changed(settings, objective, processor.largest_octave)
            setup = replace(setup, settings=settings, processor=processor, evaluator=evaluator)
        setup.after(octave)  # raises now what it would raise then
        return setup

    def after(self, octave: int) -> Setup:
        """Returns the setup after an octave: what waits for the next one takes effect. Raises SettingsError."""
        if self.settings == self.wanted:
            return self
        processor = self.processor.with_settings(self.wanted, octave + 1)
        evaluator = self.evaluator.changed(self.wanted, self.evaluator.objective, processor.largest_octave)
        return replace(self, settings=self.wanted, processor=processor, evaluator=evaluator)


class Course:
    """The changes of a run: those made, the one asked for at the current step, and those planned, in order.

    `setup` is what the run follows now, `asked_for` what it follows from the current step on, if that is another.
    `objective_since` is the first number of losses of this objective, `slots_since` the number of updates after which
    the optimizer's slots were new for its sake.
    """

    def __init__(self, setup: Setup, planned: Sequence[Change]) -> None:
        self.setup = setup
        self.changes: list[Change] = []
        self.asked_for: Setup | None = None
        self.objective_since = self.slots_since = 0
        self._planned = {change.step: change for change in planned}

    @property
    def wanted(self) -> Settings:
        """The settings of the next update, with those that wait for the next octave."""
        return (self.asked_for or self.setup).wanted

    def plan(self, number: int) -> tuple[Change, ...]:
        """Returns the changes to resume the run with after `number` updates: those made, asked for and planned."""
        here = [Change.between(number, self.setup.wanted, self.wanted)] if self.asked_for else []
        return (*self.changes, *here, *(change for step, change in self._planned.items() if step > number))

    def ask_for(self, wanted: Settings, octave: int) -> None:
        """Asks for other settings at the current step, in place of others asked for there. Raises DreamError."""
        self.asked_for = None if wanted == self.setup.wanted else self.setup.changed(wanted, octave)

    def ask_for_planned(self, number: int, octave: int) -> None:
        """Asks for what is planned after `number` updates, if anything is. Raises DreamError."""
        if number in self._planned:
            self.ask_for(self._planned[number].applied_to(self.setup.wanted), octave)

    def take(self, number: int) -> None:
        """Follows what was asked for, after `number` updates."""
        if self.asked_for is None:
            return
        self.changes.append(Change.between(number, self.setup.wanted, self.asked_for.wanted))
        if self.asked_for.evaluator.objective is not self.setup.evaluator.objective:
            self.objective_since = number + 1
        if not shares_slots(self.asked_for.settings, self.setup.settings):
            self.slots_since = number
        self.setup, self.asked_for = self.asked_for, None

    def leave(self, octave: int) -> None:
        """Follows what has waited for the end of this octave."""
        self.setup = self.setup.after(octave)

    def catch_up(self, number: int, octave_starts: Sequence[int], has_left: bool) -> None:
        """Makes the planned changes of a run's first `number` updates.

        `octave_starts` are the numbers of updates before its octaves; `has_left` is whether it has left the last.
        Raises DreamError.
        """
        ends = [*octave_starts[1:], number]
        for octave, (start, end) in enumerate(zip(octave_starts, ends, strict=True)):
            for step in [step for step in self._planned if start <= step < end]:
                self.ask_for_planned(step, octave)
                self.take(step)
            if octave + 1 < len(ends) or has_left:
                self.leave(octave)


def _those_at(moment: Moment, names: list[str]) -> list[str]:
    return [name for name in names if changes_at(name) == moment]
