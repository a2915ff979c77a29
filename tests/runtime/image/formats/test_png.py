"""PNG files up to their pixels, and our note in them."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from picture_bytes import PICTURE, PROFILE, VALID, decoded, exif_block, in_png, png_chunk

from onnxdream.runtime.image.formats import png
from onnxdream.runtime.image.formats.container import DamagedContainerError
from onnxdream.runtime.image.formats.kinds import read_container


@pytest.mark.parametrize("compressed", [b"no zlib", zlib.compress(bytes(2**24 + 1)), zlib.compress(PROFILE)[:-9], b""])
def test_a_png_s_damaged_or_oversized_profile_is_left_out(compressed: bytes) -> None:
    assert read_container(in_png(VALID["PNG"], png_chunk(b"iCCP", b"x\0\0" + compressed))).icc is None


@pytest.mark.parametrize("note", ['{"steps": 1000, "name": "Bär 🐻"}', "", "x" * 100_000])
def test_a_note_is_read_back_and_the_pixels_stay(note: str) -> None:
    data = png.with_note(VALID["PNG"], note)
    assert png.note_of(data) == note
    np.testing.assert_array_equal(decoded(data), PICTURE)
    assert png.note_of(png.with_icc(data, PROFILE)) == note


def test_only_our_own_note_is_read() -> None:
    foreign = in_png(
        VALID["PNG"], png_chunk(b"iTXt", b"Comment\0\0\0\0\0hello"), png_chunk(b"tEXt", b"onnxdream\0hello")
    )
    assert png.note_of(foreign) is None
    assert png.note_of(VALID["JPEG"]) is None
    with pytest.raises(DamagedContainerError):
        png.note_of(VALID["PNG"][:-1])


def test_a_png_is_decoded_without_the_chunks_that_pixels_do_not_need() -> None:
    extra = (png_chunk(b"eXIf", exif_block(6)), png_chunk(b"iCCP", b"x\0\0junk"), png_chunk(b"tEXt", b"a\0b"))
    assert read_container(in_png(VALID["PNG"], *extra)).decodable == read_container(VALID["PNG"]).decodable


def test_a_wrong_checksum_is_refused_only_in_chunks_that_the_pixels_need() -> None:
    pixels = bytearray(VALID["PNG"])
    pixels[-20] ^= 1  # the last bytes of the pixels, before IEND's twelve
    with pytest.raises(DamagedContainerError, match="checksum"):
        read_container(bytes(pixels))
    exif = bytearray(png_chunk(b"eXIf", exif_block(6)))
    exif[-1] ^= 1
    assert read_container(in_png(VALID["PNG"], bytes(exif))).orientation == 1
