"""One update, compared with its formulas."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from onnxdream.models.arrays import Floats
from onnxdream.runtime.ascent.parts.laplacian import laplacian_normalized
from onnxdream.runtime.ascent.update import Update
from onnxdream.runtime.settings.settings import GradientNorm, Settings

WIDE = (-1e9, 1e9)


def random_image(seed: int, scale: float = 1.0) -> Floats:
    values = np.random.default_rng(seed).normal(0.3, scale, (3, 11, 7))
    return values.astype(np.float32)


def applied(
    step_size: float, norm: GradientNorm, limits: tuple[float, float], image: Floats, gradient: Floats
) -> Floats:
    """Returns the image after one step; the arguments stay unchanged."""
    updated = image.copy()
    Update(Settings(step_size=step_size, gradient_norm=norm), limits).apply(updated, gradient.copy(), [], 1)
    return updated


NORMS: dict[GradientNorm, float] = {
    "std": float(np.std(random_image(1).astype(np.float64))),
    "l2": float(np.sqrt(np.mean(random_image(1).astype(np.float64) ** 2))),
    "mean-abs": float(np.mean(np.abs(random_image(1).astype(np.float64)))),
    "none": 1.0,
}


@pytest.mark.parametrize("norm", NORMS)
def test_a_step_is_step_size_times_the_gradient_over_its_norm(norm: GradientNorm) -> None:
    image, gradient = random_image(0), random_image(1)
    updated = applied(0.25, norm, WIDE, image, gradient)
    np.testing.assert_allclose(updated, image + 0.25 * gradient / NORMS[norm], rtol=1e-5, atol=1e-6)
    assert updated.dtype == np.float32


@pytest.mark.parametrize(("number", "step_size", "sigma"), [(1, 0.3, 2.0), (2, 0.2, 1.0), (3, 0.1, 0.0)])
def test_a_schedule_is_followed_from_the_first_step_to_the_last(number: int, step_size: float, sigma: float) -> None:
    image, gradient = random_image(0), random_image(1)
    updated = image.copy()
    settings = Settings(steps=3, step_size=(0.3, 0.1), blur=(2.0, 0.0), gradient_norm="none")
    Update(settings, WIDE).apply(updated, gradient.copy(), [], number)
    smooth = [cv2.GaussianBlur(plane, (0, 0), sigma) if sigma else plane for plane in gradient]
    np.testing.assert_allclose(updated, image + step_size * np.stack(smooth), rtol=1e-5, atol=1e-6)


def test_colours_come_after_smoothing_and_before_the_norm() -> None:
    image, gradient = random_image(0), random_image(1)
    matrix = np.array([[2, 0.5, 0], [0.5, 0.7, 0.1], [0, 0.1, 0.3]], np.float32)
    updated = image.copy()
    settings = Settings(step_size=0.25, colours="own", laplacian=2)
    Update(settings, WIDE, matrix).apply(updated, gradient.copy(), [], 1)
    direction = np.einsum("cd,dhw->chw", matrix, laplacian_normalized(gradient, 2))
    np.testing.assert_allclose(updated, image + 0.25 * direction / direction.std(), rtol=1e-4, atol=1e-5)


def test_the_norms_differ() -> None:
    assert len({round(norm, 6) for norm in NORMS.values()}) == 4


@pytest.mark.parametrize("norm", ["std", "l2", "mean-abs"])
def test_a_normed_step_does_not_depend_on_the_gradient_s_size(norm: GradientNorm) -> None:
    image, gradient = random_image(0), random_image(1)
    large = applied(0.25, norm, WIDE, image, gradient * np.float32(1000))
    np.testing.assert_allclose(large, applied(0.25, norm, WIDE, image, gradient), rtol=1e-4, atol=1e-5)


def test_the_image_stays_inside_the_limits() -> None:
    updated = applied(5.0, "none", (-1.0, 1.0), random_image(0), random_image(1))
    assert (updated.min(), updated.max()) == (-1.0, 1.0)


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_gradient_does_not_change_the_image(norm: GradientNorm) -> None:
    image = random_image(0, 0.1)
    np.testing.assert_array_equal(applied(0.5, norm, WIDE, image, np.zeros_like(image)), image)
