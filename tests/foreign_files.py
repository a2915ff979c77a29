"""ONNX files that no export writes: of other programs, unsafe ones, and ones that break the contract of bundles."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pictures_fixture import (
    CHANNEL,
    CHANNEL_MEANS,
    CHANNEL_WEIGHTS,
    DEFAULTS,
    GRADIENT,
    IMAGE,
    LAYER_WEIGHTS,
    LOSSES,
    MEAN,
    PLANES,
    POSITION,
    TINY_BYTES,
    bundle_bytes,
    constant,
    facts,
    integers,
    message,
    node,
    value,
)

from onnxdream.models.contract import Layer
from onnxdream.runtime.provider.onnx_graph import message_class


def altered(change: Callable[[Any], None]) -> bytes:
    """The tiny bundle with a change made to it; fields that the reduced schema does not declare stay unchanged."""
    model = message_class("Model")()
    model.ParseFromString(TINY_BYTES)
    change(model)
    return bytes(model.SerializeToString())


def external(tensor: Any) -> None:
    """Lets a tensor refer to data in another file."""
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="/etc/hostname")


def attribute(model: Any, operator: str = "Constant") -> Any:
    """A new attribute of a new node."""
    return model.graph.node.add(op_type=operator).attribute.add()


def nested(model: Any, depth: int) -> Any:
    """The innermost graph of `depth` nested If nodes."""
    graph = model.graph
    for _ in range(depth):
        graph = graph.node.add(op_type="If").attribute.add().g
    return graph


def entry(model: Any, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the bundle's metadata."""
    metadata = model.metadata_props[0]
    data = json.loads(metadata.value)
    change(data)
    metadata.value = json.dumps(data)


def text(model: Any, value: str) -> None:
    """Replaces the text of the bundle's metadata."""
    model.metadata_props[0].value = value


# Name -> the file's bytes, and words of the error message.
FOREIGN: dict[str, tuple[bytes, str]] = {
    "external initializer": (altered(lambda m: external(m.graph.initializer[0])), "data in other files"),
    "external by location alone": (
        altered(lambda m: setattr(m.graph.initializer[3], "data_location", 1)),
        "data in other files",
    ),
    "external by entries alone": (
        altered(lambda m: m.graph.initializer[-1].external_data.add(key="location", value="x")),
        "data in other files",
    ),
    "external in an attribute": (altered(lambda m: external(attribute(m).t)), "data in other files"),
    "external in a list": (altered(lambda m: external(attribute(m).tensors.add())), "data in other files"),
    "external sparse values": (
        altered(lambda m: external(m.graph.sparse_initializer.add().values)),
        "data in other files",
    ),
    "external sparse indices": (
        altered(lambda m: external(m.graph.sparse_initializer.add().indices)),
        "data in other files",
    ),
    "external sparse attribute": (
        altered(lambda m: external(attribute(m).sparse_tensor.values)),
        "data in other files",
    ),
    "external sparse list": (
        altered(lambda m: external(attribute(m).sparse_tensors.add().indices)),
        "data in other files",
    ),
    "external in a subgraph": (altered(lambda m: external(nested(m, 1).initializer.add())), "data in other files"),
    "external in a deep subgraph": (
        altered(lambda m: external(nested(m, 5).node.add(op_type="Constant").attribute.add().t)),
        "data in other files",
    ),
    "external in a list of graphs": (
        altered(lambda m: external(attribute(m, "Loop").graphs.add().initializer.add())),
        "data in other files",
    ),
    "foreign opset": (altered(lambda m: m.opset_import.add(domain="com.microsoft", version=1)), "'com.microsoft'"),
    "foreign operator": (altered(lambda m: m.graph.node.add(op_type="Gelu", domain="org.evil")), "'org.evil'"),
    "foreign operator in a subgraph": (
        altered(lambda m: nested(m, 2).node.add(op_type="Run", domain="ai.onnx.ml")),
        "'ai.onnx.ml'",
    ),
    "domain that is not text": (
        TINY_BYTES + message((8, message((1, b"\xff\xfe"), (2, 1)))),
        "plain ONNX operators only",
    ),
    "functions": (altered(lambda m: m.functions.add().node.add(op_type="Relu")), "functions of its own"),
    "newer IR": (altered(lambda m: setattr(m, "ir_version", 10)), "IR version 10 is above 9"),
    "newer opset": (altered(lambda m: setattr(m.opset_import[0], "version", 19)), "opset 19 is above 18"),
    "no metadata": (altered(lambda m: m.ClearField("metadata_props")), "not a bundle"),
    "metadata of another program": (altered(lambda m: setattr(m.metadata_props[0], "key", "names")), "not a bundle"),
    "metadata that is not JSON": (altered(lambda m: text(m, "{")), "not JSON"),
    "metadata that is not an object": (altered(lambda m: text(m, "[1]")), "not a JSON object"),
    "metadata that is not text": (
        altered(lambda m: m.ClearField("metadata_props")) + message((14, message((1, "onnxdream"), (2, b"\xff")))),
        "not JSON",
    ),
    "endlessly nested metadata": (altered(lambda m: text(m, "[" * 100_000)), "not JSON"),
    "metadata without schema": (altered(lambda m: entry(m, lambda d: d.pop("schema"))), "lacks schema"),
    "metadata without layers": (altered(lambda m: entry(m, lambda d: d.pop("layers"))), "lacks layers"),
    "metadata without border": (altered(lambda m: entry(m, lambda d: d.pop("border"))), "lacks border"),
    "metadata without memory": (altered(lambda m: entry(m, lambda d: d.pop("memory"))), "lacks memory"),
    "metadata without licence": (
        altered(lambda m: entry(m, lambda d: d["weights"].pop("licence"))),
        "lacks weights.licence",
    ),
    "layers of the wrong type": (
        altered(lambda m: entry(m, lambda d: d.update(layers="mixed0"))),
        "layers is not a list",
    ),
    "a former contract": (
        altered(lambda m: entry(m, lambda d: d.update(input_range=[-1, 1], channel_order="RGB"))),
        "export it again with onnxdream export --model tiny --layers low,mid,high --weights random",
    ),
    "an empty size": (
        altered(lambda m: entry(m, lambda d: d.update(smallest_size=[0, 9]))),
        "smallest_size is out",
    ),
    "names of other classes": (
        altered(lambda m: entry(m, lambda d: d.update(class_names=["crane"]))),
        "class_names is out",
    ),
    "newer contract": (altered(lambda m: entry(m, lambda d: d.update(schema="1.1"))), "update onnxdream"),
    "older contract": (altered(lambda m: entry(m, lambda d: d.update(schema="0.9"))), "export the bundle again"),
    "a contract without a version": (altered(lambda m: entry(m, lambda d: d.update(schema="new"))), "not a version"),
    "an empty file": (b"", "not an ONNX file"),
    "an empty graph": (message((1, 8), (7, b"")), "not an ONNX file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not an ONNX file"),
    "a page": (b"<!DOCTYPE html><html><body>404</body></html>", "not an ONNX file"),
}


def endlessly_nested() -> bytes:
    """A model of 2000 nested graphs."""
    graph = b""
    for _ in range(2000):
        graph = message((1, message((4, "If"), (5, message((1, "then_branch"), (6, graph))))))
    return message((1, 8), (7, graph))


FOREIGN["endlessly nested graphs"] = endlessly_nested(), "not an ONNX file"


GRADIENT_NODE = node("Mul", "image layer_weights", "gradient")


# Files with our metadata and plain operators whose inputs or outputs break the contract.
BROKEN = {
    "no gradient": bundle_bytes(MEAN, outputs=[LOSSES, CHANNEL_MEANS]),
    "no layer weights": bundle_bytes(
        [*MEAN, node("Neg", "image", "gradient")], inputs=[IMAGE, CHANNEL_WEIGHTS, POSITION]
    ),
    "no channel weights": bundle_bytes([*MEAN, GRADIENT_NODE], inputs=[IMAGE, LAYER_WEIGHTS, POSITION]),
    "no position": bundle_bytes([*MEAN, GRADIENT_NODE], inputs=[IMAGE, LAYER_WEIGHTS, CHANNEL_WEIGHTS]),
    "channel weights without a batch": bundle_bytes(
        [*MEAN, GRADIENT_NODE],
        inputs=[IMAGE, LAYER_WEIGHTS, value("channel_weights", 1), POSITION],
        constants=[constant("channel_weights", 1), DEFAULTS[1]],
    ),
    "a position without a radius": bundle_bytes(
        [*MEAN, GRADIENT_NODE],
        inputs=[IMAGE, LAYER_WEIGHTS, CHANNEL_WEIGHTS, value("position", 1, 2)],
        constants=[DEFAULTS[0], constant("position", [[0.5, 0.5]])],
    ),
    "no channel means": bundle_bytes([*MEAN, GRADIENT_NODE], outputs=[LOSSES, GRADIENT]),
    "an unknown input": bundle_bytes(
        [*MEAN, GRADIENT_NODE], inputs=[IMAGE, LAYER_WEIGHTS, CHANNEL_WEIGHTS, POSITION, value("guide", 1)]
    ),
    "an unknown input with a default": bundle_bytes(
        [*MEAN, node("Mul", "image guide", "guided"), node("Mul", "guided layer_weights", "gradient")],
        inputs=[IMAGE, LAYER_WEIGHTS, CHANNEL_WEIGHTS, POSITION, value("guide", 1)],
        constants=[*DEFAULTS, constant("guide", 1)],
    ),
    "an unknown output": bundle_bytes(
        [*MEAN, GRADIENT_NODE, node("Neg", "image", "more")],
        outputs=[LOSSES, GRADIENT, CHANNEL_MEANS, value("more", "batch", 3, "height", "width")],
    ),
    "inputs as outputs": bundle_bytes(
        [
            node("Identity", "losses", "image"),
            node("Identity", "gradient", "layer_weights"),
            node("Mul", "losses channel_weights", "channel_means"),
        ],
        inputs=[LOSSES, GRADIENT, CHANNEL_WEIGHTS, POSITION],
        outputs=[value("image", "batch", 1), value("layer_weights", "batch", 3, "height", "width"), CHANNEL_MEANS],
    ),
    "weights for other layers": bundle_bytes([*MEAN, GRADIENT_NODE], metadata=facts(layers=2).to_json()),
    "weights for other channels": bundle_bytes(
        [*MEAN, GRADIENT_NODE], metadata=replace(facts(), layers=(Layer("layer0", 2, 1),)).to_json()
    ),
    "a flat gradient": bundle_bytes(
        [*MEAN, node("ReduceMean", "image", "gradient", integers("axes", 1)), node("Neg", "layer_weights", "unused")],
        outputs=[LOSSES, value("gradient", "batch", 1, "height", "width"), CHANNEL_MEANS],
    ),
    "losses of every plane": bundle_bytes(
        [PLANES, CHANNEL, node("Mul", "planes channel_weights", "losses"), GRADIENT_NODE],
        outputs=[value("losses", "batch", 3), GRADIENT, CHANNEL_MEANS],
    ),
    "a gradient of integers": bundle_bytes(
        [*MEAN, node("Shape", "image", "gradient"), node("Neg", "layer_weights", "unused")],
        outputs=[LOSSES, value("gradient", 4, kind=7), CHANNEL_MEANS],
    ),
    "an unknown operator": bundle_bytes([*MEAN, node("Dream", "image", "gradient")]),
    "a tensor from nowhere": bundle_bytes([*MEAN, node("Mul", "image picture", "gradient")]),
    "a cycle": bundle_bytes([*MEAN, node("Neg", "a", "b"), node("Neg", "b", "a"), node("Neg", "a", "gradient")]),
}
