"""The measurement of the memory that a bundle needs."""

from __future__ import annotations

from onnxdream.export.memory import measure


def test_without_a_temporary_folder_memory_is_not_measured(no_temporary_folder: None) -> None:
    assert measure(b"any bundle") is None
