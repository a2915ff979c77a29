"""A worker on a node of a cluster: a Ray actor that dreams one picture after another, as its driver says."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..cluster.parcel import Copies
from ..dream.checkpoint import Checkpoint
from ..dream.writer import Job
from ..processes.worker import Tell
from .assigned import dream_assigned, dream_prepared
from .plan import Assignment
from .receipts import Receipt, hold_lock
from .worker import Event, dreamer

# The error of a receipt whose picture the node does not see, for the driver to put into words.
NOT_SEEN = "not seen"


@dataclass(frozen=True)
class Parcel:
    """What travels to a node with an assignment: its input files by their paths, and the checkpoint to resume from."""

    inputs: Mapping[Path, bytes] = field(repr=False)
    checkpoint: Checkpoint | None = field(repr=False)


@dataclass(frozen=True)
class Delivery:
    """What comes back: the receipt and, if the assignment came with a parcel, the files of the result by name."""

    receipt: Receipt
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


class BundleDiffersError(Exception):
    """The bundle that has arrived is not the driver's."""


class NodeWorker:
    """Dreams pictures on the machine where Ray has started it; its sessions stay open from one to the next.

    Methods may run at the same time, so that `stop` reaches a dream.
    """

    def __init__(self) -> None:
        self._stops = threading.Event()
        self._resources = ExitStack()
        self._job: Job | None = None

    def ping(self) -> str:
        """Returns Ray's number of the node that it runs on."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def take_job(self, job: Job, bundle: str, lock: Path | None) -> None:
        """Receives the job; `bundle` is its bundle's SHA-256, `lock` the lock file of the driver's call if shared.

        Raises BundleDiffersError.
        """
        if job.bundle.sha256 != bundle:
            raise BundleDiffersError
        self._job = job
        if lock:
            with suppress(OSError):
                hold_lock(lock, self._resources)

    def stop(self) -> None:
        """Ends the current dream after its current step."""
        self._stops.set()

    def dream(self, assignment: Assignment, parcel: Parcel | None) -> Iterator[str | Event | Delivery]:
        """Dreams a picture; yields lines for the user, events, and at last the delivery.

        Without a parcel it reads and writes the files where the driver has them.
        """
        messages: queue.SimpleQueue[str | Event | Delivery | BaseException] = queue.SimpleQueue()

        def run() -> None:
            try:
                messages.put(self._dream(assignment, parcel, messages.put))
            except BaseException as error:  # of this program's own: the driver shows it
                messages.put(error)

        threading.Thread(target=run, daemon=True).start()
        while True:
            message = messages.get()
            if isinstance(message, BaseException):
                raise message
            yield message
            if isinstance(message, Delivery):
                break

    def _dream(self, assignment: Assignment, parcel: Parcel | None, tell: Tell) -> Delivery:
        assert self._job
        if parcel:
            return _dream_copies(self._job, assignment, parcel, tell, self._stops)
        if not _sees(assignment):
            return Delivery(replace(assignment.receipt, state="failed", error=NOT_SEEN))
        return Delivery(dream_assigned(self._job, assignment, dreamer(tell, self._stops.is_set)))


def _sees(assignment: Assignment) -> bool:
    """Whether this node has the picture that the driver has seen: a file of that path and size."""
    source, size = assignment.source, assignment.receipt.size
    if not source.has_file or not size:  # the driver itself has not seen a file
        return True
    try:
        return source.path.stat().st_size == size
    except OSError:
        return False


def _dream_copies(job: Job, assignment: Assignment, parcel: Parcel, tell: Tell, stops: threading.Event) -> Delivery:
    """Dreams copies of the files in a parcel in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="onnxdream-") as folder:
        copies = Copies(Path(folder).resolve(), parcel.inputs, assignment.result.parent)
        mask, guide = (path and copies.of(path) for path in (job.mask, job.guide))
        own_job = replace(job, mask=mask, guide=guide, direction=tuple(map(copies.of, job.direction)))
        own = replace(
            assignment,
            source=replace(assignment.source, place=copies.of(assignment.source.path)),
            result=copies.results / assignment.result.name,
        )
        receipt = dream_prepared(
            own_job, own, parcel.checkpoint, dreamer(lambda message: tell(_retold(message, copies)), stops.is_set)
        )
        error = receipt.error and copies.retell(receipt.error)
        return Delivery(replace(receipt, error=error), copies.pack_results())


def _retold(message: str | Event, copies: Copies) -> str | Event:
    """A message with the paths of the originals in place of those of the copies."""
    if isinstance(message, str):
        return copies.retell(message)
    fields = {name: copies.retell(value) if isinstance(value, str) else value for name, value in message.fields.items()}
    return replace(message, fields=fields)
