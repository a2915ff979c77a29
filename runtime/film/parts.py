"""The parts of a film: a folder with finished segments, their record, and the state to continue from."""

from __future__ import annotations

import hashlib
import shlex
import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ...models.arrays import Size
from ...models.files import atomic_write, lock_alone
from ..errors import OutputError, RecordError
from ..video.encoder import SegmentWriter
from ..video.formats import FilmFormat, film_format
from ..video.joining import Segment
from ..video.library import writing_reason
from .frames.coherence import DreamedFrame
from .record import FilmRecord, SegmentRecord
from .states import read_state, write_state

# A segment ends before a shot, and after this many frames or seconds: so much is lost when a run is killed.
_MAX_FRAMES = 100
_MAX_SECONDS = 10
_PARTS = ".parts"
_RECORD, _PLAYLIST, _LOCK = "film.json", "playlist.m3u", "lock"


@dataclass(frozen=True)
class TimedFrame:
    """A dreamed frame with the time and the duration at which it is shown, in seconds of the film."""

    dreamed: DreamedFrame
    time: Fraction
    duration: Fraction


@dataclass
class _OpenSegment:
    """The segment that is being written, and what its record will say of it."""

    writer: SegmentWriter
    start: Fraction
    end: Fraction
    hash: str
    losses: list[float] = field(default_factory=list)
    shots: int = 0
    repeated: int = 0

    def add(self, frame: TimedFrame) -> None:
        dreamed = frame.dreamed
        self.writer.add(dreamed.pixels, frame.time, frame.duration)
        self.end = frame.time + frame.duration
        self.losses.append(dreamed.loss)
        self.hash = hashlib.sha256(self.hash.encode() + dreamed.pixels.tobytes()).hexdigest()
        self.shots += dreamed.begins_shot
        self.repeated += dreamed.is_repeated

    def record(self) -> SegmentRecord:
        return SegmentRecord(
            file=self.writer.path.name,
            start=self.start.as_integer_ratio(),
            end=self.end.as_integer_ratio(),
            frames=len(self.losses),
            shots=self.shots,
            repeated=self.repeated,
            loss=float(np.mean(self.losses)),
            hash=self.hash,
        )


class Parts:
    """Writes frames, one by one, into segments in a folder, together with what continues after each segment.

    `film` is the film that the segments will be joined to. `record` is what its record says so far; if it has segments,
    new ones come after them. `time_base` is the unit of the frames' times in seconds, `rate` their number per second.
    Whoever watches the folder's playlist sees the film as far as it is. Use it in a `with` block. Raises OutputError.
    """

    def __init__(self, film: Path, folder: Path, record: FilmRecord, time_base: Fraction, rate: Fraction) -> None:
        self.path = film
        self.folder = folder
        self.record = record
        self._format: FilmFormat = film_format(film)
        self._time_base, self._rate = time_base, rate
        self._segment: _OpenSegment | None = None
        self._state: Any = None
        self._resources = ExitStack()

    def __enter__(self) -> Parts:
        """Makes the folder, or removes from it what a killed run has not finished.

        Raises OutputError, and RecordError for a damaged segment.
        """
        if not self.record.shots:  # those of shots dreamed apart may be missing, and are looked at by their tally
            require_whole(self.folder, self.record.segments)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock_alone(self.folder / _LOCK, self._resources)
            self._remove_leftovers()
            self._write_record()
        except BlockingIOError:
            self._resources.close()
            raise OutputError(f"another run is writing {self.path}: wait for it, or choose another name") from None
        except OSError as error:
            self._resources.close()
            raise OutputError(
                f"cannot write film {self.path} ({error.strerror or error}): choose another name"
            ) from error
        return self

    def _remove_leftovers(self) -> None:
        kept = {_LOCK, _RECORD, *(segment.file for segment in self.record.segments)}
        kept |= {_state_name(self.record)} if self.record.segments else set()
        kept |= {shot_name(number) for number in range(1, len(self.record.shots) + 1)}
        for leftover in self.folder.iterdir():
            if leftover.name not in kept:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def segments(self) -> list[Segment]:
        """The finished segments."""
        return _segments(self.folder, self.record.segments)

    def restored_state(self, kind: type[Any]) -> Any:
        """Returns the state after the last segment, of that type; None for a new film. Raises RecordError."""
        return read_state(self.folder / _state_name(self.record), kind) if self.record.segments else None

    def add(self, frame: TimedFrame, state: Any) -> None:
        """Appends a frame; `state` is what the film continues from after it. Raises OutputError."""
        try:
            if self._segment and self._is_due(self._segment, frame):
                self.close_segment()
            if self._segment is None:
                self._segment = self._new_segment(frame)
            self._segment.add(frame)
        except OSError as error:
            raise self._failure(error) from error
        self._state = state

    def _is_due(self, segment: _OpenSegment, frame: TimedFrame) -> bool:
        is_long = len(segment.losses) >= _MAX_FRAMES or frame.time - segment.start >= _MAX_SECONDS
        return frame.dreamed.begins_shot or is_long

    def _new_segment(self, frame: TimedFrame) -> _OpenSegment:
        size = Size(*frame.dreamed.pixels.shape[:2])
        self.record = replace(self.record, size=size)
        name = f"{len(self.record.segments) + 1:05}{self._format.segment_suffix}"
        writer = SegmentWriter(self.folder / name, self._format, size, self._time_base, self._rate)
        # The hashes of a shot do not depend on those before it, so that it can be dreamed apart.
        goes_on = self.record.segments and not frame.dreamed.begins_shot
        before = self.record.segments[-1].hash if goes_on else ""
        return _OpenSegment(writer, frame.time, frame.time, before)

    def close_segment(self) -> None:
        """Completes the segment that is being written, and with it what `--resume` continues from."""
        if self._segment is None:
            return
        try:
            self._segment.writer.close()
            before = self.record
            self.record = replace(before, segments=(*before.segments, self._segment.record()))
            self._segment = None
            write_state(self.folder / _state_name(self.record), self._state)
            self._write_record()
            (self.folder / _state_name(before)).unlink(missing_ok=True)
        except OSError as error:
            raise self._failure(error) from error

    def update(self, record: FilmRecord) -> None:
        """Replaces the record. Raises OutputError."""
        self.record = record
        try:
            self._write_record()
        except OSError as error:
            raise self._failure(error) from error

    def remove_state(self) -> None:
        """Removes the state, which nothing continues from any more. Raises OutputError."""
        try:
            (self.folder / _state_name(self.record)).unlink(missing_ok=True)
        except OSError as error:
            raise self._failure(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._segment:
            with suppress(OSError):
                self._segment.writer.close()
        self._resources.close()

    def _write_record(self) -> None:
        atomic_write(self.folder / _RECORD, self.record.to_json().encode())
        names = "".join(f"{segment.file}\n" for segment in self.record.segments)
        atomic_write(self.folder / _PLAYLIST, names.encode())

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write film {self.path} ({writing_reason(error)}): make room, and continue with "
            f"{resuming(parts_folder(self.path))}"
        )


def require_whole(folder: Path, segments: Sequence[SegmentRecord]) -> None:
    """Raises RecordError for a segment in a folder that is missing or damaged."""
    for segment in _segments(folder, segments):
        if not segment.is_whole():
            raise RecordError(f"{segment.path} is missing or damaged: start the film again with --overwrite")


def _segments(folder: Path, segments: Sequence[SegmentRecord]) -> list[Segment]:
    return [Segment(folder / one.file, Fraction(*one.start), one.frames) for one in segments]


def parts_folder(film: Path) -> Path:
    """The folder with the segments of an unfinished film."""
    return film.with_name(f"{film.name}{_PARTS}")


def film_of(folder: Path) -> Path:
    """The film whose segments are in a folder."""
    folder = folder if folder.name else folder.absolute()  # the current folder is "."
    return folder.with_name(folder.name.removesuffix(_PARTS))


def resuming(folder: Path) -> str:
    """The option that continues the unfinished film in a folder, as it is typed in a shell."""
    return f"--resume {shlex.quote(str(folder))}"


def shot_name(number: int) -> str:
    """The name of the folder, within that of a film, with the segments of a shot that is dreamed apart."""
    return f"shot-{number:05}"


def unfinished_record(folder: Path) -> Path:
    """The record in the folder of an unfinished film."""
    return folder / _RECORD


def _state_name(record: FilmRecord) -> str:
    return f"state-{len(record.segments):05}.npz"
