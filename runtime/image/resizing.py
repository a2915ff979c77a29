"""Pictures at other sizes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Pixels, Size


def shrink(pixels: Pixels, max_size: int | None) -> Pixels:
    """The picture with its longer side at most `max_size` pixels; never enlarged, and unchanged for None."""
    size = shrunk_size(Size(*pixels.shape[:2]), max_size)
    return resize(pixels, size.width, size.height)


def shrunk_size(size: Size, max_size: int | None) -> Size:
    """The size of a picture whose longer side is at most `max_size` pixels; never larger, and unchanged for None."""
    if max_size is None or max(size) <= max_size:
        return size
    scale = max_size / max(size)
    return Size(max(1, round(size.height * scale)), max(1, round(size.width * scale)))


def resize(pixels: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """A picture at another size in pixels: uint8 or uint16 [height, width, 3 or 4], or float32 [height, width, 3].

    Averages areas if it shrinks, otherwise interpolates cubically. Colours are weighted by alpha, so that invisible
    colours do not bleed into visible ones. Returns an array of the same type.
    """
    if (height, width) == pixels.shape[:2]:
        return pixels
    shrinks = width <= pixels.shape[1] and height <= pixels.shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    colours: NDArray[Any] = cv2.resize(pixels[..., :3], (width, height), interpolation=interpolation)
    if pixels.shape[2] == 3:
        return colours
    alpha = pixels[..., 3:].astype(np.float32)
    weighted = np.concatenate([pixels[..., :3] * alpha, alpha], axis=2)
    weighted = cv2.resize(weighted, (width, height), interpolation=interpolation)
    alpha = weighted[..., 3:]
    colours = np.where(alpha > 0, weighted[..., :3] / np.maximum(alpha, 1e-6), colours)
    return rounded(np.concatenate([colours, alpha], axis=2), pixels.dtype)


def rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> Pixels:
    """Floating-point pixel values rounded and clipped to the range of `dtype`, uint8 or uint16."""
    rounded: Pixels = np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)
    return rounded
