"""The command `film`: what it writes, what it refuses, and what an interruption leaves."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

import cv2
import held
import numpy as np
import pytest
from pictures_fixture import (
    TINY_BYTES,
    Command,
    in_limited_files,
    in_this_process,
    listing,
    load,
    noise,
    photograph,
    save,
)

from onnxdream.models.files import temporary_path
from onnxdream.runtime.film import parts
from onnxdream.runtime.video.formats import FORMATS

pytest.importorskip("av")
from clips import Clip, Sound, decoded, packets, pan, uneven_times, write_clip

FEW = ("--model", "tiny.onnx", "--steps", "2", "--octaves", "1", "--steps-next", "1", "--threads", "1")
FEW += ("--provider", "cpu")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the film walk.mp4 (24 frames, a cut after 14, sound) and the bundle tiny.onnx."""
    path = tmp_path_factory.mktemp("originals")
    (path / "tiny.onnx").write_bytes(TINY_BYTES)
    other = np.ascontiguousarray(cv2.applyColorMap(photograph(48, 64)[..., 2], cv2.COLORMAP_AUTUMN))
    write_clip(path / "walk.mp4", Clip([*pan(14), *[other] * 10], uneven_times(24), sounds=[Sound(seconds=1.0)]))
    return path


@pytest.fixture
def folder(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with these files."""
    path = tmp_path / "here"
    shutil.copytree(originals, path)
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    return in_this_process(capfd)


def record_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_name(f"{path.name}.json").read_text())
    return found


def hashes(record: dict[str, Any]) -> list[str]:
    """Those at the end of each shot, which are equal where all frames are."""
    segments = record["segments"]
    return [one["hash"] for one, after in zip_longest(segments, segments[1:]) if after is None or after["shots"]]


def test_a_film_is_dreamed_with_its_times_and_its_sound(run: Command, folder: Path) -> None:
    finished = run("film", "walk.mp4", "dreams/walk.mp4", *FEW)
    finished.succeeds()
    assert "walk.mp4: 24 frames, 2 shots, mean loss" in finished.err
    assert listing(folder / "dreams") == {"walk.mp4", "walk.mp4.json"}
    source, dreamed = decoded(folder / "walk.mp4"), decoded(folder / "dreams" / "walk.mp4")
    assert [time for time, _ in dreamed] == [time for time, _ in source]
    changes = [np.abs(one.astype(int) - other).mean() for (_, one), (_, other) in zip(source, dreamed, strict=True)]
    assert min(changes) > 1
    assert packets(folder / "dreams" / "walk.mp4", "audio") == packets(folder / "walk.mp4", "audio")
    record = record_of(folder / "dreams" / "walk.mp4")
    assert (record["kind"], record["ended"], record["size"]) == ("film", "finished", [48, 64])
    assert [segment["shots"] for segment in record["segments"]] == [1, 1]
    assert [segment["frames"] for segment in record["segments"]] == [14, 10]
    keys = [packet.time for packet in packets(folder / "dreams" / "walk.mp4", "video") if packet.is_key]
    assert keys == [source[0][0], source[14][0]]


@pytest.mark.parametrize("name", ["a.webm", "a.gif", "a.webp"])
def test_other_kinds_of_films(name: str, run: Command, folder: Path) -> None:
    finished = run("film", "walk.mp4", name, *FEW, "--end", "0.3", "--no-extras")
    finished.succeeds()
    assert ("the sound is left out" in finished.err) == (name != "a.webm")
    assert listing(folder) == {"walk.mp4", "tiny.onnx", name}
    if name == "a.webm":
        assert packets(folder / name, "audio")
    expected = sum(time < 0.3 for time, _ in decoded(folder / "walk.mp4"))
    if name != "a.webp":  # which older FFmpegs do not decode
        assert len(decoded(folder / name)) == expected


def test_frames_can_be_kept(run: Command, folder: Path) -> None:
    run("film", "walk.mp4", "a.mp4", *FEW, "--start", "0.2", "--end", "0.4", "--keep-frames", "kept").succeeds()
    count = sum(0.2 <= time < 0.4 for time, _ in decoded(folder / "walk.mp4"))
    assert listing(folder / "kept") == {f"frame-{number:06}.png" for number in range(1, count + 1)}
    shown = decoded(folder / "a.mp4")
    assert shown[0][0] < 0.1  # the film begins with its part
    assert np.abs(load(folder / "kept" / "frame-000001.png").astype(int) - shown[0][1]).mean() < 8


def test_without_a_preset_a_film_has_the_default_look(run: Command, folder: Path) -> None:
    run("film", "walk.mp4", "a.mp4", "--max-size", "48", "--end", "0.05").succeeds()
    record = record_of(folder / "a.mp4")
    assert record["bundle"]["name"] == "lite0"
    assert record["settings"]["octaves"] == 6
    assert record["settings"]["layer_weights"] == {"block09": 1.0, "block10": 1.0}
    assert record["coherence"] == {"persist": 0.8, "steps_next": 8}


def test_with_another_model_the_look_says_only_how(run: Command, folder: Path) -> None:
    run("film", "walk.mp4", "a.mp4", "--model", "tiny.onnx", "--end", "0.05").succeeds()
    settings = record_of(folder / "a.mp4")["settings"]
    assert (settings["octaves"], settings["colours"], settings["layer_weights"]) == (6, "own", None)


@pytest.mark.parametrize(
    "options", [("--octaves", "1", "--max-size", "48"), ("--octaves", "1", "--model", "tiny.onnx")]
)
def test_no_line_tells_of_options_that_only_the_look_gives(
    run: Command, folder: Path, options: tuple[str, ...]
) -> None:
    finished = run("film", "walk.mp4", "a.mp4", "--end", "0.05", *options)
    finished.succeeds()
    assert "has no effect" not in finished.err
    assert (
        "--detail has no effect" in run("film", "walk.mp4", "b.mp4", "--end", "0.05", "--detail", "after", *options).err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name what to read and what to write, as in onnxdream film walk.mp4"),
        (("walk.mp4",), "name what to read and what to write"),
        (("missing.mp4", "a.mp4"), "missing.mp4"),
        (("tiny.onnx", "a.mp4"), "tiny.onnx"),
        (("walk.mp4", "walk.mp4"), "is the film that is read"),
        (("walk.mp4", "a.avi"), "only .mp4, .webm, .gif and .webp films can be written"),
        (("walk.mp4", "tiny.onnx/a.mp4"), "cannot write film"),
        (("walk.mp4", "a.mp4", "--persist", "2"), "persist"),
        (("walk.mp4", "a.mp4", "--start", "99"), "choose an earlier start"),
        (("walk.mp4", "a.mp4", "--start", "nan"), "start must be"),
        (("walk.mp4", "a.mp4", "--start", "-1"), "start must be"),
        (("walk.mp4", "a.mp4", "--end", "inf"), "end must be"),
        (("walk.mp4", "a.mp4", "--start", "2", "--end", "1"), "choose a later end"),
        (("walk.mp4", "a.mp4", "--mask", "missing.png"), "missing.png"),
        (("walk.mp4", "a.mp4", "--keep-frames", "walk.mp4"), "cannot keep frames in"),
        (("walk.mp4", "a.mp4", "--keep-frames", "walk.mp4/kept"), "name another folder"),
        (("--resume", "nothing.mp4.parts"), "is no record of a film"),
        (("walk.mp4", "a.mp4", "--resume", "nothing.mp4.parts"), "give nothing else"),
    ],
)
def test_what_is_refused_leaves_nothing(words: tuple[str, ...], message: str, run: Command, folder: Path) -> None:
    before = listing(folder)
    more = () if not words or words[0] == "--resume" or "--resume" in words else FEW
    run("film", *words, *more).refuses(message)
    assert listing(folder) == before


def test_an_existing_film_is_replaced_only_if_asked_for(run: Command, folder: Path) -> None:
    (folder / "a.mp4").write_bytes(b"mine")
    run("film", "walk.mp4", "a.mp4", *FEW).refuses("a.mp4 exists", "--overwrite")
    assert (folder / "a.mp4").read_bytes() == b"mine"
    run("film", "walk.mp4", "a.mp4", *FEW, "--end", "0.1", "--overwrite").succeeds()
    assert len(decoded(folder / "a.mp4")) > 1


def test_bad_frames_are_repeated_and_told(run: Command, folder: Path) -> None:
    data = bytearray((folder / "walk.mp4").read_bytes())
    damaged = packets(folder / "walk.mp4", "video")[5].data
    position = data.index(damaged)
    data[position + 4 : position + len(damaged)] = bytes(len(damaged) - 4)
    (folder / "broken.mp4").write_bytes(data)
    finished = run("film", "broken.mp4", "a.mp4", *FEW)
    finished.succeeds()
    assert "broken.mp4" in finished.err
    assert "repeated" in finished.err
    assert len(decoded(folder / "a.mp4")) == 24


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*held.COMMAND, *words], stderr=subprocess.PIPE, text=True, env=held.environment())


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


SLOW = (*FEW[:2], "--steps", "30", "--octaves", "1", "--steps-next", "30", "--threads", "1", "--provider", "cpu")


@pytest.fixture(scope="module")
def whole(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The film that an unbroken run makes with these options, of the same file: libx264 does not repeat itself."""
    path = tmp_path_factory.mktemp("whole") / "whole.mp4"
    command = [sys.executable, "-m", "onnxdream", "film", "walk.mp4", str(path), *SLOW, "--quiet"]
    subprocess.run(command, cwd=originals, check=True)
    return path


@posix
def test_a_killed_film_continues_as_if_nothing_had_happened(run: Command, folder: Path, whole: Path) -> None:
    """Its frames are those of an unbroken run before they are encoded, and its file is the same, byte for byte."""
    waits = held.hold(folder, "killed.mp4", 18)
    process = start("film", "walk.mp4", "killed.mp4", *SLOW)
    unfinished = folder / "killed.mp4.parts"
    playlist = unfinished / "playlist.m3u"
    wait_for(lambda: playlist.exists() and bool(playlist.read_text()), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    waits.unlink()
    assert not (folder / "killed.mp4").exists()
    assert playlist.read_text() == "00001.mp4\n"
    assert len(decoded(unfinished / "00001.mp4")) == 14  # it can be watched
    (folder / "moved").mkdir()
    os.rename(unfinished, folder / "moved" / "killed.mp4.parts")
    finished = run("film", "--resume", "moved/killed.mp4.parts")
    finished.succeeds()
    assert "resuming after 14 frames" in finished.err
    assert hashes(record_of(folder / "moved" / "killed.mp4")) == hashes(record_of(whole))
    assert (folder / "moved" / "killed.mp4").read_bytes() == whole.read_bytes()
    assert listing(folder / "moved") == {"killed.mp4", "killed.mp4.json"}


@posix
def test_ctrl_c_leaves_a_film_that_plays_and_can_be_continued(run: Command, folder: Path, whole: Path) -> None:
    waits = held.hold(folder, "stopped.mp4", 9)
    process = start("film", "walk.mp4", "stopped.mp4", *SLOW)
    wait_for(lambda: (folder / "stopped.mp4.parts" / "00001.mp4").exists(), process)
    process.send_signal(signal.SIGINT)
    waits.unlink()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "continue with onnxdream film --resume stopped.mp4.parts" in err
    shown = decoded(folder / "stopped.mp4")
    assert 0 < len(shown) < 24
    assert packets(folder / "stopped.mp4", "audio")[-1].time < shown[-1][0] + 0.2
    run("film", "--resume", "stopped.mp4.parts").succeeds()
    assert hashes(record_of(folder / "stopped.mp4")) == hashes(record_of(whole))
    assert len(decoded(folder / "stopped.mp4")) == 24
    assert not (folder / "stopped.mp4.parts").exists()


def test_what_a_run_that_was_killed_while_joining_has_left_is_removed(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(parts.Parts, "_new_segment", _raising_at(parts.Parts._new_segment, 2))
        assert run("film", "walk.mp4", "a.mp4", *FEW).code == 130
    temporary_path(folder / "a.mp4", ".part.mp4").write_bytes(b"half a film")
    run("film", "--resume", "a.mp4.parts").succeeds()
    assert listing(folder) == {"walk.mp4", "tiny.onnx", "a.mp4", "a.mp4.json"}


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_a_damaged_segment_is_told_before_the_film_goes_on(
    suffix: str, run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(parts.Parts, "_new_segment", _raising_at(parts.Parts._new_segment, 2))
        assert run("film", "walk.mp4", f"a{suffix}", *FEW).code == 130
    (segment,) = (folder / f"a{suffix}.parts").glob("00001.*")
    whole = segment.read_bytes()
    for data in (whole[: len(whole) * 2 // 3], b""):
        segment.write_bytes(data)
        finished = run("film", "--resume", f"a{suffix}.parts")
        finished.refuses(f"{segment.relative_to(folder)} is missing or damaged: start the film again with --overwrite")
        assert "frame 1" not in finished.err
    segment.write_bytes(whole)
    run("film", "--resume", f"a{suffix}.parts").succeeds()


@pytest.mark.parametrize(("place", "unfinished"), [("elsewhere", "../a.mp4.parts"), ("a.mp4.parts", ".")])
def test_frames_are_kept_in_one_folder_wherever_the_film_is_continued(
    place: str, unfinished: str, run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(parts.Parts, "_new_segment", _raising_at(parts.Parts._new_segment, 2))
        assert run("film", "walk.mp4", "a.mp4", *FEW, "--keep-frames", "kept").code == 130
    (folder / place).mkdir(exist_ok=True)
    monkeypatch.chdir(folder / place)
    run("film", "--resume", unfinished).succeeds()
    assert len(listing(folder / "kept")) == 24
    assert len(decoded(folder / "a.mp4")) == 24


def test_a_source_that_is_gone_when_its_sound_is_read_is_named(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = parts.Parts.close_segment

    def closing(self: parts.Parts) -> None:
        close(self)
        (folder / "walk.mp4").rename(folder / "gone.mp4")

    with monkeypatch.context() as patch:
        patch.setattr(parts.Parts, "_is_due", lambda self, segment, frame: False)
        patch.setattr(parts.Parts, "close_segment", closing)
        run("film", "walk.mp4", "a.mp4", *FEW).refuses("walk.mp4: no such film")
    (folder / "gone.mp4").rename(folder / "walk.mp4")
    run("film", "--resume", "a.mp4.parts").succeeds()
    assert len(decoded(folder / "a.mp4")) == 24


def test_how_to_continue_can_be_pasted_into_a_shell(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(parts.Parts, "_new_segment", _raising_at(parts.Parts._new_segment, 2))
        assert run("film", "walk.mp4", "my 'film'.mp4", *FEW).code == 130
    message = run("film", "walk.mp4", "my 'film'.mp4", *FEW).err
    words = shlex.split(message.partition("continue it with ")[2].partition(",")[0])
    assert words == ["--resume", "my 'film'.mp4.parts"]
    run("film", *words).succeeds()


@posix
def test_a_film_is_written_by_one_run_at_a_time(run: Command, folder: Path) -> None:
    held.hold(folder, "a.mp4", 2)
    process = start("film", "walk.mp4", "a.mp4", *SLOW)
    try:
        wait_for(lambda: parts.unfinished_record(folder / "a.mp4.parts").exists(), process)
        run("film", "walk.mp4", "a.mp4", *FEW).refuses("holds an unfinished film", "--resume")
        run("film", "walk.mp4", "a.mp4", *FEW, "--overwrite").refuses("another run is writing a.mp4")
        run("film", "--resume", "a.mp4.parts").refuses("another run is writing a.mp4")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a limit on file sizes")
def test_a_full_disk_is_reported_and_what_is_there_can_be_continued(folder: Path, run: Command) -> None:
    grain = [np.random.default_rng(i).integers(0, 256, (120, 160, 3), np.uint8) for i in range(20)]
    write_clip(folder / "grain.mp4", Clip(grain, options={"crf": "10", "preset": "ultrafast"}))
    words = (sys.executable, "-m", "onnxdream", "film", "grain.mp4", "a.mp4", *FEW)
    finished = in_limited_files(100_000, *words)
    assert finished.returncode == 1
    assert "error: cannot write film a.mp4" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (folder / "a.mp4").exists()
    run("film", "--resume", "a.mp4.parts").succeeds()
    assert len(decoded(folder / "a.mp4")) == 20


@pytest.fixture
def bears(folder: Path) -> str:
    """The name of a picture in the current folder."""
    save(folder / "bears.png", noise(40, 53))
    return "bears.png"


ZOOM = ("--seconds", "1", "--fps", "10", *FEW)
TRAVEL = ("--through", "low:3,mid", "--hold", "0.2", *ZOOM)


@pytest.mark.parametrize(("command", "words"), [("zoom", ZOOM), ("zoom", (*ZOOM, "--loop")), ("travel", TRAVEL)])
def test_films_from_a_picture(command: str, words: tuple[str, ...], run: Command, folder: Path, bears: str) -> None:
    finished = run(command, bears, "a.mp4", *words)
    finished.succeeds()
    assert "a.mp4: 10 frames, mean loss" in finished.err
    shown = decoded(folder / "a.mp4")
    assert [time for time, _ in shown] == [Fraction(n, 10) for n in range(10)]
    assert shown[0][1].shape == (40, 54, 3)  # 53 is odd
    assert record_of(folder / "a.mp4")["kind"] == command


@posix
@pytest.mark.parametrize(("command", "words"), [("zoom", (*ZOOM, "--loop")), ("travel", TRAVEL)])
def test_films_from_a_picture_continue_as_if_nothing_had_happened(
    command: str, words: tuple[str, ...], run: Command, folder: Path, bears: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_MAX_FRAMES", 3)
    run(command, bears, "whole.mp4", *words).succeeds()

    with monkeypatch.context() as patch:
        patch.setattr(parts.Parts, "_new_segment", _raising_at(parts.Parts._new_segment, 3))
        assert run(command, bears, "a.mp4", *words).code == 130
    finished = run(command, "--resume", "a.mp4.parts")
    finished.succeeds()
    assert "resuming after 6 frames" in finished.err
    assert (folder / "a.mp4").read_bytes() == (folder / "whole.mp4").read_bytes()
    assert hashes(record_of(folder / "a.mp4")) == hashes(record_of(folder / "whole.mp4"))


def _raising_at(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    """The function, interrupted at this call."""
    calls = count(1)

    def interrupted(*given: Any) -> Any:
        if next(calls) == call:
            raise KeyboardInterrupt
        return function(*given)

    return interrupted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("zoom", "missing.png", "a.mp4"), "missing.png"),
        (("zoom", "bears.png", "a.mp4", "--zoom", "9"), "zoom"),
        (("zoom", "bears.png", "a.mp4", "--centre", "2,2"), "centre"),
        (("zoom", "--resume", "a.mp4.parts"), "is no record of a film"),
        (("travel", "bears.png", "a.mp4", "--through", "low"), "two stations at least"),
        (("travel", "bears.png", "a.mp4"), "through '': give two stations at least"),
        (("travel", "bears.png", "a.mp4", "--through", "low,sky"), "'sky'"),
        (("travel", "bears.png", "a.mp4", "--through", "low,mid:999"), "999"),
        (("travel", "bears.png", "a.mp4", "--through", "low,creatures"), "creatures"),
        (("travel", "bears.png", "a.mp4", "--through", "low,mid", "--hold", "9"), "do not fit"),
    ],
)
def test_zooms_and_travels_that_are_refused(
    words: tuple[str, ...], message: str, run: Command, folder: Path, bears: str
) -> None:
    before = listing(folder)
    run(*words, *(() if "--resume" in words else FEW)).refuses(message)
    assert listing(folder) == before


@pytest.mark.parametrize("command", ["film", "zoom", "travel"])
def test_the_help_of_films_names_their_options(command: str, run: Command) -> None:
    finished = run(command, "--help")
    finished.succeeds()
    assert "--steps-next" in finished.out
    assert "--noise  " not in finished.out
    assert ("--mask" in finished.out) == (command == "film")


def test_without_pyav_films_say_what_to_install(folder: Path) -> None:
    program = "import sys; sys.modules['av'] = None; from onnxdream.cli import app; app()"
    words = [sys.executable, "-c", program, "film", "walk.mp4", "a.mp4"]
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1] == "error: films need PyAV: pip install 'onnxdream[video]'"
    assert listing(folder) == {"walk.mp4", "tiny.onnx"}


def test_a_pyav_without_an_encoder_is_told_before_anything_is_made(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, ".mp4", replace(FORMATS[".mp4"], codec="libabsent"))
    finished = run("film", "walk.mp4", "a.mp4", *FEW)
    assert finished.code == 1
    assert finished.err.splitlines() == [
        "error: .mp4 films need the encoder libabsent, which this PyAV lacks: choose another ending, or install PyAV "
        "with pip, whose FFmpeg has it"
    ]
    assert listing(folder) == {"walk.mp4", "tiny.onnx"}
