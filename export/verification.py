"""The proof of a bundle: onnxruntime against TensorFlow's GradientTape on the stock, unfolded Keras model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime as ort
import tensorflow as tf
from numpy.typing import NDArray

from ..models import contract
from ..models.contract import Check
from .errors import VerificationError

MIXED_SIGNS, CHANNELS = "mixed signs", "channels"
_DRAWS = 3
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Stock:
    """The stock Keras model and what its layers' losses are: the reference that a bundle is held against."""

    model: Any
    layers: tuple[str, ...]
    objective: str
    border: int = 0

    @cached_property
    def _layers_model(self) -> Any:
        return keras.Model(self.model.input, [self.model.get_layer(layer).output for layer in self.layers])

    def losses_and_gradients(
        self, picture: Array, channel_weights: list[Array] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Losses [layers] and gradients [layers, height, width, 3] of a picture [height, width, 3], by TensorFlow.

        `channel_weights` are a layer's weights of its channels' means; without them a loss is the layer's mean.
        """
        image = tf.constant(picture[None])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(image)
            activations = self._layers_model(image, training=False)
            activations = activations if isinstance(activations, list) else [activations]
            weights: list[Any] = [None] * len(activations) if channel_weights is None else [*channel_weights]
            losses = [self._loss(a, w) for a, w in zip(activations, weights, strict=True)]
        gradients = [tape.gradient(loss, image).numpy()[0] for loss in losses]
        return np.array([float(loss) for loss in losses]), np.stack(gradients).astype(np.float64)

    def _loss(self, activation: Any, channel_weights: Array | None) -> Any:
        values = tf.square(activation) if self.objective == "l2" else activation
        inside = values[:, self.border : -self.border, self.border : -self.border] if self.border else values
        if channel_weights is not None:
            inside = inside * channel_weights * values.shape[-1]
        return tf.reduce_sum(inside) / tf.cast(tf.size(values), tf.float32)


@dataclass(frozen=True)
class _Sample:
    """A kind of picture to compare on; `draw` gives one, float32 [height, width, 3]. On a flat one rounding may
    decide a tie in a pooling."""

    name: str
    draw: Callable[[], Array]
    flat: bool = False


def verify(
    bundle: bytes,
    stock: Stock,
    smallest: int,
    input_range: tuple[float, float],
    on_check: Callable[[Check], None] = lambda check: None,
) -> tuple[Check, ...]:
    """Compares a bundle with the stock model and returns every comparison made. Raises VerificationError.

    The bars: loss |a - b| <= 1e-4 |b| + 1e-6; gradient cosine >= 0.9999 and norm within 0.1 %; on flat pictures
    cosine >= 0.99 and norm within 1 %.
    """
    session = _open(bundle)
    checks = []
    for sample in _samples(smallest, input_range):
        for check in _passing(session, stock, sample):
            checks.append(check)
            on_check(check)
    return tuple(checks)


def _open(bundle: bytes) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns of the input with a default, which the contract wants
    try:
        onnx.checker.check_model(bundle, full_check=True)
        return ort.InferenceSession(bundle, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # both raise kinds of their own
        raise _unsound(error) from error


def _run(session: Any, feed: dict[str, Array]) -> tuple[Array, Array]:
    """Losses [batch, layers] and gradient, NCHW, by the bundle."""
    try:
        losses, gradient = session.run([contract.LOSSES, contract.GRADIENT], feed)
    except Exception as error:  # onnxruntime raises kinds of its own
        raise _unsound(error) from error
    return losses, gradient


def _unsound(error: Exception) -> VerificationError:
    reason = str(error).strip().splitlines()[0]
    return VerificationError(f"the graph is no sound ONNX ({reason}); nothing is written, please report it")


def _passing(session: Any, stock: Stock, sample: _Sample) -> list[Check]:
    """The comparisons on the first picture that passes them all.

    On one noise picture in some dozens a pooling's or a ReLU's choice is so close that rounding decides it, and the
    gradient jumps; a wrong graph fails on every draw.
    """
    for _ in range(_DRAWS):
        compared = list(_compare(session, stock, sample))
        if all(passed for _, passed in compared):
            return [check for check, _ in compared]
    check = next(check for check, passed in compared if not passed)
    raise VerificationError(
        f"the graph disagrees with TensorFlow on {check.picture}, {check.climbed}: loss error "
        f"{check.loss_error:.2g}, gradient cosine {check.cosine:.6f}, norm ratio {check.norm_ratio:.4f}; "
        "nothing is written, please report it"
    )


def _samples(smallest: int, input_range: tuple[float, float]) -> Iterator[_Sample]:
    rng = np.random.default_rng(0)
    low, high = input_range

    def noise(height: int, width: int) -> Array:
        return rng.uniform(low, high, (height, width, 3)).astype(np.float32)

    def half_flat() -> Array:
        picture = noise(odd, even)
        picture[:, : even // 2] = low + 0.3 * (high - low)
        return picture

    even, odd = smallest + 20 + smallest % 2, smallest + 21 + smallest % 2
    for width, height in ((smallest, smallest), (odd, odd), (even + 32, even), (even, odd + 46)):
        yield _Sample(f"noise {width}x{height}", partial(noise, height, width))
    flat = np.full((even, odd, 3), low + 0.7 * (high - low), np.float32)
    yield _Sample(f"flat {odd}x{even}", lambda: flat, flat=True)
    yield _Sample(f"half flat {even}x{odd}", half_flat, flat=True)


def _compare(session: Any, stock: Stock, sample: _Sample) -> Iterator[tuple[Check, bool]]:
    """On a picture of that kind: one comparison per layer, one for all of them with weights of both signs, and one
    for all their channels with weights of both signs."""
    picture = sample.draw()
    image = np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
    one_hot = np.eye(len(stock.layers), dtype=np.float32)
    signs = np.array([(-1) ** i * (1 + 0.3 * i) for i in range(len(stock.layers))], np.float32)
    expected = stock.losses_and_gradients(picture)
    for climbed, weights in (*zip(stock.layers, one_hot, strict=True), (MIXED_SIGNS, signs)):
        feed = {contract.IMAGE: image, contract.LAYER_WEIGHTS: weights}
        yield _check(session, sample, climbed, feed, *expected)
    channels = _channel_weights(stock)
    feed = {contract.IMAGE: image, contract.LAYER_WEIGHTS: signs, contract.CHANNEL_WEIGHTS: np.concatenate(channels)}
    yield _check(session, sample, CHANNELS, feed, *stock.losses_and_gradients(picture, channels))


def _check(
    session: Any, sample: _Sample, climbed: str, feed: dict[str, Array], losses: Any, gradients: Any
) -> tuple[Check, bool]:
    """One comparison, and whether it is within the bars."""
    found, gradient = _run(session, feed)
    expected = np.tensordot(feed[contract.LAYER_WEIGHTS].astype(np.float64), gradients, 1)
    errors = np.abs(found[0] - losses)
    worst = int(np.argmax(errors / (np.abs(losses) + 1e-30)))
    cosine, ratio = _agreement(gradient[0].transpose(1, 2, 0), expected)
    check = Check(sample.name, climbed, float(errors[worst] / (abs(losses[worst]) + 1e-30)), cosine, ratio)
    least_cosine, norm_slack = (0.99, 0.01) if sample.flat else (0.9999, 0.001)
    return check, (
        bool(np.all(errors <= 1e-4 * np.abs(losses) + 1e-6)) and cosine >= least_cosine and abs(ratio - 1) <= norm_slack
    )


def _channel_weights(stock: Stock) -> list[Array]:
    """Weights of both signs and of the size of the default ones, a layer each."""
    rng = np.random.default_rng(1)
    widths = [stock.model.get_layer(layer).output.shape[-1] for layer in stock.layers]
    return [(rng.uniform(-1, 1, width) / width).astype(np.float32) for width in widths]


def _agreement(gradient: Array, expected: NDArray[np.float64]) -> tuple[float, float]:
    """Cosine and ratio of norms; two all-zero gradients are equal."""
    a, b = gradient.astype(np.float64).ravel(), expected.ravel()
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if norm_a == norm_b == 0:
        return 1.0, 1.0
    if norm_a == 0 or norm_b == 0:
        return 0.0, float("inf") if norm_b == 0 else 0.0
    return float(a @ b / (norm_a * norm_b)), norm_a / norm_b
