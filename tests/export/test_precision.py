"""Bundles in fp16 and mixed: the types of the operators, the loss scale, and what the export refuses."""
# ruff: noqa: E402

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import keras
import onnx
from exports import unverified
from onnx import TensorProto
from plain_session import open_plain
from tiny import LAYERS, LITE_LAYERS, TINY, TINY_LITE

from onnxdream.export.backbone import build
from onnxdream.export.bundle import ExportRequest, export_bundle, make_bundle
from onnxdream.export.conversion import convert
from onnxdream.export.errors import ExportError, VerificationError
from onnxdream.export.folding.fold import fold
from onnxdream.export.forward import Concat, Forward, GlobalMean, MaxPool
from onnxdream.export.keras_file import own_backbone
from onnxdream.export.precision import PRECISIONS
from onnxdream.export.rounding import emulate_fp16
from onnxdream.export.verification import ALL_LAYERS
from onnxdream.export.weights import load
from onnxdream.models import contract
from onnxdream.models.arrays import Floats, Size
from onnxdream.runtime.bundle.bundle import Bundle
from onnxdream.runtime.bundle.onnx_file import read_model_file

HALVES = ("fp16", "mixed")
every_half = pytest.mark.parametrize("precision", HALVES)
RANDOM = ExportRequest(TINY, LAYERS, weights="random")
# Operators that compute activations and gradients; the others compute shapes, losses and output gradients.
NETWORK_OPERATORS = {"Conv", "ConvTranspose", "Relu", "MaxPool", "AveragePool", "Where", "Greater", "Equal"}


@pytest.fixture(scope="module")
def bundle_in() -> Callable[[str], bytes]:
    """Returns the tiny bundle in a precision."""
    return cache(lambda precision: make_bundle(replace(RANDOM, precision=precision))[0])


@pytest.fixture(scope="module")
def session(bundle_in: Callable[[str], bytes]) -> Callable[[str], ort.InferenceSession]:
    """The tiny bundle in a precision, rounding in fp16 and mixed as a GPU does and the CPU provider does not."""

    @cache
    def session_in(precision: str) -> ort.InferenceSession:
        model = onnx.load_from_string(bundle_in(precision))
        return open_session(model if precision == "fp32" else emulate_fp16(model))

    return session_in


def open_session(model: onnx.ModelProto) -> ort.InferenceSession:
    """Opens a model on one thread of the CPU."""
    return open_plain(model.SerializeToString())


def noise(height: int, width: int, seed: int = 0) -> Floats:
    """Uniform noise from -1 to 1, [1, 3, height, width]."""
    return np.random.default_rng(seed).uniform(-1, 1, (1, 3, height, width)).astype(np.float32)


def gradient_of(
    session: ort.InferenceSession, image: Floats, weights: object, channels: Floats | None = None
) -> Floats:
    """Computes the gradient of images, NCHW; `weights` are those of the layers, `channels` those of the channels."""
    feed = {contract.IMAGE: image, contract.LAYER_WEIGHTS: np.array(weights, np.float32)}
    if channels is not None:
        feed[contract.CHANNEL_WEIGHTS] = channels[None]
    (gradient,) = session.run([contract.GRADIENT], feed)
    return gradient


def cosine(a: Floats, b: Floats) -> float:
    """The cosine similarity of two arrays of one shape, of any magnitude."""
    x, y = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


def types_of(bundle: bytes) -> dict[str, set[int]]:
    """Returns operator -> the types of its outputs or, for comparisons, of its inputs."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(bundle), strict_mode=True).graph
    types = {t.name: t.data_type for t in graph.initializer}
    types |= {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    found: dict[str, set[int]] = {}
    for node in graph.node:
        output = types[node.output[0]]
        found.setdefault(node.op_type, set()).add(types[node.input[0]] if output == TensorProto.BOOL else output)
    return found


def test_in_fp16_only_the_contract_the_losses_and_output_gradients_are_float32(
    bundle_in: Callable[[str], bytes],
) -> None:
    types = types_of(bundle_in("fp16"))
    for kind in NETWORK_OPERATORS:
        assert types[kind] == {TensorProto.FLOAT16}, kind
    for kind in ("ReduceMean", "ReduceSum", "ReduceMax"):
        assert types[kind] == {TensorProto.FLOAT}, kind


def test_in_mixed_the_convolutions_are_float16_and_nothing_else_is(bundle_in: Callable[[str], bytes]) -> None:
    types = types_of(bundle_in("mixed"))
    convolutions = {"Conv", "ConvTranspose", "DepthToSpace"}
    in_half = {kind for kind, found in types.items() if TensorProto.FLOAT16 in found}
    # The others rearrange kernels, which onnxruntime does once at load, or the output of the image's convolution.
    assert in_half == convolutions | {"Cast", "Concat", "Expand", "Pad", "Reshape", "Slice", "Transpose"}
    assert types["Conv"] == types["ConvTranspose"] == {TensorProto.FLOAT16}
    for kind in NETWORK_OPERATORS - convolutions:
        assert types[kind] == {TensorProto.FLOAT}, kind


@every_half
def test_weights_are_stored_once_and_in_half(precision: str, bundle_in: Callable[[str], bytes]) -> None:
    full, half = (
        {
            t.name: t
            for t in onnx.load_from_string(bundle_in(name)).graph.initializer
            if t.name.endswith(("/kernel", "/bias"))
        }
        for name in ("fp32", precision)
    )
    assert half.keys() == full.keys()
    for name, tensor in half.items():
        assert tensor.data_type == TensorProto.FLOAT16
        exact = onnx.numpy_helper.to_array(full[name])
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), exact.astype(np.float16))


@every_half
@unverified()
def test_the_bundle_states_its_precision_and_has_only_the_portable_form(precision: str, home: Path) -> None:
    path, metadata = export_bundle(replace(RANDOM, layers=("low", "mid"), objective="l2", precision=precision))
    assert path.name == f"tiny-paper-low-random-l2-{precision}.onnx"
    assert Bundle.load(path).precision == metadata.precision == precision
    assert set(read_model_file(path.read_bytes()).metadata) == {contract.METADATA_KEY}


@every_half
def test_the_checks_equal_those_of_fp32_plus_an_ascent(precision: str, bundle_in: Callable[[str], bytes]) -> None:
    checks, full = (Bundle.load(bundle_in(name)).metadata.verification for name in (precision, "fp32"))
    compared = [check for check in full if "flat" not in check.picture]
    assert [(c.picture, c.climbed) for c in checks[:-1]] == [(c.picture, c.climbed) for c in compared]
    ascent = checks[-1]
    assert (ascent.picture, ascent.climbed) == ("50 steps from noise 116x84", ALL_LAYERS)
    assert 0 < ascent.loss_error < 0.02
    assert max(check.loss_error for check in checks) > 1e-5  # rounding is visible


@every_half
def test_depthwise_convolutions_and_scores_of_classes_are_exported_in_half(precision: str) -> None:
    request = ExportRequest(TINY_LITE, LITE_LAYERS, weights="random", objective="l2")
    with unverified():
        full, half = (make_bundle(replace(request, precision=name))[0] for name in ("fp32", precision))
    sessions = [open_session(onnx.load_from_string(full)), open_session(emulate_fp16(onnx.load_from_string(half)))]
    for weights in ((1, 1, 1, 1), (0, 0, 0, 1), (1e9, 0, -1e9, 0)):
        expected, found = (gradient_of(session, noise(45, 52), weights) for session in sessions)
        assert cosine(found, expected) > 0.99
        assert np.abs(found).max() == pytest.approx(np.abs(expected).max(), rel=0.05)
    convolution = types_of(half)["Conv"]
    assert convolution == {TensorProto.FLOAT16}
    assert types_of(half)["Clip"] == {TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT}


WEIGHTS = {
    "ones": (1, 1, 1),
    "huge": (1e30, -3e30, 2e30),
    "tiny": (1e-25, 2e-25, -1e-25),
    "far apart": (1e-6, 1, 1e6),
    "negative": (-1, -2, -0.5),
    "one-hot": (0, 0, 1),
    "negative one-hot": (-1e9, 0, 0),
}


@every_half
@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_gradient_is_right_for_weights_of_any_size(
    precision: str, weights: str, session: Callable[[str], ort.InferenceSession]
) -> None:
    image = noise(45, 52)
    expected = gradient_of(session("fp32"), image, WEIGHTS[weights])
    found = gradient_of(session(precision), image, WEIGHTS[weights])
    assert np.isfinite(found).all()
    assert cosine(found, expected) > 0.99
    assert np.abs(found).max() == pytest.approx(np.abs(expected).max(), rel=0.05)


@every_half
def test_with_zero_weights_the_gradient_is_zero(precision: str, session: Callable[[str], ort.InferenceSession]) -> None:
    np.testing.assert_array_equal(gradient_of(session(precision), noise(30, 30), (0, 0, 0)), 0)


@every_half
def test_one_channel_of_a_large_picture_is_not_flushed_to_zero(
    precision: str, session: Callable[[str], ort.InferenceSession]
) -> None:
    image, channels = noise(1100, 1400), np.zeros(42, np.float32)
    channels[3] = -0.01
    expected = gradient_of(session("fp32"), image, (1, 0, 0), channels)
    assert np.abs(expected).max() < 2**-24  # float16 would flush it to zero
    assert cosine(gradient_of(session(precision), image, (1, 0, 0), channels), expected) > 0.99


@every_half
def test_each_picture_in_a_batch_has_its_own_loss_scale(precision: str) -> None:
    model = convert(fold(build(TINY)).cut(LAYERS), LAYERS, "l2", 0, PRECISIONS[precision])["portable"]
    session = open_session(emulate_fp16(model))
    faint, loud = noise(33, 41), noise(33, 41, seed=1)
    both = gradient_of(session, np.concatenate([faint * 1e-4, loud]), (1, 1, 1))
    alone = gradient_of(session, faint * 1e-4, (1, 1, 1))
    np.testing.assert_allclose(both[0], alone[0], rtol=0, atol=1e-3 * np.abs(alone).max())


@every_half
def test_the_first_of_equal_maxima_gets_the_whole_gradient(precision: str) -> None:
    """Float16 rounds many of these close values to the same number: no gradient is lost, and none is counted twice."""
    operators = MaxPool("pool", ("image",), Size(3, 3), Size(2, 2), False), Concat("layer", ("pool",))
    forward = Forward(operators, {"image": 3, "layer": 3}, frozenset(), {}, {})
    model = convert(forward, ("layer",), "mean", 0, PRECISIONS[precision])["portable"]
    image = 1 + 1e-3 * noise(17, 21)
    found = gradient_of(open_session(emulate_fp16(model)), image, (1,))
    rounded = image.astype(np.float16) if precision == "fp16" else image
    expected, count = np.zeros_like(image), 3 * 8 * 10
    for channel, row, column in np.ndindex(3, 8, 10):
        window = rounded[0, channel, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        down, right = divmod(int(np.argmax(window)), 3)
        expected[0, channel, 2 * row + down, 2 * column + right] += 1 / count
    if precision == "fp16":
        assert len(np.unique(rounded)) < 5
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-9)


@every_half
def test_the_mean_of_more_pixels_than_float16_can_count_has_a_gradient(precision: str) -> None:
    forward = Forward((GlobalMean("layer", ("image",)),), {"image": 3, "layer": 3}, frozenset(), {}, {})
    model = convert(forward, ("layer",), "mean", 0, PRECISIONS[precision])["portable"]
    found = gradient_of(open_session(emulate_fp16(model)), noise(250, 270), (1,))
    np.testing.assert_allclose(found, 1 / (3 * 250 * 270), rtol=0.01)


def test_the_emulation_overflows_where_the_cpu_provider_does_not() -> None:
    """The reason for the emulation: onnxruntime's CPU provider computes a float16 graph in float32."""
    kernels = [np.full((1, 1, 1, 1), value, np.float16) for value in (1000, 1000, 0.001)]
    names = ["half", "first", "second", "third"]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [
                onnx.helper.make_node("Cast", ["image"], ["half"], to=TensorProto.FLOAT16),
                *(onnx.helper.make_node("Conv", [names[i], f"k{i}"], [names[i + 1]]) for i in range(3)),
                onnx.helper.make_node("Cast", ["third"], ["loss"], to=TensorProto.FLOAT),
            ],
            "chain",
            [onnx.helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 1, 1])],
            [onnx.helper.make_tensor_value_info("loss", TensorProto.FLOAT, [1, 1, 1, 1])],
            [onnx.numpy_helper.from_array(kernel, f"k{i}") for i, kernel in enumerate(kernels)],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    (loss,) = open_session(emulate_fp16(model)).run(None, {"image": np.ones((1, 1, 1, 1), np.float32)})
    assert np.isinf(loss).all()
    (on_cpu,) = open_session(model).run(None, {"image": np.ones((1, 1, 1, 1), np.float32)})
    assert np.isfinite(on_cpu).all()


def test_a_network_that_overflows_float16_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    model = load(TINY, "random", 0).model
    kernels = [weight for weight in model.weights if weight.name == "kernel"]
    kernels[0].assign(kernels[0] * 3e4)  # its output overflows float16; the next kernel reverts the scale
    kernels[1].assign(kernels[1] / 3e4)
    model.save(tmp_path / "loud.keras")
    request = replace(RANDOM, layers=("low",), weights=str(tmp_path / "loud.keras"))
    make_bundle(request)
    output = tmp_path / "out" / "mine.onnx"
    for precision, advice in (("fp16", "choose --precision mixed or fp32"), ("mixed", "choose --precision fp32")):
        with pytest.raises(VerificationError, match=f"{precision} is too coarse .*nothing is written, {advice}"):
            export_bundle(replace(request, precision=precision), output)
    assert not list(output.parent.iterdir())


def test_a_padding_of_its_own_is_exported(tmp_path: Path) -> None:
    image = keras.Input((None, None, 3))
    padded = keras.layers.ZeroPadding2D(1)(keras.layers.Conv2D(4, 3, activation="relu")(image))
    keras.Model(image, keras.layers.MaxPooling2D(3, 2, name="end")(padded)).save(tmp_path / "padded.keras")
    make_bundle(ExportRequest(own_backbone(tmp_path / "padded.keras", "tf"), ("end",), precision="fp16"))


def test_a_network_whose_losses_are_zero_is_exported(tmp_path: Path) -> None:
    model = load(TINY, "random", 0).model
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    model.save(tmp_path / "dead.keras")
    _, metadata = make_bundle(replace(RANDOM, layers=("low",), weights=str(tmp_path / "dead.keras"), precision="fp16"))
    assert metadata.verification[-1].loss_error == 0


def test_an_ascent_with_another_loss_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxdream.export import verification

    right = verification._loss_and_gradient
    monkeypatch.setattr(verification, "_loss_and_gradient", lambda *given: (right(*given)[0], -right(*given)[1]))
    with pytest.raises(VerificationError, match="50 steps from noise 116x84, all layers"):
        make_bundle(replace(RANDOM, layers=("low",), precision="fp16"))


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ExportError, match="unknown precision 'fp8': choose one of fp32, fp16, mixed"):
        make_bundle(replace(RANDOM, precision="fp8"))
