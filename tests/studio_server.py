"""A studio for tests: a real server in a process of its own, and a page's requests to it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from make_tiny_bundle import TINY_PATH
from numpy.typing import NDArray

for package in ("starlette", "uvicorn", "websockets", "python_multipart"):
    pytest.importorskip(package, reason="needs the extra studio")

SECONDS = 60.0  # how long anything is waited for
# A dream of the tiny bundle that takes a few steps, and one that does not end by itself.
SHORT: dict[str, Any] = {"steps": 6, "step_size": 0.02, "max_size": 64, "octaves": 2, "snapshots": []}
ENDLESS: dict[str, Any] = {**SHORT, "steps": 1_000_000, "step_size": 1e-6}


@dataclass(frozen=True)
class Answer:
    """The answer to a request: its status, its headers in lower case, and its bytes."""

    status: int
    headers: dict[str, str]
    data: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def picture(width: int = 64, height: int = 48, suffix: str = ".png") -> bytes:
    """The bytes of a picture file with a few shapes."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)
    pixels[..., 1] = np.linspace(255, 0, height)[:, None]
    cv2.circle(pixels, (width // 2, height // 2), height // 4, (255, 255, 255), 2)
    return bytes(cv2.imencode(suffix, pixels)[1])


def decoded(data: bytes) -> NDArray[Any]:
    """The pixels of a picture file."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


class Server:
    """A running studio."""

    def __init__(self, folder: Path, home: Path, *words: str) -> None:
        (home / "bundles").mkdir(parents=True, exist_ok=True)
        shutil.copy(TINY_PATH, home / "bundles" / "tiny.onnx")
        self.folder = folder
        self.environment = {**os.environ, "ONNXDREAM_HOME": str(home), "OPENBLAS_NUM_THREADS": "1"}
        command = ["studio", "--port", "0", "--no-browser", "--threads", "1", "--folder", str(folder), *words]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "onnxdream", *command], stderr=subprocess.PIPE, env=self.environment, text=True
        )
        self.lines: list[str] = []
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line.strip())
            if " is at " in line:
                break
        self.address = self.lines[-1].split(" is at ")[1].split()[0] if self.process.poll() is None else ""
        self.host = self.address.split("/")[2] if self.address else ""

    def kill(self) -> None:
        """Kills it as the system does where memory runs out."""
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Ends it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=SECONDS)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Sends a request as the page does; a body that is not bytes is sent as JSON."""
        connection = http.client.HTTPConnection(self.host, timeout=SECONDS)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            sent.setdefault("content-type", "application/json")
            body = json.dumps(body).encode()
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def upload(self, data: bytes, name: str = "shapes.png", role: str = "picture", **headers: str) -> Answer:
        """Uploads a picture as a form does."""
        boundary = uuid.uuid4().hex
        escaped = name.replace('"', "%22")
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="role"\r\n\r\n{role}\r\n'.encode()]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{escaped}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode()
        )
        body = b"".join([*parts, data, f"\r\n--{boundary}--\r\n".encode()])
        return self.ask(
            "POST", "/api/pictures", body, content_type=f"multipart/form-data; boundary={boundary}", **headers
        )

    def picture(self, **more: Any) -> str:
        """Uploads a picture; returns its identifier."""
        identifier: str = self.upload(picture(**more)).json["id"]
        return identifier

    def begin(self, picture: str | None = None, settings: dict[str, Any] | None = None, **more: Any) -> Any:
        """Begins a dream of the tiny bundle; returns the job."""
        asked = {"picture": picture or self.picture(), "bundle": "tiny", "settings": settings or SHORT, **more}
        answer = self.ask("POST", "/api/jobs", asked)
        assert answer.status in (200, 201), answer.json
        return answer.json

    def job(self, job: Any) -> Any:
        return self.ask("GET", f"/api/jobs/{job['id']}").json

    def act(self, job: Any, action: str) -> Answer:
        return self.ask("POST", f"/api/jobs/{job['id']}/{action}")

    def change(self, job: Any, **settings: Any) -> Answer:
        return self.ask("PATCH", f"/api/jobs/{job['id']}", {"settings": settings})

    def wait(self, job: Any, *states: str, until: Callable[[Any], bool] = lambda job: True) -> Any:
        """Waits until a job has one of the states and a condition holds; returns it."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            found = self.job(job)
            if found["state"] in states and until(found):
                return found
            assert found["state"] != "failed" or "failed" in states, found["error"]
            time.sleep(0.02)
        raise AssertionError(f"{found['state']} at step {found['step']}: {found['error']}")

    def finish(self, job: Any) -> Any:
        return self.wait(job, "finished")

    def remove_all(self) -> None:
        """Removes all jobs, so that tests that share a server do not wait for each other."""
        for job in self.ask("GET", "/api/jobs").json["jobs"]:
            self.ask("DELETE", f"/api/jobs/{job['id']}")

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the studio's surroundings."""
        command = [sys.executable, "-m", "onnxdream", *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)

    @contextmanager
    def live(self, **more: Any) -> Iterator[Live]:
        """A live connection, as a page has it."""
        from websockets.sync.client import connect

        with connect(f"ws://{self.host}/api/live", max_size=None, **more) as socket:
            yield Live(socket)


class Live:
    """A live connection: what comes over it."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    def receive(self, seconds: float = SECONDS) -> Any:
        """Returns the next message: an object, or the header and the JPEG of a frame."""
        message = self.socket.recv(timeout=seconds)
        if isinstance(message, str):
            return json.loads(message)
        (length,) = struct.unpack(">I", message[:4])
        return json.loads(message[4 : 4 + length]), message[4 + length :]

    def watch(self, job: Any) -> None:
        self.socket.send(json.dumps({"type": "watch", "job": job and job["id"]}))

    def until(self, is_wanted: Callable[[Any], bool]) -> list[Any]:
        """Receives messages up to the first that is wanted; returns them all."""
        found = []
        while not found or not is_wanted(found[-1]):
            found.append(self.receive())
        return found


def is_frame(message: Any) -> bool:
    return isinstance(message, tuple)


def is_state(state: str) -> Callable[[Any], bool]:
    """Whether a message says that a job is in a state."""
    return lambda message: isinstance(message, dict) and message.get("job", {}).get("state") == state


@contextmanager
def running(folder: Path, *words: str) -> Iterator[Server]:
    """A studio that ends with the block."""
    server = Server(folder / "studio", folder / "home", *words)
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            if server.process.poll() is None:
                server.close()


def children(parent: int) -> list[int]:
    """The workers that a process has started, the oldest first; their numbers say nothing where those begin again."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="latin-1") as file:
                facts = re.split(r"\) ", file.read())[-1].split()
            with open(f"/proc/{name}/cmdline", "rb") as line:
                words = line.read()
        except OSError:
            continue
        if int(facts[1]) == parent and b"spawn_main" in words:
            found.append((int(facts[19]), int(name)))  # when it was started
    return [number for _, number in sorted(found)]
