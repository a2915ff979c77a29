"""Writes the small graphs that the runtime needs and that ship with it: `python -m onnxdream.export.graphs`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..models.files import write_whole
from .conversion import IR_VERSION, OPSET

FOLDER = Path(__file__).parents[1] / "models" / "graphs"


def probe() -> onnx.ModelProto:
    """One convolution, [1, 1, 5, 5] by a 3x3 kernel of ones: what a provider's self-test runs."""
    kernel = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "kernel")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "kernel"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, 5, 5])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1, 3, 3])],
        [kernel],
    )
    return helper.make_model(
        graph, producer_name="onnxdream", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
    )


GRAPHS = {"probe.onnx": probe}

if __name__ == "__main__":
    for name, build in GRAPHS.items():
        write_whole(FOLDER / name, build().SerializeToString())
