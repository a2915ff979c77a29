"""Pixels decoded and encoded: what is kept, and which warnings there are."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_bytes import (
    CMYK_JPEG,
    ORIENTATIONS,
    PROFILE,
    bgr,
    blocks,
    encoded,
    exif_block,
    gif,
    gif_control,
    gif_frame,
    png_by_hand,
    png_chunk,
    stored,
    tiff_picture,
    with_exif,
)
from pictures_fixture import encode_into

from onnxdream.models.arrays import Pixels
from onnxdream.runtime.errors import PictureFormatError, PictureWriteError
from onnxdream.runtime.image.files import read_note, read_picture
from onnxdream.runtime.image.formats import tiff
from onnxdream.runtime.image.formats.codec import encode_picture
from onnxdream.runtime.image.formats.kinds import missing_reader


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


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_png_and_tiff_keep_every_bit(tmp_path: Path, suffix: str, dtype: type, channels: int) -> None:
    pixels = np.random.default_rng(3).integers(0, np.iinfo(dtype).max + 1, (21, 13, channels), dtype=dtype)
    path = tmp_path / ("kept" + suffix)
    assert encode_into(path, pixels, PROFILE) == ()
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
    warnings = encode_into(path, pixels, PROFILE, note="a PNG's alone")
    picture = read_picture(path)
    assert (picture.icc, picture.pixels.dtype, picture.pixels.shape[:2]) == (PROFILE, np.uint8, (24, 40))
    # WebP stores one colour for four pixels, which shows at the edges of the blocks.
    expected = pixels[..., :3] // (257 if dtype is np.uint16 else 1)
    assert np.abs(picture.pixels[..., :3].astype(int) - expected).mean() < (12 if suffix == ".webp" else 3)
    assert [line for line in warnings if "8 bits" in line] == list(warnings[:1] if dtype is np.uint16 else ())
    assert any("alpha" in line for line in warnings) == (channels == 4 and suffix != ".webp")
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
    (line,) = encode_into(path, blocks(), bytes(255 * 65519 + 1))
    assert line == "the ICC profile is too long for a JPEG and is left out; use .png to keep it"
    assert read_picture(path).icc is None


def test_a_note_in_a_png_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "noted.png"
    note = '{"picture": "Bären", "steps": 1000}'
    assert encode_into(path, blocks(4, np.uint16), PROFILE, note) == ()
    assert read_note(path) == note
    np.testing.assert_array_equal(read_picture(path).pixels, blocks(4, np.uint16))


def test_a_written_tiff_declares_its_alpha() -> None:
    data, _ = encode_picture(blocks(4), ".tif", PROFILE)
    assert tiff.Directory(data).numbers(tiff.EXTRA_SAMPLES, 0) == (tiff.STRAIGHT_ALPHA,)
    data, _ = encode_picture(blocks(3), ".tif", PROFILE)
    assert tiff.Directory(data).content(tiff.EXTRA_SAMPLES) is None


def test_array_views_are_written_correctly(tmp_path: Path) -> None:
    for view in (blocks(4)[::-1, ::-1], blocks(4)[..., :3], blocks().swapaxes(0, 1)):
        encode_into(tmp_path / "view.png", view)
        np.testing.assert_array_equal(read_picture(tmp_path / "view.png").pixels, view)


@pytest.mark.parametrize(
    ("suffix", "pixels", "line"),
    [
        (".bmp", blocks(), "'.bmp' is not a picture suffix; use one of .png, .jpg, .jpeg, .webp, .tif, .tiff"),
        ("", blocks(), "'' is not a picture suffix; use one of .png, .jpg, .jpeg, .webp, .tif, .tiff"),
        (
            ".webp",
            np.zeros((1, 16384, 3), np.uint8),
            "16384 by 1 pixels are too many: a WebP has at most 16383 pixels per side; use .tif or shrink it",
        ),
        (
            ".png",
            np.zeros((2, 2), np.uint8),
            "uint8 of shape (2, 2) is not a picture; give uint8 or uint16 [height, width, 3 or 4]",
        ),
        (
            ".png",
            np.zeros((2, 2, 3), np.float32),
            "float32 of shape (2, 2, 3) is not a picture; give uint8 or uint16 [height, width, 3 or 4]",
        ),
        (".png", np.zeros((0, 2, 3), np.uint8), f"OpenCV {cv2.__version__} cannot encode this PNG; use .png"),
    ],
)
def test_a_picture_that_cannot_be_encoded_is_refused_with_the_reason(suffix: str, pixels: Pixels, line: str) -> None:
    with pytest.raises(PictureWriteError) as caught:
        encode_picture(pixels, suffix)
    assert str(caught.value) == line
    assert isinstance(caught.value, OSError)
