"""Writes the small graphs that the runtime needs and that ship with it: `python -m onnxdream.export.graphs`.

Each is one step of an update; the runtime links those that a run needs to one model (`ascent/graph_linker.py`), so
that a picture stays where its gradient is computed. They know nothing of settings: what a setting changes is an input.
Pictures are float32 [1, 3, height, width]; a number is [1], which broadcasts. Means are taken along rows first, so that
float32 is enough for pictures of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..models.files import write_whole
from .conversion import IR_VERSION, OPSET

FOLDER = Path(__file__).parents[1] / "models" / "graphs"

Shape = Sequence[int | str]
PICTURE: Shape = (1, 3, "height", "width")
NUMBER: Shape = (1,)
_END = np.iinfo(np.int64).max


class Builder:
    """A graph in the making: operators are added one after the other, each with one output of its own."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        """Adds an operator; gives the name of its output."""
        name = output or f"{operator.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def whole(self, *values: int) -> str:
        """A constant int64 [values]."""
        return self.constant("whole" + "_".join(map(str, values)), np.array(values, np.int64))

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """A constant of that value."""
        self._constants[name] = numpy_helper.from_array(value, name)
        return name

    def mean(self, x: str) -> str:
        """Of all values of a picture, [1, 1, 1, 1]."""
        rows = self.add("ReduceMean", x, axes=[3], keepdims=1)
        return self.add("ReduceMean", rows, axes=[1, 2], keepdims=1)

    def root_mean_square(self, x: str) -> str:
        """Of all values of a picture, [1, 1, 1, 1]."""
        return self.add("Sqrt", self.mean(self.add("Mul", x, x)))

    def columns(self, x: str, start: str, end: str) -> str:
        """Some columns of a picture."""
        return self.add("Slice", x, start, end, self.whole(3))

    def turned(self, x: str, at: str) -> str:
        """A picture cut in two between its columns, `at` its latter part, and put together the other way round."""
        latter = self.columns(x, at, self.whole(_END))
        return self.add("Concat", latter, self.columns(x, self.whole(0), at), axis=3)

    def model(
        self,
        name: str,
        inputs: Mapping[str, Shape],
        outputs: Mapping[str, Shape],
        whole: Mapping[str, Shape] | None = None,
    ) -> onnx.ModelProto:
        """The graph as a model, with float32 inputs and outputs, and inputs of `whole` numbers, int64."""
        floats = (helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in inputs.items())
        wholes = (helper.make_tensor_value_info(key, TensorProto.INT64, shape) for key, shape in (whole or {}).items())
        found = (helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items())
        graph = helper.make_graph(self._nodes, name, [*floats, *wholes], list(found), list(self._constants.values()))
        return helper.make_model(
            graph, producer_name="onnxdream", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
        )


def probe() -> onnx.ModelProto:
    """A convolution, a ReLU and a sum: what a provider's self-test runs on [1, 32, 5, 5].

    The kernel's ones add up 288 values. A library computes the convolution, the provider's own code the rest; 32
    channels are enough for a GPU to choose the units it would choose for a real picture.
    """
    build = Builder()
    shape = build.constant("shape", np.array([32, 32, 3, 3], np.int64))
    kernel = build.add("ConstantOfShape", shape, value=helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]))
    rectified = build.add("Relu", build.add("Conv", "x", kernel))
    build.add("Add", rectified, rectified, output="y")
    return build.model("probe", {"x": (1, 32, 5, 5)}, {"y": (1, 32, 3, 3)})


def roll() -> onnx.ModelProto:
    """A picture rolled round its edges: it begins with column `right` of what it was, and has its `rows` in turn."""
    build = Builder()
    build.add("Gather", build.turned("image", "right"), "rows", output="rolled", axis=2)
    return build.model("roll", {"image": PICTURE}, {"rolled": PICTURE}, whole={"rows": ("height",), "right": NUMBER})


def check() -> onnx.ModelProto:
    """Losses with the gradient's sum behind them: a row that is finite where both are."""
    build = Builder()
    planes = build.add("ReduceSum", "gradient", build.whole(2, 3), keepdims=0)
    total = build.add("ReduceSum", planes, build.whole(1), keepdims=1)
    build.add("Concat", "losses", total, output="row", axis=1)
    return build.model("check", {"losses": (1, "layers"), "gradient": PICTURE}, {"row": (1, "layers_and_one")})


def filtered() -> onnx.ModelProto:
    """A picture under a separable linear filter that may shrink or enlarge it.

    Each axis is cut into overlapping blocks, which `rows` and `columns` list as positions [blocks, taps]; one matrix
    [values, taps] makes each of them a block of the result, of which the first `size` rows and columns are kept. So
    blurs and pyramids with any edges are one graph (`runtime/ascent/filters.py` makes its inputs).
    """
    build = Builder()
    shape = build.constant("joined", np.array([0, 0, 0, -1], np.int64))

    def along_rows(x: str, rows: str, matrix: str) -> str:
        """Filtered along the second axis from the end; transposed."""
        blocks = build.add("MatMul", matrix, build.add("Gather", x, rows, axis=2))
        return build.add("Reshape", build.add("Transpose", blocks, perm=[0, 1, 4, 2, 3]), shape)

    transposed = along_rows("image", "rows", "row_matrix")
    whole = along_rows(transposed, "columns", "column_matrix")
    build.add("Slice", whole, build.whole(0, 0), "size", build.whole(2, 3), output="filtered")
    return build.model(
        "filter",
        {"image": PICTURE, "row_matrix": ("row_values", "row_taps"), "column_matrix": ("column_values", "column_taps")},
        {"filtered": (1, 3, "filtered_height", "filtered_width")},
        whole={"rows": ("row_blocks", "row_taps"), "columns": ("column_blocks", "column_taps"), "size": (2,)},
    )


def faintest() -> onnx.ModelProto:
    """The strength below which a band of a gradient is taken for rounding: a share of its own, and at least `least`."""
    build = Builder()
    share = build.add("Mul", build.root_mean_square("gradient"), "share")
    build.add("Max", share, "least", output="faintest")
    inputs = {"gradient": PICTURE, "share": NUMBER, "least": NUMBER}
    return build.model("faintest", inputs, {"faintest": (1, 1, 1, 1)})


def unit() -> onnx.ModelProto:
    """A picture less another, divided by its root mean square, or by `faintest` where that is more."""
    build = Builder()
    band = build.add("Sub", "fine", "coarse")
    strength = build.add("Max", build.root_mean_square(band), "faintest")
    build.add("Div", band, strength, output="unit")
    coarse: Shape = (1, "planes", "coarse_height", "coarse_width")  # a picture, or a single 0
    return build.model("unit", {"fine": PICTURE, "coarse": coarse, "faintest": (1, 1, 1, 1)}, {"unit": PICTURE})


def merge() -> onnx.ModelProto:
    """The sum of two pictures."""
    build = Builder()
    build.add("Add", "one", "other", output="merged")
    return build.model("merge", {"one": PICTURE, "other": PICTURE}, {"merged": PICTURE})


def colours() -> onnx.ModelProto:
    """A gradient whose pixels are each multiplied by a matrix: [3, 3] times R, G and B."""
    build = Builder()
    pixels = build.add("Reshape", "gradient", build.whole(1, 3, -1))
    product = build.add("MatMul", "matrix", pixels)
    build.add("Reshape", product, build.add("Shape", "gradient"), output="coloured")
    return build.model("colours", {"gradient": PICTURE, "matrix": (3, 3)}, {"coloured": PICTURE})


def _norm(name: str, strength: Callable[[Builder], str]) -> onnx.ModelProto:
    build = Builder()
    build.add("Div", "gradient", build.add("Add", strength(build), "epsilon"), output="direction")
    return build.model(name, {"gradient": PICTURE, "epsilon": NUMBER}, {"direction": PICTURE})


def norm_std() -> onnx.ModelProto:
    """A gradient divided by its standard deviation, in two passes."""
    return _norm("norm-std", lambda b: b.root_mean_square(b.add("Sub", "gradient", b.mean("gradient"))))


def norm_l2() -> onnx.ModelProto:
    """A gradient divided by its root mean square."""
    return _norm("norm-l2", lambda build: build.root_mean_square("gradient"))


def norm_mean_abs() -> onnx.ModelProto:
    """A gradient divided by the mean of its absolute values."""
    return _norm("norm-mean-abs", lambda build: build.mean(build.add("Abs", "gradient")))


def tv() -> onnx.ModelProto:
    """A direction less `strength` times the slope of the image's total variation, sum of sqrt(dx² + dy² + flat).

    `below` names the row under each one, the last itself; `above` the one over it, the first the last.
    """
    build = Builder()
    last = build.columns("image", build.whole(-1), build.whole(_END))
    right = build.add("Concat", build.columns("image", build.whole(1), build.whole(_END)), last, axis=3)
    dx = build.add("Sub", right, "image")
    dy = build.add("Sub", build.add("Gather", "image", "below", axis=2), "image")
    squares = build.add("Add", build.add("Mul", dx, dx), build.add("Mul", dy, dy))
    share = build.add("Div", "strength", build.add("Sqrt", build.add("Add", squares, "flat")))
    dx, dy = build.add("Mul", dx, share), build.add("Mul", dy, share)
    # What comes in over an edge is the last difference, which is 0.
    across = build.add("Sub", dx, build.turned(dx, build.whole(-1)))
    down = build.add("Sub", dy, build.add("Gather", dy, "above", axis=2))
    build.add("Add", "direction", build.add("Add", across, down), output="pulled")
    inputs = {"direction": PICTURE, "image": PICTURE, "strength": NUMBER, "flat": NUMBER}
    return build.model("tv", inputs, {"pulled": PICTURE}, whole={"below": ("height",), "above": ("height",)})


def l2() -> onnx.ModelProto:
    """A direction less `strength` times the image's distance from the middle of its range."""
    build = Builder()
    pull = build.add("Mul", build.add("Sub", "image", "middle"), "strength")
    build.add("Sub", "direction", pull, output="pulled")
    inputs = {"direction": PICTURE, "image": PICTURE, "strength": NUMBER, "middle": NUMBER}
    return build.model("l2", inputs, {"pulled": PICTURE})


def momentum() -> onnx.ModelProto:
    """What is left of a velocity, and a direction on top: the next velocity, and the next direction."""
    build = Builder()
    build.add("Add", build.add("Mul", "velocity", "momentum"), "direction", output="accelerated")
    inputs = {"direction": PICTURE, "velocity": PICTURE, "momentum": NUMBER}
    return build.model("momentum", inputs, {"accelerated": PICTURE})


def adam() -> onnx.ModelProto:
    """Adam (Kingma and Ba 2015): the next running means of directions and of their squares, and what they point to.

    The shares are what a direction adds to each mean; the weights are what the means are divided by to be unbiased.
    """
    build = Builder()
    ahead = build.add("Mul", build.add("Sub", "direction", "mean"), "mean_share")
    build.add("Add", "mean", ahead, output="next_mean")
    ahead = build.add("Mul", build.add("Sub", build.add("Mul", "direction", "direction"), "square"), "square_share")
    build.add("Add", "square", ahead, output="next_square")
    size = build.add("Sqrt", build.add("Div", "next_square", "square_weight"))
    unbiased = build.add("Div", "next_mean", "mean_weight")
    build.add("Div", unbiased, build.add("Add", size, "epsilon"), output="adapted")
    numbers = dict.fromkeys(("mean_share", "square_share", "mean_weight", "square_weight", "epsilon"), NUMBER)
    return build.model(
        "adam",
        {"direction": PICTURE, "mean": PICTURE, "square": PICTURE, **numbers},
        {"adapted": PICTURE, "next_mean": PICTURE, "next_square": PICTURE},
    )


def step() -> onnx.ModelProto:
    """The image `rate` times a direction further, a number or one for each pixel, and within its limits."""
    build = Builder()
    moved = build.add("Add", "image", build.add("Mul", "direction", "rate"))
    build.add("Clip", moved, "low", "high", output="climbed")
    rate: Shape = (1, 1, "rate_height", "rate_width")
    return build.model(
        "step",
        {"image": PICTURE, "direction": PICTURE, "rate": rate, "low": (), "high": ()},
        {"climbed": PICTURE},
    )


def rate() -> onnx.ModelProto:
    """What `step` multiplies a direction by where a mask lets it move, and the step size is not always the same."""
    build = Builder()
    build.add("Mul", "mask", "step_size", output="rate")
    mask: Shape = (1, 1, "height", "width")
    return build.model("rate", {"mask": mask, "step_size": NUMBER}, {"rate": mask})


GRAPHS: dict[str, Callable[[], onnx.ModelProto]] = {
    "probe.onnx": probe,
    "roll.onnx": roll,
    "check.onnx": check,
    "filter.onnx": filtered,
    "faintest.onnx": faintest,
    "unit.onnx": unit,
    "merge.onnx": merge,
    "colours.onnx": colours,
    "norm-std.onnx": norm_std,
    "norm-l2.onnx": norm_l2,
    "norm-mean-abs.onnx": norm_mean_abs,
    "tv.onnx": tv,
    "l2.onnx": l2,
    "momentum.onnx": momentum,
    "adam.onnx": adam,
    "rate.onnx": rate,
    "step.onnx": step,
}

if __name__ == "__main__":
    for name, build_graph in GRAPHS.items():
        write_whole(FOLDER / name, build_graph().SerializeToString())
