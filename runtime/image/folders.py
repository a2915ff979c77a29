"""Finds the pictures to dream among files and in folders, and reports what is left out of a folder."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...models.wording import counted
from ..errors import NoPicturesError
from .files import picture_errors
from .formats import png
from .formats.codec import WRITTEN_SUFFIXES
from .formats.kinds import missing_reader

Log = Callable[[str], None]

# By suffix, the kinds of picture that `missing_reader` knows, and kinds that are never read.
_OTHER_KINDS = {
    ".gif": "GIF",
    ".avif": "AVIF",
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
}
_UNREAD_KINDS = {
    ".jxl": "JPEG XL",
    **dict.fromkeys((".jp2", ".j2k", ".jpx"), "JPEG 2000"),
    **dict.fromkeys((".psd", ".psb"), "Photoshop"),
    ".svg": "SVG",
    ".exr": "OpenEXR",
    ".tga": "TGA",
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm"), "PNM"),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw"), "camera raw"),
}
_ALWAYS_READ = (*WRITTEN_SUFFIXES, ".jfif", ".bmp")
_PICTURE_SUFFIXES = frozenset((*_ALWAYS_READ, *_OTHER_KINDS, *_UNREAD_KINDS))
RESULT = "the result of a dream"
_MAX_RECORD = 2**24  # bytes; a record lists at most thousands of files
# The end of the names of a dream's snapshots, and of the plot of its losses.
_RESULT_ENDING = re.compile(r"-(step\d+|losses)$")


def read_suffixes() -> tuple[str, ...]:
    """The suffixes of the pictures that are read with what is installed, in lower case."""
    return (*_ALWAYS_READ, *(suffix for suffix, kind in _OTHER_KINDS.items() if missing_reader(kind) is None))


def find_pictures(paths: Iterable[Path], recursive: bool = False, log: Log = lambda line: None) -> Iterator[str]:
    """Yields the paths of the files among the paths, and of the pictures in the folders among them, sorted by name.

    With `recursive`, the pictures in the folders inside these follow, folder by folder; links to folders are not
    followed. Hidden files and folders and the results of dreams are left out of folders. `log` is called with a line
    for each folder of which pictures are left out, hidden ones excepted.

    Raises PictureNotFoundError for a path that does not exist, NoPicturesError for a folder without pictures.
    """
    for path in paths:
        with picture_errors(path):
            path.stat()
            if path.is_dir():
                yield from _pictures_in(path, recursive, log)
            else:
                yield str(path)


def is_result(path: Path) -> bool:
    """Whether a picture was written by a dream.

    It is if it holds a dream's note, if the record next to it lists it, or if it is a picture of the unfinished dream
    whose checkpoint is next to it.
    """
    with suppress(OSError), path.open("rb") as file:
        if png.has_note(file.read(png.NOTE_END)):
            return True
    return any(
        path.name in _recorded_files(path.with_name(f"{stem}.json")) or path.with_name(f"{stem}.checkpoint").is_file()
        for stem in result_stems(path)
    )


def result_stems(path: Path) -> set[str]:
    """The stems that a dream's result may have if this picture is the result, one of its snapshots or its plot."""
    return {path.stem, _RESULT_ENDING.sub("", path.stem)}


def _recorded_files(path: Path) -> frozenset[str]:
    """The names of the files that the record of a dream lists; none for any other file."""
    with suppress(OSError, ValueError, RecursionError):
        if path.is_file() and path.stat().st_size <= _MAX_RECORD:
            record: Any = json.loads(path.read_bytes())
            if isinstance(record, dict) and {"bundle", "settings"} <= set(record):
                files = record.get("files")
                if isinstance(files, list):
                    return frozenset(name for name in files if isinstance(name, str))
    return frozenset()


def _pictures_in(folder: Path, recursive: bool, log: Log) -> Iterator[str]:
    """Yields the pictures in a folder; logs what is left out. Raises NoPicturesError, and OSError for the folder."""
    has_pictures = False
    left_out = LeftOut(folder)

    def on_error(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise error
        left_out.add(error.filename, f"cannot be opened: {error.strerror}")

    for path in visible_files(folder, recursive, on_error):
        if not (has_picture_name(path) and os.path.isfile(path)):
            continue
        if reason := reason_to_leave_out(Path(path)):
            left_out.add(path, reason)
        else:
            has_pictures = True
            yield path
    left_out.log(log)
    if not has_pictures:
        has_folders = not recursive and any(path.is_dir() for path in folder.iterdir())
        raise NoPicturesError(
            f"{folder}: has no pictures ({', '.join(read_suffixes())}) other than hidden ones and earlier dreams; "
            f"name another folder, or the files{', or add --recursive' if has_folders else ''}"
        )


def visible_files(folder: Path, recursive: bool, on_error: Callable[[OSError], None]) -> Iterator[str]:
    """Yields the paths of the visible files in a folder by name, then, if `recursive`, those in the folders inside it.

    Links to folders are not followed. `on_error` is called for a folder that cannot be opened.
    """
    for name, folders, files in os.walk(folder, onerror=on_error):
        folders[:] = sorted(inside for inside in folders if recursive and not inside.startswith("."))
        beginning = os.path.join(name, "").removeprefix(os.path.join(".", ""))
        for file in sorted(files):
            if not file.startswith("."):
                yield beginning + file


def has_picture_name(path: str) -> bool:
    """Whether a file's suffix is that of a kind of picture, be it one that is read or one that is not."""
    return os.path.splitext(path)[1].lower() in _PICTURE_SUFFIXES


def reason_to_leave_out(path: Path) -> str | None:
    """Why a picture in a folder is not dreamed; None for one that is."""
    suffix = path.suffix.lower()
    if suffix in _UNREAD_KINDS:
        return f"{_UNREAD_KINDS[suffix]} is not read"
    if suffix in _OTHER_KINDS:
        missing = missing_reader(_OTHER_KINDS[suffix])
        return f"{_OTHER_KINDS[suffix]} is not read yet: {missing}" if missing else None
    return RESULT if is_result(path) else None


class LeftOut:
    """Counts the files of a folder that are left out, by reason, for one line on them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._first: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def add(self, path: str, reason: str) -> None:
        """Notes a file, or a folder, inside the folder."""
        self._first.setdefault(reason, os.path.relpath(path, self._folder))
        self._counts[reason] += 1

    def log(self, log: Log) -> None:
        """Logs the line, if anything was left out."""
        if not self._counts:
            return
        parts = []
        for reason, first in self._first.items():
            more = f" and {self._counts[reason] - 1} more" if self._counts[reason] > 1 else ""
            parts.append(f"{first}{more} ({reason})")
        log(f"{self._folder}: left out {counted(self._counts.total(), 'file')}: {', '.join(parts)}")
