"""Pictures from standard input and to standard output, and progress as JSON, between real processes."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pictures_fixture import TINY_BYTES, cliff_bytes, listing, load, noise, save

from onnxdream.models.arrays import Pixels
from onnxdream.models.streams import EventStream
from onnxdream.runtime.dream.record import read_record
from onnxdream.runtime.image.files import read_note

SHORT = ("--model", "tiny.onnx", "--steps", "3", "--threads", "1", "--provider", "cpu")
LONG = (*SHORT[:2], "--steps", "1000000", *SHORT[4:])
# So that its picture is larger than any pipe holds, and dreamed in a moment.
LARGE = ("--full-size", "--max-size", "64")
of_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the pictures bears.png and large.png and the bundle tiny.onnx in it."""
    path = tmp_path / "here"
    save(path / "bears.png", noise(40, 53))
    save(path / "large.png", noise(500, 700))
    (path / "tiny.onnx").write_bytes(TINY_BYTES)
    monkeypatch.chdir(path)
    return path


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "onnxdream", *words]


def piped(*words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Runs a command line with these bytes on standard input."""
    return subprocess.run(command(*words), input=data, capture_output=True, timeout=100, check=False)


def started(*words: str) -> subprocess.Popen[bytes]:
    """Starts a command line whose standard output and standard error are pipes."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(*words), **pipes)  # type: ignore[call-overload, no-any-return]


def decoded(data: bytes) -> Pixels:
    """The pixels of a picture file's bytes as OpenCV decodes them, RGB."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels[..., ::-1]


def events(stderr: bytes) -> list[dict[str, Any]]:
    """The lines of standard error, each of which must be a JSON object."""
    found = [json.loads(line, parse_constant=pytest.fail) for line in stderr.decode().splitlines()]
    assert all(isinstance(one, dict) and "event" in one for one in found)
    return found


def of_kind(kind: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in found if event["event"] == kind]


# Pipes


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_a_picture_goes_through_a_pipe(ending: str, folder: Path) -> None:
    before = listing(folder)
    finished = piped(
        "dream", "-", "--output", "-", "--format", ending, *SHORT, data=(folder / "bears.png").read_bytes()
    )
    assert finished.returncode == 0, finished.stderr
    assert listing(folder) == before
    assert b"stdin: loss " in finished.stderr
    assert finished.stderr.rstrip().endswith(b" s, written to standard output")
    named = piped("dream", "bears.png", "--output", f"named.{ending}", *SHORT)
    assert named.returncode == 0, named.stderr
    np.testing.assert_array_equal(decoded(finished.stdout), load(folder / f"named.{ending}"))
    assert np.any(decoded(finished.stdout) != noise(40, 53))


def test_a_png_is_the_default_and_holds_the_record(folder: Path) -> None:
    finished = piped("dream", "-", "--output", "-", *SHORT, data=(folder / "bears.png").read_bytes())
    (folder / "out.png").write_bytes(finished.stdout)
    note = read_note(folder / "out.png")
    assert note is not None
    record = read_record(note, "out.png")
    assert record.picture is not None
    assert (record.picture.name, record.picture.path, record.steps_done) == ("stdin", None, 3)
    (folder / "stdin").write_bytes((folder / "bears.png").read_bytes())
    again = piped("dream", "--repeat", "out.png", "--model", "tiny.onnx", "--output", "-")
    assert again.returncode == 0, again.stderr
    np.testing.assert_array_equal(decoded(again.stdout), decoded(finished.stdout))


def test_either_end_may_be_a_file(folder: Path) -> None:
    data = (folder / "bears.png").read_bytes()
    read = piped("dream", "-", "bears.png", "--output", "dreams", *SHORT, data=data)
    assert read.returncode == 0, read.stderr
    assert {"stdin-dream.png", "stdin-dream.json", "bears-dream.png"} <= listing(folder / "dreams")
    np.testing.assert_array_equal(load(folder / "dreams/stdin-dream.png"), load(folder / "dreams/bears-dream.png"))
    written = piped("dream", "bears.png", "--output", "-", *SHORT)
    assert written.returncode == 0, written.stderr
    np.testing.assert_array_equal(decoded(written.stdout), load(folder / "dreams/bears-dream.png"))


@of_posix
def test_a_large_picture_is_complete_where_the_pipes_do_not_wait(folder: Path) -> None:
    named = piped("dream", "large.png", "--output", "named.png", *LARGE, *SHORT)
    assert named.returncode == 0, named.stderr
    for_input, for_output = os.pipe(), os.pipe()
    os.set_blocking(for_input[0], False)
    os.set_blocking(for_output[1], False)
    words = command("dream", "-", "--output", "-", *LARGE, *SHORT)
    with subprocess.Popen(words, stdin=for_input[0], stdout=for_output[1], stderr=subprocess.PIPE) as process:
        os.close(for_input[0])
        os.close(for_output[1])
        with open(for_input[1], "wb") as file:
            file.write((folder / "large.png").read_bytes())
        with open(for_output[0], "rb") as file:
            data = file.read()
        assert process.wait(100) == 0
    assert len(data) > 2**18
    np.testing.assert_array_equal(decoded(data), load(folder / "named.png"))


@of_posix
def test_a_reader_that_leaves_ends_the_dream_quietly(folder: Path) -> None:
    process = started("dream", "large.png", "--output", "-", "--quiet", *LARGE, *SHORT)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(10)) == 10
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@of_posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")
def test_a_picture_that_cannot_be_written_causes_one_line(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        words = command("dream", "bears.png", "--output", "-", "--quiet", *SHORT)
        finished = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, timeout=100, check=False)
    line = b"error: cannot write to standard output (No space left on device): write to another file\n"
    assert (finished.returncode, finished.stderr) == (1, line)


@of_posix
def test_ctrl_c_writes_the_picture_so_far(folder: Path) -> None:
    before = listing(folder)
    process = started("dream", "bears.png", "--output", "-", "--progress", "json", *LONG)
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        next(line for line in process.stderr if json.loads(line)["event"] == "step")
        process.send_signal(signal.SIGINT)
        rest, out = process.stderr.read(), process.stdout.read()
    assert process.returncode == 130
    assert decoded(out).shape == (40, 53, 3)
    (done,) = of_kind("done", events(rest))
    assert (done["ended"], done["result"]) == ("stopped", "-")
    assert "--resume" not in rest.decode()
    assert listing(folder) == before


@of_posix
def test_a_dream_of_standard_input_is_resumed_where_its_picture_was_saved(folder: Path, home: Path) -> None:
    (home / "bundles").mkdir(parents=True)
    (home / "bundles" / "tiny.onnx").write_bytes(TINY_BYTES)
    words = command("dream", "-", "--output", "dreams", "--progress", "json", "--no-extras", *LONG)
    with (folder / "bears.png").open("rb") as picture:
        process = subprocess.Popen(words, stdin=picture, stderr=subprocess.PIPE)
    with process:
        assert process.stderr is not None
        next(line for line in process.stderr if json.loads(line).get("step", 0) > 0)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 130
    resume = ("dream", "--resume", "dreams/stdin-dream.checkpoint", "--progress", "json")
    missing = piped(*resume)
    assert missing.returncode == 1
    assert "put the original next to" in events(missing.stderr)[-1]["text"]
    (folder / "bears.png").rename(folder / "dreams" / "stdin")
    process = started(*resume)
    with process:
        assert process.stderr is not None
        step = next(event for event in map(json.loads, process.stderr) if event["event"] == "step")
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 130
    assert step["step"] > 0


def test_what_is_not_a_picture_causes_one_line(folder: Path) -> None:
    whole = (folder / "large.png").read_bytes()
    for data, reason in ((b"", b"standard input is empty"), (b"no", b"is not a picture"), (whole[:999], b"stdin: ")):
        finished = piped("dream", "-", "--output", "-", "--quiet", *SHORT, data=data)
        assert (finished.returncode, finished.stdout) == (1, b"")
        assert len(finished.stderr.splitlines()) == 1
        assert reason in finished.stderr


def test_events_are_json_also_where_a_name_is_not_utf8(folder: Path) -> None:
    os.rename("bears.png", os.fsdecode(b"caf\xe9.png"))
    finished = piped("dream", os.fsdecode(b"caf\xe9.png"), "--progress", "json", *SHORT)
    assert finished.returncode == 0
    texts = [value for event in events(finished.stderr) for value in event.values() if isinstance(value, str)]
    assert "caf\\udce9.png" in texts
    assert [text.encode() for text in texts]  # no half of a surrogate pair, which UTF-8 lacks


def test_a_dream_that_diverges_is_written_and_reported(folder: Path) -> None:
    (folder / "cliff.onnx").write_bytes(cliff_bytes(0.5))
    save(folder / "dark.png", noise(20, 24) // 2)
    words = ("--steps", "50", "--step-size", "0.3", "--gradient-norm", "none", "--normalization", "backbone")
    finished = piped("dream", "dark.png", "--output", "-", "--progress", "json", "--model", "cliff.onnx", *words)
    assert finished.returncode == 1
    (error,) = of_kind("error", events(finished.stderr))
    assert "the picture before that is written to standard output" in error["text"]
    assert decoded(finished.stdout).shape == (20, 24, 3)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("-", "-"), "give - once"),
        (("-", "bears.png", "--output", "-"), "cannot hold several dreams"),
        (("bears.png", "large.png", "--output", "-"), "cannot hold several dreams"),
        (("bears.png", "--format", "jpg"), "--format is for --output -"),
        (("bears.png", "--output", "-", "--format", "bmp"), "png, jpg, webp"),
        (("bears.png", "--mask", "-"), "--mask cannot be -"),
        (("bears.png", "--film", "-"), "--film cannot be -"),
        (("bears.png", "--progress", "xml"), "--progress is auto or json"),
    ],
)
def test_what_cannot_be_piped_is_refused(words: tuple[str, ...], reason: str, folder: Path) -> None:
    before = listing(folder)
    finished = piped("dream", *words, *SHORT, data=(folder / "bears.png").read_bytes())
    errors = [line for line in finished.stderr.decode().splitlines() if line.startswith("error: ")]
    assert (finished.returncode, finished.stdout) == (2, b"")
    assert len(errors) == 1
    assert reason in errors[0]
    assert listing(folder) == before


@of_posix
@pytest.mark.parametrize(
    ("words", "stream", "reason"),
    [
        (("-",), "stdin", b"standard input is a terminal: send a picture to it"),
        (("bears.png", "--output", "-"), "stdout", b"standard output is a terminal: send the picture on"),
    ],
)
def test_a_terminal_is_neither_read_nor_filled(
    words: tuple[str, ...], stream: str, reason: bytes, folder: Path
) -> None:
    import pty

    controlling, terminal = pty.openpty()
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, stream: terminal}
    finished = subprocess.run(
        command("dream", *words, *SHORT), **streams, stderr=subprocess.PIPE, timeout=100, check=False
    )
    os.close(terminal)
    os.close(controlling)
    assert finished.returncode == 2
    assert len(finished.stderr.splitlines()) == 1
    assert reason in finished.stderr


def test_options_without_effect_are_reported(folder: Path) -> None:
    finished = piped("dream", "bears.png", "--output", "-", "--snapshots", "2", *SHORT)
    assert b"--snapshots has no effect with --output -\n" in finished.stderr


def test_a_config_file_keeps_no_pipe(folder: Path) -> None:
    options = ("--output", "-", "--format", "jpg", "--save-config", "run.toml")
    assert piped("dream", "bears.png", *options, *SHORT).returncode == 0
    assert "output" not in (folder / "run.toml").read_text()
    assert piped("dream", "bears.png", "--config", "run.toml").returncode == 0
    assert (folder / "bears-dream.png").is_file()


# Progress for other programs


def test_every_line_is_an_event(folder: Path) -> None:
    words = ("--progress", "json", "--octaves", "2", "--octave-scale", "1.3", *SHORT)
    finished = piped("dream", "bears.png", "missing.png", *words)
    assert finished.returncode == 3  # some of several
    found = events(finished.stderr)
    (error,) = of_kind("error", found)
    assert error["text"].startswith("missing.png: no such picture")
    assert {"event": "message", "text": "provider: cpu"} in found
    assert of_kind("start", found) == [{"event": "start", "picture": "bears.png", "steps": 6, "octaves": 2}]
    step = of_kind("step", found)[0]
    assert {"step": 0, "steps": 6, "octave": 1, "octaves": 2, "picture": "bears.png"}.items() <= step.items()
    assert isinstance(step["loss"], float)
    assert step["seconds_left"] is None
    (done,) = of_kind("done", found)
    assert (done["picture"], done["ended"], done["step"]) == ("bears.png", "finished", 6)
    assert done["result"] == str(folder / "bears-dream.png")
    assert [found.index(event) for event in (step, done)] == sorted(found.index(event) for event in (step, done))


def test_workers_have_their_events_sent(folder: Path) -> None:
    words = ("--workers", "2", "--output", "dreams", "--progress", "json", *SHORT)
    finished = piped("dream", "bears.png", "large.png", *words, "--max-size", "60")
    assert finished.returncode == 0
    found = events(finished.stderr)
    for name in ("bears.png", "large.png"):
        own = [event for event in found if event.get("picture") == name]
        assert [event["event"] for event in own if event["event"] != "step"] == ["start", "done"]
        assert own[0]["steps"] == own[-1]["step"] == 3
        assert {"step": 0, "steps": 3, "octave": 1}.items() <= of_kind("step", own)[0].items()
        assert own[-1]["result"] == str(folder / "dreams" / name.replace(".png", "-dream.png"))
    quiet = piped("dream", "bears.png", "large.png", *words, "--quiet", "--overwrite", "--max-size", "60")
    assert (quiet.returncode, quiet.stderr) == (0, b"")


@of_posix
def test_steps_are_shown_at_most_ten_times_a_second(folder: Path) -> None:
    process = started("dream", "bears.png", "--progress=json", "--no-extras", *LONG)
    with process:
        assert process.stderr is not None
        steps = (event for event in map(json.loads, process.stderr) if event["event"] == "step")
        shown = list(itertools.islice(steps, 4))
        process.send_signal(signal.SIGINT)
        rest = events(process.stderr.read())
    assert process.returncode == 130
    assert all(event["seconds_left"] > 0 for event in shown[1:])
    (done,) = of_kind("done", rest)
    count = len(shown) + len(of_kind("step", rest))
    assert done["step"] > count  # a step of this network takes a millisecond
    assert count <= 10 * done["seconds"] + 1


@pytest.mark.parametrize("words", [("--nothing",), ("bears.png", "--model", "missing.onnx"), ("--quiet", "-"), ()])
def test_errors_are_events_from_the_first_line(words: tuple[str, ...], folder: Path) -> None:
    finished = piped("dream", *words, "--progress", "json")
    assert finished.returncode in (1, 2)
    assert [event["event"] for event in events(finished.stderr)] == ["error"]


def test_text_in_pieces_and_numbers_that_json_lacks_are_events() -> None:
    written = io.StringIO()
    stream = EventStream(written)
    print("one", "line\n\nand \udcff", file=stream)
    stream.send("step", loss=float("nan"), seconds_left=float("inf"), step=3)
    assert written.getvalue().isascii()
    assert events(written.getvalue().encode()) == [
        {"event": "message", "text": "one line"},
        {"event": "message", "text": "and \\udcff"},
        {"event": "step", "loss": None, "seconds_left": None, "step": 3},
    ]


@of_posix
def test_no_bar_is_drawn_on_a_terminal(folder: Path) -> None:
    import pty

    controlling, terminal = pty.openpty()
    words = command("dream", "bears.png", "--output", "-", "--progress", "json", *SHORT)
    finished = subprocess.run(words, stdout=subprocess.PIPE, stderr=terminal, timeout=100, check=False)
    os.close(terminal)
    shown = b""
    with suppress(OSError), os.fdopen(controlling, "rb", buffering=0) as stream:  # it ends with an error on Linux
        while part := stream.read(2**16):
            shown += part
    assert finished.returncode == 0
    assert of_kind("step", events(shown))


def test_a_film_sends_its_frames(folder: Path) -> None:
    pytest.importorskip("av")
    words = ("--octaves", "1", "--steps-next", "1", "--seconds", "0.5", "--progress", "json")
    finished = piped("zoom", "bears.png", "zoom.mp4", *words, *SHORT)
    assert finished.returncode == 0, finished.stderr
    found = events(finished.stderr)
    assert [event["film"] for event in of_kind("start", found)] == ["zoom.mp4"]
    frame = of_kind("frame", found)[0]
    assert frame["frame"] >= 1
    assert frame["loss"] is not None
    (done,) = of_kind("done", found)
    assert (done["ended"], done["result"]) == ("finished", str(folder / "zoom.mp4"))
    assert done["frame"] == done["frames"]
