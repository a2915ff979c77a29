"""The grid of a study: the paper's, and a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxdream.models.backbones import BACKBONES, UnknownBackboneError, find_backbone
from onnxdream.runtime.errors import SettingsError
from onnxdream.study.errors import GridError
from onnxdream.study.grid import BundleSpec, Grid, paper_grid, parse_weights, read_grid

IMAGES = (Path("bears.jpg"), Path("penguins.jpg"))


def write_grid(folder: Path, text: str) -> Path:
    path = folder / "grid.toml"
    path.write_text(text)
    return path


def test_the_papers_grid_is_its_five_sets() -> None:
    grid = paper_grid(IMAGES, "imagenet", "mean", {})
    layers = [",".join(spec.layer_names(find_backbone(spec.model))) for spec in grid.bundles]
    assert layers == [
        "mixed0,mixed1,mixed2",
        "mixed6,mixed7,mixed8",
        "mixed8,mixed9,mixed10",
        "block35_2_mixed,block35_4_mixed",
        "block35_5_mixed,block35_6_mixed,block35_8_mixed,block35_9_mixed",
    ]
    assert grid.bundle_names == (
        "v3-paper-low",
        "v3-paper-high",
        "v3-paper-high-text",
        "inception-resnet-v2-paper-low",
        "inception-resnet-v2-paper-high",
    )
    assert grid.is_paper
    assert {spec.weights for spec in grid.bundles} == {"imagenet"}


def test_bundles_have_names_where_there_is_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONNXDREAM_HOME")
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: Path("~/.local/share/onnxdream"))
    assert BundleSpec("v3", "paper-low", "imagenet").short_name == "v3-paper-low"


def test_weights_are_chosen_for_all_backbones_or_for_each() -> None:
    assert parse_weights("random") == {backbone.name: "random" for backbone in BACKBONES}
    chosen = parse_weights("irv2=weights/my.h5, v3=builtin")
    assert chosen.pop("v3") == "builtin"
    assert chosen.pop("inception-resnet-v2") == str(Path("weights/my.h5"))
    assert set(chosen.values()) == {"auto"}
    assert parse_weights("v3=random")["inception-resnet-v2"] == "auto"


@pytest.mark.parametrize("text", ["file.h5", "v3=", ""])
def test_a_choice_of_weights_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(GridError, match="weights"):
        parse_weights(text)


def test_weights_of_an_unknown_backbone_are_refused() -> None:
    with pytest.raises(UnknownBackboneError):
        parse_weights("v4=file.h5")


def test_paths_in_a_grid_start_from_its_folder(tmp_path: Path, tiny_path: Path) -> None:
    (tmp_path / "own.onnx").write_bytes(tiny_path.read_bytes())
    grid = read_grid(
        write_grid(
            tmp_path,
            """
            images = ["bears.jpg"]
            [[bundle]]
            model = "own.onnx"
            [[bundle]]
            model = "v3"
            layers = "mixed0, mixed1"
            weights = "mine.h5"
            objective = "l2"
            [settings]
            step-size = 0.5
            mask = "mask.png"
            """,
        )
    )
    own, v3 = grid.bundles
    assert grid.images == (tmp_path / "bears.jpg",)
    assert own.backbone is None
    assert own.model == str(tmp_path / "own.onnx")
    assert v3.layer_names(find_backbone("v3")) == ("mixed0", "mixed1")
    assert v3.weights == str(tmp_path / "mine.h5")
    assert grid.options == {"step_size": 0.5, "mask": str(tmp_path / "mask.png")}
    assert grid.bundle_names == ("own", "v3-mixed0-mixed1")
    assert v3.export_options == [
        *("--model", "v3", "--layers", "mixed0, mixed1", "--weights", v3.weights, "--objective", "l2")
    ]


def test_bundles_of_the_same_layers_are_distinguished_by_their_weights() -> None:
    specs = (BundleSpec("v3", "paper-low", "random"), BundleSpec("v3", "paper-low", "builtin"), BundleSpec("v3-low"))
    assert Grid(specs, IMAGES, {}).bundle_names == ("v3-paper-low-random", "v3-paper-low-builtin", "v3-low")
    with pytest.raises(GridError, match="twice"):
        Grid((specs[0], specs[0]), IMAGES, {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("images = []", "images"),
        ("images = ['a.jpg']", r"\[\[bundle\]\]"),
        ("images = 'a.jpg'", "list of paths"),
        ("pictures = ['a.jpg']", "unknown key 'pictures'"),
        ("images = ['a.jpg']\n[bundle]\nmodel = 'v3'", r"under \[\[bundle\]\]"),
        ("images = ['a.jpg']\n[[bundle]]\nlayers = 'mixed0'", "has no model"),
        ("images = ['a.jpg']\n[[bundle]]\nmodel = 'v3'\nlayer = 'mixed0'", "unknown key 'layer'"),
        ("images = ['a.jpg']\n[[bundle]]\nmodel = 'v3'\nborder = '2'", "whole number"),
        ("images = ['a.jpg']\n[[bundle]]\nmodel = 'tiny.onnx'\nweights = 'random'", "not a backbone"),
        ("images = ['a.jpg']\n[[bundle]]\nmodel = 'v3'\n[settings]\noutput = 'x'", "not a setting of a study"),
        ("images = ['a.jpg']\nsettings = 3\n[[bundle]]\nmodel = 'v3'", "table"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(GridError, match=reason) as error:
        read_grid(write_grid(tmp_path, text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("weights", "objective", "reason"),
    [
        ("auto", "l3", "unknown objective 'l3': choose mean or l2"),
        ("v3=nope.h5", "mean", "nope.h5: there is no such file"),
    ],
)
def test_the_papers_grid_is_refused_before_anything_runs(weights: str, objective: str, reason: str) -> None:
    with pytest.raises(GridError, match=reason):
        paper_grid(IMAGES, weights, objective, {})


@pytest.mark.parametrize("model", ["v3-mid", "own.onnx"])
def test_layers_of_a_bundle_are_refused_with_what_to_do(model: str, tmp_path: Path) -> None:
    (tmp_path / "own.onnx").write_bytes(b"")
    path = write_grid(tmp_path, f'images = ["a.png"]\n[[bundle]]\nmodel = "{model}"\nlayers = "mixed3"\n')
    with pytest.raises(
        GridError, match=f"{model} is a bundle, which has its layers: leave out layers, or set them in "
    ):
        read_grid(path)


def test_layers_of_a_network_with_a_bundle_of_its_name_are_taken(tmp_path: Path) -> None:
    path = write_grid(tmp_path, 'images = ["a.png"]\n[[bundle]]\nmodel = "lite0"\nlayers = "high"\n')
    assert [spec.layers for spec in read_grid(path).bundles] == ["high"]


def test_a_grid_has_the_settings_of_a_config_file(tmp_path: Path) -> None:
    text = "images = ['a.jpg']\n[[bundle]]\nmodel = 'v3'\n[settings]\nstep-sise = 1"
    with pytest.raises(SettingsError, match="step-size"):
        read_grid(write_grid(tmp_path, text))
