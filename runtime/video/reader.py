"""Reads the pictures of a film, upright, in RGB and with exact times."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from ...models.arrays import Pixels
from ...models.wording import counted
from ..errors import FilmError, FilmFormatError
from .frames import FrameConverter
from .library import Times, exact, load_av, open_film, reading_errors, seconds_of, video_stream, zero_of

_USUAL_RATE = Fraction(25)
_MAX_RATE = 1000
_EARLIER = (0, 1, 5, 20, 100)  # seconds before a part, at which a key frame is looked for
_RUN_UP = 10  # seconds before the beginning of a film, at which no packet is
_MISSING = Fraction(1, 2)  # seconds without a picture that are noticed
_DURATION_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")  # of a Matroska file's track, as FFmpeg writes it
_WITHOUT_TIMES = {"avi"}  # containers that do not store when a frame is shown
# Codecs of which some packets are no picture of their own.
_HIDDEN_PACKETS = {"vp8", "mpeg4", "msmpeg4v3", "vc1", "wmv3"}


@dataclass(frozen=True)
class FilmFacts:
    """What is known of a film before its pictures are read.

    `rate` is the average number of pictures per second, `frames` that of the part that is read, an estimate from the
    file's header, or None. `time_base` is the unit of the file's times in seconds. `has_sound` is whether it has sound
    tracks.
    """

    rate: Fraction
    frames: int | None
    time_base: Fraction
    has_sound: bool


@dataclass(frozen=True)
class SourceFrame:
    """One picture of a film, uint8 [height, width, 3] RGB, or None where its data are damaged.

    It is shown for `duration` from `time` on, in seconds since the beginning of the part that is read.
    """

    pixels: Pixels | None = field(repr=False)
    time: Fraction
    duration: Fraction


class FilmReader:
    """The pictures of a film, or of its part from `start` up to `end` seconds, in the order in which they are shown.

    Iterate over it once. Pictures are upright and have square pixels; all have the size of the first. Times that are
    missing, repeated or go back are mended. `log` is called with a line for each thing that was lost or mended, at the
    latest after the last picture. Raises FilmError and its kinds, before the first picture where that is possible.
    """

    def __init__(
        self,
        path: Path,
        start: float | None = None,
        end: float | None = None,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.path = path
        self._start, self._end = seconds_of(start) or Fraction(0), seconds_of(end)
        if self._end is not None and self._end <= self._start:
            raise FilmError(f"{path}: nothing is left between the start and the end; choose a later end")
        self._log = log
        self._damaged = 0
        self._first_wanted = 0
        self._goes_on = False  # behind the part
        self._container = open_film(path)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._stream = video_stream(self._container, self.path)
        if not self._stream.codec_context:
            raise FilmFormatError(f"{self.path}: is in a codec that is not known here; convert it to H.264 first")
        self._stream.thread_type = "AUTO"
        self._zero = zero_of(self._container, self._stream)
        self._tick = exact(self._stream.time_base)
        self._times = Times(1 / self._rate(), self._tick)
        self._frames = self._in_range(self._frames_with_times())
        first = self._next_picture()
        self._first = first
        aspect = self._stream.sample_aspect_ratio
        self._converter = FrameConverter(first[1], exact(aspect) if aspect else None, self.path.name, self._log)
        self.facts = self._facts()

    def _next_picture(self) -> tuple[Fraction, Any]:
        """The first frame of the part that can be shown; those before it are lost."""
        with reading_errors(self.path):
            for time, frame in self._frames:
                if frame is not None:
                    return time, frame
        if self._start and self._stream.start_time is None:
            raise FilmError(f"{self.path}: stores no times, so that no start is found in it; make an .mp4 of it first")
        if self._start:
            raise FilmError(f"{self.path}: has no pictures after {float(self._start):g} s; choose an earlier start")
        raise FilmFormatError(f"{self.path}: has no picture that can be decoded; is it complete?")

    def _facts(self) -> FilmFacts:
        rate, duration, stream = self._rate(), self._duration(), self._stream
        frames = None if duration is None else max(1, round(duration * rate))
        if frames and stream.frames and not self._start and self._end is None:
            frames = stream.frames
        return FilmFacts(rate, frames, self._tick, bool(self._container.streams.audio))

    def _rate(self) -> Fraction:
        for rate in (self._stream.average_rate, self._stream.guessed_rate):
            if rate and 0 < rate <= _MAX_RATE:
                return exact(rate)
        return _USUAL_RATE

    def _stated_duration(self) -> Fraction | None:
        """The duration of the pictures according to the file's header, which may be wrong, or None."""
        stream, container = self._stream, self._container
        if stream.duration and stream.duration > 0:
            return int(stream.duration) * self._tick
        if tag := _DURATION_TAG.fullmatch(stream.metadata.get("DURATION", "")):
            hours, minutes, seconds = tag.groups()
            return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
        if container.duration and container.duration > 0 and not container.streams.audio:
            return Fraction(container.duration, load_av().time_base)
        return None

    def _duration(self) -> Fraction | None:
        whole = self._stated_duration()
        if whole is None:
            return None if self._end is None else self._end - self._start
        return max(Fraction(0), (whole if self._end is None else min(whole, self._end)) - self._start)

    def skip_to(self, number: int) -> None:
        """Leaves the frames before that number, counted from 0, without pixels: to convert them takes time, too."""
        self._first_wanted = number

    def __iter__(self) -> Iterator[SourceFrame]:
        """Each frame is held back until the next is there, which tells how long it is shown."""
        time, frame = self._first
        pixels, duration = self._pixels(frame, 0), 1 / self._rate()
        with reading_errors(self.path):
            for number, (next_time, next_frame) in enumerate(self._frames, 1):
                duration = next_time - time
                yield SourceFrame(pixels, time, duration)
                time, frame, pixels = next_time, next_frame, self._pixels(next_frame, number)
        duration = self._last_duration(time, frame, duration)
        yield SourceFrame(pixels, time, duration)
        self._report(self._start + time + duration)

    def _last_duration(self, time: Fraction, frame: Any, previous: Fraction) -> Fraction:
        """That of the last frame: to the end of the part if more comes behind it, else the file's or the one before's.

        The longer of the two, since some files state the same duration for all frames.
        """
        stated = frame.duration * self._tick if frame is not None and frame.duration else Fraction(0)
        if self._end is None:
            return max(stated, previous)
        left = self._end - self._start - time
        return left if self._goes_on else min(left, max(stated, previous))

    def _pixels(self, frame: Any, number: int) -> Pixels | None:
        if number < self._first_wanted:
            return None
        if frame is not None:
            with suppress(load_av().error.FFmpegError):
                return self._converter.picture(frame)
        self._damaged += 1
        return None

    def _report(self, end: Fraction) -> None:
        name, stated = self.path.name, self._stated_duration()
        if self._end is None and stated and stated - end > max(_MISSING, 2 / self._rate()):
            self._log(f"{name}: ends after {float(end):.1f} s instead of {float(stated):.1f} s; it may be cut short")
        if self._damaged:
            self._log(f"{name}: {counted(self._damaged, 'frame')} cannot be decoded")
        if self._times.mended:
            frames = counted(self._times.mended, "frame")
            self._log(f"{name}: the times of {frames} are missing or not in order, and were mended")

    def _in_range(self, frames: Iterator[tuple[int | None, Any]]) -> Iterator[tuple[Fraction, Any]]:
        """The frames of the part, or None where they are damaged, with their times in it.

        A picture that is still shown for long as the part begins is its first one.
        """
        shown, has_begun = None, False
        for pts, frame in frames:
            time = None if pts is None else pts * self._tick - self._zero - self._start
            if time is not None and time < 0 and (self._start or frame is None):
                shown = frame
                continue
            if time is not None and time > _MISSING and shown is not None and not has_begun:
                yield self._times.mend(Fraction(0)), shown
            has_begun = True
            time = self._times.mend(time)
            if self._end is not None and self._start + time >= self._end:
                self._goes_on = True
                return
            yield time, frame

    def _frames_with_times(self) -> Iterator[tuple[int | None, Any]]:
        in_order = self._container.format.name in _WITHOUT_TIMES
        # After a jump, decoders leave out frames that refer to others before it, by which the order would be wrong.
        if self._start and not (in_order and self._stream.codec_context.has_b_frames):
            self._seek()
        return self._decoded_in_order() if in_order else self._decoded()

    def _decoded_in_order(self) -> Iterator[tuple[int | None, Any]]:
        """The frames of a container that does not store when they are shown, but only their packets' order."""
        awaited: list[int] = []
        for packet in self._packets():
            if packet.dts is not None and packet.size:
                heapq.heappush(awaited, packet.dts)
            for frame in self._decode(packet):
                yield heapq.heappop(awaited) if awaited else None, None if frame.is_corrupt else frame

    def _decoded(self) -> Iterator[tuple[int | None, Any]]:
        """The frames with their times, in the order in which they are shown; None is one that was not decoded.

        Decoders with several threads report errors late or not at all. So a frame counts as damaged if a later one
        comes while its packet's time has not come.
        """
        awaited: list[int] = []
        shows_packets = self._stream.codec_context.name not in _HIDDEN_PACKETS
        is_first = True
        for packet in self._packets():
            if packet.pts is not None and not packet.is_discard and shows_packets:
                heapq.heappush(awaited, packet.pts)
            for frame in self._decode(packet):
                while awaited and frame.pts is not None and awaited[0] <= frame.pts:
                    pts = heapq.heappop(awaited)
                    if pts < frame.pts and not is_first and not frame.interlaced_frame:
                        yield pts, None
                is_first = False
                yield frame.pts, None if frame.is_corrupt else frame
        if not is_first:
            yield from ((pts, None) for pts in sorted(awaited))

    def _seek(self) -> None:
        """Goes to a key frame before the part; some containers only find packets near it, so it looks ever earlier."""
        begin = self._start + self._zero
        for seconds in _EARLIER:
            with suppress(load_av().error.FFmpegError):
                self._go_to(begin - seconds)
                first = next(self._container.demux(self._stream))
                self._go_to(begin - seconds)
                if first.is_keyframe and first.pts is not None and first.pts * self._tick <= begin:
                    return
        with suppress(load_av().error.FFmpegError):
            self._go_to(self._zero - _RUN_UP)

    def _go_to(self, time: Fraction) -> None:
        self._container.seek(int(max(time, self._zero - _RUN_UP) / self._tick), stream=self._stream)

    def _packets(self) -> Iterator[Any]:
        """All packets up to the end of the file, or to where it cannot be read any further."""
        try:
            yield from self._container.demux(self._stream)
        except load_av().error.FFmpegError:
            self._log(f"{self.path.name}: is damaged; what comes before the damage is used")

    def _decode(self, packet: Any) -> list[Any]:
        try:
            return list(packet.decode())
        except load_av().error.FFmpegError:
            return []

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def __enter__(self) -> FilmReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
