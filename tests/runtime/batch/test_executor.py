"""Several processes: the same results as one, whatever is killed in the middle."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import held
import numpy as np
import pytest
from batches import Lines, done, have_state, pictures, sources, states
from pictures_fixture import TINY_BYTES, listing, load, noise, save

from onnxdream.runtime import Bundle, Execution, Settings
from onnxdream.runtime.batch.node import BundleDiffersError, NodeWorker
from onnxdream.runtime.batch.receipts import MANIFEST, Manifest
from onnxdream.runtime.batch.run import Outcome, dream_many
from onnxdream.runtime.dream.record import read_record
from onnxdream.runtime.dream.writer import Job

SETTINGS = Settings(steps=3, step_size=0.02, snapshots=(), execution=Execution("cpu", 2))
of_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.fixture(autouse=True)
def _held(monkeypatch: pytest.MonkeyPatch) -> None:
    held.hold_all(monkeypatch.setattr)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(Bundle.load(TINY_BYTES), SETTINGS, tmp_path / "out", extras=False)


def kill_the_worker() -> None:
    """Kills the only worker, and returns when it is dead."""
    (worker,) = multiprocessing.active_children()
    worker.kill()
    worker.join()


def test_workers_write_what_one_process_writes(job: Job, tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.png", noise(30 + n % 2, 40, seed=n)) for n in range(6)]
    paths[5].write_bytes(b"no picture")
    full, lines = replace(job, extras=True), Lines()
    one_thread = replace(SETTINGS, execution=Execution("cpu", 1))
    serial = replace(full, output=tmp_path / "serial", settings=one_thread)
    dream_many(serial, sources(paths), Lines().reporter())
    assert dream_many(full, sources(paths), lines.reporter(), 2) == Outcome(5, 1)
    assert len(lines.errors) == 1
    assert "5.png" in lines.errors[0]
    assert listing(tmp_path / "out") == listing(tmp_path / "serial")
    for n in range(5):
        names = f"{n}-dream.png", f"{n}-dream-losses.csv"
        np.testing.assert_array_equal(load(tmp_path / "out" / names[0]), load(tmp_path / "serial" / names[0]))
        assert (tmp_path / "out" / names[1]).read_bytes() == (tmp_path / "serial" / names[1]).read_bytes()
    assert states(tmp_path / "out") == states(tmp_path / "serial")
    assert not multiprocessing.active_children()


def test_workers_share_the_threads_and_the_memory(job: Job, tmp_path: Path) -> None:
    shared = replace(SETTINGS, execution=Execution("cpu", 4, memory=2 * 10**9))
    dream_many(replace(job, extras=True, settings=shared), sources(pictures(tmp_path, 2)), Lines().reporter(), "auto")
    records = [read_record(path.read_text(), "") for path in (tmp_path / "out").glob("*.json")]
    used = [(record.execution.threads, record.settings.execution.memory) for record in records]
    assert used == [(2, 10**9), (2, 10**9)]  # there are only two pictures for the four


def test_the_least_memory_that_a_refusal_names_is_enough_for_all_workers(job: Job, tmp_path: Path) -> None:
    def dream_with(memory: int) -> Lines:
        lines, limited = Lines(), replace(SETTINGS, execution=Execution("cpu", 2, memory=memory))
        dream_many(replace(job, settings=limited), sources(paths), lines.reporter(), 2)
        return lines

    paths = pictures(tmp_path, 2)
    refusals = dream_with(10**8).errors
    assert len(refusals) == 2
    least = re.search(r"budget of 50MB for each of 2 workers is too small .* at least --memory (\d+)MB", refusals[0])
    assert least, refusals[0]
    assert len(dream_with((int(least[1]) - 4) * 10**6).errors) == 2
    assert dream_with(int(least[1]) * 10**6).errors == []


@of_posix
def test_of_a_hundred_pictures_the_one_whose_worker_is_killed_is_continued_by_another(job: Job, tmp_path: Path) -> None:
    waits = held.hold(tmp_path, "50.png", 2)

    def on_line(line: str) -> None:
        if line.startswith("50.png: 40×30") and waits.exists():
            kill_the_worker()
            waits.unlink()

    lines = Lines(on_line)
    assert dream_many(job, sources(pictures(tmp_path, 100)), lines.reporter(), 1) == Outcome(100, 0)
    assert any(line.startswith("50.png: its worker was killed (signal 9") for line in lines.log)
    assert done(tmp_path / "out") == [f"{n:02}.png" for n in range(100)]
    assert listing(tmp_path / "out") == {MANIFEST, *(f"{n:02}-dream.png" for n in range(100))}


@of_posix
def test_a_picture_that_kills_its_worker_twice_is_set_aside(job: Job, tmp_path: Path) -> None:
    large = save(tmp_path / "large.png", noise(200, 300))
    held.hold(tmp_path, "large.png", 2)
    lines = Lines(lambda line: kill_the_worker() if line.startswith("large.png: 300×200") else None)
    assert dream_many(job, sources([*pictures(tmp_path, 2), large]), lines.reporter(), 1) == Outcome(2, 1)
    (error,) = lines.errors
    assert error.startswith("large.png: set aside, since its worker was killed (signal 9")
    assert len([line for line in lines.log if "another one continues" in line]) == 1
    assert states(tmp_path / "out") == {"begun": 3, "done": 2, "failed": 1}


@of_posix
def test_workers_that_are_killed_as_they_start_do_not_stop_the_driver(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = SpawnProcess.start

    def start_and_kill(process: SpawnProcess) -> None:
        start(process)
        process.kill()

    monkeypatch.setattr(SpawnProcess, "start", start_and_kill)
    lines = Lines()
    assert dream_many(job, sources(pictures(tmp_path, 2)), lines.reporter(), 2) == Outcome(0, 2)
    assert len(lines.errors) == 2


@of_posix
def test_after_a_signal_all_workers_stop_and_the_same_call_continues(job: Job, tmp_path: Path) -> None:
    slow = replace(job, settings=replace(SETTINGS, steps=1_000_000))
    paths = pictures(tmp_path, 4)
    lines = Lines(lambda line: signal.raise_signal(signal.SIGTERM) if ": 40×30" in line else None)
    assert dream_many(slow, sources(paths), lines.reporter(), 2).signal == signal.SIGTERM
    assert states(tmp_path / "out") == {"begun": 2, "stopped": 2}
    assert not multiprocessing.active_children()


# Whole commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a hundred pictures and the bundle."""
    pictures(tmp_path / "in", 100)
    (tmp_path / "tiny.onnx").write_bytes(TINY_BYTES)
    return tmp_path


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    options = ("--model", "tiny.onnx", "--provider", "cpu", "--threads", "2", "--no-extras", "--output", "out")
    command = [*held.COMMAND, "dream", "in", *options, "--steps", "5", *words]
    pipes: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "env": held.environment()}
    return subprocess.Popen(command, cwd=folder, start_new_session=True, **pipes)


def wait_until(is_time: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while not is_time():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def count_done(folder: Path) -> int:
    return len(done(folder / "out")) if (folder / "out" / MANIFEST).exists() else 0


@of_posix
@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_driver_that_is_killed_is_continued_by_the_same_call(workers: tuple[str, ...], folder: Path) -> None:
    waiting = [held.hold(folder, f"{number}.png", 2) for number in (45, 50)]  # one for each worker
    process = start(folder, *workers)
    # All that are begun have their receipts then, without which a name that was taken for a picture stays taken.
    wait_until(lambda: have_state(folder / "out", "begun", 51 if workers else 46), process)
    process.kill()
    process.communicate()
    before = count_done(folder)
    assert before < 100
    for path in waiting:
        path.unlink()
    process = start(folder, *workers)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert f"100 pictures: {before} done already, {100 - before} to dream" in err.splitlines()
    assert done(folder / "out") == [f"{n:02}.png" for n in range(100)]
    assert listing(folder / "out") == {MANIFEST, *(f"{n:02}-dream.png" for n in range(100))}


@of_posix
def test_workers_end_amid_a_dream_when_their_driver_is_killed(folder: Path) -> None:
    process = start(folder, "--workers", "2", "--steps", "1000000")
    wait_until((folder / "out" / "01-dream.checkpoint").exists, process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 90
    while any(path.suffix == ".lock" for path in (folder / "out").iterdir()):
        assert time.monotonic() < deadline
        with Manifest(folder / "out"):  # which removes the lock files that no process holds
            time.sleep(0.1)


@of_posix
def test_ctrl_c_at_a_terminal_reaches_the_workers_through_the_driver_only(folder: Path) -> None:
    """A terminal sends it to all processes of the command."""
    process = start(folder, "--workers", "2", "--steps", "1000000")
    # The workers may be starting, or dreaming: neither may be hit.
    wait_until(lambda: have_state(folder / "out", "begun", 2), process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert states(folder / "out") == {"begun": 2, "stopped": 2}


@of_posix
def test_two_calls_at_once_share_the_pictures_and_lose_nothing(folder: Path) -> None:
    processes = [start(folder, *words) for words in ((), ("--workers", "2"))]
    ends = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert done(folder / "out") == [f"{n:02}.png" for n in range(100)]
    assert listing(folder / "out") == {MANIFEST, *(f"{n:02}-dream.png" for n in range(100))}


@of_posix
def test_broken_pictures_are_named_and_the_exit_code_tells_some_from_all(folder: Path) -> None:
    paths = sorted((folder / "in").iterdir())
    broken = paths[::15]
    for path in broken:
        path.write_bytes(b"no picture")
    process = start(folder, "--workers", "auto", "--steps", "1")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 3
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert sorted(error.split(": ")[1] for error in errors) == [f"in/{path.name}" for path in broken]
    assert len(errors) == 7
    assert count_done(folder) == len(list((folder / "out").glob("*.png"))) == 93
    for path in set(paths) - set(broken):
        path.unlink()
    process = start(folder, "--steps", "1")
    process.communicate(timeout=100)
    assert process.returncode == 1


def test_a_node_refuses_a_bundle_that_is_not_the_drivers(job: Job) -> None:
    worker = NodeWorker()
    worker.take_job(job, job.bundle.sha256, None)
    with pytest.raises(BundleDiffersError):
        worker.take_job(job, "0" * 64, None)
