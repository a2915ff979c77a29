"""Picture files read, and how missing, huge and damaged ones are refused."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_bytes import (
    PROFILE,
    blocks,
    encoded,
    exif_block,
    gif,
    gif_control,
    gif_frame,
    heif,
    heif_size,
    png_by_hand,
    png_chunk,
    stored,
    tiff_picture,
    with_exif,
)
from pictures_fixture import install

from onnxdream.runtime.errors import (
    PictureError,
    PictureFormatError,
    PictureNotFoundError,
    PictureReadError,
    PictureTooLargeError,
)
from onnxdream.runtime.image.files import read_note, read_picture
from onnxdream.runtime.image.formats.codec import encode_picture
from onnxdream.runtime.image.formats.kinds import missing_reader


def test_a_transparent_grey_that_opencv_does_not_read_causes_a_warning(tmp_path: Path) -> None:
    data = png_by_hand(8, 0, b"\x07\x08", 2, png_chunk(b"tRNS", b"\0\x07"))
    picture = read_picture(stored(tmp_path, "grey.png", data))
    assert picture.warnings == ("grey.png: its one transparent grey is read as opaque",)


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
