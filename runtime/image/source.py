"""The source of a dream, a picture file or noise, and how records name a file."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...models.arrays import Size
from ..errors import PictureFormatError
from ..settings.settings import Settings
from .files import Picture, picture_of, read_picture
from .formats.container import Container, ContainerError
from .formats.kinds import read_container
from .remedies import STANDARD_INPUT

_HASH_BLOCK = 2**20
# The header of a JPEG with a preview and a colour profile fits into so many bytes.
_HEADER_BYTES = 2**18
_JPEG_END = b"\xff\xd9"


@dataclass(frozen=True)
class SourceFile:
    """A file that a run used: its name, its SHA-256 as hex digits, and its absolute path.

    The path is None in the records that are stored inside pictures.
    """

    name: str
    sha256: str
    path: str | None = None

    @classmethod
    def of(cls, path: Path) -> SourceFile:
        """How records name the file at a path. Raises OSError."""
        return cls(path.name, file_hash(path), str(path.resolve()))


@dataclass(frozen=True, slots=True)
class Source:
    """A picture to dream, not decoded yet.

    `place` is its path, which is kept as text because a million Paths fill the memory. `noise` is the width and height
    in pixels of random noise to dream instead of a file; `data` are the bytes of a picture that has no file.
    """

    place: str | Path
    noise: tuple[int, int] | None = None
    data: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", os.fspath(self.place))

    @classmethod
    def of_noise(cls, size: tuple[int, int]) -> Source:
        """The source for noise of a width and height in pixels, under a name of its own."""
        return cls(Path("noise-{}x{}".format(*size)), size)

    @classmethod
    def of_input(cls, data: bytes) -> Source:
        """The source for the bytes of a picture that came from standard input."""
        return cls(STANDARD_INPUT, data=data)

    @property
    def path(self) -> Path:
        """The path of the picture's file, or a name in its place for a picture that has none."""
        return Path(self.place)

    @property
    def name(self) -> str:
        """The name of the picture in messages and records."""
        return self.path.name

    @property
    def has_file(self) -> bool:
        """Whether the picture is a file, rather than noise or bytes from standard input."""
        return self.noise is None and self.data is None

    def read(self, settings: Settings) -> Picture:
        """Reads the picture or generates the noise. Raises PictureError."""
        if self.noise:
            return noise_picture(*self.noise, settings.seed)
        if self.data is None:
            return read_picture(self.path)
        if not self.data:
            raise PictureFormatError("standard input is empty: send the bytes of a picture to it")
        return picture_of(self.data, self.path)

    def file(self, picture: Picture) -> SourceFile:
        """How records name the picture that `read` returned."""
        return SourceFile(self.name, picture.sha256, str(self.path.resolve()) if self.has_file else None)

    def dreamed_size(self, max_size: int | None) -> Size:
        """The approximate size at which the picture is dreamed, from the file's header alone; (0, 0) if unreadable.

        A pipe is left alone, because it can be read only once.
        """
        if self.noise:
            width, height = self.noise
        else:
            try:
                if self.data is None and not self.path.is_file():
                    return Size(0, 0)
                container = _header_of(self.path) if self.data is None else read_container(self.data)
            except (OSError, ContainerError):
                return Size(0, 0)
            width, height = container.width, container.height
            if container.orientation > 4:  # stored on its side
                width, height = height, width
        factor = min(1.0, (max_size or width + height) / max(width, height, 1))
        return Size(round(height * factor), round(width * factor))


def _header_of(path: Path) -> Container:
    """A picture file without its pixels, of which only the beginning is read where that is enough, as for a JPEG.

    Raises OSError and ContainerError.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        with suppress(ContainerError):
            return read_container(head + _JPEG_END)
        return read_container(head + file.read())


def noise_picture(width: int, height: int, seed: int) -> Picture:
    """A grey picture, uint8 [height, width, 3], with Gaussian noise in every pixel and colour.

    TensorFlow 1's deepdream notebook starts from grey with uniform noise. The same size and seed give the same noise.
    """
    rng = np.random.default_rng((seed, width, height))
    pixels = np.clip(rng.normal(117, 20, (height, width, 3)), 0, 255).astype(np.uint8)
    return Picture(pixels, None, (), hashlib.sha256(pixels.tobytes()).hexdigest())


def file_hash(path: Path) -> str:
    """Returns the SHA-256 of a file of any size, as hex digits. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
