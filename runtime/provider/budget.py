"""The memory budget of a dream, and the tile size that keeps within it."""

from __future__ import annotations

from dataclasses import dataclass

from ...models.arrays import Size
from ..errors import SettingsError
from .hardware import detect_hardware, machine_memory
from .machine import DeviceName

# Python with numpy, OpenCV and onnxruntime, before a picture or a bundle is loaded (measured: 105-125 MB).
_PROGRAM_BYTES = 130 * 10**6
# The smallest side of a tile, in pixels.
_MIN_TILE_SIDE = 128
# The share of a budget that tiles are planned for; the rest is a reserve for what `Cost` does not model.
_PLANNED_SHARE = 0.93


class MemoryBudgetError(SettingsError):
    """The memory budget is smaller than the least that the picture and the bundle need."""


@dataclass(frozen=True)
class Cost:
    """The memory that a run takes, in bytes.

    `per_tile_pixel` and `fixed` rest on the bundle's measured cost; `per_picture_pixel` is that of the arrays that hold
    the whole picture.
    """

    per_tile_pixel: float
    fixed: float
    per_picture_pixel: float

    def largest_tile(self, budget: int, picture_pixels: int, smallest_side: int) -> int:
        """Returns the number of pixels of the largest tile that keeps a run within a budget in bytes.

        `smallest_side` is the smallest side of a picture that the bundle takes, in pixels. Raises MemoryBudgetError.
        """
        unavoidable = _PROGRAM_BYTES + self.fixed + self.per_picture_pixel * picture_pixels
        pixels = int((_PLANNED_SHARE * budget - unavoidable) / self.per_tile_pixel)
        min_side = max(_MIN_TILE_SIDE, smallest_side)
        if pixels < min_side**2:
            min_budget = (unavoidable + self.per_tile_pixel * min_side**2) / _PLANNED_SHARE
            raise MemoryBudgetError(
                f"a memory budget of {_in_megabytes(budget)} is too small for this picture and bundle: "
                f"give at least --memory {_in_megabytes(min_budget, round_up=True)}, or a smaller --max-size"
            )
        return pixels


def default_budget(device: DeviceName) -> int:
    """Returns half of the device's memory in bytes: the GPU's, else the machine's or its cgroup's limit if less."""
    gpu = detect_hardware().gpu if device == "cuda" else None
    return ((gpu and gpu.memory) or machine_memory()) // 2


def tile_shape(pixels: int, size: Size, grid: int) -> Size:
    """Returns the size of the tiles to cut a picture into: the whole picture where it fits, else roughly a square.

    `pixels` is the most that a tile may have. The picture's sides minus the tile's are multiples of `grid` (in pixels),
    so that the last tile starts on the grid, too.
    """
    height, width = size
    if size.pixels <= pixels:
        return size
    side = int(pixels**0.5)
    tall, wide = min(height, side), min(width, side)
    if tall == height:
        wide = min(width, pixels // height)
    elif wide == width:
        tall = min(height, pixels // width)
    sides = ((tall, height), (wide, width))
    return Size(*(max(grid, side - (side - whole) % grid) if side < whole else whole for side, whole in sides))


def _in_megabytes(count: float, round_up: bool = False) -> str:
    """Formats a number of bytes as `--memory` takes it, such as 512MB."""
    megabytes = -(-count // 10**6) if round_up else count / 10**6
    return f"{megabytes:.0f}MB"
