"""Strict decoding of JSON into dataclasses, for the JSON files that onnxdream writes and reads back itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Value = TypeVar("Value")
Readers = Mapping[type, Callable[[Any], Any]]


class DecodeError(ValueError):
    """The data does not have the expected structure or type; the message names the value, as in `rows.3.size`."""


def decoded_json(kind: type[Value], text: str | bytes, readers: Readers | None = None) -> Value:
    """Decodes the text of a JSON object into a dataclass. Raises DecodeError."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise DecodeError("it is not JSON") from None
    read: Value = decoded(kind, data, readers)
    return read


def decoded(kind: Any, data: Any, readers: Readers | None = None, path: str = "") -> Any:
    """Converts the data of a JSON file to a value of type `kind`.

    Objects become dataclasses, whose keys must match the fields; lists become tuples or named tuples. Numbers must be
    finite, and text must not contain null characters. A whole number is accepted as a float, a boolean is not accepted
    as a number. `readers` maps types to functions that read them instead. `path` names the value in messages. Raises
    DecodeError and whatever `readers` raise.
    """
    readers = readers or {}
    if kind in readers:
        return readers[kind](data)
    if kind is Any:
        return data
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (inner,) = (inner for inner in arguments if inner is not NoneType)
        return None if data is None else decoded(inner, data, readers, path)
    if origin is Literal:
        return data if data in arguments else _refuse(path, f"one of {', '.join(map(str, arguments))}")
    if origin is tuple:
        return _tuple(arguments, data, readers, path)
    if origin in (dict, Mapping):
        if not isinstance(data, dict):
            _refuse(path, "an object")
        return {key: decoded(arguments[1], value, readers, f"a value of {path}") for key, value in data.items()}
    if _is_named_tuple(kind):
        return kind(*_tuple(tuple(get_type_hints(kind).values()), data, readers, path))
    if is_dataclass(kind):
        return _dataclass(kind, data, readers, path)
    return _scalar(kind, data, path)


def _dataclass(kind: Any, data: Any, readers: Readers, path: str) -> Any:
    if not isinstance(data, dict):
        _refuse(path, "an object")
    types = get_type_hints(kind)
    required = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}
    prefix = f"{path}." if path else ""
    for name in sorted(required - set(data)):
        raise DecodeError(f"it lacks {prefix}{name}")
    for name in sorted(set(data) - set(types)):
        raise DecodeError(f"{prefix}{name[:40]!r} is unknown")
    return kind(**{name: decoded(types[name], value, readers, prefix + name) for name, value in data.items()})


def _is_named_tuple(kind: Any) -> bool:
    """Whether a type is a NamedTuple, which JSON stores as a list."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def _tuple(arguments: tuple[Any, ...], data: Any, readers: Readers, path: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        _refuse(path, "a list")
    kinds = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else list(arguments)
    if len(kinds) != len(data):
        _refuse(path, f"a list of {len(kinds)}")
    pairs = enumerate(zip(kinds, data, strict=True))
    return tuple(decoded(kind, value, readers, f"{path}.{index}") for index, (kind, value) in pairs)


def _scalar(kind: type, data: Any, path: str) -> Any:
    if kind is float and type(data) is int and abs(data) < 2**53:
        data = float(data)
    if type(data) is not kind:
        _refuse(path, {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[kind])
    if isinstance(data, str) and "\0" in data:
        _refuse(path, "text without a null")
    if isinstance(data, float) and not math.isfinite(data):
        _refuse(path, "a finite number")
    return data


def _refuse(path: str, wanted: str) -> Any:
    raise DecodeError(f"{path or 'it'} is not {wanted}")
