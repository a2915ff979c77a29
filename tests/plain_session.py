"""Models in onnxruntime as it is, without the settings of onnxdream's runtime."""

from __future__ import annotations

import onnxruntime as ort


def open_plain(model: bytes) -> ort.InferenceSession:
    """Opens a serialized model on one thread of the CPU: others would spin between the runs of these small graphs."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # it warns of inputs with a default value, which the contract requires
    return ort.InferenceSession(model, options, ["CPUExecutionProvider"])
