"""What a bundle takes in memory, measured by running it as the runtime does."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from ..models.child import module_command
from ..models.contract import Memory

_SIDES = (256, 512)


def assumed(parameters: int) -> Memory:
    """What a bundle with that many weights is said to take where it is not measured: well above all that were."""
    return Memory(fixed=1e8 + 40.0 * parameters, per_pixel=4000.0)


def measure(bundle: bytes) -> Memory | None:
    """Bytes for loading a bundle and for each pixel; None where the system does not tell a process's memory.

    The runtime plans its tiles with it. Each size runs in a process of its own, outside this one, which TensorFlow
    has made large.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle.onnx"
        path.write_bytes(bundle)
        found = [_footprint(path, side) for side in _SIDES]
    if None in found:
        return None
    (before, small), (_, large) = found  # type: ignore[misc]
    pixels = [side * side for side in _SIDES]
    per_pixel = max(1.0, (large - small) / (pixels[1] - pixels[0]))
    return Memory(fixed=max(0.0, small - before - per_pixel * pixels[0]), per_pixel=per_pixel)


def _footprint(path: Path, side: int) -> tuple[int, int] | None:
    command = module_command("onnxdream.runtime.footprint", path, side)
    try:
        answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return answer["before"], answer["after"]
