"""The studio itself: its jobs, what may be done with them, and what their workers tell of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..models.errors import OnnxdreamError
from ..models.files import atomic_write
from ..runtime.ascent.objectives import require_objective
from ..runtime.bundle.bundle import Bundle
from ..runtime.provider.machine import Machine
from ..runtime.settings.changes import Change, changes_at, differing
from ..runtime.settings.presets import DEFAULT_LOOK
from ..runtime.settings.settings import Execution
from .errors import StudioError, not_found
from .jobs.choices import (
    Chooser,
    Chosen,
    changed,
    checked_settings,
    command_line,
    loaded_bundle,
    plan_pending,
    refusal,
    settings_file,
    usual_bundle,
)
from .jobs.folder import Folder, Speeds, new_id
from .jobs.job import State, StudioJob
from .keeper import Newest
from .ledger import Ledger, Listener
from .news import News
from .pictures.reading import Reader
from .pictures.uploads import Pictures
from .requests import JobFiles, JobRequest
from .workers.desk import Desk
from .workers.engine import Engine
from .workers.messages import Task, Word

MAX_QUEUED = 20
MAX_JOBS = 1000


class Studio:
    """The jobs of a folder. All methods are for the event loop's thread, in which it is made."""

    def __init__(self, folder: Folder, chooser: Chooser, executions: list[Execution], listener: Listener) -> None:
        self.folder, self.chooser = folder, chooser
        self._ledger = Ledger(folder, listener)
        self.jobs, self.keeper = self._ledger.jobs, self._ledger.keeper
        self.reader = Reader()
        self.pictures = Pictures(folder.pictures, self.reader)
        self.speeds = Speeds(folder.path / "speeds.json")
        self._creating = asyncio.Lock()
        self._steps_of_held: dict[str, int] = {}
        self._watched: set[str] = set()
        self._pausing: set[str] = set()  # jobs that will be paused after their current step
        self._is_closing = False
        loop = asyncio.get_running_loop()

        def hear(engine: Engine, message: Any) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._news.hear, engine, message)

        self.desk = Desk(executions, usual_bundle(DEFAULT_LOOK).name, hear, self._task_of)
        self._news = News(self._ledger, self.desk, self.speeds, self._pausing, self.assign)

    @property
    def machine(self) -> Machine | None:
        """What the first worker computes on, once it is known."""
        return self.desk.engines[0].machine

    def load(self) -> None:
        """Takes up the jobs of earlier studios: what was running goes on, what was paused stays so."""
        self.pictures.clean()
        for job in sorted(self.folder.read_jobs(), key=lambda job: job.created):
            self.jobs[job.id] = job
            plan_pending(job)
            job.seq += 1  # a page that is still open has seen frames that were not stored
            if job.state in ("starting", "running"):
                job.state = "queued"
            elif job.state == "stopping" and not self.folder.has_checkpoint(job):
                job.state = "stopped"
            if job.state in ("queued", "stopping"):
                self.desk.add(job.id)
        self.assign()

    async def close(self) -> None:
        """Ends the workers; what runs is saved, and goes on when the studio starts again."""
        self._is_closing = True
        for engine in self.desk.engines:
            if engine.job:
                engine.send(Word(engine.job, "leave"))
        await asyncio.to_thread(self.desk.close)
        await self.keeper.close()
        self.reader.close()

    def newest_first(self) -> list[StudioJob]:
        """Returns all jobs, the newest first."""
        return sorted(self.jobs.values(), key=lambda job: job.created, reverse=True)

    async def newest_frame(self, job: StudioJob) -> Newest | None:
        """Returns a job's newest frame, if there is one."""
        return self.keeper.in_memory(job) or await asyncio.to_thread(self.keeper.stored, job)

    def find(self, identifier: str) -> StudioJob:
        """Returns a job. Raises StudioError."""
        if identifier not in self.jobs:
            raise not_found("dream")
        return self.jobs[identifier]

    async def create(self, request: JobRequest) -> tuple[StudioJob, bool]:
        """Returns the job of a request, and whether it is new. Raises StudioError, DreamError and OSError."""
        async with self._creating:
            for job in self.jobs.values():
                if request.identifier and job.request == request.identifier:
                    return job, False
            if self.desk.is_broken:
                raise StudioError(500, "no worker can be started: the terminal of the studio says more")
            if len(self.desk.queue) >= MAX_QUEUED:
                raise StudioError(429, f"{MAX_QUEUED} dreams are waiting already: wait until one has ended")
            if len(self.jobs) >= MAX_JOBS:
                raise StudioError(429, f"the studio keeps {MAX_JOBS} dreams: remove some first")
            parent = self.find(request.branch_of) if request.branch_of else None
            job = await asyncio.to_thread(self._prepared, request, parent)
            self.jobs[job.id] = job
            self.desk.add(job.id)
            self.assign()
            return self._ledger.tell(job), True

    def _prepared(self, request: JobRequest, parent: StudioJob | None) -> StudioJob:
        """A new job with its folder; runs in a thread of its own."""
        chosen = self.chooser.choose(request.look, request.bundle, request.settings, request.has_guide(parent))
        identifier = new_id()
        folder = self.folder.jobs / identifier
        files = JobFiles(folder, self.pictures, self.reader, self.folder)
        try:
            job = files.job(request, chosen, parent)
            self._write_command(job, chosen)
            self.folder.save(job.id, job.to_json())
        except BaseException:
            files.remove()
            raise
        return job

    def _write_command(self, job: StudioJob, chosen: Chosen) -> None:
        """Notes the command that makes a job's dream, and writes the file with its settings. Raises OSError."""
        folder = self.folder.of(job)
        config = self.folder.result(job).with_suffix(".toml")
        atomic_write(config, settings_file(chosen.settings, chosen.model, config).encode())
        files = {"mask": job.mask_file, "guide": job.guide_file}
        named = {name: folder / file for name, file in files.items() if file}
        job.command = command_line(chosen, self.chooser.machine, folder / job.picture_file, named, config)

    def change(self, identifier: str, given: Mapping[str, Any]) -> StudioJob:
        """Changes settings of a job from its next step, or from its next octave. Raises StudioError."""
        job = self._require(identifier, "queued", "starting", "running", "paused")
        changes = checked_settings(given)
        try:
            before = changed(job.settings, job.pending)
            wanted = changed(before, changes)
            names = differing(before, wanted)
            self._require_changeable(job, names)
            bundle = loaded_bundle(job.bundle)
            require_objective(bundle.metadata, wanted, job.guide_file is not None)
        except OnnxdreamError as error:
            raise refusal(error, changes) from None
        if not names:
            return job
        if self.desk.send(Word(job.id, "change", changes)):
            job.pending = {**job.pending, **changes}
        else:
            job.settings = wanted
            self._plan_change(job, bundle, Change.between(job.step, before, wanted))
        return self._ledger.tell(job)

    def _require_changeable(self, job: StudioJob, names: list[str]) -> None:
        """Raises StudioError for a setting that cannot be changed any more."""
        for name in names:
            words = name.replace("_", " ")
            if changes_at(name) == "start":
                raise StudioError(409, f"{words} cannot change on the way: dream the picture again with it", name)
            if changes_at(name) == "octave" and job.octaves and job.octave >= len(job.octaves):
                raise StudioError(409, f"{words} changes with the next octave, and this one is the last", name)

    def _plan_change(self, job: StudioJob, bundle: Bundle, change: Change) -> None:
        """Changes a job that no worker has: from its beginning, or at the step from which it will be resumed."""
        if self.folder.has_checkpoint(job):
            job.add_change(change)
        else:
            job.initial = job.settings
            self._write_command(job, Chosen(job.look, bundle, job.settings))

    def pause(self, identifier: str) -> StudioJob:
        """Pauses a job after its current step, or takes it out of the queue. Raises StudioError."""
        job = self._require(identifier, "queued", "starting", "running")
        if self.desk.take_back(job.id):
            job.state = "paused"
        else:
            self.desk.send(Word(job.id, "pause"))
            self._pausing.add(job.id)
        return self._ledger.tell(job)

    def resume(self, identifier: str) -> StudioJob:
        """Goes on with a paused job, or with a stopped one from its checkpoint. Raises StudioError."""
        if identifier in self._pausing:
            self._pausing.discard(identifier)
            self.desk.send(Word(identifier, "go"))
            return self.find(identifier)
        job = self._require(identifier, "paused", "stopped")
        if job.state == "stopped" and not self.folder.has_checkpoint(job):
            raise StudioError(409, f"{job.name} has no checkpoint to go on from: begin it again")
        if self.desk.send(Word(job.id, "go")):
            job.state = "running"
            return self._ledger.tell(job)
        self._steps_of_held.pop(job.id, None)
        self.desk.take_back(job.id)
        self.folder.remove_film(job)
        job.state, job.has_result = "queued", False
        self.desk.add(job.id, at_front=True)
        self.assign()
        return self._ledger.tell(job)

    def take_step(self, identifier: str) -> StudioJob:
        """Does one step of a paused job, which stays paused. Raises StudioError."""
        job = self._require(identifier, "paused")
        if not self.desk.send(Word(job.id, "step")):
            self._steps_of_held[job.id] = self._steps_of_held.get(job.id, 0) + 1
            if job.id not in self.desk.queue:
                self.desk.add(job.id, at_front=True)
            self.assign()
        return self._ledger.tell(job)

    def stop(self, identifier: str) -> StudioJob:
        """Ends a job after its current step; its result is that of the steps so far. Raises StudioError."""
        job = self._require(identifier, "queued", "starting", "running", "paused", "stopping")
        if self.desk.send(Word(job.id, "stop")):
            job.state = "stopping"
        elif self.folder.has_checkpoint(job) and job.state != "stopping":
            job.state = "stopping"  # a worker makes its result
            if job.id not in self.desk.queue:
                self.desk.add(job.id, at_front=True)
            self.assign()
        elif job.state != "stopping":
            self.desk.take_back(job.id)
            job.state = "stopped"
        return self._ledger.tell(job)

    def remove(self, identifier: str) -> None:
        """Removes a job and everything of it; one that runs is stopped first. Raises StudioError."""
        job = self.find(identifier)
        del self.jobs[job.id]
        self._steps_of_held.pop(job.id, None)
        self.desk.take_back(job.id)
        if self.desk.send(Word(job.id, "stop")):
            self._news.remove_at_end(job)
            self.keeper.forget(job)
        else:
            self.keeper.remove(job)
        self._ledger.tell_of_removal(job)

    def watch(self, job: str, is_watched: bool) -> None:
        """Notes whether anybody sees the frames of a job, which are made more often then."""
        (self._watched.add if is_watched else self._watched.discard)(job)
        self.desk.send(Word(job, "watch" if is_watched else "unwatch"))

    def assign(self) -> None:
        """Begins what can begin; a paused job makes room for one that waits."""
        if self._is_closing:
            return
        for begun in self.desk.assign():
            job = self.jobs[begun]
            job.state = "starting" if job.state == "queued" else job.state
            self._ledger.tell(job)
        paused = [engine.job for engine in self.desk.engines if engine.job and self._is_paused(engine.job)]
        if self.desk.queue and paused:
            self.desk.send(Word(paused[0], "leave"))

    def _is_paused(self, job: str) -> bool:
        return job in self.jobs and self.jobs[job].state == "paused"

    def _require(self, identifier: str, *states: State) -> StudioJob:
        job = self.find(identifier)
        if job.state not in states:
            raise StudioError(409, f"{job.name} is {job.state}: that is not possible now")
        return job

    def _task_of(self, identifier: str, execution: Execution) -> Task:
        job = self.jobs[identifier]
        folder = self.folder.of(job)
        return Task(
            job.id,
            folder / job.picture_file,
            job.bundle,
            replace(job.initial, execution=replace(job.initial.execution, provider=execution.provider)),
            self.folder.result(job),
            mask=folder / job.mask_file if job.mask_file else None,
            guide=folder / job.guide_file if job.guide_file else None,
            resumes=self.folder.has_checkpoint(job),
            held=job.state == "paused",
            stops=job.state == "stopping",
            changes=job.changes,
            steps=self._steps_of_held.pop(job.id, 0),
            watched=job.id in self._watched,
        )
