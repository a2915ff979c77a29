"""Octaves, the sizes at which a picture is dreamed from small to large, and the image that each one starts from."""

from __future__ import annotations

import cv2
import numpy as np

from ...models.arrays import Image, Size, size_of
from ..settings.settings import Detail, Interpolation


def octave_sizes(size: Size, smallest: Size, octaves: int, above: int, ratio: float) -> list[Size]:
    """The size of each octave, from the smallest: `octaves` in all, of which `above` are larger than the picture.

    An octave has int(size * ratio ** n), as in TensorFlow's DeepDream tutorial and Keras's deep_dream example. None is
    smaller than `smallest`, which the network needs, and equal sizes are listed once.
    """
    sizes: list[Size] = []
    for exponent in range(above + 1 - octaves, above + 1):
        # 1e-6 keeps 78 / 1.3 at 60, which is 59.999… in floating point.
        height, width = (int(side * ratio**exponent + 1e-6) for side in size)
        octave = Size(max(height, smallest.height), max(width, smallest.width))
        if not sizes or octave != sizes[-1]:
            sizes.append(octave)
    return sizes


def resized(image: Image, size: Size, interpolation: Interpolation = "linear") -> Image:
    """A copy of an image, or of any float32 [planes, height, width], at another size.

    Bilinear, except that `area` averages areas where the image shrinks.
    """
    if image.shape[1:] == size:
        return np.array(image)
    shrinks = size[0] <= image.shape[1] and size[1] <= image.shape[2]
    method = cv2.INTER_AREA if interpolation == "area" and shrinks else cv2.INTER_LINEAR
    return np.stack([cv2.resize(plane, (size[1], size[0]), interpolation=method) for plane in image])


def next_octave(image: Image, base: Image, next_base: Image, detail: Detail) -> Image:
    """The image that the next octave starts from, with the size of `next_base`.

    `image` is the dream of the current octave, `base` and `next_base` the undreamed picture at the size of this octave
    and of the next. With `detail` "before", the change of the dream is enlarged and added to `next_base` (Caffe's
    deepdream notebook). Otherwise the image is enlarged (TensorFlow's DeepDream tutorial; also Keras's deep_dream
    example, which restores the lost detail at the end of the octave, see `with_lost_detail`).
    """
    if detail == "before":
        return next_base + resized(image - base, size_of(next_base))
    return resized(image, size_of(next_base))


def with_lost_detail(image: Image, base: Image, smaller_base: Image) -> Image:
    """The dream of an octave plus the detail that the picture lost at the size of the octave before.

    `base` and `smaller_base` are the undreamed picture at the size of this octave and of the one before. Source:
    Keras's deep_dream example.
    """
    return image + base - resized(smaller_base, size_of(base))
