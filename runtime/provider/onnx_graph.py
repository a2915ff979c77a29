"""ONNX without the onnx package: a schema of its messages, and small graphs that are built at run time.

The schema declares the fields that the runtime writes, reads or checks; protobuf keeps the bytes of all other fields
unchanged. Names and numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

from ...models.contract import IR_VERSION, OPSET

# The name of an input, of a constant or of an operator's output; an array; or a number, which becomes float32 [1].
Operand = str | float | NDArray[Any]
# TensorProto.DataType
UNDEFINED, FLOAT32, INT64 = 0, 1, 7
# TensorProto.DataLocation
EXTERNAL = 1
# AttributeProto.AttributeType
INT, INTS = 2, 7

# message -> field -> (number, type, repeated); the type names a scalar or another message
_SCHEMA: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Model": {
        "ir_version": (1, "int64", False),
        "graph": (7, "Graph", False),
        "opset_import": (8, "OperatorSet", True),
        "metadata_props": (14, "Entry", True),
        "functions": (25, "Function", True),
    },
    "OperatorSet": {"domain": (1, "string", False), "version": (2, "int64", False)},
    "Entry": {"key": (1, "string", False), "value": (2, "string", False)},
    "Function": {"node": (7, "Node", True)},
    "Graph": {
        "node": (1, "Node", True),
        "name": (2, "string", False),
        "initializer": (5, "Tensor", True),
        "input": (11, "Value", True),
        "output": (12, "Value", True),
        "sparse_initializer": (15, "SparseTensor", True),
    },
    "Node": {
        "input": (1, "string", True),
        "output": (2, "string", True),
        "name": (3, "string", False),
        "op_type": (4, "string", False),
        "attribute": (5, "Attribute", True),
        "domain": (7, "string", False),
    },
    "Attribute": {
        "name": (1, "string", False),
        "i": (3, "int64", False),
        "t": (5, "Tensor", False),
        "g": (6, "Graph", False),
        "ints": (8, "int64", True),
        "tensors": (10, "Tensor", True),
        "graphs": (11, "Graph", True),
        "type": (20, "int32", False),
        "sparse_tensor": (22, "SparseTensor", False),
        "sparse_tensors": (23, "SparseTensor", True),
    },
    "SparseTensor": {"values": (1, "Tensor", False), "indices": (2, "Tensor", False)},
    "Tensor": {
        "dims": (1, "int64", True),
        "data_type": (2, "int32", False),
        "name": (8, "string", False),
        "raw_data": (9, "bytes", False),
        "external_data": (13, "Entry", True),
        "data_location": (14, "int32", False),
    },
    "Value": {"name": (1, "string", False), "type": (2, "Type", False)},
    "Type": {"tensor_type": (1, "TensorType", False)},
    "TensorType": {"elem_type": (1, "int32", False), "shape": (2, "Shape", False)},
    "Shape": {"dim": (1, "Dimension", True)},
    "Dimension": {"dim_value": (1, "int64", False)},
}


class Graph:
    """A graph that is being built. All its sizes are known and written into it, so that onnxruntime can plan memory."""

    def __init__(self) -> None:
        self._model = message_class("Model")(ir_version=IR_VERSION)
        self._model.opset_import.add(domain="", version=OPSET)
        self._graph = self._model.graph
        self._graph.name = "onnxdream"

    def input(self, name: str, shape: Sequence[int], int64: bool = False) -> str:
        """Declares an input of that shape, float32 or int64, and returns its name."""
        _declare(self._graph.input.add(name=name), shape, INT64 if int64 else FLOAT32)
        return name

    def constant(self, values: NDArray[Any]) -> str:
        """Stores an array of any shape, as int64 if its dtype is an integer's, else as float32; returns its name."""
        int64 = np.issubdtype(values.dtype, np.integer)
        name = f"constant{len(self._graph.initializer)}"
        little_endian = np.ascontiguousarray(values, "<i8" if int64 else "<f4")
        self._graph.initializer.add(
            name=name, dims=values.shape, data_type=INT64 if int64 else FLOAT32, raw_data=little_endian.tobytes()
        )
        return name

    def add(self, operator: str, *operands: Operand, **attributes: int | Sequence[int]) -> str:
        """Adds an operator with one output, and returns that output's name."""
        number = len(self._graph.node)
        # onnxruntime 1.18 names a fused node after the nodes it is made of, so every node needs a unique name.
        node = self._graph.node.add(op_type=operator, name=f"node{number}", output=[f"{operator.lower()}{number}"])
        node.input.extend(self._name_of(operand) for operand in operands)
        for name, value in attributes.items():
            if isinstance(value, int):
                node.attribute.add(name=name, type=INT, i=value)
            else:
                node.attribute.add(name=name, type=INTS, ints=value)
        return str(node.output[0])

    def model(self, outputs: Mapping[str, Sequence[int]]) -> bytes:
        """Returns the bytes of an ONNX model with these outputs; `outputs` maps names to shapes, all are float32."""
        del self._graph.output[:]
        for name, shape in outputs.items():
            _declare(self._graph.output.add(name=name), shape, FLOAT32)
        return bytes(self._model.SerializeToString())

    def _name_of(self, operand: Operand) -> str:
        if isinstance(operand, str):
            return operand
        return self.constant(operand if isinstance(operand, np.ndarray) else np.array([operand], np.float32))


def _declare(value: Any, shape: Sequence[int], data_type: int) -> None:
    tensor = value.type.tensor_type
    tensor.elem_type = data_type
    tensor.shape.SetInParent()  # so that a scalar, which has no dimensions, has a shape as well
    for length in shape:
        tensor.shape.dim.add(dim_value=length)


def message_class(name: str) -> Any:
    """Returns the protobuf class of a message of the schema, such as `Model`."""
    return _classes()(name)


@cache
def _classes() -> Callable[[str], Any]:
    file = descriptor_pb2.FileDescriptorProto(name="onnxdream_model.proto", package="onnxdream", syntax="proto2")
    field_type = descriptor_pb2.FieldDescriptorProto
    for message_name, members in _SCHEMA.items():
        message = file.message_type.add(name=message_name)
        for field_name, (number, kind, repeated) in members.items():
            declared = message.field.add(name=field_name, number=number)
            declared.label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            if kind in _SCHEMA:
                declared.type, declared.type_name = field_type.TYPE_MESSAGE, f".onnxdream.{kind}"
            else:
                declared.type = getattr(field_type, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"onnxdream.{name}"))
