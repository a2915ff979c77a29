"""Parameters: what the ascent changes instead of the pixels, with the way from there to the images and back.

Each is a batch of n images. `values` are float32 [n, ...]. All images pass a sigmoid, so that they keep to their range
(Olah et al. 2017, "Feature Visualization").
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np

from ....models.arrays import Floats, Size
from ...settings.colours import imagenet_root
from .spectrum import Spectrum, frequencies, from_spectrum, from_spectrum_adjoint

# Amplitude of the noise that pixels and spectra start from.
_START_PIXELS, _START_FOURIER = 0.2, 0.01
# Contrast of an image before the sigmoid: standard deviations (Fel et al. 2023 leave it to the user).
_CONTRAST = 2.0
# Blur of the gradient of pixels, sigma in pixels at the first and at the last step.
_BLUR = (2.5, 0.5)


class Parameter(Protocol):
    """The parameters of a batch of images."""

    values: Floats
    step_size: float

    def images(self) -> Floats:
        """Returns the images, float32 [n, 3, height, width] from -1 to 1."""
        ...

    def backward(self, gradient: Floats) -> Floats:
        """Returns the gradient with respect to `values`, given that with respect to the latest `images()`."""
        ...

    def smoothed(self, direction: Floats, progress: float) -> Floats:
        """Returns a direction, of the shape of `values`, as it is better climbed at this progress from 0 to 1."""
        ...


class _Squashed:
    """Images that pass a sigmoid."""

    _images: Floats

    def smoothed(self, direction: Floats, progress: float) -> Floats:
        return direction

    def _squash(self, values: Floats) -> Floats:
        self._images = np.tanh(values / 2)  # a sigmoid from -1 to 1, which cannot overflow
        return self._images

    def _squash_backward(self, gradient: Floats) -> Floats:
        slope = self._images * self._images
        np.subtract(1, slope, out=slope)
        slope *= gradient
        slope *= np.float32(0.5)
        return slope


class PixelParameter(_Squashed):
    """The pixels themselves, before the sigmoid. The direction is blurred, less from step to step."""

    step_size = 0.05

    def __init__(self, generators: list[np.random.Generator], size: Size) -> None:
        self.values = np.stack([_noise(one, (3, *size)) for one in generators]) * np.float32(_START_PIXELS)

    def images(self) -> Floats:
        return self._squash(self.values)

    def backward(self, gradient: Floats) -> Floats:
        return self._squash_backward(gradient)

    def smoothed(self, direction: Floats, progress: float) -> Floats:
        sigma = _BLUR[0] * (_BLUR[1] / _BLUR[0]) ** progress
        planes = direction.reshape(-1, *direction.shape[-2:])
        return np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in planes]).reshape(direction.shape)


class FourierParameter(_Squashed):
    """A spectrum in decorrelated colours, whose coefficients count the less, the higher their frequency.

    Source: Olah et al. 2017, "Feature Visualization", section "Preconditioning and parameterization". `values` are
    float32 [n, 2, 3, height, width // 2 + 1], the real and the imaginary parts.
    """

    step_size = 0.02

    def __init__(self, generators: list[np.random.Generator], size: Size) -> None:
        found = frequencies(size)
        self._size, self._colours = size, imagenet_root()
        self._scale = np.float32(size.pixels**0.5) / found
        noise = [_noise(one, (2, 3, *found.shape)) for one in generators]
        self.values = np.stack(noise) * np.float32(_START_FOURIER)

    def images(self) -> Floats:
        spectrum = (self.values[:, 0] + 1j * self.values[:, 1]) * self._scale
        return self._squash(_mixed(from_spectrum(spectrum, self._size.width), self._colours))

    def backward(self, gradient: Floats) -> Floats:
        colours = _mixed(self._squash_backward(gradient), self._colours.T)
        spectrum = from_spectrum_adjoint(colours) * self._scale
        return np.stack([spectrum.real, spectrum.imag], axis=1)


class MacoParameter(_Squashed):
    """The phases of a spectrum whose magnitudes are fixed, in decorrelated colours.

    Source: Fel et al. 2023, "Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained
    Optimization", section 3. `magnitudes` are float32 [3, height, width // 2 + 1], and so is each of `values`, in
    radians.
    """

    step_size = 0.5

    def __init__(self, generators: list[np.random.Generator], size: Size, magnitudes: Floats) -> None:
        self._size, self._colours, self._magnitudes = size, imagenet_root(), magnitudes
        self.values = np.stack([one.uniform(-np.pi, np.pi, magnitudes.shape) for one in generators]).astype(np.float32)
        self._spectrum: Spectrum
        self._standard: Floats
        self._deviation: Floats

    def images(self) -> Floats:
        # A complex exponential takes NumPy thirty times as long.
        self._spectrum = self._magnitudes * np.cos(self.values) + 1j * (self._magnitudes * np.sin(self.values))
        planes = from_spectrum(self._spectrum, self._size.width)
        planes -= planes.mean(axis=(1, 2, 3), keepdims=True)
        self._deviation = np.sqrt((planes * planes).mean(axis=(1, 2, 3), keepdims=True))
        planes /= self._deviation
        self._standard = planes
        return self._squash(_mixed(planes, self._colours * np.float32(_CONTRAST)))

    def backward(self, gradient: Floats) -> Floats:
        standard = _mixed(self._squash_backward(gradient), self._colours.T * np.float32(_CONTRAST))
        along = (standard * self._standard).mean(axis=(1, 2, 3), keepdims=True)
        standard -= standard.mean(axis=(1, 2, 3), keepdims=True)
        standard -= self._standard * along
        standard /= self._deviation
        spectrum = from_spectrum_adjoint(standard)
        # The derivative of the spectrum with respect to its phases is the spectrum turned by 90 degrees.
        return spectrum.imag * self._spectrum.real - spectrum.real * self._spectrum.imag


def _mixed(planes: Floats, matrix: Floats) -> Floats:
    """Multiplies the colours of each pixel, [n, 3, height, width], by a matrix [3, 3]."""
    return (matrix @ planes.reshape(len(planes), 3, -1)).reshape(planes.shape)


def _noise(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return generator.standard_normal(shape, np.float32)
