"""The methods on the command line: what they change, what is refused, and what the help shows."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from pictures_fixture import TINY_BYTES, Command, Finished, in_process_of_its_own, in_this_process, load, noise, save

from onnxdream.cli import app
from onnxdream.runtime.settings.settings import Settings

SHORT = ("--model", "tiny.onnx", "--steps", "3", "--step-size", "0.02", "--threads", "1", "--provider", "cpu")


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots would take longer than everything else."""
    from onnxdream.runtime.dream import writer

    monkeypatch.setattr(writer, "can_plot", lambda: False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a picture, a mask whose left half is white, masks and guides of other sizes, bundles."""
    path = tmp_path / "here"
    save(path / "bears.png", noise(60, 80))
    mask = np.zeros((60, 80, 3), np.uint8)
    mask[:, :40] = 255
    save(path / "mask.png", mask)
    save(path / "small-mask.png", mask[:30])
    save(path / "guide.png", noise(50, 50, seed=8))
    save(path / "small-guide.png", noise(18, 50))
    np.save(path / "weights.npy", np.linspace(-1, 1, 14).astype(np.float32))
    (path / "tiny.onnx").write_bytes(TINY_BYTES)
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process, in that folder."""
    return in_this_process(capfd)


def plain(run: Command) -> NDArray[np.uint8]:
    """The picture that the default methods dream."""
    run("dream", "bears.png", "--output", "plain.png", *SHORT).succeeds()
    return load(Path("plain.png"))


# Each option changes the picture

METHODS: dict[str, tuple[str, ...]] = {
    "octaves": ("--octaves", "2"),
    "octaves above": ("--octaves", "2", "--octaves-above", "1", "--octave-scale", "1.5", "--detail", "none"),
    "jitter": ("--jitter", "8", "--seed", "3"),
    "channels": ("--channels", "low:1,-2", "--channels", "high:0"),
    "pick": ("--pick", "strongest:2"),
    "guide": ("--guide", "guide.png"),
    "a cosine to a guide": ("--guide", "guide.png", "--guide-by", "cosine"),
    "a caricature of a guide": ("--guide", "guide.png", "--guide-by", "caricature:4"),
    "a caricature of itself": ("--guide-by", "caricature"),
    "a direction": ("--direction", "guide.png,mask.png"),
    "a direction of weights": ("--direction", "weights.npy", "--layers", "low"),
    "until": ("--until", "low:1=-1"),
    "layer weights": ("--layer-weights", "low=1,high=-2"),
    "gradient norm": ("--gradient-norm", "mean-abs"),
    "blur": ("--blur", "1.5"),
    "a scheduled blur": ("--blur", "1.5:0"),
    "a scheduled step size": ("--step-size", "0.02:0.01"),
    "laplacian": ("--laplacian", "3"),
    "tv": ("--tv", "0.5"),
    "l2": ("--l2", "0.5"),
    "stay": ("--stay", "0.5"),
    "momentum": ("--optimizer", "momentum", "--momentum", "0.5"),
    "adam": ("--optimizer", "adam"),
    "no clip": ("--no-clip", "--step-size", "0.5"),
    "normalization": ("--normalization", "backbone"),
    "mask": ("--mask", "mask.png", "--feather", "4"),
    "own colours": ("--colours", "own"),
    "a share of own colours": ("--colors", "own:0.4"),
    "imagenet's colours": ("--colours", "imagenet"),
    "lightness": ("--colours", "lightness"),
    "blend": ("--blend", "0.3"),
    "max size": ("--max-size", "40"),
    "max size and full size": ("--max-size", "40", "--full-size"),
    "max loss": ("--max-loss", "0"),
    "plateau": ("--plateau", "1", "--step-size", "1e-6"),
    "the preset tutorial": ("--preset", "tutorial", "--layers", "low,mid,high"),
    "the preset caffe": ("--preset", "caffe", "--layers", "low,mid,high"),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_changes_the_picture_and_is_in_the_record(name: str, run: Command, folder: Path) -> None:
    before = plain(run)
    finished = run("dream", "bears.png", "--output", "other.png", *SHORT, *METHODS[name])
    finished.succeeds()
    after = load(Path("other.png"))
    assert after.shape != before.shape or (after != before).any()
    record = json.loads(Path("other.json").read_text())
    assert record["ended"] == "finished"
    run("dream", "--repeat", "other.json", "--output", "again.png").succeeds()
    np.testing.assert_array_equal(load(Path("again.png")), after)


@pytest.mark.parametrize("goal", ["until", "max loss"])
def test_the_last_line_tells_that_a_goal_ended_a_dream_early(goal: str, run: Command, folder: Path) -> None:
    finished = run("dream", "bears.png", *SHORT, *METHODS[goal])
    finished.succeeds()
    with Path("bears-dream-losses.csv").open() as file:
        done = len(list(csv.DictReader(file))) - 1
    assert f"bears.png: after {done} of 3 steps, loss " in finished.err


def test_steps_are_counted_across_octaves(run: Command) -> None:
    finished = run("dream", "bears.png", "--octaves", "3", "--snapshots", "2,5,9", *SHORT)
    finished.succeeds()
    assert "bears.png: 80×60 → 80×60, octaves 40×30, 57×42, 80×60" in finished.err
    with Path("bears-dream-losses.csv").open() as file:
        steps = [(row["step"], row["octave"], row["total"]) for row in csv.DictReader(file)]
    assert [step[:2] for step in steps] == list(zip("0123456789", "1112223333", strict=True))
    first, last = (float(steps[number][2]) for number in (6, 9))
    assert f"bears.png: loss of the last octave {first:.4g} → {last:.4g} in " in finished.err
    record = json.loads(Path("bears-dream.json").read_text())
    assert [octave["start"] for octave in record["octaves"]] == [0, 3, 6]
    names = {path.name for path in Path().glob("bears-dream-step*")}
    assert names == {f"bears-dream-step000{number}.png" for number in (2, 5, 9)}
    sizes = {load(Path(f"bears-dream-step000{number}.png")).shape for number in (2, 5, 9)}
    assert sizes == {(60, 80, 3)}


def test_fewer_octaves_than_asked_for_are_reported_and_counted(run: Command) -> None:
    finished = run("dream", "bears.png", "--octaves", "9", "--verbose", *SHORT)
    finished.succeeds()
    assert "80×60 (6 of the 9 octaves asked for: the others would have the same size)" in finished.err
    assert json.loads(Path("bears-dream.json").read_text())["steps_done"] == 18
    assert "bears.png: octave 6: 80×60, loss" in finished.err


def test_the_black_half_of_a_mask_keeps_the_picture_bit_for_bit(run: Command) -> None:
    run("dream", "bears.png", "--mask", "mask.png", "--octaves", "2", *SHORT).succeeds()
    result, picture = load(Path("bears-dream.png")), noise(60, 80)
    np.testing.assert_array_equal(result[:, 40:], picture[:, 40:])
    assert np.abs(result[:, :40].astype(int) - picture[:, :40]).mean() > 1


def test_lightness_keeps_the_colours_of_the_picture(run: Command) -> None:
    run("dream", "bears.png", "--colours", "lightness", *SHORT).succeeds()
    before, after = (cv2.cvtColor(p, cv2.COLOR_RGB2YCrCb) for p in (noise(60, 80), load(Path("bears-dream.png"))))
    assert np.abs(after[..., 1:].astype(int) - before[..., 1:]).max() <= 2
    assert np.abs(after[..., 0].astype(int) - before[..., 0]).mean() > 1


def test_blend_0_is_the_picture(run: Command) -> None:
    run("dream", "bears.png", "--blend", "0", *SHORT).succeeds()
    np.testing.assert_array_equal(load(Path("bears-dream.png")), noise(60, 80))


def test_noise_is_named_after_its_size_and_depends_on_its_seed(run: Command) -> None:
    for output, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        finished = run("dream", "--noise", "48x40", "--seed", seed, "--output", output, *SHORT)
        finished.succeeds()
        assert "noise-48x40: 48×40 → 48×40" in finished.err
    first, same, other = (load(Path(output) / "noise-48x40-dream.png") for output in "abc")
    assert first.shape == (40, 48, 3)
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_every_method_keeps_sixteen_bits_and_alpha(run: Command) -> None:
    picture = noise(60, 80, channels=4, dtype=np.uint16)
    picture[:20, :, 3] = 0
    save(Path("deep.png"), picture)
    methods = ("--octaves", "2", "--optimizer", "adam", "--colours", "own:0.9", "--blend", "0.7", "--mask", "mask.png")
    run("dream", "deep.png", *methods, *SHORT).succeeds()
    result = load(Path("deep-dream.png"))
    assert (result.dtype, result.shape) == (np.uint16, (60, 80, 4))
    np.testing.assert_array_equal(result[..., 3], picture[..., 3])
    np.testing.assert_array_equal(result[:, 40:], picture[:, 40:])
    assert (result[:, :40, :3] % 257 != 0).mean() > 0.9  # not 8 bits times 257


def test_a_run_from_a_config_file_equals_the_run_of_its_options(run: Command) -> None:
    Path("run.toml").write_text(
        """
        model = "tiny.onnx"
        steps = 3
        step-size = 0.02
        threads = 1
        provider = "cpu"
        octaves = 2
        channels = ["low:1,-2"]
        layer-weights = { low = 1.0, mid = -0.5 }
        mask = "mask.png"
        optimizer = "adam"
        clip = false
        output = "from-file.png"
        """
    )
    run("dream", "--config", "run.toml", "bears.png").succeeds()
    options = ("--octaves", "2", "--channels", "low:1,-2", "--layer-weights", "low=1,mid=-0.5", "--mask", "mask.png")
    run("dream", "bears.png", *SHORT, *options, "--optimizer", "adam", "--no-clip", "--output", "words.png").succeeds()
    np.testing.assert_array_equal(load(Path("from-file.png")), load(Path("words.png")))
    assert Path("from-file-losses.csv").read_bytes() == Path("words-losses.csv").read_bytes()


# Errors: one line, and nothing is written

REFUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "noise and a picture": (("--noise", "40x30"), ("either --noise or pictures",)),
    "octaves above": (("--octaves", "2", "--octaves-above", "2"), ("octaves above (2)",)),
    "channels and pick": (("--channels", "low:1", "--pick", "weakest"), ("channels and pick contradict",)),
    "channels and a guide": (("--channels", "low:1", "--guide", "guide.png"), ("channels and a guide contradict",)),
    "pick and a guide": (("--pick", "strongest", "--guide", "guide.png"), ("pick and a guide contradict",)),
    "cosine without a guide": (("--guide-by", "cosine"), ("guide by cosine", "--guide PICTURE")),
    "an unknown way of a guide": (("--guide-by", "cos"), ("guide by 'cos'", "surplus, cosine, caricature")),
    "a power that is not one": (("--guide-by", "caricature:x"), ("guide by 'caricature:x'",)),
    "a cosine with a power": (("--guide-by", "cosine:2"), ("guide by 'cosine:2'",)),
    "classes and a caricature": (
        ("--pick", "weakest", "--guide-by", "caricature"),
        ("pick and guide by caricature contradict",),
    ),
    "a direction and a guide": (
        ("--direction", "guide.png,mask.png", "--guide", "guide.png"),
        ("a direction and a guide contradict",),
    ),
    "channels and a direction": (
        ("--direction", "guide.png,mask.png", "--channels", "low:1"),
        ("channels and a direction contradict",),
    ),
    "a direction of one picture": (("--direction", "guide.png"), ("direction 'guide.png'", ".npy file")),
    "a missing direction": (("--direction", "lost.npy"), ("cannot read direction lost.npy",)),
    "a direction of several layers": (("--direction", "weights.npy"), ("those of one layer, not of low, mid, high",)),
    "a direction of another length": (
        ("--direction", "weights.npy", "--layers", "mid"),
        ("has 14 weights, but mid has 20 channels",),
    ),
    "a direction to nothing": (("--direction", "guide.png,guide.png"), ("look the same to these layers",)),
    "until without a number": (("--until", "low:1"), ("until 'low:1'", "mixed4:40=0.8")),
    "until of an unknown layer": (("--until", "lowest:1=2"), ("layer 'lowest' of --until",)),
    "until of an unknown channel": (("--until", "low:14=2"), ("channel 14 is not in low",)),
    "stay above 1": (("--stay", "1.5"), ("stay must be a number from 0 to 1",)),
    "an unknown layer": (("--channels", "lowest:1"), ("layer 'lowest'", "the nearest are low")),
    "an unknown channel": (("--channels", "low:14"), ("channel 14 is not in low", "0 to 13")),
    "invalid channels": (("--channels", "low=3"), ("channels 'low=3'", "mixed2:12,-40")),
    "a layer twice": (("--channels", "low:1", "--channels", "low:2"), ("channels 'low:2'", "each layer once")),
    "an invalid pick": (("--pick", "best"), ("pick 'best'", "strongest:5")),
    "a mask of another size": (("--mask", "small-mask.png"), ("the mask has 80x30 pixels, the picture 80x60",)),
    "a guide that is too small": (("--guide", "small-guide.png"), ("the guide has 50x18", "needs 19x19")),
    "a missing mask": (("--mask", "lost.png"), ("lost.png", "no such picture")),
    "a guide that is not a picture": (("--guide", "tiny.onnx"), ("tiny.onnx", "is not a picture")),
    "a budget that is too small": (("--memory", "100MB"), ("memory budget of 100MB is too small", "--memory 1")),
    "an invalid memory size": (("--memory", "lots"), ("memory 'lots'",)),
    "an unknown preset": (("--preset", "caffee"), ("unknown preset 'caffee'", "caffe")),
    "an unknown norm": (("--gradient-norm", "max"), ("gradient norm must be one of std, l2",)),
    "an unknown optimizer": (("--optimizer", "sgd"), ("optimizer must be one of plain, momentum, adam",)),
    "an unknown detail": (("--detail", "later"), ("detail must be one of before, after, none",)),
    "a blend above 1": (("--blend", "1.5"), ("blend must be a number from 0 to 1",)),
    "a negative jitter": (("--jitter", "-1"), ("jitter must be a whole number from 0",)),
    "a momentum of 1": (("--optimizer", "momentum", "--momentum", "1"), ("momentum must be a number",)),
    "not a number": (("--tv", "nan"), ("tv must be a number",)),
    "a number too large to be one": (("--blur", "1e400"), ("blur must be a number",)),
    "unknown colours": (("--colours", "grey"), ("colours must be free, own", "not 'grey'")),
    "a share above 1": (("--colours", "own:1.5"), ("a share of own from 0 to 1 as in own:0.7", "not 'own:1.5'")),
    "a schedule of three": (("--blur", "3:2:1"), ("blur '3:2:1'", "write 0.03, or 0.03:0.012")),
    "a schedule of words": (("--step-size", "fast:slow"), ("step size 'fast:slow'", "write 0.03, or 0.03:0.012")),
    "a schedule without an end": (("--blur", "3:"), ("blur '3:'", "from an octave's first step to its last")),
    "a schedule out of its range": (("--step-size", "0.1:-1"), ("step size must be a number from", "not -1.0")),
    "resume and a picture": (("--resume", "x.checkpoint"), ("--resume takes everything from the checkpoint",)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_options_are_refused_in_one_line(name: str, run: Command, folder: Path) -> None:
    options, words = REFUSED[name]
    before = set(folder.iterdir())
    finished = run("dream", "bears.png", *SHORT, *options)
    finished.refuses(*words)
    names_a_file = re.match(r"error: \w+\.(png|onnx): ", finished.errors[0])
    assert finished.code == (1 if names_a_file else 2)
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize("size", ["", "40", "40x", "0x40", "40x-30", "4.5x3", "axb"])
def test_an_invalid_size_is_refused(size: str, run: Command) -> None:
    run("dream", "--noise", size, *SHORT).refuses("noise", "512x384")


def test_a_size_that_is_too_large_is_refused(run: Command) -> None:
    run("dream", "--noise", "99999999x2", *SHORT).refuses("noise '99999999x2': a side has at most 99999 pixels")


CONFIGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "an unknown key": ("stepz = 3", ("unknown key 'stepz'", "did you mean steps?")),
    "a table": ("[octaves]\nnumber = 3", ("octaves",)),
    "the wrong type": ('steps = "many"', ("steps", "'many'")),
    "a number out of its range": ("blend = 7", ("blend must be a number from 0 to 1",)),
    "a number of a thousand digits": ("step-size = 1" + "0" * 1000, ("step size must be a number",)),
    "a number of a million digits": ("seed = 1" + "0" * 10**6, ("is not valid TOML",)),
    "a date": ("seed = 2020-01-01", ("seed must be a whole number",)),
    "a layer's weight that is text": ('layer-weights = { low = "x" }', ("weight of low",)),
    "not TOML": ("steps: 3", ("is not valid TOML",)),
    "a contradiction": ("octaves = 1\noctaves-above = 1", ("octaves above (1)",)),
    "noise and a picture": ("noise = [40, 30]", ("either --noise or pictures",)),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_an_invalid_config_file_is_refused_in_one_line(name: str, run: Command, folder: Path) -> None:
    text, words = CONFIGS[name]
    Path("run.toml").write_text(text)
    before = set(folder.iterdir())
    finished = run("dream", "--config", "run.toml", "bears.png", "--model", "tiny.onnx")
    finished.refuses(*words)
    assert finished.code == 2
    assert set(folder.iterdir()) == before


def test_the_minimum_budget_in_the_message_is_enough(run: Command) -> None:
    refused = run("dream", "bears.png", *SHORT, "--memory", "100MB")
    minimum = re.search(r"give at least --memory (\d+MB)", refused.err)
    assert minimum
    below = f"{int(minimum[1][:-2]) - 2}MB"
    run("dream", "bears.png", *SHORT, "--memory", below).refuses(minimum[1])
    run("dream", "bears.png", *SHORT, "--memory", minimum[1]).succeeds()


# The help


def help_page() -> str:
    """The output of `dream --help`."""
    finished: Finished = in_process_of_its_own("dream", "--help", COLUMNS="120", TERM="dumb")
    assert finished.code == 0
    return finished.out


def test_the_first_group_of_the_help_is_short_and_every_option_has_a_group() -> None:
    page = help_page()
    groups = re.split(r"╭─ ", page)[1:]
    titles = [re.split(r" ─", group)[0] for group in groups]
    assert titles == [
        "Arguments",
        "Options",
        "What to dream, and how",
        "Scales",
        "The picture",
        "What to write",
        "Where to compute",
    ]
    first = set(re.findall(r"--[a-z-]+", groups[1]))
    assert len(first) <= 12
    assert {"--model", "--preset", "--steps", "--output", "--resume"} <= first


def test_every_setting_has_an_option_except_those_that_only_presets_need() -> None:
    command = typer.main.get_command(app).commands["dream"]  # type: ignore[attr-defined]
    options = {option.name for option in command.get_params(command.make_context("dream", [], resilient_parsing=True))}
    settings = {setting.name for setting in fields(Settings)} - {"execution"}
    assert settings - options == {"interpolation", "octave_rounding", "octave_return", "tiling"}
