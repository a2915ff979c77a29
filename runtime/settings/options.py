"""The options of the command `dream`: all settings, files and presets, in the order of the help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from .settings import Execution, Panel, Settings, descriptions


@dataclass(frozen=True)
class Option:
    """An option of the command line, and a key of config files if it is `in_files`.

    `type` is the type that the command line gives; `flags` are the option's names if they do not follow from `name`.
    """

    name: str
    type: Any
    help: str
    panel: Panel | None = None
    flags: tuple[str, ...] = ()
    in_files: bool = True


_FIRST = (
    Option(
        "model",
        str,
        "The bundle, an exported network, to dream with: its path, its name, or the beginning of its name. Default: "
        "the preset's, or else the newest.",
    ),
    Option(
        "preset",
        str,
        "A named set of settings; the command `presets` lists them all. Options override it. Default: paper; the "
        "defaults in this help are its values.",
    ),
    Option(
        "layers",
        str,
        "Layers of the network to maximise, as in mixed3,mixed5; all others are left out. Default: the preset's, or "
        "else all.",
        "What to dream, and how",
    ),
)
_LAST = (
    Option(
        "output",
        Path,
        "File or folder to write the result to, or - for standard output. Default: the current folder.",
    ),
    Option(
        "format",
        str,
        "The format of the picture that --output - writes: png, jpg or webp. Default: png.",
        "What to write",
        in_files=False,
    ),
    Option(
        "extras",
        bool,
        "Also write the snapshots, the losses, their plot and the record; --no-extras leaves only the picture, and a "
        ".png keeps the record inside. Default: true.",
        "What to write",
        ("--extras/--no-extras",),
    ),
    Option(
        "config",
        Path,
        "TOML file to read options from; those of the command line override them. Relative paths in it start from the "
        "current folder.",
        in_files=False,
    ),
    Option(
        "save_config",
        Path,
        "Write the options of this dream, with those of its preset, to this .toml file for --config. Without a "
        "picture, nothing is dreamed.",
        "What to write",
        in_files=False,
    ),
    Option("resume", Path, "Continue an interrupted dream from its .checkpoint file.", in_files=False),
    Option(
        "repeat",
        Path,
        "Run an earlier dream again, from its .json or .png file, with the settings that changed on its way. Options "
        "override its settings for the whole run; a preset replaces all of them.",
        in_files=False,
    ),
    Option(
        "guide",
        Path,
        "Another picture to dream of: maximise the channels that respond more to it than to the picture. --guide-by "
        "offers other ways.",
        "What to dream, and how",
    ),
    Option(
        "direction",
        str,
        "Weights of the channels: a .npy file with float32 [channels] of the one layer that is maximised, or two "
        "pictures, as in day.jpg,night.jpg, to go from what the first shows towards what the second shows.",
        "What to dream, and how",
    ),
    Option(
        "mask",
        Path,
        "Picture of the same size that controls where to dream: white fully, grey partly, black not at all.",
        "The picture",
    ),
    Option(
        "recursive",
        bool,
        "Also dream the pictures in the folders inside folders.",
        "The picture",
        ("--recursive",),
        in_files=False,
    ),
    Option(
        "watch",
        Path,
        "Dream the pictures in this folder, and each that comes into it as soon as it is whole, into --output, until "
        "Ctrl-C.",
        "The picture",
        in_files=False,
    ),
    Option(
        "overwrite",
        bool,
        "Overwrite existing results, and the file of --save-config.",
        "What to write",
        ("--overwrite",),
        in_files=False,
    ),
    Option("quiet", bool, "Print errors only.", "What to write", ("-q", "--quiet"), in_files=False),
    Option(
        "verbose",
        bool,
        "Print more: the layers, the threads, and each octave with the provider's options.",
        "What to write",
        ("-v", "--verbose"),
        in_files=False,
    ),
    Option(
        "workers",
        str,
        "Dream several pictures at the same time, in this number of processes, or auto: as many as there are threads. "
        "They share the threads and the memory. Default: one after the other.",
        "Where to compute",
        in_files=False,
    ),
    Option(
        "cluster",
        str,
        "Dream on the machines of a Ray cluster: the address of its head, as in 10.0.0.1:6379; auto, the cluster that "
        "this machine belongs to; or local, one that is started here. --workers is then the most workers, and "
        "--threads those of each: 1 by default.",
        "Where to compute",
        in_files=False,
    ),
    Option(
        "ship",
        bool,
        "Send the pictures to the machines of --cluster, and the results back, where they share no folders.",
        "Where to compute",
        ("--ship",),
        in_files=False,
    ),
    Option(
        "progress",
        str,
        "How progress is shown: auto, a bar on a terminal or else a line every ten seconds, or json, events for a "
        "program, each a line of JSON. Default: auto.",
        "What to write",
        in_files=False,
    ),
    Option("film", Path, "Also write a film of the steps to this .mp4, .webm, .gif or .webp file.", "What to write"),
    Option(
        "every",
        int,
        "Number of steps between two frames of the film. Default: 10, or fewer for a short dream.",
        "What to write",
    ),
    Option(
        "fps",
        int,
        "Frames of the film per second. Default: 25, or fewer so that it lasts three seconds.",
        "What to write",
    ),
)


def described_options(settings: type[Any]) -> list[Option]:
    """Returns the options that the descriptions of settings make."""
    return [
        Option(name, one.kind.option, f"{one.sentence} Default: {one.shown_default}.", one.panel, one.flags)
        for name, one in descriptions(settings).items()
        if one.has_option
    ]


_PANELS: tuple[Panel | None, ...] = (None, *get_args(Panel))
OPTIONS: tuple[Option, ...] = tuple(
    sorted(
        (*_FIRST, *described_options(Settings), *_LAST, *described_options(Execution)),
        key=lambda option: _PANELS.index(option.panel),
    )
)
