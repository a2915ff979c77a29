"""The update as a graph, compared with numpy part by part; rolls and loss rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from updates import ALL_PARTS, CPU, EXAMPLES, LIMITS, by_graph, by_numpy, random_image

from onnxdream.models.arrays import Floats
from onnxdream.runtime.ascent import graph_builder
from onnxdream.runtime.ascent.update import PARTS, parts_of
from onnxdream.runtime.ascent.update_graph import GraphUpdate, compile_loss_row, compile_roll, roll_inputs
from onnxdream.runtime.bundle.onnx_file import read_model_file
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.session import open_session
from onnxdream.runtime.provider.tensors import Device, Tensor
from onnxdream.runtime.settings.settings import OptimizerName, Settings

OPTIMIZERS = get_args(OptimizerName)
SIZES = [(1, 1), (1, 6), (5, 2), (33, 46), (64, 31)]


def assert_alike(found: list[Floats], expected: list[Floats]) -> None:
    """Asserts equality up to the rounding of float32."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=5e-6)


def names_of(settings: Settings) -> set[str]:
    return {part.name for part in parts_of(settings)}


def test_every_part_has_examples_that_turn_it_on() -> None:
    """The tests below then compare both forms of every new part."""
    assert list(EXAMPLES) == [part.name for part in PARTS]
    for part, examples in EXAMPLES.items():
        for settings in examples:
            assert names_of(Settings(**{"gradient_norm": "none", **settings})) == {part, "step"}, part


def test_every_optimizer_is_a_part_and_combines_with_all_other_parts() -> None:
    optimizers = set(OPTIMIZERS) - {"plain"}
    others = {part.name for part in PARTS} - optimizers
    for optimizer in OPTIMIZERS:
        assert names_of(Settings(**ALL_PARTS, optimizer=optimizer)) == others | ({optimizer} & optimizers)  # type: ignore[arg-type]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Returns a list of the models that are compiled from now on."""
    found: list[bytes] = []

    def keep(model: bytes, *rest: Any, **options: Any) -> Any:
        found.append(model)
        return open_session(model, *rest, **options)

    monkeypatch.setattr(graph_builder, "open_session", keep)
    return found


def assert_valid(models: list[bytes], count: int) -> None:
    """Asserts that the models are valid ONNX, and readable as the model of a bundle."""
    checker = pytest.importorskip("onnx.checker")
    assert len(models) == count
    for model in models:
        checker.check_model(model, full_check=True)
        assert read_model_file(model).metadata == {}


@pytest.mark.parametrize("part", EXAMPLES)
def test_the_model_of_a_part_is_valid(part: str, models: list[bytes]) -> None:
    for example in EXAMPLES[part]:
        GraphUpdate(
            Settings(**{"gradient_norm": "none", **example}), LIMITS, (33, 46), CPU.native_machine, colours=np.eye(3)
        )
    assert_valid(models, len(EXAMPLES[part]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_model_of_all_parts_is_valid(optimizer: Any, models: list[bytes]) -> None:
    schedules = {"step_size": (0.1, 0.01), "blur": (1.6, 0.0)}
    for more in ({}, schedules, {"clip": False}):
        settings = Settings(**{**ALL_PARTS, "optimizer": optimizer, "jitter": 3, **more})  # type: ignore[arg-type]
        for mask in (None, np.ones((33, 46), np.float32)):
            GraphUpdate(settings, LIMITS, (33, 46), CPU.native_machine, mask, np.eye(3))
    assert_valid(models, 6)


def test_the_models_of_rolls_and_loss_rows_are_valid(models: list[bytes]) -> None:
    compile_roll((5, 7), CPU.native_machine)
    compile_loss_row((5, 7), 3, CPU.native_machine)
    assert_valid(models, 2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("part", EXAMPLES)
def test_a_part_as_a_graph_agrees_with_numpy(part: str, size: tuple[int, int]) -> None:
    for example in EXAMPLES[part]:
        settings = Settings(**{"gradient_norm": "none", "step_size": 0.1, **example})
        image, gradients = random_image(size, 0), [random_image(size, seed) for seed in range(1, 5)]
        expected = by_numpy(settings, LIMITS, image, gradients, None)
        assert_alike(by_graph(settings, LIMITS, image, gradients), expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("limits", [(-1.0, 1.0), (0.0, 255.0)])
def test_all_parts_together_as_a_graph_agree_with_numpy(optimizer: Any, limits: tuple[float, float]) -> None:
    size = 45, 62
    settings = Settings(optimizer=optimizer, jitter=9, step_size=0.01 * (limits[1] - limits[0]), **ALL_PARTS)  # type: ignore[arg-type]
    image = np.clip(random_image(size, 0) * limits[1], *limits)
    mask = np.random.default_rng(8).random(size).astype(np.float32)
    mask[:5] = 0
    gradients, shifts = [random_image(size, seed) for seed in range(1, 5)], [(3, -2), (0, 0), (-9, 200), (45, 62)]
    found = by_graph(settings, limits, image, gradients, mask, shifts)
    for one, other in zip(found, by_numpy(settings, limits, image, gradients, mask), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5 * limits[1])
    np.testing.assert_array_equal(found[0][:, :5], image[:, :5])
    assert (found[0][:, 5:] != image[:, 5:]).mean() > 0.9


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("jitter", [0, 9])
def test_schedules_as_a_graph_agree_with_numpy(masked: bool, jitter: int) -> None:
    size = 45, 62
    settings = Settings(steps=4, step_size=(0.1, 0.01), blur=(1.6, 0.0), jitter=jitter)
    mask = np.random.default_rng(8).random(size).astype(np.float32) if masked else None
    image, gradients = random_image(size, 0, 0.2), [random_image(size, seed) for seed in range(1, 5)]
    shifts = [(3, -2), (0, 0), (-9, 200), (45, 62)] if jitter else None
    found = by_graph(settings, LIMITS, image, gradients, mask, shifts)
    assert_alike(found, by_numpy(settings, LIMITS, image, gradients, mask))
    for constant in ({"step_size": 0.1}, {"blur": 1.6}):  # each schedule makes a difference
        (other,) = by_graph(replace(settings, **constant), LIMITS, image, gradients, mask, shifts)  # type: ignore[arg-type]
        assert np.abs(other - found[0]).max() > 0.01


@pytest.mark.parametrize("kind", ["std", "l2", "mean-abs"])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-9, 0.0), (1e-3, 1.0), (1e4, 0.0)])
def test_norms_of_large_pictures_are_exact(kind: Any, scale: float, offset: float) -> None:
    """They are exact up to float32, even if the mean is a thousand times the deviation."""
    gradient = np.random.default_rng(5).normal(0, scale, (3, 1100, 1500)).astype(np.float32) + np.float32(offset)
    gradient[2] *= 2
    exact = gradient.astype(np.float64)
    norms = {"std": exact.std(), "l2": np.sqrt((exact**2).mean()), "mean-abs": np.abs(exact).mean()}
    settings = Settings(gradient_norm=kind, step_size=1.0, clip=False)
    (found,) = by_graph(settings, LIMITS, np.zeros_like(gradient), [gradient])
    strongest = np.abs(exact).max()
    assert np.abs(found).max() == pytest.approx(strongest / (norms[kind] + 1e-8), rel=2e-5)


def test_a_step_does_not_change_its_inputs() -> None:
    settings, size = Settings(optimizer="adam", tv=0.1), (7, 9)
    before = [CPU.tensor(random_image(size, seed)[None]) for seed in range(4)]
    before[3].fetch()[:] **= 2
    copies = [tensor.fetch().copy() for tensor in before]
    found = [CPU.empty((1, 3, *size)) for _ in range(3)]
    update = GraphUpdate(settings, LIMITS, size, CPU.native_machine)
    bound = update.bind(before[0], before[1], before[2:], found)
    bound.feed(update.inputs(1))
    bound.run()
    for tensor, copy in zip(before, copies, strict=True):
        np.testing.assert_array_equal(tensor.fetch(), copy)
    assert (found[0].fetch() != copies[0]).any()


def test_threads_do_not_change_a_bit() -> None:
    settings = Settings(optimizer="adam", **ALL_PARTS)  # type: ignore[arg-type]
    size = 61, 130
    image, gradients = random_image(size, 0), [random_image(size, seed) for seed in (1, 2)]
    one, two = (
        by_graph(settings, LIMITS, image, gradients, device=Device(Machine("cpu", threads))) for threads in (1, 2)
    )
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first, second)


def test_values_that_are_not_numbers_stay_so() -> None:
    """The next evaluation then ends the run, as with numpy."""
    gradient = random_image((6, 7), 1)
    gradient[1, 2, 3] = np.nan
    (found,) = by_graph(Settings(gradient_norm="none"), LIMITS, random_image((6, 7), 0), [gradient])
    assert np.isnan(found[1, 2, 3])


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -1), (-3, 4), (5, 7), (100, -200)])
def test_a_roll_agrees_with_numpy(shift: tuple[int, int]) -> None:
    image, found = random_image((5, 7), 0), CPU.empty((1, 3, 5, 7))
    compile_roll((5, 7), CPU.native_machine).bind(
        {"image": Tensor.on_host(image[None]), **roll_inputs(shift, (5, 7))}, found
    ).run()
    np.testing.assert_array_equal(found.fetch()[0], np.roll(image, shift, axis=(1, 2)))


@pytest.mark.parametrize("bad", [None, np.nan, np.inf, -np.inf])
def test_a_row_is_finite_if_the_gradient_is(bad: float | None) -> None:
    gradient, losses = random_image((8, 9), 0), np.array([[1.5, -2.0]], np.float32)
    if bad is not None:
        gradient[1, 7, 2] = bad
    row = CPU.empty((1, 3))
    read = {"losses": Tensor.on_host(losses), "gradient": Tensor.on_host(gradient[None])}
    compile_loss_row((8, 9), 2, CPU.native_machine).bind(read, row).run()
    np.testing.assert_array_equal(row.fetch()[0, :2], losses[0])
    assert np.isfinite(row.fetch()).all() == (bad is None)
    if bad is None:
        assert row.fetch()[0, 2] == pytest.approx(float(gradient.sum(dtype=np.float64)), rel=1e-4, abs=1e-4)
