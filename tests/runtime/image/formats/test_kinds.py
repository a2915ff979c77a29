"""Files recognised by their first bytes, and what is read from picture files of every kind."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from picture_bytes import (
    HEIGHT,
    PICTURE,
    PROFILE,
    VALID,
    WIDTH,
    ByteOrder,
    decoded,
    exif_block,
    png_chunk,
    tiff_picture,
    webp_chunk,
    with_exif,
)
from picture_bytes import webp as webp_file

from onnxdream.runtime.image.formats import jpeg, png, webp
from onnxdream.runtime.image.formats.container import ContainerError, DamagedContainerError
from onnxdream.runtime.image.formats.kinds import read_container, recognise, with_icc


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"GIF89a", "GIF"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0", "video"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "camera raw"),
        (b"RIFF\0\0\0\0AVI LIST", "video"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"MM\0+\0\x08\0\0", "BigTIFF"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "SVG"),
        (b"<!DOCTYPE html><html><head>", "web page"),
        (b"step,total\n0,1.5\n", None),
        (b"", None),
    ],
)
def test_other_formats_are_recognised_and_refused(start: bytes, kind: str | None) -> None:
    assert recognise(start) == kind
    with pytest.raises(ContainerError):
        read_container(start)


@pytest.mark.parametrize("name", VALID)
def test_the_size_is_read_before_the_pixels(name: str) -> None:
    container = read_container(VALID[name])
    assert (container.kind, container.width, container.height) == (recognise(VALID[name]), WIDTH, HEIGHT)
    assert (container.orientation, container.icc, container.warnings) == (1, None, ())
    np.testing.assert_array_equal(decoded(container.decodable), decoded(VALID[name]))


@pytest.mark.parametrize("byte_order", ["little", "big"])
@pytest.mark.parametrize("name", ["JPEG", "PNG", "lossy WebP", "lossless WebP"])
def test_the_orientation_is_read_from_exif(name: str, byte_order: ByteOrder) -> None:
    assert read_container(with_exif(VALID[name], exif_block(6, byte_order))).orientation == 6


@pytest.mark.parametrize("profile", [PROFILE, PROFILE * 200], ids=["short", "long"])
@pytest.mark.parametrize("name", [name for name in VALID if name != "BMP"])
def test_a_profile_is_read_back_and_the_pixels_stay(name: str, profile: bytes) -> None:
    data = with_icc(VALID[name], profile)
    container = read_container(data)
    assert (container.icc, container.width, container.height) == (profile, WIDTH, HEIGHT)
    np.testing.assert_array_equal(decoded(data), decoded(VALID[name]))


def test_a_profile_shorter_than_a_profile_header_is_ignored() -> None:
    for data in (VALID["JPEG"], VALID["PNG"], VALID["TIFF"]):
        assert read_container(with_icc(data, PROFILE[:127])).icc is None
        assert read_container(with_icc(data, PROFILE[:128])).icc == PROFILE[:128]


@pytest.mark.parametrize("name", ["JPEG", "PNG", "lossy WebP", "lossless WebP", "WebP with alpha"])
def test_a_file_truncated_anywhere_is_recognised_as_damaged(name: str) -> None:
    data = with_icc(VALID[name], PROFILE)
    for length in range(12, len(data)):
        with pytest.raises(DamagedContainerError):
            read_container(data[:length])


def test_any_bytes_end_in_a_container_or_a_container_error() -> None:
    random = np.random.default_rng(1)
    files = [with_icc(data, PROFILE) for name, data in VALID.items() if name != "BMP"]
    files += [with_exif(VALID["JPEG"], exif_block(6)), tiff_picture(PICTURE, "big", _338=2, _274=6)]
    refused = 0
    for data in files:
        for _ in range(200):
            flipped = bytearray(data)
            for at in random.integers(0, min(len(data), 1500), random.integers(1, 6)):
                flipped[at] = random.integers(256)
            cut = int(random.integers(8, len(data))) if random.random() < 0.3 else len(data)
            try:
                container = read_container(bytes(flipped[:cut]))
            except ContainerError:
                refused += 1
            else:
                assert container.width > 0
                assert container.height > 0
                assert 1 <= container.orientation <= 8
    assert refused > 100


@pytest.mark.parametrize(
    ("module", "data"),
    [
        (jpeg, b"\xff\xd8" + b"\xff\xfe\0\2" * 1001),
        (jpeg, b"\xff\xd8" + b"\xff" * 1001),
        (png, b"\x89PNG\r\n\x1a\n" + png_chunk(b"tEXt", b"") * 1001),
        (webp, webp_file(webp_chunk(b"junk", b"") * 1001)),
    ],
    ids=["segments", "fill bytes", "PNG chunks", "WebP chunks"],
)
def test_endless_segments_and_chunks_are_refused(
    module: ModuleType, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PARTS", 1000)
    with pytest.raises(DamagedContainerError, match="too many"):
        read_container(data)
