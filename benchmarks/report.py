"""Writes the results as Markdown tables, for the terminal and between the markers of docs/performance.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rows import ROWS, STANDARD_ROW, STANDARD_SIZE
from summary import median_ratio
from systems import SYSTEMS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
Results = dict[str, Any]
_TITLES = {system.name: system.title for system in SYSTEMS}


def report(results: Results) -> str:
    """Returns all tables in Markdown."""
    parts = [_heading(results)]
    parts += [_steps(results["steps"], row.name, row.title) for row in ROWS if _of_row(results, row.name)]
    parts += [_start(results)] if results.get("start") else []
    parts += [_job(results["job"])] if results.get("job") else []
    parts += [_scaling(results["scaling"])] if results.get("scaling") else []
    return "\n\n".join([*parts, _versions(results)]) + "\n"


def publish(results: Results, page: Path = PAGE) -> None:
    """Writes the tables between the page's markers. Raises ValueError if the markers are missing."""
    write_section(page, BEGIN, END, report(results))


def write_section(page: Path, begin: str, end: str, text: str) -> None:
    """Replaces what is between two markers of a page. Raises ValueError if the markers are missing."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, marker, after = rest.partition(end)
    if not marker:
        raise ValueError(f"{page.name} has no markers {begin} and {end}: add them")
    page.write_text(f"{before}{begin}\n{text}{end}{after}", encoding="utf-8")


def _heading(results: Results) -> str:
    facts = results["machine"]
    return (
        f"{results['date']}, {facts['processor']}, {results['threads']} threads on {facts['cores']} cores, "
        f"{facts['memory']}, {facts['system']}; load average {facts['load before']} before the run."
    )


def _of_row(results: Results, row: str) -> list[dict[str, Any]]:
    return [case for case in results.get("steps", []) if case["row"] == row]


def _steps(cases: list[dict[str, Any]], row: str, title: str) -> str:
    """Returns the table of a row of the benchmark: a line for each system, a column for each size."""
    cases = [case for case in cases if case["row"] == row]
    header = ["ms per step", *("{}×{}".format(*case["size"]) for case in cases), "min. gradient cosine"]
    lines = []
    for system in SYSTEMS:
        times = [case["systems"].get(system.name) for case in cases]
        if any(times):
            lines.append([system.title, *map(_format_time, times), _min_cosine(times)])
            if system.is_onnxdream:
                gradients = [facts and {**facts["evaluation"], "ratio": None} for facts in times]
                lines.append(["– gradient only", *map(_format_time, gradients), ""])
    operations = ", ".join(f"{case['gflop']:.1f}" for case in cases)
    return f"### {title}\n\n{make_table(header, lines)}\n\nGFLOP of convolution per step: {operations}."


def _format_time(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return ""
    times = "{median_ms:.0f} ({low_ms:.0f}–{high_ms:.0f})".format(**facts)
    return times if facts["ratio"] is None else f"{times} · {facts['ratio']:.2f}×"


def _min_cosine(times: list[dict[str, Any] | None]) -> str:
    cosines = [facts["cosine"] for facts in times if facts and facts["cosine"] is not None]
    return f"{min(cosines):.7f}" if cosines else ""


def _start(results: Results) -> str:
    standard = [case for case in _of_row(results, STANDARD_ROW) if tuple(case["size"]) == STANDARD_SIZE]
    memory = {name: facts["peak_bytes"] for name, facts in standard[0]["systems"].items()} if standard else {}
    starts: dict[str, list[float]] = results["start"]
    first = next(iter(starts))
    lines = [
        [
            _TITLES[name],
            f"{statistics.median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})",
            f"{median_ratio(starts[first], seconds):.2f}×",
            f"{memory[name] / 1e6:.0f}" if name in memory else "",
        ]
        for name, seconds in starts.items()
    ]
    header = ["", "first gradient, s (range)", f"relative to {_TITLES[first]}", "peak memory, MB"]
    return (
        f"### Cold start and memory ({STANDARD_ROW}, {'{}×{}'.format(*STANDARD_SIZE)})\n\n{make_table(header, lines)}"
    )


def _job(job: dict[str, Any]) -> str:
    return (
        f"### A whole dream\n\n`dream`, {job['steps']} steps at {'{}×{}'.format(*STANDARD_SIZE)} with all its files "
        f"({_TITLES[job['system']]}): {job['seconds']:.1f} s; the same number of bare steps: "
        f"{job['steps_alone_seconds']:.1f} s; {job['share']:.2f}×."
    )


def _scaling(lines: list[dict[str, Any]]) -> str:
    cells = [
        [
            "{}×{}".format(*line["size"]),
            f"{line['size'][0] * line['size'][1] / 1e6:.2f}",
            f"{line['median_ms']:.0f}",
            f"{line['gflop']:.1f}",
            f"{line['ms_per_gflop']:.2f}",
        ]
        for line in lines
    ]
    table = make_table(["size", "megapixels", "ms per step", "GFLOP", "ms per GFLOP"], cells)
    return f"### Scaling ({STANDARD_ROW}, {_TITLES['cpu']})\n\n{table}"


def _versions(results: Results) -> str:
    lines = [
        f"- {_TITLES[name]}: {', '.join(f'{package} {version}' for package, version in packages.items())}"
        for name, packages in results["versions"].items()
        if name in _TITLES
    ]
    skipped = [f"- not measured: {_TITLES.get(name, name)} ({reason})" for name, reason in results["skipped"].items()]
    return "\n".join([*lines, *skipped])


def make_table(header: Iterable[str], lines: list[list[str]]) -> str:
    """Returns a table in Markdown."""
    cells = [list(header), *lines]
    rows = [f"| {' | '.join(line)} |" for line in cells]
    return "\n".join([rows[0], "|" + "---|" * len(cells[0]), *rows[1:]])
