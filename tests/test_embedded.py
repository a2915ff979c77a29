"""The embedded default: the bundle that ships is what the exporter makes of the weights that are committed."""
# ruff: noqa: E402

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import onnx

from onnxdream.export.bundle import Request, make_bundle
from onnxdream.export.weights import MOTIFS
from onnxdream.models.backbones import find_backbone
from onnxdream.models.contract import BLOCKED, CHANNELS_LAST, METADATA_KEY, Metadata, form_key
from onnxdream.models.library import EMBEDDED

LAYERS = ("mixed0", "mixed1", "mixed2")
STALE = (
    "models/embedded/v3-low.onnx is out of date: rebuild it with "
    "`python cli.py export --model v3 --weights motifs --output models/embedded/v3-low.onnx`"
)


@pytest.fixture(scope="module")
def fresh() -> bytes:
    """A bundle exported from the committed weights just now."""
    return make_bundle(Request(find_backbone("v3"), LAYERS, weights="motifs"))[0]


def metadata_of(bundle: bytes) -> Metadata:
    entry, *forms = onnx.load_from_string(bundle).metadata_props
    assert [form.key for form in forms] == [form_key(BLOCKED), form_key(CHANNELS_LAST)]
    assert entry.key == METADATA_KEY
    return Metadata.from_json(entry.value)


def test_the_shipped_bundle_is_small_and_tells_its_weights() -> None:
    assert EMBEDDED.stat().st_size <= 4.5e6
    facts = metadata_of(EMBEDDED.read_bytes())
    assert facts.layer_names == LAYERS
    assert facts.weights.source == "motifs"
    assert facts.weights.sha256 == hashlib.sha256(Path(MOTIFS).read_bytes()).hexdigest()
    assert facts.memory is not None
    assert 100 < facts.memory.per_pixel < 10_000


def test_its_weights_are_those_of_a_fresh_export_bit_for_bit(fresh: bytes) -> None:
    shipped, expected = (
        {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(bundle).graph.initializer}
        for bundle in (EMBEDDED.read_bytes(), fresh)
    )
    named = [
        name for name in expected if name.endswith(("/kernel", "/bias"))
    ]  # the others are constants that tf2onnx numbers
    assert len(named) == 52, "26 convolutions up to mixed2, each a kernel and a bias"
    for name in named:
        assert np.array_equal(shipped[name], expected[name]), f"{name}: {STALE}"


def test_its_operators_and_its_contract_are_those_of_a_fresh_export(fresh: bytes) -> None:
    shipped, expected = (onnx.load_from_string(bundle) for bundle in (EMBEDDED.read_bytes(), fresh))
    kinds, expected_kinds = (Counter(node.op_type for node in model.graph.node) for model in (shipped, expected))
    assert kinds == expected_kinds, STALE
    for part in ("input", "output"):
        assert list(getattr(shipped.graph, part)) == list(getattr(expected.graph, part)), STALE
    assert list(shipped.opset_import) == list(expected.opset_import), STALE
    assert shipped.ir_version == expected.ir_version, STALE


def test_its_outputs_are_those_of_a_fresh_export(fresh: bytes) -> None:
    rng = np.random.default_rng(0)
    sessions = [
        ort.InferenceSession(bundle, providers=["CPUExecutionProvider"]) for bundle in (EMBEDDED.read_bytes(), fresh)
    ]
    for height, width in ((27, 27), (64, 81), (97, 50)):
        feed = {
            "image": rng.uniform(-1, 1, (2, 3, height, width)).astype(np.float32),
            "layer_weights": np.array([1.0, -0.5, 2.0], np.float32),
        }
        shipped, expected = (session.run(None, feed) for session in sessions)
        for found, wanted in zip(shipped, expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6 * float(np.abs(wanted).max()), err_msg=STALE)
