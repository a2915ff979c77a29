"""A pool: the processes of one driver, each of which does one task at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Generic, TypeVar

from .starting import ProcessError, how_it_ended, start_process
from .worker import STOP, Doer, Finished, work

# A task whose worker has ended so often is given up.
MAX_DEATHS = 2
_POLL_SECONDS = 0.2
_LEAVE_SECONDS = 5.0

Task = TypeVar("Task")


@dataclass(frozen=True)
class Died:
    """The last message on a task whose worker has ended amid it, because it was killed or memory ran out.

    `how` says so in words.
    """

    how: str


@dataclass(eq=False)
class _Worker(Generic[Task]):
    """A process, the connection to it, and what it does at the moment."""

    process: BaseProcess
    connection: Connection
    task: Task | None = None


class Pool(Generic[Task]):
    """Up to `count` processes, started when they are needed, which stay from one call of `messages` to the next.

    `make` is a function of a module or a class; in each process, it makes of `setup` what does the tasks. As soon as
    `interrupted` returns something true, no task is begun, and those that were are told to end. Use it in a `with`
    block.
    """

    def __init__(self, count: int, make: Callable[[Any], Doer], setup: Any, interrupted: Callable[[], object]) -> None:
        self._count, self._make, self._setup, self._interrupted = count, make, setup, interrupted
        self._workers: list[_Worker[Task]] = []

    def __enter__(self) -> Pool[Task]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.connection.close()  # at which it ends
        for worker in self._workers:
            worker.process.join(_LEAVE_SECONDS)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def messages(self, take: Callable[[], Task | None]) -> Iterator[tuple[Task, Any]]:
        """Yields what the workers send, each with its task, until nothing is left to do and `take` has nothing.

        `take` begins a task, or returns None if there is none at the moment; it is called only when a worker can do
        it at once. The last message on a task is Finished or Died. Raises ProcessError.
        """
        has_stopped = False
        while True:
            if not self._interrupted():
                self._assign(take)
            elif not has_stopped:
                has_stopped = True
                self._stop()
            busy = [worker for worker in self._workers if worker.task is not None]
            if not busy:
                break
            for ready in wait([worker.connection for worker in busy], _POLL_SECONDS):
                (worker,) = (one for one in busy if one.connection is ready)
                task = worker.task
                assert task is not None
                yield task, self._receive(worker)

    def _assign(self, take: Callable[[], Task | None]) -> None:
        """Gives every worker that has nothing to do a task, and starts workers until there are enough."""
        idle = deque(worker for worker in self._workers if worker.task is None)
        while idle or len(self._workers) < self._count:
            task = take()
            if task is None:
                break
            worker = idle.popleft() if idle else self._start()
            worker.task = task
            with suppress(OSError):  # it has just ended, which `_receive` finds
                worker.connection.send(task)

    def _start(self) -> _Worker[Task]:
        try:
            process, connection = start_process(work, self._make)
        except OSError as error:  # a limit of processes, open files or memory
            raise ProcessError(
                f"worker {len(self._workers) + 1} of {self._count} cannot be started ({error.strerror}): choose fewer "
                "--workers, or let this user or container have more processes and open files"
            ) from error
        worker: _Worker[Task] = _Worker(process, connection)
        self._workers.append(worker)
        with suppress(OSError):  # as an argument, it would block this process forever if the worker is killed meanwhile
            connection.send(self._setup)
        return worker

    def _stop(self) -> None:
        for worker in self._workers:
            with suppress(OSError):
                worker.connection.send(STOP)

    def _receive(self, worker: _Worker[Task]) -> Any:
        """Takes a message of a worker; removes one that has ended."""
        try:
            message: Any = worker.connection.recv()
        except (EOFError, OSError):
            self._workers.remove(worker)
            worker.connection.close()
            worker.process.join()
            return Died(how_it_ended(worker.process.exitcode))
        if isinstance(message, Finished):
            worker.task = None
        return message
