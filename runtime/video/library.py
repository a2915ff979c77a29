"""PyAV, which brings FFmpeg along: loaded where it is needed, since it is optional, with errors of our own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import DreamError, FilmError, FilmExtraError, FilmFormatError, FilmNotFoundError, OutputError
from .formats import FilmFormat

# Demuxers that make a film of a picture or of any text.
_NO_FILMS = ("image2", "tty")
_PICTURES = "_pipe"
_READS_WEBP = 19  # the first PyAV that does
# swscale's flags (libswscale/swscale.h): bicubic, whole chroma, accurate rounding, the same result on all machines.
SCALING = 0x4 | 0x2000 | 0x4000 | 0x40000 | 0x80000
# Sound that begins less than this before the pictures, in seconds, is a codec's run-in: the film begins with a picture.
RUN_IN = Fraction(1, 10)
_NEW_CLOCK = Fraction(1)  # a clock that goes back by more than this, in seconds, has started anew


def has_av() -> bool:
    """Whether PyAV is installed."""
    return find_spec("av") is not None


def load_av() -> Any:
    """The module `av`. Raises FilmExtraError."""
    try:
        import av
    except ImportError as error:
        raise FilmExtraError("films need PyAV: pip install 'onnxdream[video]'") from error
    return av


def require_encoders(kind: FilmFormat) -> None:
    """Raises OutputError where PyAV's FFmpeg, as one without GPL, lacks an encoder of such a film's pictures."""
    codecs = load_av().codec.codec
    for name in kind.encoders:
        try:
            codecs.Codec(name, "w")
        except codecs.UnknownCodecError:
            raise OutputError(
                f"{kind.suffix} films need the encoder {name}, which this PyAV lacks: choose another ending, or "
                "install PyAV with pip, whose FFmpeg has it"
            ) from None


def address(path: Path) -> str:
    """A path as FFmpeg takes it: a name with a colon in it would be that of a protocol otherwise."""
    return f"file:{path}"


@contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """Raises a FilmError that names the path in place of FFmpeg's."""
    av = load_av()
    try:
        yield
    except av.error.FFmpegError as error:
        raise FilmError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from error


@contextmanager
def writing_errors(path: Path) -> Iterator[None]:
    """Raises an OutputError that names the path in place of FFmpeg's and the system's."""
    av = load_av()
    try:
        yield
    except DreamError:
        raise
    except (av.error.FFmpegError, OSError) as error:
        raise OutputError(
            f"cannot write film {path} ({writing_reason(error)}): make room or choose another name"
        ) from error


def writing_reason(error: BaseException) -> str:
    """Why a film cannot be written, of an error of the system, of FFmpeg or of `writing_errors`, as a few words."""
    cause = error.__cause__ if isinstance(error, OutputError) else error
    return getattr(cause, "strerror", None) or "it is cut short"


def open_film(path: Path) -> Any:
    """Opens a film as a container of PyAV. Raises FilmNotFoundError, FilmFormatError and FilmError."""
    av = load_av()
    if path.is_dir():
        raise FilmError(f"{path}: is a folder; name the film in it")
    if not path.exists():
        raise FilmNotFoundError(f"{path}: no such film; check the name and the folder")
    with reading_errors(path):
        try:
            # Other files that a playlist or a script might name are not opened.
            container = av.open(address(path), options={"protocol_whitelist": "file"}, **_lenience(av))
        except (av.error.InvalidDataError, av.error.EOFError) as error:
            raise FilmFormatError(f"{path}: {_why_unreadable(path)}") from error
    kind = container.format.name
    if not (container.streams.video or container.streams.audio):
        container.close()
        raise FilmFormatError(f"{path}: {_why_unreadable(path)}")
    if kind in _NO_FILMS or kind.endswith(_PICTURES):
        container.close()
        if kind == "webp_pipe" and _version(av) < _READS_WEBP:
            raise FilmFormatError(
                f"{path}: an animated WebP is read by PyAV {_READS_WEBP} only; install that, or convert it"
            )
        raise FilmFormatError(f"{path}: is not a film; name a file of moving pictures, such as an .mp4")
    return container


def _lenience(av: Any) -> dict[str, str]:
    """Options so that a title that is not UTF-8 is no error; PyAV 19 has none, since it replaces such bytes itself."""
    return {} if _version(av) >= 19 else {"metadata_errors": "replace"}


def _version(av: Any) -> int:
    return int(av.__version__.split(".")[0])


def _why_unreadable(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(12)
    if start[4:8] == b"ftyp":  # the first box of an .mp4, whose index "moov" is often its last (ISO/IEC 14496-12, 4.3)
        return "its index is missing, because it was cut short; copy or record it again"
    return "is not a film, or is damaged; name a file of moving pictures, such as an .mp4"


def video_stream(container: Any, path: Path) -> Any:
    """The first stream of moving pictures. Raises FilmFormatError if there is none."""
    pictures = container.streams.video
    films = [stream for stream in pictures if not stream.disposition & load_av().stream.Disposition.attached_pic]
    if films:
        return films[0]
    if pictures:
        raise FilmFormatError(f"{path}: has sound and a cover picture, but no film; name a file of moving pictures")
    raise FilmFormatError(f"{path}: has no pictures, only sound or other data; name a file of moving pictures")


def pulled(filters: Any) -> Iterator[Any]:
    """What has come so far out of a graph of filters, or of its last one."""
    errors = load_av().error
    with suppress(errors.BlockingIOError, errors.EOFError):
        while True:
            yield filters.pull()


def zero_of(container: Any, film: Any) -> Fraction:
    """The time in a film's own clock at which it begins, in seconds: that of its first picture or earlier sound."""
    beginnings = [_start_of(stream) for stream in (film, *container.streams.audio) if stream.start_time is not None]
    earliest = min(beginnings, default=Fraction(0))
    first_picture = _start_of(film) if film.start_time is not None else earliest
    return first_picture if first_picture - earliest < RUN_IN else earliest


def _start_of(stream: Any) -> Fraction:
    return int(stream.start_time) * exact(stream.time_base)


def exact(rational: Any) -> Fraction:
    """A Fraction or, from PyAV 19 on, an AVRational as a Fraction."""
    return Fraction(rational.numerator, rational.denominator)


def to_ticks(time: Fraction, tick: Fraction) -> int:
    """The number of ticks that is nearest to a time; halves are rounded up. Both are in seconds."""
    return math.floor(time / tick + Fraction(1, 2))


def seconds_of(time: float | None) -> Fraction | None:
    """A number of seconds as its user wrote it: 1.1 is eleven tenths, which no float is."""
    return None if time is None else Fraction(repr(time) if isinstance(time, float) else time)


class Times:
    """Mends the times of a film: each is later than the one before it. `usual` is the usual duration of a frame."""

    def __init__(self, usual: Fraction, tick: Fraction) -> None:
        self.mended = 0
        self._usual, self._tick = usual, tick
        self._last: Fraction | None = None
        self._shift = Fraction(0)

    def mend(self, time: Fraction | None) -> Fraction:
        """The time of the next frame; None where the film has none."""
        last = self._last
        if time is not None:
            time += self._shift
        if last is None:
            mended = max(Fraction(0), time or Fraction(0))
        elif time is None:
            mended = last + self._usual
        elif time > last:
            mended = time
        elif last - time > _NEW_CLOCK:
            mended = last + self._usual
            self._shift += mended - time
        else:
            mended = last + self._tick
        self.mended += mended != time
        self._last = mended
        return mended
