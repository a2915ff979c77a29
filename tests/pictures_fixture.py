"""Pictures, bundles of a few bytes, and the command line, for the tests of the runtime."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from make_tiny_bundle import TINY_LITE_PATH, TINY_PATH

from onnxdream.models.arrays import Pixels, Size
from onnxdream.models.contract import EVERYWHERE, Layer, Memory, Metadata, Weights
from onnxdream.runtime.image.formats.codec import encode_picture

TINY_BYTES, TINY_LITE_BYTES = TINY_PATH.read_bytes(), TINY_LITE_PATH.read_bytes()


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8, seed: int = 0) -> Pixels:
    """A smooth random picture [height, width, channels] with some grain; uses much, but not all, of its range."""
    random = np.random.default_rng(seed)
    coarse = random.random((4, 5, channels)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, channels)
    grain = random.random(smooth.shape).astype(np.float32)
    return ((0.1 + 0.5 * smooth + 0.2 * grain) * np.iinfo(dtype).max).astype(dtype)


def photograph(height: int, width: int) -> Pixels:
    """The rocket of the examples at a size in pixels, uint8 RGB."""
    return cv2.resize(load(Path(__file__).parents[1] / "examples" / "rocket.jpg"), (width, height))


def encode_into(path: Path, pixels: Pixels, icc: bytes | None = None, note: str | None = None) -> tuple[str, ...]:
    """Writes a picture, RGB[A], as a dream is written; returns the warnings."""
    data, warnings = encode_picture(pixels, path.suffix, icc, note)
    path.write_bytes(data)
    return warnings


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    """Makes these the only programs that there are."""
    folder.mkdir()
    for program in programs:
        (folder / program).write_bytes(b"#!/bin/sh\n")
        (folder / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def save(path: Path, pixels: Pixels) -> Path:
    """Writes a picture, RGB[A], by plain OpenCV; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = [2, 1, 0, 3][: pixels.shape[2]]
    assert cv2.imwrite(str(path), np.ascontiguousarray(pixels[..., channels]))
    return path


def load(path: Path) -> Pixels:
    """Reads a picture, RGB[A], by plain OpenCV."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, path
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def listing(folder: Path) -> set[str]:
    """The names of all files and folders in a folder, including hidden ones."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# ONNX files built in protobuf's wire format alone, for bundles that no exporter would write.


def message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """A protobuf message of fields (number, value)."""
    wire = b""
    for number, value in fields:
        if isinstance(value, int):
            wire += _varint(number << 3) + _varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            wire += _varint(number << 3 | 2) + _varint(len(content)) + content
    return wire


def _varint(number: int) -> bytes:
    wire = b""
    while number > 127:
        wire += bytes([number & 127 | 128])
        number >>= 7
    return wire + bytes([number])


def node(operator: str, inputs: str, output: str, *attributes: bytes) -> bytes:
    """An ONNX node with its inputs, separated by spaces, and one output."""
    return message(*((1, name) for name in inputs.split()), (2, output), (4, operator), *((5, a) for a in attributes))


def integer(name: str, value: int) -> bytes:
    """An attribute of a node, an integer."""
    return message((1, name), (3, value), (20, 2))


def integers(name: str, *values: int) -> bytes:
    """An attribute of a node, a list of integers."""
    return message((1, name), *((8, value) for value in values), (20, 7))


def constant(name: str, value: float | Sequence[Sequence[float]]) -> bytes:
    """An initializer, float32 [1] or two-dimensional."""
    array = np.array(value, np.float32)
    dimensions = [(1, side) for side in array.shape or (1,)]
    return message(*dimensions, (2, 1), (8, name), (9, array.tobytes()))


def value(name: str, *shape: int | str, kind: int = 1) -> bytes:
    """An input or output of a graph; kind 1 is float32, 7 int64."""
    dimensions = [(1, message((1, side) if isinstance(side, int) else (2, side))) for side in shape]
    return message((1, name), (2, message((1, message((1, kind), (2, message(*dimensions)))))))


IMAGE = value("image", "batch", 3, "height", "width")
LAYER_WEIGHTS = value("layer_weights", 1)
CHANNEL_WEIGHTS = value("channel_weights", "weights_batch", 1)
POSITION = value("position", 1, 3)
DEFAULTS = constant("channel_weights", [[1]]), constant("position", [EVERYWHERE])
LOSSES = value("losses", "batch", 1)
GRADIENT = value("gradient", "batch", 3, "height", "width")
CHANNEL_MEANS = value("channel_means", "batch", 1)
# All these bundles have one channel, the mean of the picture, and its loss.
PLANES = node("ReduceMean", "image", "planes", integers("axes", 2, 3), integer("keepdims", 0))
CHANNEL = node("ReduceMean", "planes", "channel_means", integers("axes", 1), integer("keepdims", 1))
MEAN = (PLANES, CHANNEL, node("Mul", "channel_means channel_weights", "losses"))


def facts(layers: int = 1) -> Metadata:
    """The metadata of a bundle built here."""
    return Metadata(
        backbone="hand",
        layers=tuple(Layer(f"layer{number}", 1, 1) for number in range(layers)),
        objective="mean",
        smallest_size=Size(1, 1),
        weights=Weights("random", "", ""),
        precision="fp32",
        opset=17,
        exporter={},
        verification=(),
        border=0,
        memory=Memory(fixed=0.0, per_pixel=1000.0),
    )


def bundle_bytes(
    nodes: Sequence[bytes],
    inputs: Sequence[bytes] = (IMAGE, LAYER_WEIGHTS, CHANNEL_WEIGHTS, POSITION),
    outputs: Sequence[bytes] = (LOSSES, GRADIENT, CHANNEL_MEANS),
    constants: Sequence[bytes] = DEFAULTS,
    metadata: str | None = None,
    ir_version: int = 8,
    opset: int = 17,
) -> bytes:
    """A whole ONNX file of these parts, with metadata (by default those of `facts`)."""
    parts = (1, nodes), (5, constants), (11, inputs), (12, outputs)
    graph = message((2, "hand"), *((number, part) for number, several in parts for part in several))
    entry = message((1, "onnxdream"), (2, facts().to_json() if metadata is None else metadata))
    return message((1, ir_version), (7, graph), (8, message((1, ""), (2, opset))), (14, entry))


def cliff_bytes(height: float) -> bytes:
    """A bundle whose gradient is sqrt(height - image): NaN where the image exceeds the height."""
    nodes = (
        *MEAN,
        node("Sub", "height_of_cliff image", "difference"),
        node("Sqrt", "difference", "root"),
        node("Mul", "root layer_weights", "gradient"),
    )
    return bundle_bytes(nodes, constants=[*DEFAULTS, constant("height_of_cliff", height)])


# The command line, in this process and in another one.


@dataclass(frozen=True)
class Finished:
    """The exit code and the output of a command that has ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines of standard error that report an error."""
        return [line for line in self.err.splitlines() if line.startswith("error:")]

    def refuses(self, *words: str) -> None:
        """Asserts that one line reports an error, with these words in it, and that nothing looks like a crash."""
        assert self.code in (1, 2), self
        assert len(self.errors) == 1, self.err
        assert "Traceback" not in self.err
        assert not self.out
        for word in words:
            assert word in self.errors[0]

    def succeeds(self) -> None:
        """Asserts that the command succeeded and reported no error."""
        assert self.code == 0, self
        assert not self.errors


Command = Callable[..., Finished]


def in_this_process(capture: pytest.CaptureFixture[str]) -> Command:
    """A function that runs a command line in this process; `capture` is the fixture capfd."""

    def run(*words: str | Path) -> Finished:
        from onnxdream.cli import app

        capture.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            app([str(word) for word in words], prog_name="onnxdream")
        out, err = capture.readouterr()
        code = exit_info.value.code
        return Finished(code if isinstance(code, int) else int(code is not None), out, err)

    return run


def in_process_of_its_own(*words: str | Path, **environment: str) -> Finished:
    """Runs a command line in another process, as a user does."""
    finished = subprocess.run(
        [sys.executable, "-m", "onnxdream.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, **environment},
    )
    return Finished(finished.returncode, finished.stdout, finished.stderr)


def in_limited_files(max_bytes: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a program that cannot write files larger than `max_bytes`, as if the disk were full."""
    import resource
    import signal

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))

    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=100, check=False, preexec_fn=limit
    )


def frames(path: Path) -> list[Pixels]:
    """All frames of a film, uint8 RGB."""
    film = cv2.VideoCapture(str(path))
    assert film.isOpened()
    pictures = []
    while True:
        has_frame, frame = film.read()
        if not has_frame:
            return pictures
        pictures.append(frame[..., ::-1])
