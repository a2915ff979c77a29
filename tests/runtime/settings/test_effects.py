"""Lines on options without effect and on doubtful values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onnxdream.runtime import Settings
from onnxdream.runtime.settings.effects import doubtful_options
from onnxdream.runtime.settings.settings import descriptions

# An option with a value -> what else gives it an effect, and the line without that.
NEEDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "feather": ({"feather": 10.0}, {"mask": "m.png"}, "--feather has no effect without --mask"),
    "guide_by": ({"guide_by": "surplus"}, {"guide": "g.png"}, "--guide-by has no effect without --guide"),
    "guide_by of itself": (
        {"guide_by": "surplus"},
        {"guide_by": "caricature"},
        "--guide-by has no effect without --guide",
    ),
    "every": ({"every": 5}, {"film": "f.mp4"}, "--every has no effect without --film"),
    "momentum": (
        {"momentum": 0.5},
        {"optimizer": "momentum"},
        "--momentum has no effect with the optimizer plain, the default",
    ),
    "octave_scale": ({"octave_scale": 1.5}, {"octaves": 2}, "--octave-scale has no effect with one octave"),
    "octaves_above": ({"octaves_above": 0}, {"octaves": 2}, "--octaves-above has no effect with one octave"),
    "detail": ({"detail": "none"}, {"octaves": 2}, "--detail has no effect with one octave"),
    "seed": ({"seed": 3}, {"jitter": 1}, "--seed has no effect without --jitter or --noise"),
    "seed of noise": ({"seed": 3}, {"noise": (9, 9)}, "--seed has no effect without --jitter or --noise"),
    "tile_overlap": (
        {"tile_overlap": 32, "tiling": "tutorial"},
        {"tiling": "blended"},
        "--tile-overlap has no effect with the tiles of the tutorial",
    ),
    "snapshots": (
        {"snapshots": (3,), "extras": False},
        {"extras": True},
        "--snapshots has no effect with --no-extras",
    ),
    "snapshots of a pipe": (
        {"snapshots": (3,), "output": Path("-")},
        {"output": Path("dreams")},
        "--snapshots has no effect with --output -",
    ),
}


def lines_of(options: dict[str, Any], named: set[str]) -> list[str]:
    settings = Settings(**{name: value for name, value in options.items() if name in descriptions(Settings)})
    return doubtful_options(settings, options, named)


@pytest.mark.parametrize("case", NEEDS)
def test_an_option_without_effect_is_reported(case: str) -> None:
    given, needed, line = NEEDS[case]
    name = next(iter(given))
    assert lines_of(given, {name}) == [line]
    assert lines_of({**given, **needed}, {name}) == []
    assert lines_of(given, set()) == []  # one that the user did not name, as of a preset


def test_no_snapshots_agree_with_no_extras() -> None:
    assert lines_of({"snapshots": (), "extras": False}, {"snapshots"}) == []


@pytest.mark.parametrize(
    ("options", "is_large"),
    [
        ({"step_size": 5.0}, True),
        ({"step_size": (0.01, 0.6)}, True),
        ({"step_size": 0.5}, False),
        ({"step_size": 5.0, "gradient_norm": "none"}, False),  # raw gradients are tiny
    ],
)
def test_a_very_large_step_is_questioned(options: dict[str, Any], is_large: bool) -> None:
    assert [line.startswith("a step size of ") for line in lines_of(options, set())] == [True] * is_large
