"""Verification of a bundle: onnxruntime against TensorFlow's GradientTape on the stock, unfolded Keras model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from ..models import contract
from ..models.arrays import Floats
from ..models.contract import Check
from .errors import VerificationError
from .reference_model import Expected, LossAndGradient, ReferenceModel

MIXED_SIGNS, CHANNELS, POSITIONS, ALL_LAYERS = "mixed signs", "channels", "positions", "all layers"
# How many pictures of a kind are drawn before a comparison counts as failed.
_MAX_DRAWS = 3
# The ascent that a lower precision than fp32 must reproduce; the step size is that of the preset `paper`.
_ASCENT_STEPS, _ASCENT_STEP_SIZE = 50, 0.003
# Padded layers have pixels, however small a picture is. At sides above this one, they have some without padding, too.
_MIN_SIDE = 64
_ASCENT_PICTURE = 2  # the index of its test picture: noise, wider than high


@dataclass(frozen=True)
class Tolerance:
    """How far losses and gradients may differ from TensorFlow's.

    The error of a loss must not exceed `loss_error` times the objective of the layer's absolute values plus 1e-6: where
    a layer has values of both signs, they may cancel almost completely. The cosine similarity of the gradients must be
    at least `cosine`, and the ratio of their norms may differ from 1 by up to `norm`.
    """

    loss_error: float
    cosine: float
    norm: float


@dataclass(frozen=True)
class Tolerances:
    """The tolerances of a precision.

    `noise` applies to pictures of noise, and `flat` to flat pictures, where rounding may decide a tie in a pooling.
    `ascent` is the relative tolerance of the last loss of an ascent on means; that of an ascent on squares is twice as
    large. None leaves a comparison out.
    """

    noise: Tolerance
    flat: Tolerance | None
    ascent: float | None = None

    def of(self, picture: _TestPicture) -> Tolerance | None:
        """Returns the tolerance for a kind of picture, or None to leave it out."""
        return self.flat if picture.flat else self.noise


# In a flat area, a ReLU whose sign rounding flips is flipped at every pixel, so that flat pictures say nothing about a
# precision. Whether the graph is right, they show in fp32, which has the same operators.
_HALF = Tolerances(Tolerance(5e-3, 0.97, 0.03), None, ascent=0.02)
TOLERANCES = {
    "fp32": Tolerances(Tolerance(1e-4, 0.9999, 0.001), Tolerance(1e-4, 0.99, 0.01)),
    "fp16": _HALF,
    "mixed": _HALF,
}


@dataclass(frozen=True)
class _TestPicture:
    """A kind of picture to compare on.

    `draw` returns a new one, float32 [height, width, 3] from -1 to 1. `flat` is whether it has flat
    areas, where rounding may decide a tie in a pooling.
    """

    name: str
    draw: Callable[[], Floats]
    flat: bool = False


def verify(
    forms: Mapping[str, bytes],
    reference: ReferenceModel,
    smallest_size: int,
    on_check: Callable[[Check], None] = lambda check: None,
    precision: str = "fp32",
) -> tuple[Check, ...]:
    """Compares every form of a bundle's graph with the stock model; returns all comparisons, each of the worst form.

    `forms` maps the forms to serialized models, and `smallest_size` is the bundle's minimum height and width in pixels.
    `on_check` is called with each comparison. Where the precision has a tolerance for an ascent, the total loss after
    some steps of plain gradient ascent on all layers is compared, too. Raises VerificationError if a comparison exceeds
    the precision's `TOLERANCES`.
    """
    verifier = _Verifier(tuple(_open(model) for model in forms.values()), reference, precision)
    checks = []
    for check in verifier.checks(smallest_size):
        checks.append(check)
        on_check(check)
    return tuple(checks)


def _open(bundle: bytes) -> Any:
    """Checks a serialized model and opens it in onnxruntime. Raises VerificationError."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns of inputs with a default value, which the contract requires
    # Threads that keep spinning after a run would occupy the cores that TensorFlow's threads and NumPy's need next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        onnx.checker.check_model(bundle, full_check=True)
        return ort.InferenceSession(bundle, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnx and onnxruntime raise exceptions of various types
        raise _invalid(error) from error


def _run(session: Any, feed: dict[str, Floats]) -> tuple[Floats, Floats, Floats]:
    """Runs a bundle; returns its losses [batch, layers], its gradient, NCHW, and its channel means [batch, channels].

    Raises VerificationError.
    """
    try:
        losses, gradient, means = session.run([contract.LOSSES, contract.GRADIENT, contract.CHANNEL_MEANS], feed)
    except Exception as error:  # onnxruntime raises exceptions of various types
        raise _invalid(error) from error
    return losses, gradient, means


def _invalid(error: Exception) -> VerificationError:
    reason = str(error).strip().splitlines()[0]
    return VerificationError(f"the graph is not valid ONNX ({reason}); nothing is written, please report it")


@dataclass(frozen=True)
class _Verifier:
    """Compares the sessions of a bundle's forms with the stock model, within the tolerances of a precision."""

    sessions: tuple[Any, ...]
    reference: ReferenceModel
    precision: str

    def checks(self, smallest_size: int) -> Iterator[Check]:
        """Yields each comparison that passes. Raises VerificationError for one that fails."""
        pictures, tolerances = _test_pictures(smallest_size), TOLERANCES[self.precision]
        for picture in pictures:
            if tolerances.of(picture):
                yield from self._verify_picture(picture)
        if tolerances.ascent is not None:
            squares = self.reference.objective == "l2"
            yield self._verify_ascent(pictures[_ASCENT_PICTURE], tolerances.ascent * (2 if squares else 1))
        self._require_channel_means(pictures[0].draw())

    def _verify_picture(self, kind: _TestPicture) -> list[Check]:
        """Draws pictures until one passes all comparisons, and returns these. Raises VerificationError.

        In one of some dozens of noise pictures, a choice of a pooling or a ReLU is so close that rounding decides it,
        and the gradient jumps. A wrong graph fails with every picture.
        """
        for _ in range(_MAX_DRAWS):
            compared = list(self._compare_picture(kind))
            if all(passed for _, passed in compared):
                return [check for check, _ in compared]
        raise self._refusal(next(check for check, passed in compared if not passed))

    def _compare_picture(self, kind: _TestPicture) -> Iterator[tuple[Check, bool]]:
        """Yields the comparisons on a new picture, each with whether it passes.

        There is one for each layer, and three for all layers with weights of both signs: one as they are, one with
        channel weights of both signs, and one with a position for each.
        """
        reference, picture = self.reference, kind.draw()
        planes = _planes(picture)
        one_hot = np.eye(len(reference.layers), dtype=np.float32)
        signs = np.array([(-1) ** i * (1 + 0.3 * i) for i in range(len(reference.layers))], np.float32)
        expected = reference.losses_and_gradients(picture)
        _require_finite(kind, expected)
        for objective, weights in (*zip(reference.layers, one_hot, strict=True), (MIXED_SIGNS, signs)):
            feed = {contract.IMAGE: planes, contract.LAYER_WEIGHTS: weights}
            yield self._compare_forms(kind, objective, feed, expected)
        feed = {contract.IMAGE: planes, contract.LAYER_WEIGHTS: signs}
        channels = _channel_weights(reference)
        weighted = {**feed, contract.CHANNEL_WEIGHTS: np.concatenate(channels)[None]}
        yield self._compare_forms(kind, CHANNELS, weighted, reference.losses_and_gradients(picture, channels))
        positions = [(0.3 + 0.05 * i, 0.6 - 0.05 * i, 0.2) for i in range(len(reference.layers))]
        placed = {**feed, contract.POSITION: np.array(positions, np.float32)}
        yield self._compare_forms(kind, POSITIONS, placed, reference.losses_and_gradients(picture, positions=positions))

    def _compare_forms(
        self, kind: _TestPicture, objective: str, feed: dict[str, Floats], expected: Expected
    ) -> tuple[Check, bool]:
        """Compares all forms; returns the comparison with the worst one and whether it is within the tolerances."""
        losses, magnitudes, gradients = expected
        total = np.tensordot(feed[contract.LAYER_WEIGHTS].astype(np.float64), gradients, 1)
        runs = [_run(session, feed) for session in self.sessions]
        errors = np.max([np.abs(found[0] - losses) for found, *_ in runs], axis=0)
        cosine, ratio = _worst_agreement([_agreement(gradient[0].transpose(1, 2, 0), total) for _, gradient, _ in runs])
        check = Check(kind.name, objective, float(np.max(errors / (np.abs(losses) + 1e-30))), cosine, ratio)
        tolerance = TOLERANCES[self.precision].of(kind)
        assert tolerance is not None
        losses_agree = bool(np.all(errors <= tolerance.loss_error * magnitudes + 1e-6))
        return check, losses_agree and cosine >= tolerance.cosine and abs(ratio - 1) <= tolerance.norm

    def _require_channel_means(self, picture: Floats) -> None:
        """Raises VerificationError unless the losses, which have been compared, are weighted sums of `channel_means`.

        All channels have different weights, so that no two can be exchanged.
        """
        starts = np.cumsum([0, *self.reference.channels[:-1]])
        weights = np.concatenate(_channel_weights(self.reference))[None]
        feed = {
            contract.IMAGE: _planes(picture),
            contract.LAYER_WEIGHTS: np.ones(len(starts), np.float32),
            contract.CHANNEL_WEIGHTS: weights,
        }
        for session in self.sessions:
            losses, _, means = _run(session, feed)
            terms = (means * weights).astype(np.float64)
            sums, magnitudes = (np.add.reduceat(values, starts, axis=1) for values in (terms, np.abs(terms)))
            if not np.all(np.abs(sums - losses) <= 1e-4 * magnitudes + 1e-6):
                raise VerificationError(
                    "the channels' means disagree with the losses; nothing is written, please report it"
                )

    def _verify_ascent(self, kind: _TestPicture, tolerance: float) -> Check:
        """Compares the last loss of a gradient ascent on all layers with weight 1. Raises VerificationError.

        The comparison also reports how much the changes of the pictures differ; they have no tolerance, since an ascent
        is chaotic.
        """
        picture = kind.draw()
        total, change = _ascend(self.reference.loss_and_gradient, picture)
        found = [_ascend(partial(_loss_and_gradient, session), picture) for session in self.sessions]
        error = float(np.max([abs(last - total) for last, _ in found])) / (abs(total) + 1e-30)
        cosine, ratio = _worst_agreement([_agreement(other, change.astype(np.float64)) for _, other in found])
        check = Check(f"{_ASCENT_STEPS} steps from {kind.name}", ALL_LAYERS, error, cosine, ratio)
        if not error <= tolerance:
            raise self._refusal(check)
        return check

    def _refusal(self, check: Check) -> VerificationError:
        """Returns the error for a failed comparison."""
        cause = f"{self.precision} is too coarse for these layers and weights: it differs from TensorFlow"
        advice = f"choose --precision {'mixed or fp32' if self.precision == 'fp16' else 'fp32'}"
        if self.precision == "fp32":
            cause, advice = "the graph disagrees with TensorFlow", "please report it"
        return VerificationError(
            f"{cause} on {check.picture}, {check.climbed}: loss error {check.loss_error:.2g}, gradient cosine "
            f"{check.cosine:.6f}, norm ratio {check.norm_ratio:.4f}; nothing is written, {advice}"
        )


def _require_finite(kind: _TestPicture, expected: Expected) -> None:
    """Raises VerificationError if TensorFlow's own results are not numbers, with which nothing can be compared."""
    if not all(np.isfinite(values).all() for values in expected):
        raise VerificationError(
            f"the network itself gives infinite values or NaN in TensorFlow on {kind.name}, so its weights are damaged "
            "or too large; nothing is written, export a state of it from before"
        )


def _test_pictures(smallest_size: int) -> list[_TestPicture]:
    """Returns the kinds of pictures to compare on: noise of several sizes, flat and half flat ones."""
    rng = np.random.default_rng(0)
    low, high = contract.INPUT_RANGE

    def noise(height: int, width: int) -> Floats:
        return rng.uniform(low, high, (height, width, 3)).astype(np.float32)

    def flat() -> Floats:
        return np.full((even, odd, 3), low + next(levels) * (high - low), np.float32)

    def half_flat() -> Floats:
        picture = noise(odd, even)
        picture[:, : even // 2] = low + 0.3 * (high - low)
        return picture

    side = max(smallest_size, _MIN_SIDE)
    even, odd = side + 20 + side % 2, side + 21 + side % 2
    sizes = ((smallest_size, smallest_size), (odd, odd), (even + 32, even), (even, odd + 46))
    levels = itertools.cycle((0.7, 0.4, 0.2))  # another one for each draw, with other ties
    return [
        *(_TestPicture(f"noise {width}x{height}", partial(noise, height, width)) for width, height in sizes),
        _TestPicture(f"flat {odd}x{even}", flat, flat=True),
        _TestPicture(f"half flat {even}x{odd}", half_flat, flat=True),
    ]


def _planes(picture: Floats) -> Floats:
    """Converts a picture [height, width, 3] to the contract's input `image`, [1, 3, height, width]."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None])


def _loss_and_gradient(session: Any, picture: Floats) -> tuple[float, Floats]:
    """Returns the sum of a bundle's losses for a picture [height, width, 3], and its gradient in the same shape."""
    layers = session.get_inputs()[1].shape[0]
    losses, gradient, _ = _run(
        session, {contract.IMAGE: _planes(picture), contract.LAYER_WEIGHTS: np.ones(layers, np.float32)}
    )
    return float(losses.sum()), gradient[0].transpose(1, 2, 0)


def _ascend(evaluate: LossAndGradient, picture: Floats) -> tuple[float, Floats]:
    """Runs plain gradient ascent on a picture [height, width, 3]; returns the last loss and the picture's change.

    Each step adds the gradient, divided by its standard deviation, as TensorFlow's DeepDream tutorial does.
    """
    image = picture
    for _ in range(_ASCENT_STEPS):
        _, gradient = evaluate(image)
        image = np.clip(image + _ASCENT_STEP_SIZE * gradient / (gradient.std() + 1e-8), *contract.INPUT_RANGE).astype(
            np.float32
        )
    return evaluate(image)[0], image - picture


def _channel_weights(reference: ReferenceModel) -> list[Floats]:
    """Draws channel weights of both signs, up to the size of the default ones; float32 [channels] for each layer."""
    rng = np.random.default_rng(1)
    return [(rng.uniform(-1, 1, width) / width).astype(np.float32) for width in reference.channels]


def _agreement(gradient: Floats, expected: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the cosine similarity and the norm ratio of two arrays of one shape; two all-zero arrays are equal.

    NumPy's own sums, since the threads of its BLAS would wait for those of onnxruntime and TensorFlow.
    """
    a, b = gradient.astype(np.float64).ravel(), expected.ravel()
    norm_a, norm_b = math.sqrt(np.square(a).sum()), math.sqrt(np.square(b).sum())
    if norm_a == norm_b == 0:
        return 1.0, 1.0
    if norm_a == 0 or norm_b == 0:
        return 0.0, float("inf") if norm_b == 0 else 0.0
    return float((a * b).sum() / (norm_a * norm_b)), norm_a / norm_b


def _worst_agreement(agreements: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Returns the lowest cosine and the ratio furthest from 1, or NaN if there is one."""
    cosines, ratios = np.array(agreements).T
    return float(np.min(cosines)), float(ratios[np.argmax(np.abs(ratios - 1))])
