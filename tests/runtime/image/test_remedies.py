"""What messages advise about picture files that are not read, and about colours that are lost."""

from __future__ import annotations

import os
import re
from pathlib import Path

import cv2
import pytest
from picture_bytes import (
    CMYK_JPEG,
    GREY_PROFILE,
    PROFILE,
    blocks,
    colour_exif,
    encoded,
    stored,
    tiff_picture,
    with_exif,
)
from pictures_fixture import install

from onnxdream.runtime import Settings
from onnxdream.runtime.errors import PictureFormatError
from onnxdream.runtime.image.files import read_picture
from onnxdream.runtime.image.formats.kinds import with_icc
from onnxdream.runtime.image.source import Source


def test_a_picture_from_standard_input_is_converted_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "programs", monkeypatch, "magick")
    with pytest.raises(PictureFormatError, match=r"or save what is left: magick - stdin-converted\.png$"):
        Source.of_input(encoded(".png", blocks())[:-5]).read(Settings())


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
            "is a video; dream it with onnxdream film, or take a frame of it: "
            "ffmpeg -i {path} -frames:v 1 b-converted.png",
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


def test_a_profile_that_does_not_fit_is_dropped_with_a_warning(tmp_path: Path) -> None:
    data = with_icc(encoded(".jpg", blocks()[..., 0]), GREY_PROFILE)
    picture = read_picture(stored(tmp_path, "bears.jpg", data))
    assert picture.icc is None
    assert picture.warnings == ("bears.jpg: its GRAY colour profile does not fit an RGB picture and is dropped",)


def test_a_cmyk_profile_is_dropped_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "programs", monkeypatch, "magick")
    path = stored(tmp_path, "bears.jpg", with_icc(CMYK_JPEG, PROFILE[:16] + b"CMYK" + PROFILE[20:]))
    picture = read_picture(path)
    assert picture.icc is None
    assert re.fullmatch(
        r"bears\.jpg: its CMYK colour profile does not fit an RGB picture and is dropped; for its true colours, "
        rf"convert it first: magick {re.escape(str(path))} -profile \S*sRGB.icc bears-converted.png",
        picture.warnings[0],
    )
