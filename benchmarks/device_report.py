"""Writes the results of benchmarks/device.sh into the documentation: `python benchmarks/device_report.py RESULTS`.

It fills in the sections between the markers of docs/performance.md (what was measured) and docs/devices.md (what was
checked), with the card, its driver and the versions. What is not in RESULTS is stated as not yet run.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from device_case import NAMES
from device_rows import LOSS_RTOL, SIZES, read_rows, size_name
from report import make_table, write_section

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- device: begin -->", "<!-- device: end -->"
NOT_RUN = "not yet run"
_CHECKS = ("doctor", "verify", "tests", "look", "paper")
_SIZES = tuple(map(size_name, SIZES))
_TITLES = {
    "doctor": "`doctor`",
    "verify": "`verify` of a deployed folder",
    "tests": "`tests/gpu`",
    "look": "a look, `creatures`",
    "paper": "a paper dream of 300 steps",
}
Rows = list[dict[str, Any]]


def main(folder: Path, docs: Path = DOCS) -> None:
    """Fills in both pages."""
    write_section(docs / "performance.md", BEGIN, END, performance(folder))
    write_section(docs / "devices.md", BEGIN, END, checks(folder))


def performance(folder: Path) -> str:
    """Returns what was measured, in Markdown."""
    if not read_rows(folder / "steps.jsonl"):
        return f"`benchmarks/device.sh` measures these tables on a card: {NOT_RUN}.\n"
    peers = [row for name in ("pytorch_v3", "pytorch_lite0", "compile") for row in read_rows(folder / f"{name}.jsonl")]
    steps = [*read_rows(folder / "steps.jsonl"), *read_rows(folder / "tuned.jsonl"), *peers]
    options = [{**row, "system": row["variant"]} for row in read_rows(folder / "options.jsonl")]
    graph = [{**row, "system": row["variant"]} for row in read_rows(folder / "graph.jsonl")]
    parts = [
        _card(folder),
        *(_steps(f"ms per step of `{name}`", [row for row in steps if row["network"] == name]) for name in NAMES),
        _steps("ms per step of `v3-low` with other options", options),
        _steps("ms per gradient of `v3-low`", graph),
        _busy(read_rows(folder / "busy.jsonl")),
        _memory(read_rows(folder / "memory.jsonl")),
        _verdicts(folder, "2"),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def checks(folder: Path) -> str:
    """Returns what was checked, in Markdown."""
    verdicts = _read_verdicts(folder / "sections.1")
    if not verdicts or not read_rows(folder / "machine.jsonl"):  # which is written where CUDA works
        return f"`benchmarks/device.sh` checks a card: {NOT_RUN}.\n"
    lines = [[_TITLES[name], verdicts.get(name, NOT_RUN)] for name in _CHECKS]
    return f"{_card(folder)}\n\n{make_table(['check', 'verdict'], lines)}\n"


def _card(folder: Path) -> str:
    """Returns a sentence with the card, its driver and the versions."""
    found = read_rows(folder / "machine.jsonl")
    facts = found[-1] if found else {}
    versions = {
        "driver": facts.get("driver"),
        "CUDA": facts.get("cuda"),
        "cuDNN": facts.get("cudnn"),
        "onnxruntime-gpu": facts.get("onnxruntime"),
        "PyTorch": facts.get("torch"),
    }
    known = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return f"{facts.get('date', 'Unknown date')}, {facts.get('gpu') or 'unknown card'} ({known or 'unknown versions'})."


def _steps(title: str, rows: Rows) -> str:
    """Returns a table of times: a line for each system, a column for each size."""
    by_system: dict[str, dict[str, dict[str, Any]]] = {row["system"]: {} for row in rows}
    for row in rows:
        by_system[row["system"]][row["size"]] = row
    lines = [
        [system, *(_time(sizes.get(size)) for size in _SIZES), _agreement(list(sizes.values()))]
        for system, sizes in by_system.items()
    ]
    header = [title, *(size.replace("x", "×") for size in _SIZES), "agreement with the CPU"]
    return make_table(header, lines) if lines else f"{title}: {NOT_RUN}."


def _time(row: dict[str, Any] | None) -> str:
    if row is None:
        return NOT_RUN
    if not row.get("loss_error", 0.0) < row.get("loss_rtol", LOSS_RTOL):  # written so that NaN is wrong, too
        return "wrong losses"
    return "failed" if "median_ms" not in row else "{median_ms:.2f} ({low_ms:.2f}–{high_ms:.2f})".format(**row)


def _agreement(rows: Rows) -> str:
    """Returns the worst cosine of the gradient and the largest relative error of a loss, where they are known."""
    cosines = [row["cosine"] for row in rows if "cosine" in row]
    errors = [row["loss_error"] for row in rows if "loss_error" in row]
    parts = [f"cosine {min(cosines):.6f}"] if cosines else []
    return ", ".join([*parts, *([f"losses within {max(errors):.0e}"] if errors else [])])


def _busy(rows: Rows) -> str:
    lines = [
        [
            row["network"],
            row["size"].replace("x", "×"),
            _share(row["busy_in_profile"]),
            _share(row["busy_in_nvidia_smi"]),
        ]
        for row in rows
    ]
    header = ["GPU busy", "size", "kernels in onnxruntime's profile", "nvidia-smi"]
    return make_table(header, lines) if lines else f"How busy the GPU is: {NOT_RUN}."


def _share(share: float | None) -> str:
    return "not recorded" if share is None else f"{share:.0%}"


def _memory(rows: Rows) -> str:
    lines = [
        [
            row["network"],
            row["size"].replace("x", "×"),
            *(f"{row[f'{kind}_bytes'] / 1e6:.0f}" for kind in ("taken", "planned")),
        ]
        for row in rows
    ]
    header = ["the GPU's memory, MB", "size", "taken, beside CUDA's context", "planned"]
    return make_table(header, lines) if lines else f"The GPU's memory: {NOT_RUN}."


def _verdicts(folder: Path, part: str) -> str:
    """Returns the sections of a part that did not end well, as a list."""
    verdicts = _read_verdicts(folder / f"sections.{part}")
    return "\n".join(f"- {name}: {verdict}" for name, verdict in verdicts.items() if verdict != "ok")


def _read_verdicts(file: Path) -> dict[str, str]:
    """Returns section -> ok, failed or skipped, with the reason."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return dict(re.findall(r"^SECTION (\w+): (.+)$", text, re.MULTILINE))


def run(argv: Sequence[str]) -> int:
    """Reads a folder of results; returns the exit code."""
    if len(argv) != 1 or not Path(argv[0]).is_dir():
        print("give the folder of results of benchmarks/device.sh", file=sys.stderr)
        return 2
    main(Path(argv[0]))
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
