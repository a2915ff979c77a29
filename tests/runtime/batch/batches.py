"""Folders of pictures to dream, and what a manifest says of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pictures_fixture import noise, save

from onnxdream.runtime.batch.receipts import MANIFEST
from onnxdream.runtime.batch.run import Reporter
from onnxdream.runtime.image.source import Source


def pictures(folder: Path, count: int, height: int = 30, width: int = 40) -> list[Path]:
    """Writes that many pictures of a size."""
    return [save(folder / f"{number:02}.png", noise(height, width, seed=number)) for number in range(count)]


def sources(paths: list[Path]) -> list[Source]:
    return [Source(path) for path in paths]


def states(folder: Path) -> Counter[str]:
    """How often each state is in the manifest of a folder."""
    return Counter(json.loads(line)["state"] for line in (folder / MANIFEST).read_text().splitlines())


def have_state(folder: Path, state: str, count: int) -> bool:
    """Whether that many pictures have had a state, as far as the manifest of a folder is written."""
    manifest = folder / MANIFEST
    return manifest.exists() and manifest.read_text().endswith("\n") and states(folder)[state] >= count


def done(folder: Path) -> list[str]:
    """The names of the pictures that the manifest counts as done, sorted; one that was done twice is there twice."""
    written = (folder / MANIFEST).read_text().rpartition("\n")[0]  # the last line may be half there
    receipts = [json.loads(line) for line in written.splitlines()]
    return sorted(Path(one["file"]).name for one in receipts if one["state"] == "done")


class Lines:
    """Collects what a call reports; `on_line` sees each line at once."""

    def __init__(self, on_line: Callable[[str], None] = lambda line: None) -> None:
        self.log: list[str] = []
        self.errors: list[str] = []
        self._on_line = on_line

    def reporter(self, hint: str | None = None) -> Reporter:
        def log(line: str) -> None:
            self.log.append(line)
            self._on_line(line)

        return Reporter(log, self.errors.append, hint=hint)
