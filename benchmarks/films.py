"""Measures films: `python benchmarks/films.py [SECTION ...]`; without a section, all of them.

The clips are made from the photographs of examples/. Needs the extra `video` and, for the section peers, a Python with
PyTorch and NumPy: that of the environment pytorch in environments.toml, or --pytorch. The exit code is 1 if a goal is
missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import film_files
import film_quality
import film_speed
from environments import EnvironmentsError, read_environments
from film_clips import FULL, QUICK, Extent
from film_report import Figure, table
from machine import describe_machine

Section = Callable[[Extent, Path], list[Figure]]
_ENVIRONMENTS = Path(__file__).with_name("environments.toml")


def sections(pytorch: Path) -> dict[str, Section]:
    """Returns the sections by name; `pytorch` is the Python of the peer."""
    return {
        "flicker": film_quality.flicker,
        "frozen": film_quality.frozen,
        "cuts": film_quality.cuts,
        "sound": film_files.sound,
        "memory": film_files.memory,
        "share": film_speed.share,
        "resume": film_files.resume,
        "peers": partial(film_speed.peers, pytorch=pytorch),
    }


def pytorch_environment() -> Path:
    """Returns the Python of the environment pytorch or, without one, this Python."""
    try:
        return read_environments(_ENVIRONMENTS).get("pytorch", Path(sys.executable))
    except EnvironmentsError:
        return Path(sys.executable)


def main(argv: list[str]) -> int:
    """Measures the sections and prints their tables; returns the exit code."""
    names = sections(Path())
    parser = argparse.ArgumentParser(description="Measure films, each figure beside its goal.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"any of {', '.join(names)}; all by default")
    parser.add_argument("--pytorch", type=Path, default=pytorch_environment(), help="a Python that has PyTorch")
    parser.add_argument("--quick", action="store_true", help="only check that it runs: tiny clips, meaningless figures")
    given = parser.parse_args(argv)
    if unknown := [name for name in given.sections if name not in names]:
        parser.error(f"unknown section {unknown[0]!r}: choose from {', '.join(names)}")
    print(*(f"{name}: {text}" for name, text in describe_machine().items()), sep="\n")
    missed = 0
    for name, section in sections(given.pytorch).items():
        if not given.sections or name in given.sections:
            started = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                figures = section(QUICK if given.quick else FULL, Path(folder))
            print(f"\n{name} ({time.perf_counter() - started:.0f} s)\n{table(figures)}", flush=True)
            missed += sum(figure.is_met is False for figure in figures)
    print(f"\n{missed} goals are missed" if missed else "\nall goals are met")
    return min(1, missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
