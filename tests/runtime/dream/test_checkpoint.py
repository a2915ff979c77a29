"""Checkpoints: a run that is killed resumes bit for bit, and an invalid checkpoint is refused in one line."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, Command, in_this_process, load, noise, save

from onnxdream.models.files import temporary_path
from onnxdream.runtime import Bundle, Dream, Execution, Settings, Step, dream
from onnxdream.runtime.dream.checkpoint import Checkpoint, read_checkpoint
from onnxdream.runtime.dream.job import dream_and_save
from onnxdream.runtime.dream.repeat import job_to_resume
from onnxdream.runtime.dream.writer import Callbacks, Job
from onnxdream.runtime.errors import RecordError
from onnxdream.runtime.image.processor import ImageProcessor
from onnxdream.runtime.image.source import Source

# A program that runs the command line and writes a checkpoint after every step; after twelve, it waits while there is a
# file `hold`. So it is killed amid its work, and two of them are, however fast the machine is.
_CHECKPOINT_EVERY_STEP = """
import os, sys, time
from onnxdream.runtime.dream import writer
from onnxdream.runtime.dream.results import Results
writer._CHECKPOINT_SECONDS, writer._CHECKPOINT_SHARE, writer.can_plot = 0.0, 0, lambda: False
write, written = Results.write_checkpoint, 0
def write_and_wait(*given):
    global written
    write(*given)
    written += 1
    while written >= 12 and os.path.exists("hold"):
        time.sleep(0.01)
Results.write_checkpoint = write_and_wait
from onnxdream.cli import app
app(sys.argv[1:], prog_name="onnxdream")
"""
_CPU = ("--threads", "1", "--provider", "cpu", "--snapshots", "", "--step-size", "0.01")

RUNS: dict[str, tuple[str, ...]] = {
    "plain": ("--steps", "400"),
    "octaves, jitter and adam": ("--octaves", "3", "--jitter", "16", "--optimizer", "adam", "--steps", "120"),
    "tiles and momentum": ("--steps", "40", "--memory", "175MB", "--optimizer", "momentum", "--jitter", "5"),
    "a mask, a guide and detail after": (
        *("--mask", "mask.png", "--feather", "3", "--guide", "guide.png", "--octaves", "2", "--octaves-above", "1"),
        *("--detail", "after", "--steps", "150", "--colours", "lightness", "--full-size", "--plateau", "140"),
    ),
    "own colours and schedules": (
        *("--colours", "own:0.8", "--step-size", "0.02:0.005", "--blur", "1.5:0", "--octaves", "2", "--steps", "150"),
    ),
    "a cosine, a goal and a pull": (
        *("--guide", "guide.png", "--guide-by", "cosine", "--octaves", "2", "--jitter", "3", "--stay", "0.1"),
        *("--steps", "150", "--until", "low:1=9"),
    ),
    "tiles and a caricature": ("--steps", "40", "--memory", "175MB", "--guide-by", "caricature", "--jitter", "5"),
    "a direction": ("--direction", "guide.png,mask.png", "--steps", "300"),
    "noise and picked channels": ("--noise", "60x50", "--pick", "strongest:3", "--seed", "7", "--steps", "300"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a small picture, one that needs tiles, a mask, a guide and the tiny bundle."""
    path = tmp_path / "here"
    save(path / "bears.png", noise(60, 73))
    save(path / "wide.png", noise(260, 330))
    mask = np.zeros((60, 73, 3), np.uint8)
    mask[10:50, 20:60] = 255
    save(path / "mask.png", mask)
    save(path / "guide.png", noise(50, 60, seed=9))
    (path / "tiny.onnx").write_bytes(TINY_BYTES)
    (path / "hold").touch()
    monkeypatch.chdir(path)
    return path


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots would take longer than everything else."""
    from onnxdream.runtime.dream import writer

    monkeypatch.setattr(writer, "can_plot", lambda: False)


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process, in that folder."""
    return in_this_process(capfd)


def words(name: str, output: str) -> list[str]:
    """The command line of a run in `RUNS`."""
    picture = () if "noise" in name else ("wide.png" if "tiles" in name else "bears.png",)
    return ["dream", *picture, "--model", "tiny.onnx", "--output", output, *_CPU, *RUNS[name]]


def started(*arguments: str) -> subprocess.Popen[str]:
    """Starts a process that dreams with a checkpoint after every step, and does not come to the end."""
    return subprocess.Popen(
        [sys.executable, "-c", _CHECKPOINT_EVERY_STEP, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def killed(checkpoint: Path, *arguments: str, after: float) -> None:
    """Runs a command and kills it `after` seconds after its first checkpoint.

    A checkpoint that exists already does not count.
    """
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0  # it is empty while it reserves the name
    process, deadline = started(*arguments), time.monotonic() + 90
    try:
        while not (checkpoint.exists() and checkpoint.stat().st_mtime_ns > before and checkpoint.stat().st_size):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no checkpoint comes"
            time.sleep(0.001)
        time.sleep(after)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_ends_like_an_uninterrupted_one(name: str, folder: Path, run: Command) -> None:
    run(*words(name, "uninterrupted.png")).succeeds()
    checkpoint = folder / "killed.checkpoint"
    delays = random.Random()
    killed(checkpoint, *words(name, "killed.png"), after=delays.uniform(0, 0.1))
    first = read_checkpoint(checkpoint).state.number
    killed(checkpoint, "dream", "--resume", "killed.checkpoint", after=delays.uniform(0, 0.1))
    second = read_checkpoint(checkpoint).state.number
    resumed = run("dream", "--resume", "killed.checkpoint")
    resumed.succeeds()
    assert f"resuming after {second} steps" in resumed.err
    assert second >= first
    np.testing.assert_array_equal(load(folder / "killed.png"), load(folder / "uninterrupted.png"))
    assert (folder / "killed-losses.csv").read_bytes() == (folder / "uninterrupted-losses.csv").read_bytes()
    assert not checkpoint.exists()
    records = [json.loads((folder / f"{stem}.json").read_text()) for stem in ("killed", "uninterrupted")]
    for record in records:
        record.pop("seconds")
        record["files"] = [name.replace("killed", "uninterrupted") for name in record["files"]]
        record["settings"].pop("execution")  # one has what was requested, the other what was used
    assert records[0] == records[1]
    assert ("tiles" in name) == (records[0]["octaves"][0]["tiles"] > 1)


@pytest.mark.skipif(sys.platform == "win32", reason="stops by signal")
def test_ctrl_c_keeps_the_checkpoint_and_shows_how_to_continue(folder: Path, run: Command) -> None:
    run(*words("plain", "uninterrupted.png")).succeeds()
    process = started(*words("plain", "stopped.png"))
    assert process.stderr is not None
    next(line for line in process.stderr if "73×60" in line)
    process.send_signal(signal.SIGINT)
    (folder / "hold").unlink()
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    (line,) = err.splitlines()[-1:]
    assert line.startswith("bears.png: stopped after ")
    assert line.endswith(f"saved as {Path('stopped.png').absolute()}; continue with --resume stopped.checkpoint")
    stopped = read_checkpoint(folder / "stopped.checkpoint").state.number
    assert stopped < 400
    run("dream", "--resume", "stopped.checkpoint").succeeds()
    np.testing.assert_array_equal(load(folder / "stopped.png"), load(folder / "uninterrupted.png"))
    assert (folder / "stopped-losses.csv").read_bytes() == (folder / "uninterrupted-losses.csv").read_bytes()
    assert not (folder / "stopped.checkpoint").exists()
    assert not (folder / f"stopped-step{stopped:04d}.png").exists()  # the picture at which it stopped is not a snapshot


# In this process: checkpoints of runs that were stopped after some steps


def stopped_job(folder: Path, settings: Settings, after: int, **more: Any) -> Path:
    """Dreams bears.png, stops the run after `after` steps, and returns the path of its checkpoint."""
    job = Job(Bundle.load(folder / "tiny.onnx"), settings, folder / "bears-dream.png", overwrite=True, **more)
    callbacks = Callbacks(lambda line: None, lambda step: step.number == after)
    _, results = dream_and_save(job, Source(folder / "bears.png"), callbacks)
    return results.checkpoint


SHORT = Settings(steps=6, step_size=0.02, snapshots=(2, 5), execution=Execution("cpu", 1))


@pytest.fixture
def checkpoint(folder: Path) -> Path:
    """The checkpoint of a dream of bears.png with adam, stopped after 4 of 6 steps."""
    return stopped_job(folder, replace(SHORT, optimizer="adam"), 4, mask=folder / "mask.png")


OCTAVES = replace(
    SHORT, steps=3, octaves=3, octaves_above=1, jitter=8, optimizer="adam", octave_rounding=True, octave_return=True
)
STOPPED = (
    OCTAVES,
    replace(OCTAVES, colours="own", step_size=(0.03, 0.01), blur=(1.6, 0.5)),
    replace(OCTAVES, guide_by="caricature", stay=0.2),
)


@cache
def uninterrupted(settings: Settings) -> Dream:
    """The whole dream of bears.png."""
    return dream(noise(60, 73), Bundle.load(TINY_BYTES), settings)


@pytest.mark.parametrize("settings", STOPPED, ids=["plain", "colours", "a caricature"])
@pytest.mark.parametrize("after", range(9))
def test_a_run_may_be_stopped_at_any_step(
    after: int, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any step includes the first one and the last and first ones of octaves. Colours come from the checkpoint."""
    whole = uninterrupted(settings)
    assert [octave.start for octave in whole.record.octaves] == [0, 3, 6]
    loaded = read_checkpoint(stopped_job(folder, settings, after))
    assert loaded.state.number == len(loaded.state.history) == after
    monkeypatch.setattr(ImageProcessor, "colour_matrix", lambda processor: pytest.fail("colours were computed again"))
    job = Job(Bundle.load(folder / "tiny.onnx"), loaded.settings, folder / "again.png")
    resumed, results = dream_and_save(
        job, Source(folder / "bears.png"), Callbacks(lambda line: None, lambda step: None), loaded
    )
    np.testing.assert_array_equal(resumed.picture, whole.picture)
    np.testing.assert_array_equal(resumed.losses, whole.losses)
    assert resumed.record.ended == "finished"
    assert not results.checkpoint.exists()


def test_a_checkpoint_contains_all_that_the_run_needs(checkpoint: Path, folder: Path) -> None:
    loaded = read_checkpoint(checkpoint)
    assert loaded.settings.execution.threads == 1
    assert loaded.settings.execution.tile_pixels is not None
    assert replace(loaded.settings, execution=SHORT.execution) == replace(SHORT, optimizer="adam")
    assert (loaded.bundle.name, loaded.picture.name) == ("tiny.onnx", "bears.png")
    assert loaded.mask is not None
    assert loaded.mask.name == "mask.png"
    assert loaded.guide is None
    assert loaded.output == str(folder / "bears-dream.png")
    assert loaded.seconds > 0
    assert [slot.shape for slot in loaded.state.slots] == [(3, 60, 73)] * 2
    copy = folder / "copy.checkpoint"
    write(loaded, copy)
    assert contents(read_checkpoint(copy)) == contents(loaded)


def contents(checkpoint: Checkpoint) -> tuple[Any, ...]:
    """Everything in a checkpoint, for comparisons."""
    colours = [] if checkpoint.state.colours is None else [checkpoint.state.colours]
    arrays = [checkpoint.state.image, *checkpoint.state.slots, *checkpoint.state.history, *colours]
    counters = {name: value for name, value in vars(checkpoint.state).items() if isinstance(value, int)}
    fields = {name: value for name, value in vars(checkpoint).items() if name != "state"}
    return fields, counters, [array.tobytes() for array in arrays]


def read_back(data: bytes, folder: Path) -> Checkpoint:
    """The checkpoint in a file's bytes."""
    path = folder / "copy.checkpoint"
    path.write_bytes(data)
    return read_checkpoint(path)


def write(checkpoint: Checkpoint, path: Path) -> None:
    with path.open("wb") as file:
        checkpoint.write(file)


def test_earlier_snapshots_stay_and_later_ones_follow(checkpoint: Path, folder: Path, run: Command) -> None:
    (folder / "bears-dream-step0099.png").write_bytes(b"not from this dream")
    run("dream", "--resume", checkpoint).succeeds()
    snapshots = sorted(path.name for path in folder.glob("bears-dream-step*"))
    assert snapshots == [f"bears-dream-step{number:04d}.png" for number in (2, 5, 6, 99)]


def test_the_time_before_resuming_is_added(checkpoint: Path, folder: Path, run: Command) -> None:
    loaded = read_checkpoint(checkpoint)
    write(replace(loaded, seconds=1000.0), checkpoint)
    run("dream", "--resume", checkpoint).succeeds()
    assert 1000 < json.loads((folder / "bears-dream.json").read_text())["seconds"] < 1100


def test_a_film_starts_over(folder: Path, run: Command) -> None:
    path = stopped_job(folder, SHORT, 4, film=folder / "film.mp4", film_every=2)
    finished = run("dream", "--resume", path)
    finished.succeeds()
    assert "the film starts over at this step" in finished.err
    assert (folder / "film.mp4").exists()


def test_the_speed_of_a_film_is_kept(folder: Path) -> None:
    path = stopped_job(folder, SHORT, 4, film=folder / "film.mp4", film_fps=9)
    job = job_to_resume(read_checkpoint(path), path)
    assert (job.film_every, job.film_fps) == (1, 9)


def test_what_a_killed_run_has_left_is_removed(checkpoint: Path, folder: Path, run: Command) -> None:
    names = ("bears-dream.checkpoint", "bears-dream-step0005.png", "bears-dream.png")
    leftovers = [temporary_path(checkpoint.with_name(name)) for name in names]
    # The proof that results can be written, which is made before the first step.
    leftovers.append(checkpoint.with_name(".bears-dream-step1000000.png.x1y2z3"))
    other = temporary_path(checkpoint.with_name("lion-dream.checkpoint"))
    for path in (*leftovers, other):
        path.write_bytes(b"half")
    run("dream", "--resume", checkpoint).succeeds()
    assert [path for path in (*leftovers, other) if path.exists()] == [other]  # which may belong to a run that is alive


def test_files_that_moved_with_the_checkpoint_are_found(checkpoint: Path, tmp_path: Path, run: Command) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("bears.png", "mask.png", "bears-dream.checkpoint"):
        (checkpoint.parent / name).rename(other / name)
    run("dream", "--resume", other / "bears-dream.checkpoint").succeeds()


@pytest.mark.parametrize(("name", "words"), [("bears.png", ["bears.png"]), ("mask.png", ["mask.png"])])
def test_a_changed_picture_is_refused(name: str, words: list[str], checkpoint: Path, run: Command) -> None:
    save(checkpoint.parent / name, noise(60, 73, seed=1))
    run("dream", "--resume", checkpoint).refuses(*words, "has changed")
    (checkpoint.parent / name).unlink()
    run("dream", "--resume", checkpoint).refuses(*words, "is missing")
    assert checkpoint.exists()


def test_a_picture_that_changes_after_the_checkpoint_was_read_is_refused(checkpoint: Path, folder: Path) -> None:
    loaded = read_checkpoint(checkpoint)
    save(folder / "bears.png", noise(60, 73, seed=1))
    job = Job(Bundle.load(folder / "tiny.onnx"), loaded.settings, folder / "again.png", mask=folder / "mask.png")
    with pytest.raises(RecordError, match=r"picture has changed since the checkpoint: restore the original bears\.png"):
        dream_and_save(job, Source(folder / "bears.png"), Callbacks(lambda line: None, lambda step: None), loaded)


def test_a_missing_bundle_is_named(checkpoint: Path, run: Command) -> None:
    (checkpoint.parent / "tiny.onnx").unlink()
    run("dream", "--resume", checkpoint).refuses("tiny.onnx", "was not found")


@pytest.mark.parametrize("more", [["bears.png"], ["--steps", "3"], ["--output", "x.png"], ["--config", "run.toml"]])
def test_resume_takes_no_other_option(more: list[str], checkpoint: Path, run: Command) -> None:
    run("dream", "--resume", checkpoint, *more).refuses("--resume takes everything from the checkpoint")


def test_a_checkpoint_leaves_no_temporary_file(checkpoint: Path) -> None:
    assert {path.name for path in checkpoint.parent.iterdir() if path.name.startswith(".")} == set()


# Invalid checkpoints


def test_a_missing_checkpoint_is_refused(run: Command) -> None:
    run("dream", "--resume", "none.checkpoint").refuses("no checkpoint none.checkpoint")


def test_a_truncated_checkpoint_is_refused_at_any_length(checkpoint: Path, folder: Path) -> None:
    data = checkpoint.read_bytes()
    lengths = {*range(64), *range(64, len(data), len(data) // 150), *range(len(data) - 64, len(data))}
    for length in sorted(lengths):
        with pytest.raises(RecordError, match=r"damaged|is empty") as refusal:
            read_back(data[:length], folder)
        assert "\n" not in str(refusal.value)


def test_a_damaged_checkpoint_is_refused_or_read_unchanged(checkpoint: Path, folder: Path) -> None:
    """Not every byte of a zip archive matters; those that do have a CRC."""
    data = checkpoint.read_bytes()
    undamaged = contents(read_checkpoint(checkpoint))
    offsets = random.Random(0).sample(range(len(data)), 150) + list(range(len(data) - 700, len(data)))
    refused = 0
    for offset in offsets:
        for flip in (0x01, 0xFF):
            damaged = bytearray(data)
            damaged[offset] ^= flip
            with suppress(RecordError):
                refused += 1
                assert contents(read_back(bytes(damaged), folder)) == undamaged
                refused -= 1
    assert refused > len(offsets)


def archive(**arrays: Any) -> bytes:
    """An .npz file of these arrays."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy() -> bytes:
    """An .npy file, a single array."""
    file = io.BytesIO()
    np.save(file, np.zeros((3, 4, 5), np.float32))
    return file.getvalue()


FOREIGN: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "text": lambda: b"# a checkpoint\n" * 50,
    "a bundle": lambda: TINY_BYTES,
    "an array": npy,
    "another archive": lambda: archive(weights=np.zeros(3)),
    "an archive of objects": lambda: archive(facts=np.array([{}], dtype=object)),
    "facts that are not JSON": lambda: archive(facts=np.array("{"), image=np.zeros(3)),
    "facts that are a list": lambda: archive(facts=np.array("[1]"), image=np.zeros(3)),
    "facts without a format": lambda: archive(facts=np.array("{}"), image=np.zeros(3)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_refused(kind: str, folder: Path, run: Command) -> None:
    (folder / "foreign.checkpoint").write_bytes(FOREIGN[kind]())
    run("dream", "--resume", "foreign.checkpoint").refuses("foreign.checkpoint is")


def test_a_folder_is_refused(folder: Path, run: Command) -> None:
    (folder / "folder.checkpoint").mkdir()
    run("dream", "--resume", "folder.checkpoint").refuses("folder.checkpoint is not a checkpoint")


def changed(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
    """Rewrites a checkpoint with its JSON (the array "facts") or its other arrays changed."""
    with np.load(path) as file:
        arrays: dict[str, Any] = {name: file[name] for name in file.files}
    facts = json.loads(str(arrays["facts"]))
    change(facts, arrays)
    arrays["facts"] = np.array(json.dumps(facts))
    path.write_bytes(archive(**arrays))


def test_a_checkpoint_of_another_version_is_refused(checkpoint: Path, run: Command) -> None:
    changed(checkpoint, lambda facts, arrays: facts.update(format=2))
    run("dream", "--resume", checkpoint).refuses("another version of onnxdream")


INCONSISTENT: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "an unknown setting": lambda facts, arrays: facts["settings"].update(sparkle=3),
    "a setting out of its range": lambda facts, arrays: facts["settings"].update(steps=0),
    "no picture": lambda facts, arrays: facts.update(picture=3),
    "a source without a hash": lambda facts, arrays: facts["bundle"].pop("sha256"),
    "an unknown counter": lambda facts, arrays: facts["counters"].update(sparkle=3),
    "a counter that is text": lambda facts, arrays: facts["counters"].update(octave_step="3"),
    "an octave that does not exist": lambda facts, arrays: facts["counters"].update(octave=7),
    "a negative octave": lambda facts, arrays: facts["counters"].update(octave=-1),
    "fewer losses than steps": lambda facts, arrays: arrays.update(history=arrays["history"][:-1]),
    "losses of other layers": lambda facts, arrays: arrays.update(history=arrays["history"][:, :2]),
    "an image of another size": lambda facts, arrays: [
        arrays.update({name: arrays[name][:, :-1]}) for name in ("image", "slot0", "slot1")
    ],
    "slots of another size": lambda facts, arrays: arrays.update(slot1=arrays["slot1"][:, :-1]),
    "a missing slot": lambda facts, arrays: arrays.pop("slot1"),
    "an image of doubles": lambda facts, arrays: arrays.update(image=arrays["image"].astype(np.float64)),
    "colours that the settings lack": lambda facts, arrays: [
        facts.update(colours=True),
        arrays.update(colours=np.eye(3, dtype=np.float32)),
    ],
    "settings whose colours are missing": lambda facts, arrays: facts["settings"].update(colours="own"),
    "an image of text": lambda facts, arrays: arrays.update(image=np.array("image")),
}


@pytest.mark.parametrize("kind", INCONSISTENT)
def test_a_checkpoint_whose_parts_do_not_fit_is_refused(kind: str, checkpoint: Path, run: Command) -> None:
    changed(checkpoint, INCONSISTENT[kind])
    run("dream", "--resume", checkpoint).refuses()


MATRICES: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "a missing one": lambda facts, arrays: arrays.pop("colours"),
    "one that the facts do not announce": lambda facts, arrays: facts["arrays"].remove("colours"),
    "doubles": lambda facts, arrays: arrays.update(colours=np.eye(3)),
    "another shape": lambda facts, arrays: arrays.update(colours=np.eye(4, dtype=np.float32)),
    "not finite": lambda facts, arrays: arrays.update(colours=arrays["colours"] * np.float32(np.nan)),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_an_invalid_colour_matrix_is_refused(kind: str, folder: Path) -> None:
    path = stopped_job(folder, replace(SHORT, colours="own"), 4)
    loaded = read_checkpoint(path)
    assert loaded.state.colours is not None
    assert loaded.state.colours.dtype == np.float32
    changed(path, MATRICES[kind])
    with pytest.raises(RecordError, match="is not a checkpoint, or is damaged"):
        read_checkpoint(path)


def test_checkpoints_are_written_every_few_seconds_or_less_often_where_they_are_slow(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock adds 0.5 s per step and 1 s per checkpoint: one is due after 5 s, then after 20 times that second."""
    from onnxdream.runtime.dream import writer
    from onnxdream.runtime.dream.results import Results

    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    written: list[float] = []

    def write(results: Results, checkpoint: Checkpoint) -> None:
        written.append(clock.now)
        clock.now += 1.0  # as on a slow disk

    def on_step(step: Step) -> None:
        clock.now += 0.5

    monkeypatch.setattr(writer, "time", clock)
    monkeypatch.setattr(Results, "write_checkpoint", write)
    job = Job(Bundle.load(folder / "tiny.onnx"), replace(SHORT, steps=100), folder / "slow.png")
    dream_and_save(job, Source(folder / "bears.png"), Callbacks(lambda line: None, on_step))
    assert written == [5.5, 27.0, 48.5]


def test_a_full_disk_ends_the_run_and_its_picture_is_saved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxdream.runtime.dream import results, writer
    from onnxdream.runtime.errors import OutputError

    monkeypatch.setattr(writer, "_CHECKPOINT_SECONDS", 0.0)

    class FullFile(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, os.strerror(28))

    @contextmanager
    def full(path: Path) -> Iterator[FullFile]:
        yield FullFile()

    monkeypatch.setattr(results, "atomic_file", full)
    job = Job(Bundle.load(folder / "tiny.onnx"), SHORT, folder / "full.png")
    with pytest.raises(OutputError, match=rf"No space left.*; the dream is saved as {folder / 'full.png'}$"):
        dream_and_save(job, Source(folder / "bears.png"), Callbacks(lambda line: None, lambda step: None))
    assert (folder / "full.png").exists()
