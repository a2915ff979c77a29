"""Reads what picture files contain besides pixels: size, orientation, colour profile, our note.

The files are untrusted: every offset is checked, every loop is bounded, and damage raises a DamagedContainerError.
OpenCV decodes the pixels, from `Container.decodable`. Sources: JPEG (ITU-T T.81, annex B), PNG (W3C, third edition),
WebP (RFC 9649), TIFF 6.0, GIF89a, ICC.1 (annex B on profiles embedded in files).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from . import heif, tiff
from .tiff import ContainerError, DamagedContainerError, checked_slice

_MAX_PARTS = 2**19  # segments or chunks of one file; the largest picture, in chunks of 8 kB, has 2**18
_MAX_PROFILE = 2**24  # bytes of an ICC profile; a PNG's is compressed, and a hostile one could expand endlessly
_NOTE_START = b"onnxdream\0" + bytes(4)  # iTXt: keyword; uncompressed, no language, no translated keyword

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
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


@dataclass(frozen=True)
class Container:
    """A picture file before its pixels are decoded.

    `width` and `height` are in pixels, as stored, before `orientation` (EXIF, 1 to 8) turns them upright. `decodable`
    is the file for OpenCV to decode, without the parts that make OpenCV turn the picture, multiply its colours by alpha
    or print warnings. `colours` names colours other than sRGB that the file states without the profile `icc`. `bits` is
    the number of bits of a sample that takes 16. `premultiplied` is whether the stored colours are multiplied by alpha,
    `opaque` whether a fourth channel is something other than alpha. `warnings` has one line for each feature that is
    lost.
    """

    kind: str
    width: int
    height: int
    decodable: bytes = field(repr=False)
    orientation: int = 1
    icc: bytes | None = field(default=None, repr=False)
    colours: str | None = None
    bits: int = 16
    premultiplied: bool = False
    opaque: bool = False
    warnings: tuple[str, ...] = ()


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


def profile_colours(icc: bytes) -> str:
    """The colour space that the header of an ICC profile names: "RGB", "GRAY", "CMYK", …"""
    return icc[16:20].decode("latin-1").strip()


def with_icc(data: bytes, icc: bytes) -> bytes:
    """Adds an ICC profile to the bytes of a JPEG, PNG, WebP or TIFF file that has none.

    Raises ContainerError if the file cannot store it: a JPEG has at most 255 segments of 65519 bytes for it.
    """
    return _PROFILE_WRITERS[recognise(data)](data, icc)


def with_straight_alpha(data: bytes) -> bytes:
    """Declares the fourth channel of an RGBA TIFF file as alpha, which OpenCV omits."""
    kind = tiff.STRAIGHT_ALPHA.to_bytes(2, "little" if data[:1] == b"I" else "big")
    return tiff.Directory(data).with_contents({tiff.EXTRA_SAMPLES: (tiff.SHORT, kind)})


def with_note(png: bytes, note: str) -> bytes:
    """Adds a text (iTXt, keyword "onnxdream") to the bytes of a PNG file, before its pixels."""
    return _insert(png, _PNG_HEADER_END, _png_chunk(b"iTXt", _NOTE_START + note.encode()))


def has_note(start: bytes) -> bool:
    """Whether a file whose first `NOTE_END` bytes are `start` has the text that `with_note` adds."""
    return recognise(start) == "PNG" and start.startswith(b"iTXt" + _NOTE_START, _PNG_HEADER_END + 4)


def note_of(data: bytes) -> str | None:
    """The text that `with_note` added, or None if there is none. Raises DamagedContainerError for a damaged PNG."""
    if recognise(data) != "PNG":
        return None
    for name, start, end in _png_chunks(data):
        if name == b"iTXt" and data.startswith(_NOTE_START, start + 8):
            return data[start + 8 + len(_NOTE_START) : end - 4].decode(errors="replace")
    return None


def _ftyp_kind(brands: bytes) -> str:
    """The kind of an ISO base media file by its brands, of which the major one comes first."""
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    if any(brand in brands for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1")):
        return "HEIC"
    return "camera raw" if brands.startswith(b"crx") else "video"


def _number(data: bytes, start: int, size: int, byte_order: Literal["big", "little"] = "big") -> int:
    """The unsigned integer in `size` bytes of `data`. Raises DamagedContainerError."""
    return int.from_bytes(checked_slice(data, start, size), byte_order)


def _insert(data: bytes, at: int, addition: bytes) -> bytes:
    return data[:at] + addition + data[at:]


def _from_exif(block: bytes, icc: bytes | None) -> Mapping[str, Any]:
    """The orientation and the colours of a Container by an EXIF block (or a TIFF file) and an ICC profile."""
    return {"orientation": tiff.orientation(block), "icc": icc, "colours": None if icc else tiff.colours(block)}


def _plausible_profile(icc: bytes | None) -> bytes | None:
    """The ICC profile, or None if it is shorter than a profile's header, which has 128 bytes."""
    return icc if icc and len(icc) >= 128 else None


# JPEG: segments up to the compressed pixels (the scan), each of a marker, a length and a body.

_EXIF_HEADER = b"Exif\0\0"
_ICC_HEADER = b"ICC_PROFILE\0"
_MAX_ICC_PIECE = 65535 - 2 - len(_ICC_HEADER) - 2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BODILESS = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_APP0, _APP1, _APP2, _SCAN, _FILL = 0xE0, 0xE1, 0xE2, 0xDA, 0xFF


def _read_jpeg(data: bytes) -> Container:
    width = height = 0
    exif: bytes | None = None
    pieces: dict[int, bytes] = {}
    pieces_announced = 0
    for marker, body, start in _jpeg_segments(data):
        if marker in _FRAMES:
            height, width = _number(body, 1, 2), _number(body, 3, 2)
        elif marker == _APP1 and body.startswith(_EXIF_HEADER) and exif is None:
            exif = body[len(_EXIF_HEADER) :]
        elif marker == _APP2 and body.startswith(_ICC_HEADER) and len(body) > len(_ICC_HEADER) + 2:
            number, pieces_announced = body[len(_ICC_HEADER) : len(_ICC_HEADER) + 2]
            pieces.setdefault(number, body[len(_ICC_HEADER) + 2 :])
        elif marker == _SCAN and data.rfind(b"\xff\xd9", start) < 0:
            raise DamagedContainerError("it is cut short: the JPEG's end mark is missing")
    complete = sorted(pieces) == list(range(1, pieces_announced + 1))
    icc = b"".join(pieces[number] for number in sorted(pieces)) if complete else None
    return Container("JPEG", width, height, data, **_from_exif(exif or b"", _plausible_profile(icc)))


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yields (marker, body, offset of the segment) up to and including the first scan header."""
    position = 2
    for _ in range(_MAX_PARTS):
        position = data.find(b"\xff", position)  # skips stray bytes between segments, as libjpeg does
        marker = _number(data, position, 2) & 0xFF
        if marker == _FILL:
            position += 1
        elif marker in _BODILESS:
            position += 2
        else:
            length = _number(data, position + 2, 2)
            yield marker, checked_slice(data, position + 4, length - 2), position
            if marker == _SCAN:
                return
            position += 2 + length
    raise DamagedContainerError("it has too many segments")


def _jpeg_with_icc(data: bytes, icc: bytes) -> bytes:
    cuts = range(0, len(icc), _MAX_ICC_PIECE)
    if len(cuts) > 255:
        raise ContainerError("the ICC profile is too long for a JPEG")
    segments = b""
    for number, cut in enumerate(cuts, start=1):
        body = _ICC_HEADER + bytes((number, len(cuts))) + icc[cut : cut + _MAX_ICC_PIECE]
        segments += bytes((_FILL, _APP2)) + (len(body) + 2).to_bytes(2, "big") + body
    marker, body, _ = next(_jpeg_segments(data))
    return _insert(data, 2 + 4 + len(body) if marker == _APP0 else 2, segments)  # JFIF's segment stays first


# PNG: chunks, each of a length, a name, a body and a checksum.

_PNG_SIGNATURE_END = 8
_PNG_HEADER_END = 8 + 12 + 13
NOTE_END = _PNG_HEADER_END + 8 + len(_NOTE_START)
_GREY = 0


def _read_png(data: bytes) -> Container:
    chunks = list(_png_chunks(data))
    bodies = {name: (start + 8, end - 4) for name, start, end in reversed(chunks)}

    def body(name: bytes) -> bytes:
        return data[slice(*bodies[name])] if name in bodies else b""

    header = body(b"IHDR")
    if chunks[0][0] != b"IHDR" or len(header) != 13:
        raise DamagedContainerError
    decoded_chunks = (data[start:end] for name, start, end in chunks if _is_critical(name) or name == b"tRNS")
    grey_made_opaque = header[9] == _GREY and b"tRNS" in bodies
    return Container(
        "PNG",
        _number(header, 0, 4),
        _number(header, 4, 4),
        data[:_PNG_SIGNATURE_END] + b"".join(decoded_chunks),
        **_from_exif(body(b"eXIf"), _decompressed_profile(body(b"iCCP"))),
        warnings=("its one transparent grey is read as opaque",) if grey_made_opaque else (),
    )


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields (name, start, end) of each chunk; one with a wrong checksum is skipped, or an error if the pixels need it.

    Raises DamagedContainerError.
    """
    view = memoryview(data)
    start = _PNG_SIGNATURE_END
    for _ in range(_MAX_PARTS):
        end = start + 12 + _number(data, start, 4)
        name, checksum = checked_slice(data, start + 4, 4), _number(data, end - 4, 4)
        if zlib.crc32(view[start + 4 : end - 4]) == checksum:
            yield name, start, end
        elif _is_critical(name):
            raise DamagedContainerError("it is damaged: a checksum is wrong")
        if name == b"IEND":
            return
        start = end
    raise DamagedContainerError("it has too many chunks")


def _is_critical(name: bytes) -> bool:
    """Whether a chunk is needed to decode the pixels: then the first letter of its name is upper case."""
    return not name[0] & 0x20


def _decompressed_profile(chunk: bytes) -> bytes | None:
    """The ICC profile in an iCCP chunk: a name, a zero, the compression method (zero), the compressed profile.

    None if it is damaged or too long.
    """
    _, _, compressed = chunk.partition(b"\0")
    decompressor = zlib.decompressobj()
    try:
        icc = decompressor.decompress(compressed[1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return _plausible_profile(icc) if decompressor.eof else None


def _png_with_icc(data: bytes, icc: bytes) -> bytes:
    return _insert(data, _PNG_HEADER_END, _png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))


def _png_chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


# WebP: RIFF chunks, each of a name, a length and a body padded to even length. A VP8X chunk lists the features of the
# others.

_WEBP_HEADER_END = 12
_HAS_ICC, _HAS_ALPHA = 0x20, 0x10
_FRAME_HEADER = 16


def _read_webp(data: bytes) -> Container:
    file = checked_slice(data, 0, 8 + _number(data, 4, 4, "little"))
    first = dict(reversed(list(_riff_chunks(file, _WEBP_HEADER_END))))  # the first chunk of each name
    frame = first.get(b"ANMF")
    if frame is None:
        decodable, (width, height) = data, _webp_size(first)
    else:  # OpenCV before 4.11 does not read animations
        width, height = 1 + _number(frame, 6, 3, "little"), 1 + _number(frame, 9, 3, "little")
        decodable = _webp(width, height, 0, list(_riff_chunks(frame, _FRAME_HEADER)))
    exif = first.get(b"EXIF", b"").removeprefix(_EXIF_HEADER)
    return Container("WebP", width, height, decodable, **_from_exif(exif, _plausible_profile(first.get(b"ICCP"))))


def _riff_chunks(data: bytes, position: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields (name, body) of each chunk from `position`. Raises DamagedContainerError."""
    for _ in range(_MAX_PARTS):
        if position >= len(data):
            return
        length = _number(data, position + 4, 4, "little")
        yield checked_slice(data, position, 4), checked_slice(data, position + 8, length)
        position += 8 + length + length % 2
    raise DamagedContainerError("it has too many chunks")


def _webp_size(first: dict[bytes, bytes]) -> tuple[int, int]:
    """Width and height in pixels, from the first of the chunks VP8X, VP8L and VP8 that exists."""
    if b"VP8X" in first:
        return 1 + _number(first[b"VP8X"], 4, 3, "little"), 1 + _number(first[b"VP8X"], 7, 3, "little")
    if b"VP8L" in first:
        bits = _number(first[b"VP8L"], 1, 4, "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    body = first.get(b"VP8 ", b"")
    return _number(body, 6, 2, "little") & 0x3FFF, _number(body, 8, 2, "little") & 0x3FFF


def _webp_with_icc(data: bytes, icc: bytes) -> bytes:
    chunks = list(_riff_chunks(data, _WEBP_HEADER_END))
    pixels = [chunk for chunk in chunks if chunk[0] != b"VP8X"]
    return _webp(*_webp_size(dict(chunks)), _HAS_ICC, [(b"ICCP", icc), *pixels])


def _webp(width: int, height: int, flags: int, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A WebP file of these chunks, after a VP8X chunk with these flags, and that for alpha if the pixels have alpha."""
    bodies = dict(chunks)
    if b"ALPH" in bodies or (b"VP8L" in bodies and _number(bodies[b"VP8L"], 1, 4, "little") >> 28 & 1):
        flags |= _HAS_ALPHA
    features = bytes((flags, 0, 0, 0)) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP"
    for name, content in [(b"VP8X", features), *chunks]:
        body += name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


# TIFF: one directory of tags. OpenCV would turn the picture and multiply 8-bit colours by alpha. Two tags are set so
# that it does neither.


def _read_tiff(data: bytes) -> Container:
    page = tiff.Directory(data)
    page.require_readable()
    return Container(
        "TIFF",
        page.number(tiff.WIDTH, 0),
        page.number(tiff.HEIGHT, 0),
        page.with_numbers({tiff.ORIENTATION: 1, tiff.EXTRA_SAMPLES: tiff.ASSOCIATED_ALPHA}),
        **_from_exif(data, _plausible_profile(page.content(tiff.ICC_PROFILE))),
        premultiplied=page.number(tiff.EXTRA_SAMPLES, 0) == tiff.ASSOCIATED_ALPHA,
        opaque=page.is_cmyk(),
    )


def _tiff_with_icc(data: bytes, icc: bytes) -> bytes:
    return tiff.Directory(data).with_contents({tiff.ICC_PROFILE: (tiff.UNDEFINED, icc)})


def _read_bmp(data: bytes) -> Container:
    if _number(data, 14, 4, "little") == 12:
        width, height = _number(data, 18, 2, "little"), _number(data, 20, 2, "little")
    else:
        width, height = (int.from_bytes(checked_slice(data, at, 4), "little", signed=True) for at in (18, 22))
    return Container("BMP", abs(width), abs(height), data)  # a negative height means that rows are stored from the top


# GIF: a canvas, and blocks. OpenCV decodes the first frame, drawn on the canvas, and should not see more than that.

_GIF_HEADER_END = 13
_EXTENSION, _FRAME = 0x21, 0x2C


def _read_gif(data: bytes) -> Container:
    width, height = _number(data, 6, 2, "little"), _number(data, 8, 2, "little")
    position = _GIF_HEADER_END + _palette_size(_number(data, 10, 1))
    for _ in range(_MAX_PARTS):
        kind = _number(data, position, 1)
        if kind == _EXTENSION:
            position = _blocks_end(data, position + 2)
        elif kind == _FRAME:
            left, top, columns, rows = (_number(data, position + at, 2, "little") for at in (1, 3, 5, 7))
            if left + columns > width or top + rows > height:
                raise DamagedContainerError("it is damaged: its first frame exceeds its size")
            end = _blocks_end(data, position + 10 + _palette_size(_number(data, position + 9, 1)) + 1)
            return Container("GIF", width, height, data[:end] + b";")
        else:
            raise DamagedContainerError
    raise DamagedContainerError("it has too many blocks")


def _palette_size(flags: int) -> int:
    """The bytes of the palette that follows these flags."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _blocks_end(data: bytes, position: int) -> int:
    """The end of a sequence of data blocks, each after a byte with its length; the last one is empty."""
    for _ in range(2**24):  # 4 GB
        length = _number(data, position, 1)
        position += 1 + length
        if length == 0:
            return position
    raise DamagedContainerError("it has too many blocks")


def _read_avif(data: bytes) -> Container:
    found = heif.read_properties(data)
    return Container(
        "AVIF",
        found.width,
        found.height,
        data,
        found.orientation,
        _plausible_profile(found.icc),
        found.colours,
        found.bits,
        warnings=("it is read without its crop",) if found.is_cropped else (),
    )


def _read_heic(data: bytes) -> Container:
    found = heif.read_properties(data)
    size = found.width, found.height
    if found.orientation > 4:  # libheif, which decodes it, turns it upright
        size = found.height, found.width
    icc = _plausible_profile(found.icc)
    return Container("HEIC", *size, data, icc=icc, colours=found.colours, bits=found.bits)


_READERS: dict[str | None, Callable[[bytes], Container]] = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "WebP": _read_webp,
    "TIFF": _read_tiff,
    "BMP": _read_bmp,
    "GIF": _read_gif,
    "AVIF": _read_avif,
    "HEIC": _read_heic,
}
READ_KINDS = frozenset(_READERS)
_PROFILE_WRITERS: dict[str | None, Callable[[bytes, bytes], bytes]] = {
    "JPEG": _jpeg_with_icc,
    "PNG": _png_with_icc,
    "WebP": _webp_with_icc,
    "TIFF": _tiff_with_icc,
}
