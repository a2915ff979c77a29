"""The pull towards the undreamed picture; that of L2 is tested with the optimizers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from updates import random_image

from onnxdream.models.arrays import Floats
from onnxdream.runtime.ascent.update import Update, new_slots
from onnxdream.runtime.settings.settings import Settings

SIZE, WIDE = (9, 8), (-1e9, 1e9)
IMAGE, BASE, GRADIENT = (random_image(SIZE, seed) for seed in (0, 1, 2))
PLAIN = Settings(step_size=0.02, gradient_norm="none", stay=0.2)


def moved(settings: Settings, gradients: list[Floats], mask: Floats | None = None) -> Floats:
    """Returns the image after a step for each gradient."""
    image, slots = IMAGE.copy(), new_slots(settings, IMAGE)
    for number, gradient in enumerate(gradients, 1):
        Update(settings, WIDE).apply(image, gradient.copy(), slots, number, mask, BASE)
    return image


def test_a_step_goes_back_by_a_share_of_the_distance_from_the_picture() -> None:
    expected = IMAGE + 0.02 * (GRADIENT - 10 * 0.2 * (IMAGE - BASE))
    np.testing.assert_allclose(moved(PLAIN, [GRADIENT]), expected, atol=1e-6)


def test_a_steady_direction_comes_to_rest_where_the_pull_balances_it() -> None:
    for stay, distance in ((0.2, 0.5), (1.0, 0.1)):
        found = moved(replace(PLAIN, stay=stay), 400 * [np.ones_like(IMAGE)])
        np.testing.assert_allclose(found, BASE + distance, atol=1e-3)


@pytest.mark.parametrize("step_size", [0.5, (0.5, 0.2)])
def test_a_large_step_goes_back_to_the_picture_and_no_further(step_size: Any) -> None:
    settings = replace(PLAIN, stay=1.0, step_size=step_size)
    np.testing.assert_allclose(moved(settings, [GRADIENT]), BASE + 0.5 * GRADIENT, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_an_optimizer_does_not_rescale_the_pull(optimizer: Any) -> None:
    settings = replace(PLAIN, optimizer=optimizer)
    difference = moved(settings, [GRADIENT]) - moved(replace(settings, stay=0), [GRADIENT])
    np.testing.assert_allclose(difference, -0.02 * 10 * 0.2 * (IMAGE - BASE), atol=1e-6)


def test_a_mask_holds_for_the_pull() -> None:
    mask = np.zeros(SIZE, np.float32)
    mask[4:] = 0.5
    found = moved(PLAIN, [GRADIENT], mask)
    np.testing.assert_array_equal(found[:, :4], IMAGE[:, :4])
    np.testing.assert_allclose(found - IMAGE, 0.5 * (mask > 0) * (moved(PLAIN, [GRADIENT]) - IMAGE), atol=1e-6)
