"""Parameters and spectra: the gradients with respect to them equal finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pictures_fixture import photograph

from onnxdream.models.arrays import Size
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.features.drawing.parameters import FourierParameter, MacoParameter, Parameter, PixelParameter
from onnxdream.runtime.features.drawing.spectrum import (
    from_spectrum,
    from_spectrum_adjoint,
    magnitudes_of,
    natural_magnitudes,
)

SIZES = (Size(12, 16), Size(11, 15))
Make = Callable[[list[np.random.Generator], Size], Parameter]


def maco(generators: list[np.random.Generator], size: Size) -> MacoParameter:
    return MacoParameter(generators, size, natural_magnitudes(size))


def generators(count: int = 2) -> list[np.random.Generator]:
    return [np.random.default_rng(number) for number in range(count)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("make", "share"), [(PixelParameter, 0.01), (FourierParameter, 0.01), (maco, 0.002)])
def test_the_gradient_equals_finite_differences(make: Make, share: float, size: Size) -> None:
    parameter = make(generators(), size)
    random = np.random.default_rng(0)
    # A smooth function of the images whose gradient is known: the sum of a * x + b * x**2.
    a, b = random.standard_normal((2, 2, 3, *size))

    def value() -> float:
        images = parameter.images().astype(np.float64)
        return float((a * images + b * images**2).sum())

    images = parameter.images()
    gradient = parameter.backward((a + 2 * b * images).astype(np.float32))
    assert gradient.dtype == images.dtype == np.float32
    start = parameter.values.copy()
    for direction in (gradient, random.standard_normal(start.shape)):
        step = direction * (share * np.linalg.norm(start) / np.linalg.norm(direction))
        parameter.values[:] = start + step
        above = value()
        parameter.values[:] = start - step
        # A random direction is almost at right angles to the gradient, so that rounding counts.
        rounding = 1e-3 * float(np.linalg.norm(gradient) * np.linalg.norm(step)) / start.size**0.5
        assert (above - value()) / 2 == pytest.approx(float((gradient * step).sum()), rel=1e-3, abs=rounding)
        parameter.values[:] = start


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_transform_and_its_adjoint_have_the_same_products(size: Size) -> None:
    random = np.random.default_rng(0)
    real, imaginary = random.standard_normal((2, 3, size.height, size.width // 2 + 1)).astype(np.float32)
    gradient = random.standard_normal((3, *size)).astype(np.float32)
    adjoint = from_spectrum_adjoint(gradient)
    forward = float((from_spectrum(real + 1j * imaginary, size.width) * gradient).sum(dtype=np.float64))
    backward = float((adjoint.real * real + adjoint.imag * imaginary).sum(dtype=np.float64))
    assert forward == pytest.approx(backward, rel=1e-5)


def test_the_pictures_of_a_batch_are_those_that_are_made_alone() -> None:
    for make in (PixelParameter, FourierParameter, maco):
        together = make(generators(3), SIZES[0]).images()
        alone = make(generators(3)[2:], SIZES[0]).images()
        np.testing.assert_allclose(together[2], alone[0], atol=1e-6)


def test_maco_keeps_the_magnitudes_and_only_them() -> None:
    size = SIZES[0]
    parameter = maco(generators(1), size)
    parameter.values += 0.3
    parameter.images()
    np.testing.assert_allclose(abs(parameter._spectrum[0]), natural_magnitudes(size), rtol=1e-5)


def test_smoothing_blurs_pixels_less_from_step_to_step_and_leaves_spectra_alone() -> None:
    dot = np.zeros((1, 3, 31, 31), np.float32)
    dot[..., 15, 15] = 1
    pixels = PixelParameter(generators(1), Size(31, 31))
    first, last = (pixels.smoothed(dot, progress)[0, 0, 15, 15] for progress in (0.0, 1.0))
    assert first < last < 1
    fourier = FourierParameter(generators(1), Size(31, 31))
    assert fourier.smoothed(fourier.values, 0.0) is fourier.values


def test_the_magnitudes_of_a_picture_are_those_of_its_centre() -> None:
    size = Size(32, 32)
    picture = photograph(64, 96)
    found = magnitudes_of(picture, size)
    assert found.shape == natural_magnitudes(size).shape
    assert (found[:, 0, 0] == 0).all()
    changed = picture.copy()
    changed[:, :16] = 0  # beyond the square in the middle
    np.testing.assert_array_equal(magnitudes_of(changed, size), found)
    sixteen_bits = picture.astype(np.uint16) * 257
    assert np.abs(magnitudes_of(sixteen_bits, size) - found).mean() < 0.05 * found.mean()


def test_a_picture_of_one_colour_has_no_spectrum() -> None:
    with pytest.raises(SettingsError, match="single colour"):
        magnitudes_of(np.full((40, 40, 3), 90, np.uint8), Size(32, 32))


def test_natural_magnitudes_fall_with_the_frequency() -> None:
    found = natural_magnitudes(Size(64, 64))
    for colour in found:
        assert (np.diff(colour[0, 1:]) < 0).all()
        assert (np.diff(colour[1:33, 0]) < 0).all()
