"""The objective of a run and its gradient, for images of any size: computed as a whole, or tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ...models import contract
from ...models.arrays import Floats, Image, Losses, Size, size_of
from ...models.contract import Metadata
from ..bundle.objective import Objective
from ..bundle.sessions import Session, Sessions
from ..errors import OutOfMemoryError, SettingsError
from ..image.tiles import TilePlan, blended_tiles, tutorial_tiles
from ..provider.budget import Cost, default_budget, tile_shape
from ..provider.machine import Machine
from ..provider.tensors import BoundSession, Device, Tensor
from ..settings.settings import Settings
from .update import parts_of

# Sides of tiles in pixels: those of TensorFlow's tutorial, whatever the memory, and the least for tiles cut for memory.
_TUTORIAL_TILE = 512
_MIN_TILE = 128


class Evaluation(NamedTuple):
    """The losses, float32 [layers], and the gradient of an image, and its channel means if the objective reads them.

    The means are float32 [channels of all layers].
    """

    losses: Losses
    gradient: Image
    means: Floats | None = None


class Evaluator:
    """Computes the losses of an image of any size, and the gradient of their weighted sum.

    An image that does not fit into the memory budget is cut into tiles: their gradients are blended, and its losses are
    the area-weighted mean of theirs. If memory still runs out, the tiles are halved and the run continues. A position,
    and a layer that sees the whole picture, need an image as a whole. `largest_size` is the size of the run's largest
    image. `execution` states what the run really uses: provider, threads and the pixels of a tile. Raises
    MemoryBudgetError, and SettingsError for an image that must be whole and cannot be.

    Where the objective is a function of the channel means, the losses are its values, and the gradient takes its slope
    at the means that the caller gives, usually those of the step before.
    """

    def __init__(
        self,
        sessions: Sessions,
        settings: Settings,
        machine: Machine,
        objective: Objective,
        largest_size: Size,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._sessions = sessions
        self._bundle = sessions.bundle
        self._settings = settings
        self.machine = machine
        self.objective = objective
        self._log = log
        self._largest_size = largest_size
        self._plans: dict[Size, TilePlan] = {}
        self.execution = replace(settings.execution, provider=machine.provider_text, threads=machine.threads)
        self._whole_reason = _reason_to_be_whole(objective, self._bundle.metadata, settings)
        self._set_tile_pixels(settings.execution.tile_pixels or self._affordable_pixels(largest_size))
        self.tile_plan(largest_size)

    def changed(self, settings: Settings, objective: Objective, largest_size: Size) -> Evaluator:
        """Returns the evaluator of other settings or another objective on the way, in tiles of the same size.

        Where images become larger, tiles may have to be smaller. Raises what making an evaluator raises.
        """
        settings = replace(settings, execution=self.execution)
        other = Evaluator(self._sessions, settings, self.machine, objective, largest_size, self._log)
        if largest_size.pixels > self._largest_size.pixels:
            affordable = other._affordable_pixels(largest_size)
            if affordable < min(largest_size.pixels, self.execution.tile_pixels or affordable):
                other._set_tile_pixels(affordable)
                other.tile_plan(largest_size)
        return other

    @property
    def layer_count(self) -> int:
        """The number of losses."""
        return len(self.objective.layer_weights)

    @property
    def channel_count(self) -> int:
        """The number of channels of all layers."""
        return sum(layer.channels for layer in self._bundle.metadata.layers)

    def tile_plan(self, size: Size) -> TilePlan:
        """Returns how an image of this size is cut into tiles."""
        if size not in self._plans:
            self._plans[size] = self._new_plan(size)
        return self._plans[size]

    def evaluate(self, image: Image) -> tuple[Losses, Image]:
        """Returns the losses and the gradient of an image. The gradient has the image's shape, and the caller may
        change it.

        If memory runs out, it tries again with smaller tiles. Raises OutOfMemoryError when they cannot be smaller.
        """
        means = None if self.objective.function is None else self.evaluate_at(image, None).means
        losses, gradient, _ = self.evaluate_at(image, means)
        return losses, gradient

    def evaluate_at(self, image: Image, means: Floats | None) -> Evaluation:
        """Returns the same, with the slope of the objective's function at `means` [channels of all layers].

        Without means, the gradient is that of the layers' means. Raises what `evaluate` raises.
        """
        objective = self.objective if means is None else self.objective.at(means)
        while True:
            size = size_of(image)
            try:
                found = self._evaluate(image, self.tile_plan(size), objective)
                break
            except OutOfMemoryError as error:
                self.shrink_tiles(size, error)
        if objective.function is None or found.means is None:
            return found
        return found._replace(losses=objective.function.values(found.means))

    def is_whole(self, size: Size) -> bool:
        """Whether an image of this size is computed as a whole, without tiles."""
        return _is_whole(self.tile_plan(size), size)

    def bind(self, image: Tensor, losses: Tensor, gradient: Tensor, means: Tensor | None = None) -> BoundSession:
        """Returns the same computation for an untiled image that stays in the device's memory.

        All tensors are float32 there: the image [1, 3, height, width], and the outputs `losses` [1, layers],
        `gradient` [1, 3, height, width] and, if given, `means` [1, channels of all layers]. The losses are those of the
        channel weights also where the objective is a function; before each run, its weights are fed, see
        `weights_at`. Raises ComputationError, here and when it runs; if memory ran out, call `shrink_tiles`.
        """
        session = self._session(Size(*image.shape[2:]))
        inputs = {contract.IMAGE: image, **self._weights}
        outputs = {contract.LOSSES: losses, contract.GRADIENT: gradient}
        return session.bind(inputs, outputs if means is None else {**outputs, contract.CHANNEL_MEANS: means})

    def weights_at(self, means: Floats) -> dict[str, Tensor]:
        """Returns the input that changes with the channel means [channels of all layers] of the step before."""
        weights = self.objective.at(means).inputs[contract.CHANNEL_WEIGHTS]
        return {contract.CHANNEL_WEIGHTS: Tensor.on_host(weights)}

    @cached_property
    def _weights(self) -> dict[str, Tensor]:
        """The inputs of the objective in the device's memory, by their names."""
        device = Device(self.machine)
        return {name: device.tensor(values) for name, values in self.objective.inputs.items()}

    def _evaluate(self, image: Image, tile_plan: TilePlan, objective: Objective) -> Evaluation:
        session = self._session(tile_plan.tile_size)
        evaluate = session.evaluate_with_means if objective.reads_means else session.evaluate
        if self.is_whole(size_of(image)):
            return Evaluation(*evaluate(image, objective))
        gradient = np.zeros_like(image)
        losses = np.zeros(self.layer_count, np.float64)
        means = np.zeros(self.channel_count, np.float64)
        covered = sum(tile.area for tile in tile_plan)
        share = np.float32(tile_plan.tile_size.pixels / covered)
        for tile in tile_plan:
            rows, columns = tile.window
            tile_image = np.ascontiguousarray(image[:, rows, columns])
            tile_losses, tile_gradient, tile_means = Evaluation(*evaluate(tile_image, objective))
            losses += tile_losses * (tile.area / covered)
            if tile_means is not None:
                means += tile_means * (tile.area / covered)
            tile_gradient *= tile.row_weights[:, None]
            tile_gradient *= tile.column_weights * share
            gradient[:, rows, columns] += tile_gradient
        return Evaluation(
            losses.astype(np.float32), gradient, means.astype(np.float32) if objective.reads_means else None
        )

    def _session(self, size: Size) -> Session:
        takes_positions = self.objective.positions is not None
        if self._sessions.builds_engine(*size, self.machine, takes_positions):
            self._log(f"building the TensorRT engine for {size}: the first time, this takes minutes")
        return self._sessions.get(*size, self.machine, takes_positions=takes_positions)

    def _new_plan(self, size: Size) -> TilePlan:
        tile_plan = self._cut(size)
        if self._whole_reason and not _is_whole(tile_plan, size):
            raise SettingsError(
                f"{self._whole_reason}, but {size} pixels are computed in tiles of {tile_plan.tile_size}: give more "
                "--memory or a smaller --max-size" + _TILES_ADVICE[self.objective.positions is None]
            )
        return tile_plan

    def _cut(self, size: Size) -> TilePlan:
        if self._settings.tiling == "tutorial":
            return tutorial_tiles(size, _TUTORIAL_TILE)
        grid = max(layer.stride for layer in self._bundle.metadata.layers)
        min_side = max(*self._bundle.metadata.smallest_size, 2 * grid)  # else two tiles on the grid might not overlap
        tile = tile_shape(self.execution.tile_pixels or 0, size, grid)
        tile = Size(*(max(side, min(min_side, length)) for side, length in zip(tile, size, strict=True)))
        return blended_tiles(size, tile, min(self._settings.tile_overlap, min(tile) // 2), grid, min_side)

    def _affordable_pixels(self, size: Size) -> int:
        """Returns the most pixels that a tile may have so that a picture of this size fits into the memory budget."""
        budget = self._settings.execution.memory or default_budget(Device(self.machine).name, self.machine.card)
        return self._cost.largest_tile(budget, size.pixels, max(self._bundle.metadata.smallest_size))

    @cached_property
    def _cost(self) -> Cost:
        return Cost.on(
            Device(self.machine).name,
            self.machine.precision,
            self._bundle.metadata.memory,
            per_update_pixel=_update_bytes_per_pixel(self._settings),
            per_picture_pixel=_picture_bytes_per_pixel(self._settings),
        )

    def expected_bytes(self, size: Size) -> float:
        """Returns the memory that a run takes whose largest image has this size, in bytes."""
        return self._cost.total(self.tile_plan(size).tile_size.pixels, size.pixels)

    def _set_tile_pixels(self, pixels: int) -> None:
        self.execution = replace(self.execution, tile_pixels=pixels)
        self._plans.clear()

    def shrink_tiles(self, size: Size, error: MemoryError) -> None:
        """Halves the area of the tiles, starting from those of an image of this size. Raises the error if they cannot
        be smaller."""
        tile = self.tile_plan(size).tile_size
        min_side = max(_MIN_TILE, *self._bundle.metadata.smallest_size)
        if self._settings.tiling == "tutorial" or self._whole_reason or tile.pixels // 2 < min_side**2:
            raise error
        self._set_tile_pixels(tile.pixels // 2)
        self._sessions.forget()
        self._log(f"memory ran out with tiles of {tile}: continuing with half that area")


# What else to advise where an image must be whole: for a position, and for a global layer.
_TILES_ADVICE = ("", ", or --global-tiles, which scores each tile as a picture of its own")


def _is_whole(tile_plan: TilePlan, size: Size) -> bool:
    return len(tile_plan.tiles) == 1 and tile_plan.tile_size == size


def _reason_to_be_whole(objective: Objective, bundle: Metadata, settings: Settings) -> str | None:
    """The reason why an image must not be cut into tiles, if there is one."""
    if objective.positions is not None:
        return "a position is a place in the whole picture"
    for layer, weight in zip(bundle.layers, objective.layer_weights, strict=True):
        if layer.is_global and weight and not settings.global_tiles:
            return f"layer {layer.name} sees the whole picture at once"
    return None


def _picture_bytes_per_pixel(settings: Settings) -> float:
    """The bytes for each pixel of the whole picture: arrays float32 [3], and the 8-bit pictures before and after."""
    planes = 2 + 2 * bool(settings.jitter) + 1 * (settings.octaves > 1)  # the first two are the image and its gradient
    planes += sum(part.host_planes for part in parts_of(settings))
    return 12.0 * planes + 3.0 * 3


def _update_bytes_per_pixel(settings: Settings) -> float:
    """The additional bytes for each pixel of an untiled image, which a graph updates (measured)."""
    planes = 4 + 3 * bool(settings.jitter) + sum(part.graph_planes for part in parts_of(settings))
    return 12.0 * planes
