"""Runs grids: a finished cell is kept, a stopped one resumes, a failed one does not stop the rest; and the report."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from pictures_fixture import bundle_bytes
from typer.testing import CliRunner

from onnxdream.cli import app
from onnxdream.runtime import Bundle
from onnxdream.runtime.ascent.step import Step
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.dream import writer
from onnxdream.runtime.dream.progress import DreamProgress
from onnxdream.runtime.dream.repeat import load_record
from onnxdream.study import bundles, commands
from onnxdream.study.cells import Cell, key_of
from onnxdream.study.estimate import estimate
from onnxdream.study.folder import Folder
from onnxdream.study.grid import read_grid
from onnxdream.study.losses import read_losses
from onnxdream.study.run import Reporter, Study

CLI = [sys.executable, "-m", "onnxdream.cli", "experiment"]


@pytest.fixture
def grid(tmp_path: Path, tiny_path: Path) -> Path:
    """A grid of two pictures and the tiny bundle, with three steps."""
    rng = np.random.default_rng(0)
    for name, size in (("bears", (40, 56)), ("penguins", (48, 32))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(0, 256, (*size, 3), np.uint8))
    path = tmp_path / "grid.toml"
    path.write_text(
        f"""
        images = ["bears.png", "penguins.png"]
        [[bundle]]
        model = "{tiny_path.as_posix()}"
        [settings]
        steps = 3
        max-size = 32
        snapshots = [1, 2, 3]
        threads = 1
        """
    )
    return path


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches plots and the report off, which take more time than the dreams of these tests."""
    monkeypatch.setattr(commands, "_REPORT_EXTRA", ("a_package_that_is_not_there",))
    monkeypatch.setattr(writer, "can_plot", lambda: False)


def run(*arguments: object, code: int = 0) -> str:
    """Runs an `experiment` command and returns all that it prints, errors included."""
    result = CliRunner().invoke(app, ["experiment", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "summary.csv").open(newline="") as file:
        return {row["cell"]: row for row in csv.DictReader(file)}


@pytest.mark.usefixtures("no_report")
def test_a_grid_leaves_every_file_of_every_cell(grid: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    output = run("run", grid, "--output", out)
    assert "2 cells (each one picture dreamed with one bundle); 2 to run, about" in output
    assert "no report.html: install onnxdream[report]" in output
    rows = rows_of(out)
    (provider,) = {row["provider"] for row in rows.values()}
    assert [line for line in output.splitlines() if line.startswith("provider: ")] == [f"provider: {provider}"]
    assert "provider: " not in run("run", grid, "--output", out), "nothing is computed any more"
    assert list(rows) == ["tiny-bears", "tiny-penguins"]
    for name, row in rows.items():
        cell = out / "cells" / name
        for ending in (".png", ".json", "-losses.csv", "-step0001.png", "-step0002.png", "-step0003.png"):
            assert (cell / f"{name}{ending}").is_file()
        losses = read_losses(cell / f"{name}-losses.csv")
        assert len(losses.totals) == 4
        assert float(row["first_loss"]) == pytest.approx(losses.totals[0], rel=1e-5)
        assert float(row["last_loss"]) == pytest.approx(losses.totals[-1], rel=1e-5)
        assert losses.totals[-1] > losses.totals[0]
        assert (row["status"], row["steps"]) == ("done", "3")
        record = load_record(cell / f"{name}.json")
        assert row["key"] == key_of(record)
    shrunk = cv2.imread(str(out / "inputs" / "bears-shrunk.png"))
    assert shrunk.shape == (23, 32, 3)
    assert (out / "inputs" / "bears.png").read_bytes() == (tmp_path / "bears.png").read_bytes()
    summary = json.loads((out / "summary.json").read_text())
    assert "steps 3 (paper preset: 1000)" in summary["changes"]
    assert not summary["is_paper"]


@pytest.mark.usefixtures("no_report")
def test_a_guide_counts_for_the_estimate_and_is_among_the_changes(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[float] = []

    def noted(cells: Iterable[Cell]) -> float:
        found.append(estimate(cells))
        return found[-1]

    monkeypatch.setattr("onnxdream.study.run.estimate", noted)
    grid.write_text(grid.read_text() + 'guide = "bears.png"\nguide-by = "cosine"\n')
    run("run", grid, "--output", tmp_path / "study")
    assert found[0] > 0
    changes = json.loads((tmp_path / "study" / "summary.json").read_text())["changes"]
    assert changes[-1] == "guide bears.png"


def test_the_sessions_of_octaves_do_not_count_for_the_estimate(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock that shows a second more at each look, and a hundred for each session."""
    seconds = [0.0]

    def look() -> float:
        seconds[0] += 1
        return seconds[0]

    def loaded(session: Session, *arguments: Any) -> None:
        seconds[0] += 100
        load(session, *arguments)

    load = Session.__init__
    monkeypatch.setattr(Session, "__init__", loaded)
    monkeypatch.setattr("onnxdream.study.estimate.time", SimpleNamespace(perf_counter=look))
    grid.write_text(grid.read_text().replace("max-size = 32", "octaves = 2"))
    study = Study(read_grid(grid), Folder(tmp_path / "study"), Reporter(print, print, tmp_path))
    assert estimate(study._prepare(lambda: None)) == 2 * 2 * 3


@pytest.mark.usefixtures("no_report")
def test_a_finished_cell_is_kept_until_its_settings_or_files_change(grid: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    run("run", grid, "--output", out)
    records = {name: (out / "cells" / name / f"{name}.json") for name in rows_of(out)}
    before = {name: path.stat().st_mtime_ns for name, path in records.items()}

    def dreamed_again() -> set[str]:
        run("run", grid, "--output", out)
        again = {name for name, path in records.items() if path.stat().st_mtime_ns != before[name]}
        before.update({name: path.stat().st_mtime_ns for name, path in records.items()})
        return again

    assert dreamed_again() == set()
    grid.write_text(grid.read_text().replace("threads = 1", "threads = 2"))
    assert dreamed_again() == set(), "the number of threads does not make another cell"
    records["tiny-bears"].with_name("tiny-bears-losses.csv").unlink()
    assert dreamed_again() == {"tiny-bears"}
    cv2.imwrite(str(tmp_path / "penguins.png"), np.full((48, 32, 3), 7, np.uint8))
    assert dreamed_again() == {"tiny-penguins"}
    grid.write_text(grid.read_text().replace("steps = 3", "steps = 2"))
    assert dreamed_again() == set(records)
    assert not list(out.rglob("*-step0003.png")), "the snapshots of the run before are deleted"


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("schedule", ["[0.02, 0.01]", '"0.02:0.01"'])
def test_schedules_and_colours_are_settings_of_a_study(schedule: str, grid: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    grid.write_text(f'{grid.read_text()}step-size = {schedule}\nblur = [1.5, 0]\ncolours = "own:0.7"\n')
    run("run", grid, "--output", out)
    path = out / "cells" / "tiny-bears" / "tiny-bears.json"
    settings = load_record(path).settings
    assert (settings.step_size, settings.blur, settings.colours) == ((0.02, 0.01), (1.5, 0), "own:0.7")
    before = path.stat().st_mtime_ns
    assert "2 already done" in run("run", grid, "--output", out)
    assert path.stat().st_mtime_ns == before


@pytest.mark.usefixtures("no_report")
def test_a_fallback_to_the_cpu_is_reported_once_and_recorded_in_every_cell(
    grid: Path, tmp_path: Path, broken_cuda: str
) -> None:
    out = tmp_path / "study"
    assert run("run", grid, "--output", out).splitlines().count(broken_cuda) == 1
    for name in rows_of(out):
        record = load_record(out / "cells" / name / f"{name}.json")
        assert (record.execution.provider, record.notices) == ("cpu", (broken_cuda,))


@pytest.mark.usefixtures("no_report")
def test_a_failed_cell_does_not_stop_the_others(grid: Path, tmp_path: Path) -> None:
    (tmp_path / "bears.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    out = tmp_path / "study"
    output = run("run", grid, "--output", out, code=1)
    assert "error: tiny-bears" in output
    rows = rows_of(out)
    assert (rows["tiny-bears"]["status"], rows["tiny-penguins"]["status"]) == ("failed", "done")
    assert "bears.png" in rows["tiny-bears"]["problem"]


@pytest.mark.usefixtures("no_report")
def test_a_bundle_that_cannot_be_exported_here_is_reported_with_the_command(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "_EXPORT_EXTRA", ("a_package_that_is_not_there",))
    grid.write_text(
        grid.read_text().replace("[settings]", '[[bundle]]\nmodel = "irv2"\nweights = "random"\n[settings]')
    )
    output = run("run", grid, "--output", tmp_path / "study", code=1)
    assert "onnxdream export --model irv2 --layers paper-low --weights random" in output
    assert {name: row["status"] for name, row in rows_of(tmp_path / "study").items()} == {
        "tiny-bears": "done",
        "tiny-penguins": "done",
        "inception-resnet-v2-paper-low-bears": "failed",
        "inception-resnet-v2-paper-low-penguins": "failed",
    }


@pytest.mark.usefixtures("no_report")
def test_a_matching_bundle_is_not_exported_again(grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "_EXPORT_EXTRA", ("a_package_that_is_not_there",))
    text = grid.read_text()
    start, end = text.index("model ="), text.index("[settings]")
    grid.write_text(f'{text[:start]}model = "v3"\nweights = "builtin"\n{text[end:]}')
    run("run", grid, "--output", tmp_path / "study")  # the built-in bundle v3-low has these layers and weights
    row = rows_of(tmp_path / "study")["v3-paper-low-bears"]
    assert (row["bundle"], row["weights"], row["status"]) == ("v3-low", "imagenet-8bit", "done")


@pytest.mark.usefixtures("no_report")
def test_only_a_bundle_of_the_precision_that_the_settings_ask_for_matches(
    grid: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "_EXPORT_EXTRA", ("a_package_that_is_not_there",))
    half = replace(Bundle.built_in("v3-low").metadata, precision="fp16")
    (home / "bundles").mkdir(parents=True)
    (home / "bundles" / "v3-fp16.onnx").write_bytes(bundle_bytes([b"\x22\x04Relu"], metadata=half.to_json()))
    text = grid.read_text()
    start, end = text.index("model ="), text.index("[settings]")
    grid.write_text(f'{text[:start]}model = "v3"\nweights = "builtin"\n{text[end:]}')
    run("run", grid, "--output", tmp_path / "study")
    row = rows_of(tmp_path / "study")["v3-paper-low-bears"]
    assert (row["bundle"], row["status"]) == ("v3-low", "done")
    grid.write_text(grid.read_text() + 'precision = "mixed"\n')
    output = run("run", grid, "--output", tmp_path / "mixed", code=1)
    assert "onnxdream export --model v3 --layers paper-low --weights builtin --precision mixed" in output


@pytest.mark.usefixtures("no_report")
def test_a_missing_bundle_is_exported(grid: Path, tmp_path: Path) -> None:
    for package in ("tensorflow", "tf2onnx"):
        pytest.importorskip(package)
    text = grid.read_text()
    start, end = text.index("model ="), text.index("[settings]")
    grid.write_text(f'{text[:start]}model = "v3"\nlayers = "activation"\nweights = "random"\n{text[end:]}')
    output = run("run", grid, "--output", tmp_path / "study")
    assert "exporting v3-activation-random" in output
    assert rows_of(tmp_path / "study")["v3-activation-penguins"]["layers"] == "activation"
    assert "exporting" not in run("run", grid, "--output", tmp_path / "study")


@pytest.mark.usefixtures("no_report")
def test_the_results_of_another_study_are_left_alone(grid: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    run("run", grid, "--output", out)
    before = (out / "summary.json").read_bytes()
    (tmp_path / "bears.png").rename(tmp_path / "geese.png")
    text = grid.read_text()
    grid.write_text(text.replace('"bears.png", "penguins.png"', '"geese.png"'))
    refused = run("run", grid, "--output", out, code=1)
    assert "study has the results of another study: choose another --output" in refused
    images = f"{tmp_path / 'geese.png'},{tmp_path / 'penguins.png'}"
    assert "of another study" in run("paper", "--images", images, "--steps", "3", "--output", out, code=1)
    assert (out / "summary.json").read_bytes() == before
    assert not (out / "inputs" / "geese.png").exists()
    grid.write_text(text.replace("bears", "geese"))
    run("run", grid, "--output", out)
    assert list(rows_of(out)) == ["tiny-geese", "tiny-penguins"]


@pytest.mark.parametrize("name", ["report.html", "summary.csv", "summary.json"])
def test_a_foreign_file_is_not_replaced(name: str, grid: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    out.mkdir()
    (out / name).write_text("mine")
    assert name in run("run", grid, "--output", out, code=1)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [(name, "mine")]


def test_a_missing_picture_is_reported_before_anything_runs(grid: Path, tmp_path: Path) -> None:
    (tmp_path / "bears.png").unlink()
    assert "all its pictures" in run("run", grid, "--output", tmp_path / "study", code=1)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("picture", "place"),
    [
        ("copy/bears.png", "inputs/bears.png"),
        ("copy/Bears.jpg", "inputs/Bears-shrunk.png"),  # on a file system that does not tell the case
        ("bears-shrunk.png", "inputs/bears-shrunk.png"),
        ("high-bears.png", "cells/tiny-high-bears/tiny-high-bears.png"),
    ],
)
def test_two_pictures_or_cells_of_one_path_are_refused_before_anything_runs(
    picture: str, place: str, grid: Path, tmp_path: Path, tiny_path: Path
) -> None:
    (tmp_path / "tiny-high.onnx").write_bytes(tiny_path.read_bytes())
    (tmp_path / "copy").mkdir()
    (tmp_path / picture).write_bytes((tmp_path / "bears.png").read_bytes())
    grid.write_text(
        grid.read_text()
        .replace("penguins.png", picture)
        .replace("[settings]", '[[bundle]]\nmodel = "tiny-high.onnx"\n[settings]')
    )
    out = tmp_path / "study"
    output = run("run", grid, "--output", out, code=1)
    assert output.splitlines()[-1].endswith(f"would both be written to {out / place}: rename a picture")
    assert not out.exists()


@pytest.mark.usefixtures("no_report")
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_keeps_finished_cells_and_the_repeated_command_resumes(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid.write_text(grid.read_text().replace("steps = 3", "steps = 50"))
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"

    def press_ctrl_c(progress: DreamProgress, step: Step) -> None:
        if step.number == 3 and list(interrupted.rglob("*-losses.csv")):  # of the first cell: this is the second
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(DreamProgress, "show", press_ctrl_c)
        output = run("run", grid, "--output", interrupted, code=130)
    statuses = [row["status"] for row in rows_of(interrupted).values()]
    assert sorted(statuses) == ["done", "open"], output
    assert len(list(interrupted.rglob("*.checkpoint"))) == 1
    assert "resuming after" in run("run", grid, "--output", interrupted)
    assert not list(interrupted.rglob("*.checkpoint"))
    run("run", grid, "--output", whole)
    for name in rows_of(whole):
        losses = [Folder(folder).results(name).losses.read_bytes() for folder in (whole, interrupted)]
        assert losses[0] == losses[1]


def test_octaves_are_kept_apart(grid: Path, tmp_path: Path) -> None:
    for package in ("matplotlib", "jinja2"):
        pytest.importorskip(package)
    grid.write_text(grid.read_text().replace("max-size = 32", "octaves = 2"))
    out = tmp_path / "study"
    assert "tiny-bears: loss of the last octave " in run("run", grid, "--output", out)
    row = rows_of(out)["tiny-bears"]
    losses = read_losses(Folder(out).results("tiny-bears").losses)
    assert losses.starts == (0, 3)
    assert float(row["first_loss"]) == pytest.approx(losses.totals[3], rel=1e-5)
    assert [step for step, _ in losses.paper_points()] == [3, 4, 5, 6]
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "before the first update and after the last of the last octave" in report
    assert report.count("step (dotted: an octave begins)") == 2 * 2


@pytest.mark.usefixtures("no_report")
def test_pictures_with_commas_in_their_names_can_be_named(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "_EXPORT_EXTRA", ("a_package_that_is_not_there",))
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.png", "c.png"):
        (tmp_path / name).write_bytes((tmp_path / "bears.png").read_bytes())
    options = ("--weights", "random", "--steps", 1, "--output", tmp_path / "study")
    run("paper", "--images", "a,b.png", "--images", "bears.png, penguins.png", "--images", "c.png", *options, code=1)
    assert {row["picture"] for row in rows_of(tmp_path / "study").values()} == {"a,b", "bears", "penguins", "c"}


@pytest.mark.usefixtures("no_report")
def test_a_reason_that_several_bundles_share_is_printed_once(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "_EXPORT_EXTRA", ())
    failing = [sys.executable, "-c", "import sys; sys.exit('error: there is no network')"]
    monkeypatch.setattr(bundles, "module_command", lambda *words: failing)
    output = run("paper", "--images", tmp_path / "bears.png", "--weights", "random", "--output", tmp_path / "s", code=1)
    assert output.count("there is no network") == 1
    assert output.count("the same problem as with v3-paper-low") == 4
    assert {row["problem"] for row in rows_of(tmp_path / "s").values()} == {"there is no network"}


def test_names_in_another_script_cause_no_warnings(grid: Path, tmp_path: Path) -> None:
    for package in ("matplotlib", "jinja2"):
        pytest.importorskip(package)
    (tmp_path / "bears.png").rename(tmp_path / "日本 🦁.png")
    grid.write_text(grid.read_text().replace("bears.png", "日本 🦁.png"), encoding="utf-8")
    for words in (("run", grid, "--output", tmp_path / "s"), ("figures", tmp_path / "s")):
        finished = subprocess.run([*CLI, *map(str, words)], capture_output=True, text=True, check=True, timeout=200)
        assert "Glyph" not in finished.stderr
    assert "日本 🦁" in (tmp_path / "s" / "report.html").read_text(encoding="utf-8")


class _Page(HTMLParser):
    """Collects the tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))


def test_the_report_is_one_file_that_refers_to_no_other(grid: Path, tmp_path: Path) -> None:
    for package in ("matplotlib", "jinja2"):
        pytest.importorskip(package)
    (tmp_path / "bears.png").rename(tmp_path / "<b>$ears&.png")
    grid.write_text(grid.read_text().replace("bears.png", "<b>$ears&.png"))
    out = tmp_path / "study"
    run("run", grid, "--output", out)
    text = (out / "report.html").read_text(encoding="utf-8")
    page = _Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("b", "iframe", "object", "embed")
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/")), (tag, name)
    assert "url(" not in text.replace("url(#", "")
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2 * 2 + 2 * (2 + 3)  # inputs; before, after and three steps
    assert all(image["alt"] and image["width"] and "loading" not in image for image in images)  # shown whole at once
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    sliders = [attributes for tag, attributes in page.tags if attributes.get("type") == "range"]
    assert len(sliders) == 2
    assert all(slider["aria-label"] for slider in sliders)
    assert sum(tag == "svg" for tag, _ in page.tags) == 2 + 2 * 2
    assert "does not use ImageNet weights alone" in text
    assert "prefers-color-scheme: dark" in text
    assert 'id="claims"' not in text, "only the paper's grid has claims"


def test_the_papers_report_shows_claims_and_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("matplotlib", "jinja2"):
        pytest.importorskip(package)
    monkeypatch.setattr(bundles, "_EXPORT_EXTRA", ("a_package_that_is_not_there",))
    examples = Path(__file__).parents[2] / "examples"
    options = ["--weights", "v3=builtin,irv2=random", "--steps", 2, "--max-size", 96, "--threads", 1]
    images = f"{examples / 'bears.jpg'},{examples / 'penguins.jpg'}"
    run("paper", "--images", images, *options, "--output", tmp_path, code=1)
    rows = rows_of(tmp_path)
    assert [row["status"] for row in rows.values()] == ["done"] * 2 + ["failed"] * 8
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "cannot test the paper’s claims" in text
    assert "2.720845 – 5.536911" in text
    assert text.count('class="verdict undecided"') == 4
    assert text.count("<strong>2 cells</strong>: there is no bundle") == 4
    assert text.count("onnxdream export --model v3 --layers paper-high --weights builtin") == 1
    assert "inception-resnet-v2-paper-low-bears, inception-resnet-v2-paper-low-penguins" in text
    assert [text.count(f'<a href="#failure-{n}">failed: reason {n}</a>') for n in (1, 2, 3, 4, 5)] == [2, 2, 2, 2, 0]


@pytest.mark.usefixtures("no_report")
def test_without_a_network_and_tensorflow_the_papers_low_cells_use_the_built_in_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "_EXPORT_EXTRA", ("a_package_that_is_not_there",))
    bears = Path(__file__).parents[2] / "examples" / "bears.jpg"
    options = ["--steps", 1, "--max-size", 96, "--threads", 1, "--output", tmp_path]
    output = run("paper", "--images", bears, *options, code=1)
    assert "v3-paper-low: Keras's ImageNet weights are not available: using the built-in 8-bit copy" in output
    rows = rows_of(tmp_path)
    assert {name: row["status"] for name, row in rows.items()} == {
        "v3-paper-low-bears": "done",
        "v3-paper-high-bears": "failed",
        "v3-paper-high-text-bears": "failed",
        "inception-resnet-v2-paper-low-bears": "failed",
        "inception-resnet-v2-paper-high-bears": "failed",
    }
    assert rows["v3-paper-low-bears"]["weights"] == "imagenet-8bit"
    assert "onnxdream export --model v3 --layers paper-high --weights imagenet" in output


@pytest.mark.usefixtures("no_report")
def test_a_backbone_without_a_file_of_keras_has_its_built_in_weights(
    grid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "_EXPORT_EXTRA", ("a_package_that_is_not_there",))
    lite = 'model = "lite0"\nlayers = "low"\nobjective = "l2"'
    text = grid.read_text()
    grid.write_text("\n".join(lite if "model =" in line else line for line in text.splitlines()))
    run("run", grid, "--output", tmp_path / "study")
    rows = rows_of(tmp_path / "study")
    assert {row["status"] for row in rows.values()} == {"done"}
    assert {row["weights"] for row in rows.values()} == {"imagenet"}


def test_figures_are_drawn_in_print_quality(grid: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    out = tmp_path / "study"
    run("run", grid, "--output", out)
    paths = [Path(line) for line in run("figures", out).splitlines()]
    stems = {"inputs", "tiny-steps", "bears-compared", "penguins-compared"}
    stems |= {f"tiny-{name}-{kind}" for name in ("bears", "penguins") for kind in ("losses", "as-paper")}
    assert {path.name for path in paths} == {f"{stem}{suffix}" for stem in stems for suffix in (".png", ".svg")}
    curve = cv2.imread(str(out / "figures" / "tiny-bears-losses.png"))
    assert curve.shape[1] >= 1200
    assert "<text" in (out / "figures" / "tiny-bears-losses.svg").read_text()
    assert "does not contain a study" in run("figures", tmp_path, code=1)


def test_the_command_line_does_not_import_the_study() -> None:
    code = "import sys, onnxdream.cli; print([m for m in sys.modules if m.startswith('onnxdream.study')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
