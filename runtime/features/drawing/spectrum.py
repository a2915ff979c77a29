"""Spectra of images: their frequencies, the magnitudes of photographs, and the transform with its adjoint.

In this module, a spectrum is [..., height, width // 2 + 1], as `numpy.fft.rfft2` returns it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Floats, Pixels, Size
from ...errors import SettingsError
from ...image.resizing import resize
from ...settings.colours import imagenet_root

Spectrum = NDArray[np.complex64]

# How the magnitudes of photographs in decorrelated colours fall with the frequency f, as a / f**p: a relative to the
# first colour's, and p, for each colour (means of least squares over the pictures in examples/ and docs/).
_LEVELS, _FALLS = (1.0, 1.19, 1.75), (1.42, 1.29, 1.03)
# Standard deviation in levels of 255 below which a picture has no spectrum to take over.
_LEAST_CONTRAST = 2.0
# Distance of pixel values from black and white, without which their logit would be infinite.
_MARGIN = 0.02


def frequencies(size: Size) -> Floats:
    """Returns the frequency of each coefficient in cycles per pixel; the mean has that of one cycle per picture."""
    height, width = size
    down, right = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    found: Floats = np.maximum(np.hypot(down, right), 1 / max(size)).astype(np.float32)
    return found


def from_spectrum(spectrum: Spectrum, width: int) -> Floats:
    """Returns the arrays [..., height, width] of spectra: the inverse transform."""
    height = spectrum.shape[-2]
    planes: Floats = np.fft.irfft2(spectrum, s=(height, width), axes=(-2, -1)).astype(np.float32, copy=False)
    return planes


def from_spectrum_adjoint(gradient: Floats) -> Spectrum:
    """Returns the gradient with respect to a spectrum, given that with respect to `from_spectrum` of it.

    The real and the imaginary part are the gradients with respect to those of the spectrum.
    """
    height, width = gradient.shape[-2:]
    spectrum: Spectrum = np.fft.rfft2(gradient, axes=(-2, -1)).astype(np.complex64, copy=False)
    shares = np.full(width // 2 + 1, 1 / (height * width), np.float32)
    shares[1 : (width + 1) // 2] *= 2  # which stand for the negative frequencies, too
    spectrum *= shares
    return spectrum


def natural_magnitudes(size: Size) -> Floats:
    """Returns the magnitudes of photographs in general, float32 [3, ...], in decorrelated colours."""
    levels, falls = (np.array(values, np.float32)[:, None, None] for values in (_LEVELS, _FALLS))
    magnitudes: Floats = levels * frequencies(size) ** -falls
    return _without_mean(magnitudes)


def magnitudes_of(picture: Pixels, size: Size) -> Floats:
    """Returns the magnitudes of a picture's centre, float32 [3, ...], in decorrelated colours.

    `picture` is [height, width, 3 or 4]. Raises SettingsError for a picture of a single colour.
    """
    largest = np.iinfo(picture.dtype).max
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    square = resize(picture[top : top + side, left : left + side, :3], size.width, size.height).astype(
        np.float32
    ) / np.float32(largest)
    if square.std() * 255 < _LEAST_CONTRAST:
        raise SettingsError("the picture of --spectrum is of a single colour: choose one that shows something")
    values = np.clip(square, _MARGIN, 1 - _MARGIN)
    colours = np.log(values / (1 - values)) @ np.linalg.inv(imagenet_root()).T
    return _without_mean(np.abs(np.fft.rfft2(colours.transpose(2, 0, 1))).astype(np.float32))


def _without_mean(magnitudes: Floats) -> Floats:
    magnitudes[:, 0, 0] = 0
    return magnitudes
