"""What is dreamed: a picture file, or noise; and how a record names a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...models.arrays import Size
from ..settings.settings import Settings
from .files import Picture, read_picture
from .formats import read_container
from .tiff import ContainerError


@dataclass(frozen=True)
class SourceFile:
    """A file that went into a run; `path` is left out of what travels inside a picture."""

    name: str
    sha256: str
    path: str | None = None


@dataclass(frozen=True)
class Source:
    """A picture to dream, not read yet; `noise` is the width and height of one to be drawn instead."""

    path: Path
    noise: tuple[int, int] | None = None

    @classmethod
    def of_noise(cls, size: tuple[int, int]) -> Source:
        """Noise of that width and height, under a name of its own."""
        return cls(Path("noise-{}x{}".format(*size)), size)

    @property
    def name(self) -> str:
        """For messages."""
        return self.path.name

    def read(self, settings: Settings) -> Picture:
        """Raises PictureError."""
        return noise_picture(*self.noise, settings.seed) if self.noise else read_picture(self.path)

    def file(self, picture: Picture) -> SourceFile:
        """How a record names it."""
        return SourceFile(self.name, picture.sha256, None if self.noise else str(self.path.resolve()))

    def dreamed_size(self, max_size: int | None) -> Size:
        """About the height and width it is dreamed in, from its header alone; (0, 0) where that cannot be read."""
        if self.noise:
            width, height = self.noise
        else:
            try:
                container = read_container(self.path.read_bytes())
            except (OSError, ContainerError):
                return Size(0, 0)
            width, height = container.width, container.height
            if container.orientation > 4:  # lies on its side
                width, height = height, width
        factor = min(1.0, (max_size or width + height) / max(width, height, 1))
        return Size(round(height * factor), round(width * factor))


def noise_picture(width: int, height: int, seed: int) -> Picture:
    """Grey with a little noise in every pixel and colour (TF1's deepdream notebook started so)."""
    rng = np.random.default_rng((seed, width, height))
    pixels = np.clip(rng.normal(117, 20, (height, width, 3)), 0, 255).astype(np.uint8)
    return Picture(pixels, None, (), hashlib.sha256(pixels.tobytes()).hexdigest())
