"""Rebuilds the built-in bundles in `models/builtin`: `python -m onnxdream.export.builtin`.

Run it after every change of the gradient's graph or of the contract. Each bundle is exported, compared with TensorFlow,
and split into its graph and the recipe from which `models/assembly.py` assembles it.
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
from .folding.fold import fold
from .forward import Convolution, Forward
from .operators import bias_name, kernel_name
from .rewriting import rewritten
from .weights import LoadedModel, load


def export_request(built_in: BuiltIn) -> ExportRequest:
    """Returns the request that exports a built-in bundle."""
    return ExportRequest(find_backbone(built_in.backbone), built_in.layers, "builtin", objective=built_in.objective)


def weight_rules(forward: Forward, loaded: LoadedModel) -> tuple[WeightRule, ...]:
    """Returns the rules that compute the weights of an exported graph's convolutions from a weight file."""
    assert loaded.block_of is not None
    return tuple(
        WeightRule(op.name, loaded.block_of[op.origin.layer], op.origin.epsilon, op.origin.scale, op.groups > 1)
        for op in forward.operators
        if isinstance(op, Convolution)
    )


def strip_weights(bundle: bytes, forward: Forward) -> tuple[bytes, int]:
    """Removes the weights of the convolutions; returns the serialized model, its graph last, and the graph's offset."""
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


def rebuild(built_in: BuiltIn) -> Recipe:
    """Exports a built-in bundle and writes its two files. Raises ExportError."""
    request = export_request(built_in)
    bundle, metadata = make_bundle(request, print)
    loaded = load(request.backbone, "builtin", 0)
    forward = rewritten(fold(loaded.model, request.backbone.preprocessing).cut(request.layers), request.layers)
    model, graph_at = strip_weights(bundle, forward)
    assert request.backbone.built_in
    rules, weights = weight_rules(forward, loaded), assembly.FOLDER / request.backbone.built_in.file
    assembled = assemble(model, graph_at, rules, WeightFile(weights.read_bytes()))
    recipe = Recipe(weights.name, metadata.weights.sha256, hashlib.sha256(assembled.whole).hexdigest(), graph_at, rules)
    atomic_write(built_in.path.with_suffix(".graph"), zlib.compress(model, 9))
    atomic_write(built_in.path, recipe.to_json().encode())
    return recipe


if __name__ == "__main__":
    for built_in in BUILT_IN:
        print(f"{built_in.path}: SHA-256 {rebuild(built_in).sha256}")
