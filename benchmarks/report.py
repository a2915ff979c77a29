"""The tables: for the terminal, and between the markers of docs/performance.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rows import HOME_ROW, HOME_SIZE, ROWS
from summary import ratio
from systems import SYSTEMS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
Results = dict[str, Any]
_TITLES = {system.name: system.title for system in SYSTEMS}


def report(results: Results) -> str:
    """All tables, in Markdown."""
    parts = [_heading(results)]
    parts += [_steps(results["steps"], row.name, row.title) for row in ROWS if _of_row(results, row.name)]
    parts += [_start(results)] if results.get("start") else []
    parts += [_job(results["job"])] if results.get("job") else []
    parts += [_scaling(results["scaling"])] if results.get("scaling") else []
    return "\n\n".join([*parts, _versions(results)]) + "\n"


def publish(results: Results, page: Path = PAGE) -> None:
    """Puts the tables between the page's markers and leaves the rest as it is."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        raise ValueError(f"{page.name} has lost its markers {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{report(results)}{END}{after}", encoding="utf-8")


def _heading(results: Results) -> str:
    facts = results["machine"]
    return (
        f"{results['date']}, {facts['processor']}, {results['threads']} threads on {facts['cores']} cores, "
        f"{facts['memory']}, {facts['system']}; load average {facts['load before']} before it began."
    )


def _of_row(results: Results, row: str) -> list[dict[str, Any]]:
    return [case for case in results.get("steps", []) if case["row"] == row]


def _steps(cases: list[dict[str, Any]], row: str, title: str) -> str:
    """A table of one row: systems down, sizes across."""
    mine = [case for case in cases if case["row"] == row]
    header = ["ms a step", *("{}×{}".format(*case["size"]) for case in mine), "gradient cosine, least"]
    lines = []
    for system in SYSTEMS:
        found = [case["systems"].get(system.name) for case in mine]
        if any(found):
            lines.append([system.title, *map(_time, found), _least_cosine(found)])
            if system.is_ours:
                gradients = [facts and {**facts["evaluation"], "ratio": None} for facts in found]
                lines.append(["– its gradient alone", *map(_time, gradients), ""])
    operations = ", ".join(f"{case['gflop']:.1f}" for case in mine)
    return f"### {title}\n\n{_table(header, lines)}\n\nGFLOP of convolution in a step: {operations}."


def _time(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return ""
    times = "{median_ms:.0f} ({low_ms:.0f}–{high_ms:.0f})".format(**facts)
    return times if facts["ratio"] is None else f"{times} · {facts['ratio']:.2f}×"


def _least_cosine(found: list[dict[str, Any] | None]) -> str:
    cosines = [facts["cosine"] for facts in found if facts and facts["cosine"] is not None]
    return f"{min(cosines):.7f}" if cosines else ""


def _start(results: Results) -> str:
    home = [case for case in _of_row(results, HOME_ROW) if tuple(case["size"]) == HOME_SIZE]
    memory = {name: facts["peak_bytes"] for name, facts in home[0]["systems"].items()} if home else {}
    starts: dict[str, list[float]] = results["start"]
    first = next(iter(starts))
    lines = [
        [
            _TITLES[name],
            f"{statistics.median(seconds):.2f} ({min(seconds):.2f}–{max(seconds):.2f})",
            f"{ratio(starts[first], seconds):.2f}×",
            f"{memory[name] / 1e6:.0f}" if name in memory else "",
        ]
        for name, seconds in starts.items()
    ]
    header = ["", "first gradient, s (all starts)", f"{_TITLES[first]}, of it", "peak memory, MB"]
    return f"### Cold start and memory ({HOME_ROW}, {'{}×{}'.format(*HOME_SIZE)})\n\n{_table(header, lines)}"


def _job(job: dict[str, Any]) -> str:
    return (
        f"### A whole dream\n\n`dream`, {job['steps']} steps at {'{}×{}'.format(*HOME_SIZE)} with all its files "
        f"({_TITLES[job['system']]}): {job['seconds']:.1f} s; as many bare steps beside it: "
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
    table = _table(["size", "megapixels", "ms a step", "GFLOP", "ms per GFLOP"], cells)
    return f"### Scaling ({HOME_ROW}, {_TITLES['cpu']})\n\n{table}"


def _versions(results: Results) -> str:
    lines = [
        f"- {_TITLES[name]}: {', '.join(f'{package} {version}' for package, version in packages.items())}"
        for name, packages in results["versions"].items()
        if name in _TITLES
    ]
    skipped = [f"- not here: {_TITLES.get(name, name)} ({reason})" for name, reason in results["skipped"].items()]
    return "\n".join([*lines, *skipped])


def _table(header: Iterable[str], lines: list[list[str]]) -> str:
    cells = [list(header), *lines]
    rows = [f"| {' | '.join(line)} |" for line in cells]
    return "\n".join([rows[0], "|" + "---|" * len(cells[0]), *rows[1:]])
