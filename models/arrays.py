"""Types for the arrays, and for the sizes, that the packages of onnxdream pass to each other, and files of arrays.

NumPy's types cannot state a shape: these names do, and docstrings state the shape of every other array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, NamedTuple

import numpy as np
from numpy.lib.format import write_array
from numpy.typing import NDArray

# float32 of any shape; the docstring states it.
Floats = NDArray[np.float32]
# float32 [3, height, width]: RGB planes in the range -1 to 1 (`contract.INPUT_RANGE`).
Image = NDArray[np.float32]
# float32 [layers]: the objective of each layer, unweighted.
Losses = NDArray[np.float32]
# uint8 or uint16 [height, width, 3 or 4]: RGB or RGBA with straight alpha, using the dtype's whole range.
Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class Size(NamedTuple):
    """A height and a width in pixels, in NumPy's order; users see the width first, as in 512×384."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"

    @property
    def pixels(self) -> int:
        """The number of pixels: height times width."""
        return self.height * self.width


def size_of(image: Image) -> Size:
    """Returns the size of an image or of any other array [..., height, width]."""
    return Size(*image.shape[-2:])


def write_arrays(file: IO[bytes], arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Writes named arrays into an open .npz file, as `numpy.savez` does. Raises OSError.

    That of NumPy before 2.0 leaves its archive open where the disk is full. Python closes it later, and prints the
    traceback of a second failure.
    """
    from zipfile import ZipFile  # here, because a dream needs it only after the first steps

    with ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                write_array(entry, np.asanyarray(array), allow_pickle=False)
