"""Blurs and pyramids as matrices, against OpenCV's own."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from onnxdream.runtime.ascent.filters import AxisFilter, Filter

SIZES = [(1, 1), (1, 7), (2, 1), (2, 3), (3, 2), (5, 40), (31, 32), (33, 63), (64, 65), (100, 97)]


def image(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(height + 100 * width).normal(size=(height, width)).astype(np.float32)


def along_rows(band: AxisFilter, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """A band as it is meant, in float64."""
    blocks = band.matrix.astype(np.float64) @ values[band.positions].astype(np.float64)
    return blocks.reshape(-1, values.shape[1])[: band.length]


def filtered(chosen: Filter, values: NDArray[np.floating]) -> NDArray[np.float64]:
    return along_rows(chosen.columns, along_rows(chosen.rows, values).T).T


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.7, 2.0, 9.0, 60.0])
def test_a_gaussian_is_opencv_s(size: tuple[int, int], sigma: float) -> None:
    expected = cv2.GaussianBlur(image(*size), (0, 0), sigma)
    np.testing.assert_allclose(filtered(Filter.gaussian(size, sigma), image(*size)), expected, atol=2e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("widest", [1.6, 20.0])
def test_gaussians_of_any_width_fit_the_positions_of_the_widest(size: tuple[int, int], widest: float) -> None:
    roomy = Filter.gaussian(size, widest)
    for sigma in (0.0, 0.05, 0.5, 1.1, widest):
        found = Filter.gaussian(size, sigma, widest)
        for band, other in ((found.rows, roomy.rows), (found.columns, roomy.columns)):
            assert band.matrix.shape == other.matrix.shape
            np.testing.assert_array_equal(band.positions, other.positions)
        expected = cv2.GaussianBlur(image(*size), (0, 0), sigma) if sigma else image(*size)
        np.testing.assert_allclose(filtered(found, image(*size)), expected, atol=0 if sigma < 0.1 else 2e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_pyramid_is_opencv_s(size: tuple[int, int]) -> None:
    down = Filter.halving(size)
    coarse = cv2.pyrDown(image(*size))
    assert down.size == coarse.shape
    np.testing.assert_allclose(filtered(down, image(*size)), coarse, atol=2e-6)
    up = Filter.doubling(down.size, size)
    enlarged = cv2.pyrUp(coarse, dstsize=(size[1], size[0]))
    assert up.size == size
    np.testing.assert_allclose(filtered(up, coarse), enlarged, atol=2e-6)


@pytest.mark.parametrize("sigma", [0.7, 20.0, 300.0])
def test_blocks_do_not_multiply_the_work(sigma: float) -> None:
    """Of a long axis: what the blocks read is at most twice its length, but for the last."""
    band = Filter.gaussian((4000, 1), sigma).rows
    assert band.positions.size <= 2 * 4000 + 2 * band.matrix.shape[1]
    assert 0 <= band.positions.min() <= band.positions.max() < 4000
