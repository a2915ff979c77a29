"""Dreams the endless zoom: a camera that moves into a dream, or out of it, and a dream that renews its detail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from ....models.arrays import Floats, Image, Pixels
from ....models.contract import INPUT_RANGE
from ...ascent.objectives import objective_for, require_objective
from ...ascent.step import OnStep
from ...bundle.bundle import Bundle
from ...bundle.sessions import Sessions
from ...dream.run import as_settings
from ...errors import SettingsError
from ...image.pixels import PictureLike
from ...image.resizing import rounded
from ...provider.selection import ProviderChoice
from ...settings.settings import Settings
from ..settings import Camera
from .coherence import DreamedFrame
from .still import Dreamed, Still
from .tones import Tones

# Seconds that a loop takes to fade its end into its beginning.
_FADE = 1.0
# Octaves that each frame dreams where the camera moves in: it makes small shapes large, but with the largest octave
# alone, faces give way to fur. Moving out makes large ones small: it takes all octaves to keep any.
_OCTAVES_IN = 3
# The most that fading adds to the contrast of two frames: what two that have nothing in common lose halfway.
_LARGEST_FADE_GAIN = 2**0.5


@dataclass(frozen=True, eq=False)
class ZoomState:
    """Everything that a zoom needs in order to continue after a frame.

    `image` is the last frame, float32 [3, height, width] of the largest octave, and `number` counts the frames so far.
    `tones` are those of the first frame, and `colours` its colour matrix. `opening` are the frames that a loop's end is
    faded into.
    """

    image: Image = field(repr=False)
    loss: float
    number: int
    tones: Tones
    colours: Floats | None = field(repr=False)
    opening: tuple[Pixels, ...] = field(default=(), repr=False)


class ZoomDream:
    """One endless zoom, whose first frame is the whole dream of a picture.

    For each later frame, the camera moves the frame before, and a few steps renew its detail; its tones are held to
    those of the first frame. The arguments are those of `prepare`, without a mask and a guide; the settings `full_size`
    and `blend` have no effect. `camera` states how the camera moves; `state` is that of an earlier run, to continue it.
    Raises DreamError and BundleError.
    """

    def __init__(
        self,
        picture: PictureLike | None,
        bundle: Bundle | str | os.PathLike[str],
        settings: Settings | str | None = None,
        camera: Camera | None = None,
        *,
        choice: ProviderChoice | None = None,
        sessions: Sessions | None = None,
        state: ZoomState | None = None,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        settings = as_settings(settings)
        if settings.colours == "lightness":
            raise SettingsError(
                "colours lightness keeps each hue in its place, and a zoom moves them: choose own or free"
            )
        self.camera = camera or Camera()
        self.state = state
        self._still = Still(picture, bundle, settings, choice, sessions, log)
        require_objective(self._still.bundle.metadata, settings, has_guide=False)
        self._objective = objective_for(
            self._still.pixels, None, self._still.sessions, self._still.settings, self._still.choice.machine
        )

    @property
    def settings(self) -> Settings:
        """The settings of each frame."""
        return self._still.settings

    @property
    def count(self) -> int:
        """The number of frames of the film."""
        return self.camera.count

    def frames(self, on_step: OnStep | None = None) -> Iterator[DreamedFrame]:
        """Yields the dreamed frames, uint8 or uint16 [height, width, 3].

        A loop begins with the frame after those that its end is faded into. `on_step` is called at every step of a
        frame's ascent; if it returns True, the film ends before that frame. After each frame, `state` is what the film
        continues from. Raises DreamError.
        """
        faded = self._faded_count
        while (number := self.state.number if self.state else 0) < self.count + faded:
            state = self._state_after(number, on_step)
            if state is None:
                return
            self.state = state
            if number >= faded:
                yield self._shown(state)

    @property
    def _faded_count(self) -> int:
        """The number of frames at the end of a loop that are faded into those at its beginning."""
        return min(round(_FADE * self.camera.fps), self.count // 2) if self.camera.loop else 0

    def _state_after(self, number: int, on_step: OnStep | None) -> ZoomState | None:
        state = self._first(on_step) if self.state is None else self._next(self.state, on_step)
        if state is not None and number < self._faded_count:
            state = replace(state, opening=(*state.opening, self._still.processor.postprocess(state.image)))
        return state

    def _first(self, on_step: OnStep | None) -> ZoomState | None:
        colours = self._still.processor.colour_matrix()
        dreamed = self._still.dreamed(self._objective, colours, on_step)
        if dreamed is None:
            return None
        return ZoomState(dreamed.image, dreamed.loss, 1, Tones.of(dreamed.image), colours)

    def _next(self, state: ZoomState, on_step: OnStep | None) -> ZoomState | None:
        image = moved(state.image, self.camera)
        if self.settings.clip:  # cubic interpolation overshoots
            np.clip(image, *INPUT_RANGE, out=image)
        dreamed = self._renewed(image, state, on_step)
        if dreamed is None:
            return None
        return replace(state, image=state.tones.held(dreamed.image), loss=dreamed.loss, number=state.number + 1)

    def _renewed(self, image: Image, state: ZoomState, on_step: OnStep | None) -> Dreamed | None:
        octaves = self.settings.octaves if self.camera.zoom < 1 else _OCTAVES_IN
        steps = self.camera.steps_next
        return self._still.continued(image, self._objective, state.colours, steps, octaves, state.number, on_step)

    def _shown(self, state: ZoomState) -> DreamedFrame:
        pixels = self._still.processor.postprocess(state.image)
        past_end = state.number - 1 - self.count
        if past_end >= 0:
            share = (past_end + 1) / (self._faded_count + 1)
            pixels = faded(pixels, state.opening[past_end], share)
        return DreamedFrame(pixels, state.loss, begins_shot=state.number == self._faded_count + 1)


def moved(image: Image, camera: Camera) -> Image:
    """The image that the camera sees one frame later; what comes from outside the image is its reflection."""
    height, width = image.shape[1:]
    x, y = camera.centre
    matrix = cv2.getRotationMatrix2D((x * width - 0.5, y * height - 0.5), camera.rotate, camera.zoom)
    # OpenCV 5.0 looks for the reflection of a single pixel for ever.
    border = cv2.BORDER_REPLICATE if min(height, width) == 1 else cv2.BORDER_REFLECT_101
    planes = [
        cv2.warpAffine(plane, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=border) for plane in image
    ]
    return np.stack(planes)


def faded(end: Pixels, beginning: Pixels, share: float) -> Pixels:
    """A mix of two frames of one size and dtype, [height, width, 3]; `share` is that of the second, 0..1.

    Its contrast lies between those of both: a plain mix of frames that show different things is duller than either.
    """
    ends, end_means = _centred(end)
    beginnings, beginning_means = _centred(beginning)
    mix = ends * np.float32(1 - share) + beginnings * np.float32(share)
    means = end_means * np.float32(1 - share) + beginning_means * np.float32(share)
    contrast = (1 - share) * float(ends.std()) + share * float(beginnings.std())
    gain = min(_LARGEST_FADE_GAIN, contrast / max(float(mix.std()), 1e-6))
    return rounded(mix * np.float32(gain) + means, end.dtype)


def _centred(pixels: Pixels) -> tuple[Floats, Floats]:
    """The deviations of a frame's pixel values from the means of its colours, and these means."""
    values = pixels.astype(np.float32)
    means: Floats = values.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    return values - means, means
