"""A watched folder: what is whole and new in it, and what becomes of it, also after a signal and a restart."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from batches import Lines, done, have_state, states
from pictures_fixture import TINY_BYTES, encode_into, listing, load, noise, save

from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.batch import watch as watch_module
from onnxdream.runtime.batch.receipts import MANIFEST
from onnxdream.runtime.batch.run import Outcome, WorkerCount, dream_watched
from onnxdream.runtime.batch.watch import Watch
from onnxdream.runtime.dream.writer import Job
from onnxdream.runtime.image.source import Source

SETTINGS = Settings(steps=3, step_size=0.02, snapshots=(), execution=Execution("cpu", 1))
of_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    return path


def age(path: Path) -> Path:
    """Makes a file one that was written long ago."""
    os.utime(path, ns=(10**18, 10**18))
    return path


# Looks


class Looks:
    """Looks at a folder, without a pause."""

    def __init__(self, folder: Path, recursive: bool = False) -> None:
        self.lines: list[str] = []
        self._folder = folder
        self._watch = Watch(folder, recursive, self.lines.append)

    def __call__(self) -> list[str]:
        """The names of the pictures that are whole and new."""
        return [source.path.relative_to(self._folder).as_posix() for source in self._watch.new_pictures()]


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a test has just written is never seen as one that has not changed for a while."""
    monkeypatch.setattr(watch_module, "_QUIET_SECONDS", 1e6)


@pytest.fixture
def look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Looks:
    monkeypatch.setattr(watch_module, "_LOOK_SECONDS", 0)
    monkeypatch.setattr(watch_module, "_LOOKING_SHARE", 1e9)
    return Looks(folder)


def test_a_file_is_whole_once_it_no_longer_changes(look: Looks, folder: Path) -> None:
    for size in (0, 10, 20):
        (folder / "a.png").write_bytes(b"x" * size)
        assert look() == []
    assert [look(), look()] == [["a.png"], []]


def test_a_file_that_was_moved_to_the_folder_is_whole_at_once(look: Looks, folder: Path) -> None:
    age(save(folder / "a.png", noise(9, 9)))
    assert [look(), look()] == [["a.png"], []]


def test_a_file_with_a_time_in_the_future_is_whole_at_the_second_look(look: Looks, folder: Path) -> None:
    os.utime(save(folder / "a.png", noise(9, 9)), ns=(2**62, 2**62))
    assert [look(), look(), look()] == [[], ["a.png"], []]


def test_a_file_is_new_again_when_it_was_replaced_or_may_now_be_read(look: Looks, folder: Path) -> None:
    path = age(save(folder / "a.png", noise(9, 9)))
    assert look() == ["a.png"]
    os.replace(age(save(folder.parent / "b.png", noise(9, 10))), path)
    assert [look(), look()] == [["a.png"], []]
    before = path.stat().st_ctime_ns
    wait_until(lambda: path.chmod(0o600) or path.stat().st_ctime_ns > before)  # the clock of files may be coarse
    assert [look(), look()] == [["a.png"], []]


def test_a_file_that_goes_while_it_is_written_is_forgotten(look: Looks, folder: Path) -> None:
    path = save(folder / "a.png", noise(9, 9))
    assert look() == []
    path.unlink()
    assert look() == []
    (folder / "b.png").symlink_to("nothing")
    os.mkfifo(folder / "c.png")
    assert [look(), look()] == [[], []]


def test_hidden_and_unfinished_files_and_results_are_left_out_and_other_kinds_named_once(
    look: Looks, folder: Path
) -> None:
    for name in (".a.jpg", "b.jpg.part", "c.jpg~", "d.txt", "e.crdownload"):
        age(save(folder / "x.png", noise(9, 9))).rename(folder / name)
    encode_into(folder / "a-dream.png", noise(9, 9), note="{}")
    age(folder / "a-dream.png")
    for name in ("a.nef", "b.nef"):
        (folder / name).write_bytes(b"")
        age(folder / name)
    assert [look(), look()] == [[], []]
    assert look.lines == [f"{folder}: left out 2 files: a.nef and 1 more (camera raw is not read)"]


@pytest.mark.parametrize(("recursive", "found"), [(False, ["a.png"]), (True, ["a.png", "more/b.png"])])
def test_folders_inside_count_on_request(recursive: bool, found: list[str], folder: Path) -> None:
    for name in ("a.png", "more/b.png", ".more/c.png"):
        age(save(folder / name, noise(9, 9)))
    (folder / "more" / "loop").symlink_to(folder)
    assert Looks(folder, recursive)() == found


def test_a_folder_that_is_away_for_a_while_is_said_to_be_once(look: Looks, folder: Path) -> None:
    age(save(folder / "a.png", noise(9, 9)))
    assert look() == ["a.png"]
    folder.rename(folder.parent / "away")
    assert [look(), look()] == [[], []]
    (folder.parent / "away").rename(folder)
    assert look() == []
    assert look.lines == [f"{folder}: cannot be opened: No such file or directory; looking again"]


def test_a_look_is_taken_once_a_second_at_most(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0
        time = staticmethod(time.time)

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(watch_module, "time", clock)
    look = Looks(folder)
    assert look() == []
    age(save(folder / "a.png", noise(9, 9)))
    clock.now = 0.9
    assert look() == []
    clock.now = 1.1
    assert look() == ["a.png"]


# Dreams


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(Bundle.load(TINY_BYTES), SETTINGS, tmp_path / "out", extras=False)


def wait_until(is_time: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_time():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def watched(
    job: Job, folder: Path, act: Callable[[Lines], None], workers: WorkerCount = None, recursive: bool = False
) -> tuple[Outcome, Lines]:
    """Watches a folder while another thread acts, then ends with Ctrl-C."""
    lines = Lines()

    def run() -> None:
        try:
            wait_until(lambda: any(line.startswith("watching ") for line in lines.log))
            act(lines)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=run)
    thread.start()
    outcome = dream_watched(job, folder, lines.reporter(), recursive, workers)
    thread.join()
    return outcome, lines


def wait_for(folder: Path, state: str, count: int) -> None:
    wait_until(lambda: have_state(folder, state, count))


@pytest.fixture
def look_on(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has a folder looked at often; returns a function that waits until it was looked at again, and once more."""
    looks: list[object] = []
    look = Watch._look

    def counted(watch: Watch) -> list[Source]:
        found = look(watch)
        looks.append(watch)
        return found

    monkeypatch.setattr(Watch, "_look", counted)
    monkeypatch.setattr(watch_module, "_LOOK_SECONDS", 0.05)

    def wait() -> None:
        count = len(looks)
        wait_until(lambda: len(looks) >= count + 3)  # the first may have begun before

    return wait


@of_posix
@pytest.mark.parametrize("workers", [None, 2])
def test_what_comes_in_is_dreamed_once_and_whole(
    workers: int | None, job: Job, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    large = save(tmp_path / "large.png", noise(200, 300)).read_bytes()
    parts = [large[start : start + len(large) // 5] for start in range(0, len(large), len(large) // 5)]
    look = Watch._look

    def look_at_a_file_that_grows(watch: Watch) -> list[Source]:
        if parts:
            with (folder / "grown.png").open("ab") as file:
                file.write(parts.pop(0))
        return look(watch)

    def act(lines: Lines) -> None:
        age(save(tmp_path / "moved.png", noise(30, 40))).rename(folder / "moved.png")
        wait_for(out, "done", 2)

    monkeypatch.setattr(Watch, "_look", look_at_a_file_that_grows)
    monkeypatch.setattr(watch_module, "_LOOK_SECONDS", 0.1)
    outcome, lines = watched(job, folder, act, workers)
    assert outcome == Outcome(2, 0, signal.SIGINT)
    assert lines.errors == []
    assert lines.log[0] == f"watching {folder}: what comes in is dreamed into {out}, until Ctrl-C"
    assert lines.log[-1] == "2 dreamed, 0 failed"
    assert done(out) == ["grown.png", "moved.png"]
    assert states(out) == {"begun": 2, "done": 2}
    assert listing(out) == {MANIFEST, "grown-dream.png", "moved-dream.png"}
    whole = dream(noise(200, 300), job.bundle, SETTINGS).picture
    np.testing.assert_array_equal(load(out / "grown-dream.png"), whole)


@of_posix
def test_a_restart_dreams_what_is_missing(job: Job, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    age(save(folder / "a.png", noise(30, 40)))
    watched(job, folder, lambda lines: wait_for(out, "done", 1))
    age(save(folder / "b.png", noise(30, 40)))
    outcome, lines = watched(job, folder, lambda lines: wait_for(out, "done", 2))
    assert outcome == Outcome(1, 0, signal.SIGINT)
    assert lines.log[1] == "2 pictures: 1 done already, 1 to dream"
    assert done(out) == ["a.png", "b.png"]


@of_posix
def test_what_is_stopped_as_it_was_replaced_continues_without_overwrite(job: Job, folder: Path, tmp_path: Path) -> None:
    age(save(folder / "a.png", noise(30, 40)))
    endless = replace(job, settings=replace(SETTINGS, steps=1_000_000), overwrite=True)
    _, lines = watched(endless, folder, lambda lines: wait_for(tmp_path / "out", "begun", 1))
    assert lines.log[-1] == "0 dreamed, 0 failed, 1 stopped, which the same call without --overwrite continues"


@of_posix
def test_a_broken_picture_is_named_once_and_tried_again_when_it_has_changed(
    job: Job, folder: Path, tmp_path: Path, look_on: Callable[[], None]
) -> None:
    out = tmp_path / "out"

    def act(lines: Lines) -> None:
        (tmp_path / "a.png").write_bytes(b"no picture")
        age(tmp_path / "a.png").rename(folder / "a.png")
        wait_for(out, "failed", 1)
        look_on()
        os.replace(age(save(tmp_path / "a.png", noise(30, 40))), folder / "a.png")
        wait_for(out, "done", 1)
        os.replace(age(save(tmp_path / "a.png", noise(31, 40))), folder / "a.png")
        wait_for(out, "done", 2)

    outcome, lines = watched(job, folder, act)
    assert outcome == Outcome(2, 1, signal.SIGINT)
    assert len(lines.errors) == 1
    assert lines.errors[0].startswith(f"{folder / 'a.png'}: ")
    assert lines.log[-1] == "2 dreamed, 1 failed"
    assert [load(out / name).shape[0] for name in ("a-dream.png", "a-dream-2.png")] == [30, 31]


@of_posix
@pytest.mark.parametrize("place", [".", "deeper"])
def test_results_inside_the_folder_are_not_dreamed(
    place: str, job: Job, folder: Path, tmp_path: Path, look_on: Callable[[], None]
) -> None:
    out = folder / place
    inside = replace(job, output=out, settings=replace(SETTINGS, snapshots=(1, 2)), extras=True)
    age(save(folder / "a.png", noise(30, 40)))

    def act(lines: Lines) -> None:
        wait_for(out, "done", 1)
        shutil.copy(out / "a-dream-step0001.png", tmp_path / "copy.png")
        os.replace(age(tmp_path / "copy.png"), out / "a-dream-step0002.png")  # as one that no record lists
        (out / "a-dream.json").unlink()
        look_on()

    outcome, _ = watched(inside, folder, act, recursive=True)
    assert outcome == Outcome(1, 0, signal.SIGINT)
    assert done(out) == ["a.png"]


# The command


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    (folder / "tiny.onnx").write_bytes(TINY_BYTES)
    options = ("--model", "tiny.onnx", "--provider", "cpu", "--threads", "1", "--no-extras", "--output", "out")
    command = [sys.executable, "-m", "onnxdream.cli", "dream", "--watch", "in", *options, *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder, start_new_session=True)


@of_posix
@pytest.mark.parametrize(
    ("number", "code", "workers"),
    [(signal.SIGINT, 130, ()), (signal.SIGTERM, 143, ()), (signal.SIGINT, 130, ("--workers", "2"))],
)
def test_a_signal_ends_the_command_after_the_step_and_the_next_continues(
    number: int, code: int, workers: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    age(save(folder / "a.png", noise(30, 40)))
    process = start(tmp_path, "--steps", "1000000", *workers)
    wait_until((out / "a-dream.checkpoint").exists)
    wait_for(out, "begun", 1)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "0 dreamed, 0 failed, 1 stopped, which the same call continues"
    assert states(out) == {"begun": 1, "stopped": 1}
    process = start(tmp_path, "--steps", "1000000", *workers)
    wait_for(out, "begun", 2)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert "1 picture: 1 to dream" in err
    assert listing(out) == {MANIFEST, "a-dream.png", "a-dream.checkpoint"}


@of_posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_while_it_waits(number: int, folder: Path, tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.stderr
    before = next(line for line in process.stderr if line.startswith("watching "))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, before + err
    assert err.splitlines()[-1] == "0 dreamed, 0 failed"
