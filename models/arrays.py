"""The arrays and the size that rooms hand to each other, each named once.

numpy's types cannot state a shape, so the names do, and docstrings name the shape of every other array.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# float32 of any shape, which the docstring states.
Floats = NDArray[np.float32]
# float32 [3, height, width]: RGB planes in the range that the backbone takes (`Metadata.input_range`).
Image = NDArray[np.float32]
# float32 [layers]: each layer's objective, unweighted.
Losses = NDArray[np.float32]
# uint8 or uint16 [height, width, 3 or 4]: RGB or RGBA with straight alpha, over the dtype's whole range.
Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class Size(NamedTuple):
    """A height and a width in pixels, in numpy's order; shown to users the other way round, as 512×384."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"

    @property
    def pixels(self) -> int:
        """Height times width."""
        return self.height * self.width


def size_of(image: Image) -> Size:
    """The size of an image, or of any array [..., height, width]."""
    return Size(*image.shape[-2:])
