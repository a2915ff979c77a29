"""The sizes of octaves, and the image that each one starts from."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from onnxdream.models.arrays import Image, Size
from onnxdream.runtime.image.octaves import Detail, next_octave, octave_sizes, resized, with_lost_detail


def image(height: int, width: int, seed: int = 0) -> Image:
    """A random image with a mean of 0 and a standard deviation of 1."""
    return np.random.default_rng(seed).normal(0, 1, (3, height, width)).astype(np.float32)


@pytest.mark.parametrize("size", [(375, 500), (600, 603), (78, 1300), (1024, 683)])
@pytest.mark.parametrize(("octaves", "above"), [(1, 0), (3, 0), (5, 2), (4, 3), (2, 1)])
@pytest.mark.parametrize("ratio", ["1.3", "1.4", "2", "1.1"])
def test_sizes_are_the_size_times_powers_of_the_ratio_rounded_down(
    size: tuple[int, int], octaves: int, above: int, ratio: str
) -> None:
    exact = Fraction(ratio)
    expected = [(int(size[0] * exact**n), int(size[1] * exact**n)) for n in range(above + 1 - octaves, above + 1)]
    assert octave_sizes(Size(*size), Size(1, 1), octaves, above, float(ratio)) == expected


def test_the_picture_s_own_size_is_among_them() -> None:
    assert octave_sizes(Size(375, 500), Size(1, 1), 5, 2, 1.3)[2] == (375, 500)


def test_no_octave_is_smaller_than_the_network_allows_or_repeated() -> None:
    assert octave_sizes(Size(100, 200), Size(75, 75), 8, 0, 2.0) == [(75, 75), (75, 100), (100, 200)]
    assert octave_sizes(Size(75, 75), Size(75, 75), 5, 0, 1.4) == [(75, 75)]


def test_sizes_grow() -> None:
    sizes = octave_sizes(Size(90, 130), Size(80, 27), 30, 3, 1.05)
    assert sizes == sorted(set(sizes))
    assert sizes[-1][0] > 90


@pytest.mark.parametrize("size", [(20, 30), (17, 23), (50, 61), (20, 40), (10, 30)])
def test_resizing_keeps_a_constant_and_returns_the_size(size: tuple[int, int]) -> None:
    flat = np.full((3, 20, 30), 0.7, np.float32)
    for interpolation in ("area", "linear", "pyramid"):
        changed = resized(flat, size, interpolation)
        assert changed.shape == (3, *size)
        np.testing.assert_allclose(changed, 0.7, rtol=1e-6)


def test_shrinking_averages_areas() -> None:
    original = image(20, 30)
    means = original.reshape(3, 10, 2, 15, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(resized(original, (10, 15), "area"), means, atol=1e-6)
    quarter = original.reshape(3, 5, 4, 15, 2).mean(axis=(2, 4))
    assert np.abs(resized(original, (5, 15), "linear") - quarter).max() > 0.1


def test_resizing_to_the_same_size_returns_a_copy() -> None:
    original = image(5, 6)
    copy = resized(original, (5, 6))
    assert copy is not original
    np.testing.assert_array_equal(copy, original)
    copy += 1
    assert original.max() < copy.max()


def test_detail_before_of_an_undreamed_image_is_exactly_the_next_base() -> None:
    base, following = image(20, 30), image(28, 42, 1)
    np.testing.assert_array_equal(next_octave(base.copy(), base, following, "before"), following)


def test_detail_before_adds_the_enlarged_change() -> None:
    base, following = image(20, 30), image(40, 60, 1)
    dreamed = base + image(20, 30, 2)
    enlarged = np.stack([cv2.resize(plane, (60, 40), interpolation=cv2.INTER_LINEAR) for plane in dreamed - base])
    np.testing.assert_allclose(next_octave(dreamed, base, following, "before"), following + enlarged, atol=1e-6)


@pytest.mark.parametrize("detail", ["after", "none"])
def test_otherwise_the_dreamed_image_is_enlarged(detail: Detail) -> None:
    base, following, dreamed = image(20, 30), image(28, 42, 1), image(20, 30, 2)
    np.testing.assert_array_equal(next_octave(dreamed, base, following, detail), resized(dreamed, (28, 42)))


def test_detail_after_restores_the_lost_detail() -> None:
    base = image(28, 42)
    smaller = resized(base, (20, 30), "area")
    enlarged = next_octave(smaller, smaller, base, "after")
    assert np.abs(enlarged - base).max() > 0.5
    np.testing.assert_allclose(with_lost_detail(enlarged, base, smaller), base, atol=1e-5)
    np.testing.assert_allclose(with_lost_detail(enlarged + 3, base, smaller), base + 3, atol=1e-5)
