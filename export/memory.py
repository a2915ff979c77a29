"""The memory that a bundle needs, measured by running it as the runtime does."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from ..models.child import module_command
from ..models.contract import Memory

# The heights and widths of the images that are run, in pixels.
_SIDES = (256, 512)


def estimate(parameters: int) -> Memory:
    """Returns an upper estimate for a bundle with `parameters` weights; all measured bundles need much less."""
    return Memory(fixed=1e8 + 40.0 * parameters, per_pixel=4000.0)


def measure(bundle: bytes) -> Memory | None:
    """Measures the memory of a bundle, from which the runtime derives the size of its tiles.

    Each image size runs in a new process, since TensorFlow has enlarged this one. Returns None if the operating system
    does not report the memory of a process, or if there is no temporary folder to pass the bundle in.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bundle.onnx"
            path.write_bytes(bundle)
            found = [_footprint(path, side) for side in _SIDES]
    except OSError:
        return None
    if None in found:
        return None
    (before, small), (_, large) = found  # type: ignore[misc]
    pixels = [side * side for side in _SIDES]
    per_pixel = max(1.0, (large - small) / (pixels[1] - pixels[0]))
    return Memory(fixed=max(0.0, small - before - per_pixel * pixels[0]), per_pixel=per_pixel)


def _footprint(path: Path, side: int) -> tuple[int, int] | None:
    """Returns the peak memory of a new process in bytes, before it loads a bundle and after it has run an image."""
    command = module_command("onnxdream.runtime.footprint", path, side)
    try:
        answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return answer["before"], answer["after"]
