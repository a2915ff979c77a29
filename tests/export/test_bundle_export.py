"""From a request to a bundle, and the committed tiny bundle that other tests use."""
# ruff: noqa: E402

from __future__ import annotations

import hashlib
import importlib.metadata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import keras
import onnx
from exports import unverified
from make_tiny_bundle import COMMAND
from plain_session import open_plain
from tiny import LAYERS, TINY

from onnxdream.export import bundle as bundle_module
from onnxdream.export.bundle import ExportRequest, export_bundle, make_bundle
from onnxdream.export.errors import ExportError, UnknownLayerError, VerificationError
from onnxdream.export.keras_file import own_backbone
from onnxdream.export.verification import CHANNELS, MIXED_SIGNS, POSITIONS
from onnxdream.models.contract import BLOCKED, CHANNELS_LAST, METADATA_KEY, OPSET, Check, Layer, Metadata, form_key
from onnxdream.models.library import BundleOutputError
from onnxdream.runtime.bundle.onnx_file import model_to_open

FORMS = (BLOCKED, CHANNELS_LAST)
RANDOM = ExportRequest(TINY, LAYERS, weights="random")


def metadata_of(bundle: bytes) -> Metadata:
    """Reads the metadata through onnxruntime."""
    session = open_plain(bundle)
    entries = session.get_modelmeta().custom_metadata_map
    assert set(entries) == {METADATA_KEY, *map(form_key, FORMS)}
    return Metadata.from_json(entries[METADATA_KEY])


def test_the_metadata_in_the_file_is_the_metadata_returned() -> None:
    bundle, metadata = make_bundle(replace(RANDOM, layers=("high", "low"), objective="l2", seed=5))
    assert metadata_of(bundle) == metadata
    assert metadata.backbone == "tiny"
    assert metadata.layers == (Layer("high", 8, 8), Layer("low", 14, 2))
    assert metadata.objective == "l2"
    assert metadata.smallest_size == (19, 19)
    assert metadata.weights.source == "random"
    assert metadata.precision == "fp32"
    assert metadata.opset == OPSET
    assert set(metadata.exporter) == {"onnxdream", "tensorflow", "keras", "tf2onnx", "onnx"}
    assert metadata.exporter["onnx"] == importlib.metadata.version("onnx")
    assert "unknown" not in metadata.exporter.values()


def test_callbacks_receive_stages_and_checks() -> None:
    stages: list[str] = []
    checks: list[Check] = []
    _, metadata = make_bundle(replace(RANDOM, layers=("low",)), stages.append, checks.append)
    assert len(stages) == 4
    assert "Tiny net" in stages[0]
    assert tuple(checks) == metadata.verification
    assert {check.climbed for check in checks} == {"low", MIXED_SIGNS, CHANNELS, POSITIONS}


def test_losses_have_the_order_in_which_the_layers_were_named(tiny_bundle: bytes) -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 40, 45)).astype(np.float32)
    with unverified():
        reversed_bundle, _ = make_bundle(replace(RANDOM, layers=LAYERS[::-1]))
    losses = {}
    for name, bundle in (("given", tiny_bundle), ("reversed", reversed_bundle)):
        session = open_plain(bundle)
        (losses[name],) = session.run(["losses"], {"image": image, "layer_weights": np.zeros(3, np.float32)})
    np.testing.assert_allclose(losses["reversed"][:, ::-1], losses["given"], rtol=1e-5)
    assert len(np.unique(losses["given"])) == 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layers": ()}, UnknownLayerError, "no layer is named"),
        ({"layers": ("low", "mid", "low")}, UnknownLayerError, "layer low is named twice"),
        ({"layers": ("low", "hgih")}, UnknownLayerError, "unknown layer 'hgih'.*high"),
        ({"layers": ("papr-low",)}, UnknownLayerError, "unknown layer 'papr-low': similar names are paper-low"),
        ({"layers": ("paper-low", "high")}, UnknownLayerError, "paper-low is a layer set, .* its layers .* low,mid$"),
        ({"objective": "max"}, ExportError, "unknown objective 'max': choose mean or l2"),
    ],
)
def test_an_impossible_request_is_refused(change: dict[str, object], error: type[ExportError], message: str) -> None:
    with pytest.raises(error, match=message):
        make_bundle(replace(RANDOM, **change))


@unverified()
def test_a_bundle_is_stored_in_the_library_under_its_name(home: Path) -> None:
    path, metadata = export_bundle(replace(RANDOM, layers=("low", "mid")))
    assert path == home / "bundles" / "tiny-paper-low-random.onnx"
    assert metadata_of(path.read_bytes()) == metadata
    path, _ = export_bundle(replace(RANDOM, layers=("low",), seed=3, objective="l2"))
    assert path == home / "bundles" / "tiny-low-random3-l2.onnx"
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "tiny-low-random3-l2.onnx",
        "tiny-paper-low-random.onnx",
    ]


@unverified()
def test_a_bundle_is_written_to_the_given_path_and_replaces_a_file(home: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "folder" / "mine.onnx"
    output.parent.mkdir(parents=True)
    output.write_bytes(b"old")
    path, metadata = export_bundle(replace(RANDOM, layers=("low",)), output, overwrite=True)
    assert path == output
    assert metadata_of(output.read_bytes()) == metadata
    assert list(output.parent.iterdir()) == [output]
    assert not home.exists()


def test_a_file_at_the_given_path_is_replaced_only_on_request(tmp_path: Path) -> None:
    output = tmp_path / "mine.onnx"
    output.write_bytes(b"old")
    with pytest.raises(BundleOutputError, match=r"mine\.onnx exists: choose another --output, or replace it with"):
        export_bundle(replace(RANDOM, layers=("low",)), output)
    assert output.read_bytes() == b"old"


@unverified()
def test_a_file_that_appears_during_an_export_stays(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    with pytest.raises(BundleOutputError, match=r"mine\.onnx exists: choose another --output"):
        export_bundle(
            replace(RANDOM, layers=("low",)),
            path,
            on_stage=lambda stage: path.write_bytes(b"other") if "tracing" in stage else None,
        )
    assert path.read_bytes() == b"other"


@unverified()
@pytest.mark.parametrize("name", ["new", "folder.onnx"])
def test_a_bundle_in_a_given_folder_has_its_own_name(name: str, tmp_path: Path) -> None:
    if name != "new":
        (tmp_path / name).mkdir()
    request = replace(RANDOM, layers=("low",), objective="l2")
    path, metadata = export_bundle(request, tmp_path / name)
    assert path == tmp_path / name / "tiny-low-random-l2.onnx"
    assert metadata_of(path.read_bytes()) == metadata
    with pytest.raises(BundleOutputError, match=r"tiny-low-random-l2\.onnx exists"):
        export_bundle(request, tmp_path / name)


def test_an_output_of_another_kind_is_refused_before_the_work(tmp_path: Path) -> None:
    stages: list[str] = []
    with pytest.raises(BundleOutputError, match=r"mine\.pt: bundles are \.onnx files: choose a name that ends in"):
        export_bundle(RANDOM, tmp_path / "mine.pt", stages.append)
    assert not stages
    assert list(tmp_path.iterdir()) == []


def test_a_border_that_leaves_nothing_is_refused_with_the_largest_that_works() -> None:
    stages: list[str] = []
    with pytest.raises(
        ExportError, match=r"a border of 100 .* a picture of 512×512 pixels: choose --border 30 or less"
    ):
        make_bundle(replace(RANDOM, border=100), stages.append)
    assert len(stages) == 1
    with pytest.raises(ExportError, match="choose --border 30 or less"):
        make_bundle(replace(RANDOM, border=31))


@unverified()
def test_without_a_border_a_network_may_need_larger_pictures(tmp_path: Path) -> None:
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.AveragePooling2D(600, name="mean")(image)).save(tmp_path / "large.keras")
    request = ExportRequest(own_backbone(tmp_path / "large.keras", "unit"), ("mean",))
    assert make_bundle(request)[1].smallest_size == (600, 600)
    with pytest.raises(ExportError, match="choose --border 0 or less"):
        make_bundle(replace(request, border=1))
    forward = bundle_module.fold(bundle_module.load(TINY, "random", 0).model)
    assert forward.smallest_size(LAYERS, 30) <= 512 < forward.smallest_size(LAYERS, 31)


@pytest.mark.parametrize("form", ["portable", "blocked", "channels_last"])
def test_nothing_is_written_when_a_form_of_the_graph_is_wrong(
    form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output = tmp_path / "mine.onnx"
    output.write_bytes(b"old")
    right = bundle_module.convert

    def wrong(*arguments: object, **options: bool) -> dict[str, onnx.ModelProto]:
        models = right(*arguments, **options)
        kernel = next(t for t in models[form].graph.initializer if t.name == "conv2d/kernel")
        kernel.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(kernel), kernel.name))
        return models

    monkeypatch.setattr(bundle_module, "convert", wrong)
    with pytest.raises(VerificationError):
        export_bundle(replace(RANDOM, layers=("low",)), output, overwrite=True)
    assert output.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["mine.onnx"]


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    stages: list[str] = []
    with pytest.raises(ExportError, match=r"cannot write into .*file.*choose another --output"):
        export_bundle(RANDOM, tmp_path / "file" / "mine.onnx", stages.append)
    assert not stages


def kinds_of(bundle: bytes) -> list[Counter[str]]:
    """Counts the operators of each form; their order depends on tf2onnx."""
    models = (onnx.load_from_string(data) for data in (bundle, *(model_to_open(bundle, form, ()) for form in FORMS)))
    return [Counter(node.op_type for node in model.graph.node) for model in models]


def test_the_committed_tiny_bundle_equals_a_fresh_export(tiny_path: Path, tiny_bundle: bytes) -> None:
    stale = f"tests/data/tiny.onnx is out of date: rebuild it with `{COMMAND}`"
    committed, fresh = (onnx.load_from_string(bundle) for bundle in (tiny_path.read_bytes(), tiny_bundle))
    facts, expected = (metadata_of(bundle) for bundle in (tiny_path.read_bytes(), tiny_bundle))
    kinds, expected_kinds = (kinds_of(bundle) for bundle in (tiny_path.read_bytes(), tiny_bundle))
    assert kinds == expected_kinds, stale
    arrays, expected_arrays = (
        {
            t.name: onnx.numpy_helper.to_array(t)
            for t in model.graph.initializer
            if t.name.endswith(("/kernel", "/bias"))
        }
        for model in (committed, fresh)
    )
    assert arrays.keys() == expected_arrays.keys(), stale
    for name, array in arrays.items():
        np.testing.assert_allclose(array, expected_arrays[name], rtol=1e-5, atol=1e-7, err_msg=stale)
    # versions, rounding and therefore the hash of the random weights may differ between machines
    same = {"exporter": {}, "verification": (), "memory": None, "weights": replace(facts.weights, sha256="")}
    assert replace(facts, **same) == replace(expected, **same), stale
    pictures, expected_pictures = ([(c.picture, c.climbed) for c in m.verification] for m in (facts, expected))
    assert pictures == expected_pictures, stale


def test_the_committed_tiny_bundle_is_small_and_valid(tiny_path: Path) -> None:
    data = tiny_path.read_bytes()
    assert len(data) < 100_000
    onnx.checker.check_model(data, full_check=True)
    assert len(metadata_of(data).weights.sha256) == len(hashlib.sha256().hexdigest())
