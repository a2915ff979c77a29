"""The rewritten forward graph computes the same values under the same names, with operators in another order."""

from __future__ import annotations

import numpy as np
import pytest

from onnxdream.export.forward import IMAGE, AveragePool, Concat, Convolution, Forward, MaxPool, Operator, Origin, Relu
from onnxdream.export.rewriting import rewritten


def convolution(name: str, x: str, window: int = 1) -> Convolution:
    """A convolution of ones from 3 to 3 channels with SAME padding."""
    kernel = np.ones((window, window, 3, 3), np.float32)
    return Convolution(name, (x,), (window, window), (1, 1), True, kernel, np.zeros(3, np.float32), Origin(name))


def graph(*operators: object) -> Forward:
    return Forward(tuple(operators), {op.name: 3 for op in operators}, frozenset(), {}, {})  # type: ignore[attr-defined,arg-type]


POOLED = (
    convolution("conv", IMAGE, 3),
    Relu("relu", ("conv",)),
    MaxPool("pool", ("relu",), (3, 3), (2, 2), False),
    convolution("after", "pool"),
)
AVERAGED = (
    Relu("relu", (IMAGE,)),
    AveragePool("mean", ("relu",), (3, 3), (1, 1), True),
    convolution("conv", "mean"),
    Relu("end", ("conv",)),
)


def order(forward: Forward) -> list[tuple[str, str, tuple[str, ...]]]:
    """The type, name and inputs of each operator."""
    return [(type(op).__name__, op.name, op.inputs) for op in forward.operators]


def test_a_relu_moves_behind_the_max_pooling_that_reads_it() -> None:
    assert order(rewritten(graph(*POOLED), ()))[1:3] == [
        ("MaxPool", "pool_first", ("conv",)),
        ("Relu", "pool", ("pool_first",)),
    ]


def test_a_1x1_convolution_moves_before_the_average_pooling_that_it_reads() -> None:
    assert order(rewritten(graph(*AVERAGED), ()))[1:3] == [
        ("Convolution", "conv_first", ("relu",)),
        ("AveragePool", "conv", ("conv_first",)),
    ]


def test_a_requested_layer_stays() -> None:
    assert order(rewritten(graph(*POOLED), ("relu",))) == order(graph(*POOLED))
    assert order(rewritten(graph(*AVERAGED), ("mean",))) == order(graph(*AVERAGED))
    assert rewritten(graph(*POOLED), ("pool",)).operators[2].name == "pool"


def test_an_operator_that_others_read_stays() -> None:
    shared = graph(*POOLED, Concat("both", ("relu", "relu")))
    assert order(rewritten(shared, ())) == order(shared)


def test_a_larger_convolution_stays_behind_the_average_pooling() -> None:
    """With SAME padding it reads zeros outside the picture, which are not means of anything."""
    padded = graph(*AVERAGED[:2], convolution("conv", "mean", 3))
    assert order(rewritten(padded, ())) == order(padded)


BRANCHES = (Relu("left", ("a",)), Relu("right", ("b",)))
JOINED = (convolution("a", IMAGE), convolution("b", IMAGE), *BRANCHES, Concat("block", ("left", "right")))


def test_the_gradients_of_concatenated_relus_are_masked_together() -> None:
    found = rewritten(graph(*JOINED), ("block",))
    assert found.operators[2:4] == (Relu("left", ("a",), masks=False), Relu("right", ("b",), masks=False))
    assert order(found)[4:] == [("Concat", "block_first", ("left", "right")), ("ReluMask", "block", ("block_first",))]
    assert found.channels["block_first"] == found.channels["block"]


@pytest.mark.parametrize(
    ("operators", "layers"),
    [
        (JOINED, ("left",)),
        ((*JOINED, convolution("other", "left")), ()),
        ((*JOINED[:-1], Concat("block", ("left", "right", "right"))), ()),
        ((*JOINED[:-1], Concat("block", ("left", "b"))), ()),
        ((*JOINED[:-1], Concat("block", ("left", IMAGE))), ()),
    ],
    ids=["a layer", "read elsewhere", "read twice", "no ReLU", "the image"],
)
def test_relus_that_others_need_keep_their_own_masks(operators: tuple[Operator, ...], layers: tuple[str, ...]) -> None:
    assert rewritten(graph(*operators), layers).operators == operators
