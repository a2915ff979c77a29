"""A bundle from a file or from bytes, and its sessions."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from foreign_files import BROKEN, GRADIENT_NODE
from numpy.typing import NDArray
from pictures_fixture import (
    MEAN,
    TINY_BYTES,
    bundle_bytes,
    facts,
    node,
)

from onnxdream.models.arrays import Image
from onnxdream.models.contract import (
    GRADIENT,
    IMAGE,
    LAYER_WEIGHTS,
    LOSSES,
    BundleError,
    BundleFormatError,
    BundleNotFoundError,
)
from onnxdream.runtime import Bundle, dream
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Session, Sessions, kernel_counts
from onnxdream.runtime.errors import ComputationError, SettingsError
from onnxdream.runtime.provider.cards import PROVIDERS
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.onnx_graph import message_class
from onnxdream.runtime.provider.tensors import Device, Tensor
from onnxdream.runtime.settings.settings import Precision, Settings

OBJECTIVE = Objective(np.array([1.0, -0.5, 2.0], np.float32))
ONE = Objective(np.ones(1, np.float32))


def noise_image(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).uniform(-1, 1, (3, height, width)).astype(np.float32)


def session_of(data: bytes, height: int = 4, width: int = 5) -> Session:
    return Session(Bundle.load(data), height, width, Machine("cpu", 1))


def test_a_bundle_has_the_file_s_bytes_and_metadata(tiny_path: Path) -> None:
    bundle = Bundle.load(tiny_path)
    assert bundle.path == tiny_path
    assert bundle.name == "tiny.onnx"
    assert bundle.data == TINY_BYTES
    assert bundle.sha256 == hashlib.sha256(TINY_BYTES).hexdigest()
    assert bundle.metadata.layer_names == ("low", "mid", "high")
    assert bundle.metadata.smallest_size == (19, 19)
    assert bundle.metadata.verification


def test_bytes_and_a_string_are_loaded_like_a_path(tiny_path: Path) -> None:
    from_bytes = Bundle.load(TINY_BYTES)
    assert (from_bytes.path, from_bytes.name) == (None, "bundle")
    assert from_bytes.metadata == Bundle.load(str(tiny_path)).metadata


def test_a_session_computes_what_the_file_computes() -> None:
    image = noise_image(33, 46)
    losses, gradient = session_of(TINY_BYTES, 33, 46).evaluate(image, OBJECTIVE)
    plain = ort.InferenceSession(TINY_BYTES, providers=["CPUExecutionProvider"])
    expected = plain.run(["losses", "gradient"], {"image": image[None], "layer_weights": OBJECTIVE.layer_weights})
    np.testing.assert_allclose(losses, expected[0][0], rtol=1e-5)
    np.testing.assert_allclose(gradient, expected[1][0], atol=1e-6 * np.abs(expected[1]).max())


def test_the_gradient_is_that_of_the_weighted_losses() -> None:
    session = session_of(TINY_BYTES, 32, 40)
    image = noise_image(32, 40)
    _, gradient = session.evaluate(image, OBJECTIVE)
    direction = gradient / np.abs(gradient).max()
    step = np.float32(2e-3)
    ahead, behind = (
        session.evaluate(image + sign * step * direction, OBJECTIVE)[0] @ OBJECTIVE.layer_weights for sign in (1, -1)
    )
    assert (ahead - behind) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=0.02)


def test_a_session_is_kept_for_its_size_and_only_one_is_alive() -> None:
    bundle = Bundle.load(TINY_BYTES)
    sessions = Sessions(bundle)
    first = sessions.get(32, 40, Machine("cpu", 1))
    assert sessions.get(32, 40, Machine("cpu", 1)) is first
    other = sessions.get(40, 32, Machine("cpu", 1))
    assert other is not first
    assert sessions.get(32, 40, Machine("cpu", 1)) is not first
    assert sessions.get(32, 40, Machine("cpu", 2)) is not other
    last = sessions.get(32, 40, Machine("cpu", 2))
    assert sessions.get(32, 40, Machine("cpu", 2), takes_positions=True) is not last


def test_a_session_is_pinned_to_its_size() -> None:
    with pytest.raises(ComputationError, match="cannot compute"):
        session_of(TINY_BYTES, 32, 40).evaluate(noise_image(33, 40), OBJECTIVE)


def bundle_in(precision: str) -> Bundle:
    return Bundle.load(bundle_bytes([*MEAN, GRADIENT_NODE], metadata=replace(facts(), precision=precision).to_json()))


@pytest.mark.parametrize(
    ("own", "asked", "fits"),
    [
        ("fp32", "fp32", True), ("fp32", "bf16", True), ("fp32", "fp16", False), ("fp32", "mixed", False),
        ("fp16", "fp16", True), ("fp16", "fp32", False), ("fp16", "bf16", False), ("mixed", "mixed", True),
        ("mixed", "fp16", False),
    ],
)  # fmt: skip
def test_a_run_needs_a_bundle_of_its_precision(own: str, asked: Precision, fits: bool) -> None:
    bundle = bundle_in(own)
    assert bundle.precision == own
    if fits:
        bundle.require_precision(asked)
        return
    with pytest.raises(SettingsError) as refused:
        bundle.require_precision(asked)
    needed = "fp32" if asked == "bf16" else asked
    assert f"bundle is a bundle in {own}, but a run in {asked} needs one in {needed}" in str(refused.value)
    assert f"choose --precision {own}, or export one: onnxdream export --model hand" in str(refused.value)
    assert str(refused.value).endswith(f" --precision {needed}") == (needed != "fp32")


def test_a_dream_refuses_a_bundle_of_another_precision_than_its_settings() -> None:
    with pytest.raises(SettingsError, match="needs one in fp32"):
        dream(np.zeros((8, 8, 3), np.uint8), bundle_in("fp16"), Settings(steps=1))


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(BundleFormatError, match="its precision 'fp8' is unknown: update onnxdream"):
        _ = bundle_in("fp8").precision


def test_on_the_cpu_every_kernel_of_a_gradient_is_the_cpu_s() -> None:
    bundle = Bundle.load(TINY_BYTES)
    assert set(kernel_counts(bundle, 32, 40, Machine("cpu", 1))) == {"cpu"}
    assert not Sessions(bundle).builds_engine(32, 40, Machine("cpu", 1))
    assert Sessions(bundle).builds_engine(32, 40, Machine("tensorrt", 1))


@pytest.mark.skipif(
    PROVIDERS["openvino"].ort_name not in ort.get_available_providers(),
    reason="needs a provider that folds default inputs into the graph: OpenVINO",
)
def test_a_provider_that_folds_default_inputs_still_uses_those_that_it_is_fed() -> None:
    bundle, image, layers = Bundle.load(TINY_BYTES), noise_image(40, 48), OBJECTIVE.layer_weights
    channels = np.random.default_rng(3).uniform(-1, 1, sum(layer.channels for layer in bundle.metadata.layers))
    positions = np.array([[0.2, 0.3, 0.1], [0.7, 0.5, 0.2], [0.4, 0.9, 0.0]], np.float32)
    for objective in (OBJECTIVE, Objective(layers, channels.astype(np.float32)), Objective(layers, None, positions)):
        expected = Session(bundle, 40, 48, Machine("cpu", 1), takes_positions=True).evaluate(image, objective)
        found = Session(bundle, 40, 48, Machine("openvino", 1), takes_positions=True).evaluate(image, objective)
        for one, two in zip(expected, found, strict=True):
            np.testing.assert_allclose(two, one, atol=1e-5 * np.abs(one).max())
    means = [Session(bundle, 40, 48, Machine(name, 1)).channel_means(image, OBJECTIVE) for name in ("cpu", "openvino")]
    np.testing.assert_allclose(means[1], means[0], atol=1e-5)


def test_default_inputs_are_bound_in_the_memory_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise they would be copied to a GPU at every step."""
    made = []

    def tensor(device: Device, values: NDArray[Any]) -> Tensor:
        made.append((device.name, values.shape))
        return Tensor.on_host(values)

    session = Session(Bundle.load(TINY_BYTES), 24, 32, Machine("cpu", 1), takes_positions=True)
    monkeypatch.setattr(Device, "tensor", tensor)
    monkeypatch.setattr(session, "_machine", Machine("cuda", 1))
    image = Tensor.on_host(noise_image(24, 32)[None])
    weights = Tensor.on_host(OBJECTIVE.layer_weights)
    losses, gradient = (Tensor.on_host(np.empty(shape, np.float32)) for shape in ((1, 3), (1, 3, 24, 32)))
    bound = session.bind({IMAGE: image, LAYER_WEIGHTS: weights}, {LOSSES: losses, GRADIENT: gradient})
    bound.run()
    assert [device for device, _ in made] == ["cuda", "cuda"]
    np.testing.assert_array_equal(losses.fetch()[0], session.evaluate(noise_image(24, 32), OBJECTIVE)[0])


def test_each_binding_of_a_tuned_session_has_a_cuda_graph_of_its_own_up_to_a_limit() -> None:
    """Graphs stay in the GPU's memory, and a run whose settings change on the way binds anew each time."""
    session = Session(Bundle.load(TINY_BYTES), 24, 32, Machine("cpu", 1, tune=True))  # without CUDA, no graph is made
    image, weights = Tensor.on_host(noise_image(24, 32)[None]), Tensor.on_host(OBJECTIVE.layer_weights)
    losses, gradient = (Tensor.on_host(np.empty(shape, np.float32)) for shape in ((1, 3), (1, 3, 24, 32)))

    def graph_of_a_new_binding(*, feeds: bool = False) -> str:
        bound = session.bind({IMAGE: image, LAYER_WEIGHTS: weights}, {LOSSES: losses, GRADIENT: gradient})
        if feeds:
            bound.feed({LAYER_WEIGHTS: weights})
        for _ in range(7):
            bound.run()
        assert bound._replay is not None
        return str(bound._replay.next_options().get_run_config_entry("gpu_graph_id"))

    assert [graph_of_a_new_binding() for _ in range(3)] == ["1", "2", "3"]
    assert graph_of_a_new_binding(feeds=True) == "-1"
    assert [graph_of_a_new_binding() for _ in range(10)] == [*map(str, range(5, 13)), "-1", "-1"]
    np.testing.assert_array_equal(losses.fetch()[0], session.evaluate(noise_image(24, 32), OBJECTIVE)[0])


def test_a_damaged_form_is_told_with_the_name_of_the_bundle(tmp_path: Path) -> None:
    model = message_class("Model")()
    model.ParseFromString(TINY_BYTES)
    for entry in model.metadata_props:
        if entry.key != "onnxdream":
            entry.value = "AAAA"
    path = tmp_path / "mine.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BundleFormatError, match=r"^mine\.onnx: a form of its graph is damaged"):
        Session(Bundle.load(path), 24, 32, Machine("cpu", 1))


def test_a_bundle_is_found_by_its_name_as_on_the_command_line(home: Path) -> None:
    """Names are those of the built-in bundles and of the user's library, with or without `.onnx`."""
    built_in = Bundle.built_in("v3-low")
    for name in ("v3-low", "v3-low.onnx", Path("v3-low"), "v3-lo"):
        assert Bundle.load(name).path == built_in.path
    exported = home / "bundles" / "tiny-all-random.onnx"
    exported.parent.mkdir(parents=True)
    exported.write_bytes(TINY_BYTES)
    for name in ("tiny-all-random", "tiny-all-random.onnx", "tiny"):
        assert Bundle.load(name).path == exported


@pytest.mark.parametrize("name", ["lost.onnx", "lost", "folder/lost.onnx"])
def test_a_missing_bundle_is_answered_with_how_to_list_all(name: str, tmp_path: Path) -> None:
    for source in (name, tmp_path / name):
        with pytest.raises(BundleNotFoundError, match=r"no such file, and no bundle .* `info` lists the bundles"):
            Bundle.load(source)
    with pytest.raises(FileNotFoundError):
        Bundle.load(name)


def test_a_folder_is_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match=r"is a folder: give the \.onnx file in it"):
        Bundle.load(tmp_path)


@pytest.mark.parametrize("source", [None, 3, ["v3-low"], bytearray(TINY_BYTES)])
def test_a_source_of_another_type_is_refused_in_one_line(source: Any) -> None:
    with pytest.raises(SettingsError, match=f"a bundle is .* not {type(source).__name__}$"):
        Bundle.load(source)


def test_a_file_larger_than_any_bundle_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(BundleFormatError, match="larger than any bundle"):
        Bundle.load(path)


def test_a_refusal_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bears.onnx"
    path.write_bytes(TINY_BYTES[:1000])
    with pytest.raises(BundleFormatError, match=r"^bears\.onnx: it is not an ONNX file, or it is cut short"):
        Bundle.load(path)


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_breaks_the_contract_is_refused(name: str) -> None:
    with pytest.raises(BundleFormatError) as refused:
        session_of(BROKEN[name]).evaluate(noise_image(4, 5), ONE)
    assert "\n" not in str(refused.value)
    assert "export it again" in str(refused.value)


def test_a_step_that_onnxruntime_cannot_compute_is_reported_in_one_line() -> None:
    nodes = [
        *MEAN,
        node("Cast", "layer_weights", "shape", b"\x0a\x02to\x18\x07\xa0\x01\x02"),
        node("Reshape", "image shape", "line"),
        node("Add", "image line", "gradient"),
    ]
    broken = session_of(bundle_bytes(nodes))
    with pytest.raises(ComputationError) as refused:
        broken.evaluate(noise_image(4, 5), ONE)
    assert "\n" not in str(refused.value)
    assert "--max-size" in str(refused.value)


def test_every_refusal_of_a_bundle_is_a_bundle_error() -> None:
    assert issubclass(BundleNotFoundError, BundleError)
    assert issubclass(BundleFormatError, BundleError)


@pytest.mark.parametrize("source", ["v3-low", "lite0", TINY_BYTES])
def test_a_bundle_can_be_sent_to_another_process(source: str | bytes) -> None:
    bundle = Bundle.load(source)
    sent = pickle.loads(pickle.dumps(bundle))
    assert (sent.sha256, sent.metadata, sent.path) == (bundle.sha256, bundle.metadata, bundle.path)
