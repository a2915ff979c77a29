"""Pictures, and picture files built byte by byte, valid and hostile ones."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from onnxdream.models.arrays import Pixels
from onnxdream.runtime.image.formats.kinds import read_container, recognise

HEIGHT, WIDTH = 17, 31
PICTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)

# ICC profiles: only the colour space in the header is valid.
PROFILE = bytes(16) + b"RGB " + bytes(range(256)) * 3
GREY_PROFILE = PROFILE[:16] + b"GRAY" + PROFILE[20:]

ByteOrder = Literal["little", "big"]

# By EXIF orientation: from the pixels as stored to the upright picture.
ORIENTATIONS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.rot90(np.fliplr(pixels), 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(np.fliplr(pixels), -1),
    8: lambda pixels: np.rot90(pixels, 1),
}


def blocks(channels: int = 3, dtype: type = np.uint8) -> Pixels:
    """A picture of 40 by 24 pixels in blocks of 8 by 8, no two alike, which JPEG hardly changes."""
    small = np.random.default_rng(7).integers(0, 256, (3, 5, channels), dtype=np.uint8)
    pixels = small.repeat(8, axis=0).repeat(8, axis=1)
    return pixels if dtype is np.uint8 else pixels.astype(np.uint16) * 257


def bgr(pixels: Pixels) -> Pixels:
    """The pixels with red and blue exchanged, as OpenCV encodes them."""
    return np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])


def stored(folder: Path, name: str, data: bytes) -> Path:
    """The path of a new file with these bytes."""
    path = folder / name
    path.write_bytes(data)
    return path


def encoded(suffix: str, pixels: NDArray[np.uint8] = PICTURE[..., :3], *options: int) -> bytes:
    """A picture file as OpenCV writes it; `pixels` is uint8 [height, width] or [height, width, 3 or 4], BGR[A]."""
    succeeded, buffer = cv2.imencode(suffix, pixels, options)
    assert succeeded
    return buffer.tobytes()


def decoded(data: bytes) -> NDArray[np.uint8]:
    """The pixels of a picture file as OpenCV reads them, BGR[A] or grey."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels


def tiff_tags(shorts: Mapping[int, tuple[int, ...]], pixels: bytes = b"", byte_order: ByteOrder = "little") -> bytes:
    """A TIFF structure of SHORT tags, followed by one strip of pixels if there are any."""
    values = {tag: b"".join(number.to_bytes(2, byte_order) for number in numbers) for tag, numbers in shorts.items()}
    if pixels:  # tags of type LONG: the offset and the length of the strip
        offset = 8 + 2 + 12 * (len(values) + 2) + 4 + sum(len(value) for value in values.values() if len(value) > 4)
        values |= {273: offset.to_bytes(4, byte_order), 279: len(pixels).to_bytes(4, byte_order)}
    directory, rest = len(values).to_bytes(2, byte_order), b""
    for tag, value in sorted(values.items()):
        kind, count = (4, 1) if tag in (273, 279) else (3, len(value) // 2)
        if len(value) > 4:
            rest += value
            value = (8 + 2 + 12 * len(values) + 4 + len(rest) - len(value)).to_bytes(4, byte_order)
        directory += tag.to_bytes(2, byte_order) + kind.to_bytes(2, byte_order) + count.to_bytes(4, byte_order)
        directory += value.ljust(4, b"\0")
    signature = b"II*\0" if byte_order == "little" else b"MM\0*"
    return signature + (8).to_bytes(4, byte_order) + directory + bytes(4) + rest + pixels


def tiff_picture(pixels: Pixels, byte_order: ByteOrder = "little", **tags: int) -> bytes:
    """An uncompressed RGB or RGBA TIFF file; `tags` are named by an underscore and their number, as in _274=6."""
    height, width, channels = pixels.shape
    bits = 8 * pixels.dtype.itemsize
    shorts = {256: (width,), 257: (height,), 258: (bits,) * channels, 259: (1,), 262: (2,), 277: (channels,)}
    shorts |= {278: (height,), 284: (1,), **{int(tag[1:]): (value,) for tag, value in tags.items()}}
    stored = pixels.astype(pixels.dtype.newbyteorder("<" if byte_order == "little" else ">"))
    return tiff_tags(shorts, stored.tobytes(), byte_order)


def gif(*blocks: bytes, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A GIF file of these blocks, with a palette of black and white."""
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return b"GIF89a" + size + b"\x80\0\0" + bytes(3) + b"\xff" * 3 + b"".join(blocks) + b";"


def gif_frame(level: int, width: int = WIDTH, height: int = HEIGHT, left: int = 0, top: int = 0) -> bytes:
    """A frame of one colour of the palette, 0 or 1; every pixel is written after a code that clears the table."""
    bits = "".join(f"{code:03b}"[::-1] for code in [*(4, level) * (width * height), 5])  # codes of 3 bits, lowest first
    packed = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))
    blocks = b"".join(
        bytes((len(part),)) + part for part in (packed[at : at + 255] for at in range(0, len(packed), 255))
    )
    sides = b"".join(side.to_bytes(2, "little") for side in (left, top, width, height))
    return b"," + sides + b"\0\2" + blocks + b"\0"


def gif_control(transparent: int | None = None) -> bytes:
    """The block that precedes a frame, with the colour that is transparent."""
    return b"!\xf9\4" + bytes((transparent is not None, 0, 0, transparent or 0)) + b"\0"


def box(name: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + name + body


def heif(*properties: bytes, brand: bytes = b"avif", numbers: bytes | None = None, items: int = 1) -> bytes:
    """An AVIF or HEIC file up to its pixels, whose last picture is the primary one and has these property boxes.

    `numbers` are the bytes of the properties' numbers, from 1; each of the pictures before has the first property.
    """
    numbers = bytes(range(1, len(properties) + 1)) if numbers is None else numbers
    given = b"".join(number.to_bytes(2, "big") + b"\1\1" for number in range(1, items))
    given += items.to_bytes(2, "big") + bytes((len(numbers),)) + numbers
    associations = bytes(4) + items.to_bytes(4, "big") + given
    container = box(b"ipco", b"".join(properties)) + box(b"ipma", associations)
    meta = bytes(4) + box(b"pitm", bytes(4) + items.to_bytes(2, "big")) + box(b"iprp", container)
    return box(b"ftyp", brand + bytes(4) + b"mif1") + box(b"meta", meta)


def heif_size(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """The property box with a picture's size."""
    return box(b"ispe", bytes(4) + width.to_bytes(4, "big") + height.to_bytes(4, "big"))


def colour_exif(colour_space: int, interoperability: bytes = b"", byte_order: ByteOrder = "little") -> bytes:
    """An EXIF block with a colour space (1 is sRGB, 65535 uncalibrated), and an interoperability index like R03."""

    def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
        number = tag.to_bytes(2, byte_order) + kind.to_bytes(2, byte_order) + count.to_bytes(4, byte_order)
        return number + value.ljust(4, b"\0")

    def directory(*entries: bytes) -> bytes:
        return len(entries).to_bytes(2, byte_order) + b"".join(entries) + bytes(4)

    first_end = 8 + len(directory(bytes(12)))
    exif_end = first_end + len(directory(bytes(12), bytes(12)))
    signature = (b"II*\0" if byte_order == "little" else b"MM\0*") + (8).to_bytes(4, byte_order)
    exif = directory(
        entry(40961, 3, 1, colour_space.to_bytes(2, byte_order)), entry(40965, 4, 1, exif_end.to_bytes(4, byte_order))
    )
    interop = directory(entry(1, 2, len(interoperability) + 1, interoperability + b"\0"))
    return signature + directory(entry(34665, 4, 1, first_end.to_bytes(4, byte_order))) + exif + interop


def exif_block(orientation: int, byte_order: ByteOrder = "little") -> bytes:
    """An EXIF block with an orientation and nothing else."""
    return tiff_tags({274: (orientation,)}, byte_order=byte_order)


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def png_chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def webp_chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)


def webp(*chunks: bytes) -> bytes:
    """A WebP file of these chunks."""
    return b"RIFF" + (4 + len(b"".join(chunks))).to_bytes(4, "little") + b"WEBP" + b"".join(chunks)


def vp8x_chunk(flags: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """The WebP chunk with the flags of the file's features, and the picture's size."""
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + sizes)


def in_jpeg(data: bytes, *segments: bytes) -> bytes:
    """A JPEG file with these segments inserted at its beginning."""
    return data[:2] + b"".join(segments) + data[2:]


def in_png(data: bytes, *chunks: bytes) -> bytes:
    """A PNG file with these chunks inserted after its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def with_exif(data: bytes, block: bytes) -> bytes:
    """An encoded JPEG, PNG or WebP (one without VP8X) with an EXIF block added."""
    kind = recognise(data)
    if kind == "JPEG":
        return in_jpeg(data, jpeg_segment(0xE1, b"Exif\0\0" + block))
    if kind == "PNG":
        return in_png(data, png_chunk(b"eXIf", block))
    container = read_container(data)
    return webp(vp8x_chunk(0x08, container.width, container.height), data[12:], webp_chunk(b"EXIF", block))


def png_by_hand(bits: int, colour: int, row: bytes, width: int, *chunks: bytes) -> bytes:
    """A PNG file of one row of pixels."""
    header = width.to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes((bits, colour, 0, 0, 0))
    data = in_png(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header), *chunks)
    return data + png_chunk(b"IDAT", zlib.compress(b"\0" + row)) + png_chunk(b"IEND", b"")


# A valid file of each kind that OpenCV writes.
VALID = {
    "JPEG": encoded(".jpg"),
    "PNG": encoded(".png", PICTURE),
    "lossy WebP": encoded(".webp", PICTURE[..., :3], cv2.IMWRITE_WEBP_QUALITY, 90),
    "lossless WebP": encoded(".webp", PICTURE[..., :3], cv2.IMWRITE_WEBP_QUALITY, 101),
    "WebP with alpha": encoded(".webp", PICTURE, cv2.IMWRITE_WEBP_QUALITY, 90),
    "TIFF": encoded(".tif"),
    "BMP": encoded(".bmp"),
}

CMYK_JPEG = base64.b64decode(  # 8 by 8 pixels of (220, 40, 90)
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAQCwwODAoQDg0OEhEQExgoGhgWFhgxIyUdKDozPTw5Mzg3QEhcTkBEV0U3OFBtUVdfYmdoZz5NcXlw"
    "ZHhcZWdj/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAYFB//EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAOBEMA"
    "TQBZAEsAAD8AXCaY0B//2Q=="
)
