"""Whether a node can dream, from its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from onnxdream import __version__
from onnxdream.runtime.cluster.nodes import require_fit
from onnxdream.runtime.errors import ClusterError

LOCK = Path("/share/out/run.lock")
FIT = {"onnxdream": __version__, "onnxruntime": ort.__version__, "budget": 10**9, "sees": True}


def test_a_node_that_is_like_this_machine_is_fit() -> None:
    lines: list[str] = []
    assert require_fit("a", FIT, LOCK, lines.append) == 10**9
    assert require_fit("a", {**FIT, "sees": False}, None, lines.append) == 10**9
    assert not lines


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"onnxdream": None}, "node a has no onnxdream: install"),
        ({"onnxdream": "0.0.1"}, "node a has onnxdream 0.0.1, and this machine"),
        ({"sees": False}, "node a does not see /share/out: share the folder"),
    ],
)
def test_a_node_that_is_not_fit_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        require_fit("a", {**FIT, **change}, LOCK, lambda line: None)


def test_another_onnxruntime_is_noted() -> None:
    lines: list[str] = []
    require_fit("a", {**FIT, "onnxruntime": "1.17.0"}, LOCK, lines.append)
    assert lines == [
        f"node a has onnxruntime 1.17.0, and this machine {ort.__version__}: the same picture may differ slightly"
    ]
