"""The way up within one octave: where its image and what the optimizer remembers lie, and what moves them.

An image in one piece stays where its gradient is computed; one that memory cuts into tiles stays on the host, where it
takes least. Neither way judges losses: they are rows [layers + 1], their last value finite where the gradient is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...models.arrays import Floats, Image, size_of
from ..provider.tensors import BoundSession, Device
from ..settings.settings import Settings
from .evaluator import Evaluator
from .parts.part import Limits
from .update import Update
from .update_graph import GraphUpdate, Shift, loss_row, roll, roll_inputs


@dataclass(frozen=True)
class StepConfig:
    """What a climb goes by; `mask` is float32 [height, width], `colours` the matrix of settings that have one."""

    evaluator: Evaluator
    settings: Settings
    limits: Limits
    mask: Floats | None = None
    colours: Floats | None = None


class Stepper(Protocol):
    """An octave's image on its way. Where a method raises ComputationError the image is as it was before."""

    @property
    def fetch_interval(self) -> int:
        """How many evaluations' rows may wait to be asked for."""

    def evaluate(self, shift: Shift) -> None:
        """Computes the losses and the gradient of the image rolled by a shift."""

    def update(self, number: int) -> None:
        """Moves the image by the last evaluation's gradient; `number` counts the octave's updates from 1."""

    def rows(self) -> list[Floats]:
        """Those of every evaluation since they were last asked for."""

    def keep(self) -> None:
        """Holds on to the image last evaluated, where there is room for it."""

    def kept(self) -> Image | None:
        """The image held on to, CHW, on the host."""

    def arrays(self) -> tuple[Image, list[Image]]:
        """The image and the slots, CHW, on the host: the memory itself where they lie there."""


class DeviceStepper:
    """With an image in one piece, in its machine's memory. On the host, the image and the slots given become its own.

    What is computed is bound to the tensors it reads and writes once, and then run again at each step. Raises
    ProviderError, ComputationError and BundleError.
    """

    def __init__(self, step_config: StepConfig, image: Image, slots: list[Image]) -> None:
        evaluator = step_config.evaluator
        size, self._shape = size_of(image), (1, *image.shape)
        self._evaluator, self._size = evaluator, size
        self._device = device = Device(evaluator.machine)
        # The image is one of these, the one held on to another; which one is told by its place in the list.
        self._images = [device.tensor(image[None])]
        self._image = self._evaluated = 0
        self._kept: int | None = None
        # The slots as they are, and those that the next update writes.
        self._slots = [device.tensor(slot[None]) for slot in slots], [device.empty(self._shape) for _ in slots]
        self._side = 0
        self._gradient = device.empty(self._shape)
        self._losses = device.empty((1, evaluator.layers))
        self._rows = [device.empty((1, evaluator.layers + 1)) for _ in range(device.fetch_interval)]
        self._waiting = 0
        self._shift = 0, 0
        self._rolled = device.empty(self._shape) if step_config.settings.jitter else None
        self._roll = roll(size, device.native_machine) if step_config.settings.jitter else None
        row_of = loss_row(size, evaluator.layers, device.native_machine)
        read = {"losses": self._losses, "gradient": self._gradient}
        self._row_checks = [row_of.bind(read, row) for row in self._rows]
        self._update = GraphUpdate(
            step_config.settings, step_config.limits, size, device.native_machine, step_config.mask, step_config.colours
        )
        self._gradients: dict[int, BoundSession] = {}
        self._updates: dict[tuple[int, int, int], BoundSession] = {}

    @property
    def fetch_interval(self) -> int:
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

    def rows(self) -> list[Floats]:
        found = [np.array(row.fetch()[0]) for row in self._rows[: self._waiting]]
        self._waiting = 0
        return found

    def keep(self) -> None:
        self._kept = self._evaluated

    def kept(self) -> Image | None:
        return None if self._kept is None else self._images[self._kept].fetch()[0]

    def arrays(self) -> tuple[Image, list[Image]]:
        return self._images[self._image].fetch()[0], [slot.fetch()[0] for slot in self._slots[self._side]]

    def _bind_gradient(self, at: int) -> BoundSession:
        image = self._rolled or self._images[at]
        self._gradients[at] = self._evaluator.bind(image, self._losses, self._gradient)
        return self._gradients[at]

    def _bind_update(self, key: tuple[int, int, int]) -> BoundSession:
        old, new, side = key
        outputs = [self._images[new], *self._slots[1 - side]]
        self._updates[key] = self._update.bind(self._images[old], self._gradient, self._slots[side], outputs)
        return self._updates[key]

    def _next_image(self) -> int:
        """One that is neither the image nor held on to: the second, or a third where rows may wait."""
        for at in range(len(self._images)):
            if at not in (self._image, self._kept):
                return at
        self._images.append(self._device.empty(self._shape))
        return len(self._images) - 1


class HostStepper:
    """With an image of any size, on the host; moves the image and the slots that it is given."""

    fetch_interval = 1

    def __init__(self, step_config: StepConfig, image: Image, slots: list[Image]) -> None:
        self._evaluator = step_config.evaluator
        self._update = Update(step_config.settings, step_config.limits, step_config.colours)
        self._mask = step_config.mask
        self._image = image
        self._slots = slots
        self._gradient: Image | None = None
        self._rows: list[Floats] = []

    def evaluate(self, shift: Shift) -> None:
        losses, gradient = self._evaluator.evaluate(_rolled(self._image, shift))
        self._rows.append(np.append(losses, gradient.sum()))
        self._gradient = _rolled(gradient, (-shift[0], -shift[1]))

    def update(self, number: int) -> None:
        assert self._gradient is not None
        self._update.apply(self._image, self._gradient, self._slots, number, self._mask)
        self._gradient = None

    def rows(self) -> list[Floats]:
        found, self._rows = self._rows, []
        return found

    def keep(self) -> None:  # memory is scarce where an image is cut into tiles
        pass

    def kept(self) -> Image | None:
        return None

    def arrays(self) -> tuple[Image, list[Image]]:
        return self._image, self._slots


def new_stepper(step_config: StepConfig, image: Image, slots: list[Image]) -> Stepper:
    """The climb for an image of that size. Raises what it raises."""
    whole = step_config.evaluator.is_whole(size_of(image))
    return (DeviceStepper if whole else HostStepper)(step_config, image, slots)


def _rolled(image: Image, shift: Shift) -> Image:
    return np.roll(image, shift, axis=(1, 2)) if any(shift) else image
