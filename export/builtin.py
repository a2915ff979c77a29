"""Making the built-in bundles of `models/builtin` anew: `python -m onnxdream.export.builtin`.

To be run after every change of the gradient's graph or of the contract. Each bundle is exported, compared with
TensorFlow, and taken apart into its graph and the recipe that `models/assembly.py` puts it together by.
"""

from __future__ import annotations

import hashlib
import zlib

import onnx

from ..models import assembly
from ..models.assembly import BUILT_IN, BuiltIn, Recipe, WeightFile, WeightRule, assemble
from ..models.backbones import find_backbone
from ..models.files import atomic_write
from .bundle import ExportRequest, make_bundle
from .forward import Convolution, Forward, fold
from .operators import bias_name, kernel_name
from .rewriting import rewritten
from .weights import Loaded, load


def export_request(built_in: BuiltIn) -> ExportRequest:
    """What exports the bundle."""
    return ExportRequest(find_backbone(built_in.backbone), built_in.layers, "builtin", objective=built_in.objective)


def weight_rules(forward: Forward, loaded: Loaded) -> tuple[WeightRule, ...]:
    """How the weights of each convolution of a graph, as it is exported, are made from a file of blocks."""
    assert loaded.blocks is not None
    return tuple(
        WeightRule(op.name, loaded.blocks[op.origin.layer], op.origin.epsilon, op.origin.scale)
        for op in forward.operators
        if isinstance(op, Convolution)
    )


def strip_weights(bundle: bytes, forward: Forward) -> tuple[bytes, int]:
    """A bundle's model without the weights of its convolutions, its graph last, and where the graph begins."""
    model = onnx.load_from_string(bundle)
    weights = {
        name for op in forward.operators if isinstance(op, Convolution) for name in (kernel_name(op), bias_name(op))
    }
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in weights]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    rest = model.SerializeToString()
    return rest + graph, len(rest)


def make(built_in: BuiltIn) -> Recipe:
    """Writes a built-in bundle's two files. Raises ExportError."""
    request = export_request(built_in)
    bundle, metadata = make_bundle(request, print)
    loaded = load(request.backbone, "builtin", 0)
    forward = rewritten(fold(loaded.model).cut(request.layers), request.layers)
    model, graph_at = strip_weights(bundle, forward)
    assert request.backbone.built_in_weights
    rules, weights = weight_rules(forward, loaded), assembly.FOLDER / request.backbone.built_in_weights
    whole = assemble(model, graph_at, rules, WeightFile(weights.read_bytes()))
    recipe = Recipe(weights.name, metadata.weights.sha256, hashlib.sha256(whole.whole).hexdigest(), graph_at, rules)
    atomic_write(built_in.path.with_suffix(".graph"), zlib.compress(model, 9))
    atomic_write(built_in.path, recipe.to_json().encode())
    return recipe


if __name__ == "__main__":
    for one in BUILT_IN:
        print(f"{one.path}: SHA-256 {make(one).sha256}")
