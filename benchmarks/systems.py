"""The systems that are timed: onnxdream on each provider, and its peers, TensorFlow and PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class System:
    """A system to time: the class `implementation`, "module:class" in this folder, with `options` as its arguments.

    It runs in the Python of `environment`; `name` is for the command line, `title` for the tables.
    """

    name: str
    title: str
    environment: str
    implementation: str
    options: Mapping[str, str] = field(default_factory=dict)
    precision: str = "fp32"

    @property
    def is_onnxdream(self) -> bool:
        """Whether it is onnxdream."""
        return self.implementation == "onnxdream_system:OnnxDream"

    @property
    def is_peer(self) -> bool:
        """Whether it is another program that computes the same gradient."""
        return not self.is_onnxdream and not self.is_floor

    @property
    def is_floor(self) -> bool:
        """Whether it is the lower bound, which has no gradient to check."""
        return self.implementation == "floor:Floor"


def _onnxdream(provider: str, environment: str, precision: str = "fp32") -> System:
    suffix = "" if precision == "fp32" else f"-{precision}"
    options = {"provider": provider, "precision": precision}
    return System(
        f"{provider}{suffix}",
        f"onnxdream, {provider} {precision}",
        environment,
        "onnxdream_system:OnnxDream",
        options,
        precision,
    )


def _torch(name: str, title: str, environment: str = "pytorch", precision: str = "fp32", **options: str) -> System:
    return System(
        name, f"PyTorch {title}", environment, "peer_pytorch:PyTorch", {**options, "precision": precision}, precision
    )


SYSTEMS = (
    _onnxdream("cpu", "runtime"),
    _onnxdream("openvino", "openvino"),
    _onnxdream("openvino", "openvino", "bf16"),
    _onnxdream("cuda", "cuda"),
    System("tf-function", "TensorFlow tf.function", "tensorflow", "peer_tensorflow:TensorFlow"),
    _torch("torch-eager", "eager, channels last"),
    _torch("torch-compile", "torch.compile", form="compile"),
    _torch("torch-bf16", "bf16 autocast", precision="bf16"),
    _torch("torch-cuda-eager", "CUDA eager, channels last", "pytorch-cuda", device="cuda"),
    _torch("torch-cuda-compile", "CUDA torch.compile", "pytorch-cuda", device="cuda", form="compile"),
    _torch("torch-cuda-fp16", "CUDA fp16, CUDA graph", "pytorch-cuda", "fp16", device="cuda", form="graph"),
    System("floor", "the convolutions alone", "tensorflow", "floor:Floor"),
)
