"""Config files: the options of `dream` as keys of a TOML file."""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...models.files import atomic_write
from ..errors import OutputError, SettingsError
from .options import OPTIONS
from .parsing import parse_layers
from .settings import Execution, Settings, descriptions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Keys that are not settings of the dream: the preset, the bundle, what to compute on, and files.
_OTHER_KEYS = tuple(
    dict.fromkeys(
        [
            *(option.name for option in OPTIONS if option.in_files and option.name not in descriptions(Settings)),
            *descriptions(Execution),
        ]
    )
)
_PATH_KEYS = tuple(option.name for option in OPTIONS if option.in_files and option.type is Path)
_TEXT_KEYS = ("preset", "model", "direction", *_PATH_KEYS)
# Each option replaces these options of a config file or a record, which choose what to dream in another way.
_REPLACED: Mapping[str, set[str]] = {
    "layers": {"layer_weights", "channels", "classes", "position"},
    "layer_weights": {"layers", "channels", "classes", "position"},
    "channels": {"layers", "layer_weights", "pick", "guide", "guide_by", "direction", "classes", "position"},
    "classes": {"layers", "layer_weights", "channels", "pick", "guide", "guide_by", "direction", "position"},
    "pick": {"channels", "guide", "guide_by", "direction", "classes"},
    "guide": {"channels", "pick", "direction", "classes"},
    "guide_by": {"channels", "pick", "direction", "classes"},
    "direction": {"channels", "pick", "guide", "guide_by", "classes"},
}


def read_config(path: Path) -> dict[str, Any]:
    """Reads the options in a TOML file, under their Python names (`step_size` for `step-size`), with values as written.

    Only `~` in paths is expanded. Raises SettingsError.
    """
    return known_options(read_toml(path), path)


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file, which may begin with a byte order mark, as some editors write it. Raises SettingsError."""
    try:
        options: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        repr(options)  # as messages do, which Python refuses for a hexadecimal number of thousands of digits
    except FileNotFoundError:
        raise SettingsError(f"no config file {path}: check the name and the folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read config file {path} ({error}): it must be readable UTF-8 text") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and numbers of thousands of digits
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    return options


def known_options(options: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Returns the options of the file `path` under their Python names, with `~` in paths expanded.

    Raises SettingsError.
    """
    known: dict[str, Any] = {}
    for key, value in options.items():
        name = _known(key, path)
        if name in known:
            raise SettingsError(f"{path}: {key} is given twice, with - and with _: leave one of them out")
        known[name] = value
    for name in _TEXT_KEYS:
        text = known.get(name, "")
        if not isinstance(text, str) or "\0" in text:
            raise SettingsError(f"{path}: {name} must be text, not {text!r}")
    return known | {name: os.path.expanduser(known[name]) for name in _PATH_KEYS if name in known}


def _known(key: str, path: Path) -> str:
    known = [*descriptions(Settings), *_OTHER_KEYS]
    name = key.replace("-", "_")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0].replace('_', '-')}?" if near else "see `dream --help` for the options"
        raise SettingsError(f"{path}: unknown key {key!r}: {hint}")
    return name


def settings_changes(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings among the options, as the fields of Settings take them, with those that `layers` makes.

    Raises SettingsError.
    """
    changes = read_described(Settings, options)
    if "layers" in options:
        if "layer_weights" in changes:
            raise SettingsError("layers and layer weights contradict each other: give one of them")
        changes["layer_weights"] = _layers(options["layers"])
    return changes


def _layers(given: object) -> dict[str, float]:
    if isinstance(given, str) or (isinstance(given, list) and all(isinstance(name, str) for name in given)):
        return parse_layers(given)
    raise SettingsError(f"layers must be names, as in mixed3,mixed5, not {given!r}")


def execution_of(options: Mapping[str, Any]) -> Execution:
    """Returns the execution settings among the options. Raises SettingsError."""
    return Execution(**read_described(Execution, options))


def read_described(settings: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those options that are settings of a type, see `descriptions`, as its fields take them.

    Texts are parsed as on the command line. Raises SettingsError.
    """
    kinds = {name: description.kind for name, description in descriptions(settings).items()}
    return {name: kind.read(name.replace("_", " "), options[name]) for name, kind in kinds.items() if name in options}


def overridden(options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options of a config file or a record with those that the user gave in their place."""
    replaced = set().union(*(_REPLACED.get(name, ()) for name in given))
    return {**{name: value for name, value in options.items() if name not in replaced}, **given}


def options_of(settings: Settings) -> dict[str, Any]:
    """Returns the options that make these settings, with values as a config file holds them.

    Settings of None are left out; they are the defaults of the preset `paper`.
    """
    found: dict[str, Any] = {}
    for part in (settings, settings.execution):
        for name, description in descriptions(type(part)).items():
            found[name] = description.kind.write(getattr(part, name))
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class ConfigFile:
    """A config file to be written: its path and the options in it. Raises SettingsError for another suffix."""

    path: Path
    options: Mapping[str, Any]
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.path.suffix.lower() != ".toml":
            raise SettingsError(f"{self.path}: config files are TOML: choose a name that ends in .toml")

    @property
    def text(self) -> str:
        """The options as TOML, which `read_config` reads."""
        lines = [f"{name.replace('_', '-')} = {_toml(value)}" for name, value in self.options.items()]
        return "\n".join(["# The options of a dream, for onnxdream dream --config.", *lines, ""])

    def write(self) -> None:
        """Writes the file; replaces one only with `overwrite`. Raises OutputError and SettingsError."""
        try:
            data = self.text.encode()
        except UnicodeEncodeError:
            raise SettingsError(f"{self.path} cannot hold a path that is not UTF-8: rename that file") from None
        if not self.overwrite and os.path.lexists(self.path):
            raise OutputError(f"{self.path} exists: choose another name, or replace it with --overwrite")
        try:
            atomic_write(self.path, data)
        except OSError as error:
            raise OutputError(f"cannot write {self.path} ({error.strerror}): choose another name") from error


def _toml(value: Any) -> str:
    """Returns a value as TOML. Strings and booleans are as in JSON, but for a character that TOML escapes, too."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_toml(key)} = {_toml(item)}' for key, item in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
