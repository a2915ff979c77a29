"""Sets of drawings, and the batches that a training step sees of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from rich.progress import track

from .canvas import Picture
from .fields import SIZE
from .motifs import NAMES, draw

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Drawings:
    """Pictures uint8 `[count, SIZE, SIZE, 3]`, RGB, and their labels int64 `[count]`, indices of `NAMES`."""

    pictures: Picture
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


def draw_set(count: int, seed: int) -> Drawings:
    """Draw pictures of random classes, held in memory: 61 KiB and about 6 ms each."""
    rng = np.random.default_rng(seed)
    pictures = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(count, np.int64)
    for k in track(range(count), description=f"Drawing {count} pictures"):
        labels[k] = rng.integers(len(NAMES))
        pictures[k] = draw(rng, NAMES[labels[k]])
    return Drawings(pictures, labels)


def random_batch(rng: Generator, drawings: Drawings, count: int, crop: int) -> tuple[Images, Labels]:
    """Drawings cropped and altered alike: images float32 `[count, crop, crop, 3]`, and their labels."""
    # In ascending order, so that memory is read in one direction.
    chosen = np.sort(rng.integers(0, len(drawings), count))
    top, left = rng.integers(0, SIZE - crop, 2)
    pictures = drawings.pictures[chosen, top : top + crop, left : left + crop]
    if rng.random() < 0.5:
        pictures = pictures[:, :, ::-1]
    if rng.random() < 0.5:
        pictures = pictures[:, ::-1]
    if rng.random() < 0.5:
        pictures = pictures.transpose(0, 2, 1, 3)
    images = in_range(pictures)
    if rng.random() < 0.4:
        images = images[..., rng.permutation(3)]
    contrast, brightness = rng.uniform(0.6, 1.2), rng.uniform(-0.2, 0.2)
    return images * np.float32(contrast) + np.float32(brightness), drawings.labels[chosen]


def central_crops(drawings: Drawings, crop: int) -> Picture:
    """The middle of every picture: uint8 `[count, crop, crop, 3]`."""
    edge = (SIZE - crop) // 2
    return drawings.pictures[:, edge : edge + crop, edge : edge + crop]


def in_range(pictures: Picture) -> Images:
    """0-255 to the backbone's [-1, 1]."""
    return pictures.astype(np.float32) / 127.5 - 1
