"""The pixels of a picture or a mask that a caller gives as an array, a path or a Pillow image."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Pixels
from ..errors import SettingsError
from .files import read_picture


class ArrayInterface(Protocol):
    """An object that NumPy reads as an array, such as a Pillow image."""

    @property
    def __array_interface__(self) -> dict[str, Any]: ...


# A picture or a mask: an array, the path of a file, or a Pillow image, which is dreamed the way that it is turned.
PictureLike = NDArray[Any] | str | os.PathLike[str] | ArrayInterface

# Modes of Pillow's images whose arrays mean what they do here; all others are converted.
_PILLOW_MODES = ("L", "RGB", "RGBA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def pixels_of(picture: PictureLike, name: str, log: Callable[[str], None]) -> Pixels:
    """Returns the pixels of a picture, with three equal planes if it is grey.

    An array is uint8 or uint16 [height, width] (or [height, width, 1]) or [height, width, 3 or 4], RGB[A]. `name` is
    the picture's role in messages, "picture" or "guide". `log` is called with each warning about a file. Raises
    SettingsError and PictureError.
    """
    array = array_of(picture, name, log)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        array = array.astype(np.uint16, copy=False)  # in this machine's byte order
    if array.dtype not in (np.uint8, np.uint16) or array.ndim != 3 or array.shape[2] not in (3, 4) or not array.size:
        raise SettingsError(
            f"a {name} is uint8 or uint16 [height, width] or [height, width, 3 or 4], "
            f"not {array.dtype} {list(array.shape)}{_remedy(array, name)}"
        )
    return array


def array_of(given: PictureLike, name: str, log: Callable[[str], None]) -> NDArray[Any]:
    """Returns a picture or a mask as an array, of whatever shape and dtype it has; the arguments are as above.

    A file is read as on the command line: turned upright, with `~` for the home folder. Raises SettingsError for
    anything that is not an array, a path or an image, and PictureError for a file.
    """
    if isinstance(given, str | os.PathLike):
        picture = read_picture(Path(os.path.expanduser(given)))
        for warning in picture.warnings:
            log(warning)
        return picture.pixels
    if given is None:
        raise SettingsError(
            f"the {name} is None, which cv2.imread returns for a file that it cannot read: check the path, or give "
            "the path itself"
        )
    kind = type(given)  # whose attributes, unlike an image's own, do not read its file
    if not (hasattr(kind, "__array_interface__") or hasattr(kind, "__array__")):
        hint = {list: ": convert it with numpy.array", bytes: ": decode it with cv2.imdecode"}.get(kind, "")
        raise SettingsError(f"a {name} is an array, a path or a Pillow image, not {kind.__name__}{hint}")
    try:
        return np.asarray(_converted(given))
    except Exception as error:  # of any type, such as Pillow's for a file that is cut short
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SettingsError(f"the {name}, of type {kind.__name__}, cannot be read ({reason})") from error


def _converted(image: Any) -> Any:
    """A Pillow image in a mode that is read as an array here; any other object unchanged."""
    if not (hasattr(image, "mode") and hasattr(image, "convert") and hasattr(image, "getbands")):
        return image
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in _PILLOW_MODES else image.convert("RGB")


def _remedy(array: NDArray[Any], name: str) -> str:
    """What to do about an array that is not a picture, as the end of a message."""
    if array.ndim == 4 and len(array) == 1:
        return f": give {name}[0]"
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        return f": give {name}.transpose(1, 2, 0)"
    if array.dtype.kind in "fb":
        return f": if its values are from 0 to 1, give (255 * {name}).astype('uint8')"
    return f": if its values are from 0 to 255, give {name}.astype('uint8')" if array.dtype.kind == "i" else ""
