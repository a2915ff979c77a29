"""Who is timed: onnxdream on each provider, and its peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class System:
    """One contestant: `maker` is "module:class" in this folder, made with `options` in `environment`'s Python."""

    name: str
    title: str
    environment: str
    maker: str
    options: Mapping[str, str] = field(default_factory=dict)
    precision: str = "fp32"

    @property
    def is_ours(self) -> bool:
        """Whether it is onnxdream."""
        return self.maker == "ours:Ours"

    @property
    def is_peer(self) -> bool:
        """Whether it is another way to the same gradient."""
        return not self.is_ours and not self.is_floor

    @property
    def is_floor(self) -> bool:
        """Whether it has no gradient to check."""
        return self.maker == "floor:Floor"


def _ours(provider: str, environment: str, precision: str = "fp32") -> System:
    tail = "" if precision == "fp32" else f"-{precision}"
    options = {"provider": provider, "precision": precision}
    return System(
        f"{provider}{tail}", f"onnxdream, {provider} {precision}", environment, "ours:Ours", options, precision
    )


def _torch(name: str, title: str, environment: str = "pytorch", precision: str = "fp32", **options: str) -> System:
    return System(
        name, f"PyTorch {title}", environment, "peer_pytorch:PyTorch", {**options, "precision": precision}, precision
    )


SYSTEMS = (
    _ours("cpu", "runtime"),
    _ours("openvino", "openvino"),
    _ours("openvino", "openvino", "bf16"),
    _ours("cuda", "cuda"),
    System("tf-function", "TensorFlow tf.function", "tensorflow", "peer_tensorflow:TensorFlow"),
    _torch("torch-eager", "eager, channels last"),
    _torch("torch-compile", "torch.compile", form="compile"),
    _torch("torch-bf16", "bf16 autocast", precision="bf16"),
    _torch("torch-cuda-eager", "CUDA eager, channels last", "pytorch-cuda", device="cuda"),
    _torch("torch-cuda-compile", "CUDA torch.compile", "pytorch-cuda", device="cuda", form="compile"),
    _torch("torch-cuda-fp16", "CUDA fp16, CUDA graph", "pytorch-cuda", "fp16", device="cuda", form="graph"),
    System("floor", "the convolutions alone", "tensorflow", "floor:Floor"),
)
