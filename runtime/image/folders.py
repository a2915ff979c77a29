"""Finds the pictures to dream among files and in folders, and reports what is left out of a folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

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
_MAX_RECORD = 2**24  # bytes; a record lists at most thousands of files
# The end of the names of a dream's snapshots, and of the plot of its losses.
_RESULT_ENDING = re.compile(r"-(step\d+|losses)$")


def read_suffixes() -> tuple[str, ...]:
    """The suffixes of the pictures that are read with what is installed, in lower case."""
    return (*_ALWAYS_READ, *(suffix for suffix, kind in _OTHER_KINDS.items() if missing_reader(kind) is None))


def find_pictures(paths: Iterable[Path], recursive: bool = False, log: Log = lambda line: None) -> list[Path]:
    """The files among the paths, each once, and the pictures in the folders among them, sorted by name.

    With `recursive`, the pictures in the folders inside these follow, folder by folder; links to folders are not
    followed. Hidden files and folders and the results of dreams are left out of folders. `log` is called with a line
    for each folder of which pictures are left out, hidden ones excepted.

    Raises PictureNotFoundError for a path that does not exist, NoPicturesError for a folder without pictures.
    """
    pictures: dict[Path, None] = {}
    for path in paths:
        with picture_errors(path):
            path.stat()
            pictures.update(dict.fromkeys(_pictures_in(path, recursive, log) if path.is_dir() else [path]))
    return list(pictures)


def is_result(path: Path) -> bool:
    """Whether a picture was written by a dream.

    It is if it holds a dream's note, if the record next to it lists it, or if it is a picture of the unfinished dream
    whose checkpoint is next to it.
    """
    with suppress(OSError), path.open("rb") as file:
        if png.has_note(file.read(png.NOTE_END)):
            return True
    stems = {path.stem, _RESULT_ENDING.sub("", path.stem)}
    return any(
        path.name in _recorded_files(path.with_name(f"{stem}.json")) or path.with_name(f"{stem}.checkpoint").is_file()
        for stem in stems
    )


def _recorded_files(path: Path) -> frozenset[str]:
    """The names of the files that the record of a dream lists; none for any other file."""
    with suppress(OSError, ValueError, RecursionError):
        if path.is_file() and path.stat().st_size <= _MAX_RECORD:
            record: Any = json.loads(path.read_bytes())
            if isinstance(record, dict) and {"bundle", "settings"} <= set(record):
                files = record.get("files")
                return (
                    frozenset(name for name in files if isinstance(name, str))
                    if isinstance(files, list)
                    else frozenset()
                )
    return frozenset()


def _pictures_in(folder: Path, recursive: bool, log: Log) -> list[Path]:
    """The pictures in a folder; what is left out is logged. Raises NoPicturesError, and OSError for the folder."""
    pictures: list[Path] = []
    left_out: dict[str, list[str]] = {}

    def leave_out(path: Path, reason: str) -> None:
        left_out.setdefault(reason, []).append(str(path.relative_to(folder)))

    def on_error(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise error
        leave_out(Path(error.filename), f"cannot be opened: {error.strerror}")

    for path in _files_in(folder, recursive, on_error):
        if reason := _reason_to_leave_out(path):
            leave_out(path, reason)
        elif path.suffix.lower() in (*_ALWAYS_READ, *_OTHER_KINDS):
            pictures.append(path)
    if left_out:
        log(f"{folder}: {_describe(left_out)}")
    if not pictures:
        has_folders = not recursive and any(path.is_dir() for path in folder.iterdir())
        raise NoPicturesError(
            f"{folder}: has no pictures ({', '.join(read_suffixes())}) other than hidden ones and earlier dreams; "
            f"name another folder, or the files{', or add --recursive' if has_folders else ''}"
        )
    return pictures


def _files_in(folder: Path, recursive: bool, on_error: Callable[[OSError], None]) -> Iterator[Path]:
    """Yields the visible files in a folder by name, then, if `recursive`, those in each visible folder inside it."""
    for name, folders, files in os.walk(folder, onerror=on_error):  # does not follow links to folders
        folders[:] = sorted(inside for inside in folders if recursive and not inside.startswith("."))
        for file in sorted(files):
            if not file.startswith(".") and (path := Path(name, file)).is_file():
                yield path


def _reason_to_leave_out(path: Path) -> str | None:
    """Why a picture in a folder is not dreamed; None for one that is, and for a file that is not a picture."""
    suffix = path.suffix.lower()
    if suffix in _UNREAD_KINDS:
        return f"{_UNREAD_KINDS[suffix]} is not read"
    if suffix in _OTHER_KINDS:
        missing = missing_reader(_OTHER_KINDS[suffix])
        return f"{_OTHER_KINDS[suffix]} is not read yet: {missing}" if missing else None
    return "the result of a dream" if suffix in _ALWAYS_READ and is_result(path) else None


def _describe(left_out: dict[str, list[str]]) -> str:
    """The line on the files that are left out, by reason."""
    count = sum(map(len, left_out.values()))
    parts = []
    for reason, names in left_out.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        parts.append(f"{names[0]}{more} ({reason})")
    return f"left out {count} {'file' if count == 1 else 'files'}: {', '.join(parts)}"
