"""A worker of a batch: it dreams one picture after another in its own process and tells the driver how it goes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from ..ascent.step import Step
from ..dream.checkpoint import Checkpoint
from ..dream.job import dream_and_save
from ..dream.progress import DreamProgress
from ..dream.record import Record
from ..dream.writer import Callbacks, Job
from ..image.source import Source
from ..processes.worker import Stops, Tell
from .assigned import Dreamer, dream_assigned
from .plan import Assignment
from .receipts import Receipt, hold_lock
from .terminal import describe_result


@dataclass(frozen=True)
class Event:
    """An event of a dream for a program, see `EventStream`; besides, a worker tells lines for the user."""

    name: str
    fields: Mapping[str, str | float | None]


@dataclass(frozen=True)
class _Events:
    """Tells the driver the events of a dream."""

    tell: Tell

    def send(self, event: str, **fields: str | float | None) -> None:
        self.tell(Event(event, fields))


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker needs for all its pictures: the job, and the lock file of the driver's call.

    With `tells_steps`, it tells the steps, too.
    """

    job: Job
    lock: Path
    tells_steps: bool = False


class PictureDreamer:
    """Dreams assigned pictures, and tells the driver its lines for the user and its events.

    Its sessions stay open from one picture to the next.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        self._job, self._tells_steps = setup.job, setup.tells_steps
        self._resources = ExitStack()  # until the process ends
        with suppress(OSError):
            hold_lock(setup.lock, self._resources)

    def __call__(self, assignment: Assignment, tell: Tell, stops: Stops) -> Receipt:
        return dream_assigned(self._job, assignment, dreamer(tell, stops, self._tells_steps))


def dreamer(tell: Tell, is_stopped: Stops, tells_steps: bool = False) -> Dreamer:
    """Returns what dreams a picture until `is_stopped` says so.

    `tell` is called with the lines for the user and the events, without those of steps unless `tells_steps`.
    """

    def dream_one(job: Job, source: Source, checkpoint: Checkpoint | None) -> Record:
        progress = DreamProgress(source.name, tell, events=_Events(tell))

        def on_step(step: Step) -> bool:
            if tells_steps:
                progress.show(step)
            return is_stopped()

        dream, results = dream_and_save(job, source, Callbacks(tell, on_step, progress.start), checkpoint)
        tell(describe_result(source, dream.record, progress.steps, results))
        progress.done(dream.record, results.location)
        return dream.record

    return dream_one
