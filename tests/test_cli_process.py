"""The command line as a process: its start, its streams, its signals and its progress."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures_fixture import TINY_BYTES, Command, in_process_of_its_own, in_this_process, listing, noise, save

import onnxdream
from onnxdream.runtime.dream import progress
from onnxdream.runtime.dream.plot import can_plot

MODULE = [sys.executable, "-m", "onnxdream"]
SHORT = ("--model", "tiny.onnx", "--steps", "4", "--threads", "1", "--provider", "cpu")
of_posix = pytest.mark.skipif(os.name != "posix", reason="needs a shell and POSIX signals")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the picture bears.png and the bundle tiny.onnx in it."""
    path = tmp_path / "here"
    save(path / "bears.png", noise(40, 53))
    (path / "tiny.onnx").write_bytes(TINY_BYTES)
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    return in_this_process(capfd)


def in_shell(line: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command line of onnxdream in a line of a shell, where it stands for "$@"."""
    return subprocess.run(
        ["bash", "-c", line, "bash", *MODULE, *words],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "", **environment},  # as it is outside of containers
    )


# Start


def test_the_version_is_printed_and_the_package_runs_as_a_module(folder: Path) -> None:
    finished = subprocess.run([*MODULE, "--version"], capture_output=True, text=True, check=True, timeout=100)
    assert finished.stdout == f"onnxdream {onnxdream.__version__}\n"
    assert finished.stderr == ""


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs a file in memory")
def test_tensorflow_says_nothing_of_graphics_cards_that_are_not_there(folder: Path) -> None:
    pytest.importorskip("tensorflow", reason="needs the export extra")
    finished = in_process_of_its_own("layers", "--model", "lite0")
    finished.succeeds()
    assert "InitializeLog" not in finished.err
    assert "cuda drivers" not in finished.err


@pytest.mark.parametrize(
    "words", [(), ("dream",), ("info",), ("bench",), ("experiment",), ("experiment", "paper"), ("experiment", "run")]
)
def test_every_command_has_a_short_option_for_its_help(words: tuple[str, ...], run: Command) -> None:
    short, long = run(*words, "-h"), run(*words, "--help")
    short.succeeds()
    assert short.out == long.out
    assert "Usage: " in short.out
    assert "...]..." not in short.out


@pytest.mark.parametrize(("typed", "found"), [("dream --oct", "--octaves"), ("ver", "verify")])
def test_a_shell_completes_commands_and_options(typed: str, found: str) -> None:
    words = f"onnxdream {typed}"
    environment = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_ONNXDREAM_COMPLETE": "complete_bash"}
    program = "import sys; sys.argv[0] = 'onnxdream'; from onnxdream.cli import app; app(prog_name='onnxdream')"
    finished = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={**os.environ, **environment},
    )
    assert found in finished.stdout.split(), finished


# Streams


@of_posix
@pytest.mark.parametrize("command", [("info",), ("info", "--json"), ("--help",), ("dream", "--help"), ("--version",)])
@pytest.mark.parametrize("stream", ["/dev/full", "&-"])
def test_results_that_cannot_be_written_cause_one_line(command: tuple[str, ...], stream: str) -> None:
    if stream == "/dev/full" and not os.path.exists(stream):
        pytest.skip("there is no full device")
    finished = in_shell(f'"$@" >{stream}', *command)
    errors = "error: cannot write to standard output (No space left on device): write to another file\n"
    assert (finished.returncode, finished.stderr) == ((0, "") if stream == "&-" else (1, errors))


@of_posix
def test_a_reader_that_leaves_ends_a_command_quietly() -> None:
    finished = in_shell('exec 3> >(true); wait $!; "$@" >&3', "info")
    assert (finished.returncode, finished.stderr) == (1, "")


@of_posix
@pytest.mark.parametrize("line", ['"$@" 2>/dev/full', '"$@" 2> >(true)', '"$@" <&- >&- 2>&-', '"$@" >/dev/full 2>&1'])
def test_a_message_that_cannot_be_written_does_not_end_a_dream(line: str, folder: Path) -> None:
    finished = in_shell(line, "dream", "bears.png", *SHORT)
    assert finished.returncode == 0, finished
    assert {"bears-dream.png", "bears-dream.json"} <= listing(folder)


@of_posix
def test_a_stream_that_lacks_characters_gets_escapes(folder: Path, home: Path) -> None:
    (home / "bundles").mkdir(parents=True)
    (home / "bundles" / "träum.onnx").write_bytes(TINY_BYTES)
    save(folder / "bär 日本.png", noise(40, 53))
    info = in_shell('"$@"', "info", PYTHONIOENCODING="ascii")
    assert (info.returncode, info.stderr) == (0, "")
    assert "tr\\xe4um" in info.stdout
    dream = in_shell('"$@"', "dream", "bär 日本.png", *SHORT, PYTHONIOENCODING="ascii")
    assert dream.returncode == 0
    assert "b\\xe4r \\u65e5\\u672c.png: loss" in dream.stderr


# Signals


def interrupted(
    words: tuple[str, ...], is_time: Callable[[], bool], number: int, started_by: tuple[str, ...] = ()
) -> tuple[int, str]:
    """Starts a command, sends it a signal when it is time, and returns its exit code and its standard error."""
    process = subprocess.Popen([*started_by, *MODULE, *words], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not is_time():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=90)
    return process.returncode, err


LONG = ("dream", "bears.png", "--model", "tiny.onnx", "--steps", "1000000", "--snapshots", "1", "--film", "f.mp4")


@of_posix
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_saves_the_dream_and_leaves_no_hidden_file(name: str, code: int, folder: Path) -> None:
    is_time = (folder / "bears-dream-step0001.png").exists
    returned, err = interrupted(LONG, is_time, getattr(signal, name))
    assert returned == code, err
    assert "Traceback" not in err
    assert "continue with --resume bears-dream.checkpoint" in err
    written = listing(folder)
    assert {"bears-dream.png", "bears-dream.json", "bears-dream.checkpoint", "f.mp4"} <= written
    assert not [name for name in written if name.startswith(".")]


@of_posix
def test_under_nohup_a_closed_terminal_does_not_end_a_dream(folder: Path) -> None:
    words = ("dream", "bears.png", "--model", "tiny.onnx", "--steps", "1500", "--snapshots", "1")
    is_time = (folder / "bears-dream-step0001.png").exists
    assert interrupted(words, is_time, signal.SIGHUP, ("nohup",))[0] == 0


IN_AN_IMPORT = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "cv2":
            try:
                signal.raise_signal(signal.{signal})
            except KeyboardInterrupt:
                raise {error}("initialization failed") from None
sys.meta_path.insert(0, Interrupt())
from onnxdream.cli import app
app(["info"])
"""


@of_posix
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("error", ["ImportError", "SystemError"])  # C code turns the interruption into either
def test_a_signal_during_an_import_is_no_error(name: str, code: int, error: str) -> None:
    program = IN_AN_IMPORT.format(signal=name, error=error)
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)
    assert (finished.returncode, finished.stderr) == (code, "")


IN_A_TEXT = """
from onnxdream.cli import app
@app.command()
def interrupted() -> None:
    exec("import signal; signal.raise_signal(signal.SIGTERM)")
app(["interrupted"])
"""


@of_posix
def test_a_signal_in_a_text_that_python_executes_keeps_its_exit_code(folder: Path) -> None:
    (folder / "program.py").write_text(IN_A_TEXT)
    words = [sys.executable, "-m", "program"]
    finished = subprocess.run(words, capture_output=True, text=True, check=False, timeout=100, cwd=folder)
    assert (finished.returncode, finished.stderr) == (143, "")


# Progress


def test_without_a_terminal_lines_show_the_progress(
    run: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 1e6)
    assert "steps/s" not in run("dream", "bears.png", *SHORT).err
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    lines = run("dream", "bears.png", "--octaves", "2", *SHORT).err.splitlines()
    shown = [line for line in lines if "steps/s" in line]
    assert len(shown) == 8
    pattern = r"bears.png: step 5 of 8 \(octave 2 of 2\), loss [\d.]+, [\d.e+]+ steps/s, \d+ s left"
    assert re.fullmatch(pattern, shown[4])
    assert not [line for line in run("dream", "bears.png", "--quiet", *SHORT).err.splitlines() if "steps/s" in line]


def test_a_quiet_dream_shows_errors_only(run: Command, folder: Path) -> None:
    save(folder / "more" / "a.png", noise(40, 53))
    (folder / "more" / "b.png").write_bytes(b"no picture")
    finished = run("dream", "-q", "more", *SHORT)
    assert finished.code == 3
    assert finished.err.splitlines() == finished.errors
    assert len(finished.errors) == 1
    assert (folder / "a-dream.png").exists()


def test_a_verbose_dream_shows_its_layers_and_each_octave(run: Command) -> None:
    finished = run("dream", "bears.png", "-v", "--octaves", "2", "--layer-weights", "mid=-2", *SHORT)
    finished.succeeds()
    lines = finished.err.splitlines()
    assert "bears.png: provider cpu, 1 threads, fp32" in lines
    assert "bears.png: layers mid (-2)" in lines
    assert (
        len([line for line in lines if re.match(r"bears.png: octave [12]: \d+×\d+, loss .*provider options", line)])
        == 2
    )
    run("dream", "bears.png", "-v", "-q", *SHORT).refuses("--quiet and --verbose contradict each other")


def on_a_terminal(*words: str) -> str:
    """Runs a command whose standard error is a terminal, and returns all that it writes there."""
    pty = pytest.importorskip("pty")
    terminal, stream = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen([*MODULE, *words], stderr=stream, env=environment) as process:
        os.close(stream)
        shown = b""
        while True:
            try:
                block = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            if not block:
                break
            shown += block
    os.close(terminal)
    assert process.returncode == 0
    return shown.decode()


def test_no_line_is_printed_behind_the_bar(folder: Path) -> None:
    """Each line begins in the first column: after a line break, or after the bar has been erased."""
    save(folder / "clear.png", noise(40, 53, 4))
    text = on_a_terminal("dream", "clear.png", "-v", "--octaves", "2", "--output", "a.jpg", *SHORT)
    assert "8/8" in text
    for line in ("clear.png: octave 2", "a.jpg: ", "clear.png: loss"):
        before = text[: text.index(line)]
        assert before.endswith(("\n", "\r", "\x1b[2K")), before[-60:]


@pytest.mark.skipif(not can_plot(), reason="needs matplotlib")
def test_a_name_in_another_script_causes_no_warnings(folder: Path) -> None:
    save(folder / "日本 🦁.png", noise(40, 53))
    finished = in_process_of_its_own("dream", "日本 🦁.png", *SHORT)
    finished.succeeds()
    assert "Warning" not in finished.err
    assert "Glyph" not in finished.err
    assert (folder / "日本 🦁-dream-losses.png").exists()
