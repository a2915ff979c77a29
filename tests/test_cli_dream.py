"""The command `dream` as a user sees it: results, messages and errors."""

from __future__ import annotations

import csv
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from foreign_files import BROKEN, FOREIGN
from picture_bytes import png_chunk
from pictures_fixture import (
    TINY_BYTES,
    Command,
    Finished,
    cliff_bytes,
    frames,
    in_limited_files,
    in_process_of_its_own,
    in_this_process,
    listing,
    load,
    noise,
    save,
)

from onnxdream import cli
from onnxdream.runtime.dream.plot import can_plot
from onnxdream.runtime.dream.record import read_record
from onnxdream.runtime.image.files import read_note
from onnxdream.runtime.provider.cards import PROVIDERS
from onnxdream.runtime.provider.selection import candidates

SHORT = ("--steps", "4", "--step-size", "0.02", "--threads", "1", "--provider", "cpu")
PLOT = {"bears-dream-losses.png"} if can_plot() else set()
RESULTS = {"bears-dream.png", "bears-dream.json", "bears-dream-losses.csv", "bears-dream-step0004.png"} | PLOT


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the picture bears.png and the bundle tiny.onnx in it."""
    path = tmp_path / "here"
    save(path / "bears.png", noise(40, 53))
    (path / "tiny.onnx").write_bytes(TINY_BYTES)
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process, in that folder."""
    return in_this_process(capfd)


def added(folder: Path) -> set[str]:
    """The files and folders that a command added to the folder."""
    return listing(folder) - {"bears.png", "tiny.onnx"}


# Results


def test_a_fallback_to_the_cpu_is_reported_once_and_recorded_with_every_picture(
    run: Command, folder: Path, broken_cuda: str
) -> None:
    save(folder / "cats.png", noise(30, 41))
    finished = run("dream", "bears.png", "cats.png", "--model", "tiny.onnx", "--steps", "1", "--threads", "1")
    finished.succeeds()
    assert finished.err.splitlines().count(broken_cuda) == finished.err.count(broken_cuda) == 1
    for name in ("bears", "cats"):
        record = read_record((folder / f"{name}-dream.json").read_text(), name)
        assert (record.execution.provider, record.notices) == ("cpu", (broken_cuda,))


def test_a_dream_writes_its_files_and_reports_them(run: Command, folder: Path) -> None:
    finished = run("dream", "bears.png", "--model", "tiny.onnx", "--snapshots", "1,2,900", *SHORT)
    finished.succeeds()
    assert added(folder) == RESULTS | {"bears-dream-step0001.png", "bears-dream-step0002.png"}
    assert finished.out == ""
    lines = finished.err.splitlines()
    assert lines[0] == "model: tiny.onnx (tiny, low, mid, high; random weights)"
    assert "its weights are random" in lines[1]
    assert lines[2:4] == ["provider: cpu", "bears.png: 53×40 → 53×40"]
    assert lines[-1].startswith("bears.png: loss ")
    assert lines[-1].endswith(f" s, saved as {folder / 'bears-dream.png'}")
    assert np.any(load(folder / "bears-dream.png") != noise(40, 53))


def test_the_options_reach_the_dream(run: Command, folder: Path) -> None:
    options = ("--preset", "tutorial", "--max-size", "32", "--layer-weights", "low=1,high=-0.5", "--seed", "7")
    options += ("--normalization", "minmax", "--gradient-norm", "l2", "--snapshots", "3", "--full-size")
    run("dream", "bears.png", "--model", "tiny.onnx", *options, *SHORT).succeeds()
    settings = json.loads((folder / "bears-dream.json").read_text())["settings"]
    assert settings == {
        "steps": 4,
        "step_size": 0.02,
        "max_size": 32,
        "layer_weights": {"low": 1.0, "high": -0.5},
        "normalization": "minmax",
        "gradient_norm": "l2",
        "snapshots": [3],
        "full_size": True,
        "seed": 7,
        "execution": {
            "provider": "cpu",
            "threads": 1,
            "memory": None,
            "tile_pixels": None,
            "precision": "fp32",
            "tune": False,
        },
    } | {name: settings[name] for name in settings.keys() - NAMED_HERE}
    assert load(folder / "bears-dream.png").shape == (40, 53, 3)
    with (folder / "bears-dream-losses.csv").open(newline="") as file:
        rows = [[float(number) for number in row[2:]] for row in list(csv.reader(file))[1:]]
    assert [total for total, *_ in rows] == pytest.approx(
        [low - 0.5 * high for _, low, _, high in rows], rel=1e-5, abs=1e-6
    )


# Other settings have their own tests.
NAMED_HERE = {
    "steps", "step_size", "max_size", "layer_weights", "normalization",
    "gradient_norm", "snapshots", "full_size", "seed", "execution",
}  # fmt: skip


def test_folders_inside_are_dreamed_on_request_and_results_are_left_out(run: Command, folder: Path) -> None:
    for name in ("trip/cats.png", "trip/day 2/american-dream-house.png"):
        save(folder / name, noise(30, 41))
    (folder / "trip" / "raw.nef").write_bytes(b"")
    command = ("dream", "trip", "--output", "trip", "--model", "tiny.onnx", *SHORT)
    finished = run(*command, "--recursive")
    finished.succeeds()
    assert finished.err.count("trip: left out 1 file: raw.nef (camera raw is not read)\n") == 1
    results = {path.name for path in (folder / "trip").glob("*-dream.png")}
    assert results == {"cats-dream.png", "american-dream-house-dream.png"}
    finished = run(*command, "--seed", "1")
    finished.succeeds()
    assert " and " in finished.err.partition("trip: left out ")[2]
    results = {path.name for path in (folder / "trip").glob("*-dream-2.png")}
    assert results == {"cats-dream-2.png"}


def test_results_are_kept_and_replaced_on_request(run: Command, folder: Path) -> None:
    for _ in range(2):
        run("dream", "bears.png", "--model", "tiny.onnx", "--snapshots", "2", *SHORT).succeeds()
    assert {"bears-dream-2.png", "bears-dream-2.json", "bears-dream-step0002.png"} <= added(folder)
    first = (folder / "bears-dream-2.json").stat().st_mtime_ns
    run("dream", "bears.png", "--model", "tiny.onnx", "--overwrite", *SHORT, "--steps", "1").succeeds()
    assert not (folder / "bears-dream-step0002.png").exists()
    assert not (folder / "bears-dream-step0004.png").exists()
    assert (folder / "bears-dream-step0001.png").exists()
    assert json.loads((folder / "bears-dream.json").read_text())["steps_done"] == 1
    assert (folder / "bears-dream-2.json").stat().st_mtime_ns == first
    assert (folder / "bears-dream-2-step0002.png").exists()


def test_the_output_may_be_a_folder_or_a_picture(run: Command, folder: Path) -> None:
    run("dream", "bears.png", "--model", "tiny.onnx", "--output", "new/folder", *SHORT).succeeds()
    assert listing(folder / "new" / "folder") == RESULTS
    run("dream", "bears.png", "--model", "tiny.onnx", "--output", "art.webp", *SHORT).succeeds()
    assert {"art.webp", "art.json", "art-losses.csv", "art-step0004.webp"} <= added(folder)


def test_folders_and_several_pictures_are_dreamed_in_one_call(run: Command, folder: Path) -> None:
    save(folder / "more" / "a.png", noise(40, 53))
    save(folder / "more" / "b.jpg", noise(53, 40))
    finished = run("dream", "bears.png", "more", "--model", "tiny.onnx", "--output", "out", *SHORT)
    finished.succeeds()
    pictures = {path.name for path in (folder / "out").glob("*-dream.png")}
    assert pictures == {"a-dream.png", "b-dream.png", "bears-dream.png"}
    assert finished.err.count("saved as") == 3


def test_names_of_all_kinds_are_dreamed_and_take_one_line_each(run: Command, folder: Path) -> None:
    names = ["new\nline.png", "-dash.png", "--output.png", "two words.png", os.fsdecode(b"caf\xe9.png"), "\x1b[31m.png"]
    names += ["\u202egnp.png", "\u2066a.png", "two\u2028lines.png", "👩\u200d🚀.png"]
    (folder / "more").mkdir()
    for name in names:
        shutil.copy("bears.png", folder / "more" / name)
    (folder / "more" / "bro\nken.png").write_bytes(b"")
    finished = run("dream", "more", "--model", "tiny.onnx", "--output", "out", "--no-extras", *SHORT)
    assert finished.code == 3
    assert finished.errors == [f"error: {Path('more')}/bro\\nken.png: is empty; copy it again from its source"]
    assert {path.name for path in (folder / "out").glob("*.png")} == {f"{name[:-4]}-dream.png" for name in names}
    assert all(line.startswith("new\\nline.png: ") for line in finished.err.splitlines() if "line.png" in line)
    assert not {"\x1b", "\u202e", "\u2066", "\u2028"} & set(finished.err)
    assert "\\u202egnp.png: " in finished.err
    assert "👩\u200d🚀.png: " in finished.err


def test_workers_have_no_effect_on_one_picture(run: Command) -> None:
    finished = run("dream", "bears.png", "--model", "tiny.onnx", "--workers", "auto", *SHORT)
    finished.succeeds()
    assert "--workers has no effect on one picture" in finished.err.splitlines()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--watch", "lost", "--output", "out"], "--watch lost is not a folder that exists"),
        (["--watch", "bears.png", "--output", "out"], "--watch bears.png is not a folder: name one"),
        (["--watch", "in"], "--watch needs a folder for the results: give it as --output"),
        (["--watch", "in", "--output", "out.png"], "--watch needs a folder for the results"),
        (["--watch", "in", "--output", "-"], "--watch needs a folder for the results"),
        (["--watch", "in", "--output", "out", "--film", "a.mp4"], "--watch needs a folder for the results"),
        (
            ["--watch", "in", "--output", "out", "bears.png"],
            "--watch dreams the pictures of its folder: name no others",
        ),
        (["--watch", "in", "--output", "out", "--noise", "30x40"], "give either --noise or pictures"),
    ],
)
def test_a_watch_that_cannot_be_kept_is_refused(words: list[str], reason: str, run: Command, folder: Path) -> None:
    (folder / "in").mkdir()
    run("dream", "--model", "tiny.onnx", *words, *SHORT).refuses(reason)
    assert added(folder) == {"in"}


def test_one_bad_picture_among_good_ones_is_reported_and_the_rest_go_on(run: Command, folder: Path) -> None:
    save(folder / "more" / "a.png", noise(40, 53))
    (folder / "more" / "b.png").write_bytes(b"no picture")
    finished = run("dream", "more", "bears.png", "lost.png", "--model", "tiny.onnx", "--output", "out", *SHORT)
    assert finished.code == 3
    assert len(finished.errors) == 2
    assert {path.name for path in (folder / "out").glob("*-dream.png")} == {"a-dream.png", "bears-dream.png"}


def test_a_film_is_made_on_request(run: Command, folder: Path) -> None:
    finished = run("dream", "bears.png", "--model", "tiny.onnx", "--film", "film.mp4", "--every", "2", *SHORT)
    finished.succeeds()
    assert [frame.shape for frame in frames(folder / "film.mp4")] == [(40, 54, 3)] * 3  # of 40 by 53
    assert "bears.png: film saved as film.mp4" in finished.err


def test_without_a_model_the_first_built_in_bundle_is_used_and_a_preset_is_suggested(
    run: Command, folder: Path
) -> None:
    finished = run("dream", "bears.png", "--steps", "1", "--threads", "1")
    finished.succeeds()
    first, *_, last = finished.err.splitlines()
    assert first == "model: v3-low, built in (v3, mixed0, mixed1, mixed2; ImageNet (8-bit) weights)"
    assert "--preset" in last


# Repeating


def reproducible(folder: Path, name: str) -> str:
    """The part of a record that a repetition shares with its original, as JSON text; not the names of its files."""
    record = json.loads((folder / name).read_text())
    del record["settings"]["execution"]  # what was requested; what was used is the record's own `execution`
    return json.dumps({key: value for key, value in record.items() if key not in ("seconds", "files")})


@pytest.mark.parametrize("source", ["bears-dream.json", "bears-dream.png"])
def test_a_repeated_dream_is_the_same_to_the_last_bit(source: str, run: Command, folder: Path, home: Path) -> None:
    (home / "bundles").mkdir(parents=True)
    (home / "bundles" / "any.onnx").write_bytes(TINY_BYTES)
    options = ("--layer-weights", "low=1,mid=-1", "--snapshots", "2", "--max-size", "48", "--threads", "2")
    run("dream", "bears.png", "--model", "any", "--steps", "9", "--provider", "cpu", *options).succeeds()
    run("dream", "--repeat", source).succeeds()
    np.testing.assert_array_equal(load(folder / "bears-dream.png"), load(folder / "bears-dream-2.png"))
    assert (folder / "bears-dream-2-losses.csv").read_bytes() == (folder / "bears-dream-losses.csv").read_bytes()
    assert reproducible(folder, "bears-dream-2.json") == reproducible(folder, "bears-dream.json")
    assert (folder / "bears-dream-2-step0002.png").read_bytes() == (folder / "bears-dream-step0002.png").read_bytes()


def test_a_record_can_be_repeated_with_another_picture(run: Command, folder: Path) -> None:
    save(folder / "penguins.png", noise(30, 30, seed=5))
    run("dream", "bears.png", "--model", "tiny.onnx", "--layer-weights", "mid", *SHORT).succeeds()
    run("dream", "penguins.png", "--repeat", "bears-dream.json").succeeds()
    record = read_record((folder / "penguins-dream.json").read_text(), "")
    assert record.settings.layer_weights == {"mid": 1.0}
    assert record.settings.steps == 4
    assert record.picture is not None
    assert record.picture.name == "penguins.png"


def test_the_record_in_the_picture_does_not_reveal_folders(run: Command, folder: Path) -> None:
    run("dream", folder / "bears.png", "--model", folder / "tiny.onnx", *SHORT).succeeds()
    note = read_note(folder / "bears-dream.png")
    assert note is not None
    assert str(folder) not in note
    assert folder.name not in json.dumps(json.loads(note)["bundle"])
    assert str(folder) in (folder / "bears-dream.json").read_text()


def test_a_repetition_takes_options_on_top(run: Command, folder: Path) -> None:
    run("dream", "bears.png", "--model", "tiny.onnx", "--layer-weights", "mid", *SHORT).succeeds()
    run("dream", "--repeat", "bears-dream.json", "--steps", "2", "--output", "again.png").succeeds()
    first, second = (json.loads((folder / name).read_text())["settings"] for name in ("bears-dream.json", "again.json"))
    assert second == {**first, "steps": 2, "execution": second["execution"]}


def test_without_extras_there_is_only_the_picture_which_can_be_repeated(run: Command, folder: Path) -> None:
    run("dream", "bears.png", "--model", "tiny.onnx", "--no-extras", "--output", "a.png", *SHORT).succeeds()
    run("dream", "--repeat", "a.png", "--no-extras", "--output", "b.png").refuses("the bundle tiny.onnx")
    run("dream", "--repeat", "a.png", "--model", "tiny.onnx", "--no-extras", "--output", "b.png").succeeds()
    assert added(folder) == {"a.png", "b.png"}
    np.testing.assert_array_equal(load(folder / "a.png"), load(folder / "b.png"))


@pytest.mark.parametrize("none", ["none", "", "0"])
def test_without_snapshots_not_even_the_last_is_written(none: str, run: Command, folder: Path) -> None:
    run("dream", "bears.png", "--model", "tiny.onnx", "--snapshots", none, *SHORT).succeeds()
    assert added(folder) == RESULTS - {"bears-dream-step0004.png"}


def test_options_are_saved_with_a_dream_or_without_a_picture(run: Command, folder: Path) -> None:
    options = ("--model", "tiny.onnx", "--layers", "mid", "--save-config", "run.toml", *SHORT)
    finished = run("dream", *options)
    finished.succeeds()
    assert finished.err.splitlines() == ["options saved as run.toml"]
    assert added(folder) == {"run.toml"}
    run("dream", "bears.png", *options).refuses("run.toml exists")
    assert added(folder) == {"run.toml"}
    run("dream", "bears.png", *options, "--overwrite", "--snapshots", "none").succeeds()
    run("dream", "bears.png", "--config", "run.toml").succeeds()
    np.testing.assert_array_equal(load(folder / "bears-dream.png"), load(folder / "bears-dream-2.png"))


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="needs /dev/fd")
def test_two_pipes_are_dreamed(run: Command, folder: Path) -> None:
    pipes = []
    for _ in range(2):
        reading, writing = os.pipe()
        os.write(writing, (folder / "bears.png").read_bytes())
        os.close(writing)
        pipes.append(reading)
    finished = run("dream", *(f"/dev/fd/{pipe}" for pipe in pipes), "--model", "tiny.onnx", "--no-extras", *SHORT)
    for pipe in pipes:
        os.close(pipe)
    finished.succeeds()
    assert added(folder) == {"manifest.jsonl", *(f"{pipe}-dream.png" for pipe in pipes)}


def test_the_home_folder_is_expanded_in_paths(
    run: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run("dream", "~/here/bears.png", "--model", "~/here/tiny.onnx", "--output=~/out", "--no-extras", *SHORT).succeeds()
    assert listing(tmp_path / "out") == {"bears-dream.png"}
    assert added(folder) == set()


def test_a_repetition_needs_the_record_its_bundle_and_its_picture(run: Command, folder: Path) -> None:
    run("dream", "--repeat", "lost.json").refuses("cannot read record lost.json")
    run("dream", "--repeat", "bears.png").refuses("holds no record")
    run("dream", "bears.png", "--model", "tiny.onnx", *SHORT).succeeds()
    before = listing(folder)
    save(folder / "bears.png", noise(40, 53, seed=1))
    run("dream", "--repeat", "bears-dream.json").refuses(
        "bears.png is missing or has changed: put the original next to bears-dream.json"
    )
    (folder / "tiny.onnx").write_bytes(cliff_bytes(0.5))
    run("dream", "--repeat", "bears-dream.json").refuses("bundle tiny.onnx (SHA-256")
    assert listing(folder) == before


# Errors


def image_of(width: int, height: int) -> bytes:
    """A PNG file without pixels whose header states that size."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


PICTURES = {
    "empty.png": (b"", "is empty"),
    "text.jpg": (b"these are only words", "is not a picture"),
    "huge.png": (image_of(100_000, 100_000), "pixels, more than the limit"),
    "nothing.png": (image_of(0, 0), "nothing.png"),
    "page.jpg": (b"<!DOCTYPE html><html></html>", "web page"),
    "photo.heic": (b"\0\0\0\x18ftypheic" + bytes(40), "photo.heic photo-converted.png"),
    "photo.avif": (b"\0\0\0\x18ftypavif" + bytes(40), "photo.avif photo-converted.png"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_file_that_is_not_a_picture_is_refused(name: str, run: Command, folder: Path) -> None:
    data, words = PICTURES[name]
    (folder / name).write_bytes(data)
    run("dream", name, "--model", "tiny.onnx", *SHORT).refuses(name, words)
    assert added(folder) == {name}


def test_a_truncated_picture_is_refused(run: Command, folder: Path) -> None:
    data = save(folder / "cut.jpg", noise(60, 80)).read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    run("dream", "cut.jpg", "--model", "tiny.onnx", *SHORT).refuses("cut.jpg", "cut short")
    assert added(folder) == {"cut.jpg"}


def test_a_missing_picture_is_refused(run: Command, folder: Path) -> None:
    run("dream", "lost.jpg", "--model", "tiny.onnx").refuses("lost.jpg: no such picture")
    run("dream", "x" * 5000 + ".jpg", "--model", "tiny.onnx").refuses("File name too long")
    run("dream", "--model", "tiny.onnx").refuses("no picture given: name one, as in onnxdream dream bears.jpg")
    (folder / "empty").mkdir()
    run("dream", "empty", "--model", "tiny.onnx").refuses("empty: has no pictures")
    assert added(folder) == {"empty"}


def test_a_missing_picture_with_the_name_of_an_example_causes_a_hint(run: Command, folder: Path) -> None:
    examples = Path(cli.__file__).parent / "examples"
    if not examples.is_dir():
        pytest.skip("no examples beside an installed package")
    run("dream", "bears.jpg", "--model", "tiny.onnx").refuses(f"(did you mean {examples / 'bears.jpg'}?)")


def test_a_picture_too_narrow_is_refused_and_a_small_one_enlarged(run: Command, folder: Path) -> None:
    save(folder / "line.png", noise(2, 3000))
    run("dream", "line.png", "--model", "tiny.onnx", *SHORT).refuses("3000x2 is too narrow", "crop it")
    assert added(folder) == {"line.png"}
    save(folder / "dot.png", noise(5, 5))
    finished = run("dream", "dot.png", "--model", "tiny.onnx", *SHORT)
    finished.succeeds()
    assert "dot.png: 5×5 → 19×19 (enlarged to the smallest size that the network accepts)" in finished.err


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_not_a_bundle_is_refused(name: str, run: Command, folder: Path) -> None:
    data, words = FOREIGN[name]
    (folder / "tiny.onnx").write_bytes(data)
    run("dream", "bears.png", "--model", "tiny.onnx", *SHORT).refuses("tiny.onnx: ", words)
    assert added(folder) == set()


@pytest.mark.parametrize("name", BROKEN)
def test_a_bundle_that_breaks_the_contract_is_refused(name: str, run: Command, folder: Path) -> None:
    (folder / "tiny.onnx").write_bytes(BROKEN[name])
    run("dream", "bears.png", "--model", "tiny.onnx", *SHORT).refuses("bears.png: tiny.onnx: ", "export it again")
    assert added(folder) == set()


def test_a_missing_bundle_is_refused(run: Command, folder: Path) -> None:
    run("dream", "bears.png", "--model", "lost.onnx").refuses("no model 'lost.onnx'", "`info` lists the bundles")
    run("dream", "bears.png", "--model", ".").refuses("model '.' is a folder")
    assert added(folder) == set()


NUMBERS = {
    "--steps": ["-1", "0", "1.5", "ten", "nan", "1000001", "9" * 30, ""],
    "--step-size": ["-0.1", "0", "nan", "inf", "-inf", "1e300", "fast", ""],
    "--max-size": ["-5", "1e3", "large", "100000000"],
    "--seed": ["-1", "4294967296", "x"],
    "--threads": ["-1", "0", "two", "99999"],
    "--every": ["-1", "0", "often"],
    "--workers": ["-1", "0", "two", "1025", ""],
    "--cluster": ["host", "host:0", "host:99999", "ray://host:10001", ""],
    "--snapshots": ["-1", "0,5", "x", "1.5", "999999999", "1;2"],
    "--layer-weights": ["low=x", "low=nan", "low=inf", "low=1e9", "=1", "", "low=0", "low=1,low=2"],
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in NUMBERS for value in NUMBERS[option]])
def test_an_invalid_number_is_refused(option: str, value: str, run: Command, folder: Path) -> None:
    finished = run("dream", "bears.png", "--model", "tiny.onnx", *SHORT, "--film", "a.mp4", option, value)
    finished.refuses()
    assert option.split("-")[-1].rstrip("s") in finished.errors[0]
    assert added(folder) == set()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--preset", "draft", "unknown preset 'draft': choose one of creatures, "),
        ("--normalization", "max", "normalization must be one of minmax, backbone, not 'max'"),
        ("--gradient-norm", "l1", "gradient norm must be one of std, l2, mean-abs, none, not 'l1'"),
        ("--provider", "gpu", "provider must be one of auto, cpu, cuda, tensorrt, openvino, not 'gpu'"),
        ("--layer-weights", "mixed0=1", "layer 'mixed0' is not in the bundle: the nearest are mid"),
        ("--film", "film.avi", "only .mp4, .webm, .gif and .webp films can be written"),
        ("--nonsense", "1", "No such option"),
    ],
)
def test_an_unknown_word_is_refused_with_the_known_ones(
    option: str, value: str, words: str, run: Command, folder: Path
) -> None:
    run("dream", "bears.png", "--model", "tiny.onnx", "--steps", "2", option, value).refuses(words)
    assert added(folder) == set()


def test_a_provider_that_is_missing_is_refused_once_for_all_pictures(run: Command, folder: Path) -> None:
    import onnxruntime as ort

    for name, card in PROVIDERS.items():
        if card.ort_name not in ort.get_available_providers():
            finished = run("dream", "bears.png", "bears.png", "tiny.onnx", "--model", "tiny.onnx", "--provider", name)
            finished.refuses(f"provider {name} is not in this onnxruntime", "install onnxdream[")
    assert candidates("cpu", ort.get_available_providers()) == ("cpu",)
    assert added(folder) == set()


@pytest.mark.parametrize("output", ["bears.png/deeper", "tiny.onnx/deeper", "tiny.onnx/a.png", "x" * 5000 + ".png"])
def test_an_output_that_cannot_be_written_is_refused_before_the_first_step(
    output: str, run: Command, folder: Path
) -> None:
    finished = run("dream", "bears.png", "--model", "tiny.onnx", "--output", output, *SHORT)
    finished.refuses("cannot write", "choose another --output")
    assert "→" not in finished.err
    assert added(folder) == set()


def test_one_output_for_several_pictures_is_refused(run: Command, folder: Path) -> None:
    save(folder / "more.png", noise(9, 9))
    for option in (("--output", "a.png"), ("--film", "a.mp4")):
        run("dream", "bears.png", "more.png", "--model", "tiny.onnx", *option, *SHORT).refuses("name a folder")
    assert added(folder) == {"more.png"}


def test_a_dream_that_diverges_is_reported_and_saved(run: Command, folder: Path) -> None:
    (folder / "cliff.onnx").write_bytes(cliff_bytes(0.5))
    save(folder / "dark.png", noise(20, 24) // 2)
    options = ("--steps", "50", "--step-size", "0.3", "--gradient-norm", "none", "--normalization", "backbone")
    finished = run("dream", "dark.png", "--model", "cliff.onnx", *options)
    finished.refuses("not finite numbers", f"saved as {folder / 'dark-dream.png'}", "choose a smaller --step-size")
    assert json.loads((folder / "dark-dream.json").read_text())["ended"] == "diverged"


# In another process


def test_bad_input_ends_a_real_process_with_one_line(folder: Path) -> None:
    model = ("--model", folder / "tiny.onnx")
    bears = folder / "bears.png"
    in_process_of_its_own("dream", folder / "lost.png", *model).refuses("no such picture")
    in_process_of_its_own("dream", bears, *model, "--steps", "many").refuses("--steps")
    (folder / "broken.onnx").write_bytes(BROKEN["a tensor from nowhere"])
    in_process_of_its_own("dream", bears, "--model", folder / "broken.onnx").refuses("onnxruntime cannot load it")
    assert added(folder) == {"broken.onnx"}


def test_a_full_disk_is_reported_in_one_line_and_leaves_nothing_half_written(folder: Path) -> None:
    pytest.importorskip("resource")
    save(folder / "large.png", noise(120, 160))
    words = ("dream", "large.png", "--model", "tiny.onnx", "--snapshots", "1", *SHORT)
    process = in_limited_files(9_000, sys.executable, "-m", "onnxdream.cli", *words)
    finished = Finished(process.returncode, process.stdout, process.stderr)
    finished.refuses("cannot write", "File too large", "make room")
    assert added(folder) - {"large.png"} <= {"large-dream-losses.csv", "large-dream.json"}
    record = read_record((folder / "large-dream.json").read_text(), "")
    assert (record.ended, record.steps_done) == ("stopped", 1)  # it ended with the first file that failed


def obey_permissions() -> None:
    """Makes permissions apply to the superuser, too, by dropping the capabilities to override them."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if libc.prctl(24, capability, 0, 0, 0) != 0:
                os._exit(77)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's capabilities")
@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("bears.png", "--model", "tiny.onnx", "--output", "closed"), "cannot write"),
        (("bears.png", "--model", "tiny.onnx", "--film", "closed/film.mp4"), "cannot write film"),
        (("secret.png", "--model", "tiny.onnx"), "secret.png: cannot be read"),
        (("closed/deeper/bears.png", "--model", "tiny.onnx"), "closed/deeper/bears.png: cannot be read"),
        (("bears.png", "--model", "secret.onnx"), "secret.onnx: it cannot be read"),
        (("--repeat", "secret.json"), "cannot read record secret.json"),
    ],
)
def test_denied_access_is_reported(words: tuple[str, ...], refusal: str, folder: Path) -> None:
    closed = folder / "closed"
    (closed / "deeper").mkdir(parents=True)
    for name in ("secret.png", "secret.onnx", "secret.json"):
        (folder / name).write_bytes(b"")
        (folder / name).chmod(0)
    before = listing(folder)
    (closed / "deeper").chmod(0)
    closed.chmod(0o500)
    try:
        process = subprocess.run(
            [sys.executable, "-m", "onnxdream.cli", "dream", *words],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=obey_permissions,
        )
    finally:
        closed.chmod(0o700)
        (closed / "deeper").chmod(0o700)
    if process.returncode == 77:
        pytest.skip("the superuser cannot drop its capabilities here")
    Finished(process.returncode, process.stdout, process.stderr).refuses(refusal, "Permission denied")
    assert listing(folder) == before


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Waits until a process has written a file."""
    deadline = time.monotonic() + 90
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
def test_ctrl_c_saves_the_picture_so_far_and_reports_it(folder: Path) -> None:
    save(folder / "more.png", noise(30, 40))
    words = ("dream", "bears.png", "more.png", "--model", "tiny.onnx", "--steps", "1000000", "--snapshots", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "onnxdream.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(folder / "bears-dream-step0001.png", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    record = read_record((folder / "bears-dream.json").read_text(), "")
    assert record.ended == "stopped"
    assert 1 <= record.steps_done < 1_000_000
    last = f"bears-dream-step{record.steps_done:04d}.png"
    assert added(folder) - {"more.png"} == (RESULTS - {"bears-dream-step0004.png"}) | {
        "bears-dream-step0001.png",
        "bears-dream.checkpoint",
        "manifest.jsonl",
        last,
    }
    assert f"bears.png: stopped after {record.steps_done} of 1000000 steps, loss" in err
    assert f"saved as {folder / 'bears-dream.png'}" in err
    assert len((folder / "bears-dream-losses.csv").read_text().splitlines()) == record.steps_done + 2
    np.testing.assert_array_equal(load(folder / "bears-dream.png"), load(folder / last))


WATCH_IMPORTS = """
import json, sys
from pathlib import Path
seen = {}
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("matplotlib", "tensorflow", "keras", "onnx", "tf2onnx"):
            seen.setdefault(name, Path("bears-dream.png").exists())
sys.meta_path.insert(0, Watch())
from onnxdream.cli import app
try:
    app(["dream", "bears.png", "--model", "tiny.onnx", "--steps", "1"])
except SystemExit as end:
    print(json.dumps({"code": end.code or 0, "seen": seen, "loaded": sorted(sys.modules)}))
"""


def test_a_dream_imports_neither_tensorflow_nor_onnx_and_matplotlib_only_at_the_end(folder: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", WATCH_IMPORTS], capture_output=True, text=True, check=True, timeout=100
    )
    report = json.loads(finished.stdout)
    assert report["code"] == 0, finished.stderr
    assert not {"tensorflow", "keras", "onnx", "tf2onnx", "torch", "onnxdream.export"} & set(report["loaded"])
    assert report["seen"] == {"matplotlib": True}  # looked for after the picture was written, not before


def test_without_matplotlib_a_line_replaces_the_plot(folder: Path) -> None:
    program = "import sys; sys.modules['matplotlib'] = None; from onnxdream.cli import app; app()"
    words = ("dream", "bears.png", "--model", "tiny.onnx", *SHORT)
    process = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False, timeout=100
    )
    finished = Finished(process.returncode, process.stdout, process.stderr)
    finished.succeeds()
    assert finished.err.count("no loss plot: install matplotlib (onnxdream[report]) to get one") == 1
    assert added(folder) == RESULTS - PLOT


def test_a_progress_bar_is_shown_only_on_a_terminal(folder: Path) -> None:
    pty = pytest.importorskip("pty")
    words = ("dream", "bears.png", "--model", "tiny.onnx", "--steps", "1000", "--threads", "1")
    terminal, stream = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen([sys.executable, "-m", "onnxdream.cli", *words], stderr=stream, env=environment) as process:
        os.close(stream)
        shown = b""
        while True:
            try:
                block = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            if not block:
                break
            shown += block
    os.close(terminal)
    assert process.returncode == 0
    text = shown.decode()
    assert "1000/1000" in text
    assert "steps/s" in text
    assert "loss" in text
    quiet = in_process_of_its_own(*words)
    quiet.succeeds()
    assert "\x1b" not in quiet.err
    assert "steps/s" not in quiet.err


@pytest.mark.skipif(os.name != "posix", reason="closes a stream with a shell")
def test_a_closed_standard_error_is_not_a_terminal(folder: Path) -> None:
    words = [sys.executable, "-m", "onnxdream.cli", "dream", "bears.png", "--model", "tiny.onnx", *SHORT]
    process = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", *words], capture_output=True, text=True, timeout=100)
    Finished(process.returncode, process.stdout, process.stderr).succeeds()
    assert added(folder) == RESULTS


def test_the_command_runs_from_a_checkout(folder: Path) -> None:
    process = subprocess.run(
        [sys.executable, cli.__file__, "dream", "bears.png", "--model", "tiny.onnx", *SHORT],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    Finished(process.returncode, process.stdout, process.stderr).succeeds()
    assert added(folder) == RESULTS
