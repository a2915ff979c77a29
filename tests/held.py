"""Dreams that wait amid their work, so that a test can act there however slow or fast this machine is.

What waits is named by files in the folder `hold` beside its output: a picture by the name of its file, a shot by that
of its folder, a film by its own. It waits after the step or the frame whose number is in the file, and after each that
follows, until the file is gone or it is told to stop.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from onnxdream.runtime.batch import cluster, executor, node, worker
from onnxdream.runtime.film import parts
from onnxdream.runtime.film.apart import driver
from onnxdream.runtime.film.apart.worker import ShotDreamer, ShotFrame

Stops = Callable[[], Any]

_PROGRAM = "import held; held.hold_all(); from onnxdream.cli import app; app(prog_name='onnxdream')"
# The command line, which waits where a test has said so.
COMMAND = [sys.executable, "-c", _PROGRAM]


def environment() -> dict[str, str]:
    """The environment in which `COMMAND` finds this module."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def hold(folder: Path, name: str, number: int = 0) -> Path:
    """Has what is written into this folder, or a picture that is written into one in it, wait; returns the file."""
    path = folder / "hold" / name
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f"{name}.part")
    part.write_text(str(number))
    return part.replace(path)


def hold_all(patch: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on, what this process and those that it starts dream waits where it is held."""
    patch(executor, "PictureDreamer", PictureDreamer)
    patch(executor, "dream_at_terminal", _at_terminal)
    patch(cluster, "NodeWorker", NodeWorker)
    patch(driver, "ShotDreamer", HeldShots)
    patch(parts.Parts, "add", _add)


def _wait(path: Path, number: int, stops: Stops = lambda: False) -> None:
    while not stops():
        with suppress(FileNotFoundError):
            if number >= int(path.read_text()):
                time.sleep(0.01)
                continue
        return


def _waiting(stops: Stops, output: Path, name: str) -> Stops:
    """What a dream asks at each step: whether it has to stop."""
    numbers = count()

    def waiting() -> Any:
        _wait(output.parent / "hold" / name, next(numbers), stops)
        return stops()

    return waiting


class PictureDreamer(worker.PictureDreamer):
    def __call__(self, assignment: Any, tell: Any, stops: Any) -> Any:
        return super().__call__(assignment, tell, _waiting(stops, assignment.result.parent, assignment.source.name))


class NodeWorker(node.NodeWorker):  # the processes of a cluster are known by its name
    def _dream(self, assignment: Any, parcel: Any, tell: Any) -> Any:
        stops = _waiting(self._stops.is_set, assignment.result.parent, assignment.source.name)
        before, self._stops = self._stops, _Waiting(self._stops, stops)
        try:
            return super()._dream(assignment, parcel, tell)
        finally:
            self._stops = before


class _Waiting(threading.Event):
    """The event of another one, for which a dream waits where it is held."""

    def __init__(self, event: threading.Event, is_set: Stops) -> None:
        super().__init__()
        self.set, self.is_set = event.set, is_set  # type: ignore[method-assign]


class HeldShots(ShotDreamer):
    def __call__(self, section: Any, tell: Any, stops: Any) -> Any:
        path = self._film.output.parent / "hold" / parts.shot_name(section.number)

        def telling(message: object) -> None:
            tell(message)
            if isinstance(message, ShotFrame):
                _wait(path, message.number, stops)

        return super().__call__(section, telling, stops)


_DREAM_AT_TERMINAL, _ADD = executor.dream_at_terminal, parts.Parts.add


def _at_terminal(job: Any, source: Any, log: Any, interrupted: Any, checkpoint: Any, verbosity: Any) -> Any:
    waiting = _waiting(interrupted, job.output.parent, source.name)
    return _DREAM_AT_TERMINAL(job, source, log, waiting, checkpoint, verbosity)


def _add(self: parts.Parts, frame: Any, state: Any) -> None:
    _ADD(self, frame, state)
    written = len(self._segment.losses) if self._segment else 0
    _wait(self.path.parent / "hold" / self.path.name, self.record.frames + written)
