"""The kinds of file: recognised by their first bytes, and, if they are pictures, read up to their pixels.

A kind has the name that users know: "JPEG", "camera raw", …
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable

import cv2

from . import bitmaps, heif, jpeg, png, tiff, webp
from .container import Container, ContainerError, DamagedContainerError

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (png.SIGNATURE, "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"BM", "BMP"),
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"GIF8", "GIF"),
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\x1aE\xdf\xa3", "video"),
)
_READERS: dict[str | None, Callable[[bytes], Container]] = {
    "JPEG": jpeg.read,
    "PNG": png.read,
    "WebP": webp.read,
    "TIFF": tiff.read,
    "BMP": bitmaps.read_bmp,
    "GIF": bitmaps.read_gif,
    "AVIF": heif.read_avif,
    "HEIC": heif.read_heic,
}
READ_KINDS = frozenset(_READERS)
_PROFILE_WRITERS: dict[str | None, Callable[[bytes, bytes], bytes]] = {
    "JPEG": jpeg.with_icc,
    "PNG": png.with_icc,
    "WebP": webp.with_icc,
    "TIFF": tiff.with_icc,
}


def recognise(data: bytes) -> str | None:
    """The kind of a file by its first bytes: "JPEG", …, or one that is not read ("HEIC", "web page"), or None."""
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF":
        return "WebP" if data[8:12] == b"WEBP" else "video"
    if data[4:8] == b"ftyp":
        return _ftyp_kind(data[8:64])
    text = data[:1024].lower()
    if b"<svg" in text:
        return "SVG"
    return "web page" if b"<html" in text or b"<!doctype html" in text else None


def missing_reader(kind: str) -> str | None:
    """What to install to read pictures of a kind ("HEIC", …), for messages; None if it is read here."""
    if kind == "HEIC":
        return None if importlib.util.find_spec("pillow_heif") else "pip install 'onnxdream[heic]'"
    if kind in ("AVIF", "GIF"):  # since OpenCV 4.10 and 4.11, but not in every build
        built_in = re.search(rf"^\s*{kind}:\s+(?!NO\b)\S", cv2.getBuildInformation(), re.MULTILINE)
        return None if built_in else f"install an OpenCV that reads {kind}; {cv2.__version__} does not"
    return None


def read_container(data: bytes) -> Container:
    """Reads a JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or HEIC file up to its pixels.

    Raises DamagedContainerError, and ContainerError for a file of another format or with pixels that OpenCV misreads
    (a TIFF with floating-point samples, …).
    """
    kind = recognise(data)
    if kind not in _READERS:
        raise ContainerError("it is not a picture of a kind that is read")
    container = _READERS[kind](data)
    if not (container.width and container.height):
        raise DamagedContainerError("its header states no size")
    return container


def with_icc(data: bytes, icc: bytes) -> bytes:
    """Adds an ICC profile to the bytes of a JPEG, PNG, WebP or TIFF file that has none.

    Raises ContainerError if the file cannot store it: a JPEG has at most 255 segments of 65519 bytes for it.
    """
    return _PROFILE_WRITERS[recognise(data)](data, icc)


def _ftyp_kind(brands: bytes) -> str:
    """The kind of an ISO base media file by its brands, of which the major one comes first."""
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    if any(brand in brands for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1")):
        return "HEIC"
    return "camera raw" if brands.startswith(b"crx") else "video"
