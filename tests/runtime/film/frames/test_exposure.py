"""Exposure: what the change of a frame may add to its picture."""

from __future__ import annotations

import numpy as np
import pytest

from onnxdream.models.arrays import Image
from onnxdream.runtime.film.frames.exposure import Exposure, visibility


def image(scale: float, seed: int) -> Image:
    return (np.random.default_rng(seed).normal(0, scale, (3, 40, 50))).astype(np.float32)


def test_a_change_keeps_to_the_means_and_the_variance_of_the_first() -> None:
    base, first = image(0.3, 0), image(0.2, 1) + 0.02
    exposure = Exposure.of(base + first, base)
    later = first * np.float32(1.2) + np.float32(0.3)  # brighter and with more contrast
    held = exposure.held(later, base, 0.8)
    np.testing.assert_allclose(held.mean((1, 2)), first.mean((1, 2)), atol=1e-6)
    planes = (base + held).var(axis=(1, 2)).mean()
    assert planes == pytest.approx((base + first).var(axis=(1, 2)).mean(), rel=1e-4)


def test_the_gain_makes_up_for_the_persistence_and_for_no_more() -> None:
    base, first = image(0.3, 0), image(0.2, 1)
    exposure = Exposure.of(base + first, base)
    weak = first * np.float32(0.1)
    np.testing.assert_allclose(exposure.held(weak, base, 0.8).std(), weak.std() / 0.8, rtol=1e-3)
    np.testing.assert_allclose(exposure.held(weak, base, 0.0).std(), weak.std() * 1.5, rtol=1e-3)
    strong = first * np.float32(9)
    np.testing.assert_allclose(exposure.held(strong, base, 0.8).std(), strong.std() / 2, rtol=1e-3)


def test_a_change_of_nothing_stays_nothing() -> None:
    base = image(0.3, 0)
    nothing = np.zeros_like(base)
    np.testing.assert_array_equal(Exposure.of(base, base).held(nothing, base, 0.8), nothing)


def test_a_blank_picture_shows_no_dream() -> None:
    picture = image(0.3, 0)
    assert visibility(np.full_like(picture, -1)) == 0
    assert visibility(picture * np.float32(0.003)) == 0
    assert 0 < visibility(picture * np.float32(0.1)) < 1
    assert visibility(picture) == 1
