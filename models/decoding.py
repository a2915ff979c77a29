"""JSON read into dataclasses, strictly: what the program writes for itself is read back by this and nothing else."""

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
    """Data of another shape or type than what is to be read; the message names the place, as in `rows.3.size`."""


def decoded_json(kind: type[Value], text: str | bytes, readers: Readers | None = None) -> Value:
    """The text of a JSON object as a dataclass. Raises DecodeError."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise DecodeError("it is not JSON") from None
    read: Value = decoded(kind, data, readers)
    return read


def decoded(kind: Any, data: Any, readers: Readers | None = None, place: str = "") -> Any:
    """Data of a JSON file as a value of that type: dataclasses by their fields, no key too many, (named) tuples
    from lists.

    `readers` read types that have a way of their own. Numbers are finite, text holds no null, a whole number serves as
    a float, a boolean never as a number. Raises DecodeError, and what readers raise.
    """
    readers = readers or {}
    if kind in readers:
        return readers[kind](data)
    if kind is Any:
        return data
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (inner,) = (one for one in arguments if one is not NoneType)
        return None if data is None else decoded(inner, data, readers, place)
    if origin is Literal:
        return data if data in arguments else _refuse(place, f"one of {', '.join(map(str, arguments))}")
    if origin is tuple:
        return _tuple(arguments, data, readers, place)
    if origin in (dict, Mapping):
        if not isinstance(data, dict):
            _refuse(place, "an object")
        return {key: decoded(arguments[1], value, readers, f"a value of {place}") for key, value in data.items()}
    if _is_named_tuple(kind):
        return kind(*_tuple(tuple(get_type_hints(kind).values()), data, readers, place))
    if is_dataclass(kind):
        return _dataclass(kind, data, readers, place)
    return _plain(kind, data, place)


def _dataclass(kind: Any, data: Any, readers: Readers, place: str) -> Any:
    if not isinstance(data, dict):
        _refuse(place, "an object")
    types = get_type_hints(kind)
    needed = {one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING}
    prefix = f"{place}." if place else ""
    for name in sorted(needed - set(data)):
        raise DecodeError(f"it lacks {prefix}{name}")
    for name in sorted(set(data) - set(types)):
        raise DecodeError(f"{prefix}{name[:40]!r} is unknown")
    return kind(**{name: decoded(types[name], value, readers, prefix + name) for name, value in data.items()})


def _is_named_tuple(kind: Any) -> bool:
    """Whether a type is a NamedTuple, which JSON holds as a list."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def _tuple(arguments: tuple[Any, ...], data: Any, readers: Readers, place: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        _refuse(place, "a list")
    kinds = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else list(arguments)
    if len(kinds) != len(data):
        _refuse(place, f"a list of {len(kinds)}")
    pairs = enumerate(zip(kinds, data, strict=True))
    return tuple(decoded(kind, one, readers, f"{place}.{at}") for at, (kind, one) in pairs)


def _plain(kind: type, data: Any, place: str) -> Any:
    if kind is float and type(data) is int and abs(data) < 2**53:
        data = float(data)
    if type(data) is not kind:
        _refuse(place, {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[kind])
    if isinstance(data, str) and "\0" in data:
        _refuse(place, "text without a null")
    if isinstance(data, float) and not math.isfinite(data):
        _refuse(place, "a finite number")
    return data


def _refuse(place: str, wanted: str) -> Any:
    raise DecodeError(f"{place or 'it'} is not {wanted}")
