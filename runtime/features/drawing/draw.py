"""Draws features from noise: ascent on the parameters of a batch of pictures, seen through views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ....models.arrays import Floats, Pixels, Size
from ....models.contract import Metadata
from ...ascent.parts.adam import adapted
from ...bundle.sessions import Sessions
from ...errors import DivergedError, SettingsError
from ...provider.budget import Cost, default_budget, in_megabytes
from ...provider.cards import PROVIDERS
from ...provider.machine import Machine
from ..feature import Feature, channel_numbers, channels_of, layer_weights
from ..settings import FeatureSettings
from .parameters import FourierParameter, MacoParameter, Parameter, PixelParameter
from .spectrum import natural_magnitudes
from .views import View, Views

# Of the optimizer, which is Adam.
_BETA1, _EPSILON = 0.9, 1e-12
# Pixels that are computed at once: small pictures are drawn in batches, which is faster.
_BATCH_PIXELS = 8 * 128**2
# The arrays for each pixel of a picture: parameters with their running means, images, gradients and spectra.
_PICTURE_BYTES = 15 * 3 * 4.0
# How strongly pictures of one channel are pushed apart, compared with the channel itself.
_DIVERSITY = 0.5
# What the noise may be multiplied by at each step as long as there is no gradient.
_LOUDNESS = (1, 2, 4, 8)
# The part of the summed gradients, ordered by size, that is fully opaque.
_OPAQUE = 0.98


@dataclass(frozen=True, eq=False)
class Drawn:
    """The picture of a feature: uint8 [size, size, 3 or 4], and the feature's loss on it, its channel's mean."""

    feature: Feature
    pixels: Pixels = field(repr=False)
    loss: float
    steps: int
    number: int = 0  # among the pictures of the feature, from 0


@dataclass(frozen=True)
class DrawingStep:
    """The position of a batch: the number of steps done, and the mean loss of its pictures as they were seen."""

    number: int
    loss: float


OnStep = Callable[[DrawingStep], bool | None]


def batches(features: list[Feature], settings: FeatureSettings, smallest: Size) -> Iterator[list[Feature]]:
    """Yields the features of each batch that is drawn at once; all pictures of a feature are in one batch."""
    views = _views(settings, smallest)
    count = max(1, _BATCH_PIXELS // (views.count * settings.diversity * views.seen.pixels))
    for start in range(0, len(features), count):
        yield features[start : start + count]


def require_memory(bundle: Metadata, settings: FeatureSettings, machine: Machine, budget: int | None) -> None:
    """Raises SettingsError unless a batch fits into a memory budget in bytes; None is half of what the machine has."""
    views = _views(settings, bundle.smallest_size)
    device = PROVIDERS[machine.provider].device
    pictures = settings.diversity * settings.size**2
    cost = Cost.on(device, machine.precision, bundle.memory, per_update_pixel=0, per_picture_pixel=_PICTURE_BYTES)
    views_pixels = max(views.count * settings.diversity * views.seen.pixels, pictures)  # the last one is of the whole
    needed = cost.program + cost.fixed + cost.of_tile(views_pixels) + cost.per_picture_pixel * pictures
    allowed = budget or default_budget(device, machine.card)
    if needed > allowed:
        raise SettingsError(
            f"pictures of {settings.size} pixels need {in_megabytes(needed)} of memory, and only "
            f"{in_megabytes(allowed)} may be used: choose a smaller --size, or give more --memory"
        )


def draw(
    features: list[Feature],
    settings: FeatureSettings,
    sessions: Sessions,
    machine: Machine,
    magnitudes: Floats | None = None,
    on_step: OnStep = lambda step: None,
) -> list[Drawn]:
    """Draws a batch of features at once, `settings.diversity` pictures of each.

    `magnitudes` are those of MACO's spectrum, see `spectrum.py`; None are those of photographs in general. `on_step` is
    called at each step; if it returns True, the drawing ends with the pictures so far. Raises SettingsError,
    DivergedError, ComputationError and BundleError.
    """
    batch = _Batch(features, settings, sessions, machine, magnitudes)
    number = 0
    for number in range(settings.steps):
        if on_step(DrawingStep(number, batch.step(number))):
            break
    return batch.drawn(number + 1)


class _Batch:
    """Pictures that are drawn together."""

    def __init__(
        self,
        features: list[Feature],
        settings: FeatureSettings,
        sessions: Sessions,
        machine: Machine,
        magnitudes: Floats | None,
    ) -> None:
        self._settings, self._sessions, self._machine = settings, sessions, machine
        self._metadata = sessions.bundle.metadata
        _require_sense(self._metadata, settings)
        self._features = [feature for feature in features for _ in range(settings.diversity)]
        self._views = _views(settings, self._metadata.smallest_size)
        # A picture's noise is its own, and the same whatever it is drawn together with.
        self._generators = [
            np.random.default_rng((settings.seed, feature.channel, place % settings.diversity))
            for place, feature in enumerate(self._features)
        ]
        self._parameter = _parameter(self._generators, settings, magnitudes)
        self._noise = self._parameter.values.copy()
        self._step_size = np.float32(settings.step_size or self._parameter.step_size)
        self._slots = [np.zeros_like(self._noise) for _ in range(2)]  # of the optimizer
        self._random = np.random.default_rng(settings.seed)
        self._layer_weights = layer_weights(self._metadata, features)
        self._numbers = channel_numbers(self._metadata, self._features)
        self._weights = self._plain_weights()
        self._gradients = np.zeros((len(self._features), settings.size, settings.size), np.float32)

    def step(self, number: int) -> float:
        """Makes a step, counted from 0, and returns the mean loss before it. Raises DivergedError."""
        progress = number / self._settings.steps
        images = self._parameter.images()
        views = self._views.at(progress, self._random)
        means, gradient = self._gradient(images, views)
        loss = float(means[range(len(means)), self._numbers].mean())
        if not np.isfinite(gradient).all():
            raise DivergedError("the gradient is not a finite number: choose a smaller --step-size")
        self._gradients += abs(gradient).sum(axis=1)
        if self._settings.diversity > 1:
            self._weights = self._plain_weights() + self._pushing_apart(means)
        direction = self._parameter.smoothed(self._parameter.backward(gradient), progress)
        # Gradients by the coefficients of a spectrum are small, which the usual epsilon would slow down.
        adapted_direction = adapted(direction, self._slots, _BETA1, number + 1, _EPSILON)
        self._parameter.values += self._step_size * adapted_direction
        for place, own in enumerate(gradient):
            if not own.any():
                self._renew_noise(place)
        return loss

    def _renew_noise(self, place: int) -> None:
        """Gives other noise, as strong or stronger, to a picture without a gradient.

        A channel behind a ReLU may not respond to the first noise at all.
        """
        random, noise = self._generators[place], self._noise[place]
        signs = random.choice(np.array([-1, 1], np.float32), noise.shape)
        self._parameter.values[place] = noise * signs * np.float32(random.choice(_LOUDNESS))

    def drawn(self, steps: int) -> list[Drawn]:
        """Returns the pictures as they are."""
        images = self._parameter.images()
        means, _ = self._evaluated(images, self._plain_weights())
        pixels = np.rint((images.transpose(0, 2, 3, 1) + 1) * 127.5).clip(0, 255).astype(np.uint8)
        if self._settings.alpha:
            pixels = np.concatenate([pixels, self._alpha()[..., None]], axis=3)
        return [
            Drawn(feature, pixels[place], float(means[place, channel]), steps, place % self._settings.diversity)
            for place, (feature, channel) in enumerate(zip(self._features, self._numbers, strict=True))
        ]

    def _gradient(self, images: Floats, views: list[View]) -> tuple[Floats, Floats]:
        """The channel means and the gradients of images, averaged over views of them."""
        seen = np.concatenate([view.of(images) for view in views])
        means, gradients = self._evaluated(seen, np.tile(self._weights, (len(views), 1)))
        parts = zip(views, np.split(gradients, len(views)), strict=True)
        total: Floats = sum(view.adjoint(part) for view, part in parts) / np.float32(len(views))
        return means.reshape(len(views), len(images), -1).mean(axis=0), total

    def _evaluated(self, images: Floats, channel_weights: Floats) -> tuple[Floats, Floats]:
        height, width = images.shape[2:]
        session = self._sessions.get(height, width, self._machine, len(images))
        return session.evaluate_batch(np.ascontiguousarray(images, np.float32), self._layer_weights, channel_weights)

    def _plain_weights(self) -> Floats:
        channels = sum(layer.channels for layer in self._metadata.layers)
        weights = np.zeros((len(self._features), channels), np.float32)
        weights[range(len(self._features)), self._numbers] = 1 if self._settings.sign == "+" else -1
        return weights

    def _pushing_apart(self, means: Floats) -> Floats:
        """Weights that make the channel means of a feature's pictures less similar to each other.

        They are the slope of the cosine between each picture's means and those of the others, in the feature's layer.
        """
        weights, count = np.zeros_like(means), self._settings.diversity
        for start in range(0, len(means), count):
            layer = channels_of(self._metadata, self._features[start].layer)
            own = means[start : start + count, layer]
            units = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
            others = (units.sum(axis=0) - units) / (count - 1)
            slopes = others - (others * units).sum(axis=1, keepdims=True) * units
            weights[start : start + count, layer] = -np.float32(_DIVERSITY) * slopes
        return weights

    def _alpha(self) -> Pixels:
        """The transparency of the pictures: the sums of their absolute gradients (Fel et al. 2023, section 3)."""
        opaque = np.quantile(self._gradients, _OPAQUE, axis=(1, 2), keepdims=True)
        shares = np.clip(self._gradients / np.maximum(opaque, 1e-30), 0, 1)
        return np.rint(shares * 255).astype(np.uint8)


def _views(settings: FeatureSettings, smallest: Size) -> Views:
    if settings.size < max(smallest):
        raise SettingsError(f"size {settings.size} is too small: the network needs {max(smallest)} pixels")
    return Views(settings.views, Size(settings.size, settings.size), smallest)


def _parameter(
    generators: list[np.random.Generator], settings: FeatureSettings, magnitudes: Floats | None
) -> Parameter:
    size = Size(settings.size, settings.size)
    if settings.param == "maco":
        return MacoParameter(generators, size, natural_magnitudes(size) if magnitudes is None else magnitudes)
    return FourierParameter(generators, size) if settings.param == "fourier" else PixelParameter(generators, size)


def _require_sense(metadata: Metadata, settings: FeatureSettings) -> None:
    if settings.sign == "-" and metadata.objective == "l2":
        raise SettingsError(
            "sign - has no picture here: the bundle's objective is l2, the mean of squares, whose least value is that "
            "of grey"
        )
