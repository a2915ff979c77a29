"""Executors: what dreams the assigned pictures, this process or several others."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

from ...models.streams import event_stream
from ..dream.checkpoint import Checkpoint
from ..dream.record import Record
from ..dream.writer import Job, Log
from ..image.source import Source
from ..processes.pool import MAX_DEATHS, Died, Pool
from ..processes.worker import Finished, Tell
from .assigned import dream_assigned
from .plan import Assignment
from .receipts import Receipt
from .terminal import Interrupted, Verbosity, dream_at_terminal
from .worker import PictureDreamer, WorkerSetup

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
        if self._deaths[assignment.receipt.file] < MAX_DEATHS:
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


class Workers:
    """Dreams pictures in several processes at the same time; `job` has the threads and the memory of one of them.

    A worker that ends amid a picture, because it was killed or memory ran out, is replaced, and the picture is
    continued. If its second worker ends, too, it has failed. `lock` is the lock file of the call. `tell` is called with
    the lines for the user and the events.
    """

    def __init__(self, job: Job, count: int, lock: Path, tell: Tell, interrupted: Interrupted) -> None:
        setup = WorkerSetup(replace(job, sessions=None), lock, event_stream() is not None)  # type: ignore[arg-type]
        self._pool: Pool[Assignment] = Pool(count, PictureDreamer, setup, interrupted)
        self._tell = tell
        self._casualties = Casualties(tell)

    def __enter__(self) -> Workers:
        self._pool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)

    def receipts(self, take: Take) -> Iterator[Receipt]:
        for assignment, message in self._pool.messages(lambda: self._casualties.take(take)):
            if isinstance(message, Finished):
                yield message.result
            elif isinstance(message, Died):
                if receipt := self._casualties.add(assignment, message.how):
                    yield receipt
            else:
                self._tell(message)
