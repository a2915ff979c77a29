"""JPEG files up to their pixels."""

from __future__ import annotations

import pytest
from picture_bytes import HEIGHT, PROFILE, VALID, WIDTH, exif_block, in_jpeg, jpeg_segment

from onnxdream.runtime.image.formats import jpeg
from onnxdream.runtime.image.formats.container import ContainerError
from onnxdream.runtime.image.formats.kinds import read_container


def test_a_jpeg_s_profile_is_assembled_in_order_or_not_at_all() -> None:
    first, second = PROFILE[:400], PROFILE[400:]
    one = jpeg_segment(0xE2, b"ICC_PROFILE\0\x01\x02" + first)
    two = jpeg_segment(0xE2, b"ICC_PROFILE\0\x02\x02" + second)
    assert read_container(in_jpeg(VALID["JPEG"], two, one)).icc == PROFILE
    assert read_container(in_jpeg(VALID["JPEG"], two)).icc is None
    assert read_container(in_jpeg(VALID["JPEG"], one)).icc is None


def test_a_jpeg_s_jfif_segment_stays_first() -> None:
    assert jpeg.with_icc(VALID["JPEG"], PROFILE)[:11] == VALID["JPEG"][:11]
    assert VALID["JPEG"][6:10] == b"JFIF"


def test_a_profile_too_long_for_a_jpeg_is_refused() -> None:
    with pytest.raises(ContainerError, match="too long"):
        jpeg.with_icc(VALID["JPEG"], bytes(255 * 65519 + 1))


def test_stray_and_fill_bytes_between_a_jpeg_s_segments_are_skipped() -> None:
    data = in_jpeg(VALID["JPEG"], b"\xff\xff\xff", jpeg_segment(0xE1, b"Exif\0\0" + exif_block(6)), b"\0stray\xff\0")
    container = read_container(data)
    assert (container.orientation, container.width, container.height) == (6, WIDTH, HEIGHT)
