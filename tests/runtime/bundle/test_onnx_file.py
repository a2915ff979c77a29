"""ONNX files that are refused as bundles, and the changes that are made to those that are loaded, all as bytes."""

from __future__ import annotations

import base64
import random
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from foreign_files import FOREIGN, altered, external, nested
from pictures_fixture import MEAN, TINY_BYTES, bundle_bytes, facts, node

from onnxdream.models.assembly import Assembled
from onnxdream.models.contract import (
    BLOCKED,
    CHANNELS_LAST,
    BundleError,
    BundleFormatError,
    BundleVersionError,
    form_key,
)
from onnxdream.runtime import Bundle
from onnxdream.runtime.bundle.onnx_file import model_to_open, read_model_file
from onnxdream.runtime.provider.onnx_graph import message_class


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_refused_in_one_line_with_the_reason(name: str) -> None:
    data, words = FOREIGN[name]
    with pytest.raises(BundleError) as refused:
        Bundle.load(data)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("bundle: ")


@pytest.mark.parametrize("name", ["newer contract", "older contract"])
def test_a_contract_of_another_version_is_an_error_of_its_own(name: str) -> None:
    with pytest.raises(BundleVersionError):
        Bundle.load(FOREIGN[name][0])


def test_plain_operators_under_either_name_of_their_domain_are_accepted() -> None:
    plain = altered(lambda m: m.graph.node.add(op_type="Relu", domain="ai.onnx"))
    assert "onnxdream" in read_model_file(plain).metadata


def test_subgraphs_of_plain_operators_are_accepted() -> None:
    assert "onnxdream" in read_model_file(altered(lambda m: nested(m, 3).node.add(op_type="Relu"))).metadata


def test_the_reduced_schema_loses_nothing() -> None:
    same = altered(lambda model: None)  # the same fields, in another order
    assert sorted(same) == sorted(TINY_BYTES)


def test_a_handmade_file_is_read_as_it_was_written() -> None:
    data = bundle_bytes([*MEAN, node("Identity", "image", "gradient")])
    assert Bundle.load(data).metadata == facts()


def test_every_truncation_is_refused() -> None:
    lengths = {*range(0, len(TINY_BYTES), 211), *range(200), *range(len(TINY_BYTES) - 200, len(TINY_BYTES))}
    for length in sorted(lengths):
        with pytest.raises(BundleError):
            Bundle.load(TINY_BYTES[:length])


def test_random_bytes_are_refused() -> None:
    source = random.Random(0)
    for _ in range(300):
        with pytest.raises(BundleFormatError):
            Bundle.load(source.randbytes(source.randrange(1, 2000)))


def test_damaged_bytes_are_accepted_or_refused_and_nothing_else() -> None:
    source = random.Random(1)
    refused = 0
    for _ in range(400):
        damaged = bytearray(TINY_BYTES)
        for _ in range(20):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        try:
            Bundle.load(bytes(damaged))
        except BundleError:
            refused += 1
    assert refused > 100


def with_form(change: Callable[[Any], None]) -> bytes:
    """The tiny bundle with a change to the graph of its blocked form."""

    def changed(model: Any) -> None:
        (entry,) = [entry for entry in model.metadata_props if entry.key == form_key(BLOCKED)]
        graph = message_class("Graph")()
        graph.ParseFromString(zlib.decompress(base64.b64decode(entry.value)))
        change(graph)
        entry.value = base64.b64encode(zlib.compress(graph.SerializeToString())).decode()

    return altered(changed)


def with_entry(value: str) -> bytes:
    def changed(model: Any) -> None:
        model.metadata_props[1].value = value

    return altered(changed)


def gradients(model: bytes, picture: Any) -> Any:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["losses", "gradient"], {"image": picture, "layer_weights": np.array([1, -2, 3], np.float32)})


@pytest.mark.parametrize("form", [BLOCKED, CHANNELS_LAST])
@pytest.mark.parametrize("size", [(19, 19), (40, 53), (67, 32)])
def test_the_forms_of_a_bundle_compute_the_same(size: tuple[int, int], form: str) -> None:
    other = model_to_open(TINY_BYTES, form, ())
    assert other != TINY_BYTES
    picture = np.random.default_rng(2).uniform(-1, 1, (1, 3, *size)).astype(np.float32)
    picture[..., size[1] // 2 :] = 0.25  # ties
    (losses, gradient), (plain_losses, plain) = gradients(other, picture), gradients(TINY_BYTES, picture)
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-5)
    np.testing.assert_allclose(gradient, plain, atol=1e-5 * np.abs(plain).max())


def test_the_weights_of_a_form_are_those_of_the_file() -> None:
    model, blocked = (message_class("Model")() for _ in range(2))
    model.ParseFromString(TINY_BYTES)
    blocked.ParseFromString(model_to_open(TINY_BYTES, BLOCKED, ()))
    kept = {tensor.name: tensor for tensor in blocked.graph.initializer}
    kernels = [tensor for tensor in model.graph.initializer if tensor.name.endswith("/kernel")]
    assert kernels
    assert all(kept[tensor.name] == tensor for tensor in kernels)


def test_without_the_form_asked_for_the_graph_stays_portable() -> None:
    models = [message_class("Model")() for _ in range(3)]
    for model, data in zip(
        models, (TINY_BYTES, *(model_to_open(TINY_BYTES, form, ()) for form in (None, "another"))), strict=True
    ):
        model.ParseFromString(data)
    assert models[0].graph == models[1].graph == models[2].graph


BROKEN_FORMS: dict[str, tuple[bytes, str]] = {
    "no base64": (with_entry("§"), "damaged"),
    "no zlib": (with_entry("AAAA"), "damaged"),
    "cut short": (with_entry(base64.b64encode(zlib.compress(b"graph" * 99)[:-9]).decode()), "cut short"),
    "a bomb": (with_entry(base64.b64encode(zlib.compress(bytes(2**26 + 1))).decode()), "far too large"),
    "no graph": (with_entry(base64.b64encode(zlib.compress(b"\xff" * 9)).decode()), "not an ONNX file"),
    "foreign operator": (with_form(lambda g: g.node.add(op_type="Gelu", domain="com.microsoft")), "com.microsoft"),
    "external data": (with_form(lambda g: external(g.initializer.add(name="x", data_type=1))), "data in other files"),
    "a missing weight": (with_form(lambda g: g.initializer.add(name="nowhere")), "lacks a weight"),
}


@pytest.mark.parametrize("name", BROKEN_FORMS)
def test_a_form_that_is_broken_or_unsafe_is_refused(name: str) -> None:
    data, reason = BROKEN_FORMS[name]
    with pytest.raises(BundleFormatError, match=reason):
        model_to_open(data, BLOCKED, ())


def inputs(model: bytes) -> tuple[set[str], set[str]]:
    """The names of the inputs that must be fed, and of those that may be."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return {value.name for value in session.get_inputs()}, {
        value.name for value in session.get_overridable_initializers()
    }


DEFAULTS = {"channel_weights", "position"}


@pytest.mark.parametrize("source", [TINY_BYTES, Bundle.built_in().source], ids=["a file", "assembled"])
@pytest.mark.parametrize("form", [None, BLOCKED])
def test_an_input_without_its_default_must_be_fed(source: bytes | Assembled, form: str | None) -> None:
    assert inputs(model_to_open(source, form, ())) == ({"image", "layer_weights"}, DEFAULTS)
    one = model_to_open(source, form, {"position"})
    assert inputs(one) == ({"image", "layer_weights", "position"}, {"channel_weights"})
    assert inputs(model_to_open(source, form, DEFAULTS)) == ({"image", "layer_weights"} | DEFAULTS, set())


@pytest.mark.parametrize("source", [TINY_BYTES, Bundle.built_in().source], ids=["a file", "assembled"])
@pytest.mark.parametrize("form", [None, BLOCKED])
def test_an_input_that_is_fixed_becomes_a_constant(source: bytes | Assembled, form: str | None) -> None:
    values = np.array([[0.2, 0.3, 0.1], [0.7, 0.5, 0.2], [0.4, 0.9, 0.0]], np.float32)
    fixed = model_to_open(source, form, {"channel_weights"}, {"position": values})
    assert inputs(fixed) == ({"image", "layer_weights", "channel_weights"}, set())
    session, other = (
        ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        for model in (fixed, model_to_open(source, form, DEFAULTS))
    )
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 80, 96)).astype(np.float32)
    channels = next(value for value in session.get_inputs() if value.name == "channel_weights").shape[1]
    feed = {"image": image, "layer_weights": np.ones(3, np.float32)}
    feed["channel_weights"] = np.random.default_rng(1).uniform(0, 1, (1, channels)).astype(np.float32)
    expected = other.run(None, {**feed, "position": values})
    for one, two in zip(session.run(None, feed), expected, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5 * np.abs(two).max())


@pytest.mark.parametrize(("name", "shape"), [("places", (3, 3)), ("position", (3, 2)), ("position", (9,))])
def test_only_an_input_of_that_shape_can_be_fixed(name: str, shape: tuple[int, ...]) -> None:
    reason = f"lacks an input {name} of {' × '.join(map(str, shape))} numbers: export it again"
    with pytest.raises(BundleFormatError, match=reason):
        model_to_open(TINY_BYTES, None, (), {name: np.zeros(shape, np.float32)})


def test_without_the_defaults_the_model_computes_the_same() -> None:
    before = ort.InferenceSession(TINY_BYTES, providers=["CPUExecutionProvider"])
    after = ort.InferenceSession(model_to_open(TINY_BYTES, None, DEFAULTS), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 32, 40)).astype(np.float32)
    feed = {"image": image, "layer_weights": np.ones(3, np.float32)}
    for value in before.get_overridable_initializers():
        shape = [1 if isinstance(side, str) else side for side in value.shape]
        feed[value.name] = np.random.default_rng(1).uniform(0, 1, shape).astype(np.float32)
    assert feed.keys() == {"image", "layer_weights"} | DEFAULTS
    for one, two in zip(before.run(None, feed), after.run(None, feed), strict=True):
        np.testing.assert_array_equal(one, two)


def test_removing_a_default_changes_nothing_else() -> None:
    whole, without = (len(model_to_open(TINY_BYTES, None, names)) for names in ((), DEFAULTS))
    assert 0 < whole - without < 500
