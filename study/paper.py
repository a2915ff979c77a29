"""What the paper says: its losses, and its claims with the test of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from .summary import Row

Verdict = Literal["held", "not held", "not decidable"]

LOW, HIGH = "paper-low", "paper-high"
V3, IRV2 = "v3", "inception-resnet-v2"
BEARS, PENGUINS = "bears", "penguins"

# First and last loss of 1000 steps. The penguins' in IRv2's first set are those of v3's high set again.
PAPER_LOSSES: dict[tuple[str, str, str], tuple[float, float]] = {
    (V3, LOW, BEARS): (2.720845, 5.536911),
    (V3, LOW, PENGUINS): (3.176990, 6.735488),
    (V3, HIGH, BEARS): (1.735331, 3.567012),
    (V3, HIGH, PENGUINS): (1.856383, 3.480542),
    (IRV2, LOW, BEARS): (1.183562, 2.519872),
    (IRV2, LOW, PENGUINS): (1.856383, 3.480542),
    (IRV2, HIGH, BEARS): (1.712769, 2.781687),
    (IRV2, HIGH, PENGUINS): (1.732711, 2.651268),
}
SLIPPED = (IRV2, LOW, PENGUINS)

_MUCH_HIGHER = 1.3
_CONVERGED = 0.25


@dataclass(frozen=True)
class Claim:
    """A claim of the paper with the verdict of a run; `numbers` has a line for each comparison that led to it."""

    text: str
    test: str
    verdict: Verdict
    numbers: tuple[str, ...]
    note: str = ""


def paper_picture(name: str) -> str | None:
    """Which of the paper's two pictures one of that file name is."""
    return next((kind for kind in (BEARS, PENGUINS) if kind[:-1] in name.lower()), None)


def paper_losses(row: Row) -> tuple[float, float] | None:
    """The paper's first and last loss of a cell, if it has that cell."""
    return PAPER_LOSSES.get((row.backbone, row.layer_set, paper_picture(row.picture) or ""))


def evaluate_claims(rows: Sequence[Row], imagenet: bool) -> list[Claim]:
    """The paper's claims by the numbers of a run; with other than ImageNet weights none of them is decidable."""
    return [_evaluated(rows, imagenet, *claim) for claim in _CLAIMS]


@dataclass(frozen=True)
class _Comparison:
    """One comparison that a claim is made of: whether it came out as the claim says (None: it cannot be made)."""

    line: str
    holds: bool | None


_Compare = Callable[[Sequence[Row]], Iterator[_Comparison]]
_Decide = Callable[[list[bool]], Verdict]


def _evaluated(
    rows: Sequence[Row], imagenet: bool, text: str, test: str, note: str, compare: _Compare, decide: _Decide
) -> Claim:
    done = [row for row in rows if row.status == "done"]
    comparisons = list(compare(done))
    outcomes = [comparison.holds for comparison in comparisons]
    lines = tuple(comparison.line for comparison in comparisons)
    if not imagenet:
        return Claim(
            text, test, "not decidable", lines, "These weights are not ImageNet's: they decide nothing. " + note
        )
    known = [outcome for outcome in outcomes if outcome is not None]
    if not known or len(known) < len(outcomes):
        return Claim(text, test, "not decidable", lines, "Cells that it needs are missing. " + note)
    return Claim(text, test, decide(known), lines, note)


def _all(outcomes: list[bool]) -> Verdict:
    return "held" if all(outcomes) else "not held"


def _most(outcomes: list[bool]) -> Verdict:
    for_it = sum(outcomes)
    if 2 * for_it == len(outcomes):
        return "not decidable"
    return "held" if 2 * for_it > len(outcomes) else "not held"


def _pictures(rows: Sequence[Row], backbone: str) -> list[str]:
    return list(dict.fromkeys(row.picture for row in rows if row.backbone == backbone))


def _last(rows: Sequence[Row], backbone: str, layer_set: str, picture: str) -> float | None:
    cell = (backbone, layer_set, picture)
    return next((row.last_loss for row in rows if (row.backbone, row.layer_set, row.picture) == cell), None)


def _low_above_high(rows: Sequence[Row]) -> Iterator[_Comparison]:
    for picture in _pictures(rows, V3):
        low, high = (_last(rows, V3, layers, picture) for layers in (LOW, HIGH))
        if low is None or high is None:
            yield _Comparison(f"{picture}: v3 {LOW if low is None else HIGH} is missing", None)
            continue
        yield _Comparison(
            f"{picture}: {low:.4g} low, {high:.4g} high, ratio {low / high:.2f}", low >= _MUCH_HIGHER * high
        )


def _sets_converge(rows: Sequence[Row]) -> Iterator[_Comparison]:
    for picture in _pictures(rows, IRV2):
        low, high = (_last(rows, IRV2, layers, picture) for layers in (LOW, HIGH))
        if low is None or high is None:
            yield _Comparison(f"{picture}: Inception-ResNet-v2 {LOW if low is None else HIGH} is missing", None)
            continue
        apart = abs(low - high) / max(low, high)
        yield _Comparison(f"{picture}: {low:.4g} and {high:.4g}, {100 * apart:.0f} % apart", apart <= _CONVERGED)


def _opposite_orders(rows: Sequence[Row]) -> Iterator[_Comparison]:
    for kind in (BEARS, PENGUINS):
        picture = next((name for name in _pictures(rows, IRV2) if paper_picture(name) == kind), None)
        low, high = (_last(rows, IRV2, layers, picture or "") for layers in (LOW, HIGH))
        if low is None or high is None:
            yield _Comparison(f"{kind}: not in this run with both sets", None)
            continue
        holds = high > low if kind == BEARS else high < low
        yield _Comparison(f"{picture}: {low:.4g} in the lower set, {high:.4g} in the higher", holds)


def _colour_raises_loss(rows: Sequence[Row]) -> Iterator[_Comparison]:
    v3 = [row for row in rows if row.backbone == V3]
    for one, other in combinations(v3, 2):
        if one.layer_set != other.layer_set or one.colourfulness == other.colourfulness:
            continue
        more, less = sorted((one, other), key=lambda row: row.colourfulness, reverse=True)
        line = (
            f"{one.layer_set}: {more.picture} (colourfulness {more.colourfulness:.1f}) {more.last_loss:.4g}, "
            f"{less.picture} ({less.colourfulness:.1f}) {less.last_loss:.4g}"
        )
        yield _Comparison(line, more.last_loss > less.last_loss)


_CLAIMS: tuple[tuple[str, str, str, _Compare, _Decide], ...] = (
    (
        "In Inception-v3 the low layers' losses are much higher than the high ones'.",
        f"Last loss of mixed0–2 at least {_MUCH_HIGHER} times that of mixed6–8, for each picture.",
        "",
        _low_above_high,
        _all,
    ),
    (
        "In Inception-ResNet-v2 the two sets converge.",
        f"Last losses at most {100 * _CONVERGED:.0f} % of the larger apart, for each picture.",
        "",
        _sets_converge,
        _all,
    ),
    (
        "In Inception-ResNet-v2 the bears' loss is higher in the higher set, the penguins' in the lower.",
        "Last losses of the two sets compared, for the bears and for the penguins.",
        "The penguins' half rests on numbers that the paper repeats from Inception-v3.",
        _opposite_orders,
        _all,
    ),
    (
        "In Inception-v3 the more colourful picture mostly has the higher loss.",
        "Hasler–Süsstrunk colourfulness of the shrunk pictures against the last loss: in more than half of the cells.",
        "The paper's own values of the high set contradict it.",
        _colour_raises_loss,
        _most,
    ),
)
