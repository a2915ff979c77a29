"""From picture files to all results of a dream, in one process and without a command line."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from picture_bytes import GREY_PROFILE, PROFILE
from pictures_fixture import TINY_BYTES, cliff_bytes, encode_into, frames, listing, load, noise, save

from onnxdream.runtime import Bundle, Execution, Settings, Step, dream
from onnxdream.runtime.dream import writer as writer_module
from onnxdream.runtime.dream.checkpoint import read_checkpoint
from onnxdream.runtime.dream.job import dream_and_save
from onnxdream.runtime.dream.plot import can_plot
from onnxdream.runtime.dream.record import read_record
from onnxdream.runtime.dream.repeat import job_to_resume
from onnxdream.runtime.dream.results import Results
from onnxdream.runtime.dream.run import Dream
from onnxdream.runtime.dream.writer import Callbacks, Job
from onnxdream.runtime.errors import DivergedError, OutputError
from onnxdream.runtime.image.files import read_note, read_picture
from onnxdream.runtime.image.source import Source

SETTINGS = Settings(steps=5, step_size=0.02, snapshots=(2, 4, 100), execution=Execution("cpu", 1))
DOCUMENTS = {"losses.csv", *(["losses.png"] if can_plot() else [])}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A short dream of the tiny bundle into the folder `out`."""
    return Job(Bundle.load(TINY_BYTES), SETTINGS, tmp_path / "out")


def callbacks(lines: list[str] | None = None, on_step: Callable[[Step], bool | None] = lambda step: None) -> Callbacks:
    return Callbacks((lines if lines is not None else []).append, on_step)


def dream_file(job: Job, path: Path, callbacks: Callbacks) -> tuple[Dream, Results]:
    return dream_and_save(job, Source(path), callbacks)


def names(stem: str, *steps: int) -> set[str]:
    """The files of a dream with snapshots at these steps."""
    beside = {f"{stem}-{ending}" for ending in DOCUMENTS} | {f"{stem}-step{step:04d}.png" for step in steps}
    return {f"{stem}.png", f"{stem}.json"} | beside


def test_a_dream_writes_its_picture_snapshots_losses_plot_and_record(job: Job, tmp_path: Path) -> None:
    path = save(tmp_path / "bears.png", noise(40, 53))
    finished, results = dream_file(job, path, callbacks())
    assert listing(tmp_path / "out") == names("bears-dream", 2, 4, 5)
    assert results.picture == tmp_path / "out" / "bears-dream.png"
    np.testing.assert_array_equal(load(results.picture), finished.picture)
    np.testing.assert_array_equal(load(results.snapshot(5)), finished.picture)
    for step in (2, 4):
        shorter = dream(noise(40, 53), job.bundle, replace(SETTINGS, steps=step))
        np.testing.assert_array_equal(load(results.snapshot(step)), shorter.picture)


def test_the_losses_are_those_of_the_dream(job: Job, tmp_path: Path) -> None:
    weighted = replace(job, settings=replace(SETTINGS, layer_weights={"low": 2.0, "high": -1.0}))
    finished, results = dream_file(weighted, save(tmp_path / "bears.png", noise(40, 53)), callbacks())
    with results.losses.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["step", "octave", "total", "low", "mid", "high"]
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3, 4, 5]
    values = np.array([[float(number) for number in row[2:]] for row in rows])
    np.testing.assert_allclose(values[:, 1:], finished.losses, rtol=1e-6)
    np.testing.assert_allclose(values[:, 0], 2 * finished.losses[:, 0] - finished.losses[:, 2], rtol=1e-5)


def test_the_record_is_next_to_the_picture_and_in_it_without_paths(job: Job, tmp_path: Path) -> None:
    path = save(tmp_path / "secret" / "bears.png", noise(40, 53))
    finished, results = dream_file(job, path, callbacks())
    beside = read_record(results.record.read_text(), "beside")
    assert set(beside.files) == {path.name for path in results.picture.parent.iterdir()}
    assert replace(beside, files=()) == finished.record
    assert beside.picture is not None
    assert beside.picture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert beside.picture.path == str(path.resolve())
    note = read_note(results.picture)
    assert note is not None
    assert "secret" not in note
    assert read_record(note, "inside") == replace(finished.record, picture=replace(beside.picture, path=None))
    for step in (2, 4, 5):
        assert read_note(results.snapshot(step)) is None


@pytest.mark.skipif(not can_plot(), reason="needs matplotlib")
@pytest.mark.parametrize("name", ["bears", "a $\\frac$ of_it", "b\udcff"])
def test_the_plot_is_a_picture_whatever_the_file_is_called(name: str, job: Job, tmp_path: Path) -> None:
    source = save(tmp_path / "plain.png", noise(30, 40))
    path = source.rename(tmp_path / f"{name}.png")
    _, results = dream_file(job, path, callbacks())
    data = np.frombuffer(results.plot.read_bytes(), np.uint8)
    assert data[:4].tobytes() == b"\x89PNG"
    assert len(data) > 5000


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 4), (np.uint16, 3), (np.uint16, 4)])
def test_the_result_has_the_bit_depth_and_alpha_of_the_file(
    dtype: type, channels: int, job: Job, tmp_path: Path
) -> None:
    pixels = noise(40, 53, channels, dtype)
    _, results = dream_file(job, save(tmp_path / "bears.png", pixels), callbacks())
    for path in (results.picture, results.snapshot(2)):
        result = load(path)
        assert (result.dtype, result.shape) == (pixels.dtype, pixels.shape)
        np.testing.assert_array_equal(result[..., 3:], pixels[..., 3:])


def test_a_colour_profile_is_carried_into_every_picture(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "bears.png"
    encode_into(path, noise(40, 53), icc=PROFILE)
    _, results = dream_file(job, path, callbacks())
    assert read_picture(results.picture).icc == PROFILE
    assert read_picture(results.snapshot(4)).icc == PROFILE


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        ((60, 80), "bears.png: 80×60 → 40×30"),
        ((30, 40), "bears.png: 40×30 → 40×30"),
        ((10, 14), "bears.png: 14×10 → 27×19 (enlarged to the smallest size that the network accepts)"),
    ],
)
def test_the_sizes_are_reported(shape: tuple[int, int], line: str, job: Job, tmp_path: Path) -> None:
    lines: list[str] = []
    small = replace(job, settings=replace(SETTINGS, max_size=40))
    dream_file(small, save(tmp_path / "bears.png", noise(*shape)), callbacks(lines))
    assert lines[0] == line


def test_a_feature_that_the_format_cannot_store_is_reported_once(job: Job, tmp_path: Path) -> None:
    lines: list[str] = []
    as_jpeg = replace(job, output=tmp_path / "art.jpg")
    dream_file(as_jpeg, save(tmp_path / "bears.png", noise(40, 53, 4)), callbacks(lines))
    assert [line for line in lines if "alpha" in line] == [
        "art.jpg: a JPEG stores no alpha: the picture is put on white; use .png to keep it"
    ]


def test_a_warning_about_the_file_names_it_once(job: Job, tmp_path: Path) -> None:
    encode_into(tmp_path / "bears.png", noise(40, 53), icc=GREY_PROFILE)
    lines: list[str] = []
    dream_file(job, tmp_path / "bears.png", callbacks(lines))
    (warning,) = [line for line in lines if "profile" in line]
    assert warning.count("bears.png") == 1


def test_overwriting_replaces_the_picture_and_removes_stale_snapshots(job: Job, tmp_path: Path) -> None:
    path = save(tmp_path / "bears.png", noise(40, 53))
    dream_file(job, path, callbacks())
    shorter = replace(job, overwrite=True, settings=replace(SETTINGS, steps=3, snapshots=(1,)))
    finished, results = dream_file(shorter, path, callbacks())
    assert listing(tmp_path / "out") == names("bears-dream", 1, 3)
    np.testing.assert_array_equal(load(results.picture), finished.picture)
    assert json.loads(results.record.read_text())["steps_done"] == 3


def test_a_second_dream_is_written_next_to_the_first(job: Job, tmp_path: Path) -> None:
    path = save(tmp_path / "bears.png", noise(40, 53))
    for _ in range(2):
        dream_file(job, path, callbacks())
    assert listing(tmp_path / "out") == names("bears-dream", 2, 4, 5) | names("bears-dream-2", 2, 4, 5)


def test_without_snapshots_the_last_picture_is_written_once(job: Job, tmp_path: Path) -> None:
    path = save(tmp_path / "bears.png", noise(40, 53))
    _, results = dream_file(replace(job, settings=replace(SETTINGS, snapshots=())), path, callbacks())
    assert listing(tmp_path / "out") == names("bears-dream")
    assert set(read_record(results.record.read_text(), "").files) == names("bears-dream")


def test_without_extras_only_the_picture_is_written_and_keeps_its_record(job: Job, tmp_path: Path) -> None:
    path, lines = save(tmp_path / "bears.png", noise(40, 53)), list[str]()
    _, results = dream_file(replace(job, extras=False), path, callbacks(lines))
    assert listing(tmp_path / "out") == {"bears-dream.png"}
    note = read_note(results.picture)
    assert note is not None
    assert read_record(note, "").settings == SETTINGS
    assert not [line for line in lines if "plot" in line]


def test_a_picture_without_extras_replaces_an_earlier_dream_and_all_its_files(job: Job, tmp_path: Path) -> None:
    path = save(tmp_path / "bears.png", noise(40, 53))
    dream_file(job, path, callbacks())
    (tmp_path / "out" / "bears-dream-step0077.png").write_bytes(b"mine")
    dream_file(replace(job, extras=False, overwrite=True), path, callbacks())
    assert listing(tmp_path / "out") == {"bears-dream.png", "bears-dream-step0077.png"}


def test_without_extras_a_stopped_dream_leaves_a_checkpoint_and_is_resumed_without_them(
    job: Job, tmp_path: Path
) -> None:
    path = save(tmp_path / "bears.png", noise(40, 53))
    _, results = dream_file(replace(job, extras=False), path, callbacks(on_step=lambda step: step.number == 3))
    assert listing(tmp_path / "out") == {"bears-dream.png", "bears-dream.checkpoint"}
    checkpoint = read_checkpoint(results.checkpoint)
    library = tmp_path / "onnxdream-home" / "bundles"
    library.mkdir(parents=True)
    (library / "tiny.onnx").write_bytes(TINY_BYTES)
    resumed = job_to_resume(checkpoint, results.checkpoint)
    finished, _ = dream_and_save(resumed, Source(path), callbacks(), checkpoint)
    assert listing(tmp_path / "out") == {"bears-dream.png"}
    np.testing.assert_array_equal(finished.picture, dream(noise(40, 53), job.bundle, SETTINGS).picture)


def test_an_overlap_of_tiles_is_questioned_where_there_are_none(job: Job, tmp_path: Path) -> None:
    path = save(tmp_path / "bears.png", noise(40, 53))
    line = "bears.png: --tile-overlap has no effect without tiles"
    for settings, told in (
        (SETTINGS, False),
        (replace(SETTINGS, tile_overlap=8), True),
        (replace(SETTINGS, tile_overlap=8, execution=Execution("cpu", 1, tile_pixels=900)), False),
    ):
        lines: list[str] = []
        dream_file(replace(job, settings=settings), path, callbacks(lines))
        assert (line in lines) == told


def test_a_stopped_dream_writes_everything(job: Job, tmp_path: Path) -> None:
    path = save(tmp_path / "bears.png", noise(40, 53))
    finished, results = dream_file(job, path, callbacks(on_step=lambda step: step.number == 3))
    assert finished.record.ended == "stopped"
    assert listing(tmp_path / "out") == names("bears-dream", 2, 3) | {"bears-dream.checkpoint"}
    assert read_record(results.record.read_text(), "").steps_done == 3
    assert len(results.losses.read_text().splitlines()) == 1 + 4


def test_a_dream_that_diverges_is_saved_and_reported(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=50, step_size=0.3, gradient_norm="none", normalization="backbone", snapshots=())
    job = Job(Bundle.load(cliff_bytes(0.5)), settings, tmp_path / "out")
    path = save(tmp_path / "bears.png", (noise(20, 24) // 2).astype(np.uint8))
    with pytest.raises(
        DivergedError, match=r"after step (\d+); the picture before that is saved as .*bears-dream\.png"
    ):
        dream_file(job, path, callbacks())
    record = read_record((tmp_path / "out" / "bears-dream.json").read_text(), "")
    assert record.ended == "diverged"
    assert listing(tmp_path / "out") == names("bears-dream")


def test_a_film_has_a_frame_every_few_steps(job: Job, tmp_path: Path) -> None:
    filmed = replace(job, film=tmp_path / "out" / "bears.mp4", film_every=2)
    lines: list[str] = []
    dream_file(filmed, save(tmp_path / "bears.png", noise(41, 54)), callbacks(lines))
    shown = frames(tmp_path / "out" / "bears.mp4")
    assert [frame.shape for frame in shown] == [(42, 54, 3)] * 3  # of 41 by 54, after 0, 2 and 4 updates
    assert f"bears.png: film saved as {tmp_path / 'out' / 'bears.mp4'}" in lines


def test_an_earlier_film_is_kept_unless_it_is_to_be_replaced(job: Job, tmp_path: Path) -> None:
    path = save(tmp_path / "bears.png", noise(40, 54))
    filmed = replace(job, film=tmp_path / "bears.mp4", film_every=1)
    (tmp_path / "bears.mp4").write_bytes(b"an earlier film")
    with pytest.raises(OutputError, match=r"film .*bears\.mp4 exists: choose another name"):
        dream_file(filmed, path, callbacks())
    assert (tmp_path / "bears.mp4").read_bytes() == b"an earlier film"
    dream_file(replace(filmed, overwrite=True), path, callbacks())
    assert len(frames(tmp_path / "bears.mp4")) == 6


def test_a_film_that_fails_at_the_end_does_not_take_the_dream_with_it(job: Job, tmp_path: Path) -> None:
    filmed = replace(job, film=tmp_path / "bears.mp4")

    def block_film(step: Step) -> None:
        if not (tmp_path / "bears.mp4").is_dir():
            (tmp_path / "bears.mp4").unlink()  # the empty file that reserves the name
            (tmp_path / "bears.mp4").mkdir()

    path = save(tmp_path / "bears.png", noise(40, 54))
    with pytest.raises(OutputError, match="cannot write film"):
        dream_file(filmed, path, callbacks(on_step=block_film))
    assert listing(tmp_path / "out") == names("bears-dream", 2, 4, 5)
    assert listing(tmp_path) - {"out", "bears.png", "bears.mp4"} == {
        f"out/{name}" for name in names("bears-dream", 2, 4, 5)
    }


def test_a_film_that_cannot_be_written_is_refused_before_the_first_step(job: Job, tmp_path: Path) -> None:
    path = save(tmp_path / "bears.png", noise(40, 54))
    with pytest.raises(OutputError, match="cannot write film"):
        dream_file(replace(job, film=path / "bears.mp4"), path, callbacks(on_step=lambda step: pytest.fail("a step")))
    assert listing(tmp_path / "out") == set()


def test_a_full_disk_ends_the_dream_which_is_saved_elsewhere(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that becomes a file during the dream simulates a disk that becomes full."""
    rescue = tmp_path / "temporary"
    rescue.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(rescue))
    steps: list[int] = []

    def replace_folder(step: Step) -> None:
        steps.append(step.number)
        if step.number == 1:
            shutil.rmtree(tmp_path / "out")
            (tmp_path / "out").write_bytes(b"")

    path = save(tmp_path / "bears.png", noise(40, 53))
    with pytest.raises(OutputError, match=r"cannot write .*; the dream is saved as .*bears-dream\.png$"):
        dream_file(job, path, callbacks(on_step=replace_folder))
    assert steps == [0, 1]  # the snapshot after 2 steps was the first to fail
    shorter = dream(noise(40, 53), job.bundle, replace(SETTINGS, steps=2))
    np.testing.assert_array_equal(load(rescue / "bears-dream.png"), shorter.picture)


@pytest.mark.parametrize("ending", ["losses.csv", "step0005.png"])
def test_where_another_file_cannot_be_written_the_line_says_where_the_dream_is(
    ending: str, job: Job, tmp_path: Path
) -> None:
    """A folder of that name that appears during the dream simulates a disk that becomes full."""
    out = tmp_path / "out"

    def on_step(step: Step) -> None:
        (out / f"bears-dream-{ending}").mkdir(parents=True, exist_ok=True)

    with pytest.raises(OutputError) as failed:
        dream_file(job, save(tmp_path / "bears.png", noise(40, 53)), callbacks(on_step=on_step))
    assert str(failed.value).startswith(f"cannot write {out / f'bears-dream-{ending}'} (")
    assert str(failed.value).endswith(f"; the dream is saved as {out / 'bears-dream.png'}")


def test_where_matplotlib_can_write_nowhere_the_dream_has_no_plot(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container whose files are read-only and which has no temporary folder."""

    def no_folder(*_: object) -> bytes:
        raise OSError("Matplotlib requires access to a writable cache directory")

    monkeypatch.setattr(writer_module, "can_plot", lambda: True)
    monkeypatch.setattr(writer_module, "draw_losses", no_folder)
    lines: list[str] = []
    dream_file(job, save(tmp_path / "bears.png", noise(40, 54)), callbacks(lines))
    assert "no loss plot: matplotlib finds no folder to write to; set MPLCONFIGDIR to one" in lines
    record = read_record((tmp_path / "out" / "bears-dream.json").read_text(), "bears-dream.json")
    assert "bears-dream.png" in record.files
    assert "bears-dream-losses.png" not in record.files
    assert not (tmp_path / "out" / "bears-dream-losses.png").exists()
