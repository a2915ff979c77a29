"""Gradient ascent on a picture: the paper's eq. 2, with the losses of every step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle, Session
from .errors import DivergedError, SettingsError
from .pictures import resize, shrink
from .providers import choose, threads_of
from .record import Ending, Record
from .scale import Scale
from .settings import Settings
from .update import Update

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Array = NDArray[np.float32]

# A picture this much longer than it is high has no sensible dream; upscaling its short side would explode it.
_LONGEST_UPSCALED = 4096


@dataclass(frozen=True)
class Step:
    """The state after `number` updates: the losses of each layer and their weighted sum."""

    number: int
    losses: Array
    total: float
    _canvas: Canvas
    _image: Array

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that are dreamed."""
        return self._canvas.size

    @cached_property
    def picture(self) -> Pixels:
        """The picture at this step, as it would be saved."""
        return self._canvas.develop(self._image)


@dataclass(frozen=True)
class Dream:
    """A finished run: HWC RGB[A] picture, losses [steps + 1, layers] (row n after n updates), and its record."""

    picture: Pixels
    losses: Array
    record: Record


class Canvas:
    """A picture on its way into a dream and out again: its working size, its scale, and its alpha.

    Raises SettingsError for pixels of another shape or type, and for a picture too narrow to dream.
    """

    def __init__(self, picture: Pixels, bundle: Bundle, settings: Settings) -> None:
        channels = picture.shape[2] if picture.ndim == 3 else 0
        if picture.dtype not in (np.uint8, np.uint16) or channels not in (3, 4) or not picture.size:
            raise SettingsError(
                f"a picture is uint8 or uint16 [height, width, 3 or 4], not {picture.dtype} {list(picture.shape)}"
            )
        self._original = picture
        self._full_size = settings.full_size
        self._white = float(np.iinfo(picture.dtype).max)
        self._small = _small(picture, settings.max_size, bundle.metadata.smallest_size)
        colours = self._small[..., :3]
        self.scale = Scale.of(colours, self._white, settings.normalization, bundle.metadata.input_range)
        self.image = self.scale.to_image(colours)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width that are dreamed."""
        return self._small.shape[0], self._small.shape[1]

    def develop(self, image: Array) -> Pixels:
        """The image as a picture: in the working size, or as a change of the original in full size."""
        pixels = self.scale.to_pixels(image)
        if not self._full_size:
            return self._finish(pixels, self._small)
        height, width = self._original.shape[:2]
        change = pixels - self._small[..., :3]
        enlarged = cv2.resize(change, (width, height), interpolation=cv2.INTER_CUBIC)
        return self._finish(self._original[..., :3] + enlarged, self._original)

    def _finish(self, pixels: Array, source: Pixels) -> Pixels:
        colours = np.clip(np.rint(pixels), 0, self._white).astype(source.dtype)
        return np.concatenate([colours, source[..., 3:]], axis=2)


def dream(
    picture: Pixels,
    bundle: Bundle,
    settings: Settings | None = None,
    on_step: Callable[[Step], bool | None] | None = None,
) -> Dream:
    """Dreams a picture: `settings.steps` updates that climb the bundle's weighted losses.

    `picture` is uint8 or uint16 [height, width, 3 or 4], RGB[A]. `on_step` is called after every evaluation, 0 to
    steps; where it returns True the run ends with what there is. A loss or gradient that is no finite number ends it
    too, with the last picture before; `record.ended` says so. Raises DreamError and BundleError.
    """
    settings = settings or Settings()
    weights = np.array(settings.vector(bundle.metadata.layer_names), np.float32)
    canvas = Canvas(picture, bundle, settings)
    provider = choose(settings.execution.provider).provider
    threads = threads_of(settings.execution)
    session = bundle.session(*canvas.size, provider, threads)
    update = Update(settings.step_size, settings.gradient_norm, bundle.metadata.input_range)
    started = time.perf_counter()
    image, losses, ended = _climb(session, update, canvas, weights, settings.steps, on_step)
    record = Record.of_run(
        bundle=bundle,
        settings=settings,
        provider=provider,
        threads=threads,
        size=canvas.size,
        losses=losses,
        weights=weights,
        ended=ended,
        seconds=time.perf_counter() - started,
    )
    return Dream(canvas.develop(image), losses, record)


def _climb(
    session: Session,
    update: Update,
    canvas: Canvas,
    weights: Array,
    steps: int,
    on_step: Callable[[Step], bool | None] | None,
) -> tuple[Array, Array, Ending]:
    """The image climbed to, the losses on the way, and how the climb ended."""
    image = previous = canvas.image
    history: list[Array] = []
    for number in range(steps + 1):
        losses, gradient = session.evaluate(image, weights)
        if not (np.isfinite(losses).all() and np.isfinite(gradient).all()):
            if not history:
                raise DivergedError(
                    "the first gradient is no finite number: the bundle or its weights are broken, export it again"
                )
            return previous, np.stack(history), "diverged"
        history.append(losses)
        step = Step(number, losses, float(losses @ weights), canvas, image)
        if on_step and on_step(step) and number < steps:
            return image, np.stack(history), "stopped"
        if number < steps:
            previous, image = image, update.apply(image, gradient)
    return image, np.stack(history), "finished"


def _small(picture: Pixels, max_size: int | None, smallest: tuple[int, int]) -> Pixels:
    """The picture with its longer side at most `max_size`, unless the network needs it larger."""
    small = shrink(picture, max_size)
    if small.shape[0] >= smallest[0] and small.shape[1] >= smallest[1]:
        return small
    height, width = picture.shape[:2]
    factor = max(smallest[0] / height, smallest[1] / width)
    size = max(smallest[0], round(height * factor)), max(smallest[1], round(width * factor))
    if max(size) > _LONGEST_UPSCALED:
        raise SettingsError(
            f"a picture of {width}x{height} is too narrow: "
            f"the network needs {smallest[1]}x{smallest[0]} at least, crop it"
        )
    return resize(picture, size[1], size[0])
