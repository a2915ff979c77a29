"""Reels: where the frames of a film come from, dreamed, with the times at which they are shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from ...models.arrays import Pixels
from ..ascent.step import Step
from ..dream.writer import Job, Log
from ..image.files import read_picture
from ..video.reader import FilmReader, SourceFrame
from .frames.coherence import FilmDream, FilmState
from .frames.shots import LOOK_AHEAD
from .frames.travel import TravelDream, TravelState
from .frames.zoom import ZoomDream, ZoomState
from .parts import TimedFrame
from .record import FilmRecord
from .settings import Camera, Travel

Stops = Callable[[Step], bool]
_NTSC = 1001  # the denominator of television's rates, as in 30000/1001


class Reel(Protocol):
    """The dreamed frames of a film as they come.

    `count` is the number of all frames as far as it is known, `time_base` the unit of their times in seconds, `rate`
    their number per second, and `sound` the film whose sound goes with them, if any. `state_kind` is the type of the
    states that `frames` leaves.
    """

    @property
    def count(self) -> int | None: ...
    @property
    def time_base(self) -> Fraction: ...
    @property
    def rate(self) -> Fraction: ...
    @property
    def sound(self) -> Path | None: ...
    @property
    def state_kind(self) -> type[Any]: ...

    def frames(self, state: Any, done: int, stops: Stops) -> Iterator[tuple[TimedFrame, Any]]:
        """Yields each frame after the first `done` ones, and the state that the film continues from after it.

        `state` is that after these. `stops` is called at every step; if it returns True, the film ends with the frame
        before. Raises DreamError, BundleError and FilmError.
        """


@dataclass(frozen=True)
class Section:
    """The frames of one shot: `first` counts those before it, and `number` is that of the shot, from 1."""

    number: int
    first: int
    frames: int


class Footage:
    """The undreamed frames of a film, from any of them on.

    They are decoded in order, so that each is the same wherever one begins, whatever the film's times and damages are.
    It is fast to go on behind the frames that were asked for before; to go back opens the film anew. `log` is called
    with the reader's lines. Raises FilmError.
    """

    def __init__(self, source: Path, record: FilmRecord, log: Log) -> None:
        self._source, self._record, self._log = source, record, log
        self._open()

    def _open(self) -> None:
        self._reader = FilmReader(self._source, self._record.start, self._record.end, self._log)
        self.facts = self._reader.facts
        self._frames = iter(self._reader)
        self._number = 0  # of the next frame
        self._latest: deque[SourceFrame] = deque(maxlen=LOOK_AHEAD)  # which one shot looks at, and the next begins with

    def frames(self, first: int) -> Iterator[SourceFrame]:
        """Yields the frames from number `first` on, counted from 0."""
        if first < self._number - len(self._latest):
            self._reader.close()
            self._open()
        self._reader.skip_to(first)
        oldest = self._number - len(self._latest)
        yield from list(self._latest)[max(0, first - oldest) :]
        for frame in self._frames:
            self._number += 1
            if self._number <= first:  # it was skipped, and has no pixels
                self._latest.clear()
            else:
                self._latest.append(frame)
                yield frame


class FilmReel:
    """The frames of a film, or of a section of it that is dreamed as a film of its own."""

    state_kind: type[Any] = FilmState

    def __init__(
        self, footage: Footage, source: Path, job: Job, record: FilmRecord, log: Log, section: Section | None = None
    ) -> None:
        facts = footage.facts
        self.count, self.time_base, self.rate = facts.frames, facts.time_base, facts.rate
        self.sound = source if facts.has_sound else None
        self._footage, self._job, self._record, self._log = footage, job, record, log
        self._section = section

    def frames(self, state: Any, done: int, stops: Stops) -> Iterator[tuple[TimedFrame, Any]]:
        job, section = self._job, self._section
        mask, guide = (None if path is None else read_picture(path).pixels for path in (job.mask, job.guide))
        dream = FilmDream(
            job.bundle,
            job.settings,
            self._record.coherence,
            mask=mask,
            guide=guide,
            choice=job.choice,
            sessions=job.sessions,
            state=state,
            earlier_shots=section.number - 1 if section else 0,
            log=self._log,
        )
        waiting: deque[SourceFrame] = deque()  # frames that were read ahead

        def pixels() -> Iterator[Pixels | None]:
            for frame in self._footage.frames(done + (section.first if section else 0)):
                waiting.append(frame)
                yield frame.pixels

        left = section.frames - done if section else None
        for dreamed in islice(dream.frames(pixels(), stops), left):
            source = waiting.popleft()
            yield TimedFrame(dreamed, source.time, source.duration), dream.state


class PictureReel:
    """The frames of a zoom into a picture, or of a travel between looks of it. Raises PictureError."""

    sound: Path | None = None

    def __init__(self, source: Path, job: Job, move: Camera | Travel, log: Log) -> None:
        self._picture = read_picture(source)
        for warning in self._picture.warnings:
            log(warning)
        self._job, self._move, self._log = job, move, log
        self.count: int | None = move.count
        self.rate = Fraction(move.fps).limit_denominator(_NTSC)  # as written: 29.97 is 2997/100
        self.time_base = 1 / self.rate
        self.state_kind: type[Any] = ZoomState if isinstance(move, Camera) else TravelState

    def frames(self, state: Any, done: int, stops: Stops) -> Iterator[tuple[TimedFrame, Any]]:
        dream = self._dream(state)
        for number, dreamed in enumerate(dream.frames(stops), done):
            yield TimedFrame(dreamed, number * self.time_base, self.time_base), dream.state

    def _dream(self, state: Any) -> ZoomDream | TravelDream:
        job, pixels = self._job, self._picture.pixels
        kind: Any = ZoomDream if isinstance(self._move, Camera) else TravelDream
        dream: ZoomDream | TravelDream = kind(
            pixels,
            job.bundle,
            job.settings,
            self._move,
            choice=job.choice,
            sessions=job.sessions,
            state=state,
            log=self._log,
        )
        return dream


def open_reel(source: Path, job: Job, record: FilmRecord, log: Log) -> Reel:
    """Opens the reel that a record describes. Raises FilmError and PictureError."""
    move = record.camera or record.travel
    if move is None:
        return FilmReel(Footage(source, record, log), source, job, record, log)
    return PictureReel(source, job, move, log)
