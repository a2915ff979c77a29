"""Measures the studio against a real server: `python benchmarks/studio.py [--jobs 200]` prints a table.

How soon the page, the first frame and a stop come, how soon a change shows, what a dream costs beside the command
line, and whether memory grows over many dreams.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "examples" / "cat.jpg"
LOOK = "creatures"
ROUNDS = 5


class Page:
    """What a page does, over HTTP and a live connection."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.live: Any = None

    def ask(self, method: str, path: str, data: Any = None, kind: str = "application/json") -> Any:
        body = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
        request = urllib.request.Request(f"{self.address}{path}", body, {"Content-Type": kind}, method=method)
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text[:1] in (b"{", b"[") else text

    def upload(self, path: Path) -> str:
        mark = uuid.uuid4().hex
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
        body = head.encode() + path.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        identifier: str = self.ask("POST", "/api/pictures", body, f"multipart/form-data; boundary={mark}")["id"]
        return identifier

    def begin(self, picture: str, **settings: Any) -> Any:
        asked = {"request": uuid.uuid4().hex, "picture": picture, "look": LOOK, "settings": settings}
        return self.ask("POST", "/api/jobs", asked)

    def messages(self) -> Iterator[Any]:
        """Yields what comes over the live connection: objects, and the headers of frames."""
        while True:
            message = self.live.recv(timeout=600)
            if isinstance(message, str):
                yield json.loads(message)
            else:
                (length,) = struct.unpack(">I", message[:4])
                yield {"type": "frame", **json.loads(message[4 : 4 + length])}

    def until(self, is_wanted: Callable[[Any], bool]) -> Any:
        return next(message for message in self.messages() if is_wanted(message))

    def finish(self, job: Any) -> Any:
        ended = ("finished", "stopped", "failed", "diverged")
        return self.until(lambda one: one.get("job", {}) and _is(one, job) and one["job"]["state"] in ended)["job"]


def _is(message: Any, job: Any) -> bool:
    return bool(message["type"] == "job" and message["job"]["id"] == job["id"])


@contextmanager
def studio(folder: Path) -> Iterator[tuple[Page, subprocess.Popen[str], float]]:
    """A running studio, and the seconds until it printed its address."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "onnxdream", "studio", "--port", "0", "--no-browser", "--folder", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    address = next(line for line in process.stderr if " is at " in line).split(" is at ")[1].split("/ ")[0]
    page = Page(address)
    try:
        with connect(address.replace("http", "ws") + "/api/live", max_size=None) as page.live:
            yield page, process, time.perf_counter() - started
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def first_frame(page: Page, picture: str) -> float:
    """Seconds from the request to the first frame of a step; the picture itself comes before."""
    started = time.perf_counter()
    job = page.begin(picture)
    page.live.send(json.dumps({"type": "watch", "job": job["id"]}))
    page.until(lambda one: one["type"] == "frame" and one["job"] == job["id"] and one["seq"] > 1)
    seconds = time.perf_counter() - started
    page.finish(job)
    return seconds


def stop(page: Page, picture: str) -> tuple[float, float]:
    """Seconds from the request to stop to its answer over the live connection, and those of a step then."""
    job = page.begin(picture, steps=1000)
    page.live.send(json.dumps({"type": "watch", "job": job["id"]}))
    page.until(lambda one: _is(one, job) and one["job"]["step"] > 20)
    before = page.ask("GET", f"/api/jobs/{job['id']}")
    step = before["seconds"] / before["step"]
    started = time.perf_counter()
    page.ask("POST", f"/api/jobs/{job['id']}/stop")
    page.finish(job)
    return time.perf_counter() - started, step


def change(page: Page, picture: str) -> int:
    """The steps between a change that was asked for and its effect, at full size: a page hears of a step 50 ms late."""
    job = page.begin(picture, steps=1000, octaves=1)
    page.until(lambda one: _is(one, job) and one["job"]["step"] > 5)
    step = page.ask("PATCH", f"/api/jobs/{job['id']}", {"settings": {"step_size": 0.01}})["step"]
    found = page.until(lambda one: _is(one, job) and one["job"]["changes"])["job"]
    page.ask("POST", f"/api/jobs/{job['id']}/stop")
    page.finish(job)
    return int(found["changes"][0]["step"]) + 1 - step


def cost(page: Page, picture: str, folder: Path, studio_first: bool) -> float:
    """The seconds of a dream that is watched divided by those of the command line's, by their records."""
    runs = (lambda: _watched(page, picture), lambda: _by_command(folder))
    first, second = (run() for run in (runs if studio_first else reversed(runs)))
    return first / second if studio_first else second / first


def _watched(page: Page, picture: str) -> float:
    job = page.begin(picture)
    page.live.send(json.dumps({"type": "watch", "job": job["id"]}))
    page.finish(job)
    found = page.ask("GET", f"/api/jobs/{job['id']}")
    return float(page.ask("GET", found["results"]["record"])["seconds"])


def _by_command(folder: Path) -> float:
    command = [sys.executable, "-m", "onnxdream", "dream", str(PICTURE), "--preset", LOOK, "--output", str(folder)]
    subprocess.run([*command, "--overwrite", "--quiet"], check=True)
    return float(json.loads((folder / f"{PICTURE.stem}-dream.json").read_text())["seconds"])


def memory(process: subprocess.Popen[str]) -> float:
    """The memory of the studio and its workers in megabytes."""
    total = 0
    for name in (name for name in os.listdir("/proc") if name.isdecimal()):
        try:
            status = Path(f"/proc/{name}/status").read_text()
        except OSError:
            continue
        facts = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if int(name) == process.pid or int(facts["PPid"]) == process.pid:
            total += int(facts.get("VmRSS", "0 kB").split()[0])
    return total / 1e3


def rows(jobs: int) -> Iterator[tuple[str, str, str]]:
    """Yields what was measured, its value and its goal."""
    with tempfile.TemporaryDirectory() as name, studio(Path(name) / "studio") as (page, process, start):
        yield "start to address", f"{start:.2f} s", ""
        started = time.perf_counter()
        page.ask("GET", "/")
        yield "first byte of the page", f"{time.perf_counter() - started:.3f} s", ""
        picture = page.upload(PICTURE)
        yield "first dream: first frame of a step", f"{first_frame(page, picture):.2f} s", ""
        frames = [first_frame(page, picture) for _ in range(ROUNDS)]
        yield "warm: first frame of a step", f"{statistics.median(frames):.2f} s", "1 s"
        stops = [stop(page, picture) for _ in range(ROUNDS)]
        slowest, step = max(stops)
        yield "stop", f"{slowest:.2f} s", f"{step + 0.2:.2f} s (a step and 200 ms)"
        yield "change shows after", f"{max(change(page, picture) for _ in range(ROUNDS))} steps", "2 steps"
        ratios = [cost(page, picture, Path(name) / "cli", number % 2 == 0) for number in range(2 * ROUNDS)]
        yield "cost of a watched dream", f"{statistics.median(ratios):.3f} x the command line", "1.05 x"
        for count in range(jobs):
            page.finish(page.begin(picture, steps=1, octaves=1))
            if count in (jobs // 10, jobs - 1):
                yield f"memory after {count + 1} dreams", f"{memory(process):.0f} MB", "does not grow"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200, help="dreams over which memory is watched")
    for row in rows(parser.parse_args().jobs):
        print("{:40} {:>28}   {}".format(*row), flush=True)


if __name__ == "__main__":
    main()
