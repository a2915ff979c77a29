"""A cell of a study: one bundle, one picture, one set of settings, and whether that is done already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..runtime.ascent.ascent import Step
from ..runtime.dream.checkpoint import Checkpoint, read_checkpoint
from ..runtime.dream.job import dream_and_save
from ..runtime.dream.record import Record
from ..runtime.dream.repeat import load_record
from ..runtime.dream.results import Results
from ..runtime.dream.writer import Callbacks, Job
from ..runtime.errors import RecordError
from ..runtime.image.source import Source
from ..runtime.settings.settings import Settings
from .errors import ResultsError


@dataclass(frozen=True)
class Cell:
    """`<backbone>-<set>-<picture>`; `job` writes `results`, whose record tells later what was done."""

    name: str
    source: Source
    job: Job
    results: Results

    @property
    def key(self) -> str:
        """Hash of the settings and of the content of bundle, picture, mask and guide. Raises ResultsError."""
        files = {"picture": self.source.path, "mask": self.job.mask, "guide": self.job.guide}
        hashes = {name: _sha256(path) if path else None for name, path in files.items()}
        return _key(self.job.settings, self.job.bundle.sha256, **hashes)

    def record(self) -> Record | None:
        """The record of this very cell, if it is done."""
        if not (self.results.picture.is_file() and self.results.losses.is_file()):
            return None
        try:
            record = load_record(self.results.record)
        except RecordError:
            return None
        return record if record.ended == "finished" and key_of(record) == self.key else None

    def checkpoint(self) -> Checkpoint | None:
        """Where this very cell was left, if it was."""
        try:
            checkpoint = read_checkpoint(self.results.checkpoint)
        except RecordError:
            return None
        return checkpoint if key_of(checkpoint) == self.key else None

    def run(self, log: Callable[[str], None], on_step: Callable[[Step], bool | None]) -> Record:
        """Dreams it, from where it was left. Raises DreamError and BundleError."""
        checkpoint = self.checkpoint()
        # The checkpoint's settings name the threads and tiles that the run had: it goes on bit by bit.
        job = replace(self.job, settings=checkpoint.settings) if checkpoint else self.job
        if checkpoint:
            log(f"{self.name}: going on after {checkpoint.state.number} steps")
        dreamed, _ = dream_and_save(job, self.source, Callbacks(log, on_step), checkpoint)
        return dreamed.record


def key_of(run: Record | Checkpoint) -> str:
    """The key of the cell that a record or a checkpoint is of."""
    sources = {"picture": run.picture, "mask": run.mask, "guide": run.guide}
    hashes = {name: source.sha256 if source else None for name, source in sources.items()}
    return _key(run.settings, run.bundle.sha256, **hashes)


def _key(settings: Settings, bundle: str, **hashes: str | None) -> str:
    """Where a cell is computed does not make it another cell."""
    facts = {**asdict(settings), "execution": None, "bundle": bundle, **hashes}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ResultsError(f"cannot read {path} ({error.strerror}): check it") from error
