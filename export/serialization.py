"""Serialization of all forms of a bundle's graph to one file, in which each weight is stored once."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping

import onnx

from ..models import contract
from ..models.contract import Metadata
from .forms.handlers import PORTABLE

# In bytes. A smaller tensor takes hardly more space than a reference to it.
_MIN_SHARED_BYTES = 64


def serialize(models: Mapping[str, onnx.ModelProto], metadata: Metadata) -> bytes:
    """Returns the bytes of a bundle: the portable model, its metadata, and the graphs of the other forms.

    The other graphs are compressed metadata entries. Each weight that such a graph shares with the portable model is
    replaced by its name, with an undefined type.
    """
    model = models[PORTABLE.NAME]
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    entries = {contract.METADATA_KEY: metadata.to_json()}
    for form, other in models.items():
        if other is not model:
            entries[contract.form_key(form)] = _compressed(_without_shared(other.graph, weights))
    onnx.helper.set_model_props(model, entries)
    return bytes(model.SerializeToString())


def _without_shared(graph: onnx.GraphProto, weights: Mapping[str, onnx.TensorProto]) -> onnx.GraphProto:
    """Returns a copy of a graph in which the initializers that equal one of `weights` have only a name."""
    copy = onnx.GraphProto()
    copy.CopyFrom(graph)
    for tensor in copy.initializer:
        if len(tensor.raw_data) >= _MIN_SHARED_BYTES and weights.get(tensor.name) == tensor:
            name = tensor.name
            tensor.Clear()
            tensor.name = name
    return copy


def _compressed(graph: onnx.GraphProto) -> str:
    """Returns a serialized graph, compressed with zlib, in base64."""
    return base64.b64encode(zlib.compress(graph.SerializeToString(), 9)).decode()
