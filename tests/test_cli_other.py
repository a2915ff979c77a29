"""The commands other than `dream`, and their errors where a part of the installation is missing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from foreign_files import FOREIGN
from make_tiny_bundle import TINY_LITE_PATH
from pictures_fixture import (
    TINY_BYTES,
    Command,
    Finished,
    bundle_bytes,
    facts,
    in_this_process,
    listing,
    load,
    noise,
    save,
)

from onnxdream.models.assembly import BUILT_IN
from onnxdream.runtime import PRESETS, Bundle
from onnxdream.runtime.provider.machine import usable_threads

EXPORT_EXTRA = ("tensorflow", "keras", "tf2onnx", "onnx")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in this process, in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return in_this_process(capfd)


@pytest.fixture
def library(home: Path) -> Path:
    """The user's folder of bundles, with the tiny bundle in it."""
    folder = home / "bundles"
    folder.mkdir(parents=True)
    (folder / "tiny-all-random.onnx").write_bytes(TINY_BYTES)
    return folder


def without(modules: tuple[str, ...], *words: str | Path) -> Finished:
    """Runs a command line in a process that cannot import these modules."""
    program = f"import sys; sys.modules.update(dict.fromkeys({modules!r})); from onnxdream.cli import app; app()"
    process = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, check=False, timeout=100
    )
    return Finished(process.returncode, process.stdout, process.stderr)


def test_without_a_command_the_help_is_shown(run: Command) -> None:
    finished = run()
    assert finished.code == 2
    for command in ("dream", "export", "layers", "info", "doctor", "bench", "deploy", "verify", "experiment"):
        assert f" {command} " in finished.out
    assert finished.err == ""


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("dream", ["--model", "--preset", "--layer-weights", "--repeat", "--full-size", "--film", "--provider"]),
        ("export", ["--model", "--layers", "--weights", "--objective", "--seed", "--output"]),
        ("layers", ["--model"]),
        ("info", ["--json"]),
        ("doctor", ["--json"]),
        ("bench", ["--size", "--provider", "--json"]),
        ("deploy", ["--target", "--output", "--overwrite"]),
        ("verify", ["--provider", "--json"]),
        ("experiment run", ["FILE.toml", "--output"]),
    ],
)
def test_every_command_has_a_help_with_its_options(command: str, options: list[str], run: Command) -> None:
    finished = run(*command.split(), "--help")
    finished.succeeds()
    for option in options:
        assert option in finished.out


@pytest.mark.parametrize("words", [["draem"], ["info", "--verbose"], ["doctor", "me"], ["info", "a", "b"]])
def test_an_invalid_command_line_is_refused_in_one_line(words: list[str], run: Command) -> None:
    finished = run(*words)
    finished.refuses("(see --help)")
    assert finished.code == 2
    assert finished.err.count("\n") == 1


def test_a_file_whose_name_begins_with_a_dash_is_told_apart_from_an_option(run: Command) -> None:
    (Path.cwd() / "-dash.jpg").write_bytes(b"")
    finished = run("dream", "-dash.jpg")
    finished.refuses("(write the file as ./-dash.jpg)")
    assert finished.code == 2


def test_info_lists_every_bundle(run: Command, library: Path) -> None:
    (library / "broken.onnx").write_bytes(b"")
    finished = run("info")
    finished.succeeds()
    lines = finished.out.splitlines()
    assert lines[0].split() == ["bundle", "layers", "objective", "weights", "size"]
    assert lines[1].split() == [*("v3-low", "mixed0,", "mixed1,", "mixed2", "mean", "ImageNet", "(8-bit)", "4.0", "MB")]
    shown = {line.split()[0]: line for line in lines[1:]}
    assert "low, mid, high" in shown["tiny-all-random"]
    assert "not an ONNX file" in shown["broken"]


def test_info_lists_every_bundle_as_json(run: Command, library: Path) -> None:
    finished = run("info", "--json")
    finished.succeeds()
    *built_in, tiny = json.loads(finished.out)
    assert [(row["name"], row["path"]) for row in built_in] == [(one.name, str(one.path)) for one in BUILT_IN]
    assert tiny == {
        "name": "tiny-all-random",
        "path": str(library / "tiny-all-random.onnx"),
        "layers": ["low", "mid", "high"],
        "objective": "mean",
        "weights": "random",
        "megabytes": 0.1,
        "problem": "",
    }


@pytest.mark.parametrize("name", ["tiny-all-random", "tiny"])
def test_info_shows_all_metadata_of_a_bundle(name: str, run: Command, library: Path) -> None:
    finished = run("info", name)
    finished.succeeds()
    bundle = Bundle.load(TINY_BYTES)
    shown = dict(line.split(maxsplit=1) for line in finished.out.splitlines()[:10])
    assert shown["path"] == str(library / "tiny-all-random.onnx")
    assert shown["SHA-256"] == bundle.sha256
    assert shown["backbone"] == "tiny"
    assert shown["layers"].startswith("low (14 channels, stride 2), mid (")
    assert shown["objective"] == "mean"
    assert shown["input"] == "RGB from -1 to 1, at least 19x19 pixels"
    assert shown["weights"] == f"random, SHA-256 {bundle.metadata.weights.sha256}"
    assert shown["precision"] == "fp32, opset 17"
    assert "tensorflow" in shown["exporter"]
    assert finished.out.count("mixed signs") == len({check.picture for check in bundle.metadata.verification})


def test_info_shows_all_metadata_of_a_bundle_as_json(run: Command, tiny_path: Path) -> None:
    finished = run("info", tiny_path, "--json")
    finished.succeeds()
    shown = json.loads(finished.out)
    bundle = Bundle.load(tiny_path)
    assert shown.pop("path") == str(tiny_path)
    assert shown.pop("sha256") == bundle.sha256
    assert shown == json.loads(bundle.metadata.to_json())


def test_the_home_folder_is_expanded_in_paths(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run("info", "v3-low", "--output=~/copy.onnx").succeeds()
    run("info", "~/copy.onnx").succeeds()
    run("deploy", "~/copy.onnx", "--target", "cpu", "--output=~/device").succeeds()
    assert (tmp_path / "device" / "run.sh").is_file()
    assert "copy.onnx" in run("verify", "~/device", "--provider", "cpu").out
    run("experiment", "figures", "~/study").refuses(str(tmp_path / "study"))
    run("experiment", "run", "~/grid.toml").refuses(str(tmp_path / "grid.toml"))
    assert listing(tmp_path / "here") == set()


def test_info_writes_a_bundle_as_a_file(run: Command, tmp_path: Path) -> None:
    run("info", "v3-low", "--output", "copy.onnx").succeeds()
    copy, bundle = Bundle.load(tmp_path / "here" / "copy.onnx"), Bundle.built_in()
    assert copy.data == bundle.data
    run("info", "v3-low", "--output", "copy.onnx").refuses("copy.onnx exists: choose another --output")
    run("info", "v3-mid", "--output", "copy.onnx", "--overwrite").succeeds()
    assert Bundle.load(tmp_path / "here" / "copy.onnx").data == Bundle.built_in("v3-mid").data
    run("info", "v3-low", "--output", "copy.pt").refuses("copy.pt: bundles are .onnx files")
    run("info", "v3-low", "--output", "folder").succeeds()
    assert listing(tmp_path / "here") == {"copy.onnx", "folder", "folder/v3-low.onnx"}
    run("info", "--output", "copy.onnx").refuses("--output is for one bundle: name the bundle")
    run("info", "v3-low", "--output", "copy.onnx/under.onnx").refuses("cannot write")


def test_presets_lists_all_presets_with_their_descriptions(run: Command) -> None:
    finished = run("presets")
    finished.succeeds()
    lines = {line.split()[0]: line for line in finished.out.splitlines()[1:]}
    assert list(lines) == list(PRESETS)
    for name, preset in PRESETS.items():
        assert preset.sentence in lines[name]
        assert lines[name].rstrip().endswith(preset.made_for)
    rows = json.loads(run("presets", "--json").out)
    assert [row["name"] for row in rows] == list(PRESETS)


def test_info_does_not_interpret_markup_in_names(run: Command, library: Path) -> None:
    metadata = facts().to_json().replace("layer0", "[red]layer[/blue]")
    (library / "[bold]odd.onnx").write_bytes(bundle_bytes([b"\x22\x04Relu"], metadata=metadata))
    one, several = run("info", "[bold]odd"), run("info")
    one.succeeds()
    several.succeeds()
    assert "[red]layer[/blue] (1 channels" in one.out
    assert "[bold]odd" in several.out
    assert "[red]layer[/blue]" in several.out


@pytest.mark.parametrize("name", ["newer contract", "external initializer", "no metadata", "an empty file"])
def test_info_refuses_a_file_that_is_not_a_bundle(name: str, run: Command, tmp_path: Path) -> None:
    data, words = FOREIGN[name]
    (tmp_path / "here" / "a.onnx").write_bytes(data)
    run("info", "a.onnx").refuses("a.onnx: ", words)
    run("info", "a.onnx", "--json").refuses("a.onnx: ", words)
    run("info", "lost").refuses("no model 'lost'", "`export` makes one")


def test_doctor_shows_what_this_machine_can_run(run: Command) -> None:
    finished = run("doctor")
    assert not finished.errors
    assert finished.out.startswith(f"Python {sys.version.split()[0]} on ")
    assert f"{usable_threads()} CPU threads by default" in finished.out
    assert "provider cpu           works, " in finished.out
    assert "dream uses v3-low, built in" in finished.out
    assert finished.code == (1 if "problem: " in finished.out else 0)


def test_doctor_shows_it_as_json(run: Command) -> None:
    finished = run("doctor", "--json")
    shown = json.loads(finished.out)
    assert [row["problem"] for row in shown["providers"] if row["name"] == "cpu"] == [None]
    assert shown["threads"] == usable_threads()
    assert shown["versions"]["numpy"]
    assert shown["problems"] == [] or finished.code == 1
    assert set(shown) == {
        "python", "machine", "logical_cpus", "threads", "cores", "quota", "cpu", "cpu_flags", "memory", "budget",
        "gpus", "knows_gpu_order", "jetson", "cuda", "cudnn", "tensorrt", "versions", "providers", "not_in_this_build",
        "bundle_folder", "bundles", "bundle", "problems",
    }  # fmt: skip


def test_the_refusal_of_an_unknown_backbone_lists_the_known_ones(run: Command) -> None:
    for command in ("export", "layers"):
        run(command, "--model", "v4").refuses("unknown model 'v4'", "v3 or inception-v3; inception-resnet-v2 or irv2")


def test_no_layers_are_not_those_of_the_default_set(run: Command) -> None:
    pytest.importorskip("tensorflow", reason="needs the export extra")
    run("export", "--layers", "").refuses("no layer is named: give --layers")


@pytest.mark.parametrize("words", [("export", "--weights", "random"), ("layers", "--model", "own.keras")])
def test_exporting_without_its_extra_names_the_extra(words: tuple[str, ...], home: Path) -> None:
    finished = without(EXPORT_EXTRA, *words)
    finished.refuses("exporting needs tensorflow, keras, tf2onnx, onnx: pip install 'onnxdream[export,cpu]'")
    assert not home.exists()


def test_a_network_of_the_table_has_its_preprocessing(run: Command) -> None:
    run("export", "--model", "vgg16", "--preprocessing", "raw").refuses("that of VGG-16 is known")


def test_the_layer_sets_of_a_network_are_listed_without_the_extra() -> None:
    finished = without(EXPORT_EXTRA, "layers", "--model", "vgg16")
    assert finished.code == 0
    assert "layer set high (animals and objects): block5_conv1,block5_conv3" in finished.out.splitlines()
    assert finished.err == "to list all layers of the network: pip install 'onnxdream[export,cpu]'\n"


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_exporting_names_the_missing_package(run: Command) -> None:
    run("export").refuses("exporting needs tensorflow")


@pytest.mark.parametrize("module", ["onnxruntime", "cv2"])
@pytest.mark.parametrize("command", ["dream", "info", "doctor", "bench"])
def test_a_runtime_without_its_extra_names_the_extras(module: str, command: str, tmp_path: Path) -> None:
    picture = [save(tmp_path / "bears.png", noise(20, 20))] if command == "dream" else []
    finished = without((module,), command, *picture)
    extras = "onnxdream[cpu], onnxdream[gpu], onnxdream[tensorrt], onnxdream[openvino]"
    finished.refuses(f"dreaming needs {module}: install one of {extras}")
    assert listing(tmp_path) == ({"bears.png"} if picture else set())


def test_info_lists_the_classes_whose_names_contain_a_text(run: Command) -> None:
    listed = run("info", TINY_LITE_PATH, "--classes", "cat")
    listed.succeeds()
    assert listed.out.splitlines() == ["   0  tabby, tabby cat", "   1  tiger cat"]
    shown = run("info", TINY_LITE_PATH).out
    assert "logits (7 channels, global)" in shown
    assert "7 with names" in shown
    refused = run("info", "v3-low", "--classes", "cat")
    refused.refuses("has no classes")
    run("info", "--classes", "cat").refuses("name the bundle")
    both = run("info", TINY_LITE_PATH, "--classes", "cat", "--output", "tiny.onnx")
    both.refuses("--classes and --output contradict each other")
    found = json.loads(run("info", TINY_LITE_PATH, "--classes", "cat", "--json").out)
    assert found == {"0": "tabby, tabby cat", "1": "tiger cat"}
    assert "no class contains 'zzz'" in run("info", TINY_LITE_PATH, "--classes", "zzz").err


def test_a_dream_of_a_class_is_recorded_and_repeated(run: Command) -> None:
    save(Path("bears.png"), noise(60, 70))
    run("dream", "bears.png", "--model", TINY_LITE_PATH, "--classes", "castle,-tiger cat", "--steps", "2").succeeds()
    run("dream", "--repeat", "bears-dream.json").succeeds()
    run("dream", "--repeat", "bears-dream.json", "--channels", "low:1").succeeds()
    first, again, other = (load(Path(f"bears-dream{number}.png")) for number in ("", "-2", "-3"))
    np.testing.assert_array_equal(again, first)
    assert (other != first).any()
