"""The options of a dream: every setting, and what else may be asked for, in the order in which help lists them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from .settings import Execution, Panel, Settings, described


@dataclass(frozen=True)
class Option:
    """An option on the command line, and a key of a config file where it is `in_files`.

    `type` is that of its value on the command line, a file's `is_path` included; `flags` are its names where these are
    not its own.
    """

    name: str
    type: Any
    help: str
    panel: Panel | None = None
    flags: tuple[str, ...] = ()
    in_files: bool = True


_OTHERS_FIRST = (
    Option("model", str, "A bundle's path, name, or the beginning of its name."),
    Option("preset", str, "Settings by name; the command `presets` lists them."),
    Option("layers", str, "Layers to climb, as in mixed3,mixed5; the others are left out.", "What to climb, and how"),
)
_OTHERS_LAST = (
    Option("output", Path, "A folder, or a picture's path."),
    Option("config", Path, "Take options from a TOML file.", in_files=False),
    Option("resume", Path, "Go on from a .checkpoint.", in_files=False),
    Option("repeat", Path, "Run a dream's .json or .png again.", in_files=False),
    Option("guide", Path, "Dream of what this picture has more of.", "What to climb, and how"),
    Option("mask", Path, "Dream only where this picture is white.", "The picture"),
    Option("overwrite", bool, "Replace results.", "What to write", ("--overwrite",), in_files=False),
    Option("film", Path, "Write an .mp4 of the steps.", "What to write"),
    Option("every", int, "Steps between frames of the film.", "What to write"),
)


def _of(settings: type[Settings] | type[Execution]) -> list[Option]:
    return [
        Option(name, one.kind.option, one.help, one.panel, one.flags)
        for name, one in described(settings).items()
        if not one.of_presets
    ]


_PANELS: tuple[Panel | None, ...] = (None, *get_args(Panel))
OPTIONS: tuple[Option, ...] = tuple(
    sorted((*_OTHERS_FIRST, *_of(Settings), *_OTHERS_LAST, *_of(Execution)), key=lambda one: _PANELS.index(one.panel))
)
