"""Joins the segments of a film into one file: their packets as they are, with sound, or as an animated picture."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import FilmError
from .formats import FilmFormat
from .library import (
    address,
    exact,
    load_av,
    open_film,
    pulled,
    reading_errors,
    seconds_of,
    to_ticks,
    video_stream,
    writing_errors,
)
from .sound import Part, TimedPacket, add_sound

Log = Callable[[str], None]
Pictures = Callable[[], Iterator[tuple[Fraction, Any]]]

_CENTISECOND = Fraction(1, 100)  # the unit of a GIF's times
_MIN_DELAY = 2  # of a GIF: browsers show a picture with a shorter one for a tenth of a second
_MILLISECOND = Fraction(1, 1000)
_WEBP = {"quality": "85", "lossless": "0", "compression_level": "4"}


@dataclass(frozen=True)
class Segment:
    """A file that a SegmentWriter wrote, with `frames` pictures, the first of which is shown at `start` seconds."""

    path: Path
    start: Fraction
    frames: int

    def is_whole(self) -> bool:
        """Whether the file can be read and has all its pictures. Raises FilmExtraError."""
        load_av()
        try:
            with open_film(self.path) as container, reading_errors(self.path):
                packets = container.demux(video_stream(container, self.path))
                return sum(packet.pts is not None for packet in packets) == self.frames
        except FilmError:
            return False


def join(
    segments: Sequence[Segment],
    output: Path,
    film_format: FilmFormat,
    sound: Path | None = None,
    start: float | None = None,
    end: float | None = None,
    log: Log = lambda line: None,
) -> None:
    """Writes a film from one or more segments, in the order of time, to `output`.

    `sound` is a film whose sound tracks are added: its part from `start` up to `end` seconds, which is that of the
    pictures. Without an end, sound that is longer than the pictures is kept. `log` is called with a line if sound is
    encoded anew. Raises OutputError, and FilmError for a segment or a film that cannot be read.
    """
    if film_format.joined_codec:
        write = _write_gif if film_format.suffix == ".gif" else _write_webp
        write(_pictures(segments), output, film_format.joined_codec)
        return
    with ExitStack() as resources:
        first = resources.enter_context(open_film(segments[0].path))
        template = video_stream(first, segments[0].path)
        options = _options(film_format, exact(template.time_base))
        with writing_errors(output):
            container = load_av().open(address(output), "w", format=film_format.muxer, container_options=options)
        try:
            stream = container.add_stream_from_template(template, opaque=True)
            stream.time_base = template.time_base
            if template.average_rate:
                stream.codec_context.framerate = template.average_rate
            tracks: list[Iterator[TimedPacket]] = [_packets(segments, stream, template.codec_context.extradata)]
            if sound:
                part = Part(seconds_of(start) or Fraction(0), seconds_of(end))
                tracks += add_sound(container, film_format, sound, part, resources, log)
            with writing_errors(output):
                _begin(container, sound)
                for _, packet in heapq.merge(*tracks, key=lambda timed: timed[0]):
                    _put(packet, container)
        finally:
            with writing_errors(output):
                container.close()


def _damage() -> tuple[type[Exception], ...]:
    """The errors of FFmpeg about what it is given, unlike those about the file that it writes."""
    errors = load_av().error
    return errors.InvalidDataError, errors.ArgumentError, errors.PatchWelcomeError


def _put(packet: Any, container: Any) -> None:
    """Puts a packet into a container; one of damaged sound is left out."""
    try:
        container.mux(packet)
    except _damage():
        if packet.stream.type == "video":
            raise


def _begin(container: Any, sound: Path | None) -> None:
    """Writes the header. Raises FilmError if that of the sound is damaged."""
    try:
        container.start_encoding()
    except _damage() as error:
        raise FilmError(f"{sound}: its sound is damaged; make the film without it") from error


def _options(film_format: FilmFormat, tick: Fraction) -> dict[str, str]:
    options = {"fflags": "+bitexact"}
    if film_format.muxer == "mp4":
        # The index comes first, so that a film plays before it has arrived as a whole.
        options |= {"movflags": "+faststart", "video_track_timescale": str(tick.denominator)}
    return options


def _packets(segments: Sequence[Segment], stream: Any, header: bytes | None) -> Iterator[TimedPacket]:
    """The packets of all segments with their times in the film, which are rounded one by one, so no error adds up."""
    last = -1
    for segment in segments:
        with open_film(segment.path) as container:
            source = video_stream(container, segment.path)
            if source.codec_context.extradata != header:
                raise FilmError(
                    f"{segment.path}: does not fit to the segments before it; start the film again with --overwrite"
                )
            tick = exact(source.time_base)
            with reading_errors(segment.path):
                for packet in container.demux(source):
                    if packet.pts is None:
                        continue
                    time = segment.start + packet.pts * tick
                    last = max(last + 1, to_ticks(time, tick))
                    packet.pts = packet.dts = last
                    packet.stream = stream
                    yield time, packet


def _pictures(segments: Sequence[Segment]) -> Pictures:
    """A function that decodes all pictures, as often as it is called, to frames of PyAV with their times in seconds."""

    def decode() -> Iterator[tuple[Fraction, Any]]:
        for segment in segments:
            with open_film(segment.path) as container, reading_errors(segment.path):
                stream = video_stream(container, segment.path)
                tick = exact(stream.time_base)
                for frame in container.decode(stream):
                    yield segment.start + frame.pts * tick, frame

    return decode


def _write_gif(pictures: Pictures, output: Path, codec: str) -> None:
    """Writes the pictures, which can be decoded several times. Raises OutputError.

    All have one palette, chosen from all of them: one for each would flicker.
    """
    palette, last_seconds = _palette(pictures)
    delay = max(_MIN_DELAY, to_ticks(last_seconds, _CENTISECOND))  # the others follow from the next one's time
    filters = None
    with writing_errors(output), _open(output, "gif", final_delay=str(delay)) as container:
        for pts, frame in _timed(pictures(), _CENTISECOND, _MIN_DELAY):
            if filters is None:
                filters = _Filters({"dither": "sierra2_4a"}, "paletteuse", frame, palette)
                filters.push(palette, 1)
                filters.push(None, 1)
                stream = _add_stream(container, codec, frame, "pal8", _CENTISECOND, {})
            frame.pts, frame.time_base = pts, _CENTISECOND
            filters.push(frame, 0)
            _encode(container, stream, filters.pull())
        if filters is not None:
            filters.push(None, 0)
            _encode(container, stream, filters.pull())
            container.mux(stream.encode(None))


def _palette(pictures: Pictures) -> tuple[Any, Fraction]:
    """The 256 colours that suit all pictures best, as a frame, and the seconds that the last picture is shown."""
    filters, seconds = None, Fraction(0)
    for number, (_, frame) in enumerate(pictures()):
        seconds = (frame.duration or 0) * exact(frame.time_base)
        filters = filters or _Filters({"reserve_transparent": "0"}, "palettegen", frame)
        frame.pts, frame.time_base = number, _CENTISECOND
        filters.push(frame, 0)
    if filters is None:
        raise ValueError("no pictures")
    filters.push(None, 0)
    (palette,) = filters.pull()
    palette.pts, palette.time_base = 0, _CENTISECOND
    return palette, seconds


class _Filters:
    """One filter of FFmpeg between its inputs, which are like the given frames, and its output."""

    def __init__(self, options: dict[str, str], name: str, *inputs: Any) -> None:
        graph = load_av().filter.Graph()
        node = graph.add(name, **options)
        self._inputs = []
        for number, frame in enumerate(inputs):
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=_CENTISECOND
            )
            source.link_to(node, 0, number)
            self._inputs.append(source)
        self._output = graph.add("buffersink")
        node.link_to(self._output)
        graph.configure()
        self._graph = graph  # it must live as long as its nodes

    def push(self, frame: Any, number: int) -> None:
        """Gives a frame to an input; None ends it."""
        self._inputs[number].push(frame)

    def pull(self) -> list[Any]:
        """The frames that have come out by now."""
        return list(pulled(self._output))


def _write_webp(pictures: Pictures, output: Path, codec: str) -> None:
    """Writes the pictures. Raises OutputError."""
    stream = None
    with writing_errors(output), _open(output, "webp") as container:
        for pts, frame in _timed(pictures(), _MILLISECOND, 1):
            stream = stream or _add_stream(container, codec, frame, "bgra", _MILLISECOND, _WEBP)
            converted = frame.reformat(format="bgra")
            converted.pts, converted.time_base = pts, _MILLISECOND
            _encode(container, stream, [converted])
        if stream is not None:
            container.mux(stream.encode(None))


def _timed(pictures: Iterator[tuple[Fraction, Any]], tick: Fraction, min_delay: int) -> Iterator[tuple[int, Any]]:
    """The pictures with their times in ticks, without those that come less than `min_delay` after the one before."""
    last = -min_delay
    for time, frame in pictures:
        pts = to_ticks(time, tick)
        if pts - last >= min_delay:
            last = pts
            yield pts, frame


def _open(output: Path, muxer: str, **more: str) -> Any:
    options = {"fflags": "+bitexact", "loop": "0", **more}
    return load_av().open(address(output), "w", format=muxer, container_options=options)


def _add_stream(
    container: Any, codec: str, like: Any, pixel_format: str, tick: Fraction, options: dict[str, str]
) -> Any:
    stream = container.add_stream(codec, rate=1 / tick, options=dict(options))
    stream.width, stream.height, stream.pix_fmt = like.width, like.height, pixel_format
    stream.codec_context.time_base = stream.time_base = tick
    return stream


def _encode(container: Any, stream: Any, frames: list[Any]) -> None:
    for frame in frames:
        for packet in stream.encode(frame):
            container.mux(packet)
