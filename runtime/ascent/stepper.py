"""The way up within one octave: where its image and what the optimizer remembers lie, and what moves them.

An image in one piece stays where its gradient is computed; one that memory cuts into tiles stays on the host, where it
takes least. Neither way judges losses: they are rows [layers + 1], their last value finite where the gradient is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..provider.tensors import Bound, Place
from ..settings.settings import Settings
from .evaluator import Objective
from .parts.part import Limits
from .update import Update
from .update_graph import GraphUpdate, check, roll, roll_inputs

Array = NDArray[np.float32]
Shift = tuple[int, int]


@dataclass(frozen=True)
class Route:
    """What a climb goes by; `mask` is float32 [height, width], `colours` the matrix of settings that have one."""

    objective: Objective
    settings: Settings
    limits: Limits
    mask: Array | None = None
    colours: Array | None = None


class Climb(Protocol):
    """An octave's image on its way. Where a method raises ComputationError the image is as it was before."""

    @property
    def patience(self) -> int:
        """How many evaluations' rows may wait to be asked for."""

    def evaluate(self, shift: Shift) -> None:
        """Computes the losses and the gradient of the image rolled by a shift."""

    def update(self, number: int) -> None:
        """Moves the image by the last evaluation's gradient; `number` counts the octave's updates from 1."""

    def rows(self) -> list[Array]:
        """Those of every evaluation since they were last asked for."""

    def keep(self) -> None:
        """Holds on to the image last evaluated, where there is room for it."""

    def kept(self) -> Array | None:
        """The image held on to, CHW, on the host."""

    def arrays(self) -> tuple[Array, list[Array]]:
        """The image and the slots, CHW, on the host: the memory itself where they lie there."""


class PlacedClimb:
    """With an image in one piece, in its machine's memory. On the host, the image and the slots given become its own.

    What is computed is bound to the tensors it reads and writes once, and then run again at each step. Raises
    ProviderError, ComputationError and BundleError.
    """

    def __init__(self, route: Route, image: Array, slots: list[Array]) -> None:
        objective = route.objective
        size, self._shape = (image.shape[1], image.shape[2]), (1, *image.shape)
        self._objective, self._size = objective, size
        self._place = place = Place(objective.machine)
        # The image is one of these, the one held on to another; which one is told by its place in the list.
        self._images = [place.tensor(image[None])]
        self._image = self._evaluated = 0
        self._kept: int | None = None
        # The slots as they are, and those that the next update writes.
        self._slots = [place.tensor(slot[None]) for slot in slots], [place.empty(self._shape) for _ in slots]
        self._side = 0
        self._gradient = place.empty(self._shape)
        self._losses = place.empty((1, objective.layers))
        self._rows = [place.empty((1, objective.layers + 1)) for _ in range(place.patience)]
        self._waiting = 0
        self._shift = 0, 0
        self._rolled = place.empty(self._shape) if route.settings.jitter else None
        self._roll = roll(size, place.aide) if route.settings.jitter else None
        row_of = check(size, objective.layers, place.aide)
        read = {"losses": self._losses, "gradient": self._gradient}
        self._row_checks = [row_of.bind(read, row) for row in self._rows]
        self._update = GraphUpdate(route.settings, route.limits, size, place.aide, route.mask, route.colours)
        self._gradients: dict[int, Bound] = {}
        self._updates: dict[tuple[int, int, int], Bound] = {}

    @property
    def patience(self) -> int:
        return len(self._rows)

    def evaluate(self, shift: Shift) -> None:
        at = self._image
        if self._roll and self._rolled:
            self._roll.bind({"image": self._images[at], **roll_inputs(shift, self._size)}, self._rolled).run()
        gradient = self._gradients.get(at) or self._bind_gradient(at)
        gradient.run()
        self._row_checks[self._waiting].run()
        self._waiting += 1
        self._evaluated, self._shift = at, shift

    def update(self, number: int) -> None:
        key = self._image, self._next_image(), self._side
        update = self._updates.get(key) or self._bind_update(key)
        if self._update.changes:
            update.feed(self._update.inputs(number, self._shift))
        update.run()
        self._image, self._side = key[1], 1 - self._side

    def rows(self) -> list[Array]:
        found = [np.array(row.fetch()[0]) for row in self._rows[: self._waiting]]
        self._waiting = 0
        return found

    def keep(self) -> None:
        self._kept = self._evaluated

    def kept(self) -> Array | None:
        return None if self._kept is None else self._images[self._kept].fetch()[0]

    def arrays(self) -> tuple[Array, list[Array]]:
        return self._images[self._image].fetch()[0], [slot.fetch()[0] for slot in self._slots[self._side]]

    def _bind_gradient(self, at: int) -> Bound:
        image = self._rolled or self._images[at]
        self._gradients[at] = self._objective.bind(image, self._losses, self._gradient)
        return self._gradients[at]

    def _bind_update(self, key: tuple[int, int, int]) -> Bound:
        old, new, side = key
        outputs = [self._images[new], *self._slots[1 - side]]
        self._updates[key] = self._update.bind(self._images[old], self._gradient, self._slots[side], outputs)
        return self._updates[key]

    def _next_image(self) -> int:
        """One that is neither the image nor held on to: the second, or a third where rows may wait."""
        for at in range(len(self._images)):
            if at not in (self._image, self._kept):
                return at
        self._images.append(self._place.empty(self._shape))
        return len(self._images) - 1


class HostClimb:
    """With an image of any size, on the host; moves the image and the slots that it is given."""

    patience = 1

    def __init__(self, route: Route, image: Array, slots: list[Array]) -> None:
        self._objective = route.objective
        self._update = Update(route.settings, route.limits, route.colours)
        self._mask = route.mask
        self._image = image
        self._slots = slots
        self._gradient: Array | None = None
        self._rows: list[Array] = []

    def evaluate(self, shift: Shift) -> None:
        losses, gradient = self._objective.evaluate(_rolled(self._image, shift))
        self._rows.append(np.append(losses, gradient.sum()))
        self._gradient = _rolled(gradient, (-shift[0], -shift[1]))

    def update(self, number: int) -> None:
        assert self._gradient is not None
        self._update.apply(self._image, self._gradient, self._slots, number, self._mask)
        self._gradient = None

    def rows(self) -> list[Array]:
        found, self._rows = self._rows, []
        return found

    def keep(self) -> None:  # memory is scarce where an image is cut into tiles
        pass

    def kept(self) -> Array | None:
        return None

    def arrays(self) -> tuple[Array, list[Array]]:
        return self._image, self._slots


def new_climb(route: Route, image: Array, slots: list[Array]) -> Climb:
    """The climb for an image of that size. Raises what it raises."""
    whole = route.objective.is_whole((image.shape[1], image.shape[2]))
    return (PlacedClimb if whole else HostClimb)(route, image, slots)


def _rolled(image: Array, shift: Shift) -> Array:
    return np.roll(image, shift, axis=(1, 2)) if any(shift) else image
