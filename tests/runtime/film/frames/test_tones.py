"""Tones that frames are held to."""

from __future__ import annotations

import numpy as np
from pictures_fixture import noise

from onnxdream.models.arrays import Image
from onnxdream.runtime.film.frames.tones import Tones


def image(seed: int, mix: np.ndarray | None = None) -> Image:
    values = np.moveaxis(noise(40, 60, seed=seed), 2, 0).astype(np.float32) / 127.5 - 1
    return values if mix is None else np.einsum("ij,jyx->iyx", mix.astype(np.float32), values)


def test_an_image_is_given_the_tones_of_another() -> None:
    other = image(1, np.array([[1, 0.4, 0], [0.3, 0.8, 0.1], [0, 0.1, 0.9]]))
    held = Tones.of(other).held(image(2))
    np.testing.assert_allclose(held.mean(axis=(1, 2)), other.mean(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(np.cov(held.reshape(3, -1)), np.cov(other.reshape(3, -1)), atol=1e-4)


def test_an_image_keeps_its_own_tones() -> None:
    own = image(3)
    np.testing.assert_allclose(Tones.of(own).held(own), own, atol=1e-5)


def test_a_grey_image_stays_grey_and_a_weak_one_is_not_blown_up() -> None:
    grey = np.repeat(image(4)[:1], 3, axis=0)
    held = Tones.of(grey).held(np.float32(0.8) * grey)
    np.testing.assert_allclose(held, grey, atol=1e-3)
    weak = Tones.of(image(5)).held(np.float32(0.01) * image(6))
    assert weak.std(axis=(1, 2)).max() < 0.021 * image(6).std(axis=(1, 2)).max()


def test_an_image_of_one_colour_stays_finite() -> None:
    flat = np.full((3, 20, 20), 0.3, np.float32)
    for held in (Tones.of(flat).held(flat), Tones.of(flat).held(image(7)), Tones.of(image(7)).held(flat)):
        assert np.isfinite(held).all()
