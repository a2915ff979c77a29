"""How far it is from the command line to onnxruntime: what one step of a plain ascent on the CPU calls.

`python benchmarks/step_calls.py [--show]` dreams the example with the built-in bundle, and prints for its fourth step
how many functions of the package are called, how many files they lie in, how often one file calls into another, and
how many of the package's frames lie above onnxruntime when it computes. `--show` prints the calls as a tree.
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
STEP = 4  # the first ones open sessions


class Trace:
    """The package's calls while it is on: file and function of each, how deep, and the deepest above onnxruntime."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, str, str]] = []
        self.changes = 0
        self.above_onnxruntime = 0

    def on_event(self, frame: FrameType, event: str, _: Any) -> None:
        """What sys.setprofile calls."""
        if event != "call":
            return
        caller = frame.f_back
        if frame.f_code.co_name == "run_with_iobinding":
            self.above_onnxruntime = max(self.above_onnxruntime, depth(caller))
        elif is_ours(frame.f_code):
            self.calls.append((depth(frame), frame.f_code.co_filename, frame.f_code.co_qualname))
            self.changes += caller is not None and caller.f_code.co_filename != frame.f_code.co_filename

    def figures(self) -> dict[str, int]:
        files = {file for _, file, _ in self.calls}
        return {
            "calls": len(self.calls),
            "files": len(files),
            "changes of file": self.changes,
            "frames above onnxruntime": self.above_onnxruntime,
        }


def is_ours(code: CodeType) -> bool:
    """Whether a function is one of the package's, and not a comprehension or a lambda within one."""
    own = code.co_filename.startswith(PACKAGE) and not code.co_filename.startswith(f"{PACKAGE}/benchmarks")
    return own and not code.co_name.startswith("<")


def depth(frame: FrameType | None) -> int:
    """How many of the package's functions are on the stack."""
    count = 0
    while frame:
        count += is_ours(frame.f_code)
        frame = frame.f_back
    return count


def main() -> None:
    """Prints the figures as JSON."""
    trace, real = Trace(), writer.Writer.on_step

    def on_step(self: writer.Writer, step: Any) -> bool | None:
        if step.number == STEP:
            sys.setprofile(None)
        elif step.number == STEP - 1:
            sys.setprofile(trace.on_event)
        return real(self, step)

    writer.Writer.on_step = on_step  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder, suppress(SystemExit):
        words = ["dream", PICTURE, "--model", "v3-low", "--steps", 6, "--max-size", 160, "--provider", "cpu"]
        onnxdream.cli.app([*map(str, words), "--output", f"{folder}/x.png"], standalone_mode=False)
    if "--show" in sys.argv[1:]:
        least = min(deep for deep, _, _ in trace.calls)
        for deep, file, name in trace.calls:
            print(f"{'  ' * (deep - least)}{Path(file).relative_to(PACKAGE)}: {name}")
    print(json.dumps(trace.figures()))


if __name__ == "__main__":
    main()
