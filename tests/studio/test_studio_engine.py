"""The engine of a device, whose worker ends and is replaced."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from onnxdream.runtime.settings.settings import Execution
from onnxdream.studio.workers.engine import Engine
from onnxdream.studio.workers.messages import Died

SECONDS = 60  # how long anything is waited for


class EndedProcess:
    exitcode = -9

    def join(self, timeout: float | None = None) -> None:
        pass

    def is_alive(self) -> bool:
        return False


class Scene:
    """An engine, the ends of the connections to its workers, and what it has heard of their deaths."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workers: list[Connection] = []
        self.deaths: queue.Queue[Any] = queue.Queue()
        monkeypatch.setattr("onnxdream.studio.workers.engine.start_process", self.start)
        self.engine = Engine(Execution("cpu"), "tiny", lambda engine, message: self.deaths.put(message))

    def start(self, target: object) -> tuple[EndedProcess, Connection]:
        ours, its = multiprocessing.Pipe()
        self.workers.append(its)
        return EndedProcess(), ours

    def kill(self) -> Died:
        """Ends the worker; returns what is heard of that, once it has a successor."""
        self.workers[-1].close()
        died = self.deaths.get(timeout=SECONDS)
        assert isinstance(died, Died)
        return died


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    scene = Scene(monkeypatch)
    yield scene
    scene.engine.job = None
    scene.engine.close()


def test_a_job_goes_with_the_worker_that_has_it(scene: Scene) -> None:
    scene.engine.begin("a", "task")
    assert scene.engine.take_lost(scene.kill()) == "a"
    assert scene.engine.job is None


def test_a_job_that_the_successor_was_given_stays_when_the_death_is_heard(scene: Scene) -> None:
    """It would be given a second time otherwise."""
    died = scene.kill()
    scene.engine.begin("a", "task")
    assert scene.engine.take_lost(died) is None
    assert scene.engine.job == "a"
    scene.workers[-1].recv()  # what to load ahead
    assert scene.workers[-1].recv() == "task"
