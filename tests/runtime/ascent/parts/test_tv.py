"""The gradient of an image's total variation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxdream.models.arrays import Floats
from onnxdream.runtime.ascent.parts.tv import total_variation_gradient

SHAPES = [(1, 1), (1, 5), (2, 2), (2, 3), (3, 3), (5, 1), (17, 23), (32, 31), (64, 64)]


def random_gradient(height: int, width: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, 1, (3, height, width)).astype(np.float32)


def total_variation(image: NDArray[np.float64]) -> float:
    total = 0.0
    for plane in image:
        right, down = np.zeros_like(plane), np.zeros_like(plane)
        right[:, :-1] = plane[:, 1:] - plane[:, :-1]
        down[:-1] = plane[1:] - plane[:-1]
        total += float(np.sqrt(right**2 + down**2 + 1e-6).sum())
    return total


@pytest.mark.parametrize("shape", [(5, 7), (1, 6), (4, 1), (2, 2)])
def test_the_gradient_of_total_variation_agrees_with_finite_differences(shape: tuple[int, int]) -> None:
    image = random_gradient(*shape)
    expected, step = np.zeros(image.shape), 1e-6
    for index in np.ndindex(*image.shape):
        up, down = image.astype(np.float64), image.astype(np.float64)
        up[index] += step
        down[index] -= step
        expected[index] = (total_variation(up) - total_variation(down)) / (2 * step)
    np.testing.assert_allclose(total_variation_gradient(image), expected, atol=1e-4)


def test_a_flat_image_has_no_gradient() -> None:
    assert not total_variation_gradient(np.full((3, 6, 5), 0.4, np.float32)).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_kept_and_numbers_finite(shape: tuple[int, int]) -> None:
    source = random_gradient(*shape)
    found = total_variation_gradient(source)
    assert found.shape == source.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
