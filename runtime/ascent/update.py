"""One step of gradient ascent: from an image and its gradient to the next image, in place, in little memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...models.arrays import Floats, Image
from ..settings.settings import Settings
from .parts.adam import ADAM
from .parts.blur import BLUR
from .parts.colours import COLOURS
from .parts.l2 import L2
from .parts.laplacian import LAPLACIAN
from .parts.momentum import MOMENTUM
from .parts.norm import NORM
from .parts.part import Limits, Part, UpdateContext
from .parts.step import STEP
from .parts.tv import TV

# All that an update may consist of, in its order. It is done in two ways, by numpy here and as a graph in
# `update_graph`; what it remembers, and the memory it takes, follows from this table too.
PARTS: tuple[Part, ...] = (BLUR, LAPLACIAN, COLOURS, NORM, TV, L2, MOMENTUM, ADAM, STEP)


def parts_of(settings: Settings) -> tuple[Part, ...]:
    """What an update consists of with these settings, in its order."""
    return tuple(part for part in PARTS if part.is_wanted(settings))


def slots_of(settings: Settings) -> int:
    """How many arrays the optimizer remembers from step to step."""
    return sum(part.slots for part in parts_of(settings))


def new_slots(settings: Settings, image: Image) -> list[Image]:
    """What the optimizer remembers before the first step."""
    return [np.zeros_like(image) for _ in range(slots_of(settings))]


@dataclass(frozen=True)
class Update:
    """x <- clip(x + step_size * direction), eq. 2 of the paper with a scaled gradient.

    The direction is the gradient after all other parts, one after the other: smoothed, its colours multiplied by a
    matrix, divided by its norm, less what the regularisers pull, and gathered up by the optimizer. `colours` is the
    matrix, float32 [3, 3], of settings that have one.
    """

    settings: Settings
    limits: Limits
    colours: Floats | None = None

    def apply(self, image: Image, gradient: Image, slots: list[Image], number: int, mask: Floats | None = None) -> None:
        """Moves the image, CHW, and the slots in place; may overwrite the gradient. `number` counts from 1."""
        direction, first = gradient, 0
        for part in parts_of(self.settings):
            own = slots[first : first + part.slots]
            context = UpdateContext(self.settings, self.limits, image, own, number, mask, self.colours)
            direction = part.by_numpy(direction, context)
            first += part.slots
