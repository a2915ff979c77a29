"""Asserts that onnxruntime runs every node of a model on the GPU."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxdream.runtime.provider.cards import PROVIDERS
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.session import open_session


def require_on_gpu(
    model: bytes, machine: Machine, feed: Mapping[str, Any], folder: Path, sizes: Mapping[str, int] | None = None
) -> None:
    """Runs a model once, and asserts that its profile has kernels of CUDA only and no copies from and to the host."""
    session = open_session(model, machine, sizes, folder / "profile")
    session.run(None, dict(feed))
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    kernels = [event["args"] for event in events if event.get("cat") == "Node" and "provider" in event["args"]]
    assert {kernel["provider"] for kernel in kernels} == {PROVIDERS["cuda"].ort_name}
    assert [kernel["op_name"] for kernel in kernels if "Memcpy" in kernel["op_name"]] == []
