"""The files that a dream writes: their names, and what happens if they cannot be written."""

from __future__ import annotations

import csv
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures_fixture import in_limited_files, listing, load, noise

from onnxdream.runtime.dream.results import Results, is_picture_path
from onnxdream.runtime.errors import OutputError

BEARS = Path("pictures/bears.jpg")


def test_results_lie_next_to_each_other(tmp_path: Path) -> None:
    results = Results.for_source(BEARS, tmp_path, overwrite=False)
    assert results.picture == tmp_path / "bears-dream.png"
    assert results.snapshot(100) == tmp_path / "bears-dream-step0100.png"
    assert results.snapshot(12345) == tmp_path / "bears-dream-step12345.png"
    assert results.losses == tmp_path / "bears-dream-losses.csv"
    assert results.plot == tmp_path / "bears-dream-losses.png"
    assert results.record == tmp_path / "bears-dream.json"
    assert listing(tmp_path) == {"bears-dream.checkpoint"}  # it reserves the name
    results.release()
    assert listing(tmp_path) == set()


def test_without_an_output_they_lie_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Results.for_source(BEARS, None, overwrite=False).picture == Path("bears-dream.png")


def test_an_output_that_names_a_picture_is_the_picture(tmp_path: Path) -> None:
    results = Results.for_source(BEARS, tmp_path / "new" / "art.webp", overwrite=False)
    assert results.picture == tmp_path / "new" / "art.webp"
    assert results.snapshot(5) == tmp_path / "new" / "art-step0005.webp"
    assert results.record == tmp_path / "new" / "art.json"


@pytest.mark.parametrize(
    ("name", "is_picture"),
    [("a.png", True), ("a.JPG", True), ("a.tif", True), ("a.webp", True), ("a", False), ("a.d", False)],
)
def test_an_output_is_a_picture_by_its_suffix(name: str, is_picture: bool, tmp_path: Path) -> None:
    assert is_picture_path(tmp_path / name) is is_picture


def test_a_folder_named_like_a_picture_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    assert not is_picture_path(tmp_path / "a.png")
    assert not is_picture_path(None)
    assert not is_picture_path(Path("x" * 5000))
    assert (
        Results.for_source(BEARS, tmp_path / "a.png", overwrite=False).picture == tmp_path / "a.png" / "bears-dream.png"
    )


TAKEN = ["png", "json", "checkpoint", "losses.csv", "losses.png", "step0002.png", "step123456.png"]


@pytest.mark.parametrize("ending", TAKEN)
def test_a_name_is_free_only_if_none_of_its_files_exists(ending: str, tmp_path: Path) -> None:
    for stem in ("bears-dream", "bears-dream-2"):
        taken = tmp_path / (f"{stem}-{ending}" if "." in ending else f"{stem}.{ending}")
        taken.write_bytes(b"the user's own")
    assert Results.for_source(BEARS, tmp_path, overwrite=False).picture == tmp_path / "bears-dream-3.png"
    assert Results.for_source(BEARS, tmp_path, overwrite=False).picture == tmp_path / "bears-dream-4.png"


@pytest.mark.parametrize("ending", TAKEN)
def test_a_named_output_is_written_as_named_or_refused(ending: str, tmp_path: Path) -> None:
    taken = tmp_path / (f"art-{ending}" if "." in ending else f"art.{ending}")
    taken.write_bytes(b"the user's own")
    with pytest.raises(OutputError, match=rf"{re.escape(str(taken))} exists: choose another --output"):
        Results.for_source(BEARS, tmp_path / "art.png", overwrite=False)
    assert listing(tmp_path) == {taken.name}


@pytest.mark.parametrize("ending", ["json", "losses.csv", "losses.png", "step0002.png"])
def test_overwriting_spares_files_that_are_not_from_an_earlier_dream(ending: str, tmp_path: Path) -> None:
    taken = tmp_path / (f"art-{ending}" if "." in ending else f"art.{ending}")
    taken.write_bytes(b"the user's own")
    with pytest.raises(OutputError, match=rf"{re.escape(str(taken))} is not from an earlier dream: move it"):
        Results.for_source(BEARS, tmp_path / "art.png", overwrite=True, snapshots=[2, 5])


@pytest.mark.parametrize("name", ["art.png", "art-losses.png", "art-step0002.png", "art-step7.png"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_the_dream_reads_is_never_replaced(name: str, overwrite: bool, tmp_path: Path) -> None:
    picture = tmp_path / name
    picture.write_bytes(b"read")
    with pytest.raises(OutputError, match=r"exists: choose|is a file that this dream reads: choose"):
        Results.for_source(BEARS, tmp_path / "art.png", overwrite, snapshots=[2], inputs=[picture])
    (tmp_path / "link.png").symlink_to(picture)
    with pytest.raises(OutputError, match=r"exists: choose|is a file that this dream reads: choose"):
        Results.for_source(BEARS, tmp_path / "link.png", overwrite, inputs=[picture])


def test_overwriting_replaces_a_picture_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "art.png").symlink_to("nowhere.png")
    read = tmp_path / "bears.jpg"
    read.write_bytes(b"read")
    results = Results.for_source(BEARS, tmp_path / "art.png", overwrite=True, inputs=[read])
    results.write_picture(np.zeros((2, 2, 3), np.uint8), None, "")
    assert not results.picture.is_symlink()
    assert not (tmp_path / "nowhere.png").exists()


def test_overwriting_spares_a_link_to_nothing_that_is_not_from_an_earlier_dream(tmp_path: Path) -> None:
    (tmp_path / "art-losses.csv").symlink_to("nowhere.csv")
    read = tmp_path / "bears.jpg"
    read.write_bytes(b"read")
    with pytest.raises(OutputError, match=r"art-losses\.csv is not from an earlier dream: move it"):
        Results.for_source(BEARS, tmp_path / "art.png", overwrite=True, inputs=[read])


def test_names_are_reserved_by_whoever_is_first(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        chosen = list(pool.map(lambda _: Results.for_source(BEARS, tmp_path, overwrite=False).picture, range(24)))
    assert len(set(chosen)) == 24


@pytest.mark.parametrize("output", ["film.mp4", "art.exr", "art.jfif", "art.json", "art.pgn", "art.JPGE"])
def test_an_output_that_looks_like_a_file_of_another_kind_is_refused(output: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="dreams are written as"):
        Results.for_source(BEARS, tmp_path / output, overwrite=False)
    assert listing(tmp_path) == set()


@pytest.mark.parametrize("output", ["dreams.v2", "of.last.summer"])
def test_another_output_with_a_dot_is_a_folder(output: str, tmp_path: Path) -> None:
    results = Results.for_source(BEARS, tmp_path / output, overwrite=False)
    assert results.picture == tmp_path / output / "bears-dream.png"


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for output in (tmp_path / "file", tmp_path / "file" / "deeper", tmp_path / "file" / "a.png"):
        with pytest.raises(OutputError, match=r"cannot write .*: make room or choose another --output"):
            Results.for_source(BEARS, output, overwrite=False)
    assert listing(tmp_path) == {"file"}


@pytest.mark.parametrize("length", [240, 5000])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_name_too_long_for_any_of_the_files_is_refused_before_the_first_step(
    length: int, overwrite: bool, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="File name too long"):
        Results.for_source(BEARS, tmp_path / ("x" * length + ".png"), overwrite)
    assert listing(tmp_path) == set()


def test_losses_are_written_with_seven_digits(tmp_path: Path) -> None:
    results = Results(tmp_path / "bears-dream.png")
    losses = np.array([[0.5, 1.25], [1 / 3, 1e-9], [123456.7, -2.0]], np.float32)
    results.write_losses(("low", "high"), losses, losses @ np.array([1, -1], np.float32), [0, 2])
    with results.losses.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["step", "octave", "total", "low", "high"]
    assert [row[:2] for row in rows[1:]] == [["0", "1"], ["1", "1"], ["2", "2"]]
    values = np.array([[float(number) for number in row[2:]] for row in rows[1:]], np.float32)
    np.testing.assert_allclose(values[:, 1:], losses, rtol=1e-6)
    np.testing.assert_allclose(values[:, 0], losses[:, 0] - losses[:, 1], rtol=1e-6)


def test_a_picture_that_loses_features_in_its_format_causes_warnings(tmp_path: Path) -> None:
    deep = noise(20, 30, 4, np.uint16)
    warnings = Results(tmp_path / "art.jpg").write_picture(deep, None, "{}")
    assert [line.split(":")[0] for line in warnings] == ["art.jpg"] * 2
    assert Results(tmp_path / "art.png").write_picture(deep, None, "{}") == ()
    np.testing.assert_array_equal(load(tmp_path / "art.png"), deep)


def test_a_picture_that_its_format_cannot_store_is_a_failed_output(tmp_path: Path) -> None:
    wide = np.zeros((1, 16384, 3), np.uint8)
    for write in (
        lambda results: results.write_picture(wide, None, "{}"),
        lambda results: results.write_snapshot(3, wide, None),
    ):
        with pytest.raises(OutputError, match=r"art\.webp: 16384 by 1 pixels are too many"):
            write(Results(tmp_path / "art.webp"))
    assert listing(tmp_path) == set()


def test_a_picture_that_cannot_be_written_goes_to_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that becomes a file during the dream simulates a disk that becomes full."""
    rescue = tmp_path / "temporary"
    rescue.mkdir()
    (rescue / "art.png").write_bytes(b"of an earlier run")
    monkeypatch.setattr("tempfile.tempdir", str(rescue))
    (tmp_path / "file").write_bytes(b"")
    pixels = noise(20, 30)
    with pytest.raises(OutputError) as failed:
        Results(tmp_path / "file" / "art.png").write_picture(pixels, None, "{}")
    assert str(failed.value).endswith(f"the dream is saved as {rescue / 'art-2.png'}")
    np.testing.assert_array_equal(load(rescue / "art-2.png"), pixels)
    assert (rescue / "art.png").read_bytes() == b"of an earlier run"


def test_without_a_temporary_folder_the_failure_to_write_is_reported(tmp_path: Path, no_temporary_folder: None) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"make room or choose another --output$"):
        Results(tmp_path / "file" / "art.png").write_picture(noise(20, 30), None, "{}")


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    program = f"""
import numpy
from pathlib import Path
from onnxdream.runtime.dream.results import Results
from onnxdream.runtime.errors import OutputError
results = Results(Path({str(tmp_path / "bears-dream.png")!r}))
pixels = numpy.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=numpy.uint8)
results.write_record("short enough")
for write in (lambda: results.write_picture(pixels, None, "note"), lambda: results.write_snapshot(7, pixels, None)):
    try:
        write()
    except OutputError as error:
        print(error)
"""
    finished = in_limited_files(2_000, sys.executable, "-c", program)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("make room or choose another --output") == 2
    assert listing(tmp_path) == {"bears-dream.json"}
