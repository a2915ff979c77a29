"""TIFF files and EXIF blocks: tags, orientations and colours, valid and hostile ones."""

from __future__ import annotations

import pytest
from picture_bytes import (
    HEIGHT,
    PICTURE,
    PROFILE,
    VALID,
    WIDTH,
    ByteOrder,
    colour_exif,
    decoded,
    exif_block,
    tiff_picture,
    tiff_tags,
    with_exif,
)

from onnxdream.runtime.image.formats import jpeg, tiff
from onnxdream.runtime.image.formats.container import ContainerError, DamagedContainerError
from onnxdream.runtime.image.formats.kinds import read_container


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_a_tiff_is_decoded_without_its_orientation(byte_order: ByteOrder) -> None:
    container = read_container(tiff_picture(PICTURE[..., :3], byte_order, _274=6))
    assert (container.orientation, container.width, container.height) == (6, WIDTH, HEIGHT)
    assert decoded(container.decodable).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"_339": 3}, "floating-point"),
        ({"_339": 2}, "signed"),
        ({"_258": 32}, "32-bit"),
        ({"_258": 12}, "rare kind"),
        ({"_262": 8}, "rare kind"),
        ({"_277": 2}, "grey and alpha"),
        ({"_284": 2}, "separate colour planes"),
        ({"_258": 16, "_262": 5}, "rare colours"),
        ({"_256": 0}, "no size"),
    ],
)
def test_a_tiff_that_opencv_would_misread_is_refused_with_the_reason(tags: dict[str, int], reason: str) -> None:
    with pytest.raises(ContainerError, match=reason):
        read_container(tiff_picture(PICTURE[..., :3], **tags))


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"_254": 1}, "its first page is a small preview of another page"),
        ({"_254": 1, "_330": 8}, "it is a camera's raw file, which contains no finished picture"),
        ({"_50706": 1}, "it is a camera's raw file, which contains no finished picture"),
    ],
)
def test_a_tiff_s_preview_and_a_camera_s_raw_file_are_told_apart(tags: dict[str, int], reason: str) -> None:
    with pytest.raises(ContainerError, match=reason):
        read_container(tiff_picture(PICTURE[..., :3], **tags))


def test_tags_are_added_to_a_tiff_in_order_and_at_even_offsets() -> None:
    odd = tiff.with_icc(tiff_picture(PICTURE[:1, :1, :3]), PROFILE + b"!")
    data = tiff.with_straight_alpha(tiff.with_icc(odd, PROFILE))
    directory = tiff.Directory(data)
    start = int.from_bytes(data[4:8], "little")
    tags = [int.from_bytes(data[at : at + 2], "little") for at in range(start + 2, len(data) - 4, 12)]
    assert start % 2 == 0
    assert tags == sorted(tags)
    assert len(tags) == data[start] == 12
    assert directory.numbers(tiff.EXTRA_SAMPLES, 0) == (2,)
    assert directory.content(tiff.ICC_PROFILE) == PROFILE
    assert directory.content(tiff.ORIENTATION) is None
    assert int.from_bytes(odd[4:8], "little") % 2 == 0
    assert odd.index(PROFILE) % 2 == data.rindex(PROFILE) % 2 == 0


def test_at_most_64_numbers_of_a_tag_are_read() -> None:
    assert len(tiff.Directory(tiff_tags({339: (1,) * 100})).numbers(339, 1)) == 64


def test_a_hostile_tiff_is_refused_quickly() -> None:
    data = tiff_picture(PICTURE[..., :3], _339=1)
    entry = data.index((339).to_bytes(2, "little") + b"\x03\0")
    endless = data[: entry + 4] + b"\xff\xff\xff\x7f" + (8).to_bytes(4, "little") + data[entry + 12 :]
    with pytest.raises(ContainerError):
        read_container(endless)
    with pytest.raises(DamagedContainerError):
        read_container(b"II*\0\x08\0\0\0\xff\xff" + bytes(12))


def test_a_second_exif_block_and_an_exif_header_in_a_webp_do_no_harm() -> None:
    twice = with_exif(with_exif(VALID["JPEG"], exif_block(3)), exif_block(8))
    assert read_container(twice).orientation == 8  # the first one in the file
    assert read_container(with_exif(VALID["lossy WebP"], b"Exif\0\0" + exif_block(5))).orientation == 5


@pytest.mark.parametrize("block", [exif_block(9), exif_block(0), exif_block(6)[:-8], b"II*\0\xff\xff\xff\xff", b""])
def test_a_damaged_exif_block_leaves_the_picture_upright(block: bytes) -> None:
    assert read_container(with_exif(VALID["JPEG"], block)).orientation == 1
    assert read_container(with_exif(VALID["PNG"], block)).orientation == 1


@pytest.mark.parametrize("byte_order", ["little", "big"])
@pytest.mark.parametrize(
    ("colour_space", "interoperability", "stated"),
    [(1, b"R98", None), (65535, b"R03", "Adobe RGB"), (65535, b"R98", "uncalibrated"), (65535, b"", "uncalibrated")],
)
def test_exif_states_colours_other_than_srgb(
    byte_order: ByteOrder, colour_space: int, interoperability: bytes, stated: str | None
) -> None:
    block = colour_exif(colour_space, interoperability, byte_order)
    for name in ("JPEG", "PNG", "lossy WebP"):
        assert read_container(with_exif(VALID[name], block)).colours == stated
    with_profile = with_exif(jpeg.with_icc(VALID["JPEG"], PROFILE), block)
    assert read_container(with_profile).colours is None


def test_damaged_exif_states_no_colours() -> None:
    block = colour_exif(65535, b"R03")
    for length in range(len(block) - 4):
        assert tiff.colours(block[:length]) in (None, "uncalibrated")
    assert tiff.colours(exif_block(6)) is None
    looped = block.replace((26).to_bytes(4, "little"), (8).to_bytes(4, "little"))
    assert tiff.colours(looped) is None
