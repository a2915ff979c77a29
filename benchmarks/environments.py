"""Which Python runs which system, and which systems have none here."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from systems import System

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Pythons = dict[str, Path]
ROOT = Path(__file__).parents[1]
# Makes the bundles, weights and reference gradients.
MAKER = "tensorflow"


class EnvironmentsError(ValueError):
    """The file of environments cannot serve."""


def read_environments(file: Path) -> Pythons:
    """Environment -> its Python, absolute. Raises EnvironmentsError."""
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EnvironmentsError(f"no {file.name}: copy {file.name}.example beside it and enter your Pythons") from None
    except ValueError as error:
        raise EnvironmentsError(f"{file.name} is no TOML: {error}") from None
    wrong = [name for name, python in entries.items() if not isinstance(python, str)]
    if wrong:
        raise EnvironmentsError(f"{file.name}: {wrong[0]} must be the path of a Python")
    if MAKER not in entries:
        raise EnvironmentsError(f"{file.name} has no environment {MAKER}, which makes what all others are given")
    # Not resolved: a virtual environment's Python is a link that must not be followed.
    return {name: ROOT / Path(python).expanduser() for name, python in entries.items()}


def sort_out(systems: Iterable[System], pythons: Pythons) -> tuple[list[System], dict[str, str]]:
    """The systems that can run, and why each of the others is skipped, by its name."""
    here: list[System] = []
    skipped: dict[str, str] = {}
    for system in systems:
        python = pythons.get(system.environment)
        if python is None:
            skipped[system.name] = f"no environment {system.environment}"
        elif not python.is_file():
            skipped[system.name] = f"environment {system.environment} has no Python where it should be"
        else:
            here.append(system)
    return here, skipped
