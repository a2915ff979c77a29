"""Films whose shots are dreamed apart: they are those of one process, whatever is killed in the middle."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import held
import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, Command, in_this_process, listing, load, photograph

pytest.importorskip("av")
from clips import Clip, Sound, decoded, packets, pan, write_clip

from onnxdream.models.arrays import Pixels
from onnxdream.runtime.errors import DivergedError, FilmError, RecordError
from onnxdream.runtime.film.apart.driver import make_film_apart
from onnxdream.runtime.film.parts import parts_folder, shot_name
from onnxdream.runtime.film.record import FilmRecord, read_film_record
from onnxdream.runtime.film.request import parse_film
from onnxdream.runtime.film.run import FilmCallbacks, make_film

FEW: dict[str, Any] = {"model": "tiny.onnx", "steps": 2, "octaves": 1, "steps_next": 1, "provider": "cpu"}
SLOW: dict[str, Any] = {**FEW, "steps": 20, "steps_next": 20}
# The first one begins with blank frames and has a flash; the second one ends in blank ones; the last has a bad frame.
SHOTS = (15, 17, 12)
GAP = Fraction(21, 10)  # seconds between two frames, so that a segment ends after five of them
COUNT = sum(SHOTS)
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


def pictures() -> list[Pixels]:
    black = np.zeros((48, 64, 3), np.uint8)
    first = pan(12)
    first[6] = (first[6] * 0.3 + 178).astype(np.uint8)
    other = np.ascontiguousarray(cv2.applyColorMap(photograph(48, 64)[..., 2], cv2.COLORMAP_AUTUMN))
    return [*[black] * 3, *first, *[other] * 10, *[black] * 7, *pan(12, seed=5)]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the film walk.mp4 of three shots, the bundle tiny.onnx, and slow.mp4, which one process made."""
    path = tmp_path_factory.mktemp("originals")
    (path / "tiny.onnx").write_bytes(TINY_BYTES)
    times = [i * GAP + Fraction(i % 3, 90) for i in range(COUNT)]
    options = {"crf": "10", "preset": "fast", "g": "8", "bf": "0"}
    sound = Sound(seconds=90.0, per_second=8000)
    write_clip(path / "walk.mp4", Clip(pictures(), times, options=options, sounds=[sound]))
    data = bytearray((path / "walk.mp4").read_bytes())
    damaged = packets(path / "walk.mp4", "video")[39].data  # before a key frame
    position = data.index(damaged)
    data[position + 4 : position + len(damaged)] = bytes(len(damaged) - 4)
    (path / "walk.mp4").write_bytes(data)
    slow = {**SLOW, "threads": 1, "model": str(path / "tiny.onnx")}
    make_film(parse_film("film", path / "walk.mp4", path / "slow.mp4", slow).film, FilmCallbacks(lambda line: None))
    return path


@pytest.fixture
def folder(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with these files."""
    path = tmp_path / "here"
    shutil.copytree(originals, path)
    monkeypatch.chdir(path)
    held.hold_all(monkeypatch.setattr)
    return path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    return in_this_process(capfd)


def words(options: dict[str, Any], **more: Any) -> list[str]:
    """The options on the command line."""
    return [word for name, value in {**options, **more}.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def record_of(film: Path) -> FilmRecord:
    return read_film_record(film.with_name(f"{film.name}.json"))


def shot_hashes(record: FilmRecord) -> list[str]:
    """Those at the end of each shot, which are equal where all frames are."""
    segments = record.segments
    return [one.hash for one, after in itertools.zip_longest(segments, segments[1:]) if after is None or after.shots]


def assert_same_film(film: Path, other: Path) -> None:
    assert shot_hashes(record_of(film)) == shot_hashes(record_of(other))
    assert film.read_bytes() == other.read_bytes()
    assert not parts_folder(film).exists()


def make(output: str, options: dict[str, Any], lines: list[str], **callbacks: Any) -> FilmRecord:
    film = parse_film("film", Path("walk.mp4"), Path(output), options).film
    return make_film_apart(film, FilmCallbacks(lines.append, **callbacks))


def resume(output: str, lines: list[str], **callbacks: Any) -> FilmRecord:
    film = parse_film("film", None, None, {"resume": parts_folder(Path(output))}).film
    return make_film_apart(film, FilmCallbacks(lines.append, **callbacks))


def test_the_film_is_that_of_one_process(run: Command, folder: Path) -> None:
    one, two = folder / "one.mp4", folder / "two.mp4"
    run("film", "walk.mp4", one.name, *words(FEW, threads=1, keep_frames="kept-one")).succeeds()
    finished = run("film", "walk.mp4", two.name, *words(FEW, threads=2, workers=2, keep_frames="kept-two"))
    finished.succeeds()
    assert f"walk.mp4: 3 shots in {COUNT} frames, dreamed in 2 processes with 1 thread each" in finished.err
    assert f"two.mp4: {COUNT} frames, 3 shots, 1 frame repeated, mean loss" in finished.err
    assert_same_film(two, one)
    serial, apart = record_of(one), record_of(two)
    assert (apart.workers, apart.shots, apart.settings.execution.threads, apart.size) == (2, SHOTS, 1, serial.size)
    assert [segment.hash for segment in apart.segments] == [segment.hash for segment in serial.segments]
    assert [segment.start for segment in apart.segments] == [segment.start for segment in serial.segments]
    assert [segment.file.split("/")[0] for segment in apart.segments] == [
        *[shot_name(1)] * 4,
        *[shot_name(2)] * 4,
        *[shot_name(3)] * 3,
    ]
    assert apart.notices == serial.notices
    assert listing(folder / "kept-two") == listing(folder / "kept-one")
    for name in listing(folder / "kept-one"):
        np.testing.assert_array_equal(load(folder / "kept-two" / name), load(folder / "kept-one" / name))
    assert not multiprocessing.active_children()


def test_there_are_no_more_processes_than_shots_and_events_count_the_frames_of_all(run: Command, folder: Path) -> None:
    run("film", "walk.mp4", "one.webm", *words(FEW, threads=1)).succeeds()
    finished = run("film", "walk.mp4", "many.webm", *words(FEW, threads=3, workers=8, progress="json"))
    finished.succeeds()
    many = record_of(folder / "many.webm")
    assert (many.workers, many.settings.execution.threads) == (3, 1)
    assert_same_film(folder / "many.webm", folder / "one.webm")
    events = [json.loads(line) for line in finished.err.splitlines()]
    (begin,) = (event for event in events if event["event"] == "start")
    assert (begin["frame"], begin["frames"]) == (0, COUNT)
    frames = [event["frame"] for event in events if event["event"] == "frame"]
    assert frames
    assert frames == sorted(set(frames))
    assert (events[-1]["event"], events[-1]["frame"], events[-1]["ended"]) == ("done", COUNT, "finished")


def test_a_film_of_one_shot_has_all_threads(run: Command, folder: Path) -> None:
    part = words(FEW, end=float(5 * GAP))
    run("film", "walk.mp4", "one.mp4", *part, "--threads", "2").succeeds()
    finished = run("film", "walk.mp4", "apart.mp4", *part, "--threads", "2", "--workers", "auto")
    finished.succeeds()
    assert "walk.mp4: 1 shot in 5 frames, dreamed in 1 process with 2 threads\n" in finished.err
    assert_same_film(folder / "apart.mp4", folder / "one.mp4")


@posix
def test_a_shot_whose_worker_is_killed_is_continued_by_another(folder: Path) -> None:
    lines: list[str] = []
    shown = 0
    segment = folder / "apart.mp4.parts" / shot_name(1) / "00002.mp4"
    waits = held.hold(folder, shot_name(1), 10)
    written: list[int] = []

    def on_frame(frame: object) -> None:
        nonlocal shown
        shown += 1
        if shown in (10, 12):
            written.append(segment.stat().st_mtime_ns)
        if shown == 10:  # shot 1 has two segments, and its next one is begun
            kill_the_worker()
            waits.unlink()

    record = make("apart.mp4", {**SLOW, "threads": 1, "workers": "1"}, lines, on_frame=on_frame)
    assert (record.ended, record.frames, shown) == ("finished", COUNT, COUNT)
    assert "shot 1: its worker was killed (signal 9, as where memory runs out); another one continues" in lines
    assert written[0] == written[1]  # it was not begun anew
    assert_same_film(folder / "apart.mp4", folder / "slow.mp4")


@posix
def test_a_shot_whose_workers_are_killed_stops_the_film_which_can_be_continued(folder: Path) -> None:
    lines: list[str] = []
    waits = held.hold(folder, shot_name(1), 1)

    def on_frame(frame: object) -> None:
        kill_the_worker()
        held.hold(folder, shot_name(1), 2)  # for the next one, whose first frame is dreamed again

    with pytest.raises(FilmError, match=r"shot 1: its worker was killed .* continue with --resume apart\.mp4\.parts"):
        make("apart.mp4", {**SLOW, "threads": 1, "workers": "1"}, lines, on_frame=on_frame)
    waits.unlink()
    assert listing(folder / "apart.mp4.parts" / shot_name(1))
    assert resume("apart.mp4", lines).ended == "finished"
    assert_same_film(folder / "apart.mp4", folder / "slow.mp4")


@posix
def test_workers_that_are_killed_as_they_start_stop_the_film(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multiprocessing.context import SpawnProcess

    start = SpawnProcess.start

    def start_and_kill(process: SpawnProcess) -> None:
        start(process)
        process.kill()

    monkeypatch.setattr(SpawnProcess, "start", start_and_kill)
    with pytest.raises(FilmError, match="its worker was killed"):
        make("apart.mp4", {**FEW, "threads": 1, "workers": "2"}, [])
    assert not (folder / "apart.mp4").exists()
    monkeypatch.setattr(SpawnProcess, "start", start)
    assert resume("apart.mp4", []).frames == COUNT


def kill_the_worker() -> None:
    """Kills the only worker, and returns when it is dead."""
    (worker,) = multiprocessing.active_children()
    worker.kill()
    worker.join()


def test_a_shot_that_cannot_be_begun_stops_the_film(folder: Path) -> None:
    options = {**FEW, "steps": 40, "gradient_norm": "none", "step_size": "1e9", "clip": False, "workers": "1"}
    with pytest.raises(DivergedError, match=r"^shot 2: the first frame's gradient is not a finite number: choose"):
        make("apart.mp4", options, [])
    assert record_of(folder / "apart.mp4").frames == SHOTS[0]  # where blank frames come before the one that fails


# Whole commands


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "env": held.environment()}
    return subprocess.Popen([*held.COMMAND, "film", *more], cwd=folder, start_new_session=True, **pipes)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@posix
def test_a_driver_that_is_killed_is_continued(run: Command, folder: Path) -> None:
    waiting = [held.hold(folder, shot_name(number), 10) for number in (1, 2)]
    process = start(folder, "walk.mp4", "apart.mp4", *words(SLOW, threads=2, workers=2))
    unfinished = folder / "apart.mp4.parts"
    playlist = unfinished / "playlist.m3u"
    # The first segment of the first shot is black; the second one is behind it.
    wait_for(lambda: playlist.exists() and len(playlist.read_text().splitlines()) > 1, process)
    process.kill()
    process.communicate()  # which ends when the workers have ended, too: they share its standard error
    for path in waiting:
        path.unlink()
    assert playlist.read_text().splitlines()[:2] == ["shot-00001/00001.mp4", "shot-00001/00002.mp4"]
    assert sum(len(decoded(unfinished / line)) for line in playlist.read_text().splitlines()) >= 8
    assert not (folder / "apart.mp4").exists()
    run("film", "walk.mp4", "apart.mp4", *words(FEW)).refuses("holds an unfinished film", "--resume")
    (folder / "moved").mkdir()
    os.rename(unfinished, folder / "moved" / "apart.mp4.parts")
    finished = run("film", "--resume", "moved/apart.mp4.parts")
    finished.succeeds()
    assert "resuming after 0 frames" not in finished.err
    assert "looking for its shots" not in finished.err
    assert_same_film(folder / "moved" / "apart.mp4", folder / "slow.mp4")


@posix
def test_ctrl_c_leaves_the_film_up_to_the_first_missing_frame(run: Command, folder: Path) -> None:
    """A terminal sends it to all processes of the command."""
    waiting = [held.hold(folder, shot_name(number), 10) for number in (1, 2)]
    process = start(folder, "walk.mp4", "apart.mp4", *words(SLOW, threads=2, workers=2))
    wait_for((folder / "apart.mp4.parts" / shot_name(1) / "00002.mp4").exists, process)
    wait_for((folder / "apart.mp4.parts" / shot_name(2) / "00002.mp4").exists, process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    for path in waiting:
        path.unlink()
    assert "Traceback" not in err
    assert "continue with onnxdream film --resume apart.mp4.parts" in err
    stopped = record_of(folder / "apart.mp4")
    shown = decoded(folder / "apart.mp4")
    assert stopped.ended == "stopped"
    assert stopped.frames == len(shown) < COUNT
    assert [time for time, _ in shown] == [time for time, _ in decoded(folder / "slow.mp4")][: len(shown)]
    assert packets(folder / "apart.mp4", "audio")[-1].time < shown[-1][0] + GAP + 1
    done = sum(read_film_record(record).frames for record in (folder / "apart.mp4.parts").glob("shot-*/film.json"))
    assert done > stopped.frames or stopped.frames > SHOTS[0]
    finished = run("film", "--resume", "apart.mp4.parts")
    finished.succeeds()
    assert f"resuming after {done} frames" in finished.err
    assert shot_hashes(record_of(folder / "apart.mp4")) == shot_hashes(record_of(folder / "slow.mp4"))
    assert len(decoded(folder / "apart.mp4")) == COUNT
    assert not (folder / "apart.mp4.parts").exists()


def test_an_interruption_of_the_first_pass_leaves_nothing(folder: Path) -> None:
    before = listing(folder)
    record = make("apart.mp4", {**FEW, "workers": "2"}, [], interrupted=lambda: True)
    assert (record.frames, record.shots) == (0, ())
    assert listing(folder) == before


def test_shots_before_which_frames_are_missing_are_kept(folder: Path) -> None:
    """A film that lacks its first shot cannot be watched, but continued."""
    options = {**FEW, "threads": 1, "workers": "1"}
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        make("apart.mp4", options, lines, on_frame=_raising_at(SHOTS[0] + 1))
    unfinished = folder / "apart.mp4.parts"
    for part in (unfinished / shot_name(1)).iterdir():
        part.unlink()
    record = resume("apart.mp4", lines, interrupted=lambda: True)
    assert (record.ended, record.frames, record.shots) == ("stopped", 0, SHOTS)
    assert unfinished.is_dir()
    assert resume("apart.mp4", lines).frames == COUNT


def test_a_damaged_segment_of_a_shot_is_told_before_the_film_goes_on(folder: Path) -> None:
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        make("apart.mp4", {**FEW, "threads": 1, "workers": "1"}, lines, on_frame=_raising_at(SHOTS[0] + 1))
    segment = folder / "apart.mp4.parts" / shot_name(1) / "00001.mp4"
    os.truncate(segment, 500)
    told = f"{shot_name(1)}/00001.mp4 is missing or damaged: start the film again with --overwrite"
    with pytest.raises(RecordError, match=told):
        resume("apart.mp4", lines)


def _raising_at(call: int) -> Callable[[object], None]:
    calls = itertools.count(1)

    def on_frame(frame: object) -> None:
        if next(calls) == call:
            raise KeyboardInterrupt

    return on_frame


def test_overwrite_replaces_an_unfinished_film_of_either_kind(run: Command, folder: Path) -> None:
    apart: dict[str, Any] = {"workers": "1"}
    for before, after in ((apart, {}), ({}, apart)):
        film = parse_film("film", Path("walk.mp4"), Path("a.mp4"), {**FEW, "threads": 1, **before}).film
        waits = held.hold(folder, shot_name(1), 3)
        callbacks = FilmCallbacks(lambda line: None, interrupted=_true_at(COUNT + 20))
        assert (make_film_apart if before else make_film)(film, callbacks).ended == "stopped"
        waits.unlink()
        run("film", "walk.mp4", "a.mp4", *words(FEW, **after)).refuses("a.mp4")
        run("film", "walk.mp4", "a.mp4", *words(FEW, **after), "--overwrite").succeeds()
        assert record_of(folder / "a.mp4").frames == COUNT
        assert not (folder / "a.mp4.parts").exists()
        (folder / "a.mp4").unlink()


def _true_at(call: int) -> Callable[[], bool]:
    calls = itertools.count(1)
    return lambda: next(calls) >= call


@pytest.mark.parametrize("command", ["zoom", "travel"])
def test_films_of_one_shot_have_no_workers(command: str, run: Command) -> None:
    finished = run(command, "a.png", "a.mp4", "--workers", "2")
    finished.refuses("--workers")


def test_a_wrong_number_of_workers_is_refused(run: Command, folder: Path) -> None:
    before = listing(folder)
    run("film", "walk.mp4", "a.mp4", *words(FEW, workers="0")).refuses("workers must be a whole number")
    assert listing(folder) == before
