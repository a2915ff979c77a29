"""One step of gradient ascent: from an image and its gradient to the next image, in place, in little memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..settings.colours import multiplied, parse_colours
from ..settings.schedule import largest, scheduled
from ..settings.settings import GradientNorm, Settings
from .regularizers import total_variation_slope
from .smoothing import blurred, laplacian_normalized

Array = NDArray[np.float32]
Limits = tuple[float, float]

# All that an update may consist of, in its order. It is done in two ways, by numpy here and by graphs in
# `graph_update`; each has a table with all of these.
Part = Literal["blur", "laplacian", "colours", "norm", "tv", "l2", "momentum", "adam", "step"]

# TensorFlow's tutorial divides by std + 1e-8.
NORM_EPSILON = 1e-8
ADAM_DECAY, ADAM_EPSILON = 0.999, 1e-8
# How many arrays an optimizer remembers.
_SLOTS = {"plain": 0, "momentum": 1, "adam": 2}
# Values reduced at once, so that a norm takes no memory to speak of.
_BLOCK = 2**20


def parts_of(settings: Settings) -> tuple[Part, ...]:
    """What an update consists of with these settings, in its order."""
    wanted: dict[Part, bool] = {
        "blur": largest(settings.blur) > 0,
        "laplacian": settings.laplacian > 0,
        "colours": parse_colours(settings.colours).have_matrix,
        "norm": settings.gradient_norm != "none",
        "tv": settings.tv > 0,
        "l2": settings.l2 > 0,
        "momentum": settings.optimizer == "momentum",
        "adam": settings.optimizer == "adam",
        "step": True,
    }
    return tuple(part for part, is_wanted in wanted.items() if is_wanted)


def slots_of(settings: Settings) -> int:
    """How many arrays the optimizer remembers from step to step."""
    return _SLOTS[settings.optimizer]


def new_slots(settings: Settings, image: Array) -> list[Array]:
    """What the optimizer remembers before the first step."""
    return [np.zeros_like(image) for _ in range(slots_of(settings))]


def middle_of(limits: Limits) -> float:
    """Where the pull of L2 leads to."""
    return sum(limits) / 2


def adam_weights(settings: Settings, number: int) -> tuple[float, float]:
    """What Adam divides its running means by at an octave's update, counted from 1, so that they are unbiased."""
    return 1 - settings.momentum**number, 1 - ADAM_DECAY**number


@dataclass
class Moment:
    """An update on its way: what each part reads, and what it changes in place."""

    image: Array
    slots: list[Array]
    number: int
    mask: Array | None


@dataclass(frozen=True)
class Update:
    """x <- clip(x + step_size * direction), eq. 2 of the paper with a scaled gradient.

    The direction is the gradient, smoothed, multiplied by the matrix of `colours` (float32 [3, 3]) where the settings
    have one, divided by its norm, less what the regularisers pull; with momentum the
    running sum of such directions (heavy ball), with Adam their running mean by their running size (Kingma and Ba
    2015). Norms: standard deviation (TensorFlow's tutorial), root mean square (`l2`, so that a step size means the same
    at every picture size), mean absolute value (Caffe's deepdream), or 1.
    """

    settings: Settings
    limits: Limits
    colours: Array | None = None

    def apply(self, image: Array, gradient: Array, slots: list[Array], number: int, mask: Array | None = None) -> None:
        """Moves the image, CHW, and the slots in place; may overwrite the gradient. `number` counts from 1."""
        moment, direction = Moment(image, slots, number, mask), gradient
        for part in parts_of(self.settings):
            direction = PARTS[part](self, direction, moment)

    def _blur(self, direction: Array, moment: Moment) -> Array:
        return blurred(direction, scheduled(self.settings.blur, moment.number, self.settings.steps))

    def _laplacian(self, direction: Array, _: Moment) -> Array:
        return laplacian_normalized(direction, self.settings.laplacian)

    def _colours(self, direction: Array, _: Moment) -> Array:
        assert self.colours is not None
        return multiplied(direction, self.colours)

    def _norm(self, direction: Array, _: Moment) -> Array:
        direction *= np.float32(1 / norm(direction, self.settings.gradient_norm))
        return direction

    def _tv(self, direction: Array, moment: Moment) -> Array:
        direction -= np.float32(self.settings.tv) * total_variation_slope(moment.image)
        return direction

    def _l2(self, direction: Array, moment: Moment) -> Array:
        direction -= np.float32(self.settings.l2) * (moment.image - np.float32(middle_of(self.limits)))
        return direction

    def _momentum(self, direction: Array, moment: Moment) -> Array:
        (velocity,) = moment.slots
        velocity *= np.float32(self.settings.momentum)
        velocity += direction
        return np.array(velocity)

    def _adam(self, direction: Array, moment: Moment) -> Array:
        mean, square = moment.slots
        mean += np.float32(1 - self.settings.momentum) * (direction - mean)
        square += np.float32(1 - ADAM_DECAY) * (direction * direction - square)
        mean_weight, square_weight = adam_weights(self.settings, moment.number)
        size = np.sqrt(square / np.float32(square_weight))
        adapted: Array = mean / np.float32(mean_weight) / (size + np.float32(ADAM_EPSILON))
        return adapted

    def _step(self, direction: Array, moment: Moment) -> Array:
        direction *= np.float32(scheduled(self.settings.step_size, moment.number, self.settings.steps))
        if moment.mask is not None:
            direction *= moment.mask
        moment.image += direction
        if self.settings.clip:
            np.clip(moment.image, *self.limits, out=moment.image)
        return direction


PARTS: dict[Part, Callable[[Update, Array, Moment], Array]] = {
    "blur": Update._blur,
    "laplacian": Update._laplacian,
    "colours": Update._colours,
    "norm": Update._norm,
    "tv": Update._tv,
    "l2": Update._l2,
    "momentum": Update._momentum,
    "adam": Update._adam,
    "step": Update._step,
}


def norm(gradient: Array, kind: GradientNorm) -> float:
    """What a gradient is divided by; never 0."""
    flat = gradient.reshape(-1)
    blocks = [flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK)]
    if kind == "mean-abs":
        return sum(float(np.abs(block).sum(dtype=np.float64)) for block in blocks) / flat.size + NORM_EPSILON
    mean = sum(float(block.sum(dtype=np.float64)) for block in blocks) / flat.size if kind == "std" else 0.0
    squares = sum(float(np.square(block - np.float32(mean)).sum(dtype=np.float64)) for block in blocks)
    return float(np.sqrt(squares / flat.size)) + NORM_EPSILON
