"""Momentum, Adam, penalties and masks of an update, compared with their formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxdream.models.arrays import Floats
from onnxdream.runtime.ascent.parts.blur import blurred
from onnxdream.runtime.ascent.parts.laplacian import laplacian_normalized
from onnxdream.runtime.ascent.parts.tv import total_variation_gradient
from onnxdream.runtime.ascent.update import Update, new_slots
from onnxdream.runtime.settings.settings import Settings

WIDE = (-1e9, 1e9)
SHAPE = (3, 11, 7)
PLAIN = Settings(step_size=0.1, gradient_norm="none", clip=False)


def random_image(seed: int, shape: tuple[int, ...] = SHAPE) -> Floats:
    return np.random.default_rng(seed).normal(0.2, 1, shape).astype(np.float32)


GRADIENTS = [random_image(seed) for seed in range(1, 7)]


def ascended(settings: Settings, limits: tuple[float, float] = WIDE, mask: Floats | None = None) -> Floats:
    """Returns the image after one step for each gradient."""
    update, image = Update(settings, limits), random_image(0)
    slots = new_slots(settings, image)
    for number, gradient in enumerate(GRADIENTS, 1):
        update.apply(image, gradient.copy(), slots, number, mask)
    return image


def one_step(limits: tuple[float, float] = WIDE, **choices: Any) -> NDArray[np.float64]:
    """Returns what one step of size 1 adds to the image."""
    settings = replace(PLAIN, step_size=1.0, **choices)
    image = random_image(0)
    Update(settings, limits).apply(image, random_image(1), [], 1)
    return image.astype(np.float64) - random_image(0)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_momentum_is_the_heavy_ball(momentum: float) -> None:
    image, velocity = random_image(0).astype(np.float64), np.zeros(SHAPE)
    for gradient in GRADIENTS:
        velocity = momentum * velocity + gradient
        image = image + 0.1 * velocity
    found = ascended(replace(PLAIN, optimizer="momentum", momentum=momentum))
    np.testing.assert_allclose(found, image, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_adam_is_that_of_kingma_and_ba(momentum: float) -> None:
    image, mean, square = random_image(0).astype(np.float64), np.zeros(SHAPE), np.zeros(SHAPE)
    for number, gradient in enumerate(GRADIENTS, 1):
        mean = momentum * mean + (1 - momentum) * gradient
        square = 0.999 * square + 0.001 * gradient.astype(np.float64) ** 2
        unbiased = mean / (1 - momentum**number), square / (1 - 0.999**number)
        image = image + 0.1 * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    found = ascended(replace(PLAIN, optimizer="adam", momentum=momentum))
    np.testing.assert_allclose(found, image, rtol=1e-3, atol=1e-4)


def test_each_optimizer_has_its_number_of_slots() -> None:
    for optimizer, count in (("plain", 0), ("momentum", 1), ("adam", 2)):
        slots = new_slots(Settings(optimizer=optimizer), random_image(0))  # type: ignore[arg-type]
        assert len(slots) == count
        assert all(slot.shape == SHAPE and not slot.any() for slot in slots)


def test_tv_reduces_speckle() -> None:
    expected = random_image(1) - 0.3 * total_variation_gradient(random_image(0))
    np.testing.assert_allclose(one_step(tv=0.3), expected, atol=1e-5)
    image = random_image(0)
    before = np.abs(np.diff(image)).sum()
    Update(replace(PLAIN, tv=1.0), WIDE).apply(image, np.zeros(SHAPE, np.float32), [], 1)
    assert np.abs(np.diff(image)).sum() < before


@pytest.mark.parametrize(("limits", "middle"), [((-1.0, 1.0), 0.0), ((0.0, 255.0), 127.5), ((-120.0, 150.0), 15.0)])
def test_l2_pulls_towards_the_middle_of_the_range(limits: tuple[float, float], middle: float) -> None:
    expected = random_image(1) - 0.3 * (random_image(0) - middle)
    np.testing.assert_allclose(one_step(limits, l2=0.3), expected, rtol=1e-4, atol=1e-4)


def test_penalties_come_after_the_norm() -> None:
    scaled = random_image(1) / np.std(random_image(1).astype(np.float64))
    np.testing.assert_allclose(one_step(gradient_norm="std", l2=0.5), scaled - 0.5 * random_image(0), atol=1e-5)


def test_smoothing_comes_before_the_norm() -> None:
    smooth = blurred(random_image(1), 1.5)
    np.testing.assert_allclose(one_step(blur=1.5, gradient_norm="std"), smooth / smooth.std(), rtol=1e-3, atol=1e-4)
    bands = laplacian_normalized(smooth, 2)
    np.testing.assert_allclose(one_step(blur=1.5, laplacian=2), bands, rtol=1e-3, atol=1e-4)


def test_clip_keeps_the_image_in_its_range() -> None:
    limits = (-0.5, 0.5)
    inside = ascended(replace(PLAIN, clip=True), limits)
    assert (inside.min(), inside.max()) == limits
    outside = ascended(replace(PLAIN, clip=False), limits)
    assert outside.min() < limits[0]
    assert outside.max() > limits[1]


@pytest.mark.parametrize("optimizer", ["plain", "momentum", "adam"])
def test_a_mask_of_zero_leaves_pixels_unchanged(optimizer: Any) -> None:
    mask = np.ones(SHAPE[1:], np.float32)
    mask[:4] = 0
    mask[4] = 0.5
    settings = replace(PLAIN, optimizer=optimizer, tv=0.2, l2=0.2)
    found, free = ascended(settings, mask=mask), ascended(settings)
    np.testing.assert_array_equal(found[:, :4], random_image(0)[:, :4])
    assert (found[:, 4:] != random_image(0)[:, 4:]).all()
    assert (found[:, 4] != free[:, 4]).any()


def test_a_mask_scales_the_step() -> None:
    mask = np.random.default_rng(3).random(SHAPE[1:]).astype(np.float32)
    image = random_image(0)
    Update(PLAIN, WIDE).apply(image, random_image(1), [], 1, mask)
    np.testing.assert_allclose(image, random_image(0) + 0.1 * random_image(1) * mask, atol=1e-6)
