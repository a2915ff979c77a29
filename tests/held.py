"""Dreams that wait amid their work, so that a test can act there however slow or fast this machine is.

What waits is named by files in the folder `hold` beside its output: a picture by the name of its file, a shot by that
of its folder, a film by its own. A picture waits before its first step, a film or a shot after the frame whose number
is in the file, and after each that follows. It goes on when the file is gone, or when it is told to stop.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from onnxdream.runtime.batch import cluster, executor, node, worker
from onnxdream.runtime.film import parts
from onnxdream.runtime.film.apart import driver
from onnxdream.runtime.film.apart.worker import ShotDreamer, ShotFrame

# The command line, held where a test has said so.
COMMAND = [
    sys.executable,
    "-c",
    "import held; held.hold_all(); from onnxdream.cli import app; app(prog_name='onnxdream')",
]


def environment() -> dict[str, str]:
    """The environment in which `COMMAND` finds this module."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def hold(folder: Path, name: str, number: int = 0) -> Path:
    """Has what is written into a folder, or into a folder in it, wait; returns the file that is removed to go on."""
    path = folder / "hold" / name
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f"{name}.part")
    part.write_text(str(number))
    return part.replace(path)


def hold_all(patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """Lets pictures, films and shots wait that are dreamed from now on."""
    patch(executor, "PictureDreamer", PictureDreamer)
    patch(executor, "dream_at_terminal", _at_terminal)
    patch(cluster, "NodeWorker", NodeWorker)
    patch(driver, "ShotDreamer", HeldShots)
    patch(parts.Parts, "add", _add)


def _wait(path: Path, number: int = 0, stops: Callable[[], object] = lambda: False) -> None:
    while not stops():
        with suppress(FileNotFoundError):
            if number >= int(path.read_text()):
                time.sleep(0.01)
                continue
        return


def _telling(tell: Callable[[Any], None], assignment: Any, stops: Callable[[], object]) -> Callable[[Any], None]:
    def telling(message: object) -> None:
        tell(message)
        if isinstance(message, str) and "→" in message:  # the first line on each picture, with its sizes
            _wait(assignment.result.parent.parent / "hold" / assignment.source.name, 0, stops)

    return telling


class PictureDreamer(worker.PictureDreamer):
    def __call__(self, assignment: Any, tell: Any, stops: Any) -> Any:
        return super().__call__(assignment, _telling(tell, assignment, stops), stops)


class NodeWorker(node.NodeWorker):  # the processes of a cluster are known by its name
    def _dream(self, assignment: Any, parcel: Any, tell: Any) -> Any:
        return super()._dream(assignment, parcel, _telling(tell, assignment, self._stops.is_set))


class HeldShots(ShotDreamer):
    def __call__(self, section: Any, tell: Any, stops: Any) -> Any:
        hold = self._film.output.parent / "hold" / parts.shot_name(section.number)

        def telling(message: object) -> None:
            tell(message)
            if isinstance(message, ShotFrame):
                _wait(hold, message.number, stops)

        return super().__call__(section, telling, stops)


_DREAM_AT_TERMINAL, _ADD = executor.dream_at_terminal, parts.Parts.add


def _at_terminal(job: Any, source: Any, log: Any, interrupted: Any, checkpoint: Any, verbosity: Any) -> Any:
    def logging(line: str) -> None:
        log(line)
        if "→" in line:
            _wait(job.output.parent.parent / "hold" / source.name, 0, interrupted)

    return _DREAM_AT_TERMINAL(job, source, logging, interrupted, checkpoint, verbosity)


def _add(self: parts.Parts, frame: Any, state: Any) -> None:
    _ADD(self, frame, state)
    written = len(self._segment.losses) if self._segment else 0
    _wait(self.path.parent / "hold" / self.path.name, self.record.frames + written)
