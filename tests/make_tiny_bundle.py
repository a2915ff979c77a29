"""Writes the verified bundles in tests/data that the runtime's tests dream with. Needs the export extra."""

from __future__ import annotations

from pathlib import Path

from tiny import LAYERS, LITE_LAYERS, TINY, TINY_LITE

TINY_PATH = Path(__file__).parent / "data" / "tiny.onnx"
TINY_LITE_PATH = Path(__file__).parent / "data" / "tiny-lite.onnx"
COMMAND = "python tests/make_tiny_bundle.py"

if __name__ == "__main__":
    from onnxdream.export.bundle import ExportRequest, make_bundle
    from onnxdream.models.files import atomic_write

    for path, backbone, layers in ((TINY_PATH, TINY, LAYERS), (TINY_LITE_PATH, TINY_LITE, LITE_LAYERS)):
        bundle, metadata = make_bundle(ExportRequest(backbone, layers, weights="random", seed=0))
        atomic_write(path, bundle)
        print(f"{path}: {len(bundle)} bytes, {len(metadata.verification)} checks passed")
