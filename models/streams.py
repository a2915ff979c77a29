"""The standard streams of the command line, which never end a command with a traceback.

Only what a command runs uses this module: the functions that `onnxdream.runtime` offers leave the streams of a
process alone.
"""

from __future__ import annotations

import io
import json
import math
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TextIO, cast

_BLOCK = 2**20  # bytes


class StreamError(Exception):
    """Standard input or output does not work. No command handles it as an error of its own."""


@contextmanager
def tolerant_streams(with_events: bool = False) -> Iterator[None]:
    """Replaces standard output and standard error while a command runs.

    A closed stream becomes the null device, so that no file takes its number. A character that a stream's encoding
    lacks is written as an escape. Standard error loses what it cannot write: no dream ends because of a message.
    Standard output raises StreamError, or ends the command with exit code 1 where its reader has gone. With
    `with_events`, standard error is an EventStream.
    """
    _open_closed_streams()
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    messages = EventStream(before[1]) if with_events else _Messages(before[1])
    sys.stdout, sys.stderr = cast(TextIO, _Output(before[0])), cast(TextIO, messages)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in before:
            _discard_unwritten(stream)


def read_input(max_bytes: int) -> bytes:
    """Returns the bytes of standard input, at most `max_bytes`. Raises StreamError."""
    data = bytearray()
    try:
        while len(data) < max_bytes and (block := _read_block(max_bytes - len(data))):
            data += block
    except OSError as error:
        raise StreamError(f"cannot read standard input ({error.strerror}): send the bytes of a picture to it") from None
    return bytes(data)


def _read_block(max_bytes: int) -> bytes:
    while True:
        try:
            return os.read(0, min(max_bytes, _BLOCK))
        except BlockingIOError:  # another program may have made the pipe one that does not wait
            select.select([0], [], [])


def write_output(data: bytes) -> None:
    """Writes all bytes to standard output as they are, past its text stream.

    Raises StreamError, or ends the command with exit code 1 where the reader has gone.
    """
    left = memoryview(data)
    with _one_line():
        sys.stdout.flush()
        while left:
            try:
                left = left[os.write(1, left) :]
            except BlockingIOError:
                select.select([], [1], [])


def event_stream() -> EventStream | None:
    """Returns standard error if each of its lines is an event, see `tolerant_streams`."""
    stream: object = sys.stderr
    return stream if isinstance(stream, EventStream) else None


@contextmanager
def filtered_import(module: str, *noise: str) -> Iterator[None]:
    """While a command runs, the import of that module loses the lines on standard error that contain one of `noise`.

    Native code writes them, so the file itself is replaced meanwhile; all other lines follow after the import. Only
    Linux has such lines, and files in memory.
    """
    finder = _FilteringFinder(module, [text.encode() for text in noise])
    if hasattr(os, "memfd_create"):
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.meta_path.remove(finder)


class _FilteringFinder(MetaPathFinder):
    """Finds one module, and filters what is written to standard error while it is loaded."""

    def __init__(self, module: str, noise: Sequence[bytes]) -> None:
        self._module, self._noise = module, noise

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        if name != self._module:
            return None
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = partial(self._load, spec.loader.exec_module)  # type: ignore[method-assign]
        return spec

    def _load(self, load: Callable[[ModuleType], None], module: ModuleType) -> None:
        memory, stderr = os.memfd_create("stderr"), os.dup(2)
        os.dup2(memory, 2)
        try:
            load(module)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            with open(memory, "rb") as file, suppress(OSError):
                file.seek(0)
                for line in file:
                    if not any(noise in line for noise in self._noise):
                        os.write(2, line)


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


class EventStream(_Messages):
    """Standard error for a program that reads it: each line is a JSON object, whose kind is in `event`.

    A line of text, as from `print`, becomes an event `message`.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._unfinished = ""

    def write(self, text: str) -> int:
        *lines, self._unfinished = f"{self._unfinished}{text}".split("\n")
        for line in filter(str.strip, lines):
            self.send("message", text=line)
        return len(text)

    def send(self, event: str, **fields: str | float | None) -> None:
        """Writes an event with what JSON has in place of what it lacks, see `_known_to_json`."""
        known = {name: _known_to_json(value) for name, value in fields.items()}
        super().write(f"{json.dumps({'event': event, **known})}\n")
        self.flush()


def _known_to_json(value: str | float | None) -> str | float | None:
    """Returns null for a number that is not finite, and escapes for the bytes of a file's name that are not UTF-8."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
