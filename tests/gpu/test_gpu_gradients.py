"""Compares losses and gradients of every bundle on a GPU with those on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gpu_placement import require_on_gpu
from pictures_fixture import photograph

from onnxdream.models import contract
from onnxdream.models.arrays import Floats
from onnxdream.runtime import Bundle
from onnxdream.runtime.bundle.channel_weights import plain_weights
from onnxdream.runtime.bundle.objective import Objective, default_inputs
from onnxdream.runtime.bundle.sessions import Session, Sessions, model_for
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.session import open_session

CPU = Machine("cpu", 4)
# Precision -> largest relative error of a loss, smallest cosine of the gradients. The gradient of a maximum jumps where
# two values are nearly equal, as in a dark sky, so the losses measure the precision better than the cosine does. On an
# H200 the losses differed by at most 4e-7 (fp32) and 4e-5 (others); the cosines were at least 0.99984 and 0.986.
BOUNDS = {"fp32": (2e-6, 0.999), "fp16": (2e-4, 0.97), "mixed": (2e-4, 0.97)}


def all_layers(bundle: Bundle) -> Objective:
    """Returns the sum of all layers."""
    return Objective(np.ones(len(bundle.metadata.layers), np.float32))


def picture(height: int, width: int) -> Floats:
    """Returns a photograph as an image of a bundle."""
    return np.ascontiguousarray(np.moveaxis(photograph(height, width).astype(np.float32) / 127.5 - 1, 2, 0))


def cosine(one: Floats, other: Floats) -> float:
    """Returns the cosine of the angle between two arrays."""
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("size", [(384, 512), (301, 223), (96, 80)])
def test_losses_and_gradients_agree_with_the_cpu(bundle: Bundle, cuda: Machine, size: tuple[int, int]) -> None:
    image, objective = picture(*size), all_layers(bundle)
    machine = replace(cuda, precision=bundle.precision)
    losses, gradient = Session(bundle, *size, machine).evaluate(image, objective)
    # The GPU's graph on the CPU, not the variant of the graph that is made for CPUs.
    sizes = {contract.BATCH: 1, contract.HEIGHT: size[0], contract.WIDTH: size[1]}
    reference = open_session(bundle.data, CPU, sizes)
    feed = {contract.IMAGE: image[None], **objective.inputs}
    expected_losses, expected = (found[0] for found in reference.run([contract.LOSSES, contract.GRADIENT], feed))
    max_error, min_cosine = BOUNDS[bundle.precision]
    error = float(np.abs(losses / expected_losses - 1).max())
    similarity, ratio = cosine(gradient, expected), float(np.linalg.norm(gradient) / np.linalg.norm(expected))
    print(f"\n{bundle.name} {size}: loss error {error:.2e}, cosine {similarity:.8f}, norm ratio {ratio:.6f}")
    assert error < max_error
    assert similarity > min_cosine
    assert ratio == pytest.approx(1, abs=1 - min_cosine)


def assert_as_on_the_cpu(bundle: Bundle, cuda: Machine, objective: Objective) -> None:
    """Compares the losses and the gradient of an objective on a GPU with those on the CPU."""
    size = 96, 80
    (losses, gradient), (expected_losses, expected) = (
        Session(bundle, *size, replace(machine, precision=bundle.precision)).evaluate(picture(*size), objective)
        for machine in (cuda, CPU)
    )
    np.testing.assert_allclose(losses, expected_losses, rtol=10 * BOUNDS[bundle.precision][0])
    assert cosine(gradient, expected) > BOUNDS[bundle.precision][1]


def test_channels_are_weighted_on_the_gpu(bundle: Bundle, cuda: Machine) -> None:
    weights = plain_weights(bundle.metadata.layers)
    weights[::2] = 0
    assert_as_on_the_cpu(bundle, cuda, replace(all_layers(bundle), channel_weights=weights))


@pytest.mark.parametrize("radius", [0.0, 0.2])
def test_neurons_are_weighted_by_their_position_on_the_gpu(bundle: Bundle, cuda: Machine, radius: float) -> None:
    positions = np.tile(np.array([0.6, 0.3, radius], np.float32), (len(bundle.metadata.layers), 1))
    assert_as_on_the_cpu(bundle, cuda, replace(all_layers(bundle), positions=positions))


def test_fp32_is_fp32(cuda: Machine) -> None:
    """TF32 keeps only 10 bits of each factor; its losses differ ten times as much from the CPU's as those of fp32."""
    bundle, size = Bundle.built_in(), (384, 512)
    image, objective = picture(*size), all_layers(bundle)
    expected, _ = Session(bundle, *size, CPU).evaluate(image, objective)
    errors = {}
    for precision in ("fp32", "fp16"):  # fp16 permits TF32 in the convolutions of an fp32 bundle
        losses, _ = Session(bundle, *size, replace(cuda, precision=precision)).evaluate(image, objective)  # type: ignore[arg-type]
        errors[precision] = float(np.abs(losses / expected - 1).max())
    print(f"\nlargest error of a loss: {errors}")
    assert errors["fp32"] < BOUNDS["fp32"][0]


@pytest.mark.parametrize("takes_positions", [False, True])
def test_every_kernel_runs_on_the_gpu(bundle: Bundle, takes_positions: bool, cuda: Machine, tmp_path: Path) -> None:
    machine = replace(cuda, precision=bundle.precision)
    feed = {contract.IMAGE: picture(96, 80)[None], **default_inputs(bundle.metadata.layers)}
    if not takes_positions:
        del feed[contract.POSITION]
    feed |= all_layers(bundle).inputs
    sizes = {contract.BATCH: 1, contract.WEIGHTS_BATCH: 1, contract.HEIGHT: 96, contract.WIDTH: 80}
    require_on_gpu(model_for(bundle, machine, takes_positions), machine, feed, tmp_path, sizes)


def test_positions_have_the_losses_of_the_cpu(bundle: Bundle, cuda: Machine) -> None:
    layers = len(bundle.metadata.layers)
    objective = replace(all_layers(bundle), positions=np.tile(np.array([0.4, 0.6, 0.2], np.float32), (layers, 1)))
    found, expected = (
        Session(bundle, 96, 80, replace(machine, precision=bundle.precision), takes_positions=True).evaluate(
            picture(96, 80), objective
        )[0]
        for machine in (cuda, CPU)
    )
    np.testing.assert_allclose(found, expected, rtol=10 * BOUNDS[bundle.precision][0])


def test_a_size_has_the_same_losses_after_another_size(bundle: Bundle, cuda: Machine) -> None:
    machine, sessions = replace(cuda, precision=bundle.precision), Sessions(bundle)
    found = [
        sessions.get(*size, machine).evaluate(picture(*size), all_layers(bundle))[0]
        for size in ((96, 80), (200, 304), (96, 80))
    ]
    np.testing.assert_array_equal(found[0], found[2])
    for size, losses in zip(((96, 80), (200, 304)), found, strict=False):
        expected, _ = Session(bundle, *size, replace(CPU, precision=bundle.precision)).evaluate(
            picture(*size), all_layers(bundle)
        )
        np.testing.assert_allclose(losses, expected, rtol=10 * BOUNDS[bundle.precision][0])
