"""The choice of a dream's bundle, its description, and the list of bundles."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pictures_fixture import TINY_BYTES, bundle_bytes, facts

from onnxdream.models.assembly import BUILT_IN, DEFAULT
from onnxdream.models.contract import BundleFormatError, BundleNotFoundError, Layer, Metadata, Weights
from onnxdream.runtime import PRESETS, Bundle
from onnxdream.runtime.bundle.choice import choose_bundle, describe, list_bundles
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.settings.presets import Preset


@pytest.fixture
def library(home: Path) -> Path:
    """The user's folder of bundles, empty."""
    folder = home / "bundles"
    folder.mkdir(parents=True)
    return folder


def with_weights(source: str) -> Metadata:
    return replace(facts(), weights=Weights(source, "", ""))


def put(library: Path, name: str, age: float, source: str = "random", precision: str = "fp32") -> Path:
    """Writes a bundle into the library, `age` hours old, whose metadata state that source of weights."""
    path = library / f"{name}.onnx"
    path.write_bytes(
        bundle_bytes([b"\x22\x04Relu"], metadata=replace(with_weights(source), precision=precision).to_json())
    )
    then = path.stat().st_mtime - age * 3600
    os.utime(path, (then, then))
    return path


def test_without_exports_the_first_built_in_bundle_is_chosen() -> None:
    bundle = choose_bundle(None)
    assert bundle.path == DEFAULT.path
    assert bundle.metadata.layer_names == ("mixed0", "mixed1", "mixed2")
    assert bundle.metadata.weights.source == "imagenet-8bit"


def test_the_newest_export_with_trained_weights_is_preferred_to_it(library: Path) -> None:
    put(library, "random", age=0)
    assert choose_bundle(None).path == DEFAULT.path
    older = put(library, "older", age=3, source="imagenet")
    assert choose_bundle(None).path == older
    newer = put(library, "newer", age=2, source="mine.h5")
    assert choose_bundle(None).path == newer


def test_the_default_is_never_a_bundle_of_lower_precision(library: Path) -> None:
    put(library, "half", age=0, source="imagenet", precision="fp16")
    put(library, "mixed", age=1, source="imagenet", precision="mixed")
    assert choose_bundle(None).path == DEFAULT.path
    assert choose_bundle(None, "bf16").path == DEFAULT.path
    whole = put(library, "whole", age=2, source="imagenet")
    assert choose_bundle(None).path == choose_bundle(None, "fp32").path == choose_bundle(None, "bf16").path == whole


def test_the_newest_bundle_of_the_precision_is_chosen(library: Path) -> None:
    put(library, "whole", age=0, source="imagenet")
    old = put(library, "old", age=5, source="imagenet", precision="fp16")
    assert choose_bundle(None, "fp16").path == old
    new = put(library, "new", age=4, source="imagenet", precision="fp16")
    assert choose_bundle(None, "fp16").path == new
    put(library, "random", age=1, precision="fp16")
    assert choose_bundle(None, "fp16").path == new
    random = put(library, "mixed", age=3, precision="mixed")
    assert choose_bundle(None, "mixed").path == random


def test_where_no_bundle_has_the_precision_the_error_names_the_export_command(library: Path) -> None:
    put(library, "whole", age=0, source="imagenet")
    with pytest.raises(
        BundleNotFoundError, match=r"no bundle in fp16: make one with onnxdream export --precision fp16"
    ):
        choose_bundle(None, "fp16")


def test_a_bundle_that_is_named_must_have_the_precision_asked_for(library: Path) -> None:
    half = put(library, "half", age=0, precision="fp16")
    assert choose_bundle("half").path == choose_bundle("half", "fp16").path == half
    for precision in ("fp32", "bf16", "mixed"):
        with pytest.raises(SettingsError, match=f"half.onnx is a bundle in fp16, but a run in {precision} needs one"):
            choose_bundle("half", precision)  # type: ignore[arg-type]
    assert describe(choose_bundle("half"))[0].endswith("random weights, fp16)")


def test_a_broken_bundle_in_the_library_is_skipped(library: Path) -> None:
    good = put(library, "good", age=3, source="imagenet")
    (library / "broken.onnx").write_bytes(TINY_BYTES[:100])
    assert choose_bundle(None).path == good


def test_a_bundle_is_found_by_its_path_its_name_or_the_start_of_its_name(library: Path, tiny_path: Path) -> None:
    path = put(library, "v3-paper-high-imagenet", age=0)
    assert choose_bundle(str(tiny_path)).path == tiny_path
    assert choose_bundle("v3-paper-high-imagenet").path == path
    assert choose_bundle("v3-paper").path == path
    assert choose_bundle("v3-low").path == DEFAULT.path


def test_the_refusal_of_an_ambiguous_name_lists_the_bundles(library: Path) -> None:
    put(library, "v3-a", age=0)
    with pytest.raises(
        BundleNotFoundError, match="'v3' may mean v3-a, v3-low, v3-mid, v3-mid-l2: give more of the name"
    ):
        choose_bundle("v3")


def test_the_refusal_of_an_unknown_name_says_how_to_find_and_make_a_bundle(library: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="`info` lists the bundles, `export` makes one"):
        choose_bundle("v9")
    with pytest.raises(BundleNotFoundError, match="is a folder"):
        choose_bundle(str(library))


def test_a_broken_bundle_that_is_named_is_refused(library: Path) -> None:
    (library / "mine.onnx").write_bytes(TINY_BYTES[:100])
    with pytest.raises(BundleFormatError, match=r"^mine\.onnx: "):
        choose_bundle("mine")


def test_a_built_in_bundle_is_described_as_such() -> None:
    lines = describe(choose_bundle(None))
    assert lines == ["model: v3-low, built in (v3, mixed0, mixed1, mixed2; ImageNet (8-bit) weights)"]


def test_random_weights_are_described_with_a_warning(tiny_path: Path) -> None:
    lines = describe(Bundle.load(tiny_path))
    assert lines[0] == "model: tiny.onnx (tiny, low, mid, high; random weights)"
    assert len(lines) == 2
    assert "random: it dreams textures that mean nothing" in lines[1]


def test_imagenet_weights_are_described_without_a_warning(library: Path) -> None:
    lines = describe(Bundle.load(put(library, "v3", age=0, source="imagenet")))
    assert lines == ["model: v3.onnx (hand, layer0; ImageNet weights)"]


def test_the_list_shows_all_bundles_the_newest_first_and_their_problems(library: Path) -> None:
    put(library, "old", age=5)
    put(library, "new", age=1, source="imagenet")
    (library / "broken.onnx").write_bytes(b"")
    rows = {row.name: row for row in list_bundles()}
    assert list(rows) == [*(built_in.name for built_in in BUILT_IN), "broken", "new", "old"]
    expected = ("v3-low", "mixed0, mixed1, mixed2", "mean", "ImageNet (8-bit)", "4.0 MB")
    assert rows["v3-low"].row() == expected
    assert rows["new"].weights == "ImageNet"
    assert "not an ONNX file" in rows["broken"].problem
    assert rows["broken"].row()[1] == rows["broken"].problem


# A preset chooses its bundle.


def made_for(preset: Preset, **changes: Any) -> Metadata:
    """The metadata of a bundle that fits a preset."""
    layers = tuple(Layer(name, 8, 8) for name in preset.layers)
    trained = replace(with_weights("imagenet"), layers=layers, objective=preset.objective, border=preset.border)
    return replace(trained, **changes)


def export(folder: Path, name: str, metadata: Metadata, age: int = 0) -> Path:
    path = folder / f"{name}.onnx"
    path.write_bytes(bundle_bytes([b"\x22\x04Relu"], metadata=metadata.to_json()))
    then = path.stat().st_mtime - age * 3600
    os.utime(path, (then, then))
    return path


@pytest.mark.parametrize("name", [name for name in PRESETS if PRESETS[name].bundle])
def test_a_look_uses_its_built_in_bundle_whatever_was_exported(library: Path, name: str) -> None:
    preset = PRESETS[name]
    export(library, "mine", made_for(preset))
    bundle = choose_bundle(None, preset=preset)
    assert (bundle.name, bundle.is_built_in) == (preset.bundle, True)
    assert preset.is_made_for(bundle.metadata)


@pytest.mark.parametrize(
    ("name", "built_in"),
    [("paper", "v3-low"), ("tutorial", "v3-mid"), ("tutorial-octaves", "v3-mid"), ("caffe", "v3-mid-l2")],
)
def test_a_classic_uses_the_newest_export_that_fits_else_a_built_in_bundle(
    library: Path, name: str, built_in: str
) -> None:
    preset = PRESETS[name]
    export(library, "other-layers", made_for(preset, layers=(Layer("mixed9", 8, 8),)))
    export(library, "other-objective", made_for(preset, objective="l2" if preset.objective == "mean" else "mean"))
    export(library, "other-border", made_for(preset, border=3))
    assert choose_bundle(None, preset=preset).name == built_in
    older = export(library, "older", made_for(preset), age=2)
    assert choose_bundle(None, preset=preset).path == older
    newer = export(library, "newer", made_for(preset), age=1)
    assert choose_bundle(None, preset=preset).path == newer


def test_the_refusal_of_a_preset_that_no_bundle_fits_names_the_export_command(library: Path) -> None:
    command = "onnxdream export --model v3 --layers mixed4,mixed5,mixed6,mixed7 --objective l2 --border 2"
    with pytest.raises(SettingsError, match=f"no bundle fits preset keras: make one with {command}$"):
        choose_bundle(None, preset=PRESETS["keras"])
    with pytest.raises(SettingsError, match=r"--layers mixed4 --objective l2 --precision fp16$"):
        choose_bundle(None, "fp16", PRESETS["caffe"])


def test_the_first_bundle_with_the_layers_asked_for_is_chosen(library: Path) -> None:
    assert choose_bundle(None, layers=["mixed4", "mixed1"]).name == "v3-mid"
    assert choose_bundle(None, layers=["mixed1"]).name == "v3-low"
    mine = export(library, "mine", made_for(PRESETS["keras"]))
    assert choose_bundle(None, layers=["mixed7"]).path == choose_bundle(None, layers=["mixed4"]).path == mine
    assert choose_bundle(None, layers=["mixed1"]).name == "v3-low"
    random = export(library, "random", replace(made_for(PRESETS["keras"]), weights=with_weights("random").weights))
    assert choose_bundle(None, layers=["mixed7"]).path == mine
    mine.unlink()
    assert choose_bundle(None, layers=["mixed7"]).path == random
    assert choose_bundle(None, layers=["mixed4"]).name == "v3-mid"
    assert choose_bundle(None, layers=["logits"]).name == "v3-low"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["mixd3"], "no bundle has the layer mixd3: the nearest are mixed3 (of v3-mid), "),
        (
            ["mixed8", "mixed6"],
            "no bundle has the layers mixed6 and mixed8: make one with onnxdream export --model v3 --layers mixed6",
        ),
        (["mixed3", "block05"], "name layers of one bundle, not block05 (of lite0), mixed3 (of v3-mid)"),
        (["zzz"], "no bundle has the layer zzz: the command `info` lists the layers of all bundles"),
    ],
)
def test_layers_that_no_bundle_has_are_refused_with_what_to_do(library: Path, layers: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        choose_bundle(None, layers=layers)
