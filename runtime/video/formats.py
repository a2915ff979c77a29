"""The kinds of films that can be written, with everything that differs between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ..errors import OutputError

_MAX_TICKS = 1_000_000
_MIN_TICKS = 10_000


@dataclass(frozen=True)
class FilmFormat:
    """How films of one suffix are written.

    `suffix` is that of the film, `muxer` FFmpeg's name of its container. A film is encoded as segments: files with the
    suffix `segment_suffix` in the container `segment_muxer`, with pictures of the pixel format `pixels` from the
    encoder `codec`. The film holds their packets; or they are lossless, and joining encodes them with `joined_codec`.
    `tick` is the unit of the container's times in seconds, or None where it can be chosen. The `sounds` can be copied
    into the container; any other is encoded by `sound_codec`, which is None for a silent film, with `sound_bits` per
    second.
    """

    suffix: str
    muxer: str
    segment_suffix: str
    segment_muxer: str
    codec: str
    pixels: str
    options: Mapping[str, str]
    tick: Fraction | None
    joined_codec: str | None = None
    sounds: frozenset[str] = frozenset()
    sound_codec: str | None = None
    sound_bits: int = 0

    @property
    def encoders(self) -> tuple[str, ...]:
        """The encoders of its pictures."""
        return (self.codec, self.joined_codec) if self.joined_codec else (self.codec,)

    def ticks(self, time_base: Fraction) -> Fraction:
        """The unit in which segments of a film with this time base count, in seconds; every multiple of it is exact.

        Where the container has no choice, the times are rounded to its own unit. FFmpeg, too, takes smaller units than
        a frame's duration, so that times between them are near enough.
        """
        if self.tick:
            return self.tick
        ticks = time_base.denominator
        while ticks < _MIN_TICKS:
            ticks *= 2
        return Fraction(1, ticks) if ticks <= _MAX_TICKS else Fraction(1, _MAX_TICKS)


# Without frames that refer to later ones (B-frames, alternative references), pictures are stored in the order in which
# they are shown, and segments can be joined end to end.
# libx264's macroblock tree makes one file or another of the same pictures, even with one thread.
_H264 = {"crf": "18", "preset": "fast", "bf": "0", "mbtree": "0"}
_VP9 = {
    "crf": "24",
    "b": "0",
    "deadline": "good",
    "cpu-used": "4",
    "row-mt": "1",
    "lag-in-frames": "0",
    "auto-alt-ref": "0",
}
_MILLISECOND = Fraction(1, 1000)


def _animation(suffix: str, muxer: str, codec: str) -> FilmFormat:
    return FilmFormat(suffix, muxer, ".mkv", "matroska", "ffv1", "bgr0", {}, _MILLISECOND, codec)


FORMATS = {
    ".mp4": FilmFormat(
        ".mp4",
        "mp4",
        ".mp4",
        "mp4",
        "libx264",
        "yuv420p",
        _H264,
        tick=None,
        sounds=frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"}),
        sound_codec="aac",
        sound_bits=192_000,
    ),
    ".webm": FilmFormat(
        ".webm",
        "webm",
        ".webm",
        "webm",
        "libvpx-vp9",
        "yuv420p",
        _VP9,
        tick=_MILLISECOND,
        sounds=frozenset({"opus", "vorbis"}),
        sound_codec="libopus",
        sound_bits=160_000,
    ),
    ".gif": _animation(".gif", "gif", "gif"),
    ".webp": _animation(".webp", "webp", "libwebp_anim"),
}


def film_format(path: Path) -> FilmFormat:
    """The kind of film that a path's suffix asks for, in any case. Raises OutputError."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        *first, last = FORMATS
        raise OutputError(
            f"film {path}: only {', '.join(first)} and {last} films can be written: choose a name with one of these "
            "endings"
        ) from None
