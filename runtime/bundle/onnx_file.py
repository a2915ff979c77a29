"""What an ONNX file says of itself, read without the onnx package and before onnxruntime sees it.

Only what decides whether a file is a safe bundle is judged; the weights stay the bytes that they are.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from ...models.assembly import Assembled
from ...models.contract import BundleFormatError, form_key
from ..provider.onnx_graph import EXTERNAL, UNDEFINED, message_class

_MAX_IR = 9
_MAX_OPSET = 18
_OWN_DOMAINS = ("", "ai.onnx")
# Of a graph without its weights; well above the largest backbone's.
_MAX_GRAPH_BYTES = 2**26


@dataclass(frozen=True)
class ModelFile:
    """The metadata entries of an ONNX file that is safe to load."""

    metadata: dict[str, str]


def read_model_file(data: bytes) -> ModelFile:
    """Reads and judges an ONNX file: plain operators, no external data, versions that onnxruntime 1.18 loads.

    Raises BundleFormatError.
    """
    model = _parsed(data)
    if not model.ir_version or not model.graph.node:
        raise BundleFormatError("it is no ONNX file, or cut short: copy or export it again")
    if model.ir_version > _MAX_IR:
        raise BundleFormatError(f"its IR version {model.ir_version} is above {_MAX_IR}: export it again")
    for opset in model.opset_import:
        _refuse_foreign(opset.domain)
        if opset.version > _MAX_OPSET:
            raise BundleFormatError(f"its opset {opset.version} is above {_MAX_OPSET}: export it again")
    if model.functions:
        raise BundleFormatError("it defines functions of its own, which a bundle never does: export it again")
    _refuse_unsafe(model.graph)
    return ModelFile({entry.key: entry.value for entry in model.metadata_props})


def in_form(source: bytes | Assembled, form: str) -> bytes:
    """The ONNX file with its graph in another form, as `contract` describes; as it is where it has no such form.

    Raises BundleFormatError.
    """
    model = _parsed(source.without_weights if isinstance(source, Assembled) else source)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    if form_key(form) not in entries:
        return source.whole if isinstance(source, Assembled) else source
    formed = message_class("Model")(ir_version=model.ir_version, opset_import=model.opset_import)
    _parse(formed.graph, _decompressed(entries[form_key(form)]))
    _refuse_unsafe(formed.graph)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    if not isinstance(source, Assembled):
        _fill_in(formed.graph, weights)
        return bytes(formed.SerializeToString())
    _leave_out(formed.graph, source.names)
    _fill_in(formed.graph, weights)
    graph = formed.graph.SerializeToString()
    formed.ClearField("graph")
    return source.with_graph(formed.SerializeToString(), graph)


def without_default(data: bytes, name: str) -> bytes:
    """The ONNX file without the initializer that gives an input its default: it must be fed from now on.

    Raises BundleFormatError.
    """
    model = _parsed(data)
    kept = [tensor for tensor in model.graph.initializer if tensor.name != name]
    if len(kept) == len(model.graph.initializer):
        return data
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return bytes(model.SerializeToString())


def _parsed(data: bytes) -> Any:
    message = message_class("Model")()
    _parse(message, data)
    return message


def _parse(message: Any, data: bytes) -> None:
    try:
        message.ParseFromString(data)
    except (DecodeError, UnicodeDecodeError):  # the second from protobuf's pure Python form only
        raise BundleFormatError("it is no ONNX file, or cut short: copy or export it again") from None


def _decompressed(text: str) -> bytes:
    try:
        packed = base64.b64decode(text, validate=True)
        inflater = zlib.decompressobj()
        found = inflater.decompress(packed, _MAX_GRAPH_BYTES)
    except (binascii.Error, ValueError, zlib.error):
        raise BundleFormatError("a form of its graph is damaged: copy or export it again") from None
    if not inflater.eof:
        raise BundleFormatError("a form of its graph is cut short or far too large: copy or export it again")
    return found


def _fill_in(graph: Any, weights: Mapping[str, Any]) -> None:
    """Puts the weights where only their names are."""
    for tensor in graph.initializer:
        if tensor.data_type == UNDEFINED:
            if tensor.name not in weights:
                raise BundleFormatError("a form of its graph lacks a weight: copy or export it again")
            tensor.CopyFrom(weights[tensor.name])


def _leave_out(graph: Any, names: Collection[str]) -> None:
    """Takes away what only names a weight that lies beside the graph."""
    kept = [tensor for tensor in graph.initializer if tensor.data_type != UNDEFINED or tensor.name not in names]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _refuse_unsafe(graph: Any) -> None:
    for tensor in graph.initializer:
        _refuse_external(tensor)
    for sparse in graph.sparse_initializer:
        _refuse_external(sparse.values)
        _refuse_external(sparse.indices)
    for node in graph.node:
        _refuse_foreign(node.domain)
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                _refuse_external(tensor)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                _refuse_external(sparse.values)
                _refuse_external(sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                _refuse_unsafe(inner)


def _refuse_external(tensor: Any) -> None:
    if tensor.external_data or tensor.data_location == EXTERNAL:
        raise BundleFormatError("it keeps data in other files, which a bundle never does: export it again")


def _refuse_foreign(domain: str) -> None:
    if domain not in _OWN_DOMAINS:
        raise BundleFormatError(f"it needs operators of {domain!r}, a bundle has plain ONNX ones only: export it again")
