"""Draws features from noise: ascent on the parameters of a batch of pictures, seen through views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np

from ....models.arrays import Floats, Pixels, Size
from ....models.contract import Metadata
from ...ascent.parts.optimizers import adapted
from ...bundle.objective import Objective
from ...bundle.sessions import Sessions
from ...errors import DivergedError, SettingsError
from ...provider.budget import Cost, default_budget, in_megabytes
from ...provider.cards import PROVIDERS
from ...provider.machine import Machine
from ..settings import FeatureSettings
from .aim import Subject
from .parameters import FourierParameter, MacoParameter, Parameter, PixelParameter
from .spectrum import natural_magnitudes
from .views import View, Views
from .weights import BatchWeights

S = TypeVar("S", bound=Subject)

# Of the optimizer, which is Adam.
_BETA1, _EPSILON = 0.9, 1e-12
# Pixels that are computed at once: small pictures are drawn in batches, which is faster.
_BATCH_PIXELS = 8 * 128**2
# The arrays for each pixel of a picture: parameters with their running means, images, gradients and spectra.
_PICTURE_BYTES = 15 * 3 * 4.0
# What the noise may be multiplied by at each step as long as there is no gradient.
_LOUDNESS = (1, 2, 4, 8)
# The part of the summed gradients, ordered by size, that is fully opaque.
_OPAQUE = 0.98


@dataclass(frozen=True, eq=False)
class Drawn(Generic[S]):
    """The picture of a subject: uint8 [size, size, 3 or 4], and what it maximises on it: of a channel, its mean.

    `parameters` are those of the picture, from which another may start.
    """

    subject: S
    pixels: Pixels = field(repr=False)
    loss: float
    steps: int
    of_steps: int
    number: int = 0  # among the pictures of the subject, from 0
    parameters: Floats | None = field(default=None, repr=False)

    @property
    def is_finished(self) -> bool:
        """Whether all steps were made."""
        return self.steps == self.of_steps


@dataclass(frozen=True)
class DrawingStep:
    """The position of a batch: the number of the step that is done, from 0, of how many, and the mean loss before it.

    The loss is that of the pictures as they were seen.
    """

    number: int
    of: int
    loss: float


OnStep = Callable[[DrawingStep], bool | None]


def batches(subjects: Sequence[S], settings: FeatureSettings, smallest: Size) -> Iterator[list[S]]:
    """Yields the subjects of each batch that is drawn at once; all pictures of a subject are in one batch."""
    views = _views(settings, smallest)
    count = max(1, _BATCH_PIXELS // (views.count * settings.diversity * views.seen.pixels))
    for start in range(0, len(subjects), count):
        yield list(subjects[start : start + count])


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
    subjects: Sequence[S],
    settings: FeatureSettings,
    sessions: Sessions,
    machine: Machine,
    magnitudes: Floats | None = None,
    on_step: OnStep = lambda step: None,
    start: Floats | None = None,
) -> list[Drawn[S]]:
    """Draws a batch of subjects at once, `settings.diversity` pictures of each.

    `magnitudes` are those of MACO's spectrum, see `spectrum.py`; None are those of photographs in general. `start` are
    the parameters of a similar picture, from which half the steps are made; None is noise. `on_step` is called at each
    step; if it returns True, the drawing ends with the pictures so far. Raises SettingsError, DivergedError,
    ComputationError and BundleError.
    """
    steps = settings.steps if start is None else max(1, settings.steps // 2)
    batch = _Batch(subjects, replace(settings, steps=steps), sessions, machine, magnitudes, start)
    number = 0
    for number in range(steps):
        if on_step(DrawingStep(number, steps, batch.step(number))):
            break
    return batch.drawn(number + 1)


class _Batch(Generic[S]):
    """Pictures that are drawn together."""

    def __init__(
        self,
        subjects: Sequence[S],
        settings: FeatureSettings,
        sessions: Sessions,
        machine: Machine,
        magnitudes: Floats | None,
        start: Floats | None,
    ) -> None:
        self._settings, self._sessions, self._machine = settings, sessions, machine
        metadata = sessions.bundle.metadata
        self._subjects = [subject for subject in subjects for _ in range(settings.diversity)]
        self._views = _views(settings, metadata.smallest_size)
        # A picture's noise is its own, and the same whatever it is drawn together with.
        self._generators = [
            np.random.default_rng((settings.seed, subject.noise, place % settings.diversity))
            for place, subject in enumerate(self._subjects)
        ]
        self._parameter = _parameter(self._generators, settings, magnitudes)
        self._noise = self._parameter.values.copy()
        if start is not None:
            self._parameter.values[:] = start
        self._step_size = np.float32(settings.step_size or self._parameter.step_size)
        self._slots = [np.zeros_like(self._noise) for _ in range(2)]  # of the optimizer
        self._random = np.random.default_rng(settings.seed)
        objectives = [subject.objective(metadata) for subject in self._subjects]
        _require_sense(metadata, settings, objectives)
        self._batch_weights = BatchWeights(metadata, objectives, 1 if settings.sign == "+" else -1, settings.diversity)
        self._weights = self._batch_weights.plain()
        self._gradients = np.zeros((len(self._subjects), settings.size, settings.size), np.float32)

    def step(self, number: int) -> float:
        """Makes a step, counted from 0, and returns the mean loss before it. Raises DivergedError."""
        progress = number / self._settings.steps
        images = self._parameter.images()
        views = self._views.at(progress, self._random)
        if number == 0 and self._batch_weights.follows_means:
            self._weights = self._batch_weights.at(self._gradient(images, views)[0])
        means, gradient = self._gradient(images, views)
        loss = float(self._batch_weights.losses(means).mean())
        if not np.isfinite(gradient).all():
            raise DivergedError("the gradient is not a finite number: choose a smaller --step-size")
        if self._settings.alpha:
            self._gradients += abs(gradient).sum(axis=1)
        self._weights = self._batch_weights.at(means)
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

    def drawn(self, steps: int) -> list[Drawn[S]]:
        """Returns the pictures as they are."""
        images = self._parameter.images()
        means, _ = self._evaluated(images, self._weights)
        losses = self._batch_weights.losses(means)
        pixels = np.rint((images.transpose(0, 2, 3, 1) + 1) * 127.5).clip(0, 255).astype(np.uint8)
        if self._settings.alpha:
            pixels = np.concatenate([pixels, self._alpha()[..., None]], axis=3)
        values, of_steps, diversity = self._parameter.values, self._settings.steps, self._settings.diversity
        return [
            Drawn(subject, pixels[place], float(losses[place]), steps, of_steps, place % diversity, values[place])
            for place, subject in enumerate(self._subjects)
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
        weights = self._batch_weights
        takes_positions = weights.positions is not None
        session = self._sessions.get(height, width, self._machine, len(images), takes_positions)
        images = np.ascontiguousarray(images, np.float32)
        return session.evaluate_batch(images, weights.layer_weights, channel_weights, weights.positions)

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


def _require_sense(metadata: Metadata, settings: FeatureSettings, objectives: Sequence[Objective]) -> None:
    if settings.sign == "+" or metadata.objective != "l2":
        return
    weights = [one.channel_weights for one in objectives if one.channel_weights is not None]
    if not any((channels < 0).any() for channels in weights):  # a direction has some that are negative
        raise SettingsError(
            "sign - has no picture here: the bundle's objective is l2, the mean of squares, whose least value is that "
            "of grey"
        )
