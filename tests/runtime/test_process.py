"""A dream leaves the process that it runs in alone: its streams, its environment, its threads and its forks."""

from __future__ import annotations

import io
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures_fixture import TINY_BYTES, noise

from onnxdream.models.child import module_command
from onnxdream.runtime import Bundle, Execution, Settings, dream
from onnxdream.runtime.provider.selection import self_test

PICTURE = noise(48, 64)
SETTINGS = Settings(steps=3, execution=Execution("cpu", 1))


@pytest.fixture(autouse=True)
def fresh_self_test() -> Iterator[None]:
    """Every test runs the self-test of the provider again, and with it what loads libraries."""
    self_test.cache_clear()
    yield
    self_test.cache_clear()


def dreamed(_: object = None) -> NDArray[np.generic]:
    """A picture dreamed with a bundle, sessions and settings of its own."""
    return dream(PICTURE, Bundle.load(TINY_BYTES), SETTINGS).picture


def test_dreams_in_threads_leave_the_streams_and_the_environment_alone(capfd: pytest.CaptureFixture[str]) -> None:
    streams, files = (sys.stdout, sys.stderr), [os.fstat(number).st_ino for number in (1, 2)]
    environment, alone, finished = dict(os.environ), dreamed(), threading.Event()
    printed = 0

    def print_lines() -> None:
        nonlocal printed
        while not finished.wait(0.001):
            print(f"line {printed}")
            printed += 1

    talker = threading.Thread(target=print_lines)
    talker.start()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(dreamed, range(8)))
    finished.set()
    talker.join()
    for result in results:
        np.testing.assert_array_equal(result, alone)
    assert (sys.stdout, sys.stderr) == streams
    assert [os.fstat(number).st_ino for number in (1, 2)] == files
    assert dict(os.environ) == environment
    assert printed > 0
    assert capfd.readouterr() == ("".join(f"line {number}\n" for number in range(printed)), "")


def test_a_dream_leaves_the_floating_point_mode_alone() -> None:
    """onnxruntime turns denormal numbers into zero for the whole thread, where it is let."""
    denormal = np.array([1e-310])
    seen = []
    dream(PICTURE, Bundle.load(TINY_BYTES), SETTINGS, lambda step: seen.append((denormal * 1.0)[0]))
    assert seen == [1e-310] * 4
    assert (denormal * 1.0)[0] == 1e-310


def test_a_provider_that_fails_leaves_the_streams_alone(broken_cuda: str, capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    dream(PICTURE, Bundle.load(TINY_BYTES), Settings(steps=1), log=lines.append)
    assert lines == [broken_cuda]
    assert capfd.readouterr() == ("", "")


def test_a_server_answers_requests_at_the_same_time_and_keeps_its_log(capfd: pytest.CaptureFixture[str]) -> None:
    class Dreaming(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = dreamed().tobytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Dreaming) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/"

        def answer(_: int) -> bytes:
            with urlopen(address, timeout=60) as response:
                return bytes(response.read())

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(answer, range(8)))
        server.shutdown()
        thread.join()
    assert set(answers) == {dreamed().tobytes()}
    assert capfd.readouterr().err.count('"GET / HTTP/1.1" 200') == 8


def test_a_notebook_s_streams_without_file_numbers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = io.StringIO()
    monkeypatch.setattr(sys, "stdout", cell)
    monkeypatch.setattr(sys, "stderr", cell)
    dreamed()
    print("done")
    assert cell.getvalue() == "done\n"


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_of_a_process_that_has_dreamed_dream_too() -> None:
    alone = dreamed()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for result in pool.map_async(dreamed, range(4)).get(timeout=100):
            np.testing.assert_array_equal(result, alone)


def test_a_child_process_imports_nothing_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("numpy", "random", "json", "runpy", "onnxruntime"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('a file of the user was run')")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(TINY_BYTES)
    command = module_command("onnxdream.runtime.bench", tmp_path / "tiny.onnx", 48, 40, "cpu", 1, "fp32", "")
    finished = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith('{"load_seconds"')


def test_the_command_line_sends_and_keeps_no_telemetry(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    finished = subprocess.run(
        module_command("onnxdream.cli", "info"),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**environment, "HOME": str(tmp_path)},
    )
    assert finished.returncode == 0, finished.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
