"""Pictures that a caller gives: arrays, paths and Pillow images become pixels; anything else is refused in one line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures_fixture import noise, save

from onnxdream.runtime.errors import PictureError, SettingsError
from onnxdream.runtime.image.files import read_picture
from onnxdream.runtime.image.pixels import array_of, pixels_of

GREY = noise(8, 9)[..., 0]


def pixels(picture: Any, name: str = "picture") -> NDArray[Any]:
    return pixels_of(picture, name, pytest.fail)  # type: ignore[arg-type]  # no warning is expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_colour_array_is_taken_without_a_copy(dtype: Any, channels: int) -> None:
    picture = np.arange(8 * 9 * channels, dtype=dtype).reshape(8, 9, channels)
    assert np.shares_memory(pixels(picture), picture)
    np.testing.assert_array_equal(pixels(picture), picture)


@pytest.mark.parametrize("picture", [GREY, GREY[..., None], GREY.astype(np.uint16) * 257])
def test_a_grey_array_becomes_three_equal_planes(picture: NDArray[Any]) -> None:
    found = pixels(picture)
    assert found.dtype == picture.dtype
    np.testing.assert_array_equal(found, np.stack([picture.reshape(8, 9)] * 3, axis=2))


def test_16_bits_of_the_other_byte_order_are_read() -> None:
    picture = noise(8, 9).astype(">u2")
    assert pixels(picture).dtype == np.uint16
    np.testing.assert_array_equal(pixels(picture), picture)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_read_as_on_the_command_line(kind: Any, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", noise(8, 9))
    np.testing.assert_array_equal(pixels(kind(path)), noise(8, 9))


def test_a_photograph_is_turned_upright_and_its_warnings_are_logged(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    exif = image.Exif()
    exif[274] = 6  # to be turned by 90 degrees
    path = tmp_path / "turned.png"
    image.fromarray(noise(8, 9)).save(path, exif=exif, icc_profile=b"\0" * 16 + b"CMYK" + b"\0" * 200)
    lines: list[str] = []
    found = pixels_of(path, "picture", lines.append)
    assert found.shape == (9, 8, 3)
    np.testing.assert_array_equal(found, read_picture(path).pixels)
    assert lines == list(read_picture(path).warnings)
    assert lines


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    save(tmp_path / "a.png", noise(8, 9))
    assert pixels("~/a.png").shape == (8, 9, 3)


def test_a_file_that_is_not_there_is_reported_as_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no such picture"):
        pixels(tmp_path / "lost.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "P", "LA", "PA", "CMYK", "YCbCr", "HSV", "RGBX", "RGBa"])
def test_a_pillow_image_of_any_mode_is_the_picture_that_it_shows(mode: str) -> None:
    image = pytest.importorskip("PIL.Image").fromarray(noise(8, 9))
    image.putalpha(200)
    shown = image.convert("RGB") if mode in ("CMYK", "YCbCr", "HSV", "1", "P") else image
    given = shown.convert("RGBA").convert("LA").convert("PA") if mode == "PA" else shown.convert(mode)
    has_alpha = mode in ("RGBA", "LA", "PA", "RGBa")
    np.testing.assert_array_equal(pixels(given), np.asarray(given.convert("RGBA" if has_alpha else "RGB")))


def test_a_pillow_image_with_a_transparent_colour_has_alpha() -> None:
    image = pytest.importorskip("PIL.Image").fromarray(GREY)
    image.info["transparency"] = int(GREY[0, 0])
    assert pixels(image)[0, 0, 3] == 0


@pytest.mark.parametrize("mode", ["I;16", "I;16B"])
def test_a_pillow_image_of_16_bits_keeps_them(mode: str) -> None:
    image = pytest.importorskip("PIL.Image")
    values = GREY.astype(np.uint16) * 200 + 7
    given = image.frombytes(mode, (9, 8), values.astype(">u2" if mode.endswith("B") else "<u2").tobytes())
    np.testing.assert_array_equal(pixels(given)[..., 1], values)


def test_a_damaged_pillow_image_is_refused_in_one_line() -> None:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.fromarray(noise(80, 90)).save(file, "JPEG")
    with pytest.raises(SettingsError, match=r"the picture, of type JpegImageFile, cannot be read \(.*truncated"):
        pixels(image.open(io.BytesIO(file.getvalue()[:2000])))


class Tensor:
    """Another library's array, whose values may be elsewhere."""

    def __init__(self, values: NDArray[Any] | None) -> None:
        self._values = values

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[Any]:
        if self._values is None:
            raise TypeError("can't convert a cuda tensor: use Tensor.cpu()\nfirst")
        return self._values


def test_an_object_that_numpy_reads_is_a_picture() -> None:
    np.testing.assert_array_equal(pixels(Tensor(noise(8, 9))), noise(8, 9))
    with pytest.raises(SettingsError, match=r"type Tensor, cannot be read \(can't convert a cuda tensor: use .*\)$"):
        pixels(Tensor(None))


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (None, "cv2.imread returns for a file that it cannot read"),
        ([[1, 2]], "not list: convert it with numpy.array"),
        (b"\x89PNG", "not bytes: decode it with cv2.imdecode"),
        (3, "an array, a path or a Pillow image, not int"),
        ({}, "not dict"),
        (io.BytesIO(), "not BytesIO"),
        (np.zeros((8, 9, 3), np.float32), r"not float32 \[8, 9, 3\]: .* give \(255 \* picture\)\.astype\('uint8'\)"),
        (np.zeros((8, 9), bool), r"not bool \[8, 9, 3\]: .* 0 to 1, give \(255 \* picture\)\.astype\('uint8'\)"),
        (np.zeros((8, 9), np.int64), r"not int64 \[8, 9, 3\]: .* give picture\.astype\('uint8'\)"),
        (np.zeros((3, 8, 9), np.uint8), r"not uint8 \[3, 8, 9\]: give picture\.transpose\(1, 2, 0\)"),
        (np.zeros((1, 8, 9, 3), np.uint8), r"give picture\[0\]"),
        (np.zeros((8, 9, 2), np.uint8), r"not uint8 \[8, 9, 2\]$"),
        (np.zeros((0, 9, 3), np.uint8), r"not uint8 \[0, 9, 3\]$"),
        (np.zeros((8, 9, 3), np.uint32), "not uint32"),
        (np.uint8(3), r"not uint8 \[\]$"),
    ],
)
def test_anything_else_is_refused_in_one_line_that_names_it(picture: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        pixels(picture)
    assert "\n" not in str(refused.value)
    assert "picture" in str(refused.value)


def test_a_message_names_the_picture_s_role() -> None:
    with pytest.raises(SettingsError, match="a guide is uint8 or uint16"):
        pixels(np.zeros((8, 9, 2), np.uint8), "guide")
    with pytest.raises(SettingsError, match="a mask is an array, a path or a Pillow image, not int"):
        array_of(3, "mask", pytest.fail)  # type: ignore[arg-type]
