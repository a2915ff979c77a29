"""How much memory a dream may take, and the tile size that keeps to it."""

from __future__ import annotations

from dataclasses import dataclass

from ...models.arrays import Size
from ..errors import SettingsError
from .hardware import detect_hardware, machine_memory
from .machine import DeviceName

# Python with numpy, OpenCV and onnxruntime, before a picture or a bundle is loaded (measured: 105-125 MB).
_PROGRAM_BYTES = 130 * 10**6
_MIN_TILE = 128
# Of a budget that is planned for; the rest is for what no model knows.
_SHARE = 0.93


class MemoryBudgetError(SettingsError):
    """A budget below what the picture and the bundle need at the least."""


@dataclass(frozen=True)
class Cost:
    """What a run takes besides its tiles.

    `per_tile_pixel` and `fixed` are the bundle's measured cost in bytes, `per_picture_pixel` that of the arrays that
    hold the whole picture.
    """

    per_tile_pixel: float
    fixed: float
    per_picture_pixel: float

    def largest_tile(self, budget: int, picture_pixels: int, smallest_side: int) -> int:
        """Pixels of the largest tile that keeps a run within a budget in bytes. Raises MemoryBudgetError."""
        unavoidable = _PROGRAM_BYTES + self.fixed + self.per_picture_pixel * picture_pixels
        pixels = int((_SHARE * budget - unavoidable) / self.per_tile_pixel)
        least_side = max(_MIN_TILE, smallest_side)
        if pixels < least_side**2:
            least = (unavoidable + self.per_tile_pixel * least_side**2) / _SHARE
            raise MemoryBudgetError(
                f"a memory budget of {_readable(budget)} is too small for this picture and bundle: "
                f"give --memory {_readable(least, round_up=True)} at least, or a smaller --max-size"
            )
        return pixels


def default_budget(device: DeviceName) -> int:
    """Half of the memory that the device has: the machine's, the cgroup's if less, or the GPU's."""
    gpu = detect_hardware().gpu if device == "cuda" else None
    return ((gpu and gpu.memory) or machine_memory()) // 2


def tile_shape(pixels: int, size: Size, grid: int) -> Size:
    """Height and width of the tile to cut a picture into: the whole picture where it fits, else about square.

    What is left of the picture beside a tile is a multiple of the grid, so that the last tile, too, starts on it.
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


def _readable(count: float, round_up: bool = False) -> str:
    megabytes = -(-count // 10**6) if round_up else count / 10**6
    return f"{megabytes:.0f}MB"
