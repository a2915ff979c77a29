"""The decoding and the encoding of pixels, with OpenCV and, for HEIC, libheif."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ....models.arrays import Pixels
from ...errors import PictureWriteError
from ..resizing import rounded
from . import png, tiff
from .container import Container, ContainerError, UndecodableError
from .kinds import with_icc


@dataclass(frozen=True)
class _Format:
    """A file format: OpenCV's parameters to encode it, and what its files can store; `longest_side` is in pixels."""

    name: str
    parameters: tuple[int, ...]
    alpha: bool
    sixteen_bits: bool
    longest_side: int


_PNG = _Format("PNG", (), alpha=True, sixteen_bits=True, longest_side=1_000_000)
_TIFF = _Format("TIFF", (), alpha=True, sixteen_bits=True, longest_side=2**31 - 1)
_WEBP = _Format("WebP", (cv2.IMWRITE_WEBP_QUALITY, 95), alpha=True, sixteen_bits=False, longest_side=16383)
_JPEG = _Format(  # 4:4:4, full colour resolution: a dream's detail is coloured, and 4:2:0 would smear it
    "JPEG",
    (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    alpha=False,
    sixteen_bits=False,
    longest_side=65500,
)
_PREVIEW = _Format("JPEG", (cv2.IMWRITE_JPEG_QUALITY, 85), alpha=False, sixteen_bits=False, longest_side=65500)
_FORMATS = {".png": _PNG, ".jpg": _JPEG, ".jpeg": _JPEG, ".webp": _WEBP, ".tif": _TIFF, ".tiff": _TIFF}
WRITTEN_SUFFIXES = tuple(_FORMATS)

_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}  # by the number of channels
# EXIF orientation: whether to swap rows with columns, then to reverse the rows, and the columns.
_ORIENTATIONS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def decode_picture(container: Container) -> Pixels:
    """Decodes the pixels of a picture file, turned upright. Raises UndecodableError."""
    return _upright(_decoded(container), container.orientation)


def _decoded(container: Container) -> Pixels:
    """The pixels as stored, not turned upright yet, with straight alpha. Raises UndecodableError."""
    decode = _decoded_by_libheif if container.kind == "HEIC" else _decoded_by_opencv
    pixels = decode(container)
    if pixels is None:
        decoder = "libheif" if container.kind == "HEIC" else f"OpenCV {cv2.__version__}"
        raise UndecodableError(f"{decoder} cannot decode this {container.kind}, which may be damaged")
    if pixels.dtype == np.uint16 and container.bits < 16:
        largest = np.float32(2**container.bits - 1)
        pixels = rounded(pixels * (np.float32(65535) / largest), pixels.dtype)
    if pixels.shape[2] == 4 and container.opaque:
        return pixels[..., :3]
    return _with_straight_alpha(pixels) if pixels.shape[2] == 4 and container.premultiplied else pixels


def _decoded_by_opencv(container: Container) -> Pixels | None:
    """The pixels, RGB or RGBA, or None if the file cannot be decoded."""
    pixels: NDArray[Any] | None = None
    with _OPENCV_SILENCE, suppress(cv2.error):
        pixels = cv2.imdecode(np.frombuffer(container.decodable, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return None
    rgb: Pixels = cv2.cvtColor(pixels, _TO_RGB[pixels.shape[2] if pixels.ndim == 3 else 1])
    return rgb


def _decoded_by_libheif(container: Container) -> Pixels | None:
    """The pixels, RGB or RGBA, turned upright, or None if the file cannot be decoded."""
    import pillow_heif  # the extra `heic`

    try:
        picture = pillow_heif.open_heif(container.decodable, convert_hdr_to_8bit=False)
        pixels: NDArray[Any] = np.array(picture)
    except (ValueError, RuntimeError, OSError, SyntaxError, EOFError, IndexError):
        return None
    if pixels.dtype == np.uint16:
        pixels >>= np.uint16(max(0, 16 - container.bits))  # pillow-heif fills the lower bits with zeros
    return pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2)


class _OpenCVSilence:
    """Keeps OpenCV from printing warnings about a file while any thread decodes one: our own messages report on it.

    The log level is the whole process's: the first thread in saves it, and the last one out restores it.
    """

    def __init__(self) -> None:
        self._logging = getattr(cv2.utils, "logging", cv2)  # moved after OpenCV 4.12
        self._lock = threading.Lock()
        self._threads = 0
        self._level = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._threads == 0:
                self._level = self._logging.getLogLevel()
                self._logging.setLogLevel(0)
            self._threads += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if self._threads == 0:
                self._logging.setLogLevel(self._level)


_OPENCV_SILENCE = _OpenCVSilence()


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    swap, reverse_rows, reverse_columns = _ORIENTATIONS[orientation]
    if swap:
        pixels = pixels.swapaxes(0, 1)
    upright: NDArray[Any] = np.ascontiguousarray(pixels[:: -1 if reverse_rows else 1, :: -1 if reverse_columns else 1])
    return upright


def _with_straight_alpha(pixels: Pixels) -> Pixels:
    """RGBA pixels whose colours are multiplied by alpha, converted to straight alpha."""
    alpha = pixels[..., 3:].astype(np.float32)
    colours = pixels[..., :3] * (np.iinfo(pixels.dtype).max / np.maximum(alpha, 1))
    return rounded(np.concatenate([colours, alpha], axis=2), pixels.dtype)


def encode_picture(
    pixels: Pixels, suffix: str, icc: bytes | None = None, note: str | None = None
) -> tuple[bytes, tuple[str, ...]]:
    """Encodes a picture; returns the file's bytes and a warning for each feature that the format cannot store.

    `suffix` is one of `WRITTEN_SUFFIXES`. `icc` is a colour profile. `note` is a text that only a PNG stores. JPEG and
    WebP are lossy, with quality 95; PNG and TIFF are lossless, with 8 or 16 bits. Raises PictureWriteError.
    """
    file_format = _FORMATS.get(suffix.lower())
    if file_format is None:
        raise PictureWriteError(f"'{suffix}' is not a picture suffix; use one of {', '.join(WRITTEN_SUFFIXES)}")
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype not in (np.uint8, np.uint16):
        description = f"{pixels.dtype} of shape {pixels.shape}"
        raise PictureWriteError(f"{description} is not a picture; give uint8 or uint16 [height, width, 3 or 4]")
    height, width, channels = pixels.shape
    if max(height, width) > file_format.longest_side:
        limit = f"a {file_format.name} has at most {file_format.longest_side} pixels per side"
        raise PictureWriteError(f"{width} by {height} pixels are too many: {limit}; use .tif or shrink it")
    warnings = []
    if pixels.dtype == np.uint16 and not file_format.sixteen_bits:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        warnings.append(f"a {file_format.name} stores 8 bits, not 16; use .png or .tif to keep them")
    if channels == 4 and not file_format.alpha:
        pixels = _on_white(pixels)
        warnings.append(f"a {file_format.name} stores no alpha: the picture is put on white; use .png to keep it")
    data = _encode(pixels, suffix.lower(), file_format)
    if icc is not None:
        try:
            data = with_icc(data, icc)
        except ContainerError as error:
            warnings.append(f"{error} and is left out; use .png to keep it")
    if note is not None and file_format is _PNG:
        data = png.with_note(data, note)
    return data, tuple(warnings)


def encode_preview(pixels: Pixels) -> bytes:
    """Encodes a picture, uint8 or uint16 [height, width, 3 or 4], for the screen: a small JPEG, without its profile.

    Raises PictureWriteError.
    """
    if pixels.shape[2] == 4:
        pixels = _on_white(pixels)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return _encode(pixels, ".jpg", _PREVIEW)


def _on_white(pixels: Pixels) -> Pixels:
    """The RGB pixels that RGBA ones show on a white background."""
    white = np.iinfo(pixels.dtype).max
    alpha = pixels[..., 3:].astype(np.float32) / white
    return rounded(pixels[..., :3] * alpha + white * (1 - alpha), pixels.dtype)


def _encode(pixels: Pixels, suffix: str, file_format: _Format) -> bytes:
    conversion = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    try:
        encoded, buffer = cv2.imencode(suffix, cv2.cvtColor(pixels, conversion), file_format.parameters)
    except cv2.error:
        encoded = False
    if not encoded:
        raise PictureWriteError(f"OpenCV {cv2.__version__} cannot encode this {file_format.name}; use .png")
    data = bytes(buffer)
    return tiff.with_straight_alpha(data) if file_format is _TIFF and pixels.shape[2] == 4 else data
