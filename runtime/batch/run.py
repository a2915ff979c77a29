"""Dreams one picture as it is named, many by a plan with receipts, or what comes into a folder, until a signal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ...models.interrupts import interruptible
from ...models.streams import event_stream
from ...models.wording import format_duration
from ..cluster.connection import ClusterOptions
from ..dream.checkpoint import Checkpoint
from ..dream.results import is_picture_path
from ..dream.writer import Job, Log
from ..errors import SettingsError
from ..image.source import Source
from ..processes.sharing import WorkerCount, process_count, shared_out
from .assigned import FAILURES, describe_failure, end_state
from .cluster import Cluster
from .executor import Executor, InThisProcess, Take, Workers
from .plan import Assignment, Plan, Task
from .receipts import Manifest, Receipt, State, resumed_receipt
from .terminal import Interrupted, Verbosity, dream_at_terminal
from .watch import Watch
from .worker import Event

# A plan that takes longer than this is announced after its first picture.
_LONG_SECONDS = 600
# How soon the watch of a folder notices a signal.
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Outcome:
    """What became of the pictures of a call, in numbers; `signal` is that of the signal that ended it, or None."""

    done: int
    failed: int
    signal: int | None = None


@dataclass(frozen=True)
class Reporter:
    """Shows a call's messages; `hint` is what to say of a long plan besides its length."""

    log: Log
    log_error: Log
    verbosity: Verbosity = "normal"
    hint: str | None = None

    def tell(self, message: str | Event) -> None:
        """Shows what a worker tells: a line for the user, or an event where standard error is an EventStream."""
        if isinstance(message, str):
            self.log(message)
        elif (events := event_stream()) and self.verbosity != "quiet":
            events.send(message.name, **message.fields)


def dream_named(job: Job, source: Source, reporter: Reporter, checkpoint: Checkpoint | None = None) -> Outcome:
    """Dreams one picture, or resumes it from a checkpoint.

    A failure is reported. Ctrl-C, SIGTERM or SIGHUP ends the dream, whose results are saved; a second Ctrl-C ends the
    program at once. A picture of many that is resumed has its receipt. Raises OutputError while another call dreams it.
    """
    with interruptible() as interrupted, ExitStack() as stack:
        note = stack.enter_context(resumed_receipt(job.output)) if checkpoint and job.output else None
        try:
            record = dream_at_terminal(job, source, reporter.log, interrupted, checkpoint, reporter.verbosity)
        except FAILURES as error:
            reporter.log_error(describe_failure(source, error))
            return Outcome(0, 1, interrupted())
        if note:
            note(end_state(record), record.seconds)
        return Outcome(1, 0, interrupted())


def dream_many(
    job: Job,
    sources: Sequence[Source],
    reporter: Reporter,
    workers: WorkerCount = None,
    cluster: ClusterOptions | None = None,
) -> Outcome:
    """Dreams the pictures that are not done yet, according to the manifest in the output folder.

    A picture that fails is reported, and the next one follows. Signals are as with `dream_named`; after one, or after a
    crash, the same call continues. On a cluster, `workers` is the most that dream there. Raises SettingsError,
    OutputError and ClusterError.
    """
    if job.film or job.piped_as or is_picture_path(job.output):
        if cluster:
            raise SettingsError("--cluster dreams into a folder: leave out --film, and give a folder as --output")
        if len(sources) == 1:
            return dream_named(job, sources[0], reporter)
        raise SettingsError(
            "one --film, one --output file or standard output cannot hold several dreams: name a folder, or one picture"
        )
    with interruptible() as interrupted, Manifest(job.output or Path()) as manifest:
        plan = Plan(job, sources, manifest)
        reporter.log(str(plan))
        done, failed = plan.done, 0
        count = min(_count(job, workers, cluster), len(plan.tasks))
        outlook = _Outlook(plan, count or 1, reporter)
        with _executor(job, count, cluster, manifest, reporter, interrupted) as executor:
            for receipt in executor.receipts(_taken_from(plan, outlook, reporter.log)):
                manifest.add(receipt)
                outlook.announce(receipt)
                if receipt.error:
                    failed += 1
                    reporter.log_error(receipt.error)
                else:
                    done += 1
        return Outcome(done, failed, interrupted())


def dream_watched(
    job: Job,
    folder: Path,
    reporter: Reporter,
    recursive: bool = False,
    workers: WorkerCount = None,
    cluster: ClusterOptions | None = None,
) -> Outcome:
    """Dreams the pictures in a folder that are not done yet, and those that come into it, until a signal.

    What has failed is tried again when it has changed. Raises OutputError and ClusterError.
    """
    output = job.output or Path()
    with interruptible() as interrupted, Manifest(output) as manifest:
        watch = Watch(folder, recursive, reporter.log)
        plan = Plan(job, (), manifest)
        _add_new(plan, watch, manifest)
        reporter.log(f"watching {folder}: what comes in is dreamed into {output}, until Ctrl-C")
        if plan.done or plan.tasks:
            reporter.log(str(plan))
        counts: Counter[State] = Counter()
        with _executor(job, _count(job, workers, cluster), cluster, manifest, reporter, interrupted) as executor:
            while not interrupted():
                for receipt in executor.receipts(_taken_as_they_come(plan, watch, manifest)):
                    manifest.add(receipt)
                    counts[receipt.state] += 1
                    if receipt.error:
                        reporter.log_error(receipt.error)
                time.sleep(_PAUSE_SECONDS)
    again = f"the same call{' without --overwrite' if job.overwrite else ''} continues"
    stopped = f", {counts['stopped']} stopped, which {again}" if counts["stopped"] else ""
    reporter.log(f"{counts['done']} dreamed, {counts['failed']} failed{stopped}")
    return Outcome(counts["done"], counts["failed"], interrupted())


def _taken_as_they_come(plan: Plan, watch: Watch, manifest: Manifest) -> Take:
    """Begins the pictures of a plan, one at each call, and looks for more once there are none."""

    def take() -> Assignment | None:
        if not plan.tasks:
            _add_new(plan, watch, manifest)
        while plan.tasks:
            task = plan.tasks.popleft()
            if assignment := plan.begin(task):
                return assignment
            watch.forget(task.source)  # another call has begun it; if that is killed, this one continues
        return None

    return take


def _add_new(plan: Plan, watch: Watch, manifest: Manifest) -> None:
    """Adds what has come into a folder, unless it is a result that was written there."""
    plan.add(source for source in watch.new_pictures() if not manifest.has_result(source.path))


def _taken_from(plan: Plan, outlook: _Outlook, log: Log) -> Take:
    """Begins the pictures of a plan, one at each call, without those that another call has begun meanwhile."""

    def take() -> Assignment | None:
        while plan.tasks:
            task = plan.tasks.popleft()
            if assignment := plan.begin(task):
                outlook.begin(task, assignment.receipt)
                return assignment
            log(f"{task.source.name}: another call has begun it meanwhile")
        return None

    return take


def _executor(
    job: Job,
    count: int,
    cluster: ClusterOptions | None,
    manifest: Manifest,
    reporter: Reporter,
    interrupted: Interrupted,
) -> Executor:
    if count and cluster:
        return Cluster(job, cluster, count, manifest.lock, reporter.tell, interrupted)
    if count:
        return Workers(_shared_out(job, count), count, manifest.lock, reporter.tell, interrupted)
    return InThisProcess(job, reporter.log, interrupted, reporter.verbosity)


def _count(job: Job, workers: WorkerCount, cluster: ClusterOptions | None) -> int:
    """The number of processes, 0 for this one alone; on a cluster, the most that there may be."""
    if cluster:
        return workers if isinstance(workers, int) else sys.maxsize
    return process_count(job.choice.machine, workers)


def _shared_out(job: Job, count: int) -> Job:
    """The job of one of several processes, which share the threads and the memory."""
    share = shared_out(job.settings.execution, job.choice.machine, count)
    return replace(job, settings=replace(job.settings, execution=share), processes=count)


class _Outlook:
    """Says once how long the rest of a plan will take, if that is long."""

    def __init__(self, plan: Plan, processes: int, reporter: Reporter) -> None:
        self._pixels = sum(task.size.pixels for task in plan.tasks)
        self._others = len(plan.tasks) - 1
        self._processes, self._reporter = processes, reporter
        self._begun: dict[str, int] = {}
        self._is_known = False

    def begin(self, task: Task, receipt: Receipt) -> None:
        """Receives a picture that is begun."""
        self._begun[receipt.file] = task.size.pixels

    def announce(self, receipt: Receipt) -> None:
        """Receives what became of a picture; the first that is done tells how long the others take."""
        pixels = self._begun.pop(receipt.file)
        if self._is_known or receipt.state != "done" or not receipt.seconds or not pixels:
            return
        self._is_known = True
        rest = receipt.seconds * (self._pixels - pixels) / pixels / self._processes
        if rest > _LONG_SECONDS:
            hint = f"; {self._reporter.hint}" if self._reporter.hint else ""
            self._reporter.log(f"the other {self._others} pictures take about {format_duration(rest)}{hint}")
