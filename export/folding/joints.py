"""The folding of layers that join several inputs."""

from __future__ import annotations

from ..forward import Concat, Product, Sum
from ..network import Call
from .pixelwise import with_constant
from .visits import Folding, folds, unsupported


@folds("Concatenate")
def _concatenate(folding: Folding, call: Call, *inputs: str) -> str:
    if call.layer.axis not in (-1, len(call.tensors[0].shape) - 1):
        raise unsupported(call, "concatenates other axes than channels")
    _require_same_pixels(folding, call, inputs)
    return folding.put(Concat(call.name, inputs), sum(folding.channels[x] for x in inputs))


@folds("Add")
def _add(folding: Folding, call: Call, *inputs: str) -> str:
    return with_constant(folding, call, *inputs) if call.constants else _sum(folding, call, inputs)


@folds("Average")
def _average(folding: Folding, call: Call, *inputs: str) -> str:
    shares = (folding.affine(f"{call.name}_{number}", x, 1 / len(inputs)) for number, x in enumerate(inputs))
    return _sum(folding, call, tuple(shares))


@folds("Subtract")
def _subtract(folding: Folding, call: Call, x: str, *others: str) -> str:
    if call.constants:
        return with_constant(folding, call, x)
    (other,) = others
    return _sum(folding, call, (x, folding.affine(f"{call.name}_negated", other, -1.0)))


@folds("Multiply")
def _multiply(folding: Folding, call: Call, *inputs: str) -> str:
    if call.constants:
        return with_constant(folding, call, *inputs)
    if len({folding.channels[x] for x in inputs}) > 1:
        raise unsupported(call, "multiplies different numbers of channels")
    folding.require_same_size(call, inputs)
    product, *others = inputs
    for number, other in enumerate(others, 1):
        name = call.name if number == len(others) else f"{call.name}_{number}"
        points = (not folding.has_pixels(product), not folding.has_pixels(other))
        product = folding.put(Product(name, (product, other), points), folding.channels[other])
    return product


@folds("TrueDivide", "Divide")
def _divide(folding: Folding, call: Call, *inputs: str) -> str:
    if not call.constants:
        raise unsupported(call, "divides by a picture")
    return with_constant(folding, call, *inputs)


@folds("CustomScaleLayer")
def _scaled_residual(folding: Folding, call: Call, x: str, residual: str) -> str:
    """Adds Inception-ResNet's x + scale * residual."""
    scale = float(call.layer.scale)
    return _sum(folding, call, (x, folding.affine(f"{call.name}_scaled", residual, scale, scale=scale)))


def _sum(folding: Folding, call: Call, inputs: tuple[str, ...]) -> str:
    if len({folding.channels[x] for x in inputs}) > 1:
        raise unsupported(call, "adds different numbers of channels")
    _require_same_pixels(folding, call, inputs)
    return folding.put(Sum(call.name, inputs), folding.channels[inputs[0]])


def _require_same_pixels(folding: Folding, call: Call, inputs: tuple[str, ...]) -> None:
    if len({folding.has_pixels(x) for x in inputs}) > 1:
        raise unsupported(call, "joins a picture with a single pixel")
    folding.require_same_size(call, inputs)
