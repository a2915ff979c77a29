"""Compares the graphs of updates, rolls and loss rows on a GPU with numpy, for every part of an update."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from gpu_placement import require_on_gpu
from updates import ALL_PARTS, EXAMPLES, LIMITS, by_graph, by_numpy, colours_of, random_image

from onnxdream.runtime.ascent import graph_builder
from onnxdream.runtime.ascent.update_graph import GraphUpdate, compile_loss_row, compile_roll, roll_inputs
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.session import open_session
from onnxdream.runtime.provider.tensors import Device
from onnxdream.runtime.settings.settings import OptimizerName, Settings


@pytest.fixture(scope="session")
def device(cuda: Machine) -> Device:
    return Device(cuda)


@pytest.mark.parametrize("size", [(33, 46), (384, 512)])
@pytest.mark.parametrize("part", EXAMPLES)
def test_a_part_agrees_with_numpy(part: str, size: tuple[int, int], device: Device) -> None:
    for example in EXAMPLES[part]:
        settings = Settings(**{"gradient_norm": "none", "step_size": 0.1, **example})
        image, gradients = random_image(size, 0), [random_image(size, seed) for seed in range(1, 4)]
        found = by_graph(settings, LIMITS, image, gradients, device=device)
        for one, other in zip(found, by_numpy(settings, LIMITS, image, gradients, None), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5, err_msg=str(example))


@pytest.mark.parametrize("optimizer", get_args(OptimizerName))
def test_all_parts_together_agree_with_numpy(optimizer: Any, device: Device) -> None:
    size = 45, 62
    settings = Settings(optimizer=optimizer, jitter=9, step_size=0.02, **ALL_PARTS)  # type: ignore[arg-type]
    image = np.clip(random_image(size, 0), *LIMITS)
    mask = np.random.default_rng(8).random(size).astype(np.float32)
    gradients, shifts = [random_image(size, seed) for seed in range(1, 4)], [(3, -2), (0, 0), (-9, 200)]
    found = by_graph(settings, LIMITS, image, gradients, mask, shifts, device)
    for one, other in zip(found, by_numpy(settings, LIMITS, image, gradients, mask), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=5e-5)


@pytest.mark.parametrize("jitter", [0, 9])
def test_every_kernel_of_the_runtime_s_own_graphs_runs_on_the_gpu(
    jitter: int, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[bytes] = []

    def keep(model: bytes, *rest: Any, **options: Any) -> Any:
        models.append(model)
        return open_session(model, *rest, **options)

    monkeypatch.setattr(graph_builder, "open_session", keep)
    size, mask = (45, 62), np.ones((45, 62), np.float32)
    examples = [{"gradient_norm": "none", **example} for part in EXAMPLES.values() for example in part]
    examples += [{**ALL_PARTS, "optimizer": optimizer} for optimizer in get_args(OptimizerName)]
    for example in examples:
        settings = Settings(**{**example, "jitter": jitter})
        GraphUpdate(settings, LIMITS, size, device.native_machine, mask, colours_of(settings))
    compile_roll(size, device.native_machine)
    compile_loss_row(size, 3, device.native_machine)
    for model in set(models):
        inputs = open_session(model, device.native_machine).get_inputs()
        feed = {i.name: np.ones(i.shape, np.int64 if "int64" in i.type else np.float32) for i in inputs}
        require_on_gpu(model, device.native_machine, feed, tmp_path)


@pytest.mark.parametrize("shift", [(0, 0), (-3, 4), (100, -200)])
def test_a_roll_agrees_with_numpy(shift: tuple[int, int], device: Device) -> None:
    image, found = random_image((50, 70), 0), device.empty((1, 3, 50, 70))
    compile_roll((50, 70), device.native_machine).bind(
        {"image": device.tensor(image[None]), **roll_inputs(shift, (50, 70))}, found
    ).run()
    np.testing.assert_array_equal(found.fetch()[0], np.roll(image, shift, axis=(1, 2)))


@pytest.mark.parametrize("bad", [None, np.nan, np.inf])
def test_a_row_is_finite_if_the_gradient_is(bad: float | None, device: Device) -> None:
    gradient, losses = random_image((80, 90), 0), np.array([[1.5, -2.0]], np.float32)
    if bad is not None:
        gradient[1, 70, 2] = bad
    row = device.empty((1, 3))
    read = {"losses": device.tensor(losses), "gradient": device.tensor(gradient[None])}
    compile_loss_row((80, 90), 2, device.native_machine).bind(read, row).run()
    np.testing.assert_array_equal(row.fetch()[0, :2], losses[0])
    assert np.isfinite(row.fetch()).all() == (bad is None)
