"""Blurs and pyramids as matrices, compared with those of OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from onnxdream.runtime.ascent.filters import AxisFilter, Filter

SIZES = [(1, 1), (1, 7), (2, 1), (2, 3), (3, 2), (5, 40), (31, 32), (33, 63), (64, 65), (100, 97)]


def image(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(height + 100 * width).normal(size=(height, width)).astype(np.float32)


def along_rows(axis_filter: AxisFilter, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns the result of a filter down the rows, in float64."""
    blocks = axis_filter.matrix.astype(np.float64) @ values[axis_filter.positions].astype(np.float64)
    return blocks.reshape(-1, values.shape[1])[: axis_filter.length]


def filtered(image_filter: Filter, values: NDArray[np.floating]) -> NDArray[np.float64]:
    return along_rows(image_filter.columns, along_rows(image_filter.rows, values).T).T


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.7, 2.0, 9.0, 60.0])
def test_a_gaussian_agrees_with_opencv(size: tuple[int, int], sigma: float) -> None:
    expected = cv2.GaussianBlur(image(*size), (0, 0), sigma)
    np.testing.assert_allclose(filtered(Filter.gaussian(size, sigma), image(*size)), expected, atol=2e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("widest", [1.6, 20.0])
def test_gaussians_of_any_width_fit_the_positions_of_the_widest(size: tuple[int, int], widest: float) -> None:
    roomy = Filter.gaussian(size, widest)
    for sigma in (0.0, 0.05, 0.5, 1.1, widest):
        found = Filter.gaussian(size, sigma, widest)
        for axis_filter, other in ((found.rows, roomy.rows), (found.columns, roomy.columns)):
            assert axis_filter.matrix.shape == other.matrix.shape
            np.testing.assert_array_equal(axis_filter.positions, other.positions)
        expected = cv2.GaussianBlur(image(*size), (0, 0), sigma) if sigma else image(*size)
        np.testing.assert_allclose(filtered(found, image(*size)), expected, atol=0 if sigma < 0.1 else 2e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_pyramid_agrees_with_opencv(size: tuple[int, int]) -> None:
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
    """On a long axis, the blocks read at most twice its length, apart from the last block."""
    axis_filter = Filter.gaussian((4000, 1), sigma).rows
    assert axis_filter.positions.size <= 2 * 4000 + 2 * axis_filter.matrix.shape[1]
    assert 0 <= axis_filter.positions.min() <= axis_filter.positions.max() < 4000
