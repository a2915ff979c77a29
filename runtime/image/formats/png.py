"""PNG files: chunks, each of a length, a name, a body and a checksum; and our note in one of them.

Source: W3C's PNG specification, third edition.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from . import tiff
from .container import (
    MAX_PARTS,
    Container,
    DamagedContainerError,
    checked_slice,
    inserted,
    number_at,
    plausible_profile,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = len(SIGNATURE) + 12 + 13
_NOTE_START = b"onnxdream\0" + bytes(4)  # iTXt: keyword; uncompressed, no language, no translated keyword
NOTE_END = _HEADER_END + 8 + len(_NOTE_START)
_MAX_PROFILE = 2**24  # bytes of an ICC profile; a PNG's is compressed, and a hostile one could expand endlessly
_GREY = 0


def read(data: bytes) -> Container:
    """Reads a PNG file up to its pixels. Raises DamagedContainerError."""
    chunks = list(_chunks(data))
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
        number_at(header, 0, 4),
        number_at(header, 4, 4),
        data[: len(SIGNATURE)] + b"".join(decoded_chunks),
        **tiff.stated_by_exif(body(b"eXIf"), _decompressed_profile(body(b"iCCP"))),
        warnings=("its one transparent grey is read as opaque",) if grey_made_opaque else (),
    )


def with_icc(data: bytes, icc: bytes) -> bytes:
    """Adds an ICC profile to a file's bytes."""
    return inserted(data, _HEADER_END, _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))


def with_note(png: bytes, note: str) -> bytes:
    """Adds a text (iTXt, keyword "onnxdream") to the bytes of a PNG file, before its pixels."""
    return inserted(png, _HEADER_END, _chunk(b"iTXt", _NOTE_START + note.encode()))


def has_note(start: bytes) -> bool:
    """Whether a file whose first `NOTE_END` bytes are `start` has the text that `with_note` adds."""
    return start.startswith(SIGNATURE) and start.startswith(b"iTXt" + _NOTE_START, _HEADER_END + 4)


def note_of(data: bytes) -> str | None:
    """The text that `with_note` added, or None if there is none. Raises DamagedContainerError for a damaged PNG."""
    if not data.startswith(SIGNATURE):
        return None
    for name, start, end in _chunks(data):
        if name == b"iTXt" and data.startswith(_NOTE_START, start + 8):
            return data[start + 8 + len(_NOTE_START) : end - 4].decode(errors="replace")
    return None


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields (name, start, end) of each chunk; one with a wrong checksum is skipped, or an error if the pixels need it.

    Raises DamagedContainerError.
    """
    view = memoryview(data)
    start = len(SIGNATURE)
    for _ in range(MAX_PARTS):
        end = start + 12 + number_at(data, start, 4)
        name, checksum = checked_slice(data, start + 4, 4), number_at(data, end - 4, 4)
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
    return plausible_profile(icc) if decompressor.eof else None


def _chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
