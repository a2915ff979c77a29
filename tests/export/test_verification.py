"""A wrong graph must not pass for a right one, and a right one must not fail by bad luck."""
# ruff: noqa: E402

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="needs the export extra")

import onnx
from onnx import helper, numpy_helper
from tiny import LAYERS, TINY

from onnxdream.export import verification
from onnxdream.export.errors import VerificationError
from onnxdream.export.verification import CHANNELS, MIXED_SIGNS, ReferenceModel, verify
from onnxdream.export.weights import LoadedModel
from onnxdream.models.contract import Check

Change = Callable[[onnx.ModelProto], None]
SMALLEST = 19


@pytest.fixture
def graph(tiny_bundle: bytes) -> onnx.ModelProto:
    """A right graph of the tiny net's three layers, to be spoiled."""
    return onnx.load_from_string(tiny_bundle)


@pytest.fixture
def judge(reference: Callable[[str], LoadedModel]) -> Callable[..., tuple[Check, ...]]:
    """Verifies a graph as one of the tiny net's mean activations."""

    def judge(
        graph: onnx.ModelProto,
        objective: str = "mean",
        layers: tuple[str, ...] = LAYERS,
        on_check: Callable[[Check], None] = lambda check: None,
    ) -> tuple[Check, ...]:
        forms, model = {"portable": graph.SerializeToString()}, reference("tiny").model
        return verify(forms, ReferenceModel(model, layers, objective), SMALLEST, TINY.input_range, on_check)

    return judge


def change_weight(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def spoil(graph: onnx.ModelProto) -> None:
        (tensor,) = [t for t in graph.graph.initializer if t.name == name]
        array = numpy_helper.to_array(tensor).copy()
        tensor.CopyFrom(numpy_helper.from_array(change(array), name))

    return spoil


def one_element(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        largest = np.unravel_index(np.argmax(np.abs(array)), array.shape)
        array[largest] *= factor
        return array

    return change


def first(graph: onnx.ModelProto, op_type: str) -> onnx.NodeProto:
    return next(node for node in graph.graph.node if node.op_type == op_type)


def set_attribute(op_type: str, name: str, value: object) -> Change:
    def spoil(graph: onnx.ModelProto) -> None:
        node = first(graph, op_type)
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return spoil


def set_operator(op_type: str, other: str) -> Change:
    def spoil(graph: onnx.ModelProto) -> None:
        first(graph, op_type).op_type = other

    return spoil


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
    def spoil(graph: onnx.ModelProto) -> None:
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

    return spoil


def give_twice(graph: onnx.ModelProto) -> None:
    """What one pixel of a pooling's window took stays for the others."""
    taken = {node.output[0] for node in graph.graph.node if node.op_type == "Where"}
    rest = next(node for node in graph.graph.node if node.op_type == "Sub" and node.input[1] in taken)
    rest.op_type = "Identity"
    del rest.input[1]


def swap_losses(graph: onnx.ModelProto) -> None:
    (node,) = [n for n in graph.graph.node if "losses" in n.output]
    node.input[0], node.input[1] = node.input[1], node.input[0]


SPOILT: dict[str, Change] = {
    "one weight of the first kernel": change_weight("conv2d/kernel", one_element(1.1)),
    "one weight of a deep kernel": change_weight("mid_conv/kernel", one_element(1.1)),
    "one bias": change_weight("mid_conv/bias", one_element(1.1)),
    "a kernel's sign": change_weight("conv2d_3/kernel", lambda kernel: -kernel),
    "two output channels swapped": change_weight("conv2d_1/kernel", lambda kernel: kernel[[1, 0, *range(2, 8)]]),
    "a kernel flipped": change_weight("conv2d_1/kernel", lambda kernel: kernel[:, :, ::-1, ::-1].copy()),
    "a weight that is not a number": change_weight("conv2d/kernel", one_element(float("nan"))),
    "a ReLU's mask the wrong way round": set_operator("Greater", "Less"),
    "a ReLU's mask with the zeros": set_operator("Greater", "GreaterOrEqual"),
    "a maximum's gradient given out twice": give_twice,
    "a mean's edges as its middle": set_attribute("AveragePool", "count_include_pad", 1),
    "losses in another order": swap_losses,
    "a gradient of the wrong sign": scale_gradient(-1, always()),
    "a gradient twice as long": scale_gradient(2, always()),
    "a gradient 0.2 % too long": scale_gradient(1.002, always()),
    "a flat picture's gradient 2 % too long": scale_gradient(1.02, on_flat_pictures()),
    "no gradient": scale_gradient(0, always()),
}


def test_the_right_graph_passes_on_every_kind_of_picture(
    graph: onnx.ModelProto, judge: Callable[..., tuple[Check, ...]]
) -> None:
    heard: list[Check] = []
    checks = judge(graph, on_check=heard.append)
    assert tuple(heard) == checks
    pictures = list(dict.fromkeys(check.picture for check in checks))
    assert len(pictures) == 6
    assert pictures[0] == "noise 19x19"
    sizes = [tuple(map(int, picture.split()[-1].split("x"))) for picture in pictures]
    assert any(w % 2 and h % 2 for w, h in sizes)
    assert any(not w % 2 and not h % 2 for w, h in sizes)
    assert any(w != h for w, h in sizes)
    assert {picture.rsplit(" ", 1)[0] for picture in pictures} == {"noise", "flat", "half flat"}
    for picture in pictures:
        assert [check.climbed for check in checks if check.picture == picture] == [*LAYERS, MIXED_SIGNS, CHANNELS]
    assert all(check.cosine > 0.9999 and abs(check.norm_ratio - 1) < 1e-3 for check in checks)
    assert max(check.loss_error for check in checks) < 1e-4


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_graph_is_refused(how: str, graph: onnx.ModelProto, judge: Callable[..., tuple[Check, ...]]) -> None:
    SPOILT[how](graph)
    with pytest.raises(VerificationError, match=r"disagrees with TensorFlow on .*: loss error .* nothing is written"):
        judge(graph)


def test_a_spoilt_form_beside_a_right_one_is_refused(
    graph: onnx.ModelProto, reference: Callable[[str], LoadedModel]
) -> None:
    right = graph.SerializeToString()
    give_twice(graph)
    for forms in ({"portable": right, "other": graph.SerializeToString()}, {"portable": graph.SerializeToString()}):
        with pytest.raises(VerificationError, match="disagrees"):
            verify(forms, ReferenceModel(reference("tiny").model, LAYERS, "mean"), SMALLEST, TINY.input_range)


def test_another_objectives_graph_is_refused(graph: onnx.ModelProto, judge: Callable[..., tuple[Check, ...]]) -> None:
    with pytest.raises(VerificationError, match="disagrees"):
        judge(graph, objective="l2")


def test_other_layers_of_as_many_are_refused(graph: onnx.ModelProto, judge: Callable[..., tuple[Check, ...]]) -> None:
    with pytest.raises(VerificationError, match="disagrees"):
        judge(graph, layers=("low", "mid_mixed", "high"))


@pytest.mark.parametrize(("factor", "where"), [(1.0005, always), (1.005, on_flat_pictures)])
def test_what_rounding_may_do_passes(
    factor: float,
    where: Callable[[], list[onnx.NodeProto]],
    graph: onnx.ModelProto,
    judge: Callable[..., tuple[Check, ...]],
) -> None:
    """On a flat picture it may decide ties, which is why its bar is ten times as wide."""
    scale_gradient(factor, where())(graph)
    ratios = {round(check.norm_ratio, 4) for check in judge(graph)}
    assert round(factor, 4) in ratios


def test_one_unlucky_picture_is_drawn_again(graph: onnx.ModelProto, judge: Callable[..., tuple[Check, ...]]) -> None:
    """As where a pooling's two largest values are so close that rounding decides between them."""
    unlucky = next(iter(verification._test_pictures(SMALLEST, TINY.input_range))).draw()[0, 0, 0]
    scale_gradient(1.5, where_the_first_value_is(unlucky))(graph)
    assert len(judge(graph)) == 30


@pytest.mark.parametrize(
    "spoil",
    [
        set_operator("Relu", "Rleu"),
        set_attribute("Conv", "kernel_shape", [9, 9]),
        lambda graph: graph.graph.node.pop(0),
    ],
)
def test_what_is_no_sound_onnx_is_refused(
    spoil: Change, graph: onnx.ModelProto, judge: Callable[..., tuple[Check, ...]]
) -> None:
    spoil(graph)
    with pytest.raises(VerificationError, match="not valid ONNX") as error:
        judge(graph)
    assert "\n" not in str(error.value)
