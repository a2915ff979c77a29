"""The built-in bundles are what the exporter makes from the committed weights now."""
# ruff: noqa: E402

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import onnx
from exports import unverified
from plain_session import open_plain
from tiny import LAYERS, LITE_LAYERS, TINY, TINY_LITE

from onnxdream.export.builtin import export_request, strip_weights, weight_rules
from onnxdream.export.bundle import ExportRequest, make_bundle
from onnxdream.export.folding.fold import fold
from onnxdream.export.forward import Convolution
from onnxdream.export.operators import bias_name, kernel_name
from onnxdream.export.rewriting import rewritten
from onnxdream.export.weights import LoadedModel, load
from onnxdream.models.assembly import (
    BUILT_IN,
    FOLDER,
    BuiltIn,
    Recipe,
    WeightFile,
    WeightRule,
    assemble,
    folded_weights,
    load_built_in,
)
from onnxdream.models.backbones import Backbone, find_backbone
from onnxdream.models.contract import BLOCKED, CHANNELS_LAST, METADATA_KEY, Metadata, form_key

STALE = "the built-in bundles are out of date: rebuild them with `python -m onnxdream.export.builtin`"
WEIGHTS = FOLDER / "v3-imagenet-mixed5.npz"
# The number of convolutions of each built-in bundle.
CONVOLUTIONS = {"v3-low": 26, "v3-mid": 50, "v3-mid-l2": 50, "lite0": 33, "lite0-high": 42}


@cache
def fresh(built_in: BuiltIn) -> bytes:
    """The bundle, exported now from the committed weights; other tests compare it with TensorFlow."""
    with unverified():
        return make_bundle(export_request(built_in))[0]


@cache
def committed(built_in: BuiltIn) -> bytes:
    """The bundle, assembled from the committed files."""
    return load_built_in(built_in.path).whole


each = pytest.mark.parametrize("built_in", BUILT_IN, ids=lambda built_in: built_in.name)


def metadata_of(bundle: bytes) -> Metadata:
    entry, *forms = onnx.load_from_string(bundle).metadata_props
    assert [form.key for form in forms] == [form_key(BLOCKED), form_key(CHANNELS_LAST)]
    assert entry.key == METADATA_KEY
    return Metadata.from_json(entry.value)


@each
def test_the_metadata_describes_layers_weights_and_memory(built_in: BuiltIn) -> None:
    facts = metadata_of(committed(built_in))
    weights = find_backbone(built_in.backbone).built_in
    assert weights
    assert (facts.backbone, facts.layer_names) == (built_in.backbone, built_in.layers)
    assert (facts.objective, facts.border, facts.class_names) == (built_in.objective, 0, ())
    assert (facts.weights.source, facts.weights.licence) == (weights.source, weights.licence)
    assert facts.weights.sha256 == hashlib.sha256((FOLDER / weights.file).read_bytes()).hexdigest()
    assert 100 < facts.memory.per_pixel < 10_000


def test_the_titles_of_the_weights_tell_8_bits_from_16() -> None:
    titles = {built_in.backbone: metadata_of(committed(built_in)).weights.title for built_in in BUILT_IN}
    assert titles == {"v3": "ImageNet (8-bit)", "lite0": "ImageNet"}


def test_depthwise_convolutions_have_rules_of_their_own() -> None:
    recipe = Recipe.from_json((FOLDER / "lite0-high.json").read_text(encoding="utf-8"))
    depthwise = {rule.block for rule in recipe.rules if rule.depthwise}
    assert depthwise == {f"block{number:02d}/depthwise" for number in range(14)}
    assert {rule.convolution for rule in recipe.rules if rule.depthwise} == {b.replace("/", "_") for b in depthwise}


@each
def test_the_estimate_of_memory_is_above_the_measurement(built_in: BuiltIn) -> None:
    estimated, measured = (metadata_of(bundle).memory for bundle in (fresh(built_in), committed(built_in)))
    assert estimated.fixed > measured.fixed
    assert estimated.per_pixel > measured.per_pixel


@each
def test_the_weights_equal_those_of_a_fresh_export_bit_for_bit(built_in: BuiltIn) -> None:
    found, expected = (
        {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(bundle).graph.initializer}
        for bundle in (committed(built_in), fresh(built_in))
    )
    # The other initializers are constants, which tf2onnx names by numbers.
    named = [name for name in expected if name.endswith(("/kernel", "/bias"))]
    assert len(named) == 2 * CONVOLUTIONS[built_in.name], "a kernel and a bias of each convolution"
    for name in named:
        assert np.array_equal(found[name], expected[name]), f"{name}: {STALE}"
        assert found[name].dtype == np.float32


@each
def test_operators_inputs_and_outputs_equal_those_of_a_fresh_export(built_in: BuiltIn) -> None:
    found, expected = (onnx.load_from_string(bundle) for bundle in (committed(built_in), fresh(built_in)))
    onnx.checker.check_model(found)
    kinds, expected_kinds = (Counter(node.op_type for node in model.graph.node) for model in (found, expected))
    assert kinds == expected_kinds, STALE
    for part in ("input", "output"):
        assert list(getattr(found.graph, part)) == list(getattr(expected.graph, part)), STALE
    assert list(found.opset_import) == list(expected.opset_import), STALE
    assert found.ir_version == expected.ir_version, STALE


@each
def test_the_outputs_equal_those_of_a_fresh_export(built_in: BuiltIn) -> None:
    rng = np.random.default_rng(0)
    sessions = [open_plain(bundle) for bundle in (committed(built_in), fresh(built_in))]
    side = max(metadata_of(committed(built_in)).smallest_size)
    weights = np.array([1.0, -0.5, 2.0, 0.5, 1.0, -1.0, 0.7][: len(built_in.layers)], np.float32)
    for height, width in ((side, side), (81, 97), (97, 80)):
        feed = {"image": rng.uniform(-1, 1, (2, 3, height, width)).astype(np.float32), "layer_weights": weights}
        for found, wanted in zip(*(session.run(None, feed) for session in sessions), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6 * float(np.abs(wanted).max()), err_msg=STALE)


# The mechanism, on a network with every kind of convolution: with its own name, a bias, a gamma, a scale


def numbered(layers: Iterator[str]) -> dict[str, str]:
    """Numbers layers in two digits: layer -> block."""
    return {layer: f"{number:02d}" for number, layer in enumerate(layers)}


@pytest.mark.parametrize(
    ("backbone", "layers", "epsilons", "scales"),
    [(TINY, LAYERS, {True, False}, {1.0, 0.17}), (TINY_LITE, LITE_LAYERS, {True, False}, {1.0})],
    ids=["tiny", "tiny-lite"],
)
def test_an_assembled_network_equals_the_exported_one(
    backbone: Backbone, layers: tuple[str, ...], epsilons: set[bool], scales: set[float]
) -> None:
    request = ExportRequest(backbone, layers, weights="random")
    loaded = load(backbone, "random", 0)
    forward = rewritten(fold(loaded.model, backbone.preprocessing).cut(layers), layers)
    blocks = numbered(op.origin.layer for op in forward.operators if isinstance(op, Convolution))
    weights = WeightFile(saved(loaded, blocks))
    rules = weight_rules(forward, replace(loaded, block_of=blocks))
    assert {rule.epsilon is None for rule in rules} == epsilons
    assert {rule.scale for rule in rules} == scales
    assert any(rule.depthwise for rule in rules) == (backbone is TINY_LITE)
    for op, rule in zip((op for op in forward.operators if isinstance(op, Convolution)), rules, strict=True):
        kernel, bias = folded_weights(weights, rule)
        np.testing.assert_array_equal(kernel, op.kernel.transpose(3, 2, 0, 1))
        np.testing.assert_array_equal(bias, op.bias)
        assert rule.convolution == op.name
    with unverified():
        bundle, _ = make_bundle(request)
    model, graph_at = strip_weights(bundle, forward)
    assert len(model) < len(bundle) - sum(folded_weights(weights, rule)[0].nbytes for rule in rules)
    whole, expected = (
        onnx.load_from_string(data) for data in (assemble(model, graph_at, rules, weights).whole, bundle)
    )
    by_name = [{t.name: onnx.numpy_helper.to_array(t) for t in m.graph.initializer} for m in (whole, expected)]
    assert by_name[0].keys() == by_name[1].keys()
    assert all(np.array_equal(by_name[0][name], by_name[1][name]) for name in by_name[0])
    for model in (whole, expected):
        del model.graph.initializer[:]
    assert whole == expected


def saved(loaded: LoadedModel, blocks: dict[str, str]) -> bytes:
    """Saves the convolutions and normalizations of a model as a weight file; `blocks` maps layers to blocks."""
    import io

    arrays = {}
    for layer, block in blocks.items():
        convolution = loaded.model.get_layer(layer)
        arrays[f"{block}/kernel"] = np.asarray(convolution.kernel)
        if convolution.use_bias:
            arrays[f"{block}/bias"] = np.asarray(convolution.bias)
        behind = convolution._outbound_nodes[0].operation
        if type(behind).__name__ == "BatchNormalization":
            names = {"gamma": "gamma", "beta": "beta", "moving_mean": "mean", "moving_variance": "variance"}
            arrays |= {f"{block}/{names[v.name]}": np.asarray(v) for v in behind.weights}
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_the_exporter_dequantises_the_committed_weights() -> None:
    """Compares every kernel with plain arithmetic on the arrays of the file."""
    loaded = load(find_backbone("v3"), "builtin", 0)
    with np.load(WEIGHTS) as file:
        for layer, block in (loaded.block_of or {}).items():
            kernel = file[f"{block}/kernel"].astype(np.float32) * file[f"{block}/kernel_scale"]
            kernel = (kernel + file[f"{block}/kernel_least"]).astype(np.float32)
            np.testing.assert_array_equal(np.asarray(loaded.model.get_layer(layer).kernel), kernel)
    assert len(loaded.block_of or {}) == 50


def test_assembled_weights_have_the_exporters_names() -> None:
    (op,) = (
        op
        for op in fold(load(TINY, "random", 0).model).operators
        if isinstance(op, Convolution) and op.name == "conv2d"
    )
    rule = WeightRule(op.name, "00")
    assert (kernel_name(op), bias_name(op)) == (f"{rule.convolution}/kernel", f"{rule.convolution}/bias")
