"""The proof of a bundle: onnxruntime against TensorFlow's GradientTape on the stock, unfolded Keras model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from ..models import contract
from ..models.arrays import Floats, Image
from ..models.contract import Check
from .errors import VerificationError
from .reference_model import Evaluate, ReferenceModel

MIXED_SIGNS, CHANNELS, ALL_LAYERS = "mixed signs", "channels", "all layers"
_DRAWS = 3
# The ascent that a lesser precision must follow; its step is that of the preset `paper`.
_STEPS, _STEP_SIZE = 50, 0.003
_ASCENT_SAMPLE = 2  # of the samples: noise wider than high


@dataclass(frozen=True)
class Tolerance:
    """How far a gradient may be off: each loss by that share of the layer's mean objective plus 1e-6, the cosine at
    least, the norm by that share at most."""

    loss_error: float
    cosine: float
    norm: float


@dataclass(frozen=True)
class Tolerances:
    """What a precision is held to: the bar on noise and that on flat pictures, where rounding may decide a tie in a
    pooling, and by which share the last loss of an ascent may be off; None where no ascent is needed."""

    noise: Tolerance
    flat: Tolerance
    ascent: float | None = None


# Where an area is flat, a ReLU that rounding flips is flipped all over it.
_HALF = Tolerances(Tolerance(5e-3, 0.97, 0.03), Tolerance(5e-3, 0.75, 0.2), ascent=0.02)
TOLERANCES = {
    "fp32": Tolerances(Tolerance(1e-4, 0.9999, 0.001), Tolerance(1e-4, 0.99, 0.01)),
    "fp16": _HALF,
    "mixed": _HALF,
}


@dataclass(frozen=True)
class _Sample:
    """A kind of picture to compare on; `draw` gives one, float32 [height, width, 3]. On a flat one rounding may
    decide a tie in a pooling."""

    name: str
    draw: Callable[[], Floats]
    flat: bool = False


def verify(
    forms: Mapping[str, bytes],
    reference: ReferenceModel,
    smallest: int,
    input_range: tuple[float, float],
    on_check: Callable[[Check], None] = lambda check: None,
    precision: str = "fp32",
) -> tuple[Check, ...]:
    """Compares every form of a bundle's graph with the stock model and returns every comparison made, of each the
    worst form's. Raises VerificationError.

    The bars in fp32: losses within 1e-4 of the layer's mean objective plus 1e-6; gradient cosine >= 0.9999 and norm
    within 0.1 %; on flat pictures cosine >= 0.99 and norm within 1 %. In fp16 and mixed: losses within 5e-3; cosine >=
    0.97 and norm within 3 %, on flat pictures 0.75 and 20 %; and after 50 steps of a plain ascent of all layers, the
    total loss within 2 %.
    """
    verifier = _Verifier(tuple(_open(model) for model in forms.values()), reference, precision)
    checks = []
    for check in verifier.checks(smallest, input_range):
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


def _run(session: Any, feed: dict[str, Floats]) -> tuple[Floats, Floats]:
    """Losses [batch, layers] and gradient, NCHW, by the bundle."""
    try:
        losses, gradient = session.run([contract.LOSSES, contract.GRADIENT], feed)
    except Exception as error:  # onnxruntime raises kinds of its own
        raise _unsound(error) from error
    return losses, gradient


def _unsound(error: Exception) -> VerificationError:
    reason = str(error).strip().splitlines()[0]
    return VerificationError(f"the graph is no sound ONNX ({reason}); nothing is written, please report it")


@dataclass(frozen=True)
class _Verifier:
    """The sessions of a bundle's forms beside the stock model, held to the bars of a precision."""

    sessions: tuple[Any, ...]
    reference: ReferenceModel
    precision: str

    def checks(self, smallest: int, input_range: tuple[float, float]) -> Iterator[Check]:
        """Every comparison, as it passes. Raises VerificationError."""
        samples = _samples(smallest, input_range)
        for sample in samples:
            yield from self._first_passing(sample)
        allowed = TOLERANCES[self.precision].ascent
        if allowed is not None:
            yield self._check_ascent(samples[_ASCENT_SAMPLE], input_range, allowed)

    def _first_passing(self, sample: _Sample) -> list[Check]:
        """The comparisons on the first picture that passes them all.

        On one noise picture in some dozens a pooling's or a ReLU's choice is so close that rounding decides it, and the
        gradient jumps; a wrong graph fails on every draw.
        """
        for _ in range(_DRAWS):
            compared = list(self._compare(sample))
            if all(passed for _, passed in compared):
                return [check for check, _ in compared]
        raise self._refusal(next(check for check, passed in compared if not passed))

    def _compare(self, sample: _Sample) -> Iterator[tuple[Check, bool]]:
        """On a picture of that kind: one comparison per layer, one for all of them with weights of both signs, and one
        for all their channels with weights of both signs."""
        reference, picture = self.reference, sample.draw()
        one_hot = np.eye(len(reference.layers), dtype=np.float32)
        signs = np.array([(-1) ** i * (1 + 0.3 * i) for i in range(len(reference.layers))], np.float32)
        expected = reference.losses_and_gradients(picture)
        for climbed, weights in (*zip(reference.layers, one_hot, strict=True), (MIXED_SIGNS, signs)):
            feed = {contract.IMAGE: _planes(picture), contract.LAYER_WEIGHTS: weights}
            yield self._check(sample, climbed, feed, *expected, np.abs(expected[0]))
        channels = _channel_weights(reference)
        feed = {
            contract.IMAGE: _planes(picture),
            contract.LAYER_WEIGHTS: signs,
            contract.CHANNEL_WEIGHTS: np.concatenate(channels),
        }
        yield self._check(
            sample, CHANNELS, feed, *reference.losses_and_gradients(picture, channels), np.abs(expected[0])
        )

    def _check(
        self,
        sample: _Sample,
        climbed: str,
        feed: dict[str, Floats],
        losses: NDArray[np.float64],
        gradients: NDArray[np.float64],
        sizes: NDArray[np.float64],
    ) -> tuple[Check, bool]:
        """One comparison, the worst of all forms, and whether it is within the bars; `sizes` are what losses are made
        of, which weights of both signs may cancel to next to nothing."""
        expected = np.tensordot(feed[contract.LAYER_WEIGHTS].astype(np.float64), gradients, 1)
        runs = [_run(session, feed) for session in self.sessions]
        errors = np.max([np.abs(found[0] - losses) for found, _ in runs], axis=0)
        cosine, ratio = _worst([_agreement(gradient[0].transpose(1, 2, 0), expected) for _, gradient in runs])
        check = Check(sample.name, climbed, float(np.max(errors / (np.abs(losses) + 1e-30))), cosine, ratio)
        tolerance = TOLERANCES[self.precision].flat if sample.flat else TOLERANCES[self.precision].noise
        near = bool(np.all(errors <= tolerance.loss_error * sizes + 1e-6))
        return check, near and cosine >= tolerance.cosine and abs(ratio - 1) <= tolerance.norm

    def _check_ascent(self, sample: _Sample, limits: tuple[float, float], allowed: float) -> Check:
        """An ascent of all layers with weight 1, compared by its last loss; told, but not judged, is by how much the
        pictures' changes differ, since an ascent is chaotic."""
        picture = sample.draw()
        total, change = _ascend(self.reference.compiled, picture, limits)
        found = [_ascend(partial(_loss_and_gradient, session), picture, limits) for session in self.sessions]
        error = float(np.max([abs(last - total) for last, _ in found])) / abs(total)
        cosine, ratio = _worst([_agreement(other, change.astype(np.float64)) for _, other in found])
        check = Check(f"{_STEPS} steps from {sample.name}", ALL_LAYERS, error, cosine, ratio)
        if not error <= allowed:
            raise self._refusal(check)
        return check

    def _refusal(self, check: Check) -> VerificationError:
        blame = f"{self.precision} is too coarse for these layers and weights: it differs from TensorFlow"
        advice = f"choose --precision {'mixed or fp32' if self.precision == 'fp16' else 'fp32'}"
        if self.precision == "fp32":
            blame, advice = "the graph disagrees with TensorFlow", "please report it"
        return VerificationError(
            f"{blame} on {check.picture}, {check.climbed}: loss error {check.loss_error:.2g}, gradient cosine "
            f"{check.cosine:.6f}, norm ratio {check.norm_ratio:.4f}; nothing is written, {advice}"
        )


def _samples(smallest: int, input_range: tuple[float, float]) -> list[_Sample]:
    rng = np.random.default_rng(0)
    low, high = input_range

    def noise(height: int, width: int) -> Floats:
        return rng.uniform(low, high, (height, width, 3)).astype(np.float32)

    def half_flat() -> Floats:
        picture = noise(odd, even)
        picture[:, : even // 2] = low + 0.3 * (high - low)
        return picture

    even, odd = smallest + 20 + smallest % 2, smallest + 21 + smallest % 2
    sizes = ((smallest, smallest), (odd, odd), (even + 32, even), (even, odd + 46))
    flat = np.full((even, odd, 3), low + 0.7 * (high - low), np.float32)
    return [
        *(_Sample(f"noise {width}x{height}", partial(noise, height, width)) for width, height in sizes),
        _Sample(f"flat {odd}x{even}", lambda: flat, flat=True),
        _Sample(f"half flat {even}x{odd}", half_flat, flat=True),
    ]


def _planes(picture: Floats) -> Floats:
    """A picture [height, width, 3] as the contract's image."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None])


def _loss_and_gradient(session: Any, picture: Floats) -> tuple[float, Floats]:
    """The sum of a bundle's losses of a picture [height, width, 3], and its gradient."""
    layers = session.get_inputs()[1].shape[0]
    losses, gradient = _run(
        session, {contract.IMAGE: _planes(picture), contract.LAYER_WEIGHTS: np.ones(layers, np.float32)}
    )
    return float(losses.sum()), gradient[0].transpose(1, 2, 0)


def _ascend(evaluate: Evaluate, picture: Floats, limits: tuple[float, float]) -> tuple[float, Floats]:
    """The loss after the steps of a plain ascent, and the picture's change."""
    image = picture
    for _ in range(_STEPS):
        _, gradient = evaluate(image)
        image = np.clip(image + _STEP_SIZE * gradient / (gradient.std() + 1e-8), *limits).astype(np.float32)
    return evaluate(image)[0], image - picture


def _channel_weights(reference: ReferenceModel) -> list[Floats]:
    """Weights of both signs and of the size of the default ones, a layer each."""
    rng = np.random.default_rng(1)
    widths = [reference.model.get_layer(layer).output.shape[-1] for layer in reference.layers]
    return [(rng.uniform(-1, 1, width) / width).astype(np.float32) for width in widths]


def _agreement(gradient: Image, expected: NDArray[np.float64]) -> tuple[float, float]:
    """Cosine and ratio of norms; two all-zero gradients are equal."""
    a, b = gradient.astype(np.float64).ravel(), expected.ravel()
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if norm_a == norm_b == 0:
        return 1.0, 1.0
    if norm_a == 0 or norm_b == 0:
        return 0.0, float("inf") if norm_b == 0 else 0.0
    return float(a @ b / (norm_a * norm_b)), norm_a / norm_b


def _worst(agreements: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The least cosine and the ratio furthest from 1; NaN if there is one."""
    cosines, ratios = np.array(agreements).T
    return float(np.min(cosines)), float(ratios[np.argmax(np.abs(ratios - 1))])
