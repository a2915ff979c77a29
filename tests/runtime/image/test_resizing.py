"""Pictures shrunk and enlarged."""

from __future__ import annotations

import numpy as np
import pytest

from onnxdream.runtime.image.resizing import resize, shrink


@pytest.mark.parametrize(
    ("size", "max_size", "expected"),
    [
        ((300, 400), 200, (150, 200)),
        ((400, 300), 200, (200, 150)),
        ((300, 400), 400, (300, 400)),
        ((300, 400), 1000, (300, 400)),
        ((300, 400), None, (300, 400)),
        ((3, 400), 50, (1, 50)),
        ((333, 500), 100, (67, 100)),
    ],
)
def test_shrinking_bounds_the_longer_side(
    size: tuple[int, int], max_size: int | None, expected: tuple[int, int]
) -> None:
    for channels, dtype in ((3, np.uint8), (4, np.uint8), (3, np.uint16), (4, np.uint16)):
        shrunk = shrink(np.full((*size, channels), 77, dtype), max_size)
        assert (shrunk.shape, shrunk.dtype) == ((*expected, channels), dtype)
        assert (shrunk == 77).all()


def test_shrinking_averages_areas() -> None:
    pixels = np.random.default_rng(5).integers(0, 65536, (12, 20, 3), dtype=np.uint16)
    averages = pixels.reshape(3, 4, 5, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize(pixels, 5, 3) - averages).max() <= 0.5
    opaque = np.dstack([pixels, np.full((12, 20), 65535, np.uint16)])
    assert np.abs(resize(opaque, 5, 3)[..., :3] - averages).max() <= 1


def test_hidden_colours_do_not_bleed_into_visible_ones() -> None:
    pixels = np.zeros((2, 4, 4), np.uint8)
    pixels[:, 0] = (200, 100, 50, 255)
    pixels[:, 1] = (0, 255, 0, 0)
    pixels[:, 2:] = (10, 20, 30, 0)
    np.testing.assert_array_equal(resize(pixels, 2, 1), [[[200, 100, 50, 128], [10, 20, 30, 0]]])


def test_a_change_can_be_enlarged() -> None:
    change = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4, 1).repeat(3, axis=2)
    enlarged = resize(change, 9, 7)
    assert (enlarged.shape, enlarged.dtype) == ((7, 9, 3), np.float32)
    assert enlarged.min() < -0.9
    assert enlarged.max() > 0.9
    step = np.repeat(np.float32([-1, 1]), 4).reshape(1, 8, 1).repeat(3, axis=2)
    assert resize(step, 32, 4).max() > 1.01  # cubic interpolation overshoots
