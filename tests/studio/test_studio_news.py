"""What becomes of the jobs when their workers end amid something: nothing that was asked for is lost."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onnxdream.runtime.settings.changes import Change
from onnxdream.runtime.settings.settings import Execution, Settings
from onnxdream.studio.jobs.choices import Chooser
from onnxdream.studio.jobs.folder import Folder, new_id
from onnxdream.studio.jobs.job import StudioJob
from onnxdream.studio.studio import Studio
from onnxdream.studio.workers.messages import Died, Ended, Started, Task

SETTINGS = Settings(layer_weights={"block09": 1.0}, octaves=2, steps=50)


class IdleEngine:
    """An engine whose worker only keeps what it is sent."""

    def __init__(self, execution: Execution, first: str, hear: object) -> None:
        self.execution = execution
        self.job: str | None = None
        self.machine = None
        self.is_broken = False
        self.sent: list[Any] = []

    def begin(self, job: str, task: Task) -> None:
        self.job = job
        self.sent.append(task)

    def take_lost(self, died: Died) -> str | None:
        lost, self.job = self.job, None
        return lost

    def send(self, message: object) -> None:
        self.sent.append(message)

    def close(self) -> None:
        pass

    @property
    def tasks(self) -> list[Task]:
        return [message for message in self.sent if isinstance(message, Task)]


class NoReader:
    def close(self) -> None:
        pass


class NoListener:
    def changed(self, job: str) -> None: ...

    def framed(self, job: str) -> None: ...

    def removed(self, job: str) -> None: ...


Told = Callable[[Any], None]
Scene = Callable[[Studio, StudioJob, IdleEngine, Told], None]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scene], None]:
    """Plays a scene of a studio with a job that its only worker dreams; the last argument tells what that worker says.

    The job has a checkpoint.
    """
    monkeypatch.setattr("onnxdream.studio.workers.desk.Engine", IdleEngine)
    monkeypatch.setattr("onnxdream.studio.studio.Reader", NoReader)

    async def played(scene: Scene) -> None:
        folder = Folder(tmp_path)
        studio = Studio(folder, Chooser({}), [Execution("cpu")], NoListener())
        engine: Any = studio.desk.engines[0]
        job = running_job(folder)
        studio.jobs[job.id], engine.job = job, job.id
        try:
            scene(studio, job, engine, lambda message: studio._news.hear(engine, message))
        finally:
            await studio.close()
            folder.close()

    return lambda scene: asyncio.run(played(scene))


def running_job(folder: Folder) -> StudioJob:
    sizes = {"picture_width": 64, "picture_height": 48}
    files: dict[str, Any] = {"picture_file": "cat.jpg", "result": "cat-dream.png", **sizes}
    settings: dict[str, Any] = {"initial": SETTINGS, "settings": SETTINGS, "step": 7, "octaves": ((50, 50), (70, 70))}
    job = StudioJob(new_id(), "cat", "", "p", bundle="lite0", state="running", **files, **settings)
    folder.of(job).mkdir()
    folder.result(job).with_suffix(".checkpoint").write_bytes(b"x")
    return job


DEATH = Died("was killed", multiprocessing.Pipe()[0])


def test_the_command_names_the_gpu_that_has_dreamed_last(play: Callable[[Scene], None]) -> None:
    def scene(studio: Studio, job: StudioJob, engine: IdleEngine, told: Told) -> None:
        job.command = "onnxdream dream 'a cat.jpg' --provider cuda --steps 3"
        for provider in ("cuda:1", "cuda:1", "cuda:0"):
            told(Started(job.id, (), 10, provider))
        assert job.command == "onnxdream dream 'a cat.jpg' --steps 3 --provider cuda:0"

    play(scene)


def test_a_stop_that_crosses_the_end_of_a_dream_that_made_room_is_not_lost(play: Callable[[Scene], None]) -> None:
    def scene(studio: Studio, job: StudioJob, engine: IdleEngine, told: Told) -> None:
        job.state = "paused"
        studio.stop(job.id)
        told(Ended(job.id, "stopped", left=True))
        assert job.state == "stopping"
        assert [task.stops for task in engine.tasks] == [True]

    play(scene)


@pytest.mark.parametrize("left", [False, True])
def test_a_change_that_was_asked_for_outlives_the_worker(left: bool, play: Callable[[Scene], None]) -> None:
    def scene(studio: Studio, job: StudioJob, engine: IdleEngine, told: Told) -> None:
        studio.change(job.id, {"jitter": 8})
        told(Ended(job.id, "stopped", left=True) if left else DEATH)
        assert (job.settings.jitter, job.pending) == (8, {})
        assert engine.tasks[-1].changes == (Change(7, {"jitter": 8}),)

    play(scene)


def test_a_change_that_was_asked_for_outlives_the_studio(play: Callable[[Scene], None]) -> None:
    def scene(studio: Studio, job: StudioJob, engine: IdleEngine, told: Told) -> None:
        studio.change(job.id, {"jitter": 8})
        studio.folder.save(job.id, job.to_json())
        studio.jobs.clear()
        engine.job = None
        studio.load()
        assert engine.tasks[-1].changes == (Change(7, {"jitter": 8}),)

    play(scene)


def test_a_pause_that_was_asked_for_outlives_the_worker(play: Callable[[Scene], None]) -> None:
    def scene(studio: Studio, job: StudioJob, engine: IdleEngine, told: Told) -> None:
        studio.pause(job.id)
        told(DEATH)
        assert (job.state, engine.tasks) == ("paused", [])
        studio.resume(job.id)
        assert [task.held for task in engine.tasks] == [False]

    play(scene)


def test_a_dream_that_was_paused_and_stopped_goes_on_at_the_first_press(play: Callable[[Scene], None]) -> None:
    def scene(studio: Studio, job: StudioJob, engine: IdleEngine, told: Told) -> None:
        studio.pause(job.id)
        studio.stop(job.id)
        told(DEATH)
        assert job.state == "stopped"
        assert studio.resume(job.id).state == "starting"

    play(scene)
