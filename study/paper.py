"""The paper's losses, and its claims with a test of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from .summary import Row

Verdict = Literal["supported", "not supported", "undecided"]

LOW, HIGH = "paper-low", "paper-high"
V3, IRV2 = "v3", "inception-resnet-v2"
BEARS, PENGUINS = "bears", "penguins"

# The first and the last loss of 1000 steps. For the penguins and Inception-ResNet-v2's low set, the paper repeats the
# numbers of Inception-v3's high set.
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
MISPRINTED = (IRV2, LOW, PENGUINS)

# The paper says "much higher" and "converge" without numbers; these are ours.
_MIN_RATIO = 1.3
_MAX_DIFFERENCE = 0.25


@dataclass(frozen=True)
class Claim:
    """A claim of the paper with its verdict, as the report shows them.

    `test` states how the claim was tested; `numbers` has a line for each comparison that the verdict rests on.
    """

    text: str
    test: str
    verdict: Verdict
    numbers: tuple[str, ...]
    note: str = ""


def paper_picture(name: str) -> str | None:
    """Returns which of the paper's two pictures a file name stands for, bears or penguins, or None."""
    return next((kind for kind in (BEARS, PENGUINS) if kind[:-1] in name.lower()), None)


def paper_losses(row: Row) -> tuple[float, float] | None:
    """Returns the paper's first and last loss of a cell, or None if the paper has no such cell."""
    return PAPER_LOSSES.get((row.backbone, row.layer_set, paper_picture(row.picture) or ""))


def evaluate_claims(rows: Sequence[Row], imagenet: bool) -> list[Claim]:
    """Tests the paper's claims against the numbers of a run.

    Only a run with ImageNet weights (`imagenet`) can support or refute a claim; otherwise each is undecided.
    """
    return [_evaluate(rows, imagenet, *claim) for claim in _CLAIMS]


@dataclass(frozen=True)
class _Comparison:
    """One comparison of a claim's test; `agrees` is whether the numbers support the claim, None if some are missing."""

    line: str
    agrees: bool | None


_Compare = Callable[[Sequence[Row]], Iterator[_Comparison]]
_Decide = Callable[[list[bool]], Verdict]


def _evaluate(
    rows: Sequence[Row], imagenet: bool, text: str, test: str, note: str, compare: _Compare, decide: _Decide
) -> Claim:
    comparisons = list(compare(rows))
    results = [comparison.agrees for comparison in comparisons]
    lines = tuple(comparison.line for comparison in comparisons)
    if not imagenet:
        reason = "Not all weights of this run are ImageNet's, so it cannot test the claim. "
        return Claim(text, test, "undecided", lines, reason + note)
    known = [agrees for agrees in results if agrees is not None]
    if not known or len(known) < len(results):
        return Claim(text, test, "undecided", lines, "Cells that the test needs are missing. " + note)
    return Claim(text, test, decide(known), lines, note)


def _by_all(agrees: list[bool]) -> Verdict:
    return "supported" if all(agrees) else "not supported"


def _by_majority(agrees: list[bool]) -> Verdict:
    count = sum(agrees)
    if 2 * count == len(agrees):
        return "undecided"
    return "supported" if 2 * count > len(agrees) else "not supported"


def _pictures(rows: Sequence[Row], backbone: str) -> list[str]:
    return list(dict.fromkeys(row.picture for row in rows if row.backbone == backbone))


def _last_loss(rows: Sequence[Row], backbone: str, layer_set: str, picture: str) -> float | None:
    """The last loss of a cell, None if it is missing: not in the run, not done yet, or failed."""
    cell = (backbone, layer_set, picture)
    done = (row for row in rows if row.status == "done")
    return next((row.last_loss for row in done if (row.backbone, row.layer_set, row.picture) == cell), None)


def _low_above_high(rows: Sequence[Row]) -> Iterator[_Comparison]:
    for picture in _pictures(rows, V3):
        low, high = (_last_loss(rows, V3, layers, picture) for layers in (LOW, HIGH))
        if low is None or high is None:
            yield _Comparison(f"{picture}: v3 {LOW if low is None else HIGH} is missing", None)
            continue
        yield _Comparison(
            f"{picture}: {low:.4g} low, {high:.4g} high, ratio {low / high:.2f}", low >= _MIN_RATIO * high
        )


def _sets_converge(rows: Sequence[Row]) -> Iterator[_Comparison]:
    for picture in _pictures(rows, IRV2):
        low, high = (_last_loss(rows, IRV2, layers, picture) for layers in (LOW, HIGH))
        if low is None or high is None:
            yield _Comparison(f"{picture}: Inception-ResNet-v2 {LOW if low is None else HIGH} is missing", None)
            continue
        difference = abs(low - high) / max(low, high)
        line = f"{picture}: {low:.4g} low, {high:.4g} high, difference {100 * difference:.0f} %"
        yield _Comparison(line, difference <= _MAX_DIFFERENCE)


def _opposite_orders(rows: Sequence[Row]) -> Iterator[_Comparison]:
    for kind in (BEARS, PENGUINS):
        picture = next((name for name in _pictures(rows, IRV2) if paper_picture(name) == kind), None)
        low, high = (_last_loss(rows, IRV2, layers, picture or "") for layers in (LOW, HIGH))
        if low is None or high is None:
            yield _Comparison(f"{kind}: this run does not have the picture with both sets", None)
            continue
        agrees = high > low if kind == BEARS else high < low
        yield _Comparison(f"{picture}: {low:.4g} low, {high:.4g} high", agrees)


def _colour_raises_loss(rows: Sequence[Row]) -> Iterator[_Comparison]:
    v3 = [row for row in rows if row.backbone == V3]
    for one, other in combinations(v3, 2):
        if one.layer_set != other.layer_set or one.colourfulness == other.colourfulness:
            continue
        more, less = sorted((one, other), key=lambda row: row.colourfulness, reverse=True)
        missing = [row.picture for row in (more, less) if row.status != "done"]
        if missing:
            yield _Comparison(f"{one.layer_set}: {' and '.join(missing)} missing", None)
            continue
        line = (
            f"{one.layer_set}: {more.picture} (colourfulness {more.colourfulness:.1f}) {more.last_loss:.4g}, "
            f"{less.picture} ({less.colourfulness:.1f}) {less.last_loss:.4g}"
        )
        yield _Comparison(line, more.last_loss > less.last_loss)


_CLAIMS: tuple[tuple[str, str, str, _Compare, _Decide], ...] = (
    (
        "In Inception-v3 the losses of the low layers are much higher than those of the high layers.",
        f"For each picture, the last loss of mixed0–2 is at least {_MIN_RATIO} times that of mixed6–8.",
        "",
        _low_above_high,
        _by_all,
    ),
    (
        "In Inception-ResNet-v2 the losses of the two layer sets converge.",
        f"For each picture, the last losses differ by at most {100 * _MAX_DIFFERENCE:.0f} % of the larger one.",
        "",
        _sets_converge,
        _by_all,
    ),
    (
        "In Inception-ResNet-v2 the bears have a higher loss with the high layers, the penguins with the low layers.",
        "The last loss of the bears is larger with the high layers; that of the penguins, with the low layers.",
        "For the penguins, the paper's claim rests on numbers that it repeats from Inception-v3.",
        _opposite_orders,
        _by_all,
    ),
    (
        "In Inception-v3 the more colourful picture mostly has the higher loss.",
        "In more than half of the pairs of pictures, the one of higher colourfulness (Hasler and Süsstrunk 2003, of "
        "the shrunk picture) has the higher last loss with the same layers.",
        "The paper's own values for the high layers contradict the claim.",
        _colour_raises_loss,
        _by_majority,
    ),
)
