"""Copies the pictures of a study into its folder, at real size and at the size at which they are dreamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..models.arrays import Pixels
from ..runtime.errors import PictureError
from ..runtime.image.files import read_picture
from ..runtime.image.formats.codec import encode_picture
from ..runtime.image.resizing import shrink
from .errors import ResultsError
from .folder import Folder
from .summary import Input


def copy_input(path: Path, max_size: int | None, folder: Folder) -> Input | None:
    """Copies a picture and writes a shrunk version of it into the result folder.

    Returns None if the file is not a picture; its cells will report that. Raises ResultsError.
    """
    try:
        picture = read_picture(path)
        small = shrink(picture.pixels, max_size)
        data, _ = encode_picture(small, ".png", picture.icc)
    except PictureError:
        return None
    _copy(path, folder)
    folder.write(folder.shrunk(path), data)
    height, width = picture.pixels.shape[:2]
    return Input(
        name=path.stem,
        file=path.name,
        sha256=picture.sha256,
        width=width,
        height=height,
        shrunk_width=small.shape[1],
        shrunk_height=small.shape[0],
        colourfulness=round(colourfulness(small), 3),
    )


def colourfulness(pixels: Pixels) -> float:
    """Returns how colourful people find a picture: 0 is grey, above 80 is vivid.

    Hasler and Süsstrunk 2003, "Measuring colourfulness in natural images", their metric M3.
    """
    red, green, blue = np.moveaxis(pixels[..., :3].astype(np.float64) * (255 / np.iinfo(pixels.dtype).max), 2, 0)
    opponents = red - green, (red + green) / 2 - blue
    spread = np.hypot(*(axis.std() for axis in opponents))
    return float(spread + 0.3 * np.hypot(*(axis.mean() for axis in opponents)))


def _copy(path: Path, folder: Folder) -> None:
    target = folder.original(path)
    try:
        if target.exists() and target.samefile(path):
            return
        folder.write(target, path.read_bytes())
    except OSError as error:
        if isinstance(error, ResultsError):
            raise
        raise ResultsError(f"cannot copy {path} ({error.strerror}): check that it is readable") from error
