"""Steppers: where an octave's image and the optimizer's slots are stored, and how a step is computed there.

An untiled image stays in the memory of the device that computes its gradient. An image that is cut into tiles stays on
the host, where the least memory is needed. Steppers do not judge losses: they return loss rows, float32 [layers + 1],
which are the losses and the sum of the gradient, finite if the gradient is.

Where the objective is a function of the channel means, a step takes the function's slope at the means of the step
before, so that it needs one evaluation as any other. An octave's first step computes the image's own means first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ...models.arrays import Floats, Image, size_of
from ..provider.tensors import BoundSession, Device
from ..settings.settings import Settings
from .evaluator import Evaluator
from .parts.part import Limits
from .update import Update
from .update_graph import GraphUpdate, Shift, compile_loss_row, compile_roll, roll_inputs


@dataclass(frozen=True)
class StepConfig:
    """What the steps of an octave depend on, besides the image and the slots.

    `mask` is float32 [height, width], from 0 (stays) to 1 (moves), `colours` the colour matrix, float32 [3, 3]; either
    may be None. `base` is the undreamed image, float32 [3, height, width], if `stay` needs it. `means_before` are the
    channel means, float32 [channels of all layers], at which the first step takes the slope of the objective's
    function; None computes the image's own. The slots were new after `slots_after` updates of the octave.
    """

    evaluator: Evaluator
    settings: Settings
    limits: Limits
    mask: Floats | None = field(default=None, repr=False)
    colours: Floats | None = field(default=None, repr=False)
    base: Image | None = field(default=None, repr=False)
    means_before: Floats | None = field(default=None, repr=False)
    slots_after: int = 0


class Stepper(Protocol):
    """Holds an octave's image and slots, and computes its steps.

    `means_before` are the channel means, float32 [channels of all layers], at which the last evaluation took the slope
    of the objective's function; None without a function. If a method raises ComputationError, the image is unchanged.
    """

    means_before: Floats | None

    @property
    def fetch_interval(self) -> int:
        """The number of evaluations after which loss rows must be fetched."""

    def evaluate(self, shift: Shift) -> None:
        """Computes the losses and the gradient of the image, rolled by a shift."""

    def update(self, number: int) -> None:
        """Moves the image along the gradient of the last evaluation; `number` counts the octave's updates from 1."""

    def fetch_loss_rows(self) -> list[Floats]:
        """Returns the loss rows, float32 [layers + 1], of all evaluations since the last call."""

    def keep_image(self) -> None:
        """Keeps the image of the last evaluation, to which a diverged run is rolled back, if there is memory for it."""

    def kept_image(self) -> Image | None:
        """Returns the image that was kept, on the host."""

    def arrays(self) -> tuple[Image, list[Image]]:
        """Returns the image and the slots on the host: the memory itself if they are stored there, else copies."""

    def fetch_means(self) -> Floats | None:
        """Returns the channel means of the last evaluation, float32 [channels of all layers], if the objective reads
        them."""


class DeviceStepper:
    """The stepper of an untiled image, in the memory of its device.

    On a CPU, the stepper takes over the arrays of the image and the slots. All computations are bound once to the
    tensors that they read and write, and then run again at each step. Raises ProviderError, ComputationError and
    BundleError.
    """

    def __init__(self, step_config: StepConfig, image: Image, slots: list[Image]) -> None:
        evaluator = step_config.evaluator
        size, self._shape = size_of(image), (1, *image.shape)
        self._evaluator, self._size = evaluator, size
        self._device = device = Device(evaluator.machine)
        # Images are referred to by their index in this list: the current one, the last evaluated, and the one kept.
        self._images = [device.tensor(image[None])]
        self._current = self._evaluated = 0
        self._kept: int | None = None
        # Two sets of slots: an update reads the set `_current_slots`, and writes the other one.
        self._slots = [device.tensor(slot[None]) for slot in slots], [device.empty(self._shape) for _ in slots]
        self._current_slots = 0
        self._gradient = device.empty(self._shape)
        self._losses = device.empty((1, evaluator.layer_count))
        self._function = evaluator.objective.function
        self._means = device.empty((1, evaluator.channel_count)) if evaluator.objective.reads_means else None
        self.means_before = step_config.means_before
        self._knows_means = False  # whether `_means` are those of this octave's image
        rows = device.fetch_interval if self._function is None else 1  # the means are fetched at every step anyway
        self._loss_rows = [device.empty((1, evaluator.layer_count + 1)) for _ in range(rows)]
        self._waiting = 0  # loss rows that have not been fetched
        self._shift = 0, 0
        self._rolled = device.empty(self._shape) if step_config.settings.jitter else None
        self._roll = compile_roll(size, device.native_machine) if step_config.settings.jitter else None
        loss_row = compile_loss_row(size, evaluator.layer_count, device.native_machine)
        read = {"losses": self._losses, "gradient": self._gradient}
        self._bound_loss_rows = [loss_row.bind(read, row) for row in self._loss_rows]
        self._update = GraphUpdate(
            step_config.settings,
            step_config.limits,
            size,
            device.native_machine,
            step_config.mask,
            step_config.colours,
            step_config.slots_after,
        )
        self._base = None if step_config.base is None else device.tensor(step_config.base[None])
        self._bound_gradients: dict[int, BoundSession] = {}
        self._bound_updates: dict[tuple[int, int, int], BoundSession] = {}

    @property
    def fetch_interval(self) -> int:
        return len(self._loss_rows)

    def evaluate(self, shift: Shift) -> None:
        index = self._current
        if self._roll and self._rolled:
            self._roll.bind({"image": self._images[index], **roll_inputs(shift, self._size)}, self._rolled).run()
        gradient = self._bound_gradients.get(index) or self._bind_gradient(index)
        if self._function is not None:
            gradient.feed(self._evaluator.weights_at(self._slope_means(gradient)))
        gradient.run()
        self._knows_means = True
        self._bound_loss_rows[self._waiting].run()
        self._waiting += 1
        self._evaluated, self._shift = index, shift

    def update(self, number: int) -> None:
        following = self._next_image()
        key = self._current, following, self._current_slots
        update = self._bound_updates.get(key) or self._bind_update(key)
        if self._update.needs_inputs:
            update.feed(self._update.inputs(number, self._shift))
        update.run()
        self._current, self._current_slots = following, 1 - self._current_slots

    def fetch_loss_rows(self) -> list[Floats]:
        found = [np.array(row.fetch()[0]) for row in self._loss_rows[: self._waiting]]
        self._waiting = 0
        means = self.fetch_means()
        if self._function is not None and means is not None:
            for row in found:
                row[:-1] = self._function.values(means)
        return found

    def keep_image(self) -> None:
        self._kept = self._evaluated

    def kept_image(self) -> Image | None:
        return None if self._kept is None else self._images[self._kept].fetch()[0]

    def arrays(self) -> tuple[Image, list[Image]]:
        return self._images[self._current].fetch()[0], [slot.fetch()[0] for slot in self._slots[self._current_slots]]

    def fetch_means(self) -> Floats | None:
        return None if self._means is None else self._means.fetch()[0].copy()

    def _slope_means(self, gradient: BoundSession) -> Floats:
        """Returns the means at which this evaluation takes the slope: those of the evaluation before it, if any."""
        if self._knows_means:
            self.means_before = self.fetch_means()
        elif self.means_before is None:
            gradient.run()
            self.means_before = self.fetch_means()
        assert self.means_before is not None
        return self.means_before

    def _bind_gradient(self, index: int) -> BoundSession:
        image = self._rolled or self._images[index]
        self._bound_gradients[index] = self._evaluator.bind(image, self._losses, self._gradient, self._means)
        return self._bound_gradients[index]

    def _bind_update(self, key: tuple[int, int, int]) -> BoundSession:
        """Binds an update from one image to another, given the index of the slots that it reads."""
        old, new, read = key
        outputs = [self._images[new], *self._slots[1 - read]]
        self._bound_updates[key] = self._update.bind(
            self._images[old], self._gradient, self._slots[read], outputs, self._base
        )
        return self._bound_updates[key]

    def _next_image(self) -> int:
        """Returns the index of an image that may be overwritten: neither the current nor the kept one.

        Two images are enough while the kept image is the current one. When loss rows wait, it is an earlier one, and a
        third is needed.
        """
        for index in range(len(self._images)):
            if index not in (self._current, self._kept):
                return index
        self._images.append(self._device.empty(self._shape))
        return len(self._images) - 1


class HostStepper:
    """The stepper of an image of any size on the host. It changes the arrays of the image and the slots in place."""

    fetch_interval = 1

    def __init__(self, step_config: StepConfig, image: Image, slots: list[Image]) -> None:
        self._evaluator = step_config.evaluator
        self._update = Update(step_config.settings, step_config.limits, step_config.colours, step_config.slots_after)
        self._mask = step_config.mask
        self._base = step_config.base
        self._function = step_config.evaluator.objective.function
        self._means: Floats | None = None
        self.means_before = step_config.means_before
        self._image = image
        self._slots = slots
        self._gradient: Image | None = None
        self._loss_rows: list[Floats] = []

    def evaluate(self, shift: Shift) -> None:
        image = _roll(self._image, shift)
        if self._function is not None and self._means is not None:
            self.means_before = self._means
        elif self._function is not None and self.means_before is None:
            self.means_before = self._evaluator.evaluate_at(image, None).means
        losses, gradient, self._means = self._evaluator.evaluate_at(image, self.means_before)
        self._loss_rows.append(np.append(losses, gradient.sum()))
        self._gradient = _roll(gradient, (-shift[0], -shift[1]))

    def update(self, number: int) -> None:
        assert self._gradient is not None
        self._update.apply(self._image, self._gradient, self._slots, number, self._mask, self._base)
        self._gradient = None

    def fetch_loss_rows(self) -> list[Floats]:
        found, self._loss_rows = self._loss_rows, []
        return found

    def keep_image(self) -> None:  # an image is cut into tiles because memory is scarce
        pass

    def kept_image(self) -> Image | None:
        return None

    def arrays(self) -> tuple[Image, list[Image]]:
        return self._image, self._slots

    def fetch_means(self) -> Floats | None:
        return self._means


def new_stepper(step_config: StepConfig, image: Image, slots: list[Image]) -> Stepper:
    """Returns the stepper for an image of this size. Raises what the stepper raises."""
    whole = step_config.evaluator.is_whole(size_of(image))
    return (DeviceStepper if whole else HostStepper)(step_config, image, slots)


def _roll(image: Image, shift: Shift) -> Image:
    return np.roll(image, shift, axis=(1, 2)) if any(shift) else image
