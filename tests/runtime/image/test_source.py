"""Sources of dreams: noise by its size and seed, and the size at which a picture file is dreamed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from picture_bytes import exif_block, with_exif
from pictures_fixture import noise, save

from onnxdream.runtime import Settings
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.image.source import Source, noise_picture
from onnxdream.runtime.settings.parsing import parse_size


def test_noise_depends_only_on_its_size_and_its_seed() -> None:
    first, again = noise_picture(40, 30, 7), noise_picture(40, 30, 7)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.sha256 == again.sha256
    other = noise_picture(40, 30, 8)
    assert np.mean(other.pixels != first.pixels) > 0.9
    assert other.sha256 != first.sha256
    # Noise of another size is not a part of the same noise.
    assert np.mean(noise_picture(40, 31, 7).pixels[:30] != first.pixels) > 0.9


def test_noise_is_grey_with_a_little_grain() -> None:
    pixels = noise_picture(64, 48, 0).pixels
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8
    assert pixels.mean() == pytest.approx(117, abs=1)
    assert pixels.std() == pytest.approx(20, abs=1)
    colours = pixels.reshape(-1, 3).astype(float).T
    assert np.abs(np.corrcoef(colours) - np.eye(3)).max() < 0.1


def test_a_source_of_noise_uses_the_seed_of_the_settings_and_has_no_path() -> None:
    source = Source.of_noise((40, 30))
    assert source.name == "noise-40x30"
    picture = source.read(Settings(seed=5))
    np.testing.assert_array_equal(picture.pixels, noise_picture(40, 30, 5).pixels)
    file = source.file(picture)
    assert (file.name, file.sha256, file.path) == ("noise-40x30", picture.sha256, None)


def test_a_source_of_a_file_records_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "bears.png", noise(20, 30))
    monkeypatch.chdir(tmp_path)
    source = Source(Path("bears.png"))
    file = source.file(source.read(Settings()))
    assert file.path == str((tmp_path / "bears.png").resolve())


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="needs /dev/fd")
def test_a_pipe_is_read_only_once(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, save(tmp_path / "bears.png", noise(20, 30)).read_bytes())
        os.close(writing)
        source = Source(Path(f"/dev/fd/{reading}"))
        assert source.dreamed_size(None) == (0, 0)
        assert source.read(Settings()).pixels.shape == (20, 30, 3)
    finally:
        os.close(reading)


@pytest.mark.parametrize("text", ["512x384", " 512 x 384 ", "512×384"])
def test_a_size_is_read_width_first(text: str) -> None:
    assert parse_size(text) == (512, 384)


@pytest.mark.parametrize(
    "text",
    ["", "512", "x", "512x", "x384", "512x384x3", "-5x10", "0x10", "10x0", "1.5x2", "512,384", "axb"],
)
def test_an_invalid_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        parse_size(text)
    assert repr(text) in str(refusal.value)
    assert "512x384" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("max_size", "size"), [(None, (60, 80)), (1000, (60, 80)), (80, (60, 80)), (40, (30, 40)), (1, (1, 1))]
)
def test_the_dreamed_size_is_bounded_and_never_enlarged(
    max_size: int | None, size: tuple[int, int], tmp_path: Path
) -> None:
    source = Source(save(tmp_path / "a.png", noise(60, 80)))
    assert source.dreamed_size(max_size) == size
    assert Source.of_noise((80, 60)).dreamed_size(max_size) == size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_dreamed_size_is_that_of_the_upright_picture(orientation: int, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", noise(60, 80))
    path.write_bytes(with_exif(path.read_bytes(), exif_block(orientation)))
    source = Source(path)
    assert source.dreamed_size(40) == ((30, 40) if orientation <= 4 else (40, 30))
    assert source.dreamed_size(None) == source.read(Settings()).pixels.shape[:2]


def test_a_file_that_cannot_be_read_has_no_size(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    assert [Source(path).dreamed_size(40) for path in (broken, tmp_path / "lost.png")] == [(0, 0), (0, 0)]
