"""The sources of weights, and the errors if they are not available."""
# ruff: noqa: E402

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import keras
from exports import unverified
from keras.src.applications.convnext import LayerScale
from keras.src.legacy.saving import legacy_h5_format
from tiny import TINY, build

from onnxdream.export.bundle import ExportRequest, make_bundle
from onnxdream.export.errors import ModelFileError, WeightsError
from onnxdream.export.weights import LoadedModel, load
from onnxdream.models.assembly import FOLDER
from onnxdream.models.backbones import Backbone, find_backbone
from onnxdream.models.preprocessing import PREPROCESSINGS

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras under NumPy 2
    pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*HDF5 file"),
]

LoadReference = Callable[[str], LoadedModel]
assert TINY.imagenet
FILE = TINY.imagenet.file
Arrays = dict[str, np.ndarray]


def one_line(error: pytest.ExceptionInfo[WeightsError]) -> str:
    """Returns the message of an error, which must be one line."""
    message = str(error.value)
    assert "\n" not in message
    return message


def randomize(model: Any, seed: int = 7) -> None:
    """Sets all weights to random values."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 0.9, w.shape).astype(np.float32) for w in model.get_weights()])


def same_weights(a: Any, b: Any) -> bool:
    pairs = zip(a.get_weights(), b.get_weights(), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


@pytest.fixture
def trained() -> Any:
    """A tiny model with weights that no seed of onnxdream produces."""
    keras.utils.clear_session()
    model = build(include_top=False, weights=None, input_shape=(None, None, 3))
    randomize(model)
    return model


def test_random_weights_depend_only_on_the_seed(reference: LoadReference) -> None:
    first, again, other = reference("tiny"), load(TINY, "random", 0), load(TINY, "random", 1)
    assert same_weights(first.model, again.model)
    assert first.weights == again.weights
    assert first.weights.source == "random"
    assert first.weights.sha256 != other.weights.sha256
    pairs = zip(first.model.get_weights(), other.model.get_weights(), strict=True)
    assert not any(np.array_equal(a, b) for a, b in pairs)


def test_random_weights_keep_activations_from_vanishing_in_the_deepest_layer(reference: LoadReference) -> None:
    model = reference("v3").model
    pictures = np.random.default_rng(0).uniform(-1, 1, (1, 96, 96, 3)).astype(np.float32)
    deepest = np.asarray(model(pictures, training=False))
    assert 1e-3 < deepest.mean() < 1e3
    assert (deepest > 0).mean() > 0.1


def test_the_built_in_weights_fill_inception_v3s_first_convolutions() -> None:
    path = FOLDER / "v3-imagenet-mixed5.npz"
    loaded = load(find_backbone("v3"), "builtin", 0)
    assert loaded.weights.source == "imagenet-8bit"
    assert loaded.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "Apache-2.0" in loaded.weights.licence
    file = np.load(path)
    names = ["conv2d", *(f"conv2d_{n}" for n in range(1, 50))]
    assert loaded.block_of == {name: f"{number:02d}" for number, name in enumerate(names)}
    for number, name in enumerate(names):
        convolution = loaded.model.get_layer(name)
        (normalization,) = (node.operation for node in convolution._outbound_nodes)
        expected = [file[f"{number:02d}/{part}"] for part in ("beta", "mean", "variance")]
        for a, b in zip(normalization.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_layers_deeper_than_the_built_in_weights_are_refused() -> None:
    message = "the built-in weights of Inception-v3 end with mixed5: choose layers up to there, or --weights imagenet"
    with pytest.raises(WeightsError, match=message) as error:
        make_bundle(ExportRequest(find_backbone("v3"), ("mixed0", "mixed6"), weights="builtin"))
    one_line(error)


def test_the_built_in_weights_fill_all_of_lite0() -> None:
    """Blocks are named after the layers, with a slash in place of the first underscore."""
    path = FOLDER / "efficientnet-lite0-imagenet.npz"
    loaded = load(find_backbone("lite0"), "builtin", 0)
    assert loaded.weights.source == "imagenet"
    assert loaded.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "ML Illustrated" in loaded.weights.licence
    assert loaded.block_of is not None
    assert {"stem": "stem", "block07_depthwise": "block07/depthwise"}.items() <= loaded.block_of.items()
    weighted = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
    assert set(loaded.block_of) == {layer.name for layer in loaded.model.layers if isinstance(layer, weighted)}
    file = np.load(path)
    assert set(file.files) == {
        f"{block}/{part}" for layer, block in loaded.block_of.items() for part in parts_of(layer)
    }
    for layer, block in loaded.block_of.items():
        kernel = loaded.model.get_layer(layer).get_weights()[0]
        np.testing.assert_array_equal(kernel, file[f"{block}/kernel"].astype(np.float32))
        if layer == "classifier":
            np.testing.assert_array_equal(loaded.model.get_layer(layer).get_weights()[1], file["classifier/bias"])
            continue
        normalization = loaded.model.get_layer(f"{layer}_normalization")
        expected = [file[f"{block}/{part}"] for part in parts_of(layer)[1:]]
        for a, b in zip(normalization.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def parts_of(layer: str) -> tuple[str, ...]:
    """The arrays of a layer of EfficientNet-Lite0 and of the normalization behind it, in Keras's order."""
    return ("kernel", "bias") if layer == "classifier" else ("kernel", "gamma", "beta", "mean", "variance")


def test_a_backbone_that_keras_has_no_file_of_is_exported_with_its_built_in_weights() -> None:
    backbone = find_backbone("lite0")
    with unverified():
        _, metadata = make_bundle(ExportRequest(backbone, ("block00",)))
    assert metadata.weights == load(backbone, "builtin", 0).weights
    with pytest.raises(WeightsError, match="no weights of EfficientNet-Lite0: choose --weights builtin") as error:
        make_bundle(ExportRequest(backbone, ("block00",), weights="imagenet"))
    one_line(error)


def test_a_users_npz_fills_the_first_layers_of_a_network_with_named_layers(tmp_path: Path) -> None:
    backbone, path = find_backbone("lite0"), tmp_path / "own.npz"
    with np.load(FOLDER / "efficientnet-lite0-imagenet.npz") as file:
        stem = {name: file[name] for name in file.files if name.startswith("stem/")}
    np.savez(path, **stem)
    loaded = load(backbone, str(path), 0)
    assert loaded.block_of == {"stem": "stem"}
    np.testing.assert_array_equal(loaded.model.get_layer("stem").get_weights()[0], stem["stem/kernel"])
    with pytest.raises(WeightsError, match=r"own\.npz end before block00_depthwise"):
        make_bundle(ExportRequest(backbone, ("block00",), weights=str(path)))
    np.savez(path, **{name.replace("stem", "head"): array for name, array in stem.items()})
    with pytest.raises(WeightsError, match="lack stem/kernel") as error:
        load(backbone, str(path), 0)
    one_line(error)


def test_random_weights_keep_activations_from_vanishing_in_depthwise_layers(reference: LoadReference) -> None:
    model = reference("lite0").model
    layers = keras.Model(model.input, [model.get_layer(f"block{number:02d}").output for number in (3, 9, 15)])
    pictures = np.random.default_rng(0).uniform(-1, 1, (1, 96, 96, 3)).astype(np.float32)
    for activation in layers(pictures, training=False):
        assert 0.1 < float(np.std(activation)) < 100


def test_built_in_weights_of_a_backbone_without_any_are_refused() -> None:
    with pytest.raises(WeightsError, match="Tiny net has no built-in weights: choose --weights imagenet") as error:
        load(TINY, "builtin", 0)
    one_line(error)


@pytest.fixture
def first_block() -> Arrays:
    """The npz entries of the tiny network's first convolution and the normalization behind it: float32 by key."""
    rng = np.random.default_rng(4)
    shapes = {"kernel": (3, 3, 3, 6), "beta": (6,), "mean": (6,), "variance": (6,)}
    return {f"00/{part}": rng.uniform(0.1, 1, shape).astype(np.float32) for part, shape in shapes.items()}


def test_a_users_npz_fills_the_convolutions_that_it_holds(first_block: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, **first_block)
    loaded = load(TINY, str(path), 0)
    assert loaded.block_of == {"conv2d": "00"}
    assert loaded.weights.source == "own.npz"
    assert loaded.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_array_equal(loaded.model.get_layer("conv2d").get_weights()[0], first_block["00/kernel"])
    normalization = loaded.model.get_layer("batch_normalization").get_weights()
    for found, part in zip(normalization, ("beta", "mean", "variance"), strict=True):
        np.testing.assert_array_equal(found, first_block[f"00/{part}"])


def test_a_users_npz_fits_a_network_whose_colours_are_preprocessed_by_a_convolution(
    first_block: Arrays, tmp_path: Path
) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, **first_block)
    request = ExportRequest(replace(TINY, preprocessing=PREPROCESSINGS["caffe"]), ("activation",), weights=str(path))
    with unverified():
        _, metadata = make_bundle(request)
    assert metadata.weights.source == "own.npz"
    with pytest.raises(WeightsError, match=r"own\.npz end before conv2d_1, which these layers need"):
        make_bundle(replace(request, layers=("activation_1",)))


def _without(key: str) -> Callable[[Arrays], Arrays]:
    return lambda block: {name: array for name, array in block.items() if name != key}


WRONG_NPZ: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "no beta": (_without("00/beta"), "lack 00/beta"),
    "no variance": (_without("00/variance"), "lack 00/variance"),
    "no kernel": (_without("00/kernel"), "hold 0 kernels"),
    "wrong number": (lambda b: {name.replace("00", "01"): array for name, array in b.items()}, "lack 00/kernel"),
    "wide kernel": (lambda b: {**b, "00/kernel": np.ones((5, 5, 3, 6), np.float32)}, "do not fit: conv2d"),
    "short mean": (lambda b: {**b, "00/mean": np.ones(5, np.float32)}, "do not fit: batch_normalization"),
    "scalar": (lambda b: {**b, "00/beta": np.float32(1)}, "do not fit: batch_normalization"),
    "text": (lambda b: {**b, "00/beta": np.array(["six"] * 6)}, "cannot be read"),
    "objects": (lambda b: {**b, "00/beta": np.array([None] * 6)}, "cannot be read"),
    "too many": (lambda b: {**b, **{f"{n:02d}/kernel": b["00/kernel"] for n in range(99)}}, "hold 99 kernels"),
    # the second normalization of the tiny network has a gamma, which the file lacks
    "no gamma": (
        lambda b: {
            **b,
            "01/kernel": np.ones((3, 3, 6, 8), np.float32),
            **{f"01/{part}": np.ones(8, np.float32) for part in ("beta", "mean", "variance")},
        },
        "lack 01/gamma",
    ),
}


@pytest.mark.parametrize("kind", WRONG_NPZ)
def test_an_npz_that_does_not_fit_is_refused(kind: str, first_block: Arrays, tmp_path: Path) -> None:
    change, message = WRONG_NPZ[kind]
    path = tmp_path / "own.npz"
    np.savez(path, **change(first_block))
    with pytest.raises(WeightsError, match=message) as error:
        load(TINY, str(path), 0)
    assert "own.npz" in one_line(error)


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "flipped", "an npy", "objects"])
def test_a_broken_npz_is_refused(kind: str, first_block: Arrays, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez_compressed(path, **first_block)
    whole = path.read_bytes()
    if kind == "objects":
        np.savez_compressed(path, **{**first_block, "00/kernel": np.array([{}])})
    elif kind == "an npy":
        with path.open("wb") as file:
            np.save(file, first_block["00/kernel"])
    else:
        flipped = whole[:90] + bytes(b ^ 0xFF for b in whole[90:150]) + whole[150:]
        path.write_bytes({"empty": b"", "text": b"weights\n", "truncated": whole[:-40], "flipped": flipped}[kind])
    with pytest.raises(WeightsError, match=r"own\.npz cannot be read: give a complete .npz file") as error:
        load(TINY, str(path), 0)
    assert "pickle" not in one_line(error)


def save_legacy_weights(model: Any, path: Path) -> None:
    """Saves only the weights, in Keras 2's layout, as the ImageNet files have it."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


SAVED: dict[str, Callable[[Any, Path], None]] = {
    "mine.weights.h5": lambda model, path: model.save_weights(path),
    "legacy.h5": save_legacy_weights,
    "whole.h5": lambda model, path: model.save(path),
    "whole.keras": lambda model, path: model.save(path),
}


@pytest.mark.parametrize("name", SAVED)
def test_weights_saved_by_keras_are_loaded(name: str, trained: Any, tmp_path: Path) -> None:
    SAVED[name](trained, tmp_path / name)
    loaded = load(TINY, str(tmp_path / name), 0)
    assert same_weights(loaded.model, trained)
    assert loaded.block_of is None
    assert loaded.weights.source == name
    assert loaded.weights.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def nested(base: Any) -> Any:
    """A model with the backbone as a layer, behind an augmentation and before a head."""
    image = keras.Input((64, 64, 3))
    x = base(keras.layers.RandomFlip()(image), training=False)
    return keras.Model(image, keras.layers.Dense(4)(keras.layers.GlobalMaxPooling2D()(x)))


def headed(base: Any) -> Any:
    """A model of the backbone's layers and a head."""
    return keras.Model(base.input, keras.layers.Dense(4)(keras.layers.Flatten()(base.output)))


@pytest.mark.parametrize("custom", [nested, headed])
def test_a_saved_model_with_a_custom_head_is_accepted(custom: Callable[[Any], Any], tmp_path: Path) -> None:
    keras.utils.clear_session()
    base = build(include_top=False, weights=None, input_shape=(64, 64, 3))
    randomize(base)
    custom(base).save(tmp_path / "birds.keras")
    loaded = load(TINY, str(tmp_path / "birds.keras"), 0)
    assert same_weights(loaded.model, base)
    with unverified():
        bundle, metadata = make_bundle(ExportRequest(TINY, ("low",), weights=str(tmp_path / "birds.keras")))
    assert metadata.weights.source == "birds.keras"
    assert len(bundle) > 1000


def build_modern(include_top: bool, weights: str | None, input_shape: tuple[int | None, ...]) -> Any:
    """Builds a network of the kinds of layers that Inception lacks, as those of Xception, ConvNeXt and EfficientNet."""
    image = keras.Input(input_shape)
    x = keras.layers.Normalization()(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.LayerNormalization()(keras.layers.SeparableConv2D(4, 3)(x))
    x = LayerScale(1e-6, 4)(keras.layers.Dense(4, activation="relu")(x))
    return keras.Model(image, keras.layers.ReLU(name="end")(x))


MODERN = replace(TINY, name="modern", builder=f"{__name__}:build_modern", imagenet=None)


@pytest.mark.parametrize("custom", [lambda base: base, nested, headed])
def test_the_weights_of_all_kinds_of_layers_are_copied_from_a_saved_model(
    custom: Callable[[Any], Any], tmp_path: Path
) -> None:
    base = build_modern(include_top=False, weights=None, input_shape=(64, 64, 3))
    randomize(base)
    custom(base).save(tmp_path / "birds.keras")
    assert same_weights(load(MODERN, str(tmp_path / "birds.keras"), 0).model, base)


def test_a_saved_model_that_scales_its_pixels_otherwise_is_refused(tmp_path: Path) -> None:
    base = build_modern(include_top=False, weights=None, input_shape=(64, 64, 3))
    image = keras.Input((64, 64, 3))
    keras.Model(image, base(keras.layers.Rescaling(2.0)(image))).save(tmp_path / "birds.keras")
    with pytest.raises(WeightsError, match=r"^birds\.keras scales its pixels .*: .*, --model birds\.keras$"):
        load(MODERN, str(tmp_path / "birds.keras"), 0)


def save_other_network(path: Path) -> None:
    """Saves a network of two convolutions."""
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, keras.layers.Conv2D(4, 3)(keras.layers.Conv2D(5, 3)(image)))
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)


@pytest.mark.parametrize("name", ["half.weights.h5", "half.h5", "half.keras"])
def test_weights_of_half_the_network_are_refused(name: str, trained: Any, tmp_path: Path) -> None:
    half = keras.Model(trained.input, trained.get_layer("mid").output)
    SAVED["mine.weights.h5" if name == "half.weights.h5" else "whole.keras"](half, tmp_path / name)
    with pytest.raises(WeightsError, match=name) as error:
        load(TINY, str(tmp_path / name), 0)
    one_line(error)


@pytest.mark.parametrize("name", ["other.weights.h5", "other.h5", "other.keras"])
def test_weights_of_another_network_are_refused(name: str, tmp_path: Path) -> None:
    save_other_network(tmp_path / name)
    with pytest.raises(WeightsError) as error:
        load(TINY, str(tmp_path / name), 0)
    message = one_line(error)
    assert name in message
    assert "backbone" in message or "fit Tiny net" in message


def test_a_saved_model_with_other_numbers_of_channels_is_refused(trained: Any, tmp_path: Path) -> None:
    image = keras.Input((64, 64, 3))
    x = image
    for layer in trained.layers:  # the same number of convolutions and normalizations, with other shapes
        if isinstance(layer, keras.layers.Conv2D):
            x = keras.layers.Conv2D(2, 1)(x)
        elif isinstance(layer, keras.layers.BatchNormalization):
            x = keras.layers.BatchNormalization()(x)
    keras.Model(image, x).save(tmp_path / "thin.keras")
    with pytest.raises(WeightsError, match=r"thin\.keras do not fit") as error:
        load(TINY, str(tmp_path / "thin.keras"), 0)
    one_line(error)


@pytest.mark.parametrize("name", ["broken.weights.h5", "broken.h5", "broken.keras"])
@pytest.mark.parametrize("content", [b"", b"no weights at all"])
def test_a_broken_keras_file_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((WeightsError, ModelFileError), match=name) as error:
        load(TINY, str(tmp_path / name), 0)
    one_line(error)


def test_weights_that_are_not_a_file_are_refused(tmp_path: Path) -> None:
    for name in (str(tmp_path / "none.h5"), str(tmp_path)):
        with pytest.raises(WeightsError, match=r"no such file; choose auto, imagenet, builtin, random or a path"):
            load(TINY, name, 0)


def test_a_misspelled_source_of_weights_gets_a_suggestion() -> None:
    with pytest.raises(WeightsError, match=r"^no weights 'imagnet' \(did you mean imagenet\?\): no such file"):
        load(TINY, "imagnet", 0)
    with pytest.raises(WeightsError, match=r"^no weights 'mine\.h5': no such file"):
        load(TINY, "mine.h5", 0)


def test_weights_with_an_unknown_suffix_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"torch")
    with pytest.raises(
        WeightsError, match=r"weights\.pt end in '\.pt': choose a \.weights\.h5, \.h5, \.keras or \.npz file"
    ):
        load(TINY, str(tmp_path / "weights.pt"), 0)


OFFLINE = """
import sys
from exports import unverified
from onnxdream.export.bundle import ExportRequest, make_bundle
from onnxdream.export.errors import ExportError, WeightsError
from onnxdream.export.weights import load
from onnxdream.models.backbones import find_backbone
from tiny import TINY
backbone = TINY if sys.argv[1] == "tiny" else find_backbone(sys.argv[1])
try:
    loaded = load(backbone, "imagenet", 0)
except WeightsError as error:
    print("refused:", error)
else:
    print("loaded:", loaded.weights.source, loaded.weights.sha256, float(loaded.model.get_weights()[0].sum()))
for layers in sys.argv[2:]:
    try:
        request = ExportRequest(backbone, tuple(layers.split(",")))
        with unverified():
            _, metadata = make_bundle(request, lambda stage: print("stage:", stage))
    except ExportError as error:
        print("refused:", error)
    else:
        print("made:", metadata.weights.source, metadata.weights.sha256)
"""


class Broken(BaseHTTPRequestHandler):
    """Answers with the beginning of a file."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "20000")
        self.end_headers()
        self.wfile.write(bytes(100))

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_a_download_that_breaks_off_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (line,) = offline(tmp_path, "tiny", proxy=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    broke_off = "the download broke off: got only 100 out of 20000 bytes"
    assert line.startswith(f"refused: cannot get the ImageNet weights {FILE} ({broke_off}): try again, download http")
    assert list((tmp_path / "models").iterdir()) == []


def offline(keras_home: Path, backbone: str, *layers: str, proxy: str = "http://127.0.0.1:9") -> list[str]:
    """Loads ImageNet weights, then exports each list of layers with the weights `auto`; returns what this prints.

    It does so in a new process, whose network is a proxy, none without.
    """
    blocked = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy)
    environment = {**os.environ, **blocked, "no_proxy": "", "NO_PROXY": "", "KERAS_HOME": str(keras_home)}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", OFFLINE, backbone, *layers]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    kinds = ("loaded: ", "refused: ", "stage: ", "made: ")  # beside Keras's progress bar
    return [line for line in done.stdout.splitlines() if line.startswith(kinds)]


def test_without_a_network_the_built_in_weights_are_used_if_deep_enough(tmp_path: Path) -> None:
    lines = offline(tmp_path, "v3", "activation", "mixed0,mixed6", "mixed99")
    backbone = find_backbone("v3")
    assert backbone.imagenet
    (announced,) = (line for line in lines if line.startswith("stage: ") and "8 bits" in line)
    assert announced.startswith(
        f"stage: {backbone.imagenet.file} is not in Keras's cache and cannot be downloaded: using the built-in copy"
    )
    named, made, deeper, unknown = (line for line in lines if not line.startswith("stage: "))
    assert named == deeper
    assert named.startswith(f"refused: cannot get the ImageNet weights {backbone.imagenet.file} (")
    for part in (backbone.imagenet.url, str(tmp_path / "models"), ".h5, .keras, .npz"):
        assert part in named
    assert named.endswith("random or builtin (layers up to mixed5)")
    assert made.startswith("made: imagenet-8bit 495b5a5a")
    assert unknown.startswith("refused: unknown layer 'mixed99'")
    assert list((tmp_path / "models").iterdir()) == []


def test_keras_s_own_file_is_used_before_the_built_in_weights(trained: Any, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / FILE
    save_legacy_weights(trained, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    loaded, *_, made = offline(tmp_path, "tiny", "low")
    *source, total = loaded.split()
    assert source == ["loaded:", "imagenet", digest]
    assert float(total) == pytest.approx(float(trained.get_weights()[0].sum()), rel=1e-5)
    assert made == f"made: imagenet {digest}"


@pytest.mark.imagenet
@pytest.mark.parametrize("name", ["v3", "inception-resnet-v2"])
def test_imagenet_weights_export(name: str) -> None:
    backbone: Backbone = find_backbone(name)
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
    assert backbone.imagenet
    if not (folder / backbone.imagenet.file).is_file():
        pytest.skip(f"{backbone.imagenet.file} is not in {folder}")
    _, metadata = make_bundle(ExportRequest(backbone, backbone.layer_sets["paper-low"]))
    assert metadata.weights.source == "imagenet"
    assert all(check.cosine > 0.99 for check in metadata.verification)
