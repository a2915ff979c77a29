"""The worker: a process that dreams one job after another, and keeps the bundle and its session in between."""

from __future__ import annotations

import os
import queue
import re
import threading
import time
import traceback
from collections import OrderedDict
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from ...models.errors import OnnxdreamError
from ...runtime.ascent.step import Step
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.sessions import Sessions
from ...runtime.dream.checkpoint import Checkpoint, read_checkpoint
from ...runtime.dream.job import dream_and_save
from ...runtime.dream.repeat import job_to_resume
from ...runtime.dream.run import Preparation
from ...runtime.dream.writer import Callbacks, Job
from ...runtime.errors import DivergedError, OutputError
from ...runtime.image.source import Source
from ...runtime.processes.worker import Tell
from ...runtime.provider.selection import choose_provider
from ...runtime.settings.changes import Change
from ..errors import disk_error, in_page_words
from ..jobs.choices import changed
from ..pictures.previews import Previews, frame_of
from .controls import Controls
from .messages import Changed, Ended, Frame, Held, Leave, Load, Note, Progress, Ready, Refused, Started, Task, Word

# Bundles that stay in memory; the session of the last one stays, too.
_KEPT_BUNDLES = 3
_PROGRESS_SECONDS = 0.05
# The line on the sizes of a dream, which the page shows as numbers; one with something unusual has it in brackets.
_SIZES = re.compile(r"\d+×\d+ → \d+×\d+[^(]*$")


def work(connection: Connection) -> None:
    """Dreams tasks until the server closes the connection or ends."""
    controls = Controls()
    tasks: queue.SimpleQueue[Load | Task] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, controls, tasks), daemon=True).start()
    shelf = Shelf()
    while True:
        task = tasks.get()
        if isinstance(task, Load):
            connection.send(_load(task, shelf))
        else:
            connection.send(Dreamer(task, shelf, controls, connection.send).dream())


def _receive(connection: Connection, controls: Controls, tasks: queue.SimpleQueue[Load | Task]) -> None:
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            message = Leave()
        if isinstance(message, Leave):  # or the server has gone
            os._exit(0)
        if isinstance(message, Word):
            controls.hear(message)
            continue
        if isinstance(message, Task):
            controls.begin(message)
        tasks.put(message)


def _load(task: Load, shelf: Shelf) -> Ready:
    """Loads what the first job will probably need. What fails here fails again, and is told, when it is needed."""
    try:
        choice = choose_provider(task.execution)
        shelf.sessions(task.bundle)
        return Ready(choice.machine)
    except OnnxdreamError:
        return Ready(None)


class Shelf:
    """The bundles that were used last, by name, and the sessions of the last one."""

    def __init__(self) -> None:
        self._bundles: OrderedDict[str, Bundle] = OrderedDict()
        self._sessions: Sessions | None = None

    def sessions(self, name: str) -> Sessions:
        """Returns the sessions of a bundle, which is loaded if needed. Raises BundleError."""
        bundle = self._bundles.pop(name, None) or Bundle.load(name)
        self._bundles[name] = bundle
        if len(self._bundles) > _KEPT_BUNDLES:
            self._bundles.popitem(last=False)
        if self._sessions is None or self._sessions.bundle is not bundle:
            self._sessions = Sessions(bundle)
        return self._sessions


class Dreamer:
    """Dreams one task as the command line does, obeys the words on it, and tells the server how it goes."""

    def __init__(self, task: Task, shelf: Shelf, controls: Controls, tell: Tell) -> None:
        self._task, self._shelf, self._controls, self._tell = task, shelf, controls, tell
        self._previews = Previews()
        self._untold: list[Step] = []
        self._next_progress = 0.0
        self._started = time.monotonic()
        self._waited = 0.0
        self._preparation: Preparation
        self._last: Step | None = None
        self._octave_starts: list[int] = []

    def dream(self) -> Ended:
        """Dreams until the end or until a word ends it; whatever was dreamed is saved."""
        task, path = self._task, self._task.output.with_suffix(".checkpoint")
        try:
            sessions = self._shelf.sessions(task.bundle)
            checkpoint = read_checkpoint(path) if task.resumes else None
            job = self._job(sessions) if checkpoint is None else job_to_resume(checkpoint, path)
            changes = _planned(task, checkpoint)
            job = replace(job, sessions=sessions, bundle=sessions.bundle, plots=False, changes=changes)
            callbacks = Callbacks(self._note, self._on_step, self._on_start, self._controls.decide)
            dream, _ = dream_and_save(job, Source(task.picture), callbacks, checkpoint)
        except DivergedError as error:
            return Ended(task.job, "diverged", self._seconds, in_page_words(str(error)))
        except OutputError as error:
            return Ended(task.job, "failed", self._seconds, str(disk_error(error)))
        except OnnxdreamError as error:
            return Ended(task.job, "failed", self._seconds, in_page_words(str(error)))
        except MemoryError:
            return Ended(task.job, "failed", self._seconds, "memory ran out: choose a smaller max size")
        except Exception as error:  # a fault of ours fails one job, and is shown where the studio was started
            traceback.print_exc()
            return Ended(task.job, "failed", self._seconds, f"unexpected {type(error).__name__}: {error}")
        record = dream.record
        if self._untold and self._last:
            self._send_progress(self._last)
        self._send_frame(frame_of(dream.picture), record.last_loss)
        starts = [*(octave.start for octave in record.octaves), record.steps_done]
        done = sum(
            octave.size.pixels * (after - octave.start)
            for octave, after in zip(record.octaves, starts[1:], strict=True)
        )
        left = record.ended == "stopped" and self._controls.has_to_leave
        return Ended(task.job, record.ended, self._seconds, left=left, megapixel_steps=done / 1e6)

    def _job(self, sessions: Sessions) -> Job:
        task = self._task
        return Job(
            sessions.bundle, task.settings, task.output, True, mask=task.mask, guide=task.guide, sessions=sessions
        )

    @property
    def _seconds(self) -> float:
        """How long the job has run, without the time that it was paused."""
        return time.monotonic() - self._started - self._waited

    def _note(self, line: str) -> None:
        if not _SIZES.search(line):
            self._tell(Note(self._task.job, in_page_words(line)))

    def _on_start(self, preparation: Preparation) -> None:
        state = preparation.ascent.state
        self._octave_starts = list(state.octave_starts)
        self._preparation = preparation
        provider = preparation.execution.provider
        self._tell(Started(self._task.job, tuple(preparation.octaves), preparation.max_steps, provider))

    def _on_step(self, step: Step) -> bool:
        self._untold.append(step)
        self._last = step
        if step.octave == len(self._octave_starts):
            self._octave_starts.append(step.number)
        holds = self._controls.holds
        if holds or self._previews.is_due(self._controls.is_watched):
            self._send_frame(self._previews.take(step), step.fetch_total())
        self._change(step)
        if holds or time.monotonic() >= self._next_progress:
            self._send_progress(step)
        if holds:
            self._tell(Held(self._task.job))
        return self._obey(step)

    def _obey(self, step: Step) -> bool:
        """Waits while the job is paused; returns whether it has to end."""
        since = time.monotonic()
        with step.paused():
            while (order := self._controls.wait()) == "change":
                self._change(step)
        self._waited += time.monotonic() - since
        return order == "stop"

    def _change(self, step: Step) -> None:
        """Makes the changes that were asked for, as one; those that are refused are told."""
        before = wanted = step.settings
        taken: dict[str, Any] = {}
        while given := self._controls.take_change():
            try:
                candidate = changed(wanted, given)
                step.change(candidate)
                wanted, taken = candidate, {**taken, **given}
            except OnnxdreamError as error:
                self._tell(Refused(self._task.job, given, in_page_words(str(error))))
        if wanted != before:
            self._previews.hurry()
            self._next_progress = 0.0  # what was not told yet belongs to the settings before
            self._tell(Changed(self._task.job, Change.between(step.number, before, wanted), taken, wanted))
        elif taken:
            self._tell(Refused(self._task.job, taken, ""))

    def _send_progress(self, step: Step) -> None:
        losses = tuple((one.number, one.fetch_total()) for one in self._untold)
        self._untold.clear()
        self._next_progress = time.monotonic() + _PROGRESS_SECONDS
        self._tell(
            Progress(
                self._task.job,
                step.number,
                step.octave,
                step.size,
                losses,
                tuple(self._octave_starts),
                tuple(self._preparation.octaves),
                self._preparation.max_steps,
                self._seconds,
            )
        )

    def _send_frame(self, jpeg: bytes, loss: float) -> None:
        if self._last:
            last = self._last
            self._tell(Frame(self._task.job, last.number, last.octave, last.size, loss, jpeg))


def _planned(task: Task, checkpoint: Checkpoint | None) -> tuple[Change, ...]:
    """The changes of a run: those that its checkpoint knows of, and those that the server has heard of since.

    A server that had not heard of the last steps before the checkpoint plans changes there, which are then made at it.
    """
    if checkpoint is None:
        return task.changes
    number = checkpoint.state.number
    done = [change for change in checkpoint.changes if change.step < number]
    made = _merged(done)
    wanted = _merged([*done, *(change for change in task.changes if change.step < number)])
    late = {name: value for name, value in wanted.items() if name not in made or made[name] != value}
    planned = {change.step: change for change in task.changes if change.step >= number}
    if late:
        there = planned[number].settings if number in planned else {}
        planned[number] = Change(number, {**late, **there})
    return (*done, *(planned[step] for step in sorted(planned)))


def _merged(changes: list[Change]) -> dict[str, Any]:
    """The settings that changes make, the latest of each; of those at one step, the last of the list."""
    return {name: value for one in sorted(changes, key=lambda one: one.step) for name, value in one.settings.items()}
