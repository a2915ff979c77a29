"""PyTorch as a contestant: the folded forward graph in torch.nn.functional, its gradient by autograd."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from rows import STEP_SIZE, Case
from timing import timed
from torch.nn import functional

from onnxdream.models.arrays import Floats

_LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Lifts the gradient of a mean over a million values into the range of fp16; it cancels in the norm.
_FP16_SCALE = 65536.0


class Network(torch.nn.Module):
    """The operators of `forward.json` with the arrays of `forward.npz`; its value is the sum of the layers' means."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        facts = json.loads((case.folder / "forward.json").read_text())
        self.operators: list[dict[str, Any]] = facts["operators"]
        self.layers: list[str] = facts["layers"]
        self.limits: tuple[float, float] = tuple(facts["range"])
        read = Counter(name for op in self.operators for name in op["inputs"])
        # Where nobody else reads a ReLU's input it is overwritten, as torchvision does: a tenth faster.
        kept = {*self.layers, *(name for name, readers in read.items() if readers > 1)}
        self._own_input = {op["name"] for op in self.operators if op["inputs"][0] not in kept}
        with np.load(case.folder / "forward.npz") as arrays:
            for name in arrays.files:
                self.register_buffer(name.replace("/", "_"), torch.from_numpy(arrays[name]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Of an image [1, 3, height, width]."""
        values = {"image": image}
        for op in self.operators:
            values[op["name"]] = self._value(op, [values[name] for name in op["inputs"]])
        return torch.stack([values[layer].float().mean() for layer in self.layers]).sum()

    def _value(self, op: dict[str, Any], inputs: list[torch.Tensor]) -> torch.Tensor:
        kind, x = op["kind"], inputs[0]
        if kind == "Relu":
            return functional.relu(x, inplace=op["name"] in self._own_input)
        if kind == "Concat":
            return torch.cat(inputs, dim=1)
        if kind == "Sum":
            return x + inputs[1]
        window, strides = op["window"], op["strides"]
        padding = [(side - 1) // 2 if op["same"] else 0 for side in window]  # SAME is odd and of stride 1 here
        if kind == "MaxPool":
            return functional.max_pool2d(x, window, strides, padding)
        if kind == "AveragePool":
            return functional.avg_pool2d(x, window, strides, padding, count_include_pad=False)
        kernel, bias = (getattr(self, f"{op['name']}_{part}") for part in ("kernel", "bias"))
        return functional.conv2d(x, kernel, bias, strides, padding)


class PyTorch:
    """Channels last. `form` is eager, compile (the forward pass compiled, and autograd's backward with it) or graph
    (the whole step as a CUDA graph)."""

    def __init__(
        self, case: Case, threads: int, device: str = "cpu", form: str = "eager", precision: str = "fp32"
    ) -> None:
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32
        torch.backends.cudnn.benchmark = True
        self._device = device
        self._low = _LOW.get(precision)
        self._scale = _FP16_SCALE if precision == "fp16" else 1.0
        network = Network(case).to(device=device, memory_format=torch.channels_last)
        self._limits = network.limits
        self._loss: Any = torch.compile(network) if form == "compile" else network
        image = torch.from_numpy(np.load(case.image)[None]).to(device=device)
        self._image = image.contiguous(memory_format=torch.channels_last).requires_grad_()
        self._replay = self._captured().replay if form == "graph" else None

    def gradient(self) -> Floats:
        """Of the sum of the layers' means, [3, height, width], at the case's image."""
        _, gradient = self._loss_and_gradient()
        return np.ascontiguousarray(gradient[0].float().cpu().numpy())

    def step_seconds(self, count: int) -> list[float]:
        """Of that many whole steps, after one that is not counted."""
        return timed(self._advance, count)

    def versions(self) -> dict[str, str]:
        """Of what computes, and on which GPU."""
        gpu = {"gpu": torch.cuda.get_device_name()} if self._device == "cuda" else {}
        return {"torch": str(torch.__version__), **gpu}

    def _advance(self) -> None:
        if self._replay:
            self._replay()
        else:
            self._step()
        if self._device == "cuda":
            torch.cuda.synchronize()

    def _loss_and_gradient(self) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(self._device, self._low, cache_enabled=False) if self._low else nullcontext():
            loss = self._loss(self._image)
        (gradient,) = torch.autograd.grad(loss * self._scale, self._image)
        return loss, gradient

    def _step(self) -> torch.Tensor:
        loss, gradient = self._loss_and_gradient()
        with torch.no_grad():
            gradient = gradient / (gradient.std() + 1e-8)
            self._image.add_(gradient, alpha=STEP_SIZE).clamp_(*self._limits)
        return loss

    def _captured(self) -> torch.cuda.CUDAGraph:
        """A step as a CUDA graph; steps before the capture, as PyTorch asks for, and the image as it was."""
        start = self._image.detach().clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        with torch.no_grad():
            self._image.copy_(start)
        return graph
