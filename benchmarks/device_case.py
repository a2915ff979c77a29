"""The built-in networks for PyTorch, on a machine that has no TensorFlow to make them.

`forward-NAME.json` lists the operators of a built-in bundle's forward graph; the kernels come from the bundle itself.
`python benchmarks/device_case.py` writes these files anew, and needs the export extra.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rows import Case, WidthHeight

from onnxdream.models import assembly
from onnxdream.models.arrays import Floats, Pixels
from onnxdream.runtime import Bundle
from onnxdream.runtime.image.source import noise_picture
from onnxdream.runtime.provider.onnx_graph import message_class

NAMES = ("v3-low", "lite0")
_FOLDER = Path(__file__).parent
_FLOAT32 = 1


def make_case(name: str, size: WidthHeight, folder: Path) -> Case:
    """Writes the forward graph of a built-in bundle, its kernels and an image into `folder`, as peers read them."""
    graph = json.loads((_FOLDER / f"forward-{name}.json").read_text(encoding="utf-8"))
    stored, arrays = _weights(Bundle.built_in(name)), {}
    for op in graph["operators"]:
        if op["kind"] == "Convolution":
            for part in ("kernel", "bias"):
                # The exporter renames a convolution that it moves before a pooling.
                moved = f"{op['name']}_first/{part}"
                key = f"{op['name']}/{part}"
                arrays[key] = stored[moved if moved in stored else key]
    case = Case(folder, size)
    (folder / "forward.json").write_text(json.dumps(graph))
    np.savez(folder / "forward.npz", **arrays)
    np.save(case.image, image_of(size))
    return case


def picture_of(size: WidthHeight) -> Pixels:
    """Returns the picture that is dreamed, noise of that size."""
    return noise_picture(*size, seed=0).pixels


def image_of(size: WidthHeight) -> Floats:
    """Returns that picture as an image, float32 [3, height, width] from -1 to 1."""
    return np.ascontiguousarray(picture_of(size).transpose(2, 0, 1).astype(np.float32) / 127.5 - 1)


def _weights(bundle: Bundle) -> dict[str, Floats]:
    """Returns the float32 arrays that are stored in a bundle, by name."""
    model = message_class("Model")()
    model.ParseFromString(bundle.data)
    return {
        tensor.name: np.frombuffer(tensor.raw_data, "<f4").reshape(list(tensor.dims))
        for tensor in model.graph.initializer
        if tensor.data_type == _FLOAT32 and tensor.raw_data
    }


def forward_facts(name: str) -> dict[str, Any]:
    """Returns the forward graph of a built-in bundle as JSON values. Needs the export extra."""
    from fixtures import operator_facts

    from onnxdream.export.backbone import build
    from onnxdream.export.folding.fold import fold
    from onnxdream.models.backbones import find_backbone

    recipe = next(one for one in assembly.BUILT_IN if one.name == name)
    backbone = find_backbone(recipe.backbone)
    forward = fold(build(backbone), backbone.preprocessing).cut(recipe.layers)
    operators = [operator_facts(op) for op in forward.operators]
    return {"layers": recipe.layers, "objective": recipe.objective, "operators": operators}


def main() -> None:
    """Writes the files of all networks, with a line for each operator."""
    for name in NAMES:
        facts = forward_facts(name)
        operators = ",\n".join(f"  {json.dumps(op)}" for op in facts.pop("operators"))
        lines = [*(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items())]
        text = ",\n".join([*lines, f' "operators": [\n{operators}\n ]'])
        (_FOLDER / f"forward-{name}.json").write_text(f"{{\n{text}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
