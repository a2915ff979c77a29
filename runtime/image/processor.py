"""Converts a picture into the images that are dreamed, and the dreamed image back into a picture."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Floats, Image, Pixels, Size, size_of
from ...models.contract import INPUT_RANGE, Metadata
from ..errors import SettingsError
from ..settings.colours import imagenet_colours, own_colours, parse_colours
from ..settings.settings import Settings
from .octaves import octave_sizes, resized
from .resizing import resize, shrunk_size
from .scaling import Scale

# Limit in pixels for the longer side of a picture that is enlarged because it is too small for the network. One that
# would need more is too narrow for a sensible dream.
_MAX_ENLARGED_SIDE = 4096
# Shares of red, green and blue in lightness (ITU-R BT.601), as in JPEG's YCbCr.
_LIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
# Share of the range of pixel values below which a picture looks like a single colour.
_VISIBLE_CONTRAST = 1 / 16
# In units of the largest pixel value. Keeps a level that rounding errors moved slightly down from being floored to the
# level below.
_EPSILON = 5e-7
# The sizes of the octaves follow from these settings.
_SIZE_SETTINGS = ("max_size", "octaves", "octaves_above", "octave_scale")


@dataclass(frozen=True)
class Mask:
    """Where a picture is dreamed: `strength` is float32 [height, width], from 0, not at all, to 1, fully."""

    strength: Floats = field(repr=False)

    @classmethod
    def of(cls, pixels: NDArray[Any], picture: Pixels, feather: float) -> Mask:
        """The mask in a drawing's lightness, its edges softened by a Gaussian with a sigma of `feather` pixels.

        `pixels` is the drawing: uint8, uint16, bool, or floating-point from 0 to 1, [height, width], [height, width, 1]
        or [height, width, 3 or 4]. `picture` is the picture to dream. Raises SettingsError for any other drawing, and
        unless both have the same size.
        """
        _require_drawing(pixels)
        if pixels.shape[:2] != picture.shape[:2]:
            height, width = pixels.shape[:2]
            raise SettingsError(
                f"the mask has {width}x{height} pixels, the picture {picture.shape[1]}x{picture.shape[0]}: "
                "draw the mask at the size of the picture"
            )
        white = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
        is_grey = pixels.ndim == 2 or pixels.shape[2] == 1
        lightness = pixels.reshape(pixels.shape[:2]) if is_grey else pixels[..., :3] @ _LIGHTNESS
        strength = lightness.astype(np.float32) / np.float32(white)
        if feather:
            strength = cv2.GaussianBlur(strength, (0, 0), feather)
        return cls(np.clip(strength, 0, 1).astype(np.float32))

    def at(self, size: Size) -> Floats:
        """The mask at another size, averaged over areas where it shrinks: float32 [height, width], 0..1."""
        (strength,) = resized(self.strength[None], size, "area")
        return np.asarray(strength)

    @classmethod
    def of_visible(cls, picture: Pixels, drawn: Mask | None) -> Mask | None:
        """The mask `drawn` times the alpha of a picture, so that a dream does not change what nobody sees.

        `picture` is the picture to dream. Returns `drawn` itself for a picture without transparent pixels.
        """
        opaque = np.iinfo(picture.dtype).max
        if picture.shape[2] == 3 or (picture[..., 3] == opaque).all():
            return drawn
        visible = picture[..., 3].astype(np.float32) / np.float32(opaque)
        return cls(visible if drawn is None else drawn.strength * visible)


class ImageProcessor:
    """Converts one picture into images from -1 to 1, at every octave's size, and back.

    `scale` is the map between pixel values and that range, `octaves` the sizes of all octaves, from the smallest. Alpha
    is kept for the result, and pixels that it hides count neither for `scale` nor for the picture's own colours. `mask`
    is the given mask times alpha, or None if every pixel is dreamed fully. `notices` are lines for the user on a
    picture whose dream cannot be seen. Raises SettingsError for a picture too narrow to dream.
    """

    def __init__(self, picture: Pixels, bundle: Metadata, settings: Settings, mask: Mask | None = None) -> None:
        self._original = picture
        self._settings = settings
        self.mask = Mask.of_visible(picture, mask)
        self._max_value = float(np.iinfo(picture.dtype).max)
        self._smallest = bundle.smallest_size
        self._working_picture = _at_working_size(picture, settings.max_size, self._smallest)
        colours, visible = self._working_picture[..., :3], _visible(self._working_picture)
        if visible is not None:
            colours = colours[visible]
        self.scale = Scale.of(colours, self._max_value, settings.normalization, INPUT_RANGE)
        self.octaves = _octaves(self.size, self._smallest, settings)
        self.notices = self._notices()

    @property
    def size(self) -> Size:
        """The working size: height and width of the picture after `max_size`, before octaves."""
        return Size(*self._working_picture.shape[:2])

    @property
    def largest_octave(self) -> Size:
        """Height and width of the last octave."""
        return self.octaves[-1]

    @property
    def result_size(self) -> Size:
        """Height and width of the dream's picture."""
        if self._settings.full_size:
            return Size(*self._original.shape[:2])
        return self.size if self._settings.octave_return else self.octaves[-1]

    def with_settings(self, settings: Settings, done: int) -> ImageProcessor:
        """The same picture with other settings on the way, after or within the octave that is the last of `done`.

        The done octaves keep their sizes, and the larger ones of the settings follow. `scale` stays, so that an image
        remains valid. Raises SettingsError.
        """
        other = copy(self)
        other._settings = settings
        if all(getattr(settings, name) == getattr(self._settings, name) for name in _SIZE_SETTINGS):
            return other
        working_picture = _at_working_size(self._original, settings.max_size, self._smallest)
        kept = self.octaves[:done]
        following = _octaves(Size(*working_picture.shape[:2]), self._smallest, settings)
        following = [size for size in following if size.pixels > kept[-1].pixels]
        if following:
            other._working_picture = working_picture
        other.octaves = kept + following
        return other

    def base(self, size: Size) -> Image:
        """The undreamed picture at a size, as an image: the "octave base" of Caffe's deepdream notebook.

        `size` is the working size or that of an octave.
        """
        if size == self.size:
            return self._image(self._working_picture)
        if size > self.size and self._original.shape[:2] > self.size:  # the original has more detail
            return self._image(resize(self._original, size[1], size[0]))
        if size < self.size and self._settings.interpolation == "pyramid":
            larger = next((octave for octave in self.octaves if octave > size), self.size)
            return resized(self.base(larger), size)
        return resized(self._image(self._working_picture), size, self._settings.interpolation)

    def colour_matrix(self) -> Floats | None:
        """The matrix that each pixel's gradient is multiplied by, float32 [3, 3]; None where `colours` has none."""
        colours = parse_colours(self._settings.colours)
        if colours.kind == "imagenet":
            return imagenet_colours()
        if colours.kind != "own":
            return None
        if self._settings.noise:  # has no colours of its own: those that it seems to have are chance
            return np.eye(3, dtype=np.float32)
        image, visible = self.base(self.size), _visible(self._working_picture)
        return own_colours(image if visible is None else image[:, visible], colours.share)

    def quantized(self, image: Image) -> Image:
        """The image with only the 256 or 65536 levels of the picture's type, rounded down as TensorFlow's cast does."""
        epsilon = np.float32(_EPSILON * self._max_value)
        pixels = (self.scale.to_pixels(plane) + epsilon for plane in image)
        levels = np.stack([np.floor(np.clip(plane, 0, self._max_value)) for plane in pixels])
        return self.scale.to_image(np.moveaxis(levels, 0, 2))

    def postprocess(self, image: Image) -> Pixels:
        """Converts an image of any octave into a picture of `result_size`, with the original's dtype and alpha."""
        source = self._source()
        size = Size(*source.shape[:2])
        result = np.empty_like(source)
        result[..., 3:] = source[..., 3:]
        base = self.base(size_of(image)) if self._settings.full_size else None
        for channel, plane in enumerate(image):
            finite = np.nan_to_num(plane)
            if base is None:
                pixels = self.scale.to_pixels(self._resized_plane(finite, size))
            else:
                pixels = self._with_change(source[..., channel], finite - base[channel])
            result[..., channel] = np.clip(np.rint(pixels, out=pixels), 0, self._max_value, out=pixels)
        if parse_colours(self._settings.colours).kind == "lightness":
            self._restore_colours(result, source)
        if self._settings.blend < 1:
            _blend(result, source, self._settings.blend)
        if self.mask is not None:  # octaves and enlarging spread the dream a little beyond it
            untouched = self.mask.at(size) == 0
            result[untouched] = source[untouched]
        return result

    def _notices(self) -> tuple[str, ...]:
        """A line for each reason why the dream cannot be seen: no contrast (eq. 1 of the paper), no visible pixel."""
        lines = []
        contrast = (self.scale.x_max - self.scale.x_min) / self._max_value
        if contrast < _VISIBLE_CONTRAST:
            lines.append(
                "the picture has almost no contrast, and with --normalization minmax its dream has no more: "
                "to see the dream, add --normalization backbone"
            )
        if self.mask is not None and not self.mask.strength.any():
            lines.append("no pixel is both visible and inside the mask: the dream will change nothing")
        return tuple(lines)

    def _image(self, picture: Pixels) -> Image:
        """The image of a picture. Hidden pixels beyond the range of the visible ones become its nearest values."""
        image = self.scale.to_image(picture[..., :3])
        visible = _visible(picture)
        if visible is not None:
            np.clip(image, self.scale.low, self.scale.high, out=image, where=~visible)
        return image

    def _source(self) -> Pixels:
        """The undreamed picture at the result's size."""
        if self._settings.full_size:
            return self._original
        if self.result_size == self.size:
            return self._working_picture
        return resize(self._original, self.result_size[1], self.result_size[0])

    def _resized_plane(self, plane: Floats, size: Size) -> Floats:
        return plane if plane.shape == size else resized(plane[None], size, self._settings.interpolation)[0]

    def _with_change(self, pixels: NDArray[Any], change: Floats) -> Floats:
        """One colour of the original plus the change that the dream made to it, enlarged.

        `pixels` is uint8 or uint16 [height, width], `change` float32 [height, width] of an octave, in the backbone's
        input range. Returns float32 pixel values [height, width], neither rounded nor clipped.
        """
        height, width = pixels.shape
        if change.shape > self.size:
            change = resized(change[None], self.size, "area")[0]
        enlarged: Floats = cv2.resize(change, (width, height), interpolation=cv2.INTER_CUBIC)
        enlarged /= np.float32(self.scale.slope)
        enlarged += pixels
        return enlarged

    def _restore_colours(self, result: Pixels, source: Pixels) -> None:
        """Keeps only the lightness of the dream: gives `result` the hue and chroma of `source`, in place."""
        shift = (result[..., :3] @ _LIGHTNESS - source[..., :3] @ _LIGHTNESS)[..., None]
        result[..., :3] = np.clip(np.rint(source[..., :3] + shift), 0, self._max_value)


def _visible(picture: Pixels) -> NDArray[np.bool_] | None:
    """Where a picture is visible, its alpha not 0: bool [height, width]; None if that is everywhere or nowhere."""
    if picture.shape[2] == 3:
        return None
    visible: NDArray[np.bool_] = picture[..., 3] > 0
    return None if visible.all() or not visible.any() else visible


def _require_drawing(pixels: NDArray[Any]) -> None:
    """Raises SettingsError unless an array can be a mask."""
    kind, channels = pixels.dtype.kind, {2: 1, 3: pixels.shape[-1]}.get(pixels.ndim) if pixels.ndim else None
    if kind not in "ubf" or (kind == "u" and pixels.dtype.itemsize > 2) or channels not in (1, 3, 4):
        raise SettingsError(
            "a mask is uint8, uint16, bool or numbers from 0 to 1, [height, width] or [height, width, 3 or 4], "
            f"not {pixels.dtype} {list(pixels.shape)}: if it is dreamed where it is not 0, give mask > 0"
        )
    if kind == "f" and not (pixels.min(initial=0) >= 0 and pixels.max(initial=0) <= 1):
        raise SettingsError("the mask's numbers must be from 0 to 1: divide them by the largest possible one")
    if kind == "u" and pixels.max(initial=0) == 1:
        raise SettingsError(
            f"the mask is as good as black: its largest value is 1 of {np.iinfo(pixels.dtype).max}: draw it in "
            "white, or give mask > 0"
        )


def _blend(result: Pixels, source: Pixels, share: float) -> None:
    """Mixes `source` into `result`, in place; `share` is that of the dream, 0..1."""
    mixed = source[..., :3] * np.float32(1 - share) + result[..., :3] * np.float32(share)
    result[..., :3] = np.rint(mixed)


def _octaves(size: Size, smallest: Size, settings: Settings) -> list[Size]:
    return octave_sizes(size, smallest, settings.octaves, settings.octaves_above, settings.octave_scale)


def working_size(size: Size, max_size: int | None, smallest: Size) -> Size:
    """Returns the size at which a picture of a size is dreamed: its longer side at most `max_size` pixels, but enlarged
    where the network needs more than that, `smallest` at least.

    Raises SettingsError for a picture that is too narrow.
    """
    small = shrunk_size(size, max_size)
    if small.height >= smallest.height and small.width >= smallest.width:
        return small
    factor = max(smallest.height / size.height, smallest.width / size.width)
    enlarged = Size(max(smallest.height, round(size.height * factor)), max(smallest.width, round(size.width * factor)))
    if max(enlarged) > _MAX_ENLARGED_SIDE:
        raise SettingsError(
            f"a picture of {size.width}x{size.height} is too narrow: "
            f"the network needs {smallest.width}x{smallest.height} at least; crop it"
        )
    return enlarged


def _at_working_size(picture: Pixels, max_size: int | None, smallest: Size) -> Pixels:
    size = working_size(Size(*picture.shape[:2]), max_size, Size(*smallest))
    return resize(picture, size.width, size.height)
