"""A wrong graph must fail the verification, and a right one must not fail by bad luck."""
# ruff: noqa: E402

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import keras
import onnx
from onnx import helper, numpy_helper
from tiny import LAYERS

from onnxdream.export import verification
from onnxdream.export.errors import VerificationError
from onnxdream.export.verification import CHANNELS, MIXED_SIGNS, POSITIONS, ReferenceModel, verify
from onnxdream.export.weights import LoadedModel
from onnxdream.models.contract import Check

Change = Callable[[onnx.ModelProto], None]
SMALLEST = 19


@pytest.fixture
def graph(tiny_bundle: bytes) -> onnx.ModelProto:
    """A right graph of the tiny network's three layers, which a test may corrupt."""
    return onnx.load_from_string(tiny_bundle)


@pytest.fixture
def verify_tiny(reference: Callable[[str], LoadedModel]) -> Callable[..., tuple[Check, ...]]:
    """Verifies a graph against the tiny network."""

    def verify_graph(
        graph: onnx.ModelProto,
        objective: str = "mean",
        layers: tuple[str, ...] = LAYERS,
        on_check: Callable[[Check], None] = lambda check: None,
    ) -> tuple[Check, ...]:
        forms, model = {"portable": graph.SerializeToString()}, reference("tiny").model
        return verify(forms, ReferenceModel(model, layers, objective), SMALLEST, on_check)

    return verify_graph


def change_weight(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Changes an initializer: a kernel, OIHW, or a bias, [O]."""

    def corrupt(graph: onnx.ModelProto) -> None:
        (tensor,) = [t for t in graph.graph.initializer if t.name == name]
        array = numpy_helper.to_array(tensor).copy()
        tensor.CopyFrom(numpy_helper.from_array(change(array), name))

    return corrupt


def one_element(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    """Multiplies the largest element of an array by a factor."""

    def change(array: np.ndarray) -> np.ndarray:
        largest = np.unravel_index(np.argmax(np.abs(array)), array.shape)
        array[largest] *= factor
        return array

    return change


def first_node(graph: onnx.ModelProto, op_type: str) -> onnx.NodeProto:
    return next(node for node in graph.graph.node if node.op_type == op_type)


def set_attribute(op_type: str, name: str, value: object) -> Change:
    def corrupt(graph: onnx.ModelProto) -> None:
        node = first_node(graph, op_type)
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return corrupt


def set_operator(op_type: str, other: str) -> Change:
    def corrupt(graph: onnx.ModelProto) -> None:
        first_node(graph, op_type).op_type = other

    return corrupt


def constant(name: str, value: object, dtype: type) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, dtype)))


def always() -> list[onnx.NodeProto]:
    return [constant("chosen", True, np.bool_)]


def on_flat_pictures() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceMax", ["image"], ["highest"], keepdims=0),
        helper.make_node("ReduceMin", ["image"], ["lowest"], keepdims=0),
        helper.make_node("Equal", ["highest", "lowest"], ["chosen"]),
    ]


def where_the_first_value_is(value: float) -> list[onnx.NodeProto]:
    return [
        constant("all", [-1], np.int64),
        constant("index", 0, np.int64),
        constant("value", value, np.float32),
        helper.make_node("Reshape", ["image", "all"], ["values"]),
        helper.make_node("Gather", ["values", "index"], ["first"]),
        helper.make_node("Equal", ["first", "value"], ["chosen"]),
    ]


def scale_gradient(factor: float, condition: list[onnx.NodeProto]) -> Change:
    """Multiplies the gradient by a factor if the nodes of the condition compute `chosen` as true."""

    def corrupt(graph: onnx.ModelProto) -> None:
        (node,) = [n for n in graph.graph.node if "gradient" in n.output]
        node.output[list(node.output).index("gradient")] = "right_gradient"
        graph.graph.node.extend(
            [
                *condition,
                constant("factor", factor, np.float32),
                constant("one", 1, np.float32),
                helper.make_node("Where", ["chosen", "factor", "one"], ["scale"]),
                helper.make_node("Mul", ["right_gradient", "scale"], ["gradient"]),
            ]
        )

    return corrupt


def give_gradient_twice(graph: onnx.ModelProto) -> None:
    """Passes a pooling's gradient on to further pixels of the window although one pixel has got it."""
    taken = {node.output[0] for node in graph.graph.node if node.op_type == "Where"}
    rest = next(node for node in graph.graph.node if node.op_type == "Sub" and node.input[1] in taken)
    rest.op_type = "Identity"
    del rest.input[1]


def swap_losses(graph: onnx.ModelProto) -> None:
    (node,) = [n for n in graph.graph.node if "losses" in n.output]
    node.input[0], node.input[1] = node.input[1], node.input[0]


def ignore(name: str) -> Change:
    """Computes with the default value of an input, whatever is fed."""

    def corrupt(graph: onnx.ModelProto) -> None:
        (default,) = [tensor for tensor in graph.graph.initializer if tensor.name == name]
        array = numpy_helper.to_array(default)
        graph.graph.node.insert(0, constant("always_default", array, array.dtype.type))
        for node in graph.graph.node:
            node.input[:] = ["always_default" if read == name else read for read in node.input]

    return corrupt


CORRUPTIONS: dict[str, Change] = {
    "positions that are ignored": ignore("position"),
    "channel weights that are ignored": ignore("channel_weights"),
    "one weight of the first kernel": change_weight("conv2d/kernel", one_element(1.1)),
    "one weight of a deep kernel": change_weight("mid_conv/kernel", one_element(1.1)),
    "one bias": change_weight("mid_conv/bias", one_element(1.1)),
    "a kernel's sign": change_weight("conv2d_3/kernel", lambda kernel: -kernel),
    "two output channels swapped": change_weight("conv2d_1/kernel", lambda kernel: kernel[[1, 0, *range(2, 8)]]),
    "a kernel flipped": change_weight("conv2d_1/kernel", lambda kernel: kernel[:, :, ::-1, ::-1].copy()),
    "a weight that is not a number": change_weight("conv2d/kernel", one_element(float("nan"))),
    "an inverted ReLU mask": set_operator("Greater", "Less"),
    "a ReLU mask that keeps zeros": set_operator("Greater", "GreaterOrEqual"),
    "a max-pooling's gradient given twice": give_gradient_twice,
    "an average pooling that counts padding": set_attribute("AveragePool", "count_include_pad", 1),
    "swapped losses": swap_losses,
    "a gradient with the wrong sign": scale_gradient(-1, always()),
    "a gradient twice as long": scale_gradient(2, always()),
    "a gradient 0.2 % too long": scale_gradient(1.002, always()),
    "a flat picture's gradient 2 % too long": scale_gradient(1.02, on_flat_pictures()),
    "no gradient": scale_gradient(0, always()),
}


def test_the_right_graph_passes_on_every_kind_of_picture(
    graph: onnx.ModelProto, verify_tiny: Callable[..., tuple[Check, ...]]
) -> None:
    reported: list[Check] = []
    checks = verify_tiny(graph, on_check=reported.append)
    assert tuple(reported) == checks
    pictures = list(dict.fromkeys(check.picture for check in checks))
    assert len(pictures) == 6
    assert pictures[0] == "noise 19x19"
    sizes = [tuple(map(int, picture.split()[-1].split("x"))) for picture in pictures]
    assert any(w % 2 and h % 2 for w, h in sizes)
    assert any(not w % 2 and not h % 2 for w, h in sizes)
    assert any(w != h for w, h in sizes)
    assert {picture.rsplit(" ", 1)[0] for picture in pictures} == {"noise", "flat", "half flat"}
    for picture in pictures:
        climbed = [check.climbed for check in checks if check.picture == picture]
        assert climbed == [*LAYERS, MIXED_SIGNS, CHANNELS, POSITIONS]
    assert all(check.cosine > 0.9999 and abs(check.norm_ratio - 1) < 1e-3 for check in checks)
    assert max(check.loss_error for check in checks) < 1e-4


@pytest.mark.parametrize("how", CORRUPTIONS)
def test_a_corrupted_graph_is_refused(
    how: str, graph: onnx.ModelProto, verify_tiny: Callable[..., tuple[Check, ...]]
) -> None:
    CORRUPTIONS[how](graph)
    with pytest.raises(VerificationError, match=r"disagrees with TensorFlow on .*: loss error .* nothing is written"):
        verify_tiny(graph)


def test_channel_means_in_another_order_are_refused(
    graph: onnx.ModelProto, verify_tiny: Callable[..., tuple[Check, ...]]
) -> None:
    (node,) = [node for node in graph.graph.node if "channel_means" in node.output]
    node.output[list(node.output).index("channel_means")] = "right_means"
    order = [1, 0, *range(2, 42)]
    graph.graph.node.extend(
        [
            constant("order", order, np.int64),
            helper.make_node("Gather", ["right_means", "order"], ["channel_means"], axis=1),
        ]
    )
    with pytest.raises(VerificationError, match=r"^the channels' means disagree with the losses; nothing is written"):
        verify_tiny(graph)


def test_a_corrupted_form_is_refused_even_if_another_is_right(
    graph: onnx.ModelProto, reference: Callable[[str], LoadedModel]
) -> None:
    right = graph.SerializeToString()
    give_gradient_twice(graph)
    for forms in ({"portable": right, "other": graph.SerializeToString()}, {"portable": graph.SerializeToString()}):
        with pytest.raises(VerificationError, match="disagrees"):
            verify(forms, ReferenceModel(reference("tiny").model, LAYERS, "mean"), SMALLEST)


def test_a_graph_of_another_objective_is_refused(
    graph: onnx.ModelProto, verify_tiny: Callable[..., tuple[Check, ...]]
) -> None:
    with pytest.raises(VerificationError, match="disagrees"):
        verify_tiny(graph, objective="l2")


def test_the_same_number_of_other_layers_is_refused(
    graph: onnx.ModelProto, verify_tiny: Callable[..., tuple[Check, ...]]
) -> None:
    with pytest.raises(VerificationError, match="disagrees"):
        verify_tiny(graph, layers=("low", "mid_mixed", "high"))


@pytest.mark.parametrize(("factor", "where"), [(1.0005, always), (1.005, on_flat_pictures)])
def test_deviations_as_small_as_rounding_pass(
    factor: float,
    where: Callable[[], list[onnx.NodeProto]],
    graph: onnx.ModelProto,
    verify_tiny: Callable[..., tuple[Check, ...]],
) -> None:
    """On flat pictures rounding may decide ties, so their tolerance is ten times as large."""
    scale_gradient(factor, where())(graph)
    ratios = {round(check.norm_ratio, 4) for check in verify_tiny(graph)}
    assert round(factor, 4) in ratios


def test_an_unlucky_picture_is_replaced_by_another(
    graph: onnx.ModelProto, verify_tiny: Callable[..., tuple[Check, ...]]
) -> None:
    """Like a picture in which the two largest values of a pooling are so close that rounding decides between them."""
    unlucky = next(iter(verification._test_pictures(SMALLEST))).draw()[0, 0, 0]
    scale_gradient(1.5, where_the_first_value_is(unlucky))(graph)
    assert len(verify_tiny(graph)) == 36


def test_each_draw_of_a_picture_is_another() -> None:
    for kind in verification._test_pictures(SMALLEST):
        assert not np.array_equal(kind.draw(), kind.draw()), kind.name


@pytest.mark.parametrize("weight", [np.nan, np.inf, 1e38])
def test_a_network_whose_own_values_are_no_numbers_is_not_called_a_wrong_graph(
    weight: float, graph: onnx.ModelProto
) -> None:
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 3, activation="relu", name="low")(image))
    model.layers[1].set_weights([np.full((3, 3, 3, 2), weight, np.float32), np.zeros(2, np.float32)])
    reference = ReferenceModel(model, ("low",), "l2")
    with pytest.raises(VerificationError, match=r"^the network itself gives infinite values or NaN") as error:
        verify({"portable": graph.SerializeToString()}, reference, SMALLEST)
    assert "report" not in str(error.value)


@pytest.mark.parametrize(
    "corrupt",
    [
        set_operator("Relu", "Rleu"),
        set_attribute("Conv", "kernel_shape", [9, 9]),
        lambda graph: graph.graph.node.pop(0),
    ],
)
def test_invalid_onnx_is_refused(
    corrupt: Change, graph: onnx.ModelProto, verify_tiny: Callable[..., tuple[Check, ...]]
) -> None:
    corrupt(graph)
    with pytest.raises(VerificationError, match="not valid ONNX") as error:
        verify_tiny(graph)
    assert "\n" not in str(error.value)
