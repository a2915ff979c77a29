"""The cells of a study, of which each is one picture dreamed with one bundle.

A grid has a cell for every pair of a picture and a bundle. A cell finds out from the files in the result folder whether
it is done already or was interrupted.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..runtime.dream.checkpoint import Checkpoint, read_checkpoint
from ..runtime.dream.job import dream_and_save
from ..runtime.dream.record import Record
from ..runtime.dream.repeat import load_record
from ..runtime.dream.results import Results
from ..runtime.dream.writer import Callbacks, Job
from ..runtime.errors import RecordError
from ..runtime.image.source import Source, file_hash
from ..runtime.settings.settings import Settings
from .errors import ResultsError


@dataclass(frozen=True)
class Cell:
    """An experiment cell: one picture (`source`) dreamed with one bundle under one set of settings (both in `job`).

    `name` is `<backbone>-<set>-<picture>`. `results` are the paths of the files that the dream writes. The record among
    them shows later what was done.
    """

    name: str
    source: Source
    job: Job
    results: Results

    @property
    def key(self) -> str:
        """The SHA-256 of the settings and of the content of bundle, picture, mask and guide. Raises ResultsError."""
        files = {"picture": self.source.path, "mask": self.job.mask, "guide": self.job.guide}
        hashes = {name: _sha256(path) if path else None for name, path in files.items()}
        return _key(self.job.settings, self.job.bundle.sha256, **hashes)

    def record(self) -> Record | None:
        """Returns the record of the finished dream, or None if there is none with the same key."""
        if not (self.results.picture.is_file() and self.results.losses.is_file()):
            return None
        try:
            record = load_record(self.results.record)
        except RecordError:
            return None
        return record if record.ended == "finished" and key_of(record) == self.key else None

    def checkpoint(self) -> Checkpoint | None:
        """Returns the checkpoint of an interrupted dream, or None if there is none with the same key."""
        try:
            checkpoint = read_checkpoint(self.results.checkpoint)
        except RecordError:
            return None
        return checkpoint if key_of(checkpoint) == self.key else None

    def run(self, callbacks: Callbacks) -> Record:
        """Dreams the picture, or resumes an interrupted dream of it. Raises DreamError and BundleError."""
        checkpoint = self.checkpoint()
        # The checkpoint's settings name the threads and tiles of the first run, so that the result is bit-identical.
        job = replace(self.job, settings=checkpoint.settings) if checkpoint else self.job
        if checkpoint:
            callbacks.log(f"{self.name}: resuming after {checkpoint.state.number} steps")
        dreamed, _ = dream_and_save(job, self.source, callbacks, checkpoint)
        return dreamed.record


def key_of(run: Record | Checkpoint) -> str:
    """Returns the key of the cell that a record or a checkpoint belongs to."""
    sources = {"picture": run.picture, "mask": run.mask, "guide": run.guide}
    hashes = {name: source.sha256 if source else None for name, source in sources.items()}
    return _key(run.settings, run.bundle.sha256, **hashes)


def _key(settings: Settings, bundle: str, **hashes: str | None) -> str:
    """Returns the SHA-256 of the settings and of these hashes.

    The provider, the threads and the memory are left out: the same dream on other hardware is the same cell.
    """
    facts = {**asdict(settings), "execution": None, "bundle": bundle, **hashes}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    try:
        return file_hash(path)
    except OSError as error:
        raise ResultsError(f"cannot read {path} ({error.strerror}): check that it exists and is readable") from error
