"""Dreaming one picture of many: continues what was begun before, and says in a receipt what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...models.contract import BundleError
from ..dream.checkpoint import Checkpoint, read_checkpoint
from ..dream.record import Record
from ..dream.results import Results
from ..dream.writer import Job
from ..errors import DreamError, PictureError, RecordError
from ..image.source import Source
from ..provider.budget import MemoryBudgetError
from ..settings.settings import Execution
from .plan import Assignment
from .receipts import Receipt, State

# The errors that end one dream; the next one follows.
FAILURES = (DreamError, BundleError, MemoryError)
# Dreams a picture, from its beginning or from a checkpoint. Raises FAILURES.
Dreamer = Callable[[Job, Source, Checkpoint | None], Record]


def dream_assigned(job: Job, assignment: Assignment, dreamer: Dreamer) -> Receipt:
    """Dreams a picture and returns its receipt; a failure is an error in it."""
    return dream_prepared(job, assignment, prepare_assigned(job, assignment), dreamer)


def dream_prepared(job: Job, assignment: Assignment, checkpoint: Checkpoint | None, dreamer: Dreamer) -> Receipt:
    """Dreams a picture from its beginning or from what `prepare_assigned` returned, as `dream_assigned` does."""
    settings = checkpoint.settings if checkpoint else job.settings
    own = replace(job, settings=settings, output=assignment.result, overwrite=True)  # the name is reserved
    try:
        record = dreamer(own, assignment.source, checkpoint)
    except FAILURES as error:
        Results(assignment.result).release()
        return replace(
            assignment.receipt, state="failed", error=describe_failure(assignment.source, error, job.processes)
        )
    return replace(assignment.receipt, state=end_state(record), seconds=record.seconds)


def end_state(record: Record) -> State:
    """Returns what a receipt says of a dream that has not failed."""
    return "stopped" if record.ended == "stopped" else "done"


def describe_failure(source: Source, error: BaseException, processes: int = 1) -> str:
    """Returns one of FAILURES as a line that names the picture; `processes` share the memory."""
    if isinstance(error, PictureError):  # its message names the file
        return str(error)
    if isinstance(error, MemoryBudgetError):
        return f"{source.name}: {error.describe(processes)}"
    if isinstance(error, DreamError | BundleError):
        return f"{source.name}: {error}"
    return f"{source.name}: there is not enough memory: choose a smaller --max-size"


def prepare_assigned(job: Job, assignment: Assignment) -> Checkpoint | None:
    """Removes what a killed attempt has left, and returns the checkpoint to continue from, if there is one."""
    earlier, results = assignment.earlier, Results(assignment.result)
    if earlier is None or earlier.state not in ("begun", "stopped"):
        return None
    results.remove_leftovers(job.settings.snapshots)
    checkpoint = None if job.overwrite else _checkpoint_of(job, results)
    if earlier.state == "begun" and not earlier.replaces and checkpoint is None:
        results.remove_unfinished()
    return checkpoint


def _checkpoint_of(job: Job, results: Results) -> Checkpoint | None:
    """The checkpoint of a result, if it is one of this job."""
    try:
        checkpoint = read_checkpoint(results.checkpoint)
    except (RecordError, OSError):
        return None
    machine = Execution()
    is_same = replace(checkpoint.settings, execution=machine) == replace(job.settings, execution=machine)
    return checkpoint if is_same and checkpoint.bundle.sha256 == job.bundle.sha256 else None
