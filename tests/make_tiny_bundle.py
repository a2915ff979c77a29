"""Writes tests/data/tiny.onnx, the verified bundle that the runtime's tests dream with. Needs the export extra."""

from __future__ import annotations

from pathlib import Path

from tiny import LAYERS, TINY

TINY_PATH = Path(__file__).parent / "data" / "tiny.onnx"
COMMAND = "python tests/make_tiny_bundle.py"

if __name__ == "__main__":
    from onnxdream.export.bundle import ExportRequest, make_bundle
    from onnxdream.models.files import atomic_write

    bundle, metadata = make_bundle(ExportRequest(TINY, LAYERS, weights="random", seed=0))
    atomic_write(TINY_PATH, bundle)
    print(f"{TINY_PATH}: {len(bundle)} bytes, {len(metadata.verification)} checks passed")
