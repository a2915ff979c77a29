"""The memory of a process, where the system tells it and where it does not."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from make_tiny_bundle import TINY_PATH

from onnxdream.runtime import footprint


def test_gradients_take_memory() -> None:
    found = footprint.footprint(str(TINY_PATH), 32)
    assert 0 < found["before"] <= found["after"]


def test_a_system_that_does_not_tell_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, which has neither /proc nor the module `resource`."""

    def missing(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setitem(sys.modules, "resource", None)
    importlib.reload(footprint)
    monkeypatch.setattr(Path, "read_text", missing)
    assert footprint.peak_bytes() == 0
    with pytest.raises(OSError, match="does not tell a process's peak memory"):
        footprint.footprint(str(TINY_PATH), 32)
