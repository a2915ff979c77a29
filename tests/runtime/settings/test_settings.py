"""Settings: which values are refused, and how the texts of the command line are read."""

from __future__ import annotations

import json
import math
import re
from dataclasses import FrozenInstanceError, asdict, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from onnxdream.runtime.errors import DreamError, SettingsError
from onnxdream.runtime.settings.parsing import parse_layer_weights, parse_snapshots
from onnxdream.runtime.settings.presets import PRESETS, preset
from onnxdream.runtime.settings.settings import Execution, Settings, settings_from_dict

LAYERS = ("mixed0", "mixed1", "mixed2")


def test_the_defaults_are_those_of_the_paper_preset() -> None:
    paper = PRESETS["paper"].settings
    assert paper == Settings()
    assert (paper.steps, paper.max_size, paper.normalization, paper.gradient_norm) == (1000, 512, "minmax", "std")
    assert paper.snapshots == (100, 500, 1000)


def test_the_tutorial_preset_is_tensorflow_s_simple_loop() -> None:
    tutorial = preset("tutorial")
    assert (tutorial.steps, tutorial.step_size, tutorial.max_size) == (100, 0.01, 500)
    assert (tutorial.normalization, tutorial.gradient_norm) == ("backbone", "std")


def test_a_preset_takes_changes_and_stays_as_it_is() -> None:
    changed = preset("tutorial", steps=7)
    assert changed == replace(PRESETS["tutorial"].settings, steps=7, layer_weights={"mixed3": 1.0, "mixed5": 1.0})
    assert PRESETS["tutorial"].settings.steps == 100


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="'papers': did you mean paper; the command `presets` lists all presets"):
        preset("papers")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", -3),
        ("steps", 10**7),
        ("steps", 2.0),
        ("steps", True),
        ("steps", "9"),
        ("step_size", 0.0),
        ("step_size", -0.01),
        ("step_size", math.nan),
        ("step_size", math.inf),
        ("step_size", 1e10),
        ("step_size", "1"),
        ("step_size", (0.1, 0.0)),
        ("step_size", (1e10, 0.1)),
        ("step_size", (0.1, math.nan)),
        ("blur", -0.1),
        ("blur", (1.5, -0.1)),
        ("blur", (1001.0, 1.0)),
        ("max_size", 0),
        ("max_size", -512),
        ("max_size", 10**9),
        ("normalization", "maxmin"),
        ("gradient_norm", "l1"),
        ("gradient_norm", None),
        ("snapshots", (0,)),
        ("snapshots", (100, -1)),
        ("snapshots", (1.5,)),
        ("seed", -1),
        ("seed", 2**32),
        ("layer_weights", {"mixed0": math.nan}),
        ("layer_weights", {"mixed0": math.inf}),
        ("layer_weights", {"mixed0": 1e7}),
        ("layer_weights", {"mixed0": "1"}),
    ],
)
def test_a_value_out_of_range_is_refused_in_one_line_that_shows_it(name: str, value: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings(**{name: value})
    assert "\n" not in str(refused.value)
    shown = next(iter(value.values())) if isinstance(value, dict) else value[-1] if name == "snapshots" else value
    if name in ("step_size", "blur") and isinstance(value, tuple):
        shown = next(end for end in value if not 0.1 <= end <= 1000)
    assert repr(shown) in str(refused.value)


@pytest.mark.parametrize("name", ["step_size", "blur"])
@pytest.mark.parametrize(
    "value", [(), (0.1,), (0.1, 0.2, 0.3), ("0.1", 0.2), (0.1, None), (0.1, True), ((0.1, 0.2), 0.3)]
)
def test_an_invalid_pair_is_refused_with_an_example(name: str, value: Any) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings(**{name: value})
    how = "write 0.03, or 0.03:0.012 from an octave's first step to its last"
    assert str(refused.value) == f"{name.replace('_', ' ')} {value!r}: {how}"


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"steps": np.int64(3)}, {"steps": 3}),
        ({"steps": np.uint8(3), "seed": np.array(5)}, {"steps": 3, "seed": 5}),
        ({"step_size": np.float32(0.5)}, {"step_size": 0.5}),
        ({"step_size": [np.float64(0.03), np.float16(0.5)]}, {"step_size": (0.03, 0.5)}),
        ({"step_size": np.array([0.5, 0.25], np.float32)}, {"step_size": (0.5, 0.25)}),
        ({"blur": (np.int32(1), 0)}, {"blur": (1, 0)}),
        ({"tv": Fraction(1, 4), "max_loss": np.longdouble(2)}, {"tv": 0.25, "max_loss": 2.0}),
        ({"snapshots": [1, np.int64(2)]}, {"snapshots": (1, 2)}),
        ({"snapshots": range(10, 30, 10)}, {"snapshots": (10, 20)}),
        ({"snapshots": np.array([1, 2])}, {"snapshots": (1, 2)}),
        ({"channels": [np.str_("mixed2:1")]}, {"channels": ("mixed2:1",)}),
        ({"noise": [np.int16(64), 48]}, {"noise": (64, 48)}),
        ({"full_size": np.bool_(True)}, {"full_size": True}),
        ({"gradient_norm": np.str_("l2")}, {"gradient_norm": "l2"}),
        ({"layer_weights": {np.str_("mixed0"): np.float32(0.5)}}, {"layer_weights": {"mixed0": 0.5}}),
    ],
)
def test_numpy_s_numbers_and_lists_are_stored_as_plain_values(given: dict[str, Any], stored: dict[str, Any]) -> None:
    settings = Settings(**given)
    assert settings == Settings(**stored)
    assert repr(settings) == repr(Settings(**stored)), "the types are the same, too"
    assert settings_from_dict(json.loads(json.dumps(asdict(settings)))) == settings
    if "layer_weights" not in given:
        assert hash(settings) == hash(Settings(**stored))


def test_numbers_of_the_execution_are_plain_too() -> None:
    execution = Execution(threads=np.int64(2), memory=np.int64(10**9))  # type: ignore[arg-type]
    assert repr(execution) == repr(Execution(threads=2, memory=10**9))
    assert hash(execution) == hash(Execution(threads=2, memory=10**9))


@pytest.mark.parametrize(
    "values",
    [
        {"steps": np.bool_(True)},
        {"steps": np.float64(3)},
        {"step_size": np.bool_(True)},
        {"step_size": [0.1, True]},
        {"step_size": np.float32("nan")},
        {"full_size": np.int64(1)},
        {"full_size": 1},
        {"noise": np.array([[1, 2]])},
        {"snapshots": "100"},
        {"snapshots": {1, 2}},
        {"layer_weights": {3: 1.0}},
        {"layer_weights": {"mixed0": np.bool_(True)}},
        {"execution": "cuda"},
        {"execution": None},
    ],
)
def test_what_is_of_another_kind_stays_refused(values: dict[str, Any]) -> None:
    name = next(iter(values)).replace("_", " ")
    with pytest.raises(SettingsError, match=f"{name}|weight of mixed0"):
        Settings(**values)


def test_a_max_size_of_zero_is_answered_with_none() -> None:
    with pytest.raises(SettingsError, match=r"^max size must be 1 to 65536, or None for no limit, not 0$"):
        Settings(max_size=0)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("step", "did you mean steps or step_size?"),
        ("stepsize", "did you mean step_size or"),
        ("colors", "did you mean colours"),
        ("xyz", "see docs/settings.md"),
        ("provider", "write execution=Execution(provider=…)"),
    ],
)
def test_an_unknown_setting_of_a_preset_is_answered_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(hint)) as refused:
        preset("paper", **{name: 1})
    assert name in str(refused.value)


@pytest.mark.parametrize("name", [None, 3, ["paper"]])
def test_a_preset_s_name_is_text(name: Any) -> None:
    with pytest.raises(SettingsError, match="unknown preset"):
        preset(name)


@pytest.mark.parametrize(
    "values", [{"provider": "gpu"}, {"precision": "fp8"}, {"threads": 0}, {"threads": -2}, {"threads": 5000}]
)
def test_an_execution_out_of_range_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        Execution(**values)


def test_a_settings_error_is_also_a_value_error() -> None:
    assert issubclass(SettingsError, DreamError)
    assert issubclass(SettingsError, ValueError)


def test_settings_do_not_change_once_made() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().steps = 3  # type: ignore[misc]
    weights = {"mixed0": 1.0}
    settings = Settings(layer_weights=weights)
    weights["mixed0"] = 2.0
    assert settings.layer_weights == {"mixed0": 1.0}


def test_equal_settings_are_one_key() -> None:
    weighted = [Settings(layer_weights=weights) for weights in ({"mixed0": 1}, {"mixed0": 1.0}, {"mixed0": 2.0}, None)]
    assert len(set(weighted)) == 3
    assert hash(weighted[0]) == hash(weighted[1])
    assert {weighted[2]: "found"}[replace(weighted[0], layer_weights={"mixed0": 2})] == "found"


def test_without_layer_weights_every_layer_has_weight_one() -> None:
    assert Settings().weights_of(LAYERS) == [1.0, 1.0, 1.0]


def test_a_layer_that_is_not_named_has_weight_zero() -> None:
    assert Settings(layer_weights={"mixed2": -0.5, "mixed0": 2}).weights_of(LAYERS) == [2.0, 0.0, -0.5]
    assert Settings(channels=("stage:one:3",)).weights_of(("stage", "stage:one")) == [0.0, 1.0]


def test_a_layer_that_the_bundle_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(SettingsError, match="'mixed9' is not in the bundle: the nearest are mixed2, mixed1, mixed0"):
        Settings(layer_weights={"mixed9": 1.0}).weights_of(LAYERS)


@pytest.mark.parametrize("weights", [{}, {"mixed0": 0.0}])
def test_weights_that_are_all_zero_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="all layer weights are 0"):
        Settings(layer_weights=weights).weights_of(LAYERS)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("mixed0=1,mixed2=-0.5", {"mixed0": 1.0, "mixed2": -0.5}),
        (" mixed0 = 2 , mixed1 ", {"mixed0": 2.0, "mixed1": 1.0}),
        ("mixed0=1e-3", {"mixed0": 0.001}),
        ("a=b = 0.5", {"a=b": 0.5}),
    ],
)
def test_layer_weights_are_read_from_a_command_line(text: str, weights: dict[str, float]) -> None:
    assert parse_layer_weights(text) == weights


@pytest.mark.parametrize("text", ["", ",", "=1", "mixed0=1,mixed0=2", "mixed0=one", "a=b"])
def test_invalid_layer_weights_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match="mixed0=1,mixed2="):
        parse_layer_weights(text)


@pytest.mark.parametrize(("text", "steps"), [("100,500", (100, 500)), ("", ()), (" 7 ,", (7,))])
def test_snapshots_are_read_from_a_command_line(text: str, steps: tuple[int, ...]) -> None:
    assert parse_snapshots(text) == steps


@pytest.mark.parametrize("text", ["often", "1.5", "1;2", "1e2"])
def test_snapshots_that_are_not_numbers_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="100,500,1000"):
        parse_snapshots(text)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        preset("tutorial", seed=9, full_size=True, max_size=None),
        Settings(layer_weights={"mixed0": 1.0, "mixed1": -2.0}, execution=Execution("cpu", 3)),
        Settings(layer_weights=MappingProxyType({"mixed0": 1.0})),
        Settings(step_size=(0.03, 0.012), blur=(1, 0), colours="own:0.7"),
    ],
)
def test_settings_survive_json(settings: Settings) -> None:
    assert settings_from_dict(json.loads(json.dumps(asdict(settings)))) == settings


@pytest.mark.parametrize(
    "data",
    [{"steps": 0}, {"octavez": 3}, {"execution": {"gpu": 1}}, {"execution": 3}, {"snapshots": 5}],
)
def test_settings_that_were_tampered_with_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        settings_from_dict(data)
