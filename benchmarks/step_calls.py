"""Counts what one step of a plain ascent on the CPU calls between the command line and onnxruntime.

`python benchmarks/step_calls.py [--show]` dreams the example with the built-in bundle. For the fourth step it prints
how many functions of the package are called, how many files these are in, how often one file calls another, and how
many functions of the package are on the call stack when onnxruntime computes. `--show` prints the calls as a tree.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import onnxdream.cli
from onnxdream.runtime.dream import writer

PACKAGE = str(Path(onnxdream.cli.__file__).parent)
PICTURE = Path(PACKAGE) / "examples" / "bears.jpg"
STEP = 4  # the first steps also open sessions


class Trace:
    """Records the calls of the package's functions: `calls` are their depth, file and name."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, str, str]] = []
        self.changes = 0
        self.above_onnxruntime = 0

    def on_event(self, frame: FrameType, event: str, _: Any) -> None:
        """Records a call; the function for sys.setprofile."""
        if event != "call":
            return
        caller = frame.f_back
        if frame.f_code.co_name == "run_with_iobinding":
            self.above_onnxruntime = max(self.above_onnxruntime, depth(caller))
        elif is_in_package(frame.f_code):
            self.calls.append((depth(frame), frame.f_code.co_filename, frame.f_code.co_qualname))
            self.changes += caller is not None and caller.f_code.co_filename != frame.f_code.co_filename

    def figures(self) -> dict[str, int]:
        """Returns the counts, as printed."""
        files = {file for _, file, _ in self.calls}
        return {
            "calls": len(self.calls),
            "files": len(files),
            "changes of file": self.changes,
            "frames above onnxruntime": self.above_onnxruntime,
        }


def is_in_package(code: CodeType) -> bool:
    """Whether a function belongs to the package and is not a comprehension or a lambda."""
    in_package = code.co_filename.startswith(PACKAGE) and not code.co_filename.startswith(f"{PACKAGE}/benchmarks")
    return in_package and not code.co_name.startswith("<")


def depth(frame: FrameType | None) -> int:
    """Returns how many of the package's functions are on the call stack."""
    count = 0
    while frame:
        count += is_in_package(frame.f_code)
        frame = frame.f_back
    return count


def main() -> None:
    """Dreams the example and prints the figures as JSON."""
    trace, original = Trace(), writer.Writer.on_step

    def on_step(self: writer.Writer, step: Any) -> bool | None:
        if step.number == STEP:
            sys.setprofile(None)
        elif step.number == STEP - 1:
            sys.setprofile(trace.on_event)
        return original(self, step)

    writer.Writer.on_step = on_step  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder, suppress(SystemExit):
        argv = ["dream", PICTURE, "--model", "v3-low", "--steps", 6, "--max-size", 160, "--provider", "cpu"]
        onnxdream.cli.app([*map(str, argv), "--output", f"{folder}/x.png"], standalone_mode=False)
    if "--show" in sys.argv[1:]:
        min_depth = min(level for level, _, _ in trace.calls)
        for level, file, name in trace.calls:
            print(f"{'  ' * (level - min_depth)}{Path(file).relative_to(PACKAGE)}: {name}")
    print(json.dumps(trace.figures()))


if __name__ == "__main__":
    main()
