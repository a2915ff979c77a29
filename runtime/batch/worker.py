"""A worker of a batch: it dreams one picture after another in a process of its own."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from ..ascent.step import Step
from ..dream.checkpoint import Checkpoint
from ..dream.job import dream_and_save
from ..dream.record import Record
from ..dream.run import Preparation
from ..dream.writer import Callbacks, Job, Log
from ..image.source import Source
from ..processes.worker import Stops, Tell
from .assigned import Dreamer, dream_assigned
from .plan import Assignment
from .receipts import Receipt, hold_lock
from .terminal import describe_result


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker needs for all its pictures: the job, and the lock file of the driver's call."""

    job: Job
    lock: Path


class PictureDreamer:
    """Dreams assigned pictures, and tells the driver its lines for the user.

    Its sessions stay open from one picture to the next.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        self._job = setup.job
        self._resources = ExitStack()  # until the process ends
        with suppress(OSError):
            hold_lock(setup.lock, self._resources)

    def __call__(self, assignment: Assignment, tell: Tell, stops: Stops) -> Receipt:
        return dream_assigned(self._job, assignment, dreamer(tell, stops))


def dreamer(log: Log, is_stopped: Stops) -> Dreamer:
    """Returns what dreams a picture until `is_stopped` says so; `log` is called with the lines for the user."""

    def dream_one(job: Job, source: Source, checkpoint: Checkpoint | None) -> Record:
        started: list[Preparation] = []

        def on_step(step: Step) -> bool:
            return is_stopped()

        dream, results = dream_and_save(job, source, Callbacks(log, on_step, started.append), checkpoint)
        log(describe_result(source, dream.record, started[0].max_steps, results))
        return dream.record

    return dream_one
