"""One file for all forms of a bundle's graph: the portable one with the weights, the others without."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping

import onnx

from ..models import contract
from ..models.contract import Metadata
from .forms.handlers import PORTABLE

# Smaller tensors are not worth the name that stands for them.
_MIN_SHARED = 64


def serialize(models: Mapping[str, onnx.ModelProto], metadata: Metadata) -> bytes:
    """The bytes of a bundle: the portable model, its metadata, and the graph of every other form.

    Such a graph is a compressed metadata entry; where it has a weight of the portable model it holds the weight's name
    only, with an undefined type, so each weight is stored once.
    """
    model = models[PORTABLE.NAME]
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    entries = {contract.METADATA_KEY: metadata.to_json()}
    for form, other in models.items():
        if other is not model:
            entries[contract.form_key(form)] = _compressed(_bare(other.graph, weights))
    onnx.helper.set_model_props(model, entries)
    return bytes(model.SerializeToString())


def _bare(graph: onnx.GraphProto, weights: Mapping[str, onnx.TensorProto]) -> onnx.GraphProto:
    bare = onnx.GraphProto()
    bare.CopyFrom(graph)
    for tensor in bare.initializer:
        if len(tensor.raw_data) >= _MIN_SHARED and weights.get(tensor.name) == tensor:
            name = tensor.name
            tensor.Clear()
            tensor.name = name
    return bare


def _compressed(graph: onnx.GraphProto) -> str:
    return base64.b64encode(zlib.compress(graph.SerializeToString(), 9)).decode()
