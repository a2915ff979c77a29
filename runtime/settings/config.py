"""A run from a file: the options of `dream` as TOML keys."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from .schedule import parse_schedule
from .settings import Execution, Settings, parse_layer_weights, parse_layers, parse_snapshots

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
# Keys that are no settings: which preset and bundle, where to compute, and files.
_OTHER_KEYS = (
    "preset",
    "model",
    "layers",
    "provider",
    "precision",
    "threads",
    "memory",
    "mask",
    "guide",
    "output",
    "film",
    "every",
)
_TEXTS = ("preset", "model", "mask", "guide", "output", "film")
_LISTS = ("snapshots", "channels")
_SCHEDULES = ("step_size", "blur")


def read_config(path: Path) -> dict[str, Any]:
    """The options in a TOML file, under their Python names (`step_size` for `step-size`), values as written.

    Raises SettingsError.
    """
    return known_options(read_toml(path), path)


def read_toml(path: Path) -> dict[str, Any]:
    """Raises SettingsError."""
    try:
        options: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"no config file {path}: check the name and the folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read config file {path} ({error}): check it") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and numbers of thousands of digits
        raise SettingsError(f"{path} is no TOML: {error}") from error
    return options


def known_options(options: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Options as written in the file `path`, under their Python names. Raises SettingsError."""
    known = {_known(key, path): value for key, value in options.items()}
    for name in _TEXTS:
        text = known.get(name, "")
        if not isinstance(text, str) or "\0" in text:
            raise SettingsError(f"{path}: {name} must be a text, not {text!r}")
    return known


def _known(key: str, path: Path) -> str:
    known = [name for name in _setting_names() if name != "execution"] + list(_OTHER_KEYS)
    name = key.replace("-", "_")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0].replace('_', '-')}?" if near else "see `dream --help` for the options"
        raise SettingsError(f"{path}: unknown key {key!r}: {hint}")
    return name


def settings_changes(options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among some options, each as a Settings field takes it; texts are read as on the command line.

    Raises SettingsError.
    """
    changes = {name: value for name, value in options.items() if name in _setting_names()}
    if isinstance(changes.get("noise"), list):
        changes["noise"] = "x".join(map(str, changes["noise"]))
    readers = {"layer_weights": parse_layer_weights, "snapshots": parse_snapshots, "noise": parse_size}
    for name, reader in readers.items():
        if isinstance(changes.get(name), str):
            changes[name] = reader(changes[name])
    for name in _SCHEDULES:
        if isinstance(changes.get(name), str):
            changes[name] = parse_schedule(name.replace("_", " "), changes[name])
        elif isinstance(changes.get(name), list):
            changes[name] = tuple(changes[name])
    for name in _LISTS:
        if isinstance(changes.get(name), str):
            changes[name] = (changes[name],)
        elif isinstance(changes.get(name), list):
            changes[name] = tuple(changes[name])
    if "layers" in options:
        if "layer_weights" in changes:
            raise SettingsError("layers and layer weights contradict each other: give one of them")
        changes["layer_weights"] = _layers(options["layers"])
    if changes.get("max_size") == 0 and changes["max_size"] is not False:
        changes["max_size"] = None
    return changes


def _layers(given: object) -> dict[str, float]:
    names: list[Any] = given if isinstance(given, list) else [given]
    if not all(isinstance(name, str) for name in names):
        raise SettingsError(f"layers must be names, as in mixed3,mixed5, not {given!r}")
    return parse_layers(",".join(names))


def execution_of(options: Mapping[str, Any]) -> Execution:
    """Where to compute, among some options. Raises SettingsError."""
    memory = options.get("memory")
    return Execution(
        options.get("provider", "auto"),
        options.get("threads"),
        parse_memory(memory) if isinstance(memory, str) else memory,
        precision=options.get("precision", "fp32"),
    )


def parse_memory(text: str) -> int:
    """Bytes of `1GB`, `512MB`, `1.5GiB` or a plain number. Raises SettingsError."""
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d+)?)\s*((?:[KMG]I?)?B)?\s*", text.upper())
    size = int(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    if not size:
        raise SettingsError(f"memory {text!r}: write a size as in 1GB or 512MB")
    return size


def parse_size(text: str, option: str = "noise") -> tuple[int, int]:
    """Reads an option's `512x384`, width first. Raises SettingsError."""
    match = re.fullmatch(r"\s*(\d{1,5})\s*[x×]\s*(\d{1,5})\s*", text)
    if not match or not (int(match[1]) and int(match[2])):
        raise SettingsError(f"{option} {text!r}: write width x height, as in 512x384")
    return int(match[1]), int(match[2])


def _setting_names() -> list[str]:
    return [setting.name for setting in fields(Settings)]
