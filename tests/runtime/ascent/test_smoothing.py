"""What a gradient is smoothed by, and what pulls a dream back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from onnxdream.runtime.ascent.regularizers import total_variation_slope
from onnxdream.runtime.ascent.smoothing import blurred, laplacian_normalized

Array = NDArray[np.float32]
SHAPES = [(1, 1), (1, 5), (2, 2), (2, 3), (3, 3), (5, 1), (17, 23), (32, 31), (64, 64)]


def random_gradient(height: int, width: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 1, (3, height, width)).astype(np.float32)


def rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))


def test_a_constant_stays_under_a_blur() -> None:
    flat = np.full((3, 21, 34), 0.7, np.float32)
    np.testing.assert_allclose(blurred(flat, 3.0), 0.7, rtol=1e-5)


@pytest.mark.parametrize("sigma", [0.8, 2.0, 4.0])
def test_a_blurred_point_is_a_gaussian_of_that_width(sigma: float) -> None:
    point = np.zeros((3, 65, 65), np.float32)
    point[1, 32, 32] = 1
    spread = blurred(point, sigma)
    assert not spread[0].any()  # planes do not mix
    assert not spread[2].any()
    assert spread.sum() == pytest.approx(1, abs=1e-4)
    distance = np.arange(65) - 32
    for axis in (0, 1):
        variance = float((spread[1].sum(axis=axis) * distance**2).sum())
        assert variance**0.5 == pytest.approx(sigma, rel=0.03)


def test_a_blur_takes_energy_and_a_wider_one_more() -> None:
    source = random_gradient(64, 64)
    energies = [rms(source), *(rms(blurred(source, sigma)) for sigma in (0.7, 1.5, 3.0))]
    assert energies == sorted(energies, reverse=True)
    # White noise under a Gaussian keeps 1 / (2 sqrt(pi) sigma) of its amplitude.
    assert energies[2] == pytest.approx(1 / (2 * np.pi**0.5 * 1.5), rel=0.15)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_kept_and_numbers_finite(shape: tuple[int, int]) -> None:
    source = random_gradient(*shape)
    for smooth in (blurred(source, 2.0), laplacian_normalized(source, 4), total_variation_slope(source)):
        assert smooth.shape == source.shape
        assert smooth.dtype == np.float32
        assert np.isfinite(smooth).all()


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
    source = random_gradient(48, 40)  # a picture of some megapixels has a gradient of 1e-9
    np.testing.assert_allclose(
        laplacian_normalized(source * np.float32(size), 3), laplacian_normalized(source, 3), atol=1e-3
    )


@pytest.mark.parametrize(("share", "strength"), [(1e-1, 1.0), (1e-3, 1.0), (1e-4, 1.0), (1e-6, 0.09)])
def test_a_band_is_brought_to_unit_strength_down_to_a_hundred_thousandth_of_its_gradient(
    share: float, strength: float
) -> None:
    """Below that it is taken for rounding, and divided by a hundred thousandth of the gradient's strength at most."""
    source = 1 + np.float32(share) * random_gradient(64, 64)
    found = laplacian_normalized(source, 1)
    assert rms(found - found.mean()) == pytest.approx(strength, rel=0.1)


@pytest.mark.parametrize("level", [0.0, 0.3, 0.5, 7.1])
def test_a_constant_s_rounding_is_not_blown_up_in_the_pyramid(level: float) -> None:
    flat = np.full((3, 31, 45), level, np.float32)
    np.testing.assert_allclose(laplacian_normalized(flat, 3), float(level > 0), atol=0.05)


def total_variation(image: NDArray[np.float64]) -> float:
    total = 0.0
    for plane in image:
        right, down = np.zeros_like(plane), np.zeros_like(plane)
        right[:, :-1] = plane[:, 1:] - plane[:, :-1]
        down[:-1] = plane[1:] - plane[:-1]
        total += float(np.sqrt(right**2 + down**2 + 1e-6).sum())
    return total


@pytest.mark.parametrize("shape", [(5, 7), (1, 6), (4, 1), (2, 2)])
def test_the_slope_of_total_variation_is_that_of_finite_differences(shape: tuple[int, int]) -> None:
    image = random_gradient(*shape)
    expected, step = np.zeros(image.shape), 1e-6
    for index in np.ndindex(*image.shape):
        up, down = image.astype(np.float64), image.astype(np.float64)
        up[index] += step
        down[index] -= step
        expected[index] = (total_variation(up) - total_variation(down)) / (2 * step)
    np.testing.assert_allclose(total_variation_slope(image), expected, atol=1e-4)


def test_nothing_pulls_at_a_flat_image() -> None:
    assert not total_variation_slope(np.full((3, 6, 5), 0.4, np.float32)).any()
