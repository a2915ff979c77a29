"""One step of gradient ascent: from an image and its gradient to the next image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .settings import GradientNorm

Array = NDArray[np.float32]

# TensorFlow's tutorial divides by std + 1e-8.
_EPSILON = 1e-8

_NORMS: dict[GradientNorm, Callable[[Array], float]] = {
    "std": lambda gradient: float(gradient.std()),
    "l2": lambda gradient: float(np.sqrt(np.mean(np.square(gradient)))),
    "mean-abs": lambda gradient: float(np.mean(np.abs(gradient))),
}


@dataclass(frozen=True)
class Update:
    """x <- clip(x + step_size * gradient / norm), eq. 2 of the paper with a scaled gradient.

    The norm is the gradient's standard deviation (TensorFlow's tutorial), its root mean square (`l2`, so that a step
    size means the same at every picture size), its mean absolute value (Caffe's deepdream), or 1.
    """

    step_size: float
    gradient_norm: GradientNorm
    limits: tuple[float, float]

    def apply(self, image: Array, gradient: Array) -> Array:
        """The next image, float32 of the same shape, inside the limits."""
        scale = self.step_size
        if self.gradient_norm != "none":
            scale /= _NORMS[self.gradient_norm](gradient) + _EPSILON
        climbed: Array = image + np.float32(scale) * gradient
        return np.clip(climbed, *self.limits, out=climbed)
