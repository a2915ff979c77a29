"""The command `features`: pictures, the atlas, and what an interruption leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_fixture import chromium
from pictures_fixture import TINY_BYTES, TINY_LITE_BYTES, Command, in_this_process, listing, load, photograph, save

FEW = ("--size", "32", "--steps", "3", "--threads", "1", "--provider", "cpu", "--output", "out")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the bundles tiny.onnx and lite.onnx."""
    path = tmp_path / "here"
    path.mkdir()
    (path / "tiny.onnx").write_bytes(TINY_BYTES)
    (path / "lite.onnx").write_bytes(TINY_LITE_BYTES)
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    command = in_this_process(capfd)
    return lambda *words: command("features", *words)


class Tiles(HTMLParser):
    """The tiles of a page: the names, the links and the places on the sheet."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.links: list[str] = []
        self.styles: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "li":
            self.names.append(found["data-name"] or "")
        if tag == "a":
            self.links.append(found["href"] or "")
        if tag == "span":
            self.styles.append(found["style"] or "")


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "atlas.json").read_text())
    return found


def test_channels_are_drawn_into_pictures_and_an_atlas(run: Command, folder: Path) -> None:
    finished = run("mid:2,0", "low:1", "--model", "tiny.onnx", *FEW)
    assert finished.code == 0, finished.err
    pictures = {"low-1.png", "mid-0.png", "mid-2.png"}
    assert listing(folder / "out") == pictures | {"atlas.html", "atlas.jpg", "atlas.json"}
    tiles = record(folder)["tiles"]
    assert [(tile["layer"], tile["channel"]) for tile in tiles] == [("low", 1), ("mid", 0), ("mid", 2)]
    page = Tiles((folder / "out" / "atlas.html").read_text())
    assert page.names == ["low:1", "mid:0", "mid:2"]
    assert set(page.links) == pictures
    sheet = load(folder / "out" / "atlas.jpg")
    assert sheet.shape == (64, 64, 3)
    for tile, style in zip(tiles, page.styles, strict=True):
        left, top = (int(part.removesuffix("px")) for part in style.split(":")[1].replace("-", "").split())
        shown = sheet[top : top + 32, left : left + 32].astype(int)
        assert np.abs(shown - load(folder / "out" / tile["files"][0])).mean() < 12  # it is a JPEG
    assert "3 features in out" in finished.err


def test_a_call_draws_only_what_is_missing_and_keeps_the_rest(run: Command, folder: Path) -> None:
    run("mid:0,1", "--model", "tiny.onnx", *FEW)
    before = (folder / "out" / "mid-0.png").stat().st_mtime_ns
    (folder / "out" / "mid-1.png").unlink()
    finished = run("mid:0,1,2", "--model", "tiny.onnx", *FEW)
    assert "3 features: 1 drawn already, 2 to draw" in finished.err
    assert (folder / "out" / "mid-0.png").stat().st_mtime_ns == before
    assert [tile["channel"] for tile in record(folder)["tiles"]] == [0, 1, 2]
    run("low:0", "--model", "tiny.onnx", *FEW)
    assert [tile["layer"] for tile in record(folder)["tiles"]] == ["low", "mid", "mid", "mid"]
    again = run("low:0", "--model", "tiny.onnx", *FEW)
    assert "1 feature: 1 drawn already, 0 to draw" in again.err


def test_other_settings_need_another_folder_or_overwrite(run: Command, folder: Path) -> None:
    run("mid:0", "--model", "tiny.onnx", *FEW)
    refused = run("mid:0", "--model", "tiny.onnx", *FEW, "--seed", "1")
    assert refused.code == 1
    assert "other settings: choose another --output, or replace them with --overwrite" in refused.err
    assert "Traceback" not in refused.err
    assert run("mid:0", "--model", "tiny.onnx", *FEW, "--seed", "1", "--overwrite").code == 0
    assert record(folder)["settings"]["seed"] == 1


def test_a_file_that_is_no_atlas_is_left_alone(run: Command, folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "atlas.json").write_text("[1]")
    refused = run("mid:0", "--model", "tiny.onnx", *FEW)
    assert "is not that of an atlas" in refused.err
    assert (folder / "out" / "atlas.json").read_text() == "[1]"


def test_a_record_cannot_name_files_elsewhere(run: Command, folder: Path) -> None:
    run("mid:0", "--model", "tiny.onnx", *FEW)
    save(folder / "mine.png", photograph(32, 32))
    path = folder / "out" / "atlas.json"
    path.write_text(path.read_text().replace("mid-0.png", "../mine.png"))
    assert run("mid:0", "--model", "tiny.onnx", *FEW).code == 0
    assert record(folder)["tiles"][0]["files"] == ["mid-0.png"]


def test_classes_have_their_names_on_the_page(run: Command, folder: Path) -> None:
    finished = run("logits:2", "--model", "lite.onnx", *FEW)
    assert finished.code == 0, finished.err
    found = record(folder)
    assert (found["settings"]["param"], found["settings"]["views"]) == ("maco", "crops")
    label = found["tiles"][0]["label"]
    assert label
    assert label in (folder / "out" / "atlas.html").read_text()


def test_a_name_of_a_class_cannot_break_the_page() -> None:
    from onnxdream.runtime.features.page import atlas_page

    tile = {"layer": "logits", "channel": 1, "label": '<script>"&', "files": ["a b#.png"], "loss": 1.0, "steps": 1}
    made = {"bundle": "</i><b>\"'", "settings": {"steps": 1}, "tile": 8, "columns": 1, "tiles": [tile]}
    page = atlas_page(made, b"")
    assert '<script>"&' not in page
    assert "</i><b>" not in page
    assert Tiles(page).links == ["a%20b%23.png"]


def test_pictures_may_be_several_and_transparent(run: Command, folder: Path) -> None:
    finished = run("mid:1", "--model", "tiny.onnx", *FEW, "--diversity", "2", "--alpha")
    assert finished.code == 0, finished.err
    assert record(folder)["tiles"][0]["files"] == ["mid-1.png", "mid-1-2.png"]
    assert load(folder / "out" / "mid-1-2.png").shape == (32, 32, 4)
    page = (folder / "out" / "atlas.html").read_text()
    assert Tiles(page).links == ["mid-1.png", "mid-1.png", "mid-1-2.png"]
    assert ">1</a> <a" in page


def test_less_diversity_leaves_no_picture_of_the_call_that_is_overwritten(run: Command, folder: Path) -> None:
    words = ("mid:1", "--model", "tiny.onnx", *FEW)
    assert run(*words, "--diversity", "3").code == 0
    save(folder / "out" / "mid-1-4.png", load(folder / "out" / "mid-1-3.png"))  # not of that call
    assert run(*words, "--diversity", "2", "--overwrite").code == 0
    pictures = {name for name in listing(folder / "out") if name.endswith(".png")}
    assert pictures == {"mid-1.png", "mid-1-2.png", "mid-1-4.png"}


@pytest.mark.parametrize("side", [16, 128])
def test_numbers_below_small_tiles_are_not_broken(side: int) -> None:
    from onnxdream.runtime.features.page import atlas_page

    tile = {"layer": "mid", "label": "", "files": ["a.png"], "steps": 1}
    tiles = [{**tile, "channel": 100 + power, "loss": 1.23456 * 10.0**power} for power in range(-8, 8)]
    made = {"bundle": "tiny.onnx", "settings": {"steps": 1}, "tile": side, "columns": 4, "tiles": tiles}
    with chromium() as browser:
        page = browser.new_page()
        page.set_content(atlas_page(made, b""))
        lines = page.eval_on_selector_all("li b, li i", "found => found.map(one => one.getClientRects().length)")
        assert lines == [1] * 2 * len(tiles)
        assert page.eval_on_selector("li span", "one => one.clientWidth") == side


def test_the_spectrum_of_a_picture_is_taken_over_and_noted(run: Command, folder: Path) -> None:
    save(folder / "photo.png", photograph(60, 80))
    run("mid:1", "--model", "tiny.onnx", *FEW, "--param", "maco")
    plain = load(folder / "out" / "mid-1.png")
    words = ("mid:1", "--model", "tiny.onnx", *FEW, "--param", "maco", "--spectrum", "photo.png", "--overwrite")
    assert run(*words).code == 0
    assert record(folder)["spectrum"]
    assert (load(folder / "out" / "mid-1.png") != plain).any()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "name a layer, channels or classes"),
        (("mid:99",), "channels 0 to"),
        (("nothing",), "is not in the bundle"),
        (("logits:2",), "has no layer logits"),
        (("mid:0", "--size", "15"), "size must be"),
        (("mid:0", "--size", "18"), "the network needs 19 pixels"),
        (("mid:0", "--param", "magic"), "param must be"),
        (("mid:0", "--sign", "x"), "sign must be"),
        (("mid:0", "--spectrum", "tiny.onnx"), "--spectrum is for --param maco"),
        (("mid:0", "--spectrum", "grey.png", "--param", "maco"), "single colour"),
        (("mid:0", "--spectrum", "none.png", "--param", "maco"), "none.png"),
        (("mid:0", "--diversity", "0"), "diversity must be"),
        (("mid:0", "--memory", "100MB"), "may be used: choose a smaller --size, or give more --memory"),
        (("mid:0", "--step-size", "nan"), "step size must be"),
    ],
)
def test_bad_words_are_told_in_one_line(words: tuple[str, ...], reason: str, run: Command, folder: Path) -> None:
    save(folder / "grey.png", np.full((40, 40, 3), 90, np.uint8))
    options = FEW if "--size" not in words else FEW[2:]
    finished = run(*words, "--model", "tiny.onnx", *options)
    assert finished.code in (1, 2)
    (error,) = (line for line in finished.err.splitlines() if line.startswith("error: "))
    assert reason in error
    assert "Traceback" not in finished.err


def test_a_folder_that_cannot_be_written_is_told(run: Command, folder: Path) -> None:
    (folder / "out").write_bytes(b"a file")
    finished = run("mid:0", "--model", "tiny.onnx", *FEW)
    assert finished.code == 1
    assert "cannot write features to out" in finished.err


def test_events_tell_a_program_how_it_goes(run: Command, folder: Path) -> None:
    finished = run("mid:0,1", "--model", "tiny.onnx", *FEW, "--progress", "json")
    events = [json.loads(line) for line in finished.err.splitlines()]
    assert [event["event"] for event in events].count("start") == 1
    done = events[-1]
    assert (done["event"], done["features"]) == ("done", 2)
    assert Path(done["result"]).is_file()


# The command line, which waits in the first step after the first pictures while there is a file `hold`.
WAITING = """
import os, time
from onnxdream.runtime.features.progress import FeatureProgress
show = FeatureProgress.show
def show_and_wait(*given):
    show(*given)
    while os.path.exists("out/atlas.json") and os.path.exists("hold"):
        time.sleep(0.01)
FeatureProgress.show = show_and_wait
from onnxdream.cli import app
app()
"""


@posix
def test_an_interrupted_atlas_is_continued_by_the_same_call(folder: Path) -> None:
    words = (
        "mid",
        "low",
        "high",
        "--model",
        "tiny.onnx",
        "--steps",
        "10",
        "--size",
        "128",
        "--views",
        "none",
        *FEW[4:],
    )
    command = [sys.executable, "-c", WAITING, "features", *words]
    (folder / "hold").touch()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder)
    deadline = time.monotonic() + 90
    while not (folder / "out" / "atlas.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    (folder / "hold").unlink()
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert "are not drawn yet: the same command continues" in err
    tiles = record(folder)["tiles"]
    drawn = sum(tile["steps"] == 10 for tile in tiles)
    assert 0 < drawn < 20
    page = (folder / "out" / "atlas.html").read_text()
    assert len(Tiles(page).names) == len(tiles)
    assert page.count("of 10 steps</small>") == len(tiles) - drawn
    second = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=folder, timeout=100, check=False)
    assert f": {drawn} drawn already" in second.stderr
    assert second.returncode == 0
    assert {tile["steps"] for tile in record(folder)["tiles"]} == {10}


@posix
@pytest.mark.parametrize("way", [(), ("--walk", "3")])
def test_an_interrupted_picture_is_kept_as_it_is(way: tuple[str, ...], folder: Path) -> None:
    words = ("mid:0,1" if way else "mid:0", "--model", "tiny.onnx", "--steps", "100000", *way, *FEW[4:])
    command = [sys.executable, "-m", "onnxdream.cli", "features", *words, "--progress", "json"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder)
    assert process.stderr
    for line in process.stderr:
        if '"step"' in line and json.loads(line)["step"] > 20:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    name = "mid-0-to-1" if way else "atlas"
    found = json.loads((folder / "out" / f"{name}.json").read_text())
    (picture,) = found["pictures" if way else "tiles"]
    assert 20 < picture["steps"] < 100000
    assert f"stopped after {picture['steps']} of 100000 steps" in err
    assert load(folder / "out" / (picture["file"] if way else "mid-0.png")).std() > 10


@posix
def test_two_calls_do_not_draw_into_one_folder(run: Command, folder: Path) -> None:
    import fcntl

    (folder / "out").mkdir()
    with (folder / "out" / ".atlas.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another run is drawing in out" in run("mid:0", "--model", "tiny.onnx", *FEW).err
