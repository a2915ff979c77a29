"""Sizes, orientations, colour profiles and notes in the bytes of picture files, valid and hostile ones."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest
from picture_bytes import (
    HEIGHT,
    PICTURE,
    PROFILE,
    WIDTH,
    ByteOrder,
    colour_exif,
    decoded,
    encoded,
    exif_block,
    gif,
    gif_control,
    gif_frame,
    in_jpeg,
    in_png,
    jpeg_segment,
    png_chunk,
    tiff,
    tiff_picture,
    vp8x_chunk,
    webp,
    webp_chunk,
    with_exif,
)

from onnxdream.runtime.image import formats
from onnxdream.runtime.image import tiff as tiff_module
from onnxdream.runtime.image.formats import ContainerError, DamagedContainerError, read_container

VALID = {
    "JPEG": encoded(".jpg"),
    "PNG": encoded(".png", PICTURE),
    "lossy WebP": encoded(".webp", PICTURE[..., :3], cv2.IMWRITE_WEBP_QUALITY, 90),
    "lossless WebP": encoded(".webp", PICTURE[..., :3], cv2.IMWRITE_WEBP_QUALITY, 101),
    "WebP with alpha": encoded(".webp", PICTURE, cv2.IMWRITE_WEBP_QUALITY, 90),
    "TIFF": encoded(".tif"),
    "BMP": encoded(".bmp"),
}


@pytest.mark.parametrize("name", VALID)
def test_the_size_is_read_before_the_pixels(name: str) -> None:
    container = read_container(VALID[name])
    assert (container.kind, container.width, container.height) == (formats.recognise(VALID[name]), WIDTH, HEIGHT)
    assert (container.orientation, container.icc, container.warnings) == (1, None, ())
    np.testing.assert_array_equal(decoded(container.decodable), decoded(VALID[name]))


def test_a_bmp_may_store_its_rows_from_the_top() -> None:
    data = VALID["BMP"]
    upside_down = data[:22] + (-HEIGHT).to_bytes(4, "little", signed=True) + data[26:]
    assert read_container(upside_down).height == HEIGHT


def test_the_oldest_bmp_header_has_16_bit_sizes() -> None:
    header = (12).to_bytes(4, "little") + WIDTH.to_bytes(2, "little") + HEIGHT.to_bytes(2, "little")
    container = read_container(b"BM" + bytes(12) + header + bytes(200))
    assert (container.width, container.height) == (WIDTH, HEIGHT)


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
    assert formats.recognise(start) == kind
    with pytest.raises(ContainerError):
        read_container(start)


@pytest.mark.parametrize("byte_order", ["little", "big"])
@pytest.mark.parametrize("name", ["JPEG", "PNG", "lossy WebP", "lossless WebP"])
def test_the_orientation_is_read_from_exif(name: str, byte_order: ByteOrder) -> None:
    assert read_container(with_exif(VALID[name], exif_block(6, byte_order))).orientation == 6


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_a_tiff_is_decoded_without_its_orientation(byte_order: ByteOrder) -> None:
    container = read_container(tiff_picture(PICTURE[..., :3], byte_order, _274=6))
    assert (container.orientation, container.width, container.height) == (6, WIDTH, HEIGHT)
    assert decoded(container.decodable).shape == (HEIGHT, WIDTH, 3)


def test_a_second_exif_block_and_an_exif_header_in_a_webp_do_no_harm() -> None:
    twice = with_exif(with_exif(VALID["JPEG"], exif_block(3)), exif_block(8))
    assert read_container(twice).orientation == 8  # the first one in the file
    assert read_container(with_exif(VALID["lossy WebP"], b"Exif\0\0" + exif_block(5))).orientation == 5


@pytest.mark.parametrize("block", [exif_block(9), exif_block(0), exif_block(6)[:-8], b"II*\0\xff\xff\xff\xff", b""])
def test_a_damaged_exif_block_leaves_the_picture_upright(block: bytes) -> None:
    assert read_container(with_exif(VALID["JPEG"], block)).orientation == 1
    assert read_container(with_exif(VALID["PNG"], block)).orientation == 1


@pytest.mark.parametrize("profile", [PROFILE, PROFILE * 200], ids=["short", "long"])
@pytest.mark.parametrize("name", [name for name in VALID if name != "BMP"])
def test_a_profile_is_read_back_and_the_pixels_stay(name: str, profile: bytes) -> None:
    data = formats.with_icc(VALID[name], profile)
    container = read_container(data)
    assert (container.icc, container.width, container.height) == (profile, WIDTH, HEIGHT)
    np.testing.assert_array_equal(decoded(data), decoded(VALID[name]))


def test_a_jpeg_s_profile_is_assembled_in_order_or_not_at_all() -> None:
    first, second = PROFILE[:400], PROFILE[400:]
    one = jpeg_segment(0xE2, b"ICC_PROFILE\0\x01\x02" + first)
    two = jpeg_segment(0xE2, b"ICC_PROFILE\0\x02\x02" + second)
    assert read_container(in_jpeg(VALID["JPEG"], two, one)).icc == PROFILE
    assert read_container(in_jpeg(VALID["JPEG"], two)).icc is None
    assert read_container(in_jpeg(VALID["JPEG"], one)).icc is None


def test_a_jpeg_s_jfif_segment_stays_first() -> None:
    assert formats.with_icc(VALID["JPEG"], PROFILE)[:11] == VALID["JPEG"][:11]
    assert VALID["JPEG"][6:10] == b"JFIF"


def test_a_profile_too_long_for_a_jpeg_is_refused() -> None:
    with pytest.raises(ContainerError, match="too long"):
        formats.with_icc(VALID["JPEG"], bytes(255 * 65519 + 1))


@pytest.mark.parametrize("compressed", [b"no zlib", zlib.compress(bytes(2**24 + 1)), zlib.compress(PROFILE)[:-9], b""])
def test_a_png_s_damaged_or_oversized_profile_is_left_out(compressed: bytes) -> None:
    assert read_container(in_png(VALID["PNG"], png_chunk(b"iCCP", b"x\0\0" + compressed))).icc is None


def test_a_profile_shorter_than_a_profile_header_is_ignored() -> None:
    for data in (VALID["JPEG"], VALID["PNG"], VALID["TIFF"]):
        assert read_container(formats.with_icc(data, PROFILE[:127])).icc is None
        assert read_container(formats.with_icc(data, PROFILE[:128])).icc == PROFILE[:128]


def test_the_colour_space_of_a_profile_is_read() -> None:
    assert formats.profile_colours(PROFILE) == "RGB"
    assert formats.profile_colours(bytes(16) + b"GRAY" + bytes(200)) == "GRAY"
    assert formats.profile_colours(bytes(16) + b"\xff\xfe" + bytes(200)) == "ÿþ\0\0"


@pytest.mark.parametrize("note", ['{"steps": 1000, "name": "Bär 🐻"}', "", "x" * 100_000])
def test_a_note_is_read_back_and_the_pixels_stay(note: str) -> None:
    data = formats.with_note(VALID["PNG"], note)
    assert formats.note_of(data) == note
    np.testing.assert_array_equal(decoded(data), PICTURE)
    assert formats.note_of(formats.with_icc(data, PROFILE)) == note


def test_only_our_own_note_is_read() -> None:
    foreign = in_png(
        VALID["PNG"], png_chunk(b"iTXt", b"Comment\0\0\0\0\0hello"), png_chunk(b"tEXt", b"onnxdream\0hello")
    )
    assert formats.note_of(foreign) is None
    assert formats.note_of(VALID["JPEG"]) is None
    with pytest.raises(DamagedContainerError):
        formats.note_of(VALID["PNG"][:-1])


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


def test_stray_and_fill_bytes_between_a_jpeg_s_segments_are_skipped() -> None:
    data = in_jpeg(VALID["JPEG"], b"\xff\xff\xff", jpeg_segment(0xE1, b"Exif\0\0" + exif_block(6)), b"\0stray\xff\0")
    container = read_container(data)
    assert (container.orientation, container.width, container.height) == (6, WIDTH, HEIGHT)


def test_the_first_frame_of_an_animation_is_decoded() -> None:
    frames = [encoded(".webp", PICTURE[..., :3] // divisor, cv2.IMWRITE_WEBP_QUALITY, 101) for divisor in (1, 2)]
    sizes = (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")
    header = bytes(6) + sizes + (100).to_bytes(3, "little") + b"\0"
    animation = [webp_chunk(b"ANMF", header + frame[12:]) for frame in frames]
    container = read_container(webp(vp8x_chunk(0x02), webp_chunk(b"ANIM", bytes(6)), *animation))
    assert (container.width, container.height) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(decoded(container.decodable)[..., :3], PICTURE[..., :3])


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


def test_tags_are_added_to_a_tiff_in_order_and_at_even_offsets() -> None:
    odd = formats.with_icc(tiff_picture(PICTURE[:1, :1, :3]), PROFILE + b"!")
    data = formats.with_straight_alpha(formats.with_icc(odd, PROFILE))
    directory = tiff_module.Directory(data)
    start = int.from_bytes(data[4:8], "little")
    tags = [int.from_bytes(data[at : at + 2], "little") for at in range(start + 2, len(data) - 4, 12)]
    assert start % 2 == 0
    assert tags == sorted(tags)
    assert len(tags) == data[start] == 12
    assert directory.numbers(tiff_module.EXTRA_SAMPLES, 0) == (2,)
    assert directory.content(tiff_module.ICC_PROFILE) == PROFILE
    assert directory.content(tiff_module.ORIENTATION) is None
    assert int.from_bytes(odd[4:8], "little") % 2 == 0
    assert odd.index(PROFILE) % 2 == data.rindex(PROFILE) % 2 == 0


def test_at_most_64_numbers_of_a_tag_are_read() -> None:
    assert len(tiff_module.Directory(tiff({339: (1,) * 100})).numbers(339, 1)) == 64


def test_a_hostile_tiff_is_refused_quickly() -> None:
    data = tiff_picture(PICTURE[..., :3], _339=1)
    entry = data.index((339).to_bytes(2, "little") + b"\x03\0")
    endless = data[: entry + 4] + b"\xff\xff\xff\x7f" + (8).to_bytes(4, "little") + data[entry + 12 :]
    with pytest.raises(ContainerError):
        read_container(endless)
    with pytest.raises(DamagedContainerError):
        read_container(b"II*\0\x08\0\0\0\xff\xff" + bytes(12))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xfe\0\2" * 1001,
        b"\xff\xd8" + b"\xff" * 1001,
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"tEXt", b"") * 1001,
        webp(webp_chunk(b"junk", b"") * 1001),
    ],
    ids=["segments", "fill bytes", "PNG chunks", "WebP chunks"],
)
def test_endless_segments_and_chunks_are_refused(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_MAX_PARTS", 1000)
    with pytest.raises(DamagedContainerError, match="too many"):
        read_container(data)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "lossy WebP", "lossless WebP", "WebP with alpha"])
def test_a_file_truncated_anywhere_is_recognised_as_damaged(name: str) -> None:
    data = formats.with_icc(VALID[name], PROFILE)
    for length in range(12, len(data)):
        with pytest.raises(DamagedContainerError):
            read_container(data[:length])


def test_any_bytes_end_in_a_container_or_a_container_error() -> None:
    random = np.random.default_rng(1)
    files = [formats.with_icc(data, PROFILE) for name, data in VALID.items() if name != "BMP"]
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


# GIF.


def test_a_gif_s_first_frame_is_all_that_is_decoded() -> None:
    first = gif(gif_control(), gif_frame(1))
    data = gif(b"!\xfe\5bears\0", gif_control(), gif_frame(1), gif_control(), gif_frame(0))
    container = read_container(data)
    assert (container.kind, container.width, container.height) == ("GIF", WIDTH, HEIGHT)
    assert container.decodable == gif(b"!\xfe\5bears\0", gif_control(), gif_frame(1))
    assert read_container(first).decodable == first


@pytest.mark.parametrize(
    "data",
    [
        gif(),
        gif(gif_control()),
        gif(gif_frame(1, left=1)),
        gif(gif_frame(1), height=HEIGHT - 1),
        gif(b"?"),
        gif(gif_frame(1))[:-3],
        gif(gif_frame(1))[:11],
        gif(gif_control() * 2**17)[:-1] * 2,
        gif(gif_frame(0, 0, 0), width=0),
    ],
)
def test_a_damaged_gif_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedContainerError):
        read_container(data)


# Colours that EXIF states.


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
    with_profile = with_exif(formats.with_icc(VALID["JPEG"], PROFILE), block)
    assert read_container(with_profile).colours is None


def test_damaged_exif_states_no_colours() -> None:
    block = colour_exif(65535, b"R03")
    for length in range(len(block) - 4):
        assert tiff_module.colours(block[:length]) in (None, "uncalibrated")
    assert tiff_module.colours(exif_block(6)) is None
    looped = block.replace((26).to_bytes(4, "little"), (8).to_bytes(4, "little"))
    assert tiff_module.colours(looped) is None


# TIFF files without a finished first page.


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
