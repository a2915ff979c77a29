"""Eq. 1 of the paper, and its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from pictures_fixture import noise

from onnxdream.models.arrays import Floats, Image
from onnxdream.runtime.image.scaling import Scale
from onnxdream.runtime.settings.settings import Normalization

LIMITS = (-1.0, 1.0)


def pixels_of(scale: Scale, image: Image) -> Floats:
    """The pixel values of a whole image, float32 [height, width, 3]."""
    return np.stack([scale.to_pixels(plane) for plane in image], axis=2)


def test_minmax_is_eq_1_over_all_pixels_and_channels_mapped_to_the_input_range() -> None:
    pixels = np.array([[[10, 20, 30], [40, 50, 110]]], np.uint8)
    image = Scale.of(pixels, 255.0, "minmax", LIMITS).to_image(pixels)
    normalised = (pixels - 10) / (110 - 10)
    np.testing.assert_allclose(image, (normalised * 2 - 1).transpose(2, 0, 1), atol=1e-6)
    assert image.dtype == np.float32
    assert image.flags.c_contiguous
    assert (image.min(), image.max()) == LIMITS


def test_the_backbone_s_normalization_does_not_depend_on_the_picture() -> None:
    pixels = np.array([[[0, 51, 255]]], np.uint8)
    image = Scale.of(pixels, 255.0, "backbone", LIMITS).to_image(pixels)
    np.testing.assert_allclose(image.ravel(), pixels.ravel() / 127.5 - 1, atol=1e-6)


def test_sixteen_bits_have_their_own_largest_value() -> None:
    pixels = np.array([[[0, 65535, 13107]]], np.uint16)
    image = Scale.of(pixels, 65535.0, "backbone", (0.0, 255.0)).to_image(pixels)
    np.testing.assert_allclose(image.ravel(), [0.0, 255.0, 51.0], rtol=1e-6)


@pytest.mark.parametrize("normalization", ["minmax", "backbone"])
@pytest.mark.parametrize("limits", [(-1.0, 1.0), (0.0, 255.0), (-123.7, 151.1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_inverse_restores_every_pixel(
    normalization: Normalization, limits: tuple[float, float], dtype: type
) -> None:
    pixels = noise(17, 23, dtype=dtype)
    scale = Scale.of(pixels, float(np.iinfo(dtype).max), normalization, limits)
    back = pixels_of(scale, scale.to_image(pixels))
    assert back.shape == pixels.shape
    assert np.abs(back - pixels).max() < 0.02
    np.testing.assert_array_equal(np.rint(back).astype(dtype), pixels)


@pytest.mark.parametrize("level", [0, 7, 255])
def test_a_flat_picture_divides_by_one(level: int) -> None:
    pixels = np.full((3, 4, 3), level, np.uint8)
    scale = Scale.of(pixels, 255.0, "minmax", LIMITS)
    image = scale.to_image(pixels)
    assert np.all(image == -1.0)
    np.testing.assert_array_equal(pixels_of(scale, image), pixels)
    assert pixels_of(scale, image + 2.0).max() == level + 1
