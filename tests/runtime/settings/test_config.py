"""Options in a TOML file and on the command line: both accept every setting under the same name."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from pictures_fixture import TINY_BYTES

from onnxdream.cli import app
from onnxdream.runtime import PRESETS, Execution, Settings
from onnxdream.runtime.dream.request import DreamRequest, parse_request
from onnxdream.runtime.errors import OutputError, SettingsError
from onnxdream.runtime.settings.config import (
    ConfigFile,
    execution_of,
    options_of,
    overridden,
    read_config,
    settings_changes,
)
from onnxdream.runtime.settings.parsing import parse_size

# Each setting -> a value as TOML, its words on the command line (None: it has no option), and the value in Settings.
VALUES: dict[str, tuple[str, Sequence[str] | None, Any]] = {
    "steps": ("7", ("--steps", "7"), 7),
    "step_size": ("[0.25, 0.125]", ("--step-size", "0.25:0.125"), (0.25, 0.125)),
    "max_size": ("300", ("--max-size", "300"), 300),
    "layer_weights": ('"low=2,high=-0.5"', ("--layer-weights", "low=2,high=-0.5"), {"low": 2.0, "high": -0.5}),
    "normalization": ('"backbone"', ("--normalization", "backbone"), "backbone"),
    "gradient_norm": ('"l2"', ("--gradient-norm", "l2"), "l2"),
    "snapshots": ("[3, 5]", ("--snapshots", "3,5"), (3, 5)),
    "full_size": ("true", ("--full-size",), True),
    "seed": ("9", ("--seed", "9"), 9),
    "noise": ('"64x48"', ("--noise", "64x48"), (64, 48)),
    "channels": ('["low:1", "mid:2,-3"]', ("--channels", "low:1", "--channels", "mid:2,-3"), ("low:1", "mid:2,-3")),
    "classes": ('"207,castle"', ("--classes", "207,castle"), "207,castle"),
    "pick": ('"weakest:2"', ("--pick", "weakest:2"), "weakest:2"),
    "position": ('["low:0.5,0.25,0.1"]', ("--position", "low:0.5,0.25,0.1"), ("low:0.5,0.25,0.1",)),
    "guide_by": ('"caricature:4"', ("--guide-by", "caricature:4"), "caricature:4"),
    "until": (
        '["low:1=0.5", "mid:2=1"]',
        ("--until", "low:1=0.5", "--until", "mid:2=1"),
        ("low:1=0.5", "mid:2=1"),
    ),
    "max_loss": ("-2.5", ("--max-loss", "-2.5"), -2.5),
    "plateau": ("6", ("--plateau", "6"), 6),
    "jitter": ("4", ("--jitter", "4"), 4),
    "blur": ("1.5", ("--blur", "1.5"), 1.5),
    "laplacian": ("3", ("--laplacian", "3"), 3),
    "tv": ("0.125", ("--tv", "0.125"), 0.125),
    "l2": ("0.75", ("--l2", "0.75"), 0.75),
    "stay": ("0.25", ("--stay", "0.25"), 0.25),
    "optimizer": ('"adam"', ("--optimizer", "adam"), "adam"),
    "momentum": ("0.5", ("--momentum", "0.5"), 0.5),
    "clip": ("false", ("--no-clip",), False),
    "octaves": ("3", ("--octaves", "3"), 3),
    "octaves_above": ("2", ("--octaves-above", "2"), 2),
    "octave_scale": ("1.7", ("--octave-scale", "1.7"), 1.7),
    "detail": ('"after"', ("--detail", "after"), "after"),
    "interpolation": ('"linear"', None, "linear"),
    "octave_rounding": ("true", None, True),
    "octave_return": ("true", None, True),
    "tiling": ('"tutorial"', None, "tutorial"),
    "global_tiles": ("true", ("--global-tiles",), True),
    "tile_overlap": ("32", ("--tile-overlap", "32"), 32),
    "feather": ("2.5", ("--feather", "2.5"), 2.5),
    "colours": ('"own:0.7"', ("--colours", "own:0.7"), "own:0.7"),
    "blend": ("0.5", ("--blend", "0.5"), 0.5),
}
NEEDS = {"octaves_above": {"octaves": 5}}
OTHER = {
    *("preset", "model", "provider", "precision", "threads", "memory", "tune"),
    *("mask", "guide", "direction", "output", "film", "every", "fps", "extras"),
}
NO_KEYS = {
    *("images", "config", "save_config", "resume", "repeat", "overwrite", "recursive", "format"),
    *("workers", "cluster", "ship", "watch", "quiet", "verbose", "progress", "help"),
}
METHODS = Path(__file__).parents[3] / "docs" / "methods.md"
NAMES = [setting.name for setting in fields(Settings) if setting.name != "execution"]
DREAM = typer.main.get_command(app).commands["dream"]  # type: ignore[attr-defined]
DREAM.make_context("dream", [], resilient_parsing=True)  # its options are created on demand


def options_in(words: Sequence[str]) -> dict[str, Any]:
    """Returns the options in the words of a command line, as the command `dream` passes them on."""
    found = DREAM.make_context("dream", list(words)).params
    return {name: value for name, value in found.items() if name != "images" and value not in (None, [], ())}


def config_of(text: str, folder: Path) -> dict[str, Any]:
    path = folder / "dream.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path)


def settings_of(options: dict[str, Any], name: str) -> Settings:
    return Settings(**{**NEEDS.get(name, {}), **settings_changes(options)})


def test_the_table_of_this_file_has_every_setting_with_another_value_than_the_default() -> None:
    assert list(VALUES) == NAMES
    for name, (_, _, value) in VALUES.items():
        assert value != getattr(Settings(), name)


@pytest.mark.parametrize("hyphens", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_a_key_of_a_config_file(name: str, hyphens: bool, tmp_path: Path) -> None:
    text, _, value = VALUES[name]
    key = name.replace("_", "-") if hyphens else name
    options = config_of(f"{key} = {text}\n", tmp_path)
    assert list(options) == [name]
    assert getattr(settings_of(options, name), name) == value


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_with_an_option_is_read_from_the_command_line(name: str) -> None:
    words = VALUES[name][1]
    if words is None:
        assert name not in {parameter.name for parameter in DREAM.params}
        return
    options = options_in(words)
    assert list(options) == [name]
    assert getattr(settings_of(options, name), name) == VALUES[name][2]


def test_every_option_is_a_setting_or_a_known_key() -> None:
    options = {parameter.name for parameter in DREAM.params}
    presets_only = {name for name, (_, words, _) in VALUES.items() if words is None}
    assert options | {"help"} == (set(NAMES) - presets_only) | {"layers"} | OTHER | NO_KEYS


@pytest.mark.parametrize("key", sorted(OTHER))
def test_other_options_are_keys_of_a_config_file_too(key: str, tmp_path: Path) -> None:
    assert config_of(f'{key} = "x"', tmp_path) == {key: "x"}
    assert settings_changes({key: "x"}) == {}


@pytest.mark.parametrize("key", sorted({*NO_KEYS, "execution"} - {"help"}))
def test_options_that_make_no_sense_in_a_file_are_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"unknown key '{key}'"):
        config_of(f"{key} = 1", tmp_path)


@pytest.mark.skipif(not METHODS.is_file(), reason="reads the docs of a checkout")
def test_the_docs_name_the_options_that_are_not_keys() -> None:
    sentence = METHODS.read_text(encoding="utf-8").partition("is also a key of a config file")[2]
    sentence = sentence.partition("except")[2].partition(". ")[0]
    assert set(re.findall(r"`--([a-z-]+)`", sentence)) == {
        name.replace("_", "-") for name in NO_KEYS - {"images", "help"}
    }


def test_a_switch_can_be_turned_both_ways() -> None:
    assert options_in(["--clip"]) == {"clip": True}
    assert options_in(["--no-clip"]) == {"clip": False}


def test_colours_may_be_spelled_colors() -> None:
    assert options_in(["--colors", "imagenet"]) == {"colours": "imagenet"}


def test_execution_settings_are_keys_of_a_config_file(tmp_path: Path) -> None:
    options = config_of('provider = "openvino"\nprecision = "bf16"\nthreads = 3\nmemory = "1.5GB"\n', tmp_path)
    assert execution_of(options) == Execution("openvino", 3, 1_500_000_000, precision="bf16")
    assert execution_of(config_of("memory = 700000000", tmp_path)).memory == 700_000_000
    assert execution_of({}) == Execution()


@pytest.mark.parametrize(
    ("text", "count"),
    [("1GB", 10**9), ("512MB", 512 * 10**6), ("1.5GiB", 3 * 2**29), ("2 gib", 2**31), ("300kB", 300_000), ("77", 77)],
)
def test_memory_is_read_in_units(text: str, count: int) -> None:
    assert execution_of({"memory": text}).memory == count


def test_lists_and_tables_are_read_in_either_form(tmp_path: Path) -> None:
    def changes(text: str) -> dict[str, Any]:
        return settings_changes(config_of(text, tmp_path))

    weights = {"layer_weights": {"low": 2, "high": -0.5}}
    assert changes('layer-weights = "low=2,high=-0.5"') == weights
    assert changes("layer-weights = {low = 2, high = -0.5}") == weights
    assert changes("[layer-weights]\nlow = 2\nhigh = -0.5") == weights
    assert changes('snapshots = "3,5"') == changes("snapshots = [3, 5]") == {"snapshots": (3, 5)}
    for none in ('"none"', '""', '"0"', "0", "[]"):
        assert changes(f"snapshots = {none}") == {"snapshots": ()}
    assert changes('channels = "low:1"') == changes('channels = ["low:1"]') == {"channels": ("low:1",)}
    assert changes('noise = "64x48"') == changes("noise = [64, 48]") == {"noise": (64, 48)}
    assert changes("max-size = 0") == {"max_size": None}
    with pytest.raises(SettingsError, match=r"^max size must be 0 or 1 to 65536, not -3$"):
        changes("max-size = -3")
    assert changes('blur = "1.6:0"') == changes("blur = [1.6, 0]") == {"blur": (1.6, 0)}
    assert changes('blur = "1.5"') == changes("blur = 1.5") == {"blur": 1.5}


@pytest.mark.parametrize("key", ["step-sise", "stepsize", "layerweights", "layer_weight", "normalisation", "optimiser"])
def test_an_unknown_key_is_named_with_the_nearest(key: str, tmp_path: Path) -> None:
    nearest = difflib.get_close_matches(key.replace("-", "_"), [*NAMES, *OTHER], n=1)[0].replace("_", "-")
    with pytest.raises(SettingsError) as refusal:
        config_of(f"steps = 3\n{key} = 1\n", tmp_path)
    assert str(refusal.value) == f"{tmp_path / 'dream.toml'}: unknown key {key!r}: did you mean {nearest}?"


def test_a_key_that_is_written_in_both_ways_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="step_size is given twice, with - and with _: leave one of them out"):
        config_of("step-size = 0.01\nstep_size = 0.02\n", tmp_path)


def test_a_size_of_too_many_pixels_is_not_called_badly_written() -> None:
    with pytest.raises(SettingsError, match="size '100000x100000': a side has at most 99999 pixels"):
        parse_size("100000x100000", "size")


def test_memory_is_a_number_of_bytes() -> None:
    with pytest.raises(SettingsError, match=r"memory must be a whole number of bytes from 1 to .*, not '1GB'"):
        Execution(memory="1GB")  # type: ignore[arg-type]


def test_a_key_unlike_any_other_points_to_the_help(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown key 'qqqqqqqq': see `dream --help`"):
        config_of("qqqqqqqq = 1", tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *("steps = ", "steps 3", "steps = 3\nsteps = 4", "[steps", '"', "steps = 3 # \x01", "a=" + "[" * 9999),
        *("steps = " + "9" * 5000, "steps = 0x" + "f" * 5000, "snapshots = [0x" + "f" * 5000 + "]"),
    ],
)
def test_broken_toml_is_reported_in_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"dream\.toml is not valid TOML: ") as refusal:
        config_of(text, tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_file_that_cannot_be_read_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no config file .*lost\.toml"):
        read_config(tmp_path / "lost.toml")
    with pytest.raises(SettingsError, match="cannot read config file"):
        read_config(tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"steps = '\xff\xfe'")
    with pytest.raises(SettingsError, match=r"cannot read config file .*binary\.toml"):
        read_config(binary)


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "dream.toml"
    path.write_bytes(b"\xef\xbb\xbfsteps = 2\n")
    assert read_config(path) == {"steps": 2}


@pytest.mark.parametrize("key", ["mask", "guide", "output", "film"])
def test_the_home_folder_is_expanded_in_paths(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_of(f'{key} = "~/x"', tmp_path) == {key: str(tmp_path / "x")}
    assert config_of(f'{key} = "~nobody-of-this-name/x"', tmp_path) == {key: "~nobody-of-this-name/x"}
    assert config_of(f'{key} = "a/~/x"', tmp_path) == {key: "a/~/x"}


# Writing a file

ODD = 'a "quoted" \\ name\twith\nö, 🐻 and \x7f\x01'
WRITTEN = {
    **{name: Settings(**{**NEEDS.get(name, {}), name: value}) for name, (_, _, value) in VALUES.items()},
    "the defaults": Settings(),
    "no maximum size": Settings(max_size=None),
    "no snapshots": Settings(snapshots=()),
    "a layer with an odd name": Settings(layer_weights={ODD: 1.5, "a.b": -1e-5}),
    "a whole number for a float": Settings(max_loss=15, step_size=(1, 0.5), tv=1e-9),
    "no layers": Settings(layer_weights={}),
    "an execution": Settings(execution=Execution("openvino", 3, 10**12, 2**40, "bf16")),
    **{name: preset.with_changes({}) for name, preset in PRESETS.items()},
}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_setting_is_written_so_that_it_is_read_again(name: str, tmp_path: Path) -> None:
    settings = WRITTEN[name]
    ConfigFile(tmp_path / "new" / "run.toml", options_of(settings)).write()
    read = read_config(tmp_path / "new" / "run.toml")
    again = Settings(**settings_changes(read), execution=execution_of(read))
    assert again == settings
    assert {type(value) for value in vars(again).values()} == {type(value) for value in vars(settings).values()}


def test_a_written_text_is_read_again(tmp_path: Path) -> None:
    ConfigFile(tmp_path / "run.toml", {"model": ODD, "extras": False}).write()
    assert read_config(tmp_path / "run.toml") == {"model": ODD, "extras": False}


def test_a_config_file_is_replaced_only_on_request(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("steps = 3\n")
    with pytest.raises(OutputError, match=r"run\.toml exists: choose another name, or replace it with --overwrite"):
        ConfigFile(path, {"steps": 5}).write()
    assert read_config(path) == {"steps": 3}
    ConfigFile(path, {"steps": 5}, overwrite=True).write()
    assert read_config(path) == {"steps": 5}
    with pytest.raises(OutputError, match=r"cannot write .*: choose another name"):
        ConfigFile(path / "deeper.toml", {}).write()


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_no_half_of_a_config_file(overwrite: bool, tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*run\.toml \(File too large\): choose another name"):
            ConfigFile(tmp_path / "run.toml", options_of(Settings()), overwrite).write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_config_file_has_its_suffix_and_is_unicode(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"bears\.png: config files are TOML: choose a name that ends in \.toml"):
        ConfigFile(Path("bears.png"), {})
    with pytest.raises(SettingsError, match="cannot hold a path that is not UTF-8"):
        ConfigFile(tmp_path / "run.toml", {"mask": "caf\udce9.png"}).write()
    assert list(tmp_path.iterdir()) == []


def test_an_option_replaces_those_that_choose_the_same_in_another_way() -> None:
    chosen = {"layer_weights": {"low": 1.0}, "channels": ["low:1"], "steps": 5}
    assert overridden(chosen, {"layers": "mid"}) == {"layers": "mid", "steps": 5}
    assert overridden(chosen, {"channels": ["mid:2"]}) == {"channels": ["mid:2"], "steps": 5}
    assert overridden(chosen, {"pick": "weakest"}) == {"layer_weights": {"low": 1.0}, "pick": "weakest", "steps": 5}
    assert overridden({"guide": "a.png", "pick": "weakest"}, {"channels": ["low:1"]}) == {"channels": ["low:1"]}
    assert overridden({"layers": "low", "pick": "weakest"}, {"guide": "a.png"}) == {"layers": "low", "guide": "a.png"}
    assert overridden(chosen, {"steps": 6}) == {**chosen, "steps": 6}


# From the file to the request


def request_of(text: str, folder: Path, *words: str) -> DreamRequest:
    """Returns the request in a config file and the words of a command line, for the tiny bundle if none is named."""
    bundle, path = folder / "tiny.onnx", folder / "dream.toml"
    bundle.write_bytes(TINY_BYTES)
    path.write_text(text, encoding="utf-8")
    words = (*(() if "model" in text else ("--model", str(bundle))), "--config", str(path), *words)
    return parse_request(options_in(words), with_images=not ("noise" in text or "--noise" in words))


def test_options_on_the_command_line_win_over_the_file(tmp_path: Path) -> None:
    text = 'steps = 5\nstep-size = 0.5\noptimizer = "adam"\nclip = false\nthreads = 2\nfilm = "a.mp4"\nevery = 3\n'
    alone, over = request_of(text, tmp_path), request_of(text, tmp_path, "--steps", "8", "--clip", "--threads", "1")
    assert (alone.job.settings.steps, over.job.settings.steps) == (5, 8)
    assert (alone.job.settings.clip, over.job.settings.clip) == (False, True)
    assert (alone.job.settings.execution.threads, over.job.settings.execution.threads) == (2, 1)
    assert over.job.settings.step_size == 0.5
    assert over.job.settings.optimizer == "adam"
    assert (over.job.film, over.job.film_every) == (Path("a.mp4"), 3)


def test_layers_on_the_command_line_win_over_layer_weights_in_the_file(tmp_path: Path) -> None:
    request = request_of("layer-weights = {low = 2}\n", tmp_path, "--layers", "mid")
    assert request.job.settings.layer_weights == {"mid": 1.0}


def test_a_list_of_layers_has_names_with_any_characters() -> None:
    assert settings_changes({"layers": ["a,b", "c=d "]})["layer_weights"] == {"a,b": 1.0, "c=d": 1.0}
    for wrong in ([], [""], ["low", "low"]):
        with pytest.raises(SettingsError, match="write each layer once"):
            settings_changes({"layers": wrong})


def test_the_file_wins_over_the_preset(tmp_path: Path) -> None:
    settings = request_of('preset = "tutorial-octaves"\nsteps = 3\nlayers = "low"\n', tmp_path).job.settings
    assert (settings.steps, settings.octaves, settings.octave_rounding) == (3, 5, True)


@pytest.mark.parametrize("name", [*NAMES, *sorted(OTHER)])
def test_a_value_of_the_wrong_type_is_refused_under_its_name(name: str, tmp_path: Path) -> None:
    for wrong in ("1979-05-27", "[[1], [2]]", "{a = {b = 1}}"):
        with pytest.raises(SettingsError) as refusal:
            request_of(f"{name} = {wrong}\n", tmp_path)
        message = str(refusal.value)
        assert name.replace("_", " ").split()[-1].rstrip("s") in message, message
        assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('steps = "7"', "steps"), ("steps = 7.0", "steps"), ("steps = true", "steps"),
        ("step-size = true", "step size"), ("step-size = nan", "step size"), ('step-size = "fast"', "step size"),
        ("step-size = [0.1]", "step size"), ("step-size = [0.1, 0.2, 0.3]", "step size"), ('blur = "1:"', "blur"),
        ('blur = ["1", 2]', "blur"), ("blur = [1, -1]", "blur"),
        ("max-size = false", "max size"), ("clip = 1", "clip"), ('full-size = "yes"', "full size"),
        ("optimizer = 3", "optimizer"), ("snapshots = 3", "snapshots"), ('snapshots = ["3"]', "snapshots"),
        ("layer-weights = 3", "layer weights"), ('layer-weights = {low = "2"}', "weight of low"),
        ("channels = 3", "channels"), ("channels = [3]", "channels"), ("noise = 64", "noise"),
        ("noise = [64]", "noise"), ("noise = [64, 48, 3]", "noise"), ("pick = 3", "pick"), ("memory = 1.5", "memory"),
        ("memory = [1]", "memory"), ("threads = 1.0", "threads"), ("every = 0", "every"), ("every = 1.5", "every"),
        ("mask = 5", "mask"), ('mask = "a\\u0000b"', "mask"), ("guide = true", "guide"), ("output = 5", "output"),
        ("film = 5", "film"), ("colours = 5", "colours"), ('colours = "own:2"', "colours"),
        ("preset = 5", "preset"), ("model = 5", "model"), ("provider = 5", "provider"),
    ],
)  # fmt: skip
def test_a_value_of_nearly_the_right_type_is_refused_too(text: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refusal:
        request_of(text, tmp_path)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)
