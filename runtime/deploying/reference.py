"""The reference of a deployment: a picture with the losses and the gradient that a bundle computed on it.

A device computes them again and compares, so that a machine or a provider that computes wrongly is found.
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models import contract
from ...models.arrays import Image, Losses, Size
from ...models.decoding import decoded
from ..bundle.bundle import Bundle
from ..bundle.objective import Objective
from ..bundle.sessions import Session
from ..image.scaling import Scale
from ..provider.machine import Machine, usable_threads
from ..settings.settings import Precision

# In pixels: small, so that a deployment stays small, and with different sides, so that swapped sides are noticed.
_HEIGHT, _WIDTH = 64, 96
_MAX_SIDE = 4096
_MAX_LAYERS = 1000
# Added to a reference loss before an error is divided by it, so that a loss of 0 can be compared, too.
_ATOL = 1e-6


@dataclass(frozen=True)
class Tolerance:
    """How far a machine's results may differ from the reference.

    `loss_error` is the largest relative error |a - b| / |b| of a layer's loss, `cosine` the smallest cosine of the
    angle between the gradients.
    """

    loss_error: float
    cosine: float


# fp32 is as in the export's verification. Lower precisions need only keep the gradient's direction, which shapes a
# dream.
TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(1e-4, 0.9999),
    "mixed": Tolerance(2e-2, 0.98),
    "fp16": Tolerance(2e-2, 0.98),
    "bf16": Tolerance(5e-2, 0.95),
}


@dataclass(frozen=True)
class Agreement:
    """How far a machine's results differ: the largest relative error of a loss, and the cosine of the gradients."""

    loss_error: float
    cosine: float

    def meets(self, tolerance: Tolerance) -> bool:
        """Whether the difference is within a tolerance; False for NaN, too."""
        return self.loss_error <= tolerance.loss_error and self.cosine >= tolerance.cosine


@dataclass(frozen=True, eq=False)
class Reference:
    """A picture, uint8 [height, width, 3], and its losses and gradient with a weight of 1 for every layer."""

    picture: NDArray[np.uint8] = field(repr=False)
    losses: Losses = field(repr=False)
    gradient: Image = field(repr=False)

    @classmethod
    def of(cls, bundle: Bundle) -> Reference:
        """Computes the reference of a bundle with the CPU provider. Raises DreamError and BundleError."""
        smallest_height, smallest_width = bundle.metadata.smallest_size
        picture = _test_picture(max(_HEIGHT, smallest_height), max(_WIDTH, smallest_width))
        losses, gradient = _evaluate(bundle, picture, Machine("cpu", usable_threads(), bundle.precision))
        return cls(picture, losses, gradient)

    @classmethod
    def from_facts(cls, facts: Any) -> Reference:
        """Reads what `to_facts` returned. Raises ValueError for anything else."""
        read = decoded(_Facts, facts)
        (height, width), count = read.size, len(read.losses)
        if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE and 1 <= count <= _MAX_LAYERS):
            raise ValueError("a reference of an impossible size")
        with np.errstate(over="ignore"):
            losses = np.array(read.losses, np.float32)
        picture = _decoded_array(read.picture, np.dtype(np.uint8), (height, width, 3))
        gradient = _decoded_array(read.gradient, np.dtype("<f4"), (3, height, width))
        reference = cls(picture, losses, gradient)
        if not reference.is_sound():
            raise ValueError("a reference that nothing can agree with")
        return reference

    def to_facts(self) -> dict[str, Any]:
        """Returns the reference as plain data for JSON: arrays as base64, the gradient as little-endian float32."""
        return {
            "size": list(self.picture.shape[:2]),
            "losses": [float(loss) for loss in self.losses],
            "picture": base64.b64encode(self.picture.tobytes()).decode(),
            "gradient": base64.b64encode(self.gradient.astype("<f4").tobytes()).decode(),
        }

    def is_sound(self) -> bool:
        """Whether other results can be compared with it: it is finite, and its gradient is not zero."""
        return bool(np.isfinite(self.losses).all() and np.isfinite(self.gradient).all() and self.gradient.any())

    def agreement(self, bundle: Bundle, machine: Machine) -> Agreement:
        """Computes losses and gradient on a machine and compares them. Raises DreamError and BundleError."""
        losses, gradient = _evaluate(bundle, self.picture, machine)
        if losses.shape != self.losses.shape:
            return Agreement(math.inf, 0.0)
        errors = np.abs(losses.astype(np.float64) - self.losses) / (np.abs(self.losses) + _ATOL)
        ours, theirs = gradient.astype(np.float64).ravel(), self.gradient.astype(np.float64).ravel()
        norms = float(np.linalg.norm(ours) * np.linalg.norm(theirs))
        return Agreement(float(errors.max()), float(ours @ theirs) / norms if norms else 0.0)


@dataclass(frozen=True)
class _Facts:
    """The fields of a reference as they are written: height and width, the losses, and arrays as base64."""

    size: Size
    losses: tuple[float, ...]
    picture: str
    gradient: str


def _evaluate(bundle: Bundle, picture: NDArray[np.uint8], machine: Machine) -> tuple[Losses, Image]:
    """Returns the losses and the gradient of a picture, uint8 [height, width, 3], on a machine."""
    image = Scale.of(picture, 255.0, "backbone", contract.INPUT_RANGE).to_image(picture)
    height, width = picture.shape[:2]
    weights = np.ones(len(bundle.metadata.layers), np.float32)
    return Session(bundle, height, width, machine).evaluate(image, Objective(weights))


def _test_picture(height: int, width: int) -> NDArray[np.uint8]:
    """Returns waves of several lengths with noise, uint8 [height, width, 3]: a picture that activates every layer."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = [np.sin(x / 3 + y / 7), np.sin(y / 4 - x / 11), np.sin(np.hypot(x - width / 2, y - height / 2) / 2)]
    grain = np.random.default_rng(0).uniform(-1, 1, (height, width, 3))
    picture: NDArray[np.uint8] = (
        np.rint(127.5 + 90 * np.stack(waves, axis=2) + 35 * grain).clip(0, 255).astype(np.uint8)
    )
    return picture


def _decoded_array(text: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Returns an array of that dtype and shape from its bytes in base64. Raises ValueError."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("an array is not base64") from None
    return np.frombuffer(data, dtype).reshape(shape)
