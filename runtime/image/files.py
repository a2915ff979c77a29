"""Reads picture files into decoded, upright pictures, and encodes and writes pictures."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import secrets
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Pixels
from ..errors import DreamError
from . import formats
from .formats import Container
from .tiff import ContainerError, DamagedContainerError

MAX_PIXELS = 2**28
_MAX_BYTES = 2**31  # of a file; OpenCV decodes no larger one from memory


class PictureError(DreamError):
    """A picture cannot be read or written. The message is one line: what happened, to which file, what to do."""


class PictureNotFoundError(PictureError, FileNotFoundError):
    """There is no file of that name."""


class PictureReadError(PictureError, OSError):
    """The file exists but cannot be opened: it is a folder, access is denied, or the disk is broken."""


class PictureFormatError(PictureError, ValueError):
    """The file is not a picture, is damaged, or is in a format that is not read."""


class PictureTooLargeError(PictureError, ValueError):
    """The picture has more than `MAX_PIXELS` pixels, or its file more than 2 GB."""


class NoPicturesError(PictureError, FileNotFoundError):
    """The folder has no pictures."""


class PictureWriteError(PictureError, OSError):
    """The picture cannot be encoded in that format, or cannot be written there."""


@dataclass(frozen=True)
class Picture:
    """One decoded picture, upright.

    `icc` is an RGB colour profile or None. `warnings` has one line for each feature of the file that was lost. `sha256`
    is the hash of the file's bytes, as hex digits.
    """

    pixels: Pixels = field(repr=False)
    icc: bytes | None = field(repr=False)
    warnings: tuple[str, ...]
    sha256: str


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


def read_picture(path: Path) -> Picture:
    """Reads a picture file, turned upright; only the first of several pages or frames.

    It is a JPEG, PNG, WebP, TIFF or BMP, or a GIF, AVIF or HEIC where these are read (see `missing_reader`). Grey
    becomes three equal planes, 16 bits stay 16 bits, and a colour profile is kept if it describes RGB. Raises
    PictureNotFoundError, PictureReadError, PictureFormatError and PictureTooLargeError.
    """
    data = _read_bytes(path)
    kind = formats.recognise(data)
    if kind and (missing := missing_reader(kind)):
        raise PictureFormatError(f"{path}: {kind} is not read yet: {missing}; or convert it: {_conversion(path)}")
    try:
        container = formats.read_container(data)
    except ContainerError as error:
        raise PictureFormatError(f"{path}: {_explain(path, data, error)}") from error
    if container.width * container.height > MAX_PIXELS:
        raise PictureTooLargeError(
            f"{path}: has {container.width} by {container.height} pixels, more than the limit of {MAX_PIXELS}; "
            f"shrink it first: {_conversion(path, '-resize 8000x8000')}"
        )
    pixels = _upright(_decode(path, container), container.orientation)
    icc = container.icc if container.icc and formats.profile_colours(container.icc) == "RGB" else None
    lines = (f"{path.name}: {warning}" for warning in (*container.warnings, *_colour_warnings(path, container)))
    return Picture(pixels, icc, tuple(lines), hashlib.sha256(data).hexdigest())


def read_note(path: Path) -> str | None:
    """The note that `encode_picture` stored in a PNG; None if there is none, or for a file of another format.

    Raises PictureNotFoundError, PictureReadError, and PictureFormatError for a damaged PNG.
    """
    data = _read_bytes(path)
    try:
        return formats.note_of(data)
    except ContainerError as error:
        raise PictureFormatError(f"{path}: {_explain(path, data, error)}") from error


def missing_reader(kind: str) -> str | None:
    """What to install to read pictures of a kind ("HEIC", …), for messages; None if it is read here."""
    if kind == "HEIC":
        return None if importlib.util.find_spec("pillow_heif") else "pip install 'onnxdream[heic]'"
    if kind in ("AVIF", "GIF"):  # since OpenCV 4.10 and 4.11, but not in every build
        built_in = re.search(rf"^\s*{kind}:\s+(?!NO\b)\S", cv2.getBuildInformation(), re.MULTILINE)
        return None if built_in else f"install an OpenCV that reads {kind}; {cv2.__version__} does not"
    return None


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
            data = formats.with_icc(data, icc)
        except ContainerError as error:
            warnings.append(f"{error} and is left out; use .png to keep it")
    if note is not None and file_format is _PNG:
        data = formats.with_note(data, note)
    return data, tuple(warnings)


def write_picture(path: Path, pixels: Pixels, icc: bytes | None = None, note: str | None = None) -> tuple[str, ...]:
    """Encodes a picture by the path's suffix and writes it, completely or not at all; returns the warnings.

    See `encode_picture`. Raises PictureWriteError.
    """
    try:
        data, warnings = encode_picture(pixels, path.suffix, icc, note)
    except PictureWriteError as error:
        raise PictureWriteError(f"{path}: {error}") from error
    temporary = path.with_name(f".onnxdream-{secrets.token_hex(8)}.tmp")
    try:
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise PictureWriteError(
            f"{path}: cannot be written ({error.strerror}); choose another folder or make room on the disk"
        ) from error
    return tuple(f"{path.name}: {line}" for line in warnings)


def shrink(pixels: Pixels, max_size: int | None) -> Pixels:
    """The picture with its longer side at most `max_size` pixels; never enlarged, and unchanged for None."""
    height, width = pixels.shape[:2]
    if max_size is None or max(height, width) <= max_size:
        return pixels
    scale = max_size / max(height, width)
    return resize(pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def resize(pixels: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """A picture at another size in pixels: uint8 or uint16 [height, width, 3 or 4], or float32 [height, width, 3].

    Averages areas if it shrinks, otherwise interpolates cubically. Colours are weighted by alpha, so that invisible
    colours do not bleed into visible ones. Returns an array of the same type.
    """
    if (height, width) == pixels.shape[:2]:
        return pixels
    shrinks = width <= pixels.shape[1] and height <= pixels.shape[0]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    colours: NDArray[Any] = cv2.resize(pixels[..., :3], (width, height), interpolation=interpolation)
    if pixels.shape[2] == 3:
        return colours
    alpha = pixels[..., 3:].astype(np.float32)
    weighted = np.concatenate([pixels[..., :3] * alpha, alpha], axis=2)
    weighted = cv2.resize(weighted, (width, height), interpolation=interpolation)
    alpha = weighted[..., 3:]
    colours = np.where(alpha > 0, weighted[..., :3] / np.maximum(alpha, 1e-6), colours)
    return _rounded(np.concatenate([colours, alpha], axis=2), pixels.dtype)


def _read_bytes(path: Path) -> bytes:
    with picture_errors(path):
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise PictureTooLargeError(f"{path}: is too large with {size / 1e9:.1f} GB; give a smaller picture")
        return path.read_bytes()


@contextmanager
def picture_errors(path: Path) -> Iterator[None]:
    """Raises a PictureError that names the path in place of an OSError."""
    try:
        yield
    except PictureError:
        raise
    except FileNotFoundError as error:
        raise PictureNotFoundError(f"{path}: no such picture; check the name and the folder") from error
    except IsADirectoryError as error:
        raise PictureReadError(f"{path}: is a folder; name the picture in it") from error
    except OSError as error:
        raise PictureReadError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _explain(path: Path, data: bytes, error: ContainerError) -> str:
    """The end of a message: why the file's bytes are not read, and what to do about it."""
    kind = formats.recognise(data)
    if not data:
        return "is empty; copy it again from its source"
    if kind is None:
        return "is not a picture; give a JPEG, PNG, WebP, TIFF or BMP file"
    if kind == "web page":
        return "is a web page, not a picture; download the picture itself"
    if kind == "video":
        return f"is a video; take a frame of it: {_frame_command(path)}"
    if kind == "camera raw":
        return f"{kind} is not read; export a JPEG from the camera app, or: {_conversion(path)}"
    if kind not in formats.READ_KINDS:
        return f"{kind} is not read; convert it: {_conversion(path)}"
    if isinstance(error, DamagedContainerError):
        return f"{error}; copy it again from its source, or save what is left: {_conversion(path)}"
    return f"{error}; convert it: {_conversion(path, '-depth 16')}"


def _conversion(path: Path, options: str = "") -> str:
    """The command with which ImageMagick converts a file into a PNG in the current folder, quoted for a shell.

    Version 7 is called magick, version 6 convert; Windows has another program of that name.
    """
    programs = ("magick",) if sys.platform == "win32" else ("magick", "convert")
    installed = next((program for program in programs if shutil.which(program)), None)
    command = f"{installed or programs[-1]} {_conversion_arguments(path, options)}"
    return command if installed else f"{command} (install ImageMagick first)"


def _frame_command(path: Path) -> str:
    """The command with which FFmpeg saves the first frame of a video as a PNG in the current folder."""
    command = f"ffmpeg -i {_conversion_arguments(path, '-frames:v 1')}"
    return command if shutil.which("ffmpeg") else f"{command} (install FFmpeg first)"


def _conversion_arguments(path: Path, options: str) -> str:
    words = (shlex.quote(str(path)), options, shlex.quote(f"{path.stem}-converted.png"))
    return " ".join(filter(None, words))


def _colour_warnings(path: Path, container: Container) -> list[str]:
    """A line if the picture's colours are lost or misread, with the remedy."""
    if container.icc is None:
        if container.colours is None:
            return []
        line = f"its colours are {container.colours} without a profile, and are read as sRGB"
        remedy = f"-profile {_profile('AdobeRGB1998')} -profile {_profile('sRGB')}"
        if container.colours != "Adobe RGB":
            return [f"{line}; if they look wrong, export it as sRGB"]
        return [f"{line}, which makes them paler; convert it first: {_conversion(path, remedy)}"]
    colours = formats.profile_colours(container.icc)
    if colours == "RGB":
        return []
    line = f"its {colours} colour profile does not fit an RGB picture and is dropped"
    remedy = f"-profile {_profile('sRGB')}"
    return [
        f"{line}; for its true colours, convert it first: {_conversion(path, remedy)}" if colours == "CMYK" else line
    ]


def _profile(name: str) -> str:
    """The path of a colour profile, as Debian's package colord-data has it, or where there is none its file name."""
    path = Path(f"/usr/share/color/icc/colord/{name}.icc")
    return str(path) if path.is_file() else path.name


def _decode(path: Path, container: Container) -> Pixels:
    """The pixels as stored, not turned upright yet. Raises PictureFormatError."""
    decode = _decoded_by_libheif if container.kind == "HEIC" else _decoded_by_opencv
    pixels = decode(container)
    if pixels is None:
        decoder = "libheif" if container.kind == "HEIC" else f"OpenCV {cv2.__version__}"
        raise PictureFormatError(
            f"{path}: {decoder} cannot decode this {container.kind}, which may be damaged; "
            f"copy it again from its source, or convert it: {_conversion(path)}"
        )
    if pixels.dtype == np.uint16 and container.bits < 16:
        largest = np.float32(2**container.bits - 1)
        pixels = _rounded(pixels * (np.float32(65535) / largest), pixels.dtype)
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
    return _rounded(np.concatenate([colours, alpha], axis=2), pixels.dtype)


def _on_white(pixels: Pixels) -> Pixels:
    """The RGB pixels that RGBA ones show on a white background."""
    white = np.iinfo(pixels.dtype).max
    alpha = pixels[..., 3:].astype(np.float32) / white
    return _rounded(pixels[..., :3] * alpha + white * (1 - alpha), pixels.dtype)


def _rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> Pixels:
    """Floating-point pixel values rounded and clipped to the range of `dtype`, uint8 or uint16."""
    rounded: Pixels = np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)
    return rounded


def _encode(pixels: Pixels, suffix: str, file_format: _Format) -> bytes:
    conversion = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    try:
        encoded, buffer = cv2.imencode(suffix, cv2.cvtColor(pixels, conversion), file_format.parameters)
    except cv2.error:
        encoded = False
    if not encoded:
        raise PictureWriteError(f"OpenCV {cv2.__version__} cannot encode this {file_format.name}; use .png")
    data = bytes(buffer)
    return formats.with_straight_alpha(data) if file_format is _TIFF and pixels.shape[2] == 4 else data
