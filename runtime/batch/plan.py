"""The plan of many pictures: which are dreamed, in which order and under which names, and which are done already."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ...models.arrays import Size
from ..dream.results import Results
from ..dream.writer import Job, Log
from ..errors import PictureError, PictureNotFoundError
from ..image.folders import find_pictures
from ..image.source import Source, file_hash
from .receipts import Key, Manifest, Receipt


def gather_pictures(
    paths: Iterable[Path], log_error: Log, examples: Path, log: Log = lambda line: None, recursive: bool = False
) -> tuple[list[Source], int]:
    """Collects the picture files of files and folders, each once; returns them and the number of paths that failed.

    With `recursive`, the folders inside folders count, too. Each failure is a call of `log_error`, with a hint if the
    folder `examples` has a picture of that name. `log` is called with a line on what is left out of each folder.
    """
    pictures: dict[Path, None] = {}
    failed = 0
    for path in paths:
        try:
            pictures.update(dict.fromkeys(find_pictures([path], recursive, log)))
        except PictureError as error:
            failed += 1
            example = examples / path.name
            hint = (
                f" (did you mean {example}?)" if isinstance(error, PictureNotFoundError) and example.is_file() else ""
            )
            log_error(f"{error}{hint}")
    return [Source(path) for path in pictures], failed


@dataclass(frozen=True)
class Task:
    """A picture to dream, with its key and its approximate size.

    `number` counts the pictures of the plan that have the same stem from 1: `a.jpg` becomes `a-dream.png`, and `a.png`
    beside it `a-dream-2.png`.
    """

    source: Source
    key: Key
    number: int
    size: Size

    @property
    def name(self) -> str:
        """The name of its result, unless that is taken."""
        return _result_name(self.source, self.number)


@dataclass(frozen=True)
class Assignment:
    """A picture that is begun, as its receipt says; `result` is the path of its result.

    Where there was an attempt at it before, `earlier` is that attempt's receipt.
    """

    source: Source
    receipt: Receipt
    result: Path
    earlier: Receipt | None = None


class Plan:
    """What is to be dreamed, long dreams first, and what is `done` already."""

    def __init__(self, job: Job, sources: Iterable[Source], manifest: Manifest) -> None:
        self.tasks: list[Task] = []
        self.done = 0
        self._job, self._manifest = job, manifest
        self._names: set[str] = set()
        settings, seen, stems = settings_hash(job), set[str](), Counter[str]()
        for source in sources:
            key = _key(source, manifest.folder, settings, job.bundle.sha256)
            if key.file in seen:
                continue
            seen.add(key.file)
            stems[source.path.stem.casefold()] += 1
            number = stems[source.path.stem.casefold()]
            self._names.add(_result_name(source, number).casefold())
            if manifest.is_done(key) and not job.overwrite:
                self.done += 1
            else:
                self.tasks.append(Task(source, key, number, source.dreamed_size(job.settings.max_size)))
        # Pictures of one size follow each other and share a session.
        self.tasks.sort(key=lambda task: (-task.size.pixels, task.size))

    def __str__(self) -> str:
        count = self.done + len(self.tasks)
        done = f"{self.done} done already, " if self.done else ""
        return f"{count} picture{'s' * (count != 1)}: {done}{len(self.tasks)} to dream"

    def begin(self, task: Task) -> Assignment | None:
        """Reserves a name for a picture and notes that it is begun.

        Returns None where another call has done so since the plan was made. Raises OutputError.
        """
        manifest, overwrite = self._manifest, self._job.overwrite
        with manifest.locked() as file:
            if manifest.is_being_dreamed(task.key) or (manifest.is_done(task.key) and not overwrite):
                return None
            earlier = manifest.latest_of_file(task.key.file) if overwrite else manifest.latest(task.key)
            if earlier and (overwrite or earlier.state != "failed"):  # a dream that failed has given its name back
                name, replaces = earlier.result, earlier.state == "done" or earlier.replaces
            else:
                name, replaces = self._new_name(task)
            receipt = Receipt(manifest.run, "begun", *task.key, name, replaces)
            manifest.append(file, receipt)
        return Assignment(task.source, receipt, manifest.folder / name, earlier)

    def _new_name(self, task: Task) -> tuple[str, bool]:
        """The name of a result without receipt, and whether it may replace an earlier dream."""
        if self._job.overwrite and task.number == 1 and self._manifest.owner(task.name) in (None, task.key.file):
            return task.name, True
        for name in self._free_names(task):
            if Results.reserve(self._manifest.folder / name):
                return name, False
        raise AssertionError("numbers have no end")

    def _free_names(self, task: Task) -> Iterator[str]:
        """Yields the names that belong to no other picture, neither in this plan nor in a receipt."""
        number = task.number
        while True:
            name = _result_name(task.source, number)
            is_own = name == task.name or name.casefold() not in self._names
            if is_own and self._manifest.owner(name) in (None, task.key.file):
                yield name
            number += 1


def settings_hash(job: Job) -> str:
    """The hash of what decides a result besides the picture and the bundle, not of the machine that computes it."""
    settings = asdict(job.settings)
    settings["execution"] = job.settings.execution.precision
    files = [path and _content(path) for path in (job.mask, job.guide)]
    return hashlib.sha256(json.dumps([settings, files], sort_keys=True).encode()).hexdigest()


def _content(path: Path) -> str:
    """The SHA-256 of a file; the path where it is none, or cannot be read, which the dream then reports."""
    with suppress(OSError):
        if path.is_file():  # a pipe can be read only once
            return file_hash(path)
    return str(path)


def _key(source: Source, folder: Path, settings: str, bundle: str) -> Key:
    path = source.path.parent.resolve() / source.path.name
    try:
        file = Path(os.path.relpath(path, folder.resolve())).as_posix()
    except ValueError:  # another drive
        file = path.as_posix()
    size, changed = 0, time.time_ns()  # a pipe is always new, and so is a file that is gone, which the dream reports
    with suppress(OSError):
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            size, changed = found.st_size, found.st_mtime_ns
    return Key(file, size, changed, settings, bundle)


def _result_name(source: Source, number: int) -> str:
    return f"{source.path.stem}-dream{f'-{number}' if number > 1 else ''}.png"
