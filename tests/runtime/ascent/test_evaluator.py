"""Losses and gradients of images of any size: as a whole, in tiles, and when memory runs out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from onnxdream.models.arrays import Floats, Size
from onnxdream.models.assembly import DEFAULT
from onnxdream.runtime.ascent.evaluator import Evaluator
from onnxdream.runtime.bundle.bundle import Bundle
from onnxdream.runtime.bundle.means import functions_towards
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Session, Sessions
from onnxdream.runtime.dream.run import dream
from onnxdream.runtime.errors import OutOfMemoryError
from onnxdream.runtime.provider.budget import MemoryBudgetError
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.settings.parsing import GuideBy
from onnxdream.runtime.settings.settings import Execution, Settings

MACHINE = Machine("cpu", 1)
OBJECTIVE = Objective(np.array([1.0, -0.5, 2.0], np.float32))


@pytest.fixture(scope="module")
def tiny(tiny_path: Path) -> Bundle:
    return Bundle.load(tiny_path)


def image(height: int, width: int) -> Floats:
    return np.random.default_rng(1).uniform(-1, 1, (3, height, width)).astype(np.float32)


def settings(tile_pixels: int | None, overlap: int = 32) -> Settings:
    return Settings(tile_overlap=overlap, execution=Execution("cpu", 1, tile_pixels=tile_pixels))


def evaluator(
    source: Bundle | Sessions, chosen: Settings, largest: tuple[int, int], objective: Objective = OBJECTIVE
) -> Evaluator:
    sessions = source if isinstance(source, Sessions) else Sessions(source)
    return Evaluator(sessions, chosen, MACHINE, objective, Size(*largest))


def cosine(one: Floats, other: Floats) -> float:
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("with_channels", [False, True])
def test_an_image_that_fits_is_evaluated_as_by_a_session(tiny: Bundle, with_channels: bool) -> None:
    picture = image(96, 80)
    channels = np.random.default_rng(2).random(42).astype(np.float32) if with_channels else None
    objective = replace(OBJECTIVE, channel_weights=channels)
    found = evaluator(tiny, settings(96 * 80), (96, 80), objective).evaluate(picture)
    expected = Session(tiny, 96, 80, Machine("cpu", 1)).evaluate(picture, objective)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("tile_pixels", [300 * 300, 100 * 100])
@pytest.mark.parametrize("kind", ["cosine", "caricature"])
def test_a_function_of_the_means_is_that_of_the_whole_picture(tiny: Bundle, kind: str, tile_pixels: int) -> None:
    """In tiles, the means are the area-weighted means of the tiles', and all tiles take the slope there."""
    picture, size = image(150, 220), (150, 220)
    layers = tiny.metadata.layers
    target = np.random.default_rng(4).random(42).astype(np.float32)
    function = functions_towards(layers, OBJECTIVE.layer_weights, target, GuideBy(kind))
    chosen, sessions = settings(tile_pixels), Sessions(tiny)
    found = evaluator(sessions, chosen, size, replace(OBJECTIVE, function=function))
    assert len(found.tile_plan(Size(*size)).tiles) == (1 if tile_pixels == 300 * 300 else 9)
    means = []
    for channel in range(42):
        one = np.eye(42, dtype=np.float32)[channel]
        losses, _ = evaluator(sessions, chosen, size, replace(OBJECTIVE, channel_weights=one)).evaluate(picture)
        means.append(losses.sum())
    before = np.random.default_rng(5).random(42).astype(np.float32)
    evaluation = found.evaluate_at(picture, before)
    assert evaluation.means is not None
    np.testing.assert_allclose(evaluation.means, means, rtol=1e-5)
    np.testing.assert_allclose(evaluation.losses, function.values(evaluation.means))
    static = replace(OBJECTIVE, channel_weights=function.slopes(before))
    np.testing.assert_array_equal(evaluation.gradient, evaluator(sessions, chosen, size, static).evaluate(picture)[1])
    losses, gradient = found.evaluate(picture)  # at the image's own means
    own = found.evaluate_at(picture, evaluation.means)
    np.testing.assert_array_equal(losses, own.losses)
    np.testing.assert_array_equal(gradient, own.gradient)


@pytest.mark.parametrize("tile_pixels", [1, 17 * 30, 60 * 60, 10**4])
@pytest.mark.parametrize("name", ["tiny.onnx", "tiny-lite.onnx"])
def test_tiles_overlap_as_far_as_half_of_a_tile_allows(name: str, tile_pixels: int, tiny_path: Path) -> None:
    bundle, size = Bundle.load(tiny_path.with_name(name)), Size(273, 190)
    objective = Objective(np.ones(len(bundle.metadata.layers), np.float32))
    chosen = replace(settings(tile_pixels), global_tiles=True)
    plan = evaluator(bundle, chosen, size, objective).tile_plan(size)
    wanted = min(32, min(plan.tile_size) // 2)
    for tile, starts in zip(plan.tile_size, ({one.top for one in plan}, {one.left for one in plan}), strict=True):
        assert all(start + tile - after >= wanted for start, after in pairwise(sorted(starts)))


@pytest.mark.parametrize("size", [(150, 220), (64, 300), (128, 128)])
def test_the_losses_are_the_area_weighted_mean_of_the_tiles(tiny: Bundle, size: tuple[int, int]) -> None:
    picture, cut = image(*size), evaluator(tiny, settings(100 * 100), size)
    losses, _ = cut.evaluate(picture)
    tile_plan = cut.tile_plan(Size(*size))
    assert len(tile_plan.tiles) > 1
    session = Session(tiny, *tile_plan.tile_size, Machine("cpu", 1))
    expected = np.zeros(3)
    for tile in tile_plan:
        rows, columns = tile.window
        found, _ = session.evaluate(np.ascontiguousarray(picture[:, rows, columns]), OBJECTIVE)
        expected += found * np.outer(tile.row_weights, tile.column_weights).sum() / (size[0] * size[1])
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    whole, _ = Session(tiny, *size, Machine("cpu", 1)).evaluate(picture, OBJECTIVE)
    np.testing.assert_allclose(losses, whole, rtol=0.05)


def test_the_gradient_is_blended_from_the_tiles_at_the_scale_of_the_whole_picture(tiny: Bundle) -> None:
    size = 150, 220
    picture, cut = image(*size), evaluator(tiny, settings(100 * 100), size)
    _, gradient = cut.evaluate(picture)
    tile_plan = cut.tile_plan(Size(*size))
    session = Session(tiny, *tile_plan.tile_size, Machine("cpu", 1))
    expected = np.zeros((3, *size))
    for tile in tile_plan:
        rows, columns = tile.window
        _, tile_gradient = session.evaluate(np.ascontiguousarray(picture[:, rows, columns]), OBJECTIVE)
        share = tile_plan.tile_size[0] * tile_plan.tile_size[1] / (size[0] * size[1])
        expected[:, rows, columns] += tile_gradient * np.outer(tile.row_weights, tile.column_weights) * share
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize(("path", "pixels"), [("tiny", 100 * 100), ("embedded", 160 * 160)])
def test_the_gradient_of_tiles_agrees_with_the_whole_picture_s(tiny: Bundle, path: str, pixels: int) -> None:
    bundle = tiny if path == "tiny" else Bundle.built_in()
    picture = image(220, 300)
    cut, whole = (evaluator(bundle, settings(most, 64), (220, 300)) for most in (pixels, 220 * 300))
    assert (len(cut.tile_plan(Size(220, 300)).tiles) > 3, len(whole.tile_plan(Size(220, 300)).tiles)) == (True, 1)
    (_, tiled), (_, exact) = cut.evaluate(picture), whole.evaluate(picture)
    assert cosine(tiled, exact) > 0.98
    # Above 1: unpadded convolutions leave a small tile fewer cells than its share of the picture's.
    assert np.linalg.norm(tiled) / np.linalg.norm(exact) == pytest.approx(1.05, abs=0.1)


def test_the_caller_may_change_a_gradient(tiny: Bundle) -> None:
    for pixels in (96 * 80, 64 * 64):
        picture, found = image(96, 80), evaluator(tiny, settings(pixels), (96, 80))
        _, first = found.evaluate(picture)
        kept = first.copy()
        first *= 0
        np.testing.assert_array_equal(found.evaluate(picture)[1], kept)
        np.testing.assert_array_equal(picture, image(96, 80))


def test_a_picture_smaller_than_a_tile_is_its_only_tile(tiny: Bundle) -> None:
    found = evaluator(tiny, settings(100 * 100), (500, 500))
    assert found.tile_plan(Size(40, 50)).tile_size == (40, 50)
    assert found.tile_plan(Size(500, 500)).tile_size[0] <= 100


def test_tiles_follow_from_the_budget_and_one_too_small_is_refused(tiny: Bundle) -> None:
    sizes = []
    for memory in (250, 300, 1000):
        chosen = replace(settings(None), execution=Execution("cpu", 1, memory=memory * 10**6))
        sizes.append(evaluator(tiny, chosen, (600, 800)).execution.tile_pixels or 0)
    assert sizes == sorted(set(sizes))
    assert sizes[-1] > 600 * 800 > sizes[0]
    chosen = replace(settings(None), execution=Execution("cpu", 1, memory=10**8))
    with pytest.raises(MemoryBudgetError, match="a memory budget of 100MB is too small"):
        evaluator(tiny, chosen, (600, 800))


def test_tiles_follow_from_the_memory_cost_in_the_bundle(tiny: Bundle) -> None:
    memory_cost = tiny.metadata.memory
    chosen = replace(settings(None), execution=Execution("cpu", 1, memory=10**9))
    sizes = []
    for memory in (
        memory_cost,
        replace(memory_cost, per_pixel=2 * memory_cost.per_pixel),
        replace(memory_cost, fixed=memory_cost.fixed + 3e8),
    ):
        bundle = replace(tiny, metadata=replace(tiny.metadata, memory=memory))
        sizes.append(evaluator(bundle, chosen, (600, 800)).execution.tile_pixels or 0)
    assert max(sizes[1:]) < sizes[0]


# When memory runs out


class LimitedSessions(Sessions):
    """Sessions that have memory for pictures of at most `max_pixels` pixels."""

    def __init__(self, bundle: Bundle, max_pixels: int) -> None:
        super().__init__(bundle)
        self._max_pixels = max_pixels

    def get(self, height: int, width: int, machine: Machine, batch: int = 1, takes_positions: bool = False) -> Session:
        if height * width > self._max_pixels:
            raise OutOfMemoryError(f"no memory for {height * width} pixels")
        return super().get(height, width, machine, batch, takes_positions)


def test_out_of_memory_halves_the_tiles_and_is_reported(tiny: Bundle) -> None:
    lines: list[str] = []
    found = Evaluator(LimitedSessions(tiny, 40_000), settings(10**6), MACHINE, OBJECTIVE, Size(300, 400), lines.append)
    losses, gradient = found.evaluate(image(300, 400))
    assert len(lines) == 2  # 120 000 pixels, then at most 60 000, then at most 30 000
    assert lines[0] == "memory ran out with tiles of 400×300: continuing with half that area"
    assert len(found.tile_plan(Size(300, 400)).tiles) > 1
    assert (found.execution.tile_pixels or 0) <= 30_000
    again = evaluator(tiny, settings(found.execution.tile_pixels), (300, 400)).evaluate(image(300, 400))
    np.testing.assert_array_equal(losses, again[0])
    np.testing.assert_array_equal(gradient, again[1])


def test_at_the_smallest_tile_the_error_is_raised(tiny: Bundle) -> None:
    lines: list[str] = []
    found = Evaluator(LimitedSessions(tiny, 100), settings(10**6), MACHINE, OBJECTIVE, Size(300, 400), lines.append)
    with pytest.raises(OutOfMemoryError, match="no memory for"):
        found.evaluate(image(300, 400))
    assert len(lines) == 2
    assert (found.execution.tile_pixels or 0) >= 128**2


def test_a_dream_continues_and_its_record_has_the_notice(tiny: Bundle) -> None:
    picture = ((image(200, 300).transpose(1, 2, 0) + 1) * 120).astype(np.uint8)
    lines: list[str] = []
    chosen = replace(settings(10**6), steps=2, snapshots=())
    finished = dream(picture, tiny, chosen, sessions=LimitedSessions(tiny, 40_000), log=lines.append)
    assert (finished.record.ended, finished.record.steps_done) == ("finished", 2)
    assert (
        list(finished.record.notices)
        == lines
        == ["memory ran out with tiles of 300×200: continuing with half that area"]
    )
    assert finished.record.octaves[0].tiles > 1
    repeated = dream(picture, tiny, finished.record.settings_to_repeat())
    np.testing.assert_array_equal(finished.picture, repeated.picture)
    assert not repeated.record.notices


def test_the_tutorial_s_tiles_are_not_halved(tiny: Bundle) -> None:
    lines: list[str] = []
    chosen = replace(settings(None), tiling="tutorial")
    found = Evaluator(LimitedSessions(tiny, 40_000), chosen, MACHINE, OBJECTIVE, Size(300, 400), lines.append)
    with pytest.raises(OutOfMemoryError, match="no memory for 120000 pixels"):
        found.evaluate(image(300, 400))
    assert not lines


class EngineSessions(Sessions):
    """Sessions on the CPU that claim to build an engine for one size first, as those of TensorRT do."""

    def builds_engine(self, height: int, width: int, machine: Machine, takes_positions: bool = False) -> bool:
        return (height, width) == (96, 80) and self._key is None


def test_building_an_engine_is_reported_once(tiny: Bundle) -> None:
    lines: list[str] = []
    evaluator = Evaluator(EngineSessions(tiny), settings(None), MACHINE, OBJECTIVE, Size(96, 80), lines.append)
    for _ in range(3):
        evaluator.evaluate(image(96, 80))
    assert lines == ["building the TensorRT engine for 80×96: the first time, this takes minutes"]


# A process whose memory is really limited: to what it has, and some more.
LIMITED = """
import importlib.metadata, json, re, resource, sys, socket  # a record imports them, for which memory may be missing
from pathlib import Path
import numpy as np
from onnxdream.runtime.bundle.bundle import Bundle
from onnxdream.runtime.bundle.sessions import Session
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.dream.run import dream
from onnxdream.runtime.settings.settings import Execution, Settings
bundle = Bundle.load(sys.argv[1])
picture = np.random.default_rng(0).integers(0, 256, (600, 700, 3), np.uint8)
execution = Execution("cpu", 1, tile_pixels=600 * 700)
settings = Settings(steps=1, max_size=None, snapshots=(), execution=execution)
Session(bundle, 27, 27, Machine("cpu", 1))
size = int(re.findall(r"VmSize:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[2]),) * 2)
record = dream(picture, bundle, settings).record
print(json.dumps([record.ended, record.notices, record.octaves[0].tile, record.octaves[0].tiles]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory is limited and read as on Linux")
def test_a_dream_survives_memory_that_really_runs_out() -> None:
    command = [sys.executable, "-c", LIMITED, str(DEFAULT.path), str(250 * 10**6)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert finished.returncode == 0, finished.stderr
    ended, notices, tile, tiles = json.loads(finished.stdout)
    assert ended == "finished"
    assert notices[0] == "memory ran out with tiles of 700×600: continuing with half that area"
    assert tile[0] * tile[1] <= 300 * 700
    assert tiles > 1
