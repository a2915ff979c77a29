"""Views: their adjoints, their sizes, and what they show."""

from __future__ import annotations

from typing import get_args

import cv2
import numpy as np
import pytest
from pictures_fixture import photograph

from onnxdream.models.arrays import Size
from onnxdream.runtime.features.drawing.views import Affine, Crop, Shifted, Views, ViewsName, Whole, resampling

SIZE = Size(24, 30)
SMALLEST = Size(19, 19)


@pytest.mark.parametrize("progress", [0.0, 1.0])
@pytest.mark.parametrize("name", get_args(ViewsName))
def test_a_view_and_its_adjoint_have_the_same_products(name: ViewsName, progress: float) -> None:
    random = np.random.default_rng(0)
    views = Views(name, SIZE, SMALLEST)
    images = random.standard_normal((2, 3, *SIZE)).astype(np.float32)
    for _ in range(3):
        for view in views.at(progress, random):
            seen = view.of(images) - view.of(np.zeros_like(images))  # without noise
            gradient = random.standard_normal(seen.shape).astype(np.float32)
            assert seen.shape == (2, 3, *views.seen)
            returned = view.adjoint(gradient)
            assert returned.shape == images.shape
            forward = float((seen.astype(np.float64) * gradient).sum())
            assert forward == pytest.approx(float((images.astype(np.float64) * returned).sum()), rel=1e-5, abs=1e-4)


def test_each_step_has_as_many_views_as_are_counted() -> None:
    for name in get_args(ViewsName):
        views = Views(name, SIZE, SMALLEST)
        assert len(views.at(0.5, np.random.default_rng(0))) == views.count


def test_crops_are_seen_at_no_less_than_the_smallest_size() -> None:
    assert Views("crops", Size(40, 40), SMALLEST).seen == (30, 30)
    assert Views("crops", Size(20, 20), SMALLEST).seen == SMALLEST


def test_an_affine_view_is_that_of_opencv() -> None:
    """OpenCV interpolates at places rounded to 1/32 of a pixel."""
    picture = photograph(48, 64).astype(np.float32) / 255
    view = Affine(Size(48, 64), 1.1, 8.0, 2.0, -3.0)
    matrix = cv2.getRotationMatrix2D(((64 - 1) / 2, (48 - 1) / 2), 8.0, 1.1)
    matrix[:, 2] += (-3.0, 2.0)
    expected = cv2.warpAffine(picture, matrix, (64, 48), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    seen = view.of(picture.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)
    assert np.abs(seen - expected).max() < 0.02


def test_views_that_move_nothing_show_the_image() -> None:
    images = np.random.default_rng(0).standard_normal((1, 3, *SIZE)).astype(np.float32)
    for view in (Whole(), Shifted(0, 0), Affine(SIZE, 1.0, 0.0, 0.0, 0.0)):
        np.testing.assert_allclose(view.of(images), images, atol=1e-5)


def test_resampling_averages_where_it_shrinks_and_interpolates_where_it_enlarges() -> None:
    row = np.arange(16, dtype=np.float32)
    np.testing.assert_allclose(resampling(16, 16, 0, 16) @ row, row, atol=1e-6)
    np.testing.assert_allclose(resampling(16, 8, 4, 4) @ row, np.arange(3.75, 7.5, 0.5), atol=1e-5)
    alternating = np.tile([0.0, 1.0], 8).astype(np.float32)
    np.testing.assert_allclose((resampling(16, 4, 0, 16) @ alternating)[1:3], [0.5, 0.5], atol=1e-6)


def test_crops_get_smaller_and_stay_inside() -> None:
    views = Views("crops", Size(64, 64), SMALLEST)
    random = np.random.default_rng(0)
    extents = []
    for progress in (0.0, 1.0):
        crops = [crop for _ in range(20) for crop in views.at(progress, random)]
        assert all(isinstance(crop, Crop) for crop in crops)
        seen = [crop.adjoint(np.ones((1, 3, *views.seen), np.float32))[0, 0] != 0 for crop in crops]
        extents.append(float(np.mean([shown.mean() for shown in seen])))
    assert extents[1] < 0.5 * extents[0]
