"""States of a film on disk: nested dataclasses of arrays and numbers, in one .npz file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import write_arrays
from ...models.files import atomic_file
from ..errors import RecordError

State = TypeVar("State")


def write_state(path: Path, state: Any) -> None:
    """Writes a state, a dataclass whose fields are arrays, numbers, tuples of them, None, or dataclasses like itself.

    Raises OSError.
    """
    with atomic_file(path) as file:
        write_arrays(file, dict(_flattened(state, "")))


def read_state(path: Path, kind: type[State]) -> State:
    """Reads a state of that type, equal to the one that was written. Raises RecordError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if file.zip.testzip():
                raise ValueError("the archive is damaged")
            state: State = _built(kind, {name: file[name] for name in file.files}, "")
        return state
    except Exception as error:  # numpy and zipfile raise errors without a common base on damaged files
        raise RecordError(f"{path} is missing or damaged: start the film again with --overwrite") from error


def _flattened(value: Any, name: str) -> Iterator[tuple[str, NDArray[Any]]]:
    if is_dataclass(value):
        for field in fields(value):
            yield from _flattened(getattr(value, field.name), f"{name}.{field.name}" if name else field.name)
    elif isinstance(value, tuple) and not all(isinstance(item, int | float) for item in value):
        yield f"{name}.length", np.array(len(value))
        for number, item in enumerate(value):
            yield from _flattened(item, f"{name}.{number}")
    elif value is not None:
        yield name, np.asarray(value)


def _built(kind: Any, arrays: dict[str, NDArray[Any]], name: str) -> Any:
    kinds = get_args(kind)
    if NoneType in kinds:
        is_there = any(key == name or key.startswith(f"{name}.") for key in arrays)
        (kind,) = (one for one in kinds if one is not NoneType)
        return _built(kind, arrays, name) if is_there else None
    if is_dataclass(kind):
        prefix = f"{name}." if name else ""
        types = get_type_hints(kind)
        make: Any = kind
        return make(**{field.name: _built(types[field.name], arrays, prefix + field.name) for field in fields(kind)})
    if f"{name}.length" in arrays:
        return tuple(_built(kinds[0], arrays, f"{name}.{number}") for number in range(int(arrays[f"{name}.length"])))
    value = arrays[name]
    if kind in (int, float, bool):
        return kind(value)
    return tuple(value.tolist()) if kind is tuple or getattr(kind, "__origin__", None) is tuple else value
