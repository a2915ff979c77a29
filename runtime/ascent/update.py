"""One update of gradient ascent in numpy: moves an image along its gradient, in place and with little memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...models.arrays import Floats, Image
from ..settings.settings import Settings
from .parts.blur import BLUR
from .parts.colours import COLOURS
from .parts.laplacian import LAPLACIAN
from .parts.norm import NORM
from .parts.optimizers import ADAM, MOMENTUM
from .parts.part import Limits, Part, UpdateContext
from .parts.pulls import L2, STAY
from .parts.step import STEP
from .parts.tv import TV

# All parts that an update may consist of, in order. Each exists twice, for numpy here and as a graph for
# `update_graph`. The arrays that an update keeps and the memory that it takes follow from this table as well.
PARTS: tuple[Part, ...] = (BLUR, LAPLACIAN, COLOURS, NORM, TV, L2, MOMENTUM, ADAM, STAY, STEP)


def parts_of(settings: Settings) -> tuple[Part, ...]:
    """Returns the parts of an update with these settings, in order."""
    return tuple(part for part in PARTS if part.is_wanted(settings))


def slot_count(settings: Settings) -> int:
    """Returns the number of arrays that the optimizer keeps from step to step."""
    return sum(part.slots for part in parts_of(settings))


def shares_slots(settings: Settings, other: Settings) -> bool:
    """Whether an update with either settings keeps the same arrays, so that one continues with those of the other."""
    return _keepers(settings) == _keepers(other)


def new_slots(settings: Settings, image: Image) -> list[Image]:
    """Returns the arrays that the optimizer keeps, before the first step: zeros of the image's shape."""
    return [np.zeros_like(image) for _ in range(slot_count(settings))]


def _keepers(settings: Settings) -> list[str]:
    return [part.name for part in parts_of(settings) if part.slots]


@dataclass(frozen=True)
class Update:
    """The update x <- clip(x + step_size * direction): eq. 2 of the paper with a scaled gradient.

    The direction is the gradient after all other parts: it is smoothed, multiplied by the colour matrix and divided by
    its norm, the gradients of the regularisers are subtracted, the optimizer accumulates it, and the pull towards the
    original is subtracted. `limits` are the lowest and the highest value of an image; `colours` is the colour matrix,
    float32 [3, 3], or None without one. The slots were new after `slots_after` updates of the octave.
    """

    settings: Settings
    limits: Limits
    colours: Floats | None = field(default=None, repr=False)
    slots_after: int = 0

    def apply(
        self,
        image: Image,
        gradient: Image,
        slots: list[Image],
        number: int,
        mask: Floats | None = None,
        base: Image | None = None,
    ) -> None:
        """Updates the image and the slots in place, and may overwrite the gradient.

        `number` counts the octave's updates from 1; `mask` is float32 [height, width], from 0 (stays) to 1 (moves).
        `base` is the undreamed image, which the setting `stay` needs.
        """
        direction, first = gradient, 0
        for part in parts_of(self.settings):
            own = slots[first : first + part.slots]
            context = UpdateContext(
                self.settings, self.limits, image, own, number, mask, self.colours, base, self.slots_after
            )
            direction = part.by_numpy(direction, context)
            first += part.slots
