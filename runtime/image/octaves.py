"""The scales of a dream, small to large, and what is carried from one to the next."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from ...models.arrays import Image, Size, size_of

Detail = Literal["before", "after", "none"]
Interpolation = Literal["area", "linear", "pyramid"]


def octave_sizes(size: Size, smallest: Size, octaves: int, above: int, ratio: float) -> list[Size]:
    """Height and width of each octave: `octaves` in all, of which `above` are larger than the picture.

    int(size * ratio ** n), as in TensorFlow's tutorial and Keras's example; none smaller than the network allows,
    and none twice.
    """
    sizes: list[Size] = []
    for exponent in range(above + 1 - octaves, above + 1):
        # The hair keeps 78 / 1.3 at 60, which floats make 59.999….
        clamped = Size(
            *(max(int(side * ratio**exponent + 1e-6), least) for side, least in zip(size, smallest, strict=True))
        )
        if not sizes or clamped != sizes[-1]:
            sizes.append(clamped)
    return sizes


def resized(image: Image, size: Size, interpolation: Interpolation = "linear") -> Image:
    """A CHW image at another height and width: averaged over areas where it shrinks (`area`), else bilinear."""
    if image.shape[1:] == size:
        return np.array(image)
    shrinks = size[0] <= image.shape[1] and size[1] <= image.shape[2]
    method = cv2.INTER_AREA if interpolation == "area" and shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(plane, (size[1], size[0]), interpolation=method) for plane in image])


def next_octave(dreamed: Image, base: Image, next_base: Image, detail: Detail) -> Image:
    """The image that the next octave starts from.

    `before`: the picture at the new size plus what was dreamed, enlarged (Caffe's deepdream). Otherwise what was
    dreamed, enlarged as it is (TensorFlow's tutorial; Keras's example, which puts the lost detail back afterwards,
    `with_lost_detail`).
    """
    if detail == "before":
        return next_base + resized(dreamed - base, size_of(next_base))
    return resized(dreamed, size_of(next_base))


def with_lost_detail(dreamed: Image, base: Image, smaller_base: Image) -> Image:
    """Adds what the picture lost by being as small as the octave before (Keras's example)."""
    return dreamed + base - resized(smaller_base, size_of(base))
