"""What the steps of a run follow: its settings and what is made of them, which may change on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..bundle.objective import Objective
from ..errors import SettingsError
from ..image.processor import ImageProcessor
from ..settings.changes import OBJECTIVE_SETTINGS, Moment, changes_at, differing, require_changeable
from ..settings.settings import Settings
from .evaluator import Evaluator

# Makes the objective of a run's picture for other settings; raises DreamError.
MakeObjective = Callable[[Settings], Objective]


@dataclass(frozen=True, eq=False)
class Course:
    """The settings that a run follows now, and its picture, its objective and its tiles with them.

    `wanted` are the settings with those that wait for the next octave. Without `make_objective`, a run cannot change.
    """

    settings: Settings
    wanted: Settings
    processor: ImageProcessor
    evaluator: Evaluator
    make_objective: MakeObjective | None = None

    def changed(self, wanted: Settings, octave: int) -> Course:
        """Returns the course from the next step on, in the octave of that number, which counts from 0.

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
        course = replace(self, wanted=wanted)
        at_once = {name: getattr(wanted, name) for name in _those_at("step", names)}
        if at_once:
            settings = replace(self.settings, **at_once)
            processor = self.processor.with_settings(settings, octave + 1)
            objective = self.evaluator.objective
            if any(name in at_once for name in OBJECTIVE_SETTINGS):
                objective = self.make_objective(settings)
            evaluator = self.evaluator.changed(settings, objective, processor.largest_octave)
            course = replace(course, settings=settings, processor=processor, evaluator=evaluator)
        course.after(octave)  # raises now what it would raise then
        return course

    def after(self, octave: int) -> Course:
        """Returns the course after an octave: what waits for the next one takes effect. Raises SettingsError."""
        if self.settings == self.wanted:
            return self
        processor = self.processor.with_settings(self.wanted, octave + 1)
        evaluator = self.evaluator.changed(self.wanted, self.evaluator.objective, processor.largest_octave)
        return replace(self, settings=self.wanted, processor=processor, evaluator=evaluator)


def _those_at(moment: Moment, names: list[str]) -> list[str]:
    return [name for name in names if changes_at(name) == moment]
