"""Reads which Python runs which system, and selects the systems whose environment exists."""

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
# The environment that makes the bundles, weights and reference gradients.
FIXTURES_ENVIRONMENT = "tensorflow"


class EnvironmentsError(ValueError):
    """The file of environments is missing or not valid."""


def read_environments(file: Path) -> Pythons:
    """Reads a file of environments: name -> absolute path of its Python. Raises EnvironmentsError."""
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EnvironmentsError(
            f"no {file.name}: copy {file.name}.example to that name and enter the paths of your Pythons"
        ) from None
    except ValueError as error:
        raise EnvironmentsError(f"{file.name} is not valid TOML: {error}") from None
    wrong = [name for name, python in entries.items() if not isinstance(python, str)]
    if wrong:
        raise EnvironmentsError(f"{file.name}: {wrong[0]} must be the path of a Python")
    if FIXTURES_ENVIRONMENT not in entries:
        raise EnvironmentsError(
            f"{file.name} has no environment {FIXTURES_ENVIRONMENT}, which makes the fixtures of all systems"
        )
    # Links are not resolved: a virtual environment's Python is a link to a Python outside of that environment.
    return {name: ROOT / Path(python).expanduser() for name, python in entries.items()}


def select_available(systems: Iterable[System], pythons: Pythons) -> tuple[list[System], dict[str, str]]:
    """Returns the systems that can run, and for the name of each other the reason why it is skipped."""
    available: list[System] = []
    skipped: dict[str, str] = {}
    for system in systems:
        python = pythons.get(system.environment)
        if python is None:
            skipped[system.name] = f"no environment {system.environment}"
        elif not python.is_file():
            skipped[system.name] = f"environment {system.environment} has no Python at the path given"
        else:
            available.append(system)
    return available, skipped
