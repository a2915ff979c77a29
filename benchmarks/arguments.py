"""Parses the benchmark's command line."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import physical_cores
from rows import ROWS, SIZES, Row, WidthHeight
from runner import RunPlan
from systems import SYSTEMS, System

HERE = Path(__file__).parent
PARTS = ("steps", "start", "job", "scaling")


@dataclass(frozen=True)
class Arguments:
    """The options of a benchmark run; `json` is the file that the results are written to."""

    rows: tuple[Row, ...]
    sizes: tuple[WidthHeight, ...]
    systems: tuple[System, ...]
    parts: tuple[str, ...]
    plan: RunPlan
    job_steps: int
    environments: Path
    json: Path
    publish: bool


def parse_arguments(argv: list[str]) -> Arguments:
    """Parses a command line without its program name; exits with a message if it is not valid."""
    parser = argparse.ArgumentParser(
        description="Time onnxdream and its peers in turn, after checking their gradients."
    )
    rows, systems = {row.name: row for row in ROWS}, {system.name: system for system in SYSTEMS}
    sizes = {"{}x{}".format(*size): size for size in SIZES}

    def list_parser(choices: dict[str, Any]) -> Any:
        def parse(text: str) -> tuple[Any, ...]:
            unknown = [name for name in text.split(",") if name not in choices]
            if unknown:
                raise argparse.ArgumentTypeError(f"unknown {unknown[0]!r}: choose from {', '.join(choices)}")
            return tuple(choices[name] for name in text.split(","))

        return parse

    def add_list(name: str, choices: dict[str, Any]) -> None:
        default, text = tuple(choices.values()), ", ".join(choices)
        parser.add_argument(name, type=list_parser(choices), default=default, metavar="A,B", help=text)

    add_list("--rows", rows)
    add_list("--sizes", sizes)
    add_list("--systems", systems)
    add_list("--parts", {part: part for part in PARTS})
    parser.add_argument(
        "--rounds", type=int, default=7, help="rounds, in each of which every system has a turn (default 7)"
    )
    parser.add_argument("--steps", type=int, default=5, help="timed steps in a turn (default 5)")
    parser.add_argument(
        "--threads", type=int, default=len(physical_cores()), help="CPU threads of each system (default: all cores)"
    )
    parser.add_argument(
        "--job-steps", type=int, default=1000, help="steps of the part job, a whole dream (default 1000)"
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=HERE / "environments.toml",
        help="which Python runs what (default benchmarks/environments.toml)",
    )
    parser.add_argument(
        "--json",
        type=Path,
        default=HERE / "results.json",
        help="file for all results, the seconds of each step included (default benchmarks/results.json)",
    )
    parser.add_argument("--publish", action="store_true", help="write the tables into docs/performance.md")
    values = vars(parser.parse_args(argv))
    plan = RunPlan(*(values.pop(name) for name in ("rounds", "steps", "threads")))
    return Arguments(plan=plan, **values)
