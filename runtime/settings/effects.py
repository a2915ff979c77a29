"""Options without effect, and settings that are probably a mistake: lines that tell the user before a dream."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .parsing import parse_guide_by
from .schedule import largest_value
from .settings import Settings

# The input range is 2 wide; above this step size, a step moves a typical pixel by more than a quarter of it.
_LARGE_STEP = 0.5


@dataclass(frozen=True)
class _Condition:
    """A condition without which some options have no effect; `otherwise` describes the dream without it."""

    options: tuple[str, ...]
    is_met: Callable[[Settings, Mapping[str, Any]], bool]
    otherwise: str


_CONDITIONS = (
    _Condition(("feather",), lambda settings, options: "mask" in options, "without --mask"),
    _Condition(
        ("guide_by",),
        lambda settings, options: "guide" in options or parse_guide_by(settings.guide_by).kind == "caricature",
        "without --guide",
    ),
    _Condition(("every",), lambda settings, options: "film" in options, "without --film"),
    _Condition(
        ("momentum",), lambda settings, options: settings.optimizer != "plain", "with the optimizer plain, the default"
    ),
    _Condition(
        ("octave_scale", "octaves_above", "detail"), lambda settings, options: settings.octaves > 1, "with one octave"
    ),
    _Condition(
        ("seed",),
        lambda settings, options: settings.jitter > 0 or settings.noise is not None,
        "without --jitter or --noise",
    ),
    _Condition(
        ("tile_overlap",), lambda settings, options: settings.tiling == "blended", "with the tiles of the tutorial"
    ),
    _Condition(
        ("snapshots",),
        lambda settings, options: options.get("extras", True) or not settings.snapshots,
        "with --no-extras",
    ),
    _Condition(
        ("snapshots",),
        lambda settings, options: str(options.get("output")) != "-" or not settings.snapshots,
        "with --output -",
    ),
)


def doubtful_options(settings: Settings, options: Mapping[str, Any], named: Collection[str]) -> list[str]:
    """Returns a line for each of the `named` options without effect, and one for a very large step size.

    `options` are all those of the dream under their Python names.
    """
    lines = [
        f"--{name.replace('_', '-')} has no effect {condition.otherwise}"
        for condition in _CONDITIONS
        for name in condition.options
        if name in named and not condition.is_met(settings, options)
    ]
    step = largest_value(settings.step_size)
    if step > _LARGE_STEP and settings.gradient_norm != "none":
        lines.append(f"a step size of {step:g} turns most pictures into noise: 0.003 is gentle, 0.02 is strong")
    return lines
