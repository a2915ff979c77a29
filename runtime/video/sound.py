"""Carries the sound of a film over into another: copied where its container takes it, encoded anew otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

from .formats import FilmFormat
from .library import RUN_IN, exact, load_av, open_film, pulled, to_ticks, video_stream, zero_of

Log = Callable[[str], None]
TimedPacket = tuple[Fraction, Any]

_AHEAD = 1  # second before the part, at which reading begins


@dataclass(frozen=True)
class Part:
    """The part of a film from `start` up to `end`, in seconds, or to its end."""

    start: Fraction = Fraction(0)
    end: Fraction | None = None

    @property
    def length(self) -> Fraction | None:
        return None if self.end is None else self.end - self.start


def add_sound(
    output: Any, film_format: FilmFormat, source: Path, part: Part, resources: ExitStack, log: Log
) -> list[Iterator[TimedPacket]]:
    """Adds all sound tracks of the film `source` to a container; returns the packets of each with their times.

    The times are in seconds since the beginning of the part. The packets must be put into the container in the order
    of time. `resources` closes the source. Raises FilmError.
    """
    if film_format.sound_codec is None:
        return []
    count = len(resources.enter_context(open_film(source)).streams.audio)
    tracks = (_Track(resources.enter_context(open_film(source)), source, number, part) for number in range(count))
    return [packets for track in tracks if (packets := track.add_to(output, film_format, log))]


class _Track:
    """One sound track of a film. Each reads the file on its own, so that all are at the same time in it."""

    def __init__(self, container: Any, path: Path, number: int, part: Part) -> None:
        self._container, self._path, self._part = container, path, part
        self._number = number
        self._stream = container.streams.audio[number]
        self._tick = exact(self._stream.time_base)
        film = video_stream(container, path)
        self._beginning = zero_of(container, film) + part.start

    def add_to(self, output: Any, film_format: FilmFormat, log: Log) -> Iterator[TimedPacket] | None:
        """Adds a stream to the output and returns its packets, or None after a line if the track cannot be read."""
        context = self._stream.codec_context
        if not (context and context.sample_rate):
            log(f"{self._path.name}: sound track {self._number + 1} is in an unknown codec and is left out")
            return None
        codec = context.codec.canonical_name
        if codec in film_format.sounds:
            return self._copied(self._described(output.add_stream_from_template(self._stream)))
        log(f"{self._path.name}: its sound ({codec}) is encoded anew, since {film_format.suffix} films do not take it")
        return self._encoded(self._described(self._encoder(output, film_format)))

    def _described(self, stream: Any) -> Any:
        if language := self._stream.metadata.get("language"):
            stream.metadata["language"] = language
        return stream

    def _copied(self, stream: Any) -> Iterator[TimedPacket]:
        """The packets as they are, with the times of the part; the first may be a codec's run-in."""
        shift = to_ticks(self._beginning, self._tick)
        next_pts = to_ticks(Fraction(0) if self._part.start else -RUN_IN, self._tick)
        for packet in self._packets():
            if packet.pts is None:
                continue
            packet.dts = packet.pts = packet.pts - shift
            time = packet.pts * self._tick
            if self._is_past(time):
                return
            if packet.pts >= next_pts:
                next_pts = packet.pts + 1
                packet.stream = stream
                yield time, packet

    def _packets(self) -> Iterator[Any]:
        """The packets from just before the part on, as far as the file can be read."""
        errors = load_av().error
        if self._part.start:
            with suppress(errors.FFmpegError):  # then it is read from the beginning
                self._container.seek(int((self._beginning - _AHEAD) / self._tick), stream=self._stream)
        with suppress(errors.FFmpegError):
            yield from (packet for packet in self._container.demux(self._stream) if packet.size)

    def _is_past(self, time: Fraction) -> bool:
        return self._part.length is not None and time >= self._part.length

    def _encoder(self, output: Any, film_format: FilmFormat) -> Any:
        source, codec = self._stream.codec_context, film_format.sound_codec
        rate, rates = source.sample_rate, load_av().Codec(codec, "w").audio_rates
        if rate not in rates:
            rate = max(rates)
        stream = output.add_stream(codec, rate=rate)
        stream.codec_context.layout = "mono" if source.layout.nb_channels == 1 else "stereo"
        stream.codec_context.bit_rate = film_format.sound_bits
        stream.codec_context.time_base = Fraction(1, rate)
        return stream

    def _encoded(self, stream: Any) -> Iterator[TimedPacket]:
        """The sound decoded, cut to the part exactly, gaps filled with silence, and encoded."""
        for frame in self._prepared(stream.codec_context):
            for packet in stream.encode(frame):
                yield packet.pts * exact(packet.time_base), packet

    def _prepared(self, encoder: Any) -> Iterator[Any]:
        """The frames of the part in the form that an encoder takes, and None at their end."""
        end = Fraction(0)
        for _, frames in groupby(self._decoded(), _form):  # broadcasts change it from one programme to the next
            for frame in self._filtered(frames, encoder, end):
                end = (frame.pts + frame.samples) * exact(frame.time_base)
                yield frame
        if end:
            yield None

    def _filtered(self, frames: Iterator[Any], encoder: Any, begin: Fraction) -> Iterator[Any]:
        """Frames of one form in the encoder's, without gaps from `begin` on, in seconds of the part."""
        graph: Any = None
        for frame in frames:
            graph = graph or self._graph(frame, encoder, begin)
            graph.push(frame)
            yield from pulled(graph)
        with suppress(load_av().error.EOFError):  # it has reached the end of the part already
            graph.push(None)
        yield from pulled(graph)

    def _decoded(self) -> Iterator[Any]:
        av = load_av()
        for packet in self._packets():
            with suppress(av.error.FFmpegError):
                for frame in packet.decode():
                    if frame.pts is None:
                        continue
                    tick = exact(frame.time_base)
                    frame.pts -= to_ticks(self._beginning, tick)
                    if self._is_past(frame.pts * tick):
                        return
                    yield frame

    def _graph(self, first: Any, encoder: Any, begin: Fraction) -> Any:
        """Filters from the decoder's form of sound to the encoder's, with time 0 at the beginning of the part."""
        graph = load_av().filter.Graph()
        length, first_pts = self._part.length, str(round(begin * first.sample_rate))
        nodes = [
            graph.add(
                "abuffer",
                sample_rate=str(first.sample_rate),
                sample_fmt=first.format.name,
                channel_layout=first.layout.name,
                time_base=str(exact(first.time_base)),
            ),
            # `async` fills gaps with silence, `first_pts`, in samples of its input, fills or cuts the beginning.
            graph.add("aresample", **{"async": "1", "first_pts": first_pts, "osr": str(encoder.sample_rate)}),
            *([] if length is None else [graph.add("atrim", end=f"{float(length):.6f}")]),
            graph.add(
                "aformat",
                sample_rates=str(encoder.sample_rate),
                sample_fmts=encoder.format.name,
                channel_layouts=encoder.layout.name,
            ),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*nodes)
        graph.configure()
        return graph


def _form(frame: Any) -> tuple[Any, ...]:
    """What a graph of filters is made for."""
    return frame.format.name, frame.layout.name, frame.sample_rate, exact(frame.time_base)
