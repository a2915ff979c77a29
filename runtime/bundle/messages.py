"""ONNX's protobuf messages without the onnx package, with those fields only that somebody needs.

protobuf keeps all others as the bytes that they are. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# message -> field -> (number, type, repeated); a type is a scalar's or another message's name
Schema = Mapping[str, Mapping[str, tuple[int, str, bool]]]


def message_classes(schema: Schema) -> Callable[[str], Any]:
    """A function from a message's name to its class; a message can be copied into others of the same schema only."""
    file = descriptor_pb2.FileDescriptorProto(name="onnxdream_model.proto", package="onnxdream", syntax="proto2")
    field_type = descriptor_pb2.FieldDescriptorProto
    for message_name, members in schema.items():
        message = file.message_type.add(name=message_name)
        for field_name, (number, kind, repeated) in members.items():
            declared = message.field.add(name=field_name, number=number)
            declared.label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            if kind in schema:
                declared.type, declared.type_name = field_type.TYPE_MESSAGE, f".onnxdream.{kind}"
            else:
                declared.type = getattr(field_type, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"onnxdream.{name}"))
