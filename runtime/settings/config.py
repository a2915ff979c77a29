"""Config files: the options of `dream` as keys of a TOML file."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from .options import OPTIONS
from .parsing import parse_layers
from .settings import Execution, Settings, descriptions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Keys that are not settings of the dream: the preset, the bundle, what to compute on, and files.
_OTHER_KEYS = tuple(option.name for option in OPTIONS if option.in_files and option.name not in descriptions(Settings))
_TEXT_KEYS = ("preset", "model", *(option.name for option in OPTIONS if option.in_files and option.type is Path))


def read_config(path: Path) -> dict[str, Any]:
    """Reads the options in a TOML file, under their Python names (`step_size` for `step-size`), with values as written.

    Raises SettingsError.
    """
    return known_options(read_toml(path), path)


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file. Raises SettingsError."""
    try:
        options: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"no config file {path}: check the name and the folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read config file {path} ({error}): it must be readable UTF-8 text") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and numbers of thousands of digits
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    return options


def known_options(options: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Returns the options of the file `path` under their Python names. Raises SettingsError."""
    known = {_known(key, path): value for key, value in options.items()}
    for name in _TEXT_KEYS:
        text = known.get(name, "")
        if not isinstance(text, str) or "\0" in text:
            raise SettingsError(f"{path}: {name} must be text, not {text!r}")
    return known


def _known(key: str, path: Path) -> str:
    known = [*descriptions(Settings), *_OTHER_KEYS]
    name = key.replace("-", "_")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0].replace('_', '-')}?" if near else "see `dream --help` for the options"
        raise SettingsError(f"{path}: unknown key {key!r}: {hint}")
    return name


def settings_changes(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings among the options, as the fields of Settings take them. Texts are parsed as on the command
    line.

    Raises SettingsError.
    """
    kinds = {name: description.kind for name, description in descriptions(Settings).items()}
    changes = {name: kinds[name].read(name.replace("_", " "), options[name]) for name in kinds if name in options}
    if "layers" in options:
        if "layer_weights" in changes:
            raise SettingsError("layers and layer weights contradict each other: give one of them")
        changes["layer_weights"] = _layers(options["layers"])
    return changes


def _layers(given: object) -> dict[str, float]:
    names: list[Any] = given if isinstance(given, list) else [given]
    if not all(isinstance(name, str) for name in names):
        raise SettingsError(f"layers must be names, as in mixed3,mixed5, not {given!r}")
    return parse_layers(",".join(names))


def execution_of(options: Mapping[str, Any]) -> Execution:
    """Returns the execution settings among the options. Raises SettingsError."""
    kinds = {name: description.kind for name, description in descriptions(Execution).items()}
    return Execution(**{name: kinds[name].read(name, options[name]) for name in kinds if name in options})
