"""The engine: the worker process of one device, and a thread that listens to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from ...runtime.processes.starting import how_it_ended, start_process
from ...runtime.provider.machine import Machine
from ...runtime.settings.settings import Execution
from .messages import Died, Ended, Leave, Load, Ready
from .worker import work

# How long a worker has to save its dream when the studio ends, in seconds.
_LEAVE_SECONDS = 10.0
_LOOK_SECONDS = 0.05
# A worker that ends so often before it is ready is not started again.
_MAX_FALSE_STARTS = 2


class Engine:
    """A worker process, which is replaced when it ends, and what it does at the moment.

    `listen` is called with each message of the worker, in a thread of the engine's own; with Died when it has ended.
    `first` is the bundle that a new worker loads ahead. `job` is the job that it has, and `machine` what it computes
    on, once that is known.
    """

    def __init__(self, execution: Execution, first: str, listen: Callable[[Engine, Any], None]) -> None:
        self.execution = execution
        self.job: str | None = None
        self.machine: Machine | None = None
        self.is_broken = False
        self._first, self._listen = first, listen
        self._is_closing = False
        self._has_job: Connection | None = None  # that of the worker that was given the job
        self._process: BaseProcess
        self._connection: Connection
        self._start()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def begin(self, job: str, task: Any) -> None:
        """Gives the worker a job, whose task is sent."""
        self.job, self._has_job = job, self._connection
        with suppress(OSError):
            self._has_job.send(task)

    def take_lost(self, died: Died) -> str | None:
        """Takes away the job of a worker that has ended, and returns it; one that its successor was given stays."""
        if self._has_job is not died.connection:
            return None
        lost, self.job = self.job, None
        return lost

    def send(self, message: Any) -> None:
        """Sends the worker a word; one that has just ended is found by the thread."""
        with suppress(OSError):
            self._connection.send(message)

    def close(self) -> None:
        """Ends the worker once its job has ended, or after a while."""
        self._is_closing = True
        end = time.monotonic() + _LEAVE_SECONDS
        while self.job and self._thread.is_alive() and time.monotonic() < end:
            self._thread.join(_LOOK_SECONDS)
        self.send(Leave())
        self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _start(self) -> None:
        self._process, self._connection = start_process(work)
        self.send(Load(self._first, self.execution))

    def _replace(self, is_last: bool) -> Died:
        """Starts another worker in place of one that has ended, before anybody hears of it, unless it was the last."""
        self._process.join()
        died = Died(how_it_ended(self._process.exitcode), self._connection)
        self._connection.close()
        self.is_broken = is_last
        if not is_last:
            self._start()
        return died

    def _run(self) -> None:
        false_starts = 0
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                if self._is_closing:
                    return
                false_starts += 1
                died = self._replace(is_last=false_starts >= _MAX_FALSE_STARTS)
                self._listen(self, died)
                if self.is_broken:
                    return
                continue
            if isinstance(message, Ready):
                false_starts = 0
            self._listen(self, message)
            if isinstance(message, Ended) and self._is_closing:
                return
