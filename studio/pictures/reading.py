"""Reading pictures in a process of their own, so that a file that breaks a decoder breaks nothing else."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from ...models.errors import OnnxdreamError
from ...models.files import atomic_write
from ...runtime.image.files import picture_of
from ...runtime.image.formats.codec import encode_picture, encode_preview
from ...runtime.image.formats.container import ContainerError
from ...runtime.image.formats.kinds import read_container, recognise
from ...runtime.image.resizing import resize, shrink
from ...runtime.processes.starting import how_it_ended, start_process
from ..errors import StudioError
from ..jobs.folder import FRAME
from .previews import frame_of

MAX_PIXELS = 100_000_000
_PREVIEW_SIDE = 1600
PREVIEW, MASK_PREVIEW = "shown.preview.jpg", "shown.preview.png"
# A picture of the limit takes a few seconds; a decoder that takes longer has lost its way.
_SECONDS = 60.0
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "GIF": ".gif"}


@dataclass(frozen=True)
class Look:
    """A request to read a picture: its file, its name for users, and whether it is a mask.

    The preview is written as PREVIEW beside it, a mask's as MASK_PREVIEW, and the first frame as FRAME.
    """

    path: Path
    name: str
    is_mask: bool


@dataclass(frozen=True)
class Scale:
    """A request to write a mask as a PNG of another size, in pixels."""

    path: Path
    target: Path
    width: int
    height: int


@dataclass(frozen=True)
class Seen:
    """A picture that was read: its size, the suffix of its format, and what was lost."""

    width: int
    height: int
    suffix: str
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Unreadable:
    """A picture that cannot be read, and why; `too_large` is whether it has too many pixels."""

    line: str
    too_large: bool = False


def read_all(connection: Connection) -> None:
    """Answers requests until the server closes the connection: the process's function."""
    while True:
        try:
            request: Look | Scale = connection.recv()
        except (EOFError, OSError):
            return
        try:
            connection.send(_looked_at(request) if isinstance(request, Look) else _scaled(request))
        except OnnxdreamError as error:
            connection.send(Unreadable(str(error)))
        except MemoryError:
            connection.send(Unreadable("the picture needs more memory than there is: shrink it first"))
        except OSError as error:
            connection.send(error)


def _looked_at(request: Look) -> Seen | Unreadable:
    data = request.path.read_bytes()
    with suppress(ContainerError):
        found = read_container(data)
        if found.width * found.height > MAX_PIXELS:
            return Unreadable(
                f"{request.name} has {found.width} by {found.height} pixels, more than the limit of "
                f"{MAX_PIXELS // 10**6} million: shrink it first",
                too_large=True,
            )
    picture = picture_of(data, Path(request.name))
    pixels = picture.pixels
    small = shrink(pixels, _PREVIEW_SIDE)
    if request.is_mask:
        atomic_write(request.path.with_name(MASK_PREVIEW), encode_picture(small, ".png")[0])
    else:
        atomic_write(request.path.with_name(PREVIEW), encode_preview(small))
        atomic_write(request.path.with_name(FRAME), frame_of(small))
    notices = tuple(warning.removeprefix(f"{request.name}: ") for warning in picture.warnings)
    kind = recognise(data) or ""
    height, width = pixels.shape[:2]
    return Seen(width, height, _SUFFIXES.get(kind, f".{kind.lower()}"), notices)


def _scaled(request: Scale) -> Seen:
    pixels = picture_of(request.path.read_bytes(), Path(request.path.name)).pixels
    data, _ = encode_picture(resize(pixels, request.width, request.height), ".png")
    atomic_write(request.target, data)
    return Seen(request.width, request.height, ".png", ())


class Reader:
    """The process that reads pictures: started ahead, and again when it has ended. Any thread may ask it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process, self._connection = start_process(read_all)

    def ask(self, request: Look | Scale) -> Seen:
        """Reads one picture. Raises StudioError where it cannot be read, and OSError where nothing can be written."""
        with self._lock:
            try:
                self._connection.send(request)
                if not self._connection.poll(_SECONDS):
                    raise StudioError(415, f"{_name(request)} takes too long to read: give another picture")
                answer = self._connection.recv()
            except (EOFError, OSError):
                self._process.join(1.0)
                how = how_it_ended(self._process.exitcode)
                self._restart()
                line = f"{_name(request)} cannot be read: its reader {how}; give another picture"
                raise StudioError(415, line) from None
            except StudioError:
                self._restart()
                raise
        if isinstance(answer, OSError):
            raise answer
        if isinstance(answer, Unreadable):
            raise StudioError(413 if answer.too_large else 415, answer.line)
        seen: Seen = answer
        return seen

    def close(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.join()

    def _restart(self) -> None:
        self.close()
        self._process, self._connection = start_process(read_all)


def _name(request: Look | Scale) -> str:
    return request.name if isinstance(request, Look) else request.path.name
