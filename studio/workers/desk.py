"""The desk: the queue of the jobs, and the engines that dream them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ...runtime.settings.settings import Execution
from .engine import Engine
from .messages import Task, Word


def devices(execution: Execution, gpus: int) -> list[Execution]:
    """Returns the execution of each device: of each GPU where CUDA or TensorRT is asked for, but no number of a GPU."""
    if execution.provider not in ("cuda", "tensorrt") or gpus < 2:
        return [execution]
    return [replace(execution, provider=f"{execution.provider}:{card}") for card in range(gpus)]


class Desk:
    """Gives each engine a job as soon as it has none. For one thread; `hear` is called in those of the engines.

    `task_of` makes the task of a queued job.
    """

    def __init__(
        self,
        executions: Sequence[Execution],
        first: str,
        hear: Callable[[Engine, Any], None],
        task_of: Callable[[str, Execution], Task],
    ) -> None:
        self._task_of = task_of
        self.queue: list[str] = []
        self.engines = [Engine(execution, first, hear) for execution in executions]

    @property
    def is_broken(self) -> bool:
        """Whether no worker can be started any more."""
        return all(engine.is_broken for engine in self.engines)

    def engine_of(self, job: str) -> Engine | None:
        """Returns the engine that has a job, if one has."""
        return next((engine for engine in self.engines if engine.job == job), None)

    def add(self, job: str, at_front: bool = False) -> None:
        """Puts a job into the queue."""
        self.queue.insert(0 if at_front else len(self.queue), job)

    def take_back(self, job: str) -> bool:
        """Takes a job out of the queue; returns whether it was there."""
        if job not in self.queue:
            return False
        self.queue.remove(job)
        return True

    def send(self, word: Word) -> bool:
        """Sends a word to the engine that has the job; returns whether one has."""
        engine = self.engine_of(word.job)
        if engine:
            engine.send(word)
        return engine is not None

    def assign(self) -> list[str]:
        """Begins queued jobs as far as engines are free; returns which."""
        begun = []
        for engine in self.engines:
            if self.queue and engine.job is None and not engine.is_broken:
                job = self.queue.pop(0)
                engine.begin(job, self._task_of(job, engine.execution))
                begun.append(job)
        return begun

    def close(self) -> None:
        for engine in self.engines:
            engine.close()
