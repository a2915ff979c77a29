"""The memory budget of a dream, and the tile size that keeps within it."""

from __future__ import annotations

from dataclasses import dataclass

from ...models.arrays import Size
from ...models.contract import Memory
from ..errors import SettingsError
from ..settings.settings import Precision
from .hardware import detect_hardware, machine_memory
from .machine import DeviceName

# Python with numpy, OpenCV and onnxruntime, before a picture or a bundle is loaded (measured: 105-125 MB).
_PROGRAM_BYTES = 130 * 10**6
# CUDA's context and libraries, which lie in the GPU's memory from the first session on (measured on an H200: 552 MB).
_CONTEXT_BYTES = 600 * 10**6
# The program, CUDA's context and its libraries, where the GPU shares the machine's memory. Estimated, not measured.
SHARED_CONTEXT_BYTES = 10**9
# The smallest side of a tile, in pixels.
_MIN_TILE_SIDE = 128
# The share of a budget that tiles are planned for; the rest is a reserve for what `Cost` does not model.
_PLANNED_SHARE = 0.93


class MemoryBudgetError(SettingsError):
    """The memory budget is smaller than the least that the picture and the bundle need; both are in bytes."""

    def __init__(self, budget: int, least: float) -> None:
        super().__init__(budget, least)
        self._budget, self._least = budget, least

    def __str__(self) -> str:
        return self.describe()

    def describe(self, processes: int = 1) -> str:
        """Returns the message where so many processes share the memory that --memory gives, a budget each."""
        budget, least = self._budget, -(-self._least // 10**6) * 10**6
        shared = f" for each of {processes} workers" if processes > 1 else ""
        instead = "fewer workers, or" if processes > 1 else "or"
        return (
            f"a memory budget of {in_megabytes(budget)}{shared} is too small for this picture and bundle: "
            f"give at least --memory {in_megabytes(processes * least)}, {instead} a smaller --max-size"
        )


@dataclass(frozen=True)
class Workspace:
    """What a run takes on a GPU for a bundle's gradient, compared with what was measured for the bundle on the CPU.

    `factor` multiplies the CPU's bytes for each pixel. The libraries' workspace is at most `per_pixel` bytes for each
    pixel of a tile, and at most `most` bytes.
    """

    factor: float = 1.0
    per_pixel: float = 0.0
    most: float = 0.0


# So chosen that a run with v3-low in three sizes takes no more on an H200; docs/performance.md has the numbers. In
# fp32, cuDNN chooses an FFT with 2 GB of workspace for some sizes of the convolutions, and not for all larger ones.
_CUDA_WORKSPACES: dict[Precision, Workspace] = {
    "fp32": Workspace(factor=1.1, per_pixel=3500, most=2.7e9),
    "fp16": Workspace(factor=0.8, per_pixel=2300, most=0.55e9),
    "mixed": Workspace(factor=1.15, per_pixel=2700, most=0.85e9),
}


@dataclass(frozen=True)
class Cost:
    """The memory that a run takes, in bytes.

    `per_tile_pixel` and `fixed` rest on the bundle's measured cost; `per_picture_pixel` is that of the arrays that hold
    the whole picture. `program` is what the program or CUDA takes without them.
    """

    per_tile_pixel: float
    fixed: float
    per_picture_pixel: float
    program: float = _PROGRAM_BYTES
    workspace: Workspace = Workspace()

    @classmethod
    def on(
        cls, device: DeviceName, precision: Precision, bundle: Memory, per_update_pixel: float, per_picture_pixel: float
    ) -> Cost:
        """Returns the cost of a run with a bundle in the memory of a device, in a precision.

        `per_update_pixel` are the bytes that the update takes for each pixel of a tile.
        """
        if device == "cpu":
            return cls(bundle.per_pixel + per_update_pixel, bundle.fixed, per_picture_pixel)
        workspace = _CUDA_WORKSPACES.get(precision, _CUDA_WORKSPACES["fp32"])
        program = SHARED_CONTEXT_BYTES if detect_hardware().shares_memory else _CONTEXT_BYTES
        per_tile_pixel = workspace.factor * bundle.per_pixel + per_update_pixel
        return cls(per_tile_pixel, bundle.fixed, per_picture_pixel, program, workspace)

    def of_tile(self, tile_pixels: int) -> float:
        """Returns the bytes that depend on the size of a tile."""
        return self.per_tile_pixel * tile_pixels + min(self.workspace.per_pixel * tile_pixels, self.workspace.most)

    def total(self, tile_pixels: int, picture_pixels: int) -> float:
        """Returns the bytes of a run with tiles and a picture of so many pixels."""
        return self.program + self.fixed + self.per_picture_pixel * picture_pixels + self.of_tile(tile_pixels)

    def largest_tile(self, budget: int, picture_pixels: int, smallest_side: int) -> int:
        """Returns the number of pixels of the largest tile that keeps a run within a budget in bytes.

        `smallest_side` is the smallest side of a picture that the bundle takes, in pixels. Raises MemoryBudgetError.
        """
        unavoidable = self.program + self.fixed + self.per_picture_pixel * picture_pixels
        left = _PLANNED_SHARE * budget - unavoidable
        with_small_workspace = left / (self.per_tile_pixel + self.workspace.per_pixel)
        pixels = int(max(with_small_workspace, (left - self.workspace.most) / self.per_tile_pixel))
        min_side = max(_MIN_TILE_SIDE, smallest_side)
        if pixels < min_side**2:
            min_budget = (unavoidable + self.of_tile(min_side**2)) / _PLANNED_SHARE
            raise MemoryBudgetError(budget, min_budget)
        return pixels


def default_budget(device: DeviceName, card: int = 0) -> int:
    """Returns half of the device's memory in bytes: the GPU's, else the machine's or its cgroup's limit if less.

    `card` is CUDA's number of the GPU.
    """
    gpu = detect_hardware().seen_from(card).gpu if device == "cuda" else None
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


def in_megabytes(count: float) -> str:
    """Returns a number of bytes as `--memory` takes it, such as 512MB."""
    return f"{count / 10**6:.0f}MB"
