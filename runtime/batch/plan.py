"""The plan of many pictures: which are dreamed, in which order and under which names, and which are done already."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import chain, count, groupby
from pathlib import Path

from ...models.arrays import Size
from ...models.wording import counted
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
    pictures: dict[str, None] = {}
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


@dataclass(frozen=True, slots=True)
class Task:
    """A picture to dream, with its approximate size.

    `number` counts the pictures of the plan that have the same stem from 1: `a.jpg` becomes `a-dream.png`, and `a.png`
    beside it `a-dream-2.png`.
    """

    source: Source
    size: Size
    number: int = 1

    @property
    def stem(self) -> str:
        """The stem of the picture, in small letters as far as file systems do not tell them from capital ones."""
        return self.source.path.stem.casefold()

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
    """What is to be dreamed, long dreams first, and how much is `done` already.

    Whoever begins a task takes it out of `tasks`, each of which takes about 150 bytes besides its path.
    """

    def __init__(self, job: Job, sources: Iterable[Source], manifest: Manifest) -> None:
        self.tasks: deque[Task] = deque()
        self.done = 0
        self._job, self._manifest = job, manifest
        self._settings = settings_hash(job)
        self._folders: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self.add(sources)

    def __str__(self) -> str:
        done = f"{self.done} done already, " if self.done else ""
        return f"{counted(self.done + len(self.tasks), 'picture')}: {done}{len(self.tasks)} to dream"

    def add(self, sources: Iterable[Source]) -> None:
        """Takes in more pictures, each once, without those that are done."""
        seen, spellings, sizes, tasks = set[str](), dict[str, str](), dict[Size, Size](), list(self.tasks)
        for source in sources:
            folder, name = os.path.split(source.place)
            spelling = spellings.setdefault(self._relative(folder), folder)
            place = str(source.place) if folder == spelling else os.path.join(spelling, name)
            if place in seen:
                continue
            seen.add(place)
            key = self._key(source)
            if self._manifest.is_done(key) and not self._job.overwrite:
                self.done += 1
            else:
                size = source.dreamed_size(self._job.settings.max_size)
                tasks.append(Task(source, sizes.setdefault(size, size)))
        del seen
        self._number(tasks)
        # Pictures of one size follow each other and share a session.
        tasks.sort(key=lambda task: (-task.size.pixels, task.size))
        self.tasks = deque(tasks)

    def begin(self, task: Task) -> Assignment | None:
        """Reserves a name for a picture and notes that it is begun.

        Returns None where another call has done so since the plan was made. Raises OutputError.
        """
        manifest, overwrite, key = self._manifest, self._job.overwrite, self._key(task.source)
        with manifest.locked() as file:
            if manifest.is_being_dreamed(key) or (manifest.is_done(key) and not overwrite):
                return None
            earlier = manifest.latest_of_file(key.file) if overwrite else manifest.latest(key)
            has_name = earlier and (overwrite or earlier.state != "failed")  # one that failed has given it back
            if earlier and has_name:
                name, replaces = earlier.result, earlier.state == "done" or earlier.replaces
            else:
                name, replaces = self._new_name(task, key)
            receipt = Receipt(manifest.run, "begun", *key, name, replaces)
            try:
                manifest.append(file, receipt)
            except OSError:
                if not has_name:
                    Results(manifest.folder / name).release()
                raise
        return Assignment(task.source, receipt, manifest.folder / name, earlier)

    def _number(self, tasks: list[Task]) -> None:
        """Numbers the tasks that have the same stem in their order; sorts the list by stem."""
        tasks.sort(key=lambda task: task.stem)
        self._counts = {}
        for stem, group in groupby(range(len(tasks)), key=lambda index: tasks[index].stem):
            indices = list(group)
            if len(indices) > 1:
                self._counts[stem] = len(indices)
                for number, index in enumerate(indices, 1):
                    tasks[index] = replace(tasks[index], number=number)

    def _new_name(self, task: Task, key: Key) -> tuple[str, bool]:
        """The name of a result without receipt, and whether it may replace an earlier dream."""
        if self._job.overwrite and task.number == 1 and self._manifest.owner(task.name) in (None, key.file):
            return task.name, True
        for name in self._free_names(task, key):
            if Results.reserve(self._manifest.folder / name):
                return name, False
        raise AssertionError("numbers have no end")

    def _free_names(self, task: Task, key: Key) -> Iterator[str]:
        """Yields the names that belong to no other picture, neither in this plan nor in a receipt."""
        of_others = self._counts.get(task.stem, task.number)
        for number in chain((task.number,), count(of_others + 1)):
            name = _result_name(task.source, number)
            if self._manifest.owner(name) in (None, key.file):
                yield name

    def _key(self, source: Source) -> Key:
        folder, name = os.path.split(source.place)
        relative = self._relative(folder)
        size, changed = (
            0,
            time.time_ns(),
        )  # a pipe is always new, and so is a file that is gone, which the dream reports
        with suppress(OSError):
            found = os.stat(source.place)
            if stat.S_ISREG(found.st_mode):
                size, changed = found.st_size, found.st_mtime_ns
        file = name if relative == "." else f"{relative}/{name}"
        return Key(file, size, changed, self._settings, self._job.bundle.sha256)

    def _relative(self, folder: str) -> str:
        """The path of a folder relative to the output folder, without links."""
        if folder not in self._folders:
            path = Path(folder).resolve()
            with suppress(ValueError):  # on another drive
                path = Path(os.path.relpath(path, self._manifest.folder.resolve()))
            self._folders[folder] = path.as_posix()
        return self._folders[folder]


def settings_hash(job: Job) -> str:
    """The hash of what decides a result besides the picture and the bundle, not of the machine that computes it."""
    settings = asdict(job.settings)
    settings["execution"] = job.settings.execution.precision
    files = [path and _content(path) for path in (job.mask, job.guide, *job.direction)]
    changes = [asdict(change) for change in job.changes]
    return hashlib.sha256(json.dumps([settings, files, *changes], sort_keys=True).encode()).hexdigest()


def _content(path: Path) -> str:
    """The SHA-256 of a file; the path where it is none, or cannot be read, which the dream then reports."""
    with suppress(OSError):
        if path.is_file():  # a pipe can be read only once
            return file_hash(path)
    return str(path)


def _result_name(source: Source, number: int) -> str:
    return f"{source.path.stem}-dream{f'-{number}' if number > 1 else ''}.png"
