"""The reference that a bundle is compared with: TensorFlow's GradientTape on the stock, unfolded Keras model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..models.arrays import Floats
from ..models.preprocessing import UNCHANGED, Preprocessing
from .network import Network

# Picture [height, width, 3] -> the sum of its losses and the gradient of the sum [height, width, 3].
LossAndGradient = Callable[[Floats], tuple[float, Floats]]


class Expected(NamedTuple):
    """What TensorFlow computes for a picture, all float64.

    `losses` are [layers] and `gradients` [layers, height, width, 3]. `magnitudes` are the losses of the absolute values
    of the layers' activations, [layers], without channel weights: what the losses' rounding errors are relative to.
    """

    losses: NDArray[np.float64]
    magnitudes: NDArray[np.float64]
    gradients: NDArray[np.float64]


def preprocessed(image: Any, preprocessing: Preprocessing) -> Any:
    """Returns a network's input for images [..., 3] from -1 to 1, NumPy's or TensorFlow's."""
    scaled = image * np.array(preprocessing.scale, np.float32) + np.array(preprocessing.offset, np.float32)
    return scaled[..., ::-1] if preprocessing.is_bgr else scaled


@dataclass(frozen=True)
class ReferenceModel:
    """A stock Keras model with losses of its layers; pictures are float32 NHWC from -1 to 1, of any size.

    `objective` is mean or l2. `border` is the number of rows and columns at each edge of a layer that its loss ignores.
    """

    model: Any
    layers: tuple[str, ...]
    objective: str
    border: int = 0
    preprocessing: Preprocessing = UNCHANGED

    @cached_property
    def _network(self) -> Network:
        return Network.of(self.model)

    @property
    def channels(self) -> tuple[int, ...]:
        """The number of channels of each layer."""
        return tuple(self._network.call(layer).channels for layer in self.layers)

    def _activations(self, image: Any) -> list[Any]:
        """Returns the layers' activations for images, NHWC."""
        return self._network.run(preprocessed(image, self.preprocessing), self.layers)

    def losses_and_gradients(
        self,
        picture: Floats,
        channel_weights: list[Floats] | None = None,
        positions: Sequence[tuple[float, float, float]] | None = None,
    ) -> Expected:
        """Computes the losses of a picture [height, width, 3] and their gradients with TensorFlow.

        `channel_weights` holds for each layer the weights of its channels' means, [channels]; without them, a loss is
        the layer's mean. `positions` holds y, x and radius of each layer's window; without them, all neurons count
        alike.
        """
        image = tf.constant(picture[None])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(image)
            activations = self._activations(image)
            if positions:
                activations = [_windowed(a, p, self.objective) for a, p in zip(activations, positions, strict=True)]
            weights: list[Any] = [None] * len(activations) if channel_weights is None else [*channel_weights]
            losses = [self._loss(a, w) for a, w in zip(activations, weights, strict=True)]
        gradients = [tape.gradient(loss, image).numpy()[0] for loss in losses]
        return Expected(
            np.array([float(loss) for loss in losses]),
            np.array([float(self._loss(tf.abs(activation), None)) for activation in activations]),
            np.stack(gradients).astype(np.float64),
        )

    @cached_property
    def loss_and_gradient(self) -> LossAndGradient:
        """A compiled function for the sum of all losses and its gradient; fast for many pictures of one size."""

        @tf.function
        def compiled(image: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                tape.watch(image)
                total = tf.add_n([self._loss(activation, None) for activation in self._activations(image)])
            return total, tape.gradient(total, image)

        def evaluate(picture: Floats) -> tuple[float, Floats]:
            total, gradient = compiled(tf.constant(picture[None]))
            return float(total), gradient.numpy()[0]

        return evaluate

    def _loss(self, activation: Any, channel_weights: Floats | None) -> Any:
        values = tf.square(activation) if self.objective == "l2" else activation
        inside = values[:, self.border : -self.border, self.border : -self.border] if self.border else values
        if channel_weights is not None:
            inside = inside * channel_weights * values.shape[-1]
        return tf.reduce_sum(inside) / tf.cast(tf.size(values), tf.float32)


def _windowed(activation: Any, position: tuple[float, float, float], objective: str) -> Any:
    """Returns activations, NHWC, weighted so that their objective is that of the Gaussian window at a position.

    Computed in float64 on the whole grid, not axis by axis. A layer without pixels has no position.
    """
    if activation.shape.rank != 4 or tuple(activation.shape[1:3]) == (1, 1):
        return activation
    height, width = activation.shape[1:3]
    y, x, radius = position
    down = np.arange(height)[:, None] + 0.5 - y * height
    right = np.arange(width)[None, :] + 0.5 - x * width
    squares = (down**2 + right**2) / (radius * min(height, width)) ** 2
    window = np.exp((squares.min() - squares) / 2)
    window /= window.mean()
    factor = np.sqrt(window) if objective == "l2" else window
    return activation * factor[None, :, :, None].astype(np.float32)
