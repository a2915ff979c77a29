"""The folding of convolutions, dense layers, and the padding in front of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...models.arrays import Floats, Size
from ..forward import IMAGE, Convolution, Margins, Origin, Pad
from ..network import Call
from .activations import activated, is_linear
from .visits import POINT, Folding, folds, unsupported

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")
_POINTWISE = {"window": POINT, "strides": POINT, "same": False}


@folds("Conv2D")
def _convolution(folding: Folding, call: Call, x: str) -> str:
    layer = call.layer
    return _with_activation(folding, call, x, _kernel(layer.kernel), layer.groups, _window(folding, call))


@folds("DepthwiseConv2D")
def _depthwise(folding: Folding, call: Call, x: str) -> str:
    kernel = _kernel(call.layer.kernel)  # [height, width, channels, multiplier]
    return _with_activation(folding, call, x, _grouped(kernel), kernel.shape[2], _window(folding, call))


@folds("SeparableConv2D")
def _separable(folding: Folding, call: Call, x: str) -> str:
    kernel = _kernel(call.layer.depthwise_kernel)
    channels = kernel.shape[2] * kernel.shape[3]
    name, zeros = f"{call.name}_depthwise", np.zeros(channels, np.float32)
    window = _window(folding, call)
    depthwise = Convolution(
        name, (x,), kernel=_grouped(kernel), bias=zeros, origin=Origin(name), groups=kernel.shape[2], **window
    )
    x = folding.put(depthwise, channels)
    return _with_activation(folding, call, x, _kernel(call.layer.pointwise_kernel), 1, _POINTWISE)


@folds("Dense")
def _dense(folding: Folding, call: Call, x: str) -> str:
    """A dense layer, which multiplies the channels of each pixel, is a 1x1 convolution."""
    return _with_activation(folding, call, x, _kernel(call.layer.kernel)[None, None], 1, _POINTWISE)


def _with_activation(folding: Folding, call: Call, x: str, kernel: Floats, groups: int, window: dict[str, Any]) -> str:
    """Adds a layer that is a convolution, with its activation. `kernel` is HWIO."""
    layer, channels = call.layer, kernel.shape[3]
    if kernel.shape[2] * groups != folding.channels[x]:
        raise unsupported(
            call, f"reads {kernel.shape[2] * groups} numbers of a picture with {folding.channels[x]} channels"
        )
    bias = _kernel(layer.bias) if layer.use_bias else np.zeros(channels, np.float32)
    name = call.name if is_linear(layer) else f"{call.name}_convolution"
    name = folding.put(
        Convolution(name, (x,), kernel=kernel, bias=bias, origin=Origin(layer.name), groups=groups, **window), channels
    )
    if is_linear(layer):
        return folding.pass_on(call, name)
    return activated(folding, call, name)


@folds("ZeroPadding2D")
def _padding(folding: Folding, call: Call, x: str) -> str:
    """Padding belongs to the convolution behind it, if there is one."""
    if folding.network.same_padding_of(call) or _margins_taken_over(folding, call):
        return folding.pass_on(call, x)
    return folding.put(Pad(call.name, (x,), _margins(call)), folding.channels[x])


def _margins_taken_over(folding: Folding, padding: Call) -> bool:
    """Whether the margins of a padding become those of the convolution that reads it."""
    readers = folding.network.readers[padding.name]
    if len(readers) != 1 or readers[0].kind not in _CONVOLUTIONS or readers[0].layer.padding != "valid":
        return False
    layer = readers[0].layer
    spans = [(side - 1) * apart + 1 for side, apart in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    top, bottom, left, right = _margins(padding)
    return bool(max(top, bottom) < spans[0] and max(left, right) < spans[1])  # no window has zeros only


def _margins(call: Call) -> Margins:
    (top, bottom), (left, right) = call.layer.padding
    return top, bottom, left, right


def _window(folding: Folding, call: Call) -> dict[str, Any]:
    """Returns the arguments of a WindowOperator for a convolution, whose input may be padded."""
    layer = call.layer
    window = {
        "window": Size(*layer.kernel_size),
        "strides": Size(*layer.strides),
        "same": layer.padding == "same",
        "dilation": Size(*layer.dilation_rate),
    }
    padding = None if call.inputs[0] == IMAGE else folding.network.call(call.inputs[0])
    if padding is None or padding.kind != "ZeroPadding2D":
        return window
    if folding.network.same_padding_of(padding):
        return {**window, "same": True}
    return {**window, "margins": _margins(padding)} if _margins_taken_over(folding, padding) else window


def _kernel(variable: Any) -> Floats:
    return np.asarray(variable, np.float32)


def _grouped(kernel: Floats) -> Floats:
    """Returns a depthwise kernel [height, width, channels, multiplier] as HWIO in groups."""
    return kernel.reshape(*kernel.shape[:2], 1, -1)
