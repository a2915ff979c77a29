"""The pictures of a study, at real size and as small as they are dreamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.image.files import PictureError, encode_picture, read_picture, shrink
from .errors import ResultsError
from .folder import Folder
from .summary import Input


def keep_input(path: Path, max_size: int | None, folder: Folder) -> Input | None:
    """Puts a picture and its shrunk form into the result folder; None if it is no picture, which its cells will say.

    Raises ResultsError.
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


def colourfulness(pixels: NDArray[Any]) -> float:
    """How colourful people find a picture (HWC RGB[A], uint8 or uint16): 0 is grey, above 80 is vivid.

    Hasler and Süsstrunk 2003, "Measuring colourfulness in natural images".
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
        raise ResultsError(f"cannot copy {path} ({error.strerror}): check it") from error
