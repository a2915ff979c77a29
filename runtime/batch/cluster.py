"""The executor of a Ray cluster: workers on many machines dream pictures at the same time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ...models.wording import counted
from ..cluster.connection import ClusterOptions, joined
from ..cluster.nodes import Nodes, cause_of, free_workers, inspect_nodes
from ..cluster.parcel import find_place, pack_inputs, store_results
from ..dream.results import Results
from ..dream.writer import Job
from ..errors import ClusterError, OutputError, PictureError, RecordError
from ..processes.worker import Tell
from ..provider.cards import PROVIDERS
from .assigned import describe_failure, prepare_assigned
from .executor import Casualties, Take
from .node import NOT_SEEN, BundleDiffersError, Delivery, NodeWorker, Parcel
from .plan import Assignment
from .receipts import Receipt
from .terminal import Interrupted
from .worker import Event

_POLL_SECONDS = 0.2
_START_SECONDS = 60.0
_NO_WORKERS = "no worker of the cluster is left: look at its nodes with `ray status`"


@dataclass(eq=False)
class _Worker:
    """An actor, its node, and what it does at the moment.

    `awaits` is Ray's reference to what it sends next: its node, then that it has the job, then the messages of a dream;
    None while it has nothing to do. A start that takes longer than until `deadline` has failed. `done` is the event of
    that name, which is held back until the results are here.
    """

    actor: Any
    awaits: Any
    deadline: float
    node: str = ""
    assignment: Assignment | None = None
    done: Event | None = None


class Cluster:
    """Dreams pictures by actors on the nodes of a Ray cluster, at most `count` of them.

    An actor that ends amid a picture is replaced, as with `Workers`. `lock` is the lock file of the call, which all
    nodes must see unless the pictures travel. `tell` is called with the lines for the user and the events, which are
    not those of steps. Joins the cluster when the first pictures are asked for; this and `receipts` raise ClusterError.
    """

    def __init__(
        self, job: Job, options: ClusterOptions, count: int, lock: Path, tell: Tell, interrupted: Interrupted
    ) -> None:
        self._job, self._options, self._count = _portable(job), options, count
        self._gpus = int(PROVIDERS[job.choice.machine.provider].device == "cuda")
        self._lock = None if options.ship else lock.absolute()
        self._tell, self._interrupted = tell, interrupted
        self._casualties = Casualties(tell)
        self._workers: list[_Worker] = []
        self._resources = ExitStack()
        self._ray: Any = None
        self._nodes = Nodes({}, 0)
        self._sent_job: Any = None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._resources.close()

    def receipts(self, take: Take) -> Iterator[Receipt]:
        if self._ray is None:
            self._begin()
        has_stopped = False
        while True:
            if not self._interrupted():
                yield from self._assign(take)
            elif not has_stopped:
                has_stopped = True
                for worker in self._workers:
                    worker.actor.stop.remote()
            if not any(worker.assignment for worker in self._workers) and (has_stopped or not self._waits_for_starts()):
                break
            for worker in self._ready():
                if receipt := self._receive(worker):
                    yield receipt
        if not (self._workers or has_stopped):
            raise ClusterError(_NO_WORKERS)

    def _waits_for_starts(self) -> bool:
        """Whether only workers that are starting could go on."""
        return bool(self._workers) and all(worker.awaits for worker in self._workers)

    # Starting

    def _begin(self) -> None:
        """Joins the cluster and starts its workers; returns early after a signal."""
        self._ray = self._resources.enter_context(joined(self._options.address))
        room = free_workers(self._ray, self._cpus, self._gpus)
        self._nodes = inspect_nodes(self._ray, self._lock, self._tell)
        count = min(room, self._count)
        self._workers = [self._start() for _ in range(count)]
        while not self._interrupted() and any(worker.awaits for worker in self._workers):
            for worker in self._ready():
                self._receive(worker)
        nodes = Counter(worker.node for worker in self._workers)
        if self._interrupted():
            return
        if not nodes:
            raise ClusterError(_NO_WORKERS)
        self._tell(f"cluster: {counted(len(self._workers), 'worker')} on {counted(len(nodes), 'node')}")
        self._sent_job = self._ray.put(self._shared_out(max(nodes.values())))
        for worker in self._workers:
            self._send_job(worker)

    def _start(self) -> _Worker:
        options: dict[str, Any] = {"num_cpus": self._cpus, "num_gpus": self._gpus, "scheduling_strategy": "SPREAD"}
        # Its second thread is for `stop`.
        actor = self._ray.remote(NodeWorker).options(**options, max_concurrency=2).remote()
        return _Worker(actor, actor.ping.remote(), _deadline())

    def _send_job(self, worker: _Worker) -> None:
        worker.awaits = worker.actor.take_job.remote(self._sent_job, self._job.bundle.sha256, self._lock)
        worker.deadline = _deadline()

    def _shared_out(self, neighbours: int) -> Job:
        """The job of one worker, which shares the memory of its node with its neighbours; a GPU it has for itself."""
        execution = self._job.settings.execution
        memory = execution.memory or (None if self._gpus else self._nodes.budget)
        share = replace(execution, threads=self._cpus, memory=memory and memory // (1 if self._gpus else neighbours))
        return replace(self._job, settings=replace(self._job.settings, execution=share))

    @property
    def _cpus(self) -> int:
        return self._job.settings.execution.threads or 1

    # Working

    def _assign(self, take: Take) -> Iterator[Receipt]:
        """Gives every worker that has nothing to do a picture; yields receipts of those that cannot be sent."""
        idle = [worker for worker in self._workers if not worker.awaits]
        while idle and (assignment := self._casualties.take(take)):
            assignment = _absolute(assignment)
            try:
                parcel = self._pack(assignment) if self._options.ship else None
            except (PictureError, OutputError) as error:
                yield _failed(assignment, describe_failure(assignment.source, error))
                continue
            worker = idle.pop()
            worker.assignment = assignment
            worker.awaits = worker.actor.dream.options(num_returns="streaming").remote(assignment, parcel)

    def _pack(self, assignment: Assignment) -> Parcel:
        checkpoint = prepare_assigned(self._job, assignment)
        find_place(self._job, assignment.source, assignment.result)
        return Parcel(pack_inputs(self._job, assignment.source), checkpoint)

    def _ready(self) -> list[_Worker]:
        """Waits a moment; returns the workers that have sent something, without those whose start takes too long."""
        late = [one for one in self._workers if one.awaits and not one.assignment and time.monotonic() > one.deadline]
        for worker in late:
            self._remove(worker)
        awaited = {worker.awaits: worker for worker in self._workers if worker.awaits}
        ready, _ = self._ray.wait(list(awaited), timeout=_POLL_SECONDS) if awaited else ([], [])
        return [awaited[one] for one in ready]

    def _receive(self, worker: _Worker) -> Receipt | None:
        """Takes what a worker has sent; returns the receipt, if it is one. Raises ClusterError."""
        if worker.assignment:
            return self._receive_message(worker, worker.assignment)
        try:
            answer = self._ray.get(worker.awaits)
        except BundleDiffersError as error:
            raise ClusterError(
                f"node {self._name(worker)} has another bundle: install the same onnxdream there"
            ) from error
        except self._ray.exceptions.RayTaskError as error:
            raise ClusterError(
                f"node {self._name(worker)} cannot dream ({cause_of(error)}): check onnxdream there"
            ) from error
        except self._ray.exceptions.RayError:
            self._remove(worker)
            return None
        worker.awaits = None
        if not worker.node:
            worker.node = answer
            if self._sent_job is not None:  # in place of one that has ended
                self._send_job(worker)
        return None

    def _receive_message(self, worker: _Worker, assignment: Assignment) -> Receipt | None:
        try:
            message = self._ray.get(next(worker.awaits))
        except (self._ray.exceptions.RayError, StopIteration) as error:
            self._remove(worker)
            if not self._interrupted():
                self._workers.append(self._start())
            return self._casualties.add(assignment, f"on node {self._name(worker)} {self._how_it_ended(error)}")
        if isinstance(message, Delivery):
            receipt = self._accept(assignment, message, worker)
            if worker.done and not receipt.error:
                self._tell(worker.done)
            worker.assignment = worker.awaits = worker.done = None
            return receipt
        if isinstance(message, Event) and message.name == "done":
            worker.done = message
        else:
            self._tell(message)
        return None

    def _accept(self, assignment: Assignment, delivery: Delivery, worker: _Worker) -> Receipt:
        """Writes the files of a delivery and returns the receipt."""
        if delivery.receipt.error == NOT_SEEN:
            path = assignment.source.path
            why = f"node {self._name(worker)} does not see {path}: share its folder, or send pictures there with --ship"
            return _failed(assignment, why)
        if self._options.ship:
            results = Results(assignment.result)
            try:
                store_results(self._job, assignment.source, assignment.result, delivery.files)
            except (OutputError, RecordError) as error:
                return _failed(assignment, describe_failure(assignment.source, error))
            if delivery.receipt.state == "done":
                results.remove_checkpoint()
            results.release()
        return delivery.receipt

    def _remove(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        self._ray.kill(worker.actor)

    def _name(self, worker: _Worker) -> str:
        return self._nodes.names.get(worker.node, "?")

    def _how_it_ended(self, error: Exception) -> str:
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            return "was killed, since the node ran out of memory"
        if isinstance(error, self._ray.exceptions.RayTaskError):
            return f"has failed ({cause_of(error)})"
        return "has ended"


def _portable(job: Job) -> Job:
    """The job without its sessions, with the paths and the provider of this machine."""
    bundle = job.bundle
    if bundle.path and not bundle.is_built_in:
        bundle = replace(bundle, path=bundle.path.absolute())
    mask, guide, output = (path and path.absolute() for path in (job.mask, job.guide, job.output))
    direction = tuple(path.absolute() for path in job.direction)
    execution = replace(job.settings.execution, provider=job.choice.machine.provider)
    settings = replace(job.settings, execution=execution)
    own: dict[str, Any] = {"mask": mask, "guide": guide, "direction": direction, "output": output, "sessions": None}
    return replace(job, bundle=bundle, settings=settings, **own)


def _absolute(assignment: Assignment) -> Assignment:
    source = assignment.source
    source = replace(source, place=source.path.absolute()) if source.has_file else source
    return replace(assignment, source=source, result=assignment.result.absolute())


def _failed(assignment: Assignment, error: str) -> Receipt:
    """The receipt of a picture that was not dreamed, whose name is free again."""
    Results(assignment.result).release()
    return replace(assignment.receipt, state="failed", error=error)


def _deadline() -> float:
    return time.monotonic() + _START_SECONDS
