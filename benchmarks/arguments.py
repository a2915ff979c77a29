"""What a command line asks of the benchmark."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import physical_cores
from rows import ROWS, SIZES, Row, Size
from runner import RunPlan
from systems import SYSTEMS, System

HERE = Path(__file__).parent
PARTS = ("steps", "start", "job", "scaling")


@dataclass(frozen=True)
class Arguments:
    """What to run."""

    rows: tuple[Row, ...]
    sizes: tuple[Size, ...]
    systems: tuple[System, ...]
    parts: tuple[str, ...]
    plan: RunPlan
    job_steps: int
    environments: Path
    json: Path
    publish: bool


def parse_arguments(words: list[str]) -> Arguments:
    """The order of a command line."""
    parser = argparse.ArgumentParser(description="Times onnxdream against its peers, interleaved, after checking them.")
    rows, systems = {row.name: row for row in ROWS}, {system.name: system for system in SYSTEMS}
    sizes = {"{}x{}".format(*size): size for size in SIZES}

    def some(known: dict[str, Any]) -> Any:
        def chosen(text: str) -> tuple[Any, ...]:
            unknown = [name for name in text.split(",") if name not in known]
            if unknown:
                raise argparse.ArgumentTypeError(f"unknown {unknown[0]!r}: choose of {', '.join(known)}")
            return tuple(known[name] for name in text.split(","))

        return chosen

    def option(name: str, known: dict[str, Any]) -> None:
        parser.add_argument(name, type=some(known), default=tuple(known.values()), metavar="A,B", help=", ".join(known))

    option("--rows", rows)
    option("--sizes", sizes)
    option("--systems", systems)
    option("--parts", {part: part for part in PARTS})
    parser.add_argument("--rounds", type=int, default=7, help="turns of each system (default 7)")
    parser.add_argument("--steps", type=int, default=5, help="steps in a turn (default 5)")
    parser.add_argument("--threads", type=int, default=len(physical_cores()), help="CPU threads of each system")
    parser.add_argument("--job-steps", type=int, default=1000, help="steps of the whole dream (default 1000)")
    parser.add_argument(
        "--environments", type=Path, default=HERE / "environments.toml", help="default benchmarks/environments.toml"
    )
    parser.add_argument(
        "--json", type=Path, default=HERE / "results.json", help="where to write it all, seconds of each step included"
    )
    parser.add_argument("--publish", action="store_true", help="write the tables into docs/performance.md")
    chosen = vars(parser.parse_args(words))
    plan = RunPlan(*(chosen.pop(name) for name in ("rounds", "steps", "threads")))
    return Arguments(plan=plan, **chosen)
