"""The benchmark of films in benchmarks/: the tests check what is measured, never how fast it was."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

from onnxdream.models.arrays import Size
from onnxdream.runtime import Bundle, Settings, dream

FOLDER = Path(__file__).parents[3] / "benchmarks"
SIZE = Size(72, 96)

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the benchmarks of a checkout")


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a module of benchmarks/ as its scripts do: `part("film_clips")`."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = {file.stem for file in FOLDER.glob("*.py")}
    yield importlib.import_module
    for name in names & set(sys.modules):
        del sys.modules[name]


def test_a_pattern_that_moves_along_does_not_flicker_and_one_that_changes_does(part: Any) -> None:
    quality, clip = part("film_quality"), part("film_clips").pan(SIZE, 4)
    brighter = [frame // 2 + 100 for frame in clip]
    noise = np.random.default_rng(0).integers(-20, 21, (4, *SIZE, 3))
    flickering = [np.clip(frame + grain, 0, 255).astype(np.uint8) for frame, grain in zip(clip, noise, strict=True)]
    still, moving = quality.warping_error(clip, brighter), quality.warping_error(clip, flickering)
    assert still < 1e-4
    assert moving == pytest.approx(2 * noise.var() / 127.5**2, rel=0.3)  # of two frames whose noise is independent


def test_gradients_are_counted_in_pixels_of_the_largest_octave(part: Any, tiny_path: Path) -> None:
    settings = Settings(steps=3, octaves=2, octave_scale=2.0, max_size=None)
    gradients = part("film_quality").Gradients(settings)
    dream(np.zeros((64, 96, 3), np.uint8), Bundle.load(tiny_path), settings, gradients.on_step)
    assert gradients.count == pytest.approx(3 + 3 / 4)


def test_the_clip_of_cuts_changes_its_picture_at_the_cuts_alone(part: Any) -> None:
    clip, begins = part("film_clips").cuts(SIZE, 20)
    lengths = np.diff([0, *begins, len(clip)])
    assert len(begins) == 20
    assert lengths.min() >= 6
    assert lengths.max() <= 20
    changes = [np.abs(clip[i].astype(int) - clip[i - 1]).mean() for i in range(1, len(clip))]
    assert sorted(np.argsort(changes)[-20:] + 1) == begins


def test_errors_of_times_that_add_up_miss_the_goal(part: Any) -> None:
    compared = part("film_files")._compared_times
    times = [Fraction(i, 30) for i in range(90)]
    drifting = [time * Fraction(1001, 1000) for time in times]
    assert [figure.is_met for figure in compared("x", times, times, 0.0)] == [True, True, True]
    assert [figure.is_met for figure in compared("x", times, drifting, 0.001)] == [True, False, False]
    assert not compared("x", times, times[1:], 1.0)[0].is_met


def test_the_functions_whose_time_is_counted_exist(part: Any) -> None:
    parts = part("film_speed")._PARTS
    assert [name for name, functions in parts.items() if not all(hasattr(*function) for function in functions)] == []


def test_films_without_pytorch_say_so_in_a_line(part: Any, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'No module named torch' >&2\n")
    broken.chmod(0o755)
    extent = replace(part("film_clips").QUICK, speed_size=SIZE)
    (figure,) = part("film_speed").peers(extent, tmp_path, broken)
    assert figure.name == "skipped"
    assert figure.value.startswith("No module named torch: ")


def test_an_unknown_section_of_the_benchmark_is_refused(part: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        part("films").main(["flickr"])
    assert "choose from flicker" in capsys.readouterr().err


def test_the_exit_code_says_that_a_goal_is_missed(
    part: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    films, report = part("films"), part("film_report")
    for value, code in ((0.3, 0), (0.5, 1)):
        figures = [report.at_most("film / apart", value, 0.4)]
        monkeypatch.setattr(films, "sections", lambda python, found=figures: {"flicker": lambda extent, folder: found})
        assert films.main(["flicker", "--quick"]) == code
        assert ("MISSED" in capsys.readouterr().out) == bool(code)
