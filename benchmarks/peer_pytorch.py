"""The systems of PyTorch: the folded forward graph in torch.nn.functional, and its gradient by autograd."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rows import STEP_SIZE, Case
from timing import timed
from torch.nn import functional

if TYPE_CHECKING:  # its environment has PyTorch and numpy, but not onnxdream
    from onnxdream.models.arrays import Image

_LOW_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Loss scaling: lifts the gradient of a mean over a million values into the range of fp16. The division by the standard
# deviation cancels it.
_FP16_SCALE = 65536.0


class Network(torch.nn.Module):
    """A module with the operators of `forward.json` and the arrays of `forward.npz`."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        facts = json.loads((case.folder / "forward.json").read_text())
        self.operators: list[dict[str, Any]] = facts["operators"]
        self.layers: list[str] = facts["layers"]
        self.squares: bool = facts["objective"] == "l2"
        readers = Counter(name for op in self.operators for name in op["inputs"])
        # An activation overwrites its input if nothing else reads it, as in torchvision: 10 % faster.
        names = {op["name"] for op in self.operators if op["kind"] == "Identity"}
        kept = {*self.layers, *names, *(name for name, count in readers.items() if count > 1)}
        self._in_place = {op["name"] for op in self.operators if op["inputs"][0] not in kept}
        with np.load(case.folder / "forward.npz") as arrays:
            for name in arrays.files:
                self.register_buffer(name.replace("/", "_"), torch.from_numpy(arrays[name]))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the sum of the layers' losses, float32 [], for an image [1, 3, height, width]."""
        values = {"image": image}
        for op in self.operators:
            values[op["name"]] = self._value(op, [values[name] for name in op["inputs"]])
        layers = [values[layer].float() for layer in self.layers]
        return torch.stack([(layer.square() if self.squares else layer).mean() for layer in layers]).sum()

    def _value(self, op: dict[str, Any], inputs: list[torch.Tensor]) -> torch.Tensor:
        x = inputs[0]
        match op["kind"]:
            case "Scale":
                return x * op["scale"] + op["offset"]
            case "Relu":
                return functional.relu(x, inplace=op["name"] in self._in_place)
            case "Relu6":
                return functional.relu6(x, inplace=op["name"] in self._in_place)
            case "Concat":
                return torch.cat(inputs, dim=1)
            case "Sum":
                return x + inputs[1]
            case "Identity":
                return x
            case "GlobalMean":
                return x.mean(dim=(2, 3), keepdim=True)
            case "MaxPool":
                return functional.max_pool2d(x, op["window"], op["strides"])
            case "AveragePool":  # SAME, with odd windows and stride 1
                padding = [side // 2 for side in op["window"]]
                return functional.avg_pool2d(x, op["window"], op["strides"], padding, count_include_pad=False)
        return self._convolution(op, x)

    def _convolution(self, op: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        kernel, bias = (getattr(self, f"{op['name']}_{part}") for part in ("kernel", "bias"))
        (top, bottom), (left, right) = _padding(op, x)
        if (top, left) == (bottom, right):
            return functional.conv2d(x, kernel, bias, op["strides"], (top, left), groups=op["groups"])
        padded = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(padded, kernel, bias, op["strides"], groups=op["groups"])


def _padding(op: dict[str, Any], x: torch.Tensor) -> list[tuple[int, int]]:
    """Returns the zeros before and behind the rows and the columns; SAME is TensorFlow's, whose extra zero is last."""
    if not op["same"]:
        return [(0, 0), (0, 0)]
    found = []
    for length, side, stride in zip(x.shape[2:], op["window"], op["strides"], strict=True):
        total = max((-(-length // stride) - 1) * stride + side - length, 0)
        found.append((total // 2, total - total // 2))
    return found


class PyTorch:
    """Computes gradients and times steps with images in channels-last layout.

    `form` is eager, compile (torch.compile compiles the forward pass, and autograd's backward pass with it) or graph
    (the whole step as a CUDA graph).
    """

    def __init__(
        self, case: Case, threads: int, device: str = "cpu", form: str = "eager", precision: str = "fp32"
    ) -> None:
        torch.set_num_threads(threads)
        # fp32 must not be computed as TF32.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True
        self._device = device
        self._low_precision = _LOW_PRECISION.get(precision)
        self._scale = _FP16_SCALE if precision == "fp16" else 1.0
        network = Network(case).to(device=device, memory_format=torch.channels_last)
        self._loss: Any = torch.compile(network) if form == "compile" else network
        image = torch.from_numpy(np.load(case.image)[None]).to(device=device)
        self._image = image.contiguous(memory_format=torch.channels_last).requires_grad_()
        self._replay = self._capture().replay if form == "graph" else None

    def gradient(self) -> Image:
        """Returns the gradient of the sum of the layers' losses at the case's image."""
        _, gradient = self._loss_and_gradient()
        return np.ascontiguousarray(gradient[0].float().cpu().numpy())

    def step_seconds(self, count: int) -> list[float]:
        """Returns the seconds of each of `count` whole steps, after one that is not counted."""
        return timed(self._advance, count)

    def versions(self) -> dict[str, str]:
        """Returns the version of PyTorch and, with device cuda, the name of the GPU."""
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
        with (
            torch.autocast(self._device, self._low_precision, cache_enabled=False)
            if self._low_precision
            else nullcontext()
        ):
            loss = self._loss(self._image)
        (gradient,) = torch.autograd.grad(loss * self._scale, self._image)
        return loss, gradient

    def _step(self) -> torch.Tensor:
        loss, gradient = self._loss_and_gradient()
        with torch.no_grad():
            gradient = gradient / (gradient.std() + 1e-8)
            self._image.add_(gradient, alpha=STEP_SIZE).clamp_(-1, 1)
        return loss

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Captures a step as a CUDA graph, after the warm-up steps that PyTorch requires, and restores the image."""
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
