"""Real picture files read and written: what is kept, which warnings there are, and how damaged files are refused."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_bytes import (
    GREY_PROFILE,
    PROFILE,
    colour_exif,
    encoded,
    exif_block,
    gif,
    gif_control,
    gif_frame,
    heif,
    heif_size,
    in_png,
    png_chunk,
    tiff_picture,
    with_exif,
)

from onnxdream.models.arrays import Pixels
from onnxdream.runtime.image import formats, tiff
from onnxdream.runtime.image.files import (
    PictureError,
    PictureFormatError,
    PictureNotFoundError,
    PictureReadError,
    PictureTooLargeError,
    PictureWriteError,
    encode_picture,
    missing_reader,
    read_note,
    read_picture,
    resize,
    shrink,
    write_picture,
)

CMYK_JPEG = base64.b64decode(  # 8 by 8 pixels of (220, 40, 90)
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAQCwwODAoQDg0OEhEQExgoGhgWFhgxIyUdKDozPTw5Mzg3QEhcTkBEV0U3OFBtUVdfYmdoZz5NcXlw"
    "ZHhcZWdj/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAYFB//EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAOBEMA"
    "TQBZAEsAAD8AXCaY0B//2Q=="
)


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


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(
    ("suffix", "pixels", "tolerance"),
    [
        (".jpg", blocks(), 4),
        (".png", blocks(), 0),
        (".png", blocks(4), 0),
        (".png", blocks(4, np.uint16), 0),
        (".webp", blocks(), 0),
    ],
    ids=["JPEG", "PNG", "PNG with alpha", "PNG with alpha, 16 bits", "WebP"],
)
def test_a_picture_is_turned_upright(
    tmp_path: Path, orientation: int, suffix: str, pixels: Pixels, tolerance: int
) -> None:
    full_colour = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    options = {".jpg": full_colour, ".webp": (cv2.IMWRITE_WEBP_QUALITY, 101), ".png": ()}
    data = with_exif(encoded(suffix, bgr(pixels), *options[suffix]), exif_block(orientation))
    picture = read_picture(stored(tmp_path, "turned" + suffix, data))
    expected = ORIENTATIONS[orientation](pixels)
    assert (picture.pixels.shape, picture.pixels.dtype) == (expected.shape, expected.dtype)
    assert picture.pixels.flags.c_contiguous
    assert np.abs(picture.pixels.astype(int) - expected).mean() <= tolerance
    assert picture.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("byte_order", ["little", "big"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_tiff_is_turned_upright_with_its_bits_and_alpha(
    tmp_path: Path, orientation: int, byte_order: str, dtype: type, channels: int
) -> None:
    pixels = blocks(channels, dtype)
    alpha = {"_338": 2} if channels == 4 else {}
    data = tiff_picture(pixels, byte_order, _274=orientation, **alpha)
    picture = read_picture(stored(tmp_path, "turned.tif", data))
    np.testing.assert_array_equal(picture.pixels, ORIENTATIONS[orientation](pixels), strict=True)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_png_and_tiff_keep_every_bit(tmp_path: Path, suffix: str, dtype: type, channels: int) -> None:
    pixels = np.random.default_rng(3).integers(0, np.iinfo(dtype).max + 1, (21, 13, channels), dtype=dtype)
    path = tmp_path / ("kept" + suffix)
    assert write_picture(path, pixels, PROFILE) == ()
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels, pixels, strict=True)
    assert (picture.icc, picture.warnings) == (PROFILE, ())
    assert read_note(path) is None


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG", ".webp"])
@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (4, np.uint8), (4, np.uint16)])
def test_jpeg_and_webp_are_close_and_warn_of_what_they_lose(
    tmp_path: Path, suffix: str, channels: int, dtype: type
) -> None:
    pixels = blocks(channels, dtype)
    if channels == 4:
        pixels[..., 3] = np.iinfo(dtype).max  # an opaque picture looks the same without alpha
    path = tmp_path / ("near" + suffix)
    warnings = write_picture(path, pixels, PROFILE, note="a PNG's alone")
    picture = read_picture(path)
    assert (picture.icc, picture.pixels.dtype, picture.pixels.shape[:2]) == (PROFILE, np.uint8, (24, 40))
    # WebP stores one colour for four pixels, which shows at the edges of the blocks.
    expected = pixels[..., :3] // (257 if dtype is np.uint16 else 1)
    assert np.abs(picture.pixels[..., :3].astype(int) - expected).mean() < (12 if suffix == ".webp" else 3)
    assert [line for line in warnings if "8 bits" in line] == list(warnings[:1] if dtype is np.uint16 else ())
    assert any("alpha" in line for line in warnings) == (channels == 4 and suffix != ".webp")
    assert all(line.startswith(f"near{suffix}: ") for line in warnings)
    assert read_note(path) is None


def test_sixteen_bits_are_rounded_to_eight() -> None:
    pixels = np.full((8, 8, 3), 128 * 257 - 129, np.uint16)
    pixels[:, 4:] = 128 * 257 - 128
    data, _ = encode_picture(pixels, ".webp")
    exact, _ = encode_picture(np.where(pixels == 128 * 257 - 128, 128, 127).astype(np.uint8), ".webp")
    assert data == exact


def test_alpha_is_put_on_white_for_a_jpeg() -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, 8:, 3] = 51  # black, one fifth opaque
    data, _ = encode_picture(pixels, ".jpg")
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded[:, :6].astype(int) - 255).max() <= 2
    assert np.abs(decoded[:, 10:].astype(int) - 204).max() <= 2


def test_a_jpeg_has_its_colours_at_full_resolution() -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, ::2] = (255, 0, 0)
    pixels[:, 1::2] = (0, 0, 255)
    data, _ = encode_picture(pixels, ".jpg")
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(decoded.astype(int) - pixels).mean() < 10


def test_a_profile_too_long_for_a_jpeg_is_left_out_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "long.jpg"
    (line,) = write_picture(path, blocks(), bytes(255 * 65519 + 1))
    assert line == "long.jpg: the ICC profile is too long for a JPEG and is left out; use .png to keep it"
    assert read_picture(path).icc is None


def test_a_note_in_a_png_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "noted.png"
    note = '{"picture": "Bären", "steps": 1000}'
    assert write_picture(path, blocks(4, np.uint16), PROFILE, note) == ()
    assert read_note(path) == note
    np.testing.assert_array_equal(read_picture(path).pixels, blocks(4, np.uint16))


def png_by_hand(bits: int, colour: int, row: bytes, width: int, *chunks: bytes) -> bytes:
    """A PNG file of one row of pixels."""
    header = width.to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes((bits, colour, 0, 0, 0))
    data = in_png(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header), *chunks)
    return data + png_chunk(b"IDAT", formats.zlib.compress(b"\0" + row)) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png_by_hand(1, 0, b"\x50", 4), np.uint8([[[0] * 3, [255] * 3, [0] * 3, [255] * 3]])),
        (png_by_hand(8, 0, b"\x07\x08", 2), np.uint8([[[7] * 3, [8] * 3]])),
        (png_by_hand(16, 0, b"\x01\x02\x03\x04", 2), np.uint16([[[258] * 3, [772] * 3]])),
        (png_by_hand(8, 4, b"\x07\x80", 1), np.uint8([[[7, 7, 7, 128]]])),
        (png_by_hand(16, 4, b"\x01\x02\x03\x04", 1), np.uint16([[[258, 258, 258, 772]]])),
        (
            png_by_hand(8, 3, b"\x01\0", 2, png_chunk(b"PLTE", bytes(range(1, 7)))),
            np.uint8([[[4, 5, 6], [1, 2, 3]]]),
        ),
        (
            png_by_hand(8, 3, b"\x01\0", 2, png_chunk(b"PLTE", bytes(range(1, 7))), png_chunk(b"tRNS", b"\x09")),
            np.uint8([[[4, 5, 6, 255], [1, 2, 3, 9]]]),
        ),
        (CMYK_JPEG, np.full((8, 8, 3), (221, 41, 91), np.uint8)),
        (encoded(".bmp", bgr(blocks())), blocks()),
    ],
    ids=[
        "1 bit",
        "grey",
        "grey, 16 bits",
        "grey and alpha",
        "grey and alpha, 16 bits",
        "palette",
        "palette with alpha",
        "CMYK",
        "BMP",
    ],
)
def test_every_kind_of_pixels_becomes_rgb_or_rgba(tmp_path: Path, data: bytes, expected: Pixels) -> None:
    picture = read_picture(stored(tmp_path, "any", data))
    np.testing.assert_array_equal(picture.pixels, expected, strict=True)
    assert picture.warnings == ()


def test_a_cmyk_tiff_becomes_rgb_without_alpha(tmp_path: Path) -> None:
    cmyk = np.full((4, 4, 4), (255, 0, 0, 0), np.uint8)
    picture = read_picture(stored(tmp_path, "cmyk.tif", tiff_picture(cmyk, _262=5)))
    np.testing.assert_array_equal(picture.pixels, np.full((4, 4, 3), (0, 255, 255), np.uint8), strict=True)


def test_a_written_tiff_declares_its_alpha() -> None:
    data, _ = encode_picture(blocks(4), ".tif", PROFILE)
    assert tiff.Directory(data).numbers(tiff.EXTRA_SAMPLES, 0) == (tiff.STRAIGHT_ALPHA,)
    data, _ = encode_picture(blocks(3), ".tif", PROFILE)
    assert tiff.Directory(data).content(tiff.EXTRA_SAMPLES) is None


@pytest.mark.filterwarnings("error")
def test_a_tiff_s_premultiplied_alpha_becomes_straight_alpha(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), (100, 50, 0, 128), np.uint8)
    pixels[0] = 0
    for dtype in (np.uint8, np.uint16):
        scale = 1 if dtype is np.uint8 else 257
        path = stored(tmp_path, "premultiplied.tif", tiff_picture(pixels.astype(dtype) * dtype(scale), _338=1))
        upright = read_picture(path).pixels
        assert np.abs(upright[1:] / scale - (199.2, 99.6, 0, 128)).max() < 0.5
        assert not upright[0].any()
    declared_but_absent = tiff_picture(blocks(3, np.uint16), _338=1)
    path = stored(tmp_path, "premultiplied.tif", declared_but_absent)
    np.testing.assert_array_equal(read_picture(path).pixels, blocks(3, np.uint16), strict=True)


def test_a_profile_that_does_not_fit_is_dropped_with_a_warning(tmp_path: Path) -> None:
    data = formats.with_icc(encoded(".jpg", blocks()[..., 0]), GREY_PROFILE)
    picture = read_picture(stored(tmp_path, "bears.jpg", data))
    assert picture.icc is None
    assert picture.warnings == ("bears.jpg: its GRAY colour profile does not fit an RGB picture and is dropped",)


def test_a_transparent_grey_that_opencv_does_not_read_causes_a_warning(tmp_path: Path) -> None:
    data = png_by_hand(8, 0, b"\x07\x08", 2, png_chunk(b"tRNS", b"\0\x07"))
    picture = read_picture(stored(tmp_path, "grey.png", data))
    assert picture.warnings == ("grey.png: its one transparent grey is read as opaque",)


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("empty.jpg", b"", "is empty; copy it again from its source"),
        ("notes.txt", b"bears\n", "is not a picture; give a JPEG, PNG, WebP, TIFF or BMP file"),
        ("b.jpg", b"<!DOCTYPE html><html>", "is a web page, not a picture; download the picture itself"),
        (
            "my bears.cr3",
            b"\0\0\0\x18ftypcrx \0\0\0\1",
            "camera raw is not read; export a JPEG from the camera app, or: magick '{path}' 'my bears-converted.png'",
        ),
        (
            "b.mov",
            b"\0\0\0\x14ftypqt  ",
            "is a video; take a frame of it: ffmpeg -i {path} -frames:v 1 b-converted.png",
        ),
        ("b.psd", b"8BPS\0\1", "Photoshop is not read; convert it: magick {path} b-converted.png"),
        (
            "b.tif",
            tiff_picture(blocks(), _339=3),
            "its samples are floating-point, signed or 32-bit, not 8 or 16 bits unsigned; convert it: "
            "magick {path} -depth 16 b-converted.png",
        ),
        (
            "b.png",
            encoded(".png", blocks())[:-5],
            "it is cut short or damaged; copy it again from its source, or save what is left: "
            "magick {path} b-converted.png",
        ),
        (
            "b.tif",
            tiff_picture(blocks())[:-5],
            f"OpenCV {cv2.__version__} cannot decode this TIFF, which may be damaged; copy it again from its "
            "source, or convert it: magick {path} b-converted.png",
        ),
    ],
)
def test_a_file_that_is_not_read_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, line: str
) -> None:
    install(tmp_path / "programs", monkeypatch, "magick", "convert", "ffmpeg")
    path = stored(tmp_path, name, data)
    with pytest.raises(PictureFormatError) as caught:
        read_picture(path)
    assert str(caught.value) == f"{path}: {line.format(path=path)}"
    assert isinstance(caught.value, ValueError)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    """Makes these the only programs that there are."""
    folder.mkdir()
    for program in programs:
        stored(folder, program, b"#!/bin/sh\n").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.skipif(os.name == "nt", reason="Windows has another program called convert")
@pytest.mark.parametrize(
    ("programs", "command"),
    [
        (["magick", "convert"], "magick {path} b-converted.png"),
        (["convert"], "convert {path} b-converted.png"),
        ([], "convert {path} b-converted.png (install ImageMagick first)"),
    ],
)
def test_the_command_in_a_message_exists_or_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: list[str], command: str
) -> None:
    install(tmp_path / "programs", monkeypatch, *programs)
    path = stored(tmp_path, "b.psd", b"8BPS\0\1")
    with pytest.raises(PictureFormatError) as caught:
        read_picture(path)
    assert str(caught.value).endswith(f"convert it: {command.format(path=path)}")
    with pytest.raises(PictureFormatError, match=r"-frames:v 1 b-converted.png \(install FFmpeg first\)$"):
        read_picture(stored(tmp_path, "b.mov", b"\0\0\0\x14ftypqt  "))


def test_a_gif_is_read_with_its_transparency(tmp_path: Path) -> None:
    if missing_reader("GIF"):
        pytest.skip("this OpenCV does not read GIF")
    frame = gif_frame(1, 10, 8, left=2, top=3)
    shown = gif(gif_control(), gif_frame(1), gif_control(), gif_frame(0), width=31, height=17)
    picture = read_picture(stored(tmp_path, "bears.gif", shown))
    np.testing.assert_array_equal(picture.pixels, np.full((17, 31, 3), 255, np.uint8), strict=True)
    cut_out = read_picture(stored(tmp_path, "bears.gif", gif(gif_control(transparent=0), frame))).pixels
    assert (cut_out[3:11, 2:12] == 255).all()
    cut_out[3:11, 2:12, 3] = 0
    assert not cut_out[..., 3].any()


@pytest.mark.parametrize("kind", ["GIF", "AVIF"])
def test_an_opencv_that_does_not_read_a_format_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    data = {"GIF": gif(gif_frame(1)), "AVIF": heif(heif_size())}[kind]
    path = stored(tmp_path, "bears.png", data)
    for information in (f"  Media I/O:\n    {kind}:      NO\n", "  Media I/O:\n    WEBP:   build\n"):
        monkeypatch.setattr(cv2, "getBuildInformation", lambda text=information: text)
        line = f"{kind} is not read yet: install an OpenCV that reads {kind}; {cv2.__version__} does not; or convert it"
        with pytest.raises(PictureFormatError, match=line):
            read_picture(path)


def test_adobe_rgb_without_a_profile_causes_a_warning_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "programs", monkeypatch, "magick")
    path = stored(tmp_path, "_MG_1.jpg", with_exif(encoded(".jpg", blocks()), colour_exif(65535, b"R03")))
    (line,) = read_picture(path).warnings
    assert re.fullmatch(
        r"_MG_1\.jpg: its colours are Adobe RGB without a profile, and are read as sRGB, which makes them paler; "
        rf"convert it first: magick {re.escape(str(path))} -profile \S*AdobeRGB1998.icc -profile \S*sRGB.icc "
        r"_MG_1-converted\.png",
        line,
    )
    path = stored(tmp_path, "_MG_1.jpg", with_exif(encoded(".jpg", blocks()), colour_exif(65535)))
    (line,) = read_picture(path).warnings
    assert line.endswith("uncalibrated without a profile, and are read as sRGB; if they look wrong, export it as sRGB")


def test_a_cmyk_profile_is_dropped_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "programs", monkeypatch, "magick")
    path = stored(tmp_path, "bears.jpg", formats.with_icc(CMYK_JPEG, PROFILE[:16] + b"CMYK" + PROFILE[20:]))
    picture = read_picture(path)
    assert picture.icc is None
    assert re.fullmatch(
        r"bears\.jpg: its CMYK colour profile does not fit an RGB picture and is dropped; for its true colours, "
        rf"convert it first: magick {re.escape(str(path))} -profile \S*sRGB.icc bears-converted.png",
        picture.warnings[0],
    )


def test_a_missing_picture_and_a_folder_are_reported(tmp_path: Path) -> None:
    with pytest.raises(PictureNotFoundError, match=r"bears\.jpg: no such picture; check the name and the folder$"):
        read_picture(tmp_path / "bears.jpg")
    with pytest.raises(FileNotFoundError):
        read_note(tmp_path / "bears.png")
    with pytest.raises(PictureReadError, match=r"is a folder; name the picture in it$"):
        read_picture(tmp_path)
    with pytest.raises(PictureReadError, match=r"cannot be read .*; check its permissions$"):
        read_picture(stored(tmp_path, "file", b"") / "bears.jpg")


def test_an_absurd_size_is_refused_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "programs", monkeypatch, "magick")
    side = (2**14).to_bytes(4, "big")
    data = png_by_hand(8, 2, bytes(3), 1)
    limit = data[:8] + png_chunk(b"IHDR", side + side + bytes((8, 2, 0, 0, 0))) + data[33:]
    beyond = data[:8] + png_chunk(b"IHDR", side + (2**14 + 1).to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))) + data[33:]
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)  # it would allocate 800 MB
    with pytest.raises(PictureTooLargeError) as caught:
        read_picture(stored(tmp_path, "huge.png", beyond))
    path = tmp_path / "huge.png"
    assert str(caught.value) == (
        f"{path}: has 16384 by 16385 pixels, more than the limit of 268435456; "
        f"shrink it first: magick {path} -resize 8000x8000 huge-converted.png"
    )
    with pytest.raises(PictureFormatError):
        read_picture(stored(tmp_path, "limit.png", limit))


def test_a_size_that_opencv_itself_refuses_is_reported(tmp_path: Path) -> None:
    data = encoded(".bmp", blocks())
    wide = data[:18] + (2**20 + 1).to_bytes(4, "little") + (1).to_bytes(4, "little") + data[26:]
    with pytest.raises(PictureFormatError, match="cannot decode this BMP"):
        read_picture(stored(tmp_path, "wide.bmp", wide))


def test_a_file_too_large_for_opencv_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 2**31 + 1)  # sparse
    with pytest.raises(PictureTooLargeError, match=r"is too large with 2\.1 GB; give a smaller picture$"):
        read_picture(path)


def valid_files() -> dict[str, bytes]:
    pixels = blocks(4)
    return {
        "jpg": with_exif(encode_picture(pixels[..., :3], ".jpg", PROFILE)[0], exif_block(6)),
        "progressive.jpg": encoded(".jpg", pixels[..., :3], cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "png": encode_picture(pixels, ".png", PROFILE, "a note")[0],
        "16.png": encode_picture(pixels.astype(np.uint16) * 257, ".png")[0],
        "webp": encode_picture(pixels, ".webp", PROFILE)[0],
        "tif": encode_picture(pixels, ".tif", PROFILE)[0],
        "16.tif": tiff_picture(pixels.astype(np.uint16) * 257, "big", _338=1, _274=8),
        "bmp": encoded(".bmp", pixels[..., :3]),
        **({} if missing_reader("GIF") else {"gif": gif(gif_control(transparent=0), gif_frame(1))}),
    }


@pytest.mark.parametrize("name", valid_files())
def test_a_truncated_file_is_refused_at_any_length(tmp_path: Path, name: str) -> None:
    data = valid_files()[name]
    read_picture(stored(tmp_path, name, data))
    lengths = {*range(0, len(data), max(1, len(data) // 60)), *range(len(data) - 8, len(data))}
    if name == "tif":  # its directory comes last, and the end of that is not needed
        lengths -= set(range(len(data) - 8, len(data)))
    if name == "gif":  # its last byte says only that no further frame follows
        lengths -= {len(data) - 1}
    for length in lengths:
        with pytest.raises(PictureFormatError):
            read_picture(stored(tmp_path, name, data[:length]))


@pytest.mark.parametrize("name", valid_files())
def test_a_damaged_file_ends_in_a_picture_or_a_picture_error(tmp_path: Path, name: str) -> None:
    random = np.random.default_rng(11)
    data = valid_files()[name]
    for _ in range(80):
        damaged = bytearray(data)
        reach = len(data) if random.random() < 0.5 else min(len(data), 200)
        for at in random.integers(0, reach, random.integers(1, 6)):
            damaged[at] = random.integers(256)
        path = stored(tmp_path, name, bytes(damaged))
        with suppress(PictureError):
            read_note(path)
        with suppress(PictureError):
            picture = read_picture(path)
            assert picture.pixels.ndim == 3
            assert picture.pixels.shape[2] in (3, 4)
            assert picture.pixels.dtype in (np.uint8, np.uint16)


def test_opencv_s_own_warnings_are_suppressed_and_its_log_level_is_restored(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logging = getattr(cv2.utils, "logging", cv2)
    before = logging.getLogLevel()
    logging.setLogLevel(3)
    try:
        cut = tiff_picture(blocks())[:-5]
        cv2.imdecode(np.frombuffer(cut, np.uint8), cv2.IMREAD_UNCHANGED)
        assert "WARN" in capfd.readouterr().err
        with pytest.raises(PictureFormatError):
            read_picture(stored(tmp_path, "cut.tif", cut))
        assert "WARN" not in capfd.readouterr().err
        assert logging.getLogLevel() == 3
    finally:
        logging.setLogLevel(before)


def test_threads_that_decode_at_the_same_time_restore_opencv_s_log_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(tmp_path, "bears.png", encoded(".png", blocks()))
    second_is_in, decode = threading.Event(), cv2.imdecode
    first_is_in = threading.Barrier(2, timeout=20)

    def decode_in_order(*arguments: object) -> object:
        """The first thread starts to decode before the second one, and ends before it."""
        if threading.current_thread().name == "first":
            first_is_in.wait()
            assert second_is_in.wait(20)
        else:
            second_is_in.set()
            first.join(20)
        return decode(*arguments)

    monkeypatch.setattr(cv2, "imdecode", decode_in_order)
    logging = getattr(cv2.utils, "logging", cv2)
    before = logging.getLogLevel()
    logging.setLogLevel(3)
    try:
        first = threading.Thread(target=read_picture, args=(path,), name="first")
        first.start()
        first_is_in.wait()
        read_picture(path)
        assert logging.getLogLevel() == 3
    finally:
        logging.setLogLevel(before)


@pytest.mark.parametrize(
    ("name", "pixels", "line"),
    [
        ("d.bmp", blocks(), "'.bmp' is not a picture suffix; use one of .png, .jpg, .jpeg, .webp, .tif, .tiff"),
        ("d", blocks(), "'' is not a picture suffix; use one of .png, .jpg, .jpeg, .webp, .tif, .tiff"),
        (
            "d.webp",
            np.zeros((1, 16384, 3), np.uint8),
            "16384 by 1 pixels are too many: a WebP has at most 16383 pixels per side; use .tif or shrink it",
        ),
        (
            "d.png",
            np.zeros((2, 2), np.uint8),
            "uint8 of shape (2, 2) is not a picture; give uint8 or uint16 [height, width, 3 or 4]",
        ),
        (
            "d.png",
            np.zeros((2, 2, 3), np.float32),
            "float32 of shape (2, 2, 3) is not a picture; give uint8 or uint16 [height, width, 3 or 4]",
        ),
        ("d.png", np.zeros((0, 2, 3), np.uint8), f"OpenCV {cv2.__version__} cannot encode this PNG; use .png"),
    ],
)
def test_a_picture_that_cannot_be_encoded_leaves_nothing_behind(
    tmp_path: Path, name: str, pixels: Pixels, line: str
) -> None:
    with pytest.raises(PictureWriteError) as caught:
        write_picture(tmp_path / name, pixels)
    assert str(caught.value) == f"{tmp_path / name}: {line}"
    assert isinstance(caught.value, OSError)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    taken = tmp_path / "taken.png"
    (taken / "inside").mkdir(parents=True)
    remedy = "choose another folder or make room on the disk$"
    for path in (taken, tmp_path / "missing" / "d.png", stored(tmp_path, "file", b"") / "d.png"):
        with pytest.raises(PictureWriteError, match=rf"\.png: cannot be written \(.+\); {remedy}"):
            write_picture(path, blocks())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "inside", "taken.png"]


def test_a_picture_is_replaced_as_a_whole_and_has_an_ordinary_file_s_permissions(tmp_path: Path) -> None:
    path = stored(tmp_path, "d.png", b"an older dream")
    ordinary = stored(tmp_path, "ordinary", b"").stat().st_mode
    write_picture(path, blocks())
    np.testing.assert_array_equal(read_picture(path).pixels, blocks())
    assert path.stat().st_mode == ordinary
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d.png", "ordinary"]


def test_array_views_are_written_correctly(tmp_path: Path) -> None:
    for view in (blocks(4)[::-1, ::-1], blocks(4)[..., :3], blocks().swapaxes(0, 1)):
        write_picture(tmp_path / "view.png", view)
        np.testing.assert_array_equal(read_picture(tmp_path / "view.png").pixels, view)


@pytest.mark.parametrize(
    ("size", "max_size", "expected"),
    [
        ((300, 400), 200, (150, 200)),
        ((400, 300), 200, (200, 150)),
        ((300, 400), 400, (300, 400)),
        ((300, 400), 1000, (300, 400)),
        ((300, 400), None, (300, 400)),
        ((3, 400), 50, (1, 50)),
        ((333, 500), 100, (67, 100)),
    ],
)
def test_shrinking_bounds_the_longer_side(
    size: tuple[int, int], max_size: int | None, expected: tuple[int, int]
) -> None:
    for channels, dtype in ((3, np.uint8), (4, np.uint8), (3, np.uint16), (4, np.uint16)):
        shrunk = shrink(np.full((*size, channels), 77, dtype), max_size)
        assert (shrunk.shape, shrunk.dtype) == ((*expected, channels), dtype)
        assert (shrunk == 77).all()


def test_shrinking_averages_areas() -> None:
    pixels = np.random.default_rng(5).integers(0, 65536, (12, 20, 3), dtype=np.uint16)
    averages = pixels.reshape(3, 4, 5, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize(pixels, 5, 3) - averages).max() <= 0.5
    opaque = np.dstack([pixels, np.full((12, 20), 65535, np.uint16)])
    assert np.abs(resize(opaque, 5, 3)[..., :3] - averages).max() <= 1


def test_hidden_colours_do_not_bleed_into_visible_ones() -> None:
    pixels = np.zeros((2, 4, 4), np.uint8)
    pixels[:, 0] = (200, 100, 50, 255)
    pixels[:, 1] = (0, 255, 0, 0)
    pixels[:, 2:] = (10, 20, 30, 0)
    np.testing.assert_array_equal(resize(pixels, 2, 1), [[[200, 100, 50, 128], [10, 20, 30, 0]]])


def test_a_change_can_be_enlarged() -> None:
    change = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4, 1).repeat(3, axis=2)
    enlarged = resize(change, 9, 7)
    assert (enlarged.shape, enlarged.dtype) == ((7, 9, 3), np.float32)
    assert enlarged.min() < -0.9
    assert enlarged.max() > 0.9
    step = np.repeat(np.float32([-1, 1]), 4).reshape(1, 8, 1).repeat(3, axis=2)
    assert resize(step, 32, 4).max() > 1.01  # cubic interpolation overshoots
