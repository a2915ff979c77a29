"""The standard streams of the command line, which never end a command with a traceback.

Only the command line uses this module: the library leaves the streams of a process alone.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class StreamError(Exception):
    """Results cannot be written to standard output. No command handles it as an error of its own."""


@contextmanager
def tolerant_streams() -> Iterator[None]:
    """Replaces standard output and standard error while a command runs.

    A closed stream becomes the null device, so that no file takes its number. A character that a stream's encoding
    lacks is written as an escape. Standard error loses what it cannot write: no dream ends because of a message.
    Standard output raises StreamError, or ends the command with exit code 1 where its reader has gone.
    """
    _open_closed_streams()
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = cast(TextIO, _Output(before[0])), cast(TextIO, _Messages(before[1]))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in before:
            _discard_unwritten(stream)


class _Stream:
    """A text stream that is used through another one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Messages(_Stream):
    """Loses what cannot be written."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


class _Output(_Stream):
    """Reports what cannot be written in one line."""

    def write(self, text: str) -> int:
        with _one_line():
            return self._stream.write(text)

    def flush(self) -> None:
        with _one_line():
            self._stream.flush()


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise SystemExit(1) from None
    except OSError as error:
        raise StreamError(f"cannot write to standard output ({error.strerror}): write to another file") from None


def _open_closed_streams() -> None:
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it takes the lowest free number, which is this
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the process ends
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _discard_unwritten(stream: TextIO) -> None:
    """Sends what cannot be written to the null device, since Python tries to write it once more when it ends."""
    try:
        stream.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
