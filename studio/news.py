"""What the workers tell of the jobs, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatchmethod
from typing import Any

from ..runtime.settings.changes import changes_at
from .jobs.choices import command_on, plan_pending, repeat_command
from .jobs.film import film_form
from .jobs.folder import Speeds
from .jobs.job import StudioJob
from .ledger import Ledger
from .workers.desk import Desk
from .workers.engine import Engine
from .workers.messages import Changed, Died, Ended, Frame, Held, Note, Progress, Ready, Refused, Started

# A job whose worker has ended so often is given up.
_MAX_DEATHS = 2
_MAX_NOTICES = 50
# A dream that did less than this says little on the speed of the machine, in megapixels times steps.
_TELLING = 1.0


class News:
    """Hears the workers' messages.

    `pausing` are the jobs that will be paused after their current step; `assign` is called when a worker can begin
    something.
    """

    def __init__(
        self, ledger: Ledger, desk: Desk, speeds: Speeds, pausing: set[str], assign: Callable[[], None]
    ) -> None:
        self._ledger, self._desk, self._speeds = ledger, desk, speeds
        self._pausing, self._assign = pausing, assign
        self._removed: dict[str, StudioJob] = {}

    def remove_at_end(self, job: StudioJob) -> None:
        """Removes the folder of a job as soon as its worker has ended it."""
        self._removed[job.id] = job

    def hear(self, engine: Engine, message: Any) -> None:
        """Hears a message of an engine's worker."""
        if isinstance(message, Ready):
            engine.machine = message.machine
            self._assign()
        elif isinstance(message, Died):
            self._hear_of_death(engine, message)
        elif isinstance(message, Ended):
            self._hear_of_end(engine, message)
        elif job := self._ledger.jobs.get(message.job):
            self._apply(message, job)

    @singledispatchmethod
    def _apply(self, message: Any, job: StudioJob) -> None:
        raise TypeError(message)

    @_apply.register
    def _(self, message: Started, job: StudioJob) -> None:
        if ":" in message.provider and job.command and "--repeat" not in job.command:  # one GPU of several
            job.command = command_on(message.provider, job.command)
        job.octaves, job.steps, job.provider = message.octaves, message.steps, message.provider
        job.seconds_before, job.pace_from = job.seconds, (0, 0.0)
        job.speed = self._speeds.of(job.bundle, job.provider)
        self._ledger.tell(job)

    @_apply.register
    def _(self, message: Note, job: StudioJob) -> None:
        line = message.line.removeprefix(f"{job.picture_file}: ")
        if line not in job.notices and len(job.notices) < _MAX_NOTICES:
            job.notices += (line,)
            self._ledger.tell(job)

    @_apply.register
    def _(self, message: Progress, job: StudioJob) -> None:
        if job.state == "starting":
            job.state = "running"
        if message.octave + 1 > job.octave:
            job.pending = {name: value for name, value in job.pending.items() if not _waits_for_octave(name)}
        job.octaves, job.steps = message.octaves, message.steps
        job.step, job.octave, job.octave_starts = message.step, message.octave + 1, message.octave_starts
        job.height, job.width = message.size
        job.seconds = job.seconds_before + message.seconds
        job.add_losses(message.losses)
        job.note_pace()
        self._ledger.tell(job)

    @_apply.register
    def _(self, message: Frame, job: StudioJob) -> None:
        self._ledger.keeper.add_frame(job, message)
        self._ledger.tell_of_frame(job)

    @_apply.register
    def _(self, message: Held, job: StudioJob) -> None:
        self._pausing.discard(job.id)
        if job.state in ("starting", "running"):
            job.state = "paused"
        self._ledger.keeper.store_frame(job)
        self._ledger.tell(job)
        self._assign()  # another one may be waiting for its place

    @_apply.register
    def _(self, message: Changed, job: StudioJob) -> None:
        job.settings = message.settings
        job.add_change(message.change)
        job.pending = {
            name: value
            for name, value in job.pending.items()
            if message.given.get(name, ...) != value or _waits_for_octave(name)
        }
        self._ledger.tell(job)

    @_apply.register
    def _(self, message: Refused, job: StudioJob) -> None:
        job.pending = {name: value for name, value in job.pending.items() if message.given.get(name, ...) != value}
        if message.line and message.line not in job.notices:
            job.notices += (message.line,)
        self._ledger.tell(job)

    def _hear_of_end(self, engine: Engine, message: Ended) -> None:
        engine.job = None
        if removed := self._removed.pop(message.job, None):
            self._ledger.keeper.remove(removed)
        elif job := self._ledger.jobs.get(message.job):
            self._end(job, message)
        self._pausing.discard(message.job)
        self._assign()

    def _end(self, job: StudioJob, message: Ended) -> None:
        job.seconds = job.seconds_before + message.seconds
        if message.left:
            self._hand_over(job)
        job.pending = {}
        if job.changes:
            job.command = repeat_command(self._ledger.folder.result(job).with_suffix(".json"))
        if not message.left:
            job.state, job.error = message.end, message.error
            job.has_result = self._ledger.folder.result(job).is_file()
            job.film = film_form() if self._ledger.keeper.reel(job).given > 1 else None
        elif job.state != "paused":  # it was to go on or to be stopped meanwhile
            self._desk.add(job.id, at_front=True)
            job.state = "stopping" if job.state == "stopping" else "queued"
        self._ledger.keeper.release_frame(job)
        self._ledger.tell(job)
        if message.end == "finished" and message.megapixel_steps > _TELLING and not job.changes:
            self._speeds.add(job.bundle, job.provider, job.seconds / message.megapixel_steps)

    def _hand_over(self, job: StudioJob) -> None:
        """Keeps what was asked of a job that its worker has left before it did so."""
        plan_pending(job)
        if job.id in self._pausing and job.state in ("starting", "running"):
            job.state = "paused"

    def _hear_of_death(self, engine: Engine, message: Died) -> None:
        identifier = engine.take_lost(message)
        if identifier and (removed := self._removed.pop(identifier, None)):
            self._ledger.keeper.remove(removed)
        elif identifier and (job := self._ledger.jobs.get(identifier)):
            self._bury(job, message)
        self._pausing.discard(identifier or "")
        if self._desk.is_broken:
            for waiting in list(self._desk.queue):
                self._desk.take_back(waiting)
                self._fail(self._ledger.jobs[waiting], f"no worker can be started: the last one {message.how}")
        self._assign()

    def _bury(self, job: StudioJob, message: Died) -> None:
        """What becomes of a job whose worker has ended: it is continued by another one, once."""
        job.deaths += 1
        self._hand_over(job)
        self._ledger.keeper.release_frame(job)
        if job.state == "stopping":
            job.state = "stopped"
        elif job.state != "paused" and job.deaths < _MAX_DEATHS:
            job.state = "queued"
            job.notices += (f"its worker {message.how}; another one continues",)
            self._desk.add(job.id, at_front=True)
        elif job.state != "paused":
            self._fail(job, f"its worker {message.how} for the second time: choose a smaller max size")
        self._ledger.tell(job)

    def _fail(self, job: StudioJob, line: str) -> None:
        job.state, job.error = "failed", line
        self._ledger.tell(job)


def _waits_for_octave(name: str) -> bool:
    return name != "layers" and changes_at(name) == "octave"
