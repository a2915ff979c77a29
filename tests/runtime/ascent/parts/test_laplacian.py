"""Laplacian-pyramid normalisation of a gradient."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from onnxdream.models.arrays import Floats
from onnxdream.runtime.ascent.parts.blur import blurred
from onnxdream.runtime.ascent.parts.laplacian import laplacian_normalized

SHAPES = [(1, 1), (1, 5), (2, 2), (2, 3), (3, 3), (5, 1), (17, 23), (32, 31), (64, 64)]


def random_gradient(height: int, width: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, 1, (3, height, width)).astype(np.float32)


def rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))


@pytest.mark.parametrize("shape", [(64, 64), (61, 45)])
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_every_band_of_the_pyramid_has_unit_strength(shape: tuple[int, int], levels: int) -> None:
    source = random_gradient(*shape) + 50 * blurred(random_gradient(*shape, 1), 8.0)
    below = source
    for level in range(levels, 0, -1):
        interleaved = np.ascontiguousarray(below.transpose(1, 2, 0))
        size = below.shape[2], below.shape[1]
        coarse = cv2.pyrDown(interleaved)
        planes = np.ascontiguousarray(coarse.transpose(2, 0, 1))
        rest = laplacian_normalized(planes, level - 1)
        enlarged = cv2.pyrUp(np.ascontiguousarray(rest.transpose(1, 2, 0)), dstsize=size)
        band = laplacian_normalized(below, level) - enlarged.transpose(2, 0, 1)
        assert rms(band) == pytest.approx(1, abs=1e-3)
        own = (interleaved - cv2.pyrUp(coarse, dstsize=size)).transpose(2, 0, 1)
        np.testing.assert_allclose(band, own / rms(own), atol=2e-3)
        below = planes
    assert rms(laplacian_normalized(below, 0)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", [1e-12, 1e-5, 1e6])
def test_the_pyramid_does_not_depend_on_the_gradient_s_size(size: float) -> None:
    source = random_gradient(48, 40)  # gradients of pictures of several megapixels are about 1e-9
    np.testing.assert_allclose(
        laplacian_normalized(source * np.float32(size), 3), laplacian_normalized(source, 3), atol=1e-3
    )


@pytest.mark.parametrize(("share", "strength"), [(1e-1, 1.0), (1e-3, 1.0), (1e-4, 1.0), (1e-6, 0.09)])
def test_a_band_is_brought_to_unit_strength_down_to_a_hundred_thousandth_of_its_gradient(
    share: float, strength: float
) -> None:
    """A weaker band counts as rounding error, and is divided by a hundred thousandth of the gradient's strength."""
    source = 1 + np.float32(share) * random_gradient(64, 64)
    found = laplacian_normalized(source, 1)
    assert rms(found - found.mean()) == pytest.approx(strength, rel=0.1)


@pytest.mark.parametrize("level", [0.0, 0.3, 0.5, 7.1])
def test_the_rounding_error_of_a_constant_is_not_amplified(level: float) -> None:
    flat = np.full((3, 31, 45), level, np.float32)
    np.testing.assert_allclose(laplacian_normalized(flat, 3), float(level > 0), atol=0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_kept_and_numbers_finite(shape: tuple[int, int]) -> None:
    source = random_gradient(*shape)
    found = laplacian_normalized(source, 4)
    assert found.shape == source.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
