"""What a run climbs: the weighted losses of a picture of any size, and their gradient, tile by tile where needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np

from ...models import contract
from ...models.arrays import Floats, Image, Losses, Size, size_of
from ..bundle.sessions import Session, Sessions
from ..errors import OutOfMemoryError
from ..provider.budget import Cost, default_budget, tile_shape
from ..provider.machine import Machine
from ..provider.tensors import BoundSession, Device, Tensor
from ..settings.settings import Settings
from .tiles import TilePlan, blended_tiles, tutorial_tiles
from .update import parts_of

# Tiles that no memory budget asks for: the tutorial's.
_TUTORIAL_TILE = 512
_MIN_TILE = 128


class Evaluator:
    """Losses and gradient of an image of any size.

    `layer_weights` are those of the layers, `channel_weights` (None: the bundle's) those of their channels. Where the
    image does not fit into the memory budget it is cut into tiles: its gradient is put together from theirs, and its
    losses are their area-weighted mean. Where memory runs out all the same, tiles are halved and the run goes on.
    `largest` is the largest image that is to come; `execution` is what the run really has. Raises MemoryBudgetError.
    """

    def __init__(
        self,
        sessions: Sessions,
        settings: Settings,
        machine: Machine,
        layer_weights: Floats,
        largest: Size,
        channel_weights: Floats | None = None,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._sessions = sessions
        self._bundle = sessions.bundle
        self._settings = settings
        self.machine = machine
        self._layer_weights = layer_weights
        self._channel_weights = channel_weights
        self._log = log
        self._plans: dict[Size, TilePlan] = {}
        self.execution = replace(settings.execution, provider=machine.provider, threads=machine.threads)
        self._cut_into(settings.execution.tile_pixels or self._affordable_pixels(largest))

    @property
    def layers(self) -> int:
        """How many losses an image has."""
        return len(self._layer_weights)

    def tile_plan(self, size: Size) -> TilePlan:
        """How an image of that size is cut."""
        if size not in self._plans:
            self._plans[size] = self._new_plan(size)
        return self._plans[size]

    def evaluate(self, image: Image) -> tuple[Losses, Image]:
        """Losses [layers] and gradient [3, height, width] of a CHW image; the gradient is the caller's to change."""
        while True:
            size = size_of(image)
            try:
                return self._evaluate(image, self.tile_plan(size))
            except OutOfMemoryError as error:
                self.shrink_tiles(size, error)

    def is_whole(self, size: Size) -> bool:
        """Whether an image of that size is computed in one piece."""
        tile_plan = self.tile_plan(size)
        return len(tile_plan.tiles) == 1 and tile_plan.tile_size == size

    def bind(self, image: Tensor, losses: Tensor, gradient: Tensor) -> BoundSession:
        """The same for an image in one piece, [1, 3, h, w], into tensors [1, layers] and [1, 3, h, w] of its place.

        Raises ComputationError, here and when it runs; where memory ran out, `retreat` makes tiles of it.
        """
        session = self._session(Size(*image.shape[2:]))
        inputs = {contract.IMAGE: image, **self._weights}
        return session.bind(inputs, {contract.LOSSES: losses, contract.GRADIENT: gradient})

    @cached_property
    def _weights(self) -> dict[str, Tensor]:
        """In the machine's memory."""
        device = Device(self.machine)
        weights = {contract.LAYER_WEIGHTS: self._layer_weights, contract.CHANNEL_WEIGHTS: self._channel_weights}
        return {name: device.tensor(values) for name, values in weights.items() if values is not None}

    def _evaluate(self, image: Image, tile_plan: TilePlan) -> tuple[Losses, Image]:
        session = self._session(tile_plan.tile_size)
        if self.is_whole(size_of(image)):
            return session.evaluate(image, self._layer_weights, self._channel_weights)
        gradient = np.zeros_like(image)
        losses = np.zeros(len(self._layer_weights), np.float64)
        covered = sum(tile.area for tile in tile_plan)
        share = np.float32(tile_plan.tile_size.pixels / covered)
        for tile in tile_plan:
            rows, columns = tile.window
            tile_losses, tile_gradient = session.evaluate(
                np.ascontiguousarray(image[:, rows, columns]), self._layer_weights, self._channel_weights
            )
            losses += tile_losses * (tile.area / covered)
            tile_gradient *= tile.rows[:, None]
            tile_gradient *= tile.columns * share
            gradient[:, rows, columns] += tile_gradient
        return losses.astype(np.float32), gradient

    def _session(self, size: Size) -> Session:
        if self._sessions.builds_engine(*size, self.machine):
            self._log(f"building TensorRT's engine for {size}, minutes the first time")
        return self._sessions.get(*size, self.machine)

    def _new_plan(self, size: Size) -> TilePlan:
        if self._settings.tiling == "tutorial":
            return tutorial_tiles(size, _TUTORIAL_TILE)
        smallest = max(self._bundle.metadata.smallest_size)
        grid = max(layer.stride for layer in self._bundle.metadata.layers)
        tile = tile_shape(self.execution.tile_pixels or 0, size, grid)
        tile = Size(*(max(side, min(smallest, length)) for side, length in zip(tile, size, strict=True)))
        return blended_tiles(size, tile, min(self._settings.tile_overlap, min(tile) // 2), grid, smallest)

    def _affordable_pixels(self, size: Size) -> int:
        """Pixels of a tile that keep a run on a picture of that size within its memory."""
        execution = self._settings.execution
        memory = self._bundle.metadata.memory
        cost = Cost(
            per_tile_pixel=memory.per_pixel + _update_bytes(self._settings),
            fixed=memory.fixed,
            per_picture_pixel=_picture_bytes(self._settings),
        )
        budget = execution.memory or default_budget(Device(self.machine).name)
        return cost.largest_tile(budget, size.pixels, max(self._bundle.metadata.smallest_size))

    def _cut_into(self, pixels: int) -> None:
        self.execution = replace(self.execution, tile_pixels=pixels)
        self._plans.clear()

    def shrink_tiles(self, size: Size, error: MemoryError) -> None:
        """Halves the tiles of an image of that size. Raises the error where they are as small as they may be."""
        tile = self.tile_plan(size).tile_size
        smallest = max(_MIN_TILE, *self._bundle.metadata.smallest_size)
        if self._settings.tiling == "tutorial" or tile.pixels // 2 < smallest**2:
            raise error
        self._cut_into(tile.pixels // 2)
        self._sessions.forget()
        self._log(f"memory ran out with tiles of {tile}: going on with half of that")


def _picture_bytes(settings: Settings) -> float:
    """Bytes that a pixel of the whole picture takes: float32 planes, and the pictures it comes from and becomes."""
    planes = 2 + 2 * bool(settings.jitter) + 1 * (settings.octaves > 1)  # the first two are the image and its gradient
    planes += sum(part.host_planes for part in parts_of(settings))
    return 12.0 * planes + 3.0 * 3


def _update_bytes(settings: Settings) -> float:
    """Bytes that a pixel takes on top where its image is in one piece, and updated as a graph (measured)."""
    planes = 4 + 3 * bool(settings.jitter) + sum(part.graph_planes for part in parts_of(settings))
    return 12.0 * planes
