"""A worker of a film: it dreams one shot after another in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ....models.errors import OnnxdreamError
from ...errors import DivergedError
from ...processes.worker import Stops, Tell
from ..frames.coherence import DreamedFrame
from ..parts import Parts, parts_folder, shot_name, unfinished_record
from ..record import FilmRecord, SegmentRecord, read_film_record
from ..reels import FilmReel, Footage, Section
from ..run import Ending, FilmCallbacks, FilmJob, dream_parts


@dataclass(frozen=True)
class ShotFrame:
    """A frame of a shot, its number in it from 1, and the segments that were finished before it."""

    frame: DreamedFrame
    number: int
    segments: tuple[SegmentRecord, ...]


@dataclass(frozen=True)
class ShotEnd:
    """All finished segments of a shot that has ended, or was interrupted or failed."""

    segments: tuple[SegmentRecord, ...]
    failure: OnnxdreamError | None = None


class ShotDreamer:
    """Dreams shots of a film, each in a folder of its own, from its beginning or from where it was interrupted.

    It tells the driver each ShotFrame, and lines for the user. The source stays open from one shot to the next, so that
    a worker decodes it only once if its shots are in order.
    """

    def __init__(self, film: FilmJob) -> None:
        self._film = film
        self._footage: Footage | None = None

    def __call__(self, section: Section, tell: Tell, stops: Stops) -> ShotEnd:
        try:
            return self._dreamed(section, tell, stops)
        except OnnxdreamError as error:
            return ShotEnd((), error)

    def _dreamed(self, section: Section, tell: Tell, stops: Stops) -> ShotEnd:
        film = self._film
        if self._footage is None:
            # The first pass has said already what the reader says of the film.
            self._footage = Footage(film.source, film.record, lambda line: None)
        folder = parts_folder(film.output) / shot_name(section.number)
        record = _record_in(folder, film.record)
        reel = FilmReel(self._footage, film.source, film.job, record, tell, section)
        number = record.frames
        with Parts(film.output, folder, record, reel.time_base, reel.rate) as parts:

            def on_frame(frame: DreamedFrame) -> None:
                nonlocal number
                number += 1
                tell(ShotFrame(frame, number, parts.record.segments))

            callbacks = FilmCallbacks(tell, on_frame=on_frame, interrupted=stops)
            ending = dream_parts(parts, reel, callbacks, section.first)
            if ending.is_complete:
                parts.update(replace(parts.record, ended="finished"))
                parts.remove_state()
            return ShotEnd(parts.record.segments, _failure(ending, section))


def _record_in(folder: Path, film: FilmRecord) -> FilmRecord:
    """The record of a shot as far as it is dreamed. Raises RecordError."""
    record = unfinished_record(folder)
    return read_film_record(record) if record.exists() else replace(film, workers=None, shots=(), segments=())


def _failure(ending: Ending, section: Section) -> OnnxdreamError | None:
    if isinstance(ending.failure, DivergedError):
        return DivergedError(f"shot {section.number}: {ending.failure}")
    return ending.failure
