"""Built-in bundles are assembled without TensorFlow and onnx, and damaged ones are refused."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from onnxdream.models import assembly
from onnxdream.models.assembly import (
    BUILT_IN,
    DEFAULT,
    FOLDER,
    BuiltIn,
    Recipe,
    WeightFile,
    WeightRule,
    folded_weights,
)
from onnxdream.models.contract import BundleFormatError
from onnxdream.runtime import Bundle
from onnxdream.runtime.bundle.onnx_file import _parsed
from onnxdream.runtime.bundle.sessions import model_for
from onnxdream.runtime.provider.machine import Machine

each = pytest.mark.parametrize("built_in", BUILT_IN, ids=lambda built_in: built_in.name)
loaded = cache(Bundle.built_in)
written = cache(lambda name: Bundle.load(loaded(name).data))


@each
def test_a_built_in_bundle_equals_its_copy_in_a_file_and_has_the_committed_hash(
    built_in: BuiltIn, tmp_path: Path
) -> None:
    bundle, recipe = loaded(built_in.name), Recipe.from_json(built_in.path.read_text(encoding="utf-8"))
    assert (bundle.name, bundle.is_built_in, bundle.metadata.layer_names) == (built_in.name, True, built_in.layers)
    file = tmp_path / "copy.onnx"
    file.write_bytes(bundle.data)
    copy = Bundle.load(file)
    assert (copy.metadata, copy.is_built_in) == (bundle.metadata, False)
    assert hashlib.sha256(copy.data).hexdigest() == copy.sha256 == bundle.sha256 == recipe.sha256


@each
@pytest.mark.parametrize("machine", [Machine("cpu", 1), Machine("openvino", 1), Machine("cuda", 1)])
def test_a_built_in_bundle_and_its_file_give_providers_the_same_graph(built_in: BuiltIn, machine: Machine) -> None:
    """The serialized messages are equal, except for the order of their fields."""
    parsed = [_parsed(model_for(source, machine)) for source in (loaded(built_in.name), written(built_in.name))]
    for part in ("node", "initializer"):
        found, expected = (sorted(m.SerializeToString() for m in getattr(model.graph, part)) for model in parsed)
        assert found == expected
    assert len({tensor.name for tensor in parsed[0].graph.initializer}) == len(parsed[0].graph.initializer)


def test_the_built_in_bundles_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 14e6


def test_a_recipe_survives_a_round_trip_through_json() -> None:
    rules = (
        WeightRule("conv", "00", 0.001),
        WeightRule("residual", "named", scale=0.17),
        WeightRule("d", "1", 1.0, 1, True),
    )
    recipe = Recipe("w.npz", "a", "b", 7, rules)
    assert Recipe.from_json(recipe.to_json()) == recipe


def weight_file(**arrays: np.ndarray) -> WeightFile:
    """A weight file with one block, `00`, that holds these arrays."""
    file = io.BytesIO()
    np.savez(file, **{f"00/{name}": array for name, array in arrays.items()})
    return WeightFile(file.getvalue())


def test_a_rule_folds_the_normalization_into_the_convolution() -> None:
    """Compares with the two layers applied one after the other, in float64, to random vectors [20, 5]."""
    rng = np.random.default_rng(0)
    kernel = rng.integers(0, 256, (1, 1, 5, 4), np.uint8)
    scale, least = np.float32(0.02), np.float32(-2.5)
    bias, gamma, beta, mean = (rng.standard_normal(4).astype(np.float32) for _ in range(4))
    variance = rng.uniform(0.1, 2, 4).astype(np.float32)
    vectors = {"bias": bias, "gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    weights = weight_file(kernel=kernel, kernel_scale=scale, kernel_least=least, **vectors)
    folded, shift = folded_weights(weights, WeightRule("conv", "00", epsilon=0.01, scale=0.5))
    assert (folded.shape, folded.dtype, shift.dtype) == ((4, 5, 1, 1), np.float32, np.float32)
    x = rng.standard_normal((20, 5))
    convolved = x @ (kernel[0, 0].astype(np.float64) * scale + least) + bias
    expected = 0.5 * (gamma * (convolved - mean) / np.sqrt(variance + 0.01) + beta)
    np.testing.assert_allclose(x @ folded[:, :, 0, 0].T + shift, expected, rtol=1e-5, atol=1e-5)


def test_a_kernel_without_a_normalization_is_only_transposed() -> None:
    kernel = np.random.default_rng(1).standard_normal((3, 2, 4, 5)).astype(np.float16)
    folded, bias = folded_weights(weight_file(kernel=kernel), WeightRule("conv", "00"))
    np.testing.assert_array_equal(folded, kernel.astype(np.float32).transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(bias, np.zeros(5, np.float32))


def test_a_depthwise_kernel_has_an_output_for_each_channel() -> None:
    """Stored as HWC1; each output channel reads the input channel of the same number. Folded as any other kernel."""
    rng = np.random.default_rng(2)
    kernel = rng.standard_normal((3, 5, 4, 1)).astype(np.float16)
    mean, variance = rng.standard_normal(4).astype(np.float32), rng.uniform(0.1, 2, 4).astype(np.float32)
    gamma, beta = rng.standard_normal(4).astype(np.float32), rng.standard_normal(4).astype(np.float32)
    weights = weight_file(kernel=kernel, gamma=gamma, beta=beta, mean=mean, variance=variance)
    folded, bias = folded_weights(weights, WeightRule("conv", "00", epsilon=0.001, depthwise=True))
    assert (folded.shape, folded.dtype, folded.flags.c_contiguous) == ((4, 1, 3, 5), np.float32, True)
    factor = gamma / np.sqrt(variance.astype(np.float64) + 0.001)
    for channel in range(4):
        np.testing.assert_allclose(
            folded[channel, 0], kernel[..., channel, 0].astype(np.float64) * factor[channel], rtol=1e-6
        )
    np.testing.assert_allclose(bias, beta - mean * factor, rtol=1e-6)


def test_a_depthwise_kernel_may_have_several_outputs_for_each_channel() -> None:
    kernel = np.random.default_rng(4).standard_normal((3, 3, 4, 2)).astype(np.float32)
    folded, _ = folded_weights(weight_file(kernel=kernel), WeightRule("conv", "00", depthwise=True))
    assert folded.shape == (8, 1, 3, 3)
    np.testing.assert_array_equal(folded[5, 0], kernel[:, :, 2, 1])


def test_a_dense_kernel_is_that_of_a_1x1_convolution() -> None:
    rng = np.random.default_rng(3)
    kernel, bias = rng.standard_normal((5, 4)).astype(np.float16), rng.standard_normal(4).astype(np.float32)
    weights = weight_file(kernel=kernel, bias=bias)
    assert weights.kernel("00").shape == (5, 4)
    found, found_bias = folded_weights(weights, WeightRule("conv", "00"))
    assert found.shape == (4, 5, 1, 1)
    np.testing.assert_array_equal(found[:, :, 0, 0], kernel.T.astype(np.float32))
    np.testing.assert_array_equal(found_bias, bias)


def test_blocks_have_the_order_of_the_file() -> None:
    file = io.BytesIO()
    np.savez(file, **{f"{name}/kernel": np.zeros(1) for name in ("stem", "block00/expand", "head")})
    assert WeightFile(file.getvalue()).blocks == ("stem", "block00/expand", "head")


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**21 - 1, 2**21, 2**35])
def test_serialized_fields_are_readable_by_protobuf(value: int) -> None:
    file = descriptor_pb2.FileDescriptorProto(name="wire.proto", package="wire", syntax="proto2")
    message = file.message_type.add(name="M")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, number, kind in (("number", 1, kinds.TYPE_INT64), ("data", 16, kinds.TYPE_BYTES)):
        message.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    written = assembly._int_field(1, value) + b"".join(assembly._bytes_field(16, [b"x" * (value % 1000)]))
    read = message_factory.GetMessageClass(pool.FindMessageTypeByName("wire.M")).FromString(written)
    assert (read.number, read.data) == (value, b"x" * (value % 1000))


# Damage


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the built-in bundles that a test may damage."""
    copy = tmp_path / "builtin"
    shutil.copytree(FOLDER, copy)
    monkeypatch.setattr(assembly, "FOLDER", copy)
    return copy


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def name_a_missing_block(path: Path) -> None:
    recipe = json.loads(path.read_text())
    recipe["rules"][0]["block"] = "99"
    path.write_text(json.dumps(recipe))


DAMAGE: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "another weight file": ("v3-imagenet-mixed5.npz", truncate, "v3-imagenet-mixed5.npz does not match its SHA-256"),
    "no weight file": ("v3-imagenet-mixed5.npz", Path.unlink, "v3-low is damaged"),
    "no graph": ("v3-low.graph", Path.unlink, "v3-low is damaged"),
    "a truncated graph": ("v3-low.graph", truncate, "v3-low is damaged"),
    "a truncated recipe": ("v3-low.json", truncate, "v3-low is damaged"),
    "a missing block": ("v3-low.json", name_a_missing_block, "v3-low is damaged"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_reported_in_one_line_with_a_remedy(folder: Path, case: str) -> None:
    name, damage, message = DAMAGE[case]
    damage(folder / name)
    with pytest.raises(BundleFormatError, match="install onnxdream again") as error:
        Bundle.load(folder / DEFAULT.path.name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_recipe_in_another_folder_is_not_a_bundle(tmp_path: Path) -> None:
    for name in ("v3-low.json", "v3-low.graph", "v3-imagenet-mixed5.npz"):
        shutil.copy(FOLDER / name, tmp_path)
    with pytest.raises(BundleFormatError):
        Bundle.load(tmp_path / "v3-low.json")
