"""The Gaussian blur of a gradient."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxdream.models.arrays import Floats
from onnxdream.runtime.ascent.parts.blur import blurred

SHAPES = [(1, 1), (1, 5), (2, 2), (2, 3), (3, 3), (5, 1), (17, 23), (32, 31), (64, 64)]


def random_gradient(height: int, width: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, 1, (3, height, width)).astype(np.float32)


def rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))


def test_a_blur_does_not_change_a_constant() -> None:
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


def test_a_wider_blur_leaves_less_energy() -> None:
    source = random_gradient(64, 64)
    energies = [rms(source), *(rms(blurred(source, sigma)) for sigma in (0.7, 1.5, 3.0))]
    assert energies == sorted(energies, reverse=True)
    # White noise under a Gaussian keeps 1 / (2 sqrt(pi) sigma) of its amplitude.
    assert energies[2] == pytest.approx(1 / (2 * np.pi**0.5 * 1.5), rel=0.15)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_kept_and_numbers_finite(shape: tuple[int, int]) -> None:
    source = random_gradient(*shape)
    found = blurred(source, 2.0)
    assert found.shape == source.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
