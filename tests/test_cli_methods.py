"""The methods of `dream` at the command line: what they take, what they refuse; every setting has an option."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import typer
from pictures_fixture import TINY_BYTES, Command, in_this_process, listing, load, noise, save

from onnxdream.cli import app
from onnxdream.runtime.settings import Settings

OLD = Path(__file__).parent / "data" / "tiny-1.0.onnx"
SHORT = ("--model", "tiny.onnx", "--steps", "3", "--step-size", "0.02", "--threads", "1", "--provider", "cpu")
# What makes a preset the copy of a classic is no choice of the command line.
OF_PRESETS_ONLY = {"interpolation", "octave_rounding", "octave_return", "tiling"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two pictures, a mask and the tiny bundle in it."""
    path = tmp_path / "here"
    save(path / "bears.png", noise(40, 53))
    save(path / "penguins.png", noise(44, 44, seed=3))
    save(
        path / "mask.png",
        np.repeat(np.where(np.arange(53) < 26, 0, 255)[None, :, None], 40, 0).repeat(3, 2).astype("u1"),
    )
    save(path / "small.png", noise(9, 9))
    (path / "tiny.onnx").write_bytes(TINY_BYTES)
    (path / "old.onnx").write_bytes(OLD.read_bytes())
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    return in_this_process(capfd)


def test_every_setting_has_an_option() -> None:
    command = typer.main.get_command(app).commands["dream"]  # type: ignore[attr-defined]
    options = {parameter.name for parameter in command.params}
    settings = {setting.name for setting in fields(Settings)} - {"execution"}
    assert settings - OF_PRESETS_ONLY <= options


@pytest.mark.parametrize(
    "options",
    [
        ("--octaves", "3", "--jitter", "4", "--blur", "0.7", "--seed", "5"),
        ("--octaves", "2", "--octaves-above", "1", "--octave-scale", "1.3", "--detail", "none"),
        ("--channels", "low:1,-0", "--channels", "high:2"),
        ("--pick", "strongest:2"),
        ("--guide", "penguins.png"),
        ("--laplacian", "3", "--tv", "0.1", "--l2", "0.1", "--no-clip"),
        ("--optimizer", "adam", "--momentum", "0.8", "--plateau", "2", "--max-loss", "100"),
        ("--mask", "mask.png", "--feather", "2", "--keep-colours", "--blend", "0.5", "--full-size"),
        ("--preset", "caffe"),
        ("--preset", "keras"),
        ("--preset", "tutorial-tiled", "--octaves", "1", "--octaves-above", "0"),
        ("--memory", "1GB", "--tile-overlap", "32", "--max-size", "0"),
    ],
    ids=" ".join,
)
def test_a_method_dreams_and_is_recorded(options: tuple[str, ...], run: Command, folder: Path) -> None:
    run("dream", "bears.png", *SHORT, *options).succeeds()
    record = json.loads((folder / "bears-dream.json").read_text())
    assert record["ended"] == "finished"
    assert load(folder / "bears-dream.png").ndim == 3
    assert not (folder / "bears-dream.checkpoint").exists()
    name = options[0].removeprefix("--").replace("-", "_")
    if name in record["settings"]:
        assert record["settings"][name] != getattr(Settings(), name)


def test_noise_is_dreamed_instead_of_a_picture(run: Command, folder: Path) -> None:
    run("dream", "--noise", "48x32", *SHORT).succeeds()
    assert load(folder / "noise-48x32-dream.png").shape == (32, 48, 3)


def test_a_mask_leaves_what_is_black_untouched(run: Command, folder: Path) -> None:
    run("dream", "bears.png", "--mask", "mask.png", *SHORT).succeeds()
    dreamed = load(folder / "bears-dream.png")
    np.testing.assert_array_equal(dreamed[:, :26], noise(40, 53)[:, :26])
    assert np.any(dreamed[:, 26:] != noise(40, 53)[:, 26:])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bears.png", "--noise", "48x32"), "give either --noise or pictures"),
        ((), "no picture given"),
        (("bears.png", "--noise", "48"), "write width x height"),
        (("bears.png", "--octaves", "2", "--octaves-above", "2"), "must be fewer than octaves"),
        (("bears.png", "--channels", "low:1", "--pick", "strongest"), "contradict"),
        (("bears.png", "--channels", "low:1", "--guide", "penguins.png"), "contradict"),
        (("bears.png", "--pick", "weakest:2", "--guide", "penguins.png"), "contradict"),
        (("bears.png", "--mask", "penguins.png"), "the mask has 44x44 pixels, the picture 53x40"),
        (("bears.png", "--guide", "small.png"), "the guide has 9x9 pixels, the network needs 19x19"),
        (("bears.png", "--guide", "lost.png"), "no such picture"),
        (("bears.png", "--channels", "low:99999"), "channel 99999 is not in low"),
        (("bears.png", "--channels", "mixed9:1"), "'mixed9' of --channels is not in the bundle"),
        (("bears.png", "--channels", "low=1"), "write a layer once, as in mixed2:12,-40"),
        (("bears.png", "--pick", "best:3"), "write strongest:5 or weakest:5"),
        (("bears.png", "--memory", "lots"), "write a size as in 1GB"),
        (("bears.png", "--memory", "1MB"), "is too small for this picture and bundle: give --memory"),
        (("bears.png", "--blend", "1.5"), "blend must be a number from 0 to 1"),
        (("bears.png", "--detail", "later"), "detail must be one of before, after, none"),
        (("bears.png", "--optimizer", "sgd"), "optimizer must be one of plain, momentum, adam"),
        (("bears.png", "--resume", "lost.checkpoint"), "--resume takes everything from the checkpoint"),
        (("bears.png", "--config", "lost.toml"), "no config file lost.toml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_is_refused_in_one_line(
    words: tuple[str, ...], said: str, run: Command, folder: Path
) -> None:
    before = listing(folder)
    run("dream", *words, "--model", "tiny.onnx").refuses(said)
    assert listing(folder) == before


def test_the_least_memory_that_is_named_is_accepted(run: Command) -> None:
    refused = run("dream", "bears.png", "--memory", "1MB", *SHORT)
    least = refused.errors[0].split("give --memory ")[1].split(" ")[0]
    run("dream", "bears.png", "--memory", least, *SHORT).succeeds()


def test_a_bundle_of_contract_1_0_dreams_but_has_no_channels(run: Command) -> None:
    old = ("--model", "old.onnx", *SHORT[2:])
    run("dream", "bears.png", *old).succeeds()
    run("dream", "bears.png", "--channels", "low:1", *old).refuses("export it again for --channels")


def test_a_preset_for_other_layers_says_how_to_export_them(run: Command) -> None:
    finished = run("dream", "bears.png", "--preset", "keras", *SHORT)
    finished.succeeds()
    wanted = "onnxdream export --model v3 --layers mixed4,mixed5,mixed6,mixed7 --objective l2 --border 2"
    assert wanted in finished.err
