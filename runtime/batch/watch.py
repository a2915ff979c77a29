"""A folder that is watched: which of its pictures are whole and new, by looking at it again and again.

Looking works on every file system, also where pictures come from another machine, of which no system gives notice.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

from ..dream.writer import Log
from ..image.folders import RESULT, LeftOut, has_picture_name, reason_to_leave_out, visible_files
from ..image.source import Source

# A folder is not looked at more often, and looking takes no more than this share of the time.
_LOOK_SECONDS = 1.0
_LOOKING_SHARE = 0.1
# A file that has not changed for so long when it is first seen was moved to the folder, or was there before.
_QUIET_SECONDS = 2.0


class _Seen(NamedTuple):
    """A file at the last look: its size in bytes, the times in ns of the last change of its bytes and of anything."""

    size: int
    written: int
    changed: int
    is_whole: bool = False


class Watch:
    """Finds the pictures that come into a folder, each once it is whole, and once more after it has changed.

    A file is whole if it is as it was at the look before, or was written two seconds ago or more. Hidden files and the
    results of dreams are left out; with `recursive`, the folders inside count, too. `log` is called with a line on what
    else is left out, and on a folder that cannot be opened. Only what is in the folder takes memory.
    """

    def __init__(self, folder: Path, recursive: bool, log: Log) -> None:
        self._folder, self._recursive, self._log = folder, recursive, log
        self._seen: dict[str, _Seen] = {}
        self._closed: set[str] = set()
        self._next_look = 0.0

    def new_pictures(self) -> list[Source]:
        """Returns the pictures that have become whole; none where the last look was less than a second ago."""
        start = time.monotonic()
        if start < self._next_look:
            return []
        pictures = self._look()
        seconds = time.monotonic() - start
        self._next_look = start + max(_LOOK_SECONDS, seconds / _LOOKING_SHARE)
        return pictures

    def forget(self, source: Source) -> None:
        """Lets a later look return a picture again."""
        self._seen.pop(str(source.place), None)

    def _look(self) -> list[Source]:
        pictures, left_out = list[Source](), LeftOut(self._folder)
        seen, closed = dict[str, _Seen](), set[str]()

        def on_error(error: OSError) -> None:
            closed.add(error.filename)
            if error.filename not in self._closed:
                self._log(f"{error.filename}: cannot be opened: {error.strerror}; looking again")

        for path in visible_files(self._folder, self._recursive, on_error):
            now = _see(path) if has_picture_name(path) else None
            if now is None:
                continue
            before = self._seen.get(path)
            is_same = before is not None and before[:3] == now[:3]
            is_whole = is_same or time.time() - now.written / 1e9 > _QUIET_SECONDS
            seen[path] = now._replace(is_whole=is_whole)
            if not is_whole or (is_same and before and before.is_whole):
                continue
            reason = reason_to_leave_out(Path(path))
            if reason is None:
                pictures.append(Source(path))
            elif reason != RESULT:
                left_out.add(path, reason)
        left_out.log(self._log)
        self._closed = closed
        if str(self._folder) not in closed:  # as while a network fails
            self._seen = seen
        return pictures


def _see(path: str) -> _Seen | None:
    """A regular file as it is at the moment, or None."""
    try:
        facts = os.stat(path)
    except OSError:  # it has gone, or is a link to nothing
        return None
    return _Seen(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns) if stat.S_ISREG(facts.st_mode) else None
