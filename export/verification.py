"""The proof of a bundle: onnxruntime against TensorFlow's GradientTape on the stock, unfolded Keras model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
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

MIXED_SIGNS = "mixed signs"
_DRAWS = 3
Array = NDArray[np.float32]

_STOCK_OBJECTIVES: dict[str, Callable[[Any], Any]] = {
    "mean": tf.reduce_mean,
    "l2": lambda activation: tf.reduce_mean(tf.square(activation)),
}


@dataclass(frozen=True)
class _Sample:
    """A kind of picture to compare on; `draw` gives one, float32 [height, width, 3]. On a flat one rounding may
    decide a tie in a pooling."""

    name: str
    draw: Callable[[], Array]
    flat: bool = False


def verify(
    bundle: bytes,
    model: Any,
    layers: tuple[str, ...],
    objective: str,
    smallest: int,
    input_range: tuple[float, float],
    on_check: Callable[[Check], None] = lambda check: None,
) -> tuple[Check, ...]:
    """Compares a bundle with the stock model and returns every comparison made. Raises VerificationError.

    The bars: loss |a - b| <= 1e-4 |b| + 1e-6; gradient cosine >= 0.9999 and norm within 0.1 %; on flat pictures
    cosine >= 0.99 and norm within 1 %.
    """
    session = _open(bundle)
    stock = keras.Model(model.input, [model.get_layer(layer).output for layer in layers])
    checks = []
    for sample in _samples(smallest, input_range):
        for check in _passing(session, stock, layers, objective, sample):
            checks.append(check)
            on_check(check)
    return tuple(checks)


def _open(bundle: bytes) -> Any:
    try:
        onnx.checker.check_model(bundle, full_check=True)
        return ort.InferenceSession(bundle, providers=["CPUExecutionProvider"])
    except Exception as error:  # both raise kinds of their own
        raise _unsound(error) from error


def _run(session: Any, image: Array, weights: Array) -> tuple[Array, Array]:
    """Losses [batch, layers] and gradient, NCHW, by the bundle."""
    feed = {contract.IMAGE: image, contract.LAYER_WEIGHTS: weights}
    try:
        losses, gradient = session.run([contract.LOSSES, contract.GRADIENT], feed)
    except Exception as error:  # onnxruntime raises kinds of its own
        raise _unsound(error) from error
    return losses, gradient


def _unsound(error: Exception) -> VerificationError:
    reason = str(error).strip().splitlines()[0]
    return VerificationError(f"the graph is no sound ONNX ({reason}); nothing is written, please report it")


def _passing(session: Any, stock: Any, layers: tuple[str, ...], objective: str, sample: _Sample) -> list[Check]:
    """The comparisons on the first picture that passes them all.

    On one noise picture in some dozens a pooling's or a ReLU's choice is so close that rounding decides it, and the
    gradient jumps; a wrong graph fails on every draw.
    """
    for _ in range(_DRAWS):
        compared = list(_compare(session, stock, layers, objective, sample))
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


def _compare(
    session: Any, stock: Any, layers: tuple[str, ...], objective: str, sample: _Sample
) -> Iterator[tuple[Check, bool]]:
    """One comparison per layer and one for all of them with weights of both signs, on a picture of that kind."""
    picture = sample.draw()
    losses, gradients = _stock_gradients(stock, objective, picture)
    image = np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
    signs = np.array([(-1) ** i * (1 + 0.3 * i) for i in range(len(layers))], np.float32)
    climbs = [*zip(layers, np.eye(len(layers), dtype=np.float32), strict=True), (MIXED_SIGNS, signs)]
    for climbed, weights in climbs:
        found, gradient = _run(session, image, weights)
        expected = np.tensordot(weights.astype(np.float64), gradients, 1)
        errors = np.abs(found[0] - losses)
        worst = int(np.argmax(errors / (np.abs(losses) + 1e-30)))
        cosine, ratio = _agreement(gradient[0].transpose(1, 2, 0), expected)
        check = Check(sample.name, climbed, float(errors[worst] / (abs(losses[worst]) + 1e-30)), cosine, ratio)
        least_cosine, norm_slack = (0.99, 0.01) if sample.flat else (0.9999, 0.001)
        passed = (
            bool(np.all(errors <= 1e-4 * np.abs(losses) + 1e-6))
            and cosine >= least_cosine
            and abs(ratio - 1) <= norm_slack
        )
        yield check, passed


def _stock_gradients(stock: Any, objective: str, picture: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Losses [layers] and gradients [layers, height, width, 3] by TensorFlow alone."""
    image = tf.constant(picture[None])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        activations = stock(image, training=False)
        activations = activations if isinstance(activations, list) else [activations]
        losses = [_STOCK_OBJECTIVES[objective](activation) for activation in activations]
    gradients = [tape.gradient(loss, image).numpy()[0] for loss in losses]
    return np.array([float(loss) for loss in losses]), np.stack(gradients).astype(np.float64)


def _agreement(gradient: Array, expected: NDArray[np.float64]) -> tuple[float, float]:
    """Cosine and ratio of norms; two all-zero gradients are equal."""
    a, b = gradient.astype(np.float64).ravel(), expected.ravel()
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if norm_a == norm_b == 0:
        return 1.0, 1.0
    if norm_a == 0 or norm_b == 0:
        return 0.0, float("inf") if norm_b == 0 else 0.0
    return float(a @ b / (norm_a * norm_b)), norm_a / norm_b
