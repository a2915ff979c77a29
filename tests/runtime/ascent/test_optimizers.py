"""Momentum, Adam, pulls and masks of an update, against the formulas written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxdream.runtime.ascent.parts.blur import blurred
from onnxdream.runtime.ascent.parts.laplacian import laplacian_normalized
from onnxdream.runtime.ascent.parts.tv import total_variation_gradient
from onnxdream.runtime.ascent.update import Update, new_slots
from onnxdream.runtime.settings.settings import Settings

Array = NDArray[np.float32]
WIDE = (-1e9, 1e9)
SHAPE = (3, 11, 7)
PLAIN = Settings(step_size=0.1, gradient_norm="none", clip=False)


def some(seed: int, shape: tuple[int, ...] = SHAPE) -> Array:
    return np.random.default_rng(seed).normal(0.2, 1, shape).astype(np.float32)


GRADIENTS = [some(seed) for seed in range(1, 7)]


def climbed(settings: Settings, limits: tuple[float, float] = WIDE, mask: Array | None = None) -> Array:
    """The image after a step for each of the gradients."""
    update, image = Update(settings, limits), some(0)
    slots = new_slots(settings, image)
    for number, gradient in enumerate(GRADIENTS, 1):
        update.apply(image, gradient.copy(), slots, number, mask)
    return image


def one_step(limits: tuple[float, float] = WIDE, **choices: Any) -> NDArray[np.float64]:
    """What one step of size 1 adds to the image."""
    settings = replace(PLAIN, step_size=1.0, **choices)
    image = some(0)
    Update(settings, limits).apply(image, some(1), [], 1)
    return image.astype(np.float64) - some(0)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_momentum_is_the_heavy_ball(momentum: float) -> None:
    image, velocity = some(0).astype(np.float64), np.zeros(SHAPE)
    for gradient in GRADIENTS:
        velocity = momentum * velocity + gradient
        image = image + 0.1 * velocity
    found = climbed(replace(PLAIN, optimizer="momentum", momentum=momentum))
    np.testing.assert_allclose(found, image, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_adam_is_kingma_and_ba_s(momentum: float) -> None:
    image, mean, square = some(0).astype(np.float64), np.zeros(SHAPE), np.zeros(SHAPE)
    for number, gradient in enumerate(GRADIENTS, 1):
        mean = momentum * mean + (1 - momentum) * gradient
        square = 0.999 * square + 0.001 * gradient.astype(np.float64) ** 2
        unbiased = mean / (1 - momentum**number), square / (1 - 0.999**number)
        image = image + 0.1 * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    found = climbed(replace(PLAIN, optimizer="adam", momentum=momentum))
    np.testing.assert_allclose(found, image, rtol=1e-3, atol=1e-4)


def test_the_optimizers_remember_as_much_as_they_need() -> None:
    for optimizer, count in (("plain", 0), ("momentum", 1), ("adam", 2)):
        slots = new_slots(Settings(optimizer=optimizer), some(0))  # type: ignore[arg-type]
        assert len(slots) == count
        assert all(slot.shape == SHAPE and not slot.any() for slot in slots)


def test_tv_pulls_against_speckle() -> None:
    expected = some(1) - 0.3 * total_variation_gradient(some(0))
    np.testing.assert_allclose(one_step(tv=0.3), expected, atol=1e-5)
    image = some(0)
    before = np.abs(np.diff(image)).sum()
    Update(replace(PLAIN, tv=1.0), WIDE).apply(image, np.zeros(SHAPE, np.float32), [], 1)
    assert np.abs(np.diff(image)).sum() < before


@pytest.mark.parametrize(("limits", "middle"), [((-1.0, 1.0), 0.0), ((0.0, 255.0), 127.5), ((-120.0, 150.0), 15.0)])
def test_l2_pulls_towards_the_middle_of_the_range(limits: tuple[float, float], middle: float) -> None:
    expected = some(1) - 0.3 * (some(0) - middle)
    np.testing.assert_allclose(one_step(limits, l2=0.3), expected, rtol=1e-4, atol=1e-4)


def test_pulls_come_after_the_norm() -> None:
    scaled = some(1) / np.std(some(1).astype(np.float64))
    np.testing.assert_allclose(one_step(gradient_norm="std", l2=0.5), scaled - 0.5 * some(0), atol=1e-5)


def test_smoothing_comes_before_the_norm() -> None:
    smooth = blurred(some(1), 1.5)
    np.testing.assert_allclose(one_step(blur=1.5, gradient_norm="std"), smooth / smooth.std(), rtol=1e-3, atol=1e-4)
    bands = laplacian_normalized(smooth, 2)
    np.testing.assert_allclose(one_step(blur=1.5, laplacian=2), bands, rtol=1e-3, atol=1e-4)


def test_clip_keeps_to_the_range_and_without_it_the_image_leaves_it() -> None:
    limits = (-0.5, 0.5)
    inside = climbed(replace(PLAIN, clip=True), limits)
    assert (inside.min(), inside.max()) == limits
    outside = climbed(replace(PLAIN, clip=False), limits)
    assert outside.min() < limits[0]
    assert outside.max() > limits[1]


@pytest.mark.parametrize("optimizer", ["plain", "momentum", "adam"])
def test_a_mask_of_zero_leaves_pixels_as_they_are(optimizer: Any) -> None:
    mask = np.ones(SHAPE[1:], np.float32)
    mask[:4] = 0
    mask[4] = 0.5
    settings = replace(PLAIN, optimizer=optimizer, tv=0.2, l2=0.2)
    found, free = climbed(settings, mask=mask), climbed(settings)
    np.testing.assert_array_equal(found[:, :4], some(0)[:, :4])
    assert (found[:, 4:] != some(0)[:, 4:]).all()
    assert (found[:, 4] != free[:, 4]).any()


def test_a_mask_scales_the_step() -> None:
    mask = np.random.default_rng(3).random(SHAPE[1:]).astype(np.float32)
    image = some(0)
    Update(PLAIN, WIDE).apply(image, some(1), [], 1, mask)
    np.testing.assert_allclose(image, some(0) + 0.1 * some(1) * mask, atol=1e-6)
