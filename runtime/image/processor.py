"""A picture on its way into a dream and out again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Floats, Image, Pixels, Size, size_of
from ...models.contract import Metadata
from ..errors import SettingsError
from ..settings.colours import imagenet_colours, own_colours, parse_colours
from ..settings.settings import Settings
from .files import resize, shrink
from .octaves import octave_sizes, resized
from .scaling import Scale

# A picture this much longer than it is high has no sensible dream; upscaling its short side would explode it.
_MAX_UPSCALED = 4096
# Lightness of red, green and blue (ITU-R BT.601), as in JPEG's YCbCr.
_LIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
# Of white; keeps a level that arithmetic left a little below itself from being cut off to the one before.
_EPSILON = 5e-7


@dataclass(frozen=True)
class Mask:
    """Where a picture is dreamed: float32 [height, width], 0 not at all, 1 fully."""

    strength: Floats

    @classmethod
    def of(cls, pixels: Pixels, picture: Pixels, feather: float) -> Mask:
        """The mask in a picture's lightness, its edges softened by a Gaussian of `feather` pixels.

        Raises SettingsError where it has another size than the picture to be dreamed.
        """
        if pixels.shape[:2] != picture.shape[:2]:
            height, width = pixels.shape[:2]
            raise SettingsError(
                f"the mask has {width}x{height} pixels, the picture {picture.shape[1]}x{picture.shape[0]}: "
                "draw the mask on the picture's own size"
            )
        strength = pixels[..., :3] @ _LIGHTNESS / np.float32(np.iinfo(pixels.dtype).max)
        if feather:
            strength = cv2.GaussianBlur(strength, (0, 0), feather)
        return cls(np.clip(strength, 0, 1).astype(np.float32))

    def at(self, size: Size) -> Floats:
        """The mask at another size."""
        (strength,) = resized(self.strength[None], size, "area")
        return np.asarray(strength)


class ImageProcessor:
    """A picture's working size, its scale, its octaves, its alpha, and the way back.

    Raises SettingsError for pixels of another shape or type, and for a picture too narrow to dream.
    """

    def __init__(self, picture: Pixels, bundle: Metadata, settings: Settings, mask: Mask | None = None) -> None:
        channels = picture.shape[2] if picture.ndim == 3 else 0
        if picture.dtype not in (np.uint8, np.uint16) or channels not in (3, 4) or not picture.size:
            raise SettingsError(
                f"a picture is uint8 or uint16 [height, width, 3 or 4], not {picture.dtype} {list(picture.shape)}"
            )
        self._original = picture
        self._settings = settings
        self._mask = mask
        self._max_value = float(np.iinfo(picture.dtype).max)
        self._small = _working(picture, settings.max_size, bundle.smallest_size)
        self.scale = Scale.of(self._small[..., :3], self._max_value, settings.normalization, bundle.input_range)
        self.octaves = octave_sizes(
            self.size, bundle.smallest_size, settings.octaves, settings.octaves_above, settings.octave_scale
        )

    @property
    def size(self) -> Size:
        """Height and width of the picture as it is dreamed, before octaves."""
        return Size(*self._small.shape[:2])

    @property
    def largest_octave(self) -> Size:
        """Height and width of the last octave."""
        return self.octaves[-1]

    @property
    def result_size(self) -> Size:
        """Height and width of the dream."""
        if self._settings.full_size:
            return Size(*self._original.shape[:2])
        return self.size if self._settings.octave_return else self.octaves[-1]

    def base(self, size: Size) -> Image:
        """The undreamed picture at a size, as a CHW image in the backbone's range."""
        if size == self.size:
            return self.scale.to_image(self._small[..., :3])
        if size > self.size and self._original.shape[:2] > self.size:  # the file knows more than the small picture
            return self.scale.to_image(resize(self._original, size[1], size[0])[..., :3])
        if size < self.size and self._settings.interpolation == "pyramid":
            return resized(self.base(self.octaves[self.octaves.index(size) + 1]), size)
        return resized(self.scale.to_image(self._small[..., :3]), size, self._settings.interpolation)

    def colour_matrix(self) -> Floats | None:
        """What each pixel's gradient is multiplied by, float32 [3, 3]; None where colours have no matrix."""
        colours = parse_colours(self._settings.colours)
        if colours.kind == "imagenet":
            return imagenet_colours()
        if colours.kind != "own":
            return None
        # Noise has no colours of its own, only what chance left of some.
        return np.eye(3, dtype=np.float32) if self._settings.noise else own_colours(self.base(self.size), colours.share)

    def quantized(self, image: Image) -> Image:
        """The image with only the 256 (65536) levels that a picture has, cut off as TensorFlow's cast does."""
        hair = np.float32(_EPSILON * self._max_value)
        pixels = (self.scale.to_pixels(plane) + hair for plane in image)
        levels = np.stack([np.floor(np.clip(plane, 0, self._max_value)) for plane in pixels])
        return self.scale.to_image(np.moveaxis(levels, 0, 2))

    def postprocess(self, image: Image) -> Pixels:
        """The image, of any octave, as a picture of the result's size."""
        source = self._source()
        size = Size(*source.shape[:2])
        result = np.empty_like(source)
        result[..., 3:] = source[..., 3:]
        base = self.base(size_of(image)) if self._settings.full_size else None
        for channel, plane in enumerate(image):
            finite = np.nan_to_num(plane)
            if base is None:
                pixels = self.scale.to_pixels(self._fitted(finite, size))
            else:
                pixels = self._changed(source[..., channel], finite - base[channel])
            result[..., channel] = np.clip(np.rint(pixels, out=pixels), 0, self._max_value, out=pixels)
        if parse_colours(self._settings.colours).kind == "lightness":
            self._put_colours_back(result, source)
        if self._settings.blend < 1:
            _blend(result, source, self._settings.blend)
        if self._mask is not None:  # octaves and enlarging reach a little beyond it
            untouched = self._mask.at(size) == 0
            result[untouched] = source[untouched]
        return result

    def _source(self) -> Pixels:
        """The undreamed picture in the result's size."""
        if self._settings.full_size:
            return self._original
        if self.result_size == self.size:
            return self._small
        return resize(self._original, self.result_size[1], self.result_size[0])

    def _fitted(self, plane: Floats, size: Size) -> Floats:
        return plane if plane.shape == size else resized(plane[None], size, self._settings.interpolation)[0]

    def _changed(self, pixels: NDArray[Any], change: Floats) -> Floats:
        """A colour of the original with what the dream changed in it, enlarged, on top; float pixel values."""
        height, width = pixels.shape
        if change.shape > self.size:
            change = resized(change[None], self.size, "area")[0]
        enlarged: Floats = cv2.resize(change, (width, height), interpolation=cv2.INTER_CUBIC)
        enlarged /= np.float32(self.scale.slope)
        enlarged += pixels
        return enlarged

    def _put_colours_back(self, result: Pixels, source: Pixels) -> None:
        """Leaves the dream only its lightness; hue and chroma are the picture's."""
        shift = (result[..., :3] @ _LIGHTNESS - source[..., :3] @ _LIGHTNESS)[..., None]
        result[..., :3] = np.clip(np.rint(source[..., :3] + shift), 0, self._max_value)


def _blend(result: Pixels, source: Pixels, share: float) -> None:
    mixed = source[..., :3] * np.float32(1 - share) + result[..., :3] * np.float32(share)
    result[..., :3] = np.rint(mixed)


def _working(picture: Pixels, max_size: int | None, smallest: Size) -> Pixels:
    """The picture with its longer side at most `max_size`, unless the network needs it larger."""
    small = shrink(picture, max_size)
    if small.shape[0] >= smallest[0] and small.shape[1] >= smallest[1]:
        return small
    height, width = picture.shape[:2]
    factor = max(smallest[0] / height, smallest[1] / width)
    size = max(smallest[0], round(height * factor)), max(smallest[1], round(width * factor))
    if max(size) > _MAX_UPSCALED:
        raise SettingsError(
            f"a picture of {width}x{height} is too narrow: "
            f"the network needs {smallest[1]}x{smallest[0]} at least, crop it"
        )
    return resize(picture, size[1], size[0])
