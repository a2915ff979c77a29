"""ONNX's protobuf messages without the onnx package: the fields that the runtime writes, reads or judges.

protobuf keeps all other fields as the bytes that they are. Names and numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# TensorProto.DataType
UNDEFINED, FLOAT32, INT64 = 0, 1, 7
# TensorProto.DataLocation
EXTERNAL = 1
# AttributeProto.AttributeType
INT, INTS = 2, 7

# message -> field -> (number, type, repeated); a type is a scalar's or another message's name
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


def message_class(name: str) -> Any:
    """The class of a message."""
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
