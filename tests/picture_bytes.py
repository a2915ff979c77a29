"""Picture files made byte by byte, sound and hostile."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from onnxdream.runtime.image import formats
from onnxdream.runtime.image.formats import read_container

HEIGHT, WIDTH = 17, 31


PICTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)


PROFILE = bytes(16) + b"RGB " + bytes(range(256)) * 3
GREY_PROFILE = PROFILE[:16] + b"GRAY" + PROFILE[20:]


ByteOrder = Literal["little", "big"]


def encoded(suffix: str, pixels: NDArray[np.uint8] = PICTURE[..., :3], *options: int) -> bytes:
    done, buffer = cv2.imencode(suffix, pixels, options)
    assert done
    return buffer.tobytes()


def decoded(data: bytes) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels


def tiff(shorts: Mapping[int, tuple[int, ...]], pixels: bytes = b"", order: ByteOrder = "little") -> bytes:
    """A TIFF structure of SHORT tags, and of one strip of pixels, last, where there are any."""
    values = {tag: b"".join(number.to_bytes(2, order) for number in numbers) for tag, numbers in shorts.items()}
    if pixels:  # LONG: where the strip begins, how long it is
        begin = 8 + 2 + 12 * (len(values) + 2) + 4 + sum(len(value) for value in values.values() if len(value) > 4)
        values |= {273: begin.to_bytes(4, order), 279: len(pixels).to_bytes(4, order)}
    directory, rest = len(values).to_bytes(2, order), b""
    for tag, value in sorted(values.items()):
        kind, count = (4, 1) if tag in (273, 279) else (3, len(value) // 2)
        if len(value) > 4:
            rest += value
            value = (8 + 2 + 12 * len(values) + 4 + len(rest) - len(value)).to_bytes(4, order)
        directory += tag.to_bytes(2, order) + kind.to_bytes(2, order) + count.to_bytes(4, order)
        directory += value.ljust(4, b"\0")
    signature = b"II*\0" if order == "little" else b"MM\0*"
    return signature + (8).to_bytes(4, order) + directory + bytes(4) + rest + pixels


def tiff_picture(pixels: NDArray[np.uint8 | np.uint16], order: ByteOrder = "little", **tags: int) -> bytes:
    """An RGB or RGBA TIFF file, 8 or 16 bits, not packed."""
    height, width, channels = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    shorts = {256: (width,), 257: (height,), 258: (bits,) * channels, 259: (1,), 262: (2,), 277: (channels,)}
    shorts |= {278: (height,), 284: (1,), **{int(tag[1:]): (value,) for tag, value in tags.items()}}
    stored = pixels.astype(pixels.dtype.newbyteorder("<" if order == "little" else ">"))
    return tiff(shorts, stored.tobytes(), order)


def exif_block(orientation: int, order: ByteOrder = "little") -> bytes:
    return tiff({274: (orientation,)}, order=order)


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def png_chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def webp_chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


def webp(*chunks: bytes) -> bytes:
    return b"RIFF" + (4 + len(b"".join(chunks))).to_bytes(4, "little") + b"WEBP" + b"".join(chunks)


def vp8x_chunk(flags: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sizes)


def in_jpeg(data: bytes, *segments: bytes) -> bytes:
    return data[:2] + b"".join(segments) + data[2:]


def in_png(data: bytes, *chunks: bytes) -> bytes:
    return data[:33] + b"".join(chunks) + data[33:]


def with_exif(data: bytes, block: bytes) -> bytes:
    """An encoded JPEG, PNG or WebP (one without VP8X) that holds an EXIF block."""
    kind = formats.recognise(data)
    if kind == "JPEG":
        return in_jpeg(data, jpeg_segment(0xE1, b"Exif\0\0" + block))
    if kind == "PNG":
        return in_png(data, png_chunk(b"eXIf", block))
    found = read_container(data)
    return webp(vp8x_chunk(0x08, found.width, found.height), data[12:], webp_chunk(b"EXIF", block))
