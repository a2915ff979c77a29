"""Executors: what dreams the assigned pictures, this process or several others."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from ..dream.checkpoint import Checkpoint
from ..dream.record import Record
from ..dream.writer import Job, Log
from ..image.source import Source
from .assigned import dream_assigned
from .plan import Assignment
from .receipts import Receipt
from .terminal import Interrupted, Verbosity, dream_at_terminal
from .worker import STOP, work

# A picture whose worker has ended so often is set aside.
_MAX_DEATHS = 2
_POLL_SECONDS = 0.2
_LEAVE_SECONDS = 5.0

# Begins the next picture; returns None if there is none at the moment.
Take = Callable[[], Assignment | None]


class Executor(Protocol):
    """Dreams pictures and yields a receipt for each, in the order in which they end.

    It takes an assignment only when it can begin it at once, and none after a signal; what is begun then is stopped
    after its current step, and has a receipt, too. Its sessions and processes stay open from one call of `receipts` to
    the next. Use it in a `with` block.
    """

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def receipts(self, take: Take) -> Iterator[Receipt]:
        """Yields the receipts of the assignments that it takes, until nothing is left to do and `take` has none."""
        ...


class InThisProcess:
    """Dreams one picture after another in this process, and shows its progress."""

    def __init__(self, job: Job, log: Log, interrupted: Interrupted, verbosity: Verbosity) -> None:
        self._job, self._log, self._interrupted, self._verbosity = job, log, interrupted, verbosity

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def receipts(self, take: Take) -> Iterator[Receipt]:
        while not self._interrupted() and (assignment := take()):
            yield dream_assigned(self._job, assignment, self._dream)

    def _dream(self, job: Job, source: Source, checkpoint: Checkpoint | None) -> Record:
        return dream_at_terminal(job, source, self._log, self._interrupted, checkpoint, self._verbosity)


class Casualties:
    """The pictures whose worker has ended: each is continued once, by another one, and then set aside."""

    def __init__(self, log: Log) -> None:
        self.to_continue: deque[Assignment] = deque()
        self._deaths: Counter[str] = Counter()
        self._log = log

    def add(self, assignment: Assignment, how: str) -> Receipt | None:
        """Notes that a worker has ended amid a picture; returns a receipt if the picture is set aside.

        `how` says in words how it ended.
        """
        self._deaths[assignment.receipt.file] += 1
        name = assignment.source.name
        if self._deaths[assignment.receipt.file] < _MAX_DEATHS:
            self._log(f"{name}: its worker {how}; another one continues")
            self.to_continue.append(replace(assignment, earlier=assignment.receipt))
            return None
        error = (
            f"{name}: set aside, since its worker {how} for the second time: try it alone, with a smaller --max-size"
        )
        return replace(assignment.receipt, state="failed", error=error)

    def take(self, take: Take) -> Assignment | None:
        """Returns the next picture to continue, or else to begin."""
        return self.to_continue.popleft() if self.to_continue else take()


@dataclass(eq=False)
class _Worker:
    """A process, the connection to it, and what it dreams at the moment."""

    process: BaseProcess
    connection: Connection
    assignment: Assignment | None = None


class Workers:
    """Dreams pictures in several processes at the same time; `job` has the threads and the memory of one of them.

    A worker that ends amid a picture, because it was killed or memory ran out, is replaced, and the picture is
    continued. If its second worker ends, too, it has failed. `lock` is the lock file of the call.
    """

    def __init__(self, job: Job, count: int, lock: Path, log: Log, interrupted: Interrupted) -> None:
        self._job, self._count, self._lock = replace(job, sessions=None), count, lock  # type: ignore[arg-type]
        self._log, self._interrupted = log, interrupted
        self._workers: list[_Worker] = []
        self._casualties = Casualties(log)

    def __enter__(self) -> Workers:
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

    def receipts(self, take: Take) -> Iterator[Receipt]:
        has_stopped = False
        while True:
            if not self._interrupted():
                self._assign(take)
            elif not has_stopped:
                has_stopped = True
                self._stop()
            busy = [worker for worker in self._workers if worker.assignment]
            if not busy:
                break
            for ready in wait([worker.connection for worker in busy], _POLL_SECONDS):
                (worker,) = (one for one in busy if one.connection is ready)
                receipt = self._receive(worker)
                if receipt:
                    yield receipt

    def _assign(self, take: Take) -> None:
        """Gives every worker that has nothing to do a picture, and starts workers until there are enough."""
        idle = deque(worker for worker in self._workers if not worker.assignment)
        while idle or len(self._workers) < self._count:
            assignment = self._casualties.take(take)
            if assignment is None:
                break
            worker = idle.popleft() if idle else self._start()
            worker.assignment = assignment
            with suppress(OSError):  # it has just ended, which `_receive` finds
                worker.connection.send(assignment)

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        connection, its_connection = context.Pipe()
        process = context.Process(target=work, args=(its_connection, self._lock), daemon=True)
        with _signals_blocked():
            process.start()
        its_connection.close()  # so that the connection ends with the process
        worker = _Worker(process, connection)
        self._workers.append(worker)
        with suppress(OSError):  # as an argument, it would block this process forever if the worker is killed meanwhile
            connection.send(self._job)
        return worker

    def _stop(self) -> None:
        for worker in self._workers:
            with suppress(OSError):
                worker.connection.send(STOP)

    def _receive(self, worker: _Worker) -> Receipt | None:
        """Takes a message of a worker; returns the receipt, if it is one."""
        try:
            message: Any = worker.connection.recv()
        except (EOFError, OSError):
            return self._bury(worker)
        if isinstance(message, Receipt):
            worker.assignment = None
            return message
        self._log(message)
        return None

    def _bury(self, worker: _Worker) -> Receipt | None:
        """Removes a worker that has ended; returns a receipt if its picture is set aside."""
        assignment = worker.assignment
        assert assignment
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join()
        return self._casualties.add(assignment, _how_it_ended(worker.process.exitcode))


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed (signal {-code}{', as where memory runs out' if code == -9 else ''})"
    return f"has ended (exit code {code})"


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """A process that is started meanwhile never receives Ctrl-C, SIGTERM or SIGHUP: its driver tells it to stop."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # whose start would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
