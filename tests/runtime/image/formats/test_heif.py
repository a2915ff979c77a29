"""Sizes, orientations and colours of AVIF and HEIC files, valid and hostile ones, and their pixels."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_bytes import HEIGHT, ORIENTATIONS, PROFILE, WIDTH, box, heif, heif_size

from onnxdream.models.arrays import Pixels
from onnxdream.runtime.errors import PictureError, PictureFormatError
from onnxdream.runtime.image.files import read_picture
from onnxdream.runtime.image.formats.container import DamagedContainerError
from onnxdream.runtime.image.formats.kinds import missing_reader, read_container

needs_avif = pytest.mark.skipif(missing_reader("AVIF") is not None, reason="this OpenCV does not read AVIF")


def blocks(channels: int = 3) -> Pixels:
    """A picture of 80 by 48 pixels in blocks of 16 by 16, which lossy formats hardly change."""
    small = np.random.default_rng(7).integers(20, 230, (3, 5, channels), dtype=np.uint8)
    return small.repeat(16, axis=0).repeat(16, axis=1)


def colours(primaries: int, transfer: int) -> bytes:
    numbers = b"".join(number.to_bytes(2, "big") for number in (primaries, transfer, 1))
    return box(b"colr", b"nclx" + numbers + b"\x80")


def turned(turns: int, axis: int | None) -> bytes:
    mirror = () if axis is None else (box(b"imir", bytes((axis,))),)
    return heif(heif_size(), box(b"irot", bytes((turns,))), *mirror)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_turns_and_mirrors_are_an_orientation(turns: int, axis: int | None) -> None:
    pixels = np.arange(6).reshape(2, 3)
    expected = np.rot90(pixels, turns)
    if axis is not None:
        expected = np.fliplr(expected) if axis else np.flipud(expected)
    container = read_container(turned(turns, axis))
    assert (container.width, container.height) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(ORIENTATIONS[container.orientation](pixels), expected)


def test_a_heic_has_its_upright_size_since_its_decoder_turns_it() -> None:
    container = read_container(turned(1, None).replace(b"ftypavif", b"ftypheic"))
    assert (container.kind, container.width, container.height) == ("HEIC", HEIGHT, WIDTH)
    assert container.orientation == 1


def test_only_the_primary_picture_s_properties_count() -> None:
    data = heif(heif_size(7, 9), heif_size(), box(b"irot", b"\1"), numbers=b"\x82\3", items=3)
    container = read_container(data)
    assert (container.width, container.height, container.orientation) == (WIDTH, HEIGHT, 8)


@pytest.mark.parametrize(
    ("properties", "icc", "stated"),
    [
        ((), None, None),
        ((colours(1, 13),), None, None),
        ((colours(12, 13),), None, "Display P3"),
        ((colours(9, 16),), None, "HDR (PQ)"),
        ((colours(12, 13), box(b"colr", b"prof" + PROFILE)), PROFILE, None),
        ((box(b"colr", b"rICC" + PROFILE),), PROFILE, None),
        ((box(b"colr", b"prof" + PROFILE[:100]),), None, None),
        ((box(b"colr", b""),), None, None),
    ],
)
def test_colours_are_a_profile_or_numbers(properties: tuple[bytes, ...], icc: bytes | None, stated: str | None) -> None:
    container = read_container(heif(heif_size(), *properties))
    assert (container.icc, container.colours) == (icc, stated)


@pytest.mark.parametrize(
    ("properties", "bits"),
    [
        ((), 8),
        ((box(b"av1C", b"\x81\0\x40\0"),), 10),
        ((box(b"av1C", b"\x81\0\x60\0"),), 12),
        ((box(b"pixi", bytes(4) + b"\3\x0a\x0a\x0a"), box(b"av1C", b"\x81\0\0\0")), 10),
    ],
)
def test_the_bits_of_a_sample_are_read(properties: tuple[bytes, ...], bits: int) -> None:
    assert read_container(heif(heif_size(), *properties)).bits == bits


def test_a_crop_that_is_not_applied_causes_a_warning() -> None:
    assert read_container(heif(heif_size(), box(b"clap", bytes(32)))).warnings == ("it is read without its crop",)


@pytest.mark.parametrize(
    "data",
    [
        heif(),
        heif(heif_size(), numbers=b"\2"),
        heif(heif_size(), numbers=b"\0"),
        heif(heif_size(0, 9)),
        heif(box(b"ispe", bytes(8))),
        heif(heif_size(), box(b"imir", b"")),
        heif(heif_size(), box(b"pixi", bytes(3))),
        heif(heif_size(), box(b"colr", b"nclx\0")),
        heif(heif_size()).replace(b"pitm", b"free"),
        heif(heif_size()).replace(b"ipma", b"free"),
        heif(heif_size()).replace(b"\0\0\0\x0epitm", b"\0\0\0\1pitm"),
        heif(heif_size()).replace(b"\0\0\0\x0epitm", b"\0\0\0\3pitm"),
        box(b"ftyp", b"avif") + box(b"free", b"") * 2**17,
        box(b"ftyp", b"avif") + box(b"meta", bytes(4) + box(b"pitm", b"")),
    ],
)
def test_damage_is_reported(data: bytes) -> None:
    with pytest.raises(DamagedContainerError):
        read_container(data)


def test_a_file_cut_short_is_refused_at_any_length() -> None:
    data = heif(heif_size(), colours(1, 13))
    for length in range(16, len(data)):
        with pytest.raises(DamagedContainerError):
            read_container(data[:length])


def avif(pixels: Pixels, depth: int = 8) -> bytes:
    succeeded, data = cv2.imencode(".avif", pixels, [cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 100])
    assert succeeded
    return data.tobytes()


@needs_avif
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_an_avif_is_read_with_all_its_bits(tmp_path: Path, depth: int) -> None:
    pixels = blocks()[..., :1].repeat(3, axis=2)  # grey
    if depth > 8:
        pixels = (pixels / 255 * (2**depth - 1)).astype(np.uint16)
    path = tmp_path / "bears.avif"
    path.write_bytes(avif(pixels, depth))
    picture = read_picture(path)
    assert picture.pixels.dtype == (np.uint8 if depth == 8 else np.uint16)
    assert np.abs(picture.pixels / (1 if depth == 8 else 257) - blocks()[..., :1]).mean() < 3
    assert picture.warnings == ()


@needs_avif
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_an_avif_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    image = pytest.importorskip("PIL.Image")
    if not pytest.importorskip("PIL.features").check("avif"):
        pytest.skip("this Pillow does not write AVIF")
    exif = image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "bears.avif"
    image.fromarray(blocks()).save(path, "AVIF", quality=100, exif=exif.tobytes(), icc_profile=PROFILE)
    picture = read_picture(path)
    expected = ORIENTATIONS[orientation](blocks())
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels.astype(int) - expected).mean() < 8
    assert picture.icc == PROFILE


@needs_avif
def test_a_damaged_avif_ends_in_a_picture_or_a_picture_error(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    data = avif(blocks())
    path = tmp_path / "bears.avif"
    for length in {*range(0, len(data), max(1, len(data) // 40)), len(data) - 1}:
        path.write_bytes(data[:length])
        with pytest.raises(PictureFormatError):
            read_picture(path)
    for _ in range(80):
        damaged = bytearray(data)
        for at in random.integers(0, min(len(data), 400), random.integers(1, 6)):
            damaged[at] = random.integers(256)
        path.write_bytes(bytes(damaged))
        with suppress(PictureError):
            assert read_picture(path).pixels.shape[2] in (3, 4)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "RGB;16"])
def test_a_heic_is_read_where_pillow_heif_is_installed(tmp_path: Path, orientation: int, mode: str) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    image = pytest.importorskip("PIL.Image")
    pixels = blocks({"RGB": 3, "RGBA": 4, "L": 1, "RGB;16": 3}[mode])
    stored = pixels.astype(np.uint16) * 257 if mode == "RGB;16" else pixels
    exif = image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    try:
        written = pillow_heif.from_bytes(mode, (80, 48), stored.tobytes())
        written.save(file, quality=-1, exif=exif.tobytes(), icc_profile=PROFILE)
    except RuntimeError:
        pytest.skip("this pillow-heif does not write HEIC")
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(file.getvalue())
    picture = read_picture(path)
    expected = ORIENTATIONS[orientation](pixels.repeat(3, axis=2) if mode == "L" else pixels)
    scale = 257 if mode == "RGB;16" else 1
    assert picture.pixels.dtype == (np.uint16 if mode == "RGB;16" else np.uint8)
    assert picture.pixels.shape == expected.shape
    assert np.abs(picture.pixels / scale - expected).mean() < 3
    assert picture.icc == PROFILE
    for length in range(12, len(file.getvalue()), 97):
        path.write_bytes(file.getvalue()[:length])
        with pytest.raises(PictureFormatError):
            read_picture(path)


def test_a_heic_that_cannot_be_read_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    path = tmp_path / "IMG_0001.HEIC"
    path.write_bytes(heif(heif_size(), brand=b"heic"))
    with pytest.raises(
        PictureFormatError, match=r"HEIC is not read yet: pip install 'onnxdream\[heic\]'; or convert it"
    ):
        read_picture(path)
