"""One step of gradient ascent: from an image and its gradient to the next image, in place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .regularizers import total_variation_slope
from .settings import GradientNorm, Settings
from .smoothing import blurred, laplacian_normalized

Array = NDArray[np.float32]

# TensorFlow's tutorial divides by std + 1e-8.
_EPSILON = 1e-8
_ADAM_DECAY, _ADAM_EPSILON = 0.999, 1e-8
# How many arrays an optimizer remembers.
_SLOTS = {"plain": 0, "momentum": 1, "adam": 2}
# Values reduced at once, so that a norm takes no memory to speak of.
_BLOCK = 2**20


@dataclass(frozen=True)
class Update:
    """x <- clip(x + step_size * direction), eq. 2 of the paper with a scaled gradient.

    The direction is the gradient, smoothed, divided by its norm, less what the regularisers pull; with momentum the
    running sum of such directions (heavy ball), with Adam their running mean by their running size (Kingma and Ba
    2015). Norms: standard deviation (TensorFlow's tutorial), root mean square (`l2`, so that a step size means the same
    at every picture size), mean absolute value (Caffe's deepdream), or 1.
    """

    settings: Settings
    limits: tuple[float, float]

    @property
    def slots(self) -> int:
        """How many arrays the optimizer remembers."""
        return _SLOTS[self.settings.optimizer]

    def new_slots(self, image: Array) -> list[Array]:
        """What the optimizer remembers from step to step, before the first."""
        return [np.zeros_like(image) for _ in range(self.slots)]

    def apply(self, image: Array, gradient: Array, slots: list[Array], number: int, mask: Array | None = None) -> None:
        """Moves the image, CHW, and the slots in place; may overwrite the gradient. `number` counts from 1."""
        direction = self._direction(image, gradient)
        if self.settings.optimizer == "momentum":
            direction = _accelerated(direction, slots[0], self.settings.momentum)
        elif self.settings.optimizer == "adam":
            direction = _adapted(direction, slots, self.settings.momentum, number)
        direction *= np.float32(self.settings.step_size)
        if mask is not None:
            direction *= mask
        image += direction
        if self.settings.clip:
            np.clip(image, *self.limits, out=image)

    def _direction(self, image: Array, gradient: Array) -> Array:
        if self.settings.blur:
            gradient = blurred(gradient, self.settings.blur)
        if self.settings.laplacian:
            gradient = laplacian_normalized(gradient, self.settings.laplacian)
        if self.settings.gradient_norm != "none":
            gradient *= np.float32(1 / norm(gradient, self.settings.gradient_norm))
        if self.settings.tv:
            gradient -= np.float32(self.settings.tv) * total_variation_slope(image)
        if self.settings.l2:
            gradient -= np.float32(self.settings.l2) * (image - np.float32(sum(self.limits) / 2))
        return gradient


def norm(gradient: Array, kind: GradientNorm) -> float:
    """What a gradient is divided by; never 0."""
    flat = gradient.reshape(-1)
    blocks = [flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK)]
    if kind == "mean-abs":
        return sum(float(np.abs(block).sum(dtype=np.float64)) for block in blocks) / flat.size + _EPSILON
    mean = sum(float(block.sum(dtype=np.float64)) for block in blocks) / flat.size if kind == "std" else 0.0
    squares = sum(float(np.square(block - np.float32(mean)).sum(dtype=np.float64)) for block in blocks)
    return float(np.sqrt(squares / flat.size)) + _EPSILON


def _accelerated(direction: Array, velocity: Array, momentum: float) -> Array:
    velocity *= np.float32(momentum)
    velocity += direction
    return np.array(velocity)


def _adapted(direction: Array, slots: list[Array], momentum: float, number: int) -> Array:
    mean, square = slots
    mean += np.float32(1 - momentum) * (direction - mean)
    square += np.float32(1 - _ADAM_DECAY) * (direction * direction - square)
    size = np.sqrt(square / np.float32(1 - _ADAM_DECAY**number))
    adapted: Array = mean / np.float32(1 - momentum**number) / (size + np.float32(_ADAM_EPSILON))
    return adapted
