"""Reading, checking and changing ONNX files without the onnx package, before onnxruntime loads them.

Only what decides whether a file is a safe bundle is checked; the bytes of the weights are left unchanged.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from ...models.arrays import Floats
from ...models.assembly import Assembled
from ...models.contract import BundleFormatError, form_key
from ..provider.onnx_graph import EXTERNAL, FLOAT32, UNDEFINED, message_class

_MAX_IR = 9
_MAX_OPSET = 18
# The names of the domain of ONNX's own operators.
_ONNX_DOMAINS = ("", "ai.onnx")
# The largest graph without its weights; well above the largest backbone's.
_MAX_GRAPH_BYTES = 2**26
_NOT_ONNX = "it is not an ONNX file, or it is cut short: copy or export it again"


@dataclass(frozen=True)
class ModelFile:
    """The metadata entries of an ONNX file that is safe to load."""

    metadata: dict[str, str]


def read_model_file(data: bytes) -> ModelFile:
    """Reads an ONNX file, and checks that it is safe and that onnxruntime 1.18 can load it.

    It must have plain ONNX operators only, no external data, and supported versions. Raises BundleFormatError.
    """
    model = _parsed(data)
    if not model.ir_version or not model.graph.node:
        raise BundleFormatError(_NOT_ONNX)
    if model.ir_version > _MAX_IR:
        raise BundleFormatError(f"its IR version {model.ir_version} is above {_MAX_IR}: export it again")
    for opset in model.opset_import:
        _require_onnx_domain(opset.domain)
        if opset.version > _MAX_OPSET:
            raise BundleFormatError(f"its opset {opset.version} is above {_MAX_OPSET}: export it again")
    if model.functions:
        raise BundleFormatError("it defines functions of its own, which a bundle never does: export it again")
    _require_safe(model.graph)
    return ModelFile({entry.key: entry.value for entry in model.metadata_props})


def model_to_open(
    source: bytes | Assembled, form: str | None, required: Collection[str], fixed: Mapping[str, Floats] | None = None
) -> bytes:
    """Returns the ONNX file with its graph in a form, as `contract` describes: the portable one for None.

    Inputs in `required` lose their default values, so that they must be fed. Those in `fixed` become constants with
    these values, float32, so that onnxruntime computes what depends on them only once. Where the file lacks the form,
    its graph stays portable. Raises BundleFormatError.
    """
    model = _parsed(source.without_weights if isinstance(source, Assembled) else source)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    result = message_class("Model")(ir_version=model.ir_version, opset_import=model.opset_import)
    if form is None or form_key(form) not in entries:
        result.graph.CopyFrom(model.graph)
    else:
        _parse(result.graph, _decompressed(entries[form_key(form)]))
        _require_safe(result.graph)
        if isinstance(source, Assembled):
            _leave_out(result.graph, source.names)
        _fill_in(result.graph, {tensor.name: tensor for tensor in model.graph.initializer})
    _keep(result.graph.initializer, lambda tensor: tensor.name not in required)
    for name, values in (fixed or {}).items():
        _fix(result.graph, name, values)
    if not isinstance(source, Assembled):
        return bytes(result.SerializeToString())
    graph = result.graph.SerializeToString()
    result.ClearField("graph")
    return source.with_graph(result.SerializeToString(), graph)


def _parsed(data: bytes) -> Any:
    message = message_class("Model")()
    _parse(message, data)
    return message


def _parse(message: Any, data: bytes) -> None:
    try:
        message.ParseFromString(data)
    except (DecodeError, UnicodeDecodeError):  # only protobuf's pure Python version raises UnicodeDecodeError
        raise BundleFormatError(_NOT_ONNX) from None


def _decompressed(text: str) -> bytes:
    """Returns the bytes of a graph from base64 of their zlib compression. Raises BundleFormatError."""
    try:
        compressed = base64.b64decode(text, validate=True)
        inflater = zlib.decompressobj()
        graph = inflater.decompress(compressed, _MAX_GRAPH_BYTES)
    except (binascii.Error, ValueError, zlib.error):
        raise BundleFormatError("a form of its graph is damaged: copy or export it again") from None
    if not inflater.eof:
        raise BundleFormatError("a form of its graph is cut short or far too large: copy or export it again")
    return graph


def _fill_in(graph: Any, weights: Mapping[str, Any]) -> None:
    """Fills in the initializers that are only named in the graph, from tensors by their names."""
    for tensor in graph.initializer:
        if tensor.data_type == UNDEFINED:
            if tensor.name not in weights:
                raise BundleFormatError("a form of its graph lacks a weight: copy or export it again")
            tensor.CopyFrom(weights[tensor.name])


def _leave_out(graph: Any, names: Collection[str]) -> None:
    """Removes the initializers that are only named in the graph, and whose weights are stored beside it."""
    _keep(graph.initializer, lambda tensor: tensor.data_type != UNDEFINED or tensor.name not in names)


def _fix(graph: Any, name: str, values: Floats) -> None:
    """Turns an input of the shape of `values` into a constant."""
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in graph.input}
    if shapes.get(name) != list(values.shape):
        raise BundleFormatError(
            f"its graph lacks an input {name} of {' × '.join(map(str, values.shape))} numbers: export it again"
        )
    _keep(graph.input, lambda value: value.name != name)
    _keep(graph.initializer, lambda tensor: tensor.name != name)
    little_endian = np.ascontiguousarray(values, "<f4")
    graph.initializer.add(name=name, dims=values.shape, data_type=FLOAT32, raw_data=little_endian.tobytes())


def _keep(messages: Any, is_kept: Callable[[Any], bool]) -> None:
    """Removes the messages of a repeated field that a function does not keep; the others are not copied."""
    for index in reversed(range(len(messages))):
        if not is_kept(messages[index]):
            del messages[index]


def _require_safe(graph: Any) -> None:
    """Raises BundleFormatError where a graph, or one within it, has external data or operators other than ONNX's."""
    for tensor in graph.initializer:
        _require_internal(tensor)
    for sparse in graph.sparse_initializer:
        _require_internal(sparse.values)
        _require_internal(sparse.indices)
    for node in graph.node:
        _require_onnx_domain(node.domain)
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                _require_internal(tensor)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                _require_internal(sparse.values)
                _require_internal(sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                _require_safe(inner)


def _require_internal(tensor: Any) -> None:
    if tensor.external_data or tensor.data_location == EXTERNAL:
        raise BundleFormatError("it keeps data in other files, which a bundle never does: export it again")


def _require_onnx_domain(domain: str) -> None:
    if domain not in _ONNX_DOMAINS:
        raise BundleFormatError(
            f"it uses operators of {domain!r}, but a bundle has plain ONNX operators only: export it again"
        )
