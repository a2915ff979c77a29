"""Tiles cover a picture once, and gradients that are blended from them have no seams."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures_fixture import noise

from onnxdream.models.arrays import Floats, Size
from onnxdream.runtime.ascent.evaluator import Evaluator
from onnxdream.runtime.bundle.bundle import Bundle
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Sessions
from onnxdream.runtime.dream.run import dream
from onnxdream.runtime.image.processor import ImageProcessor
from onnxdream.runtime.image.tiles import Tile, TilePlan, blended_tiles, tutorial_tiles
from onnxdream.runtime.provider.budget import tile_shape
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.settings.settings import Execution, Settings

SIZES = [(1, 1), (40, 97), (128, 128), (129, 300), (333, 500), (1024, 75), (1537, 2049)]
CUTS = [((128, 128), 64, 8), ((160, 96), 30, 32), ((64, 256), 0, 1), ((136, 128), 17, 8), ((96, 512), 48, 16)]


def coverage(tile_plan: TilePlan) -> Floats:
    """Returns the sum of all tiles' weights for each pixel, float32 [height, width]."""
    total = np.zeros(tile_plan.size, np.float32)
    for tile in tile_plan:
        total[tile.window] += tile.row_weights[:, None] * tile.column_weights
    return total


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("largest", "overlap", "grid"), CUTS)
def test_the_weights_of_every_pixel_add_up_to_one(
    size: tuple[int, int], largest: tuple[int, int], overlap: int, grid: int
) -> None:
    tile_plan = blended_tiles(Size(*size), Size(*largest), overlap, grid)
    np.testing.assert_allclose(coverage(tile_plan), 1, atol=1e-5)
    assert sum(tile.area for tile in tile_plan) == pytest.approx(size[0] * size[1], rel=1e-5)
    assert all(tile.row_weights.min() > 0 and tile.column_weights.min() > 0 for tile in tile_plan)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("largest", "overlap", "grid"), CUTS)
def test_tiles_are_equal_no_larger_than_allowed_and_inside_the_picture(
    size: tuple[int, int], largest: tuple[int, int], overlap: int, grid: int
) -> None:
    tile_plan = blended_tiles(Size(*size), Size(*largest), overlap, grid)
    assert {(len(tile.row_weights), len(tile.column_weights)) for tile in tile_plan} == {tile_plan.tile_size}
    assert all(side <= most for side, most in zip(tile_plan.tile_size, largest, strict=True))
    for tile in tile_plan:
        assert 0 <= tile.top <= size[0] - tile_plan.tile_size[0]
        assert 0 <= tile.left <= size[1] - tile_plan.tile_size[1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("largest", "overlap", "grid"), CUTS)
def test_all_tiles_but_the_last_start_on_the_grid_and_neighbours_overlap(
    size: tuple[int, int], largest: tuple[int, int], overlap: int, grid: int
) -> None:
    tile_plan = blended_tiles(Size(*size), Size(*largest), overlap, grid)
    for starts, side, length in (
        (sorted({tile.top for tile in tile_plan}), tile_plan.tile_size[0], size[0]),
        (sorted({tile.left for tile in tile_plan}), tile_plan.tile_size[1], size[1]),
    ):
        assert starts[0] == 0
        assert starts[-1] + side == length
        assert all(start % grid == 0 for start in starts[:-1])
        assert all(b - a <= side - overlap for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("size", [(220, 300), (333, 500), (1537, 2049)])
@pytest.mark.parametrize("grid", [8, 32])
def test_tiles_that_are_cut_for_memory_all_start_on_the_grid(size: tuple[int, int], grid: int) -> None:
    for pixels in (150 * 150, 200 * 200):
        tile_plan = blended_tiles(Size(*size), tile_shape(pixels, Size(*size), grid), 50, grid)
        assert len(tile_plan.tiles) > 1
        assert all(tile.top % grid == 0 and tile.left % grid == 0 for tile in tile_plan)


def test_tiles_are_not_cut_narrower_than_the_network_allows() -> None:
    assert blended_tiles(Size(260, 300), Size(256, 256), 64, 32).tile_size[0] < 203
    assert min(blended_tiles(Size(260, 300), Size(256, 256), 64, 32, 203).tile_size) >= 203
    assert min(blended_tiles(Size(260, 300), Size(203, 203), 64, 32, 203).tile_size) >= 203


def test_weights_fade_linearly_across_an_overlap() -> None:
    first, second = blended_tiles(Size(64, 96), Size(64, 64), 25, 8)
    assert (first.left, second.left) == (0, 32)
    steps = (np.arange(32) + 0.5) / 32
    np.testing.assert_allclose(second.column_weights[:32], steps, atol=1e-6)
    np.testing.assert_allclose(first.column_weights[32:], steps[::-1], atol=1e-6)


def test_a_picture_that_fits_is_one_whole_tile() -> None:
    tile_plan = blended_tiles(Size(100, 75), Size(128, 75), 64, 8)
    (tile,) = tile_plan
    assert tile_plan.tile_size == (100, 75)
    np.testing.assert_array_equal(tile.row_weights[:, None] * tile.column_weights, 1)


@pytest.mark.parametrize("size", [(300, 400), (512, 513), (600, 1400), (1024, 1025), (1537, 2048)])
def test_tutorial_tiles_are_those_of_its_loop(size: tuple[int, int]) -> None:
    expected = np.zeros(size, np.float32)
    ys, xs = ((list(range(0, side, 512))[:-1] or [0]) for side in size)
    for y in ys:
        for x in xs:
            expected[y : y + 512, x : x + 512] = 1
    np.testing.assert_array_equal(coverage(tutorial_tiles(Size(*size), 512)), expected)


def test_the_tutorial_skips_the_last_row_and_column() -> None:
    tile_plan = tutorial_tiles(Size(1100, 1100), 512)
    assert {(tile.top, tile.left) for tile in tile_plan} == {(0, 0), (0, 512), (512, 0), (512, 512)}
    assert coverage(tile_plan)[1024:].max() == 0


# Seams, in a picture of 256x320 that is cut into at least four tiles


SETTINGS = Settings(
    steps=6,
    step_size=0.05,
    snapshots=(),
    execution=Execution(provider="cpu", threads=2, tile_pixels=168 * 168),
)


@pytest.fixture(scope="module")
def embedded() -> Bundle:
    return Bundle.built_in()


PICTURE = noise(256, 320)
# Bounds of `seam`: a visible edge is a large jump, and a line that no tile's gradient reaches is a small one.
MIN_SEAM, MAX_SEAM = 1 / 1.1, 1.1


def gradient_and_plan(bundle: Bundle) -> tuple[Floats, TilePlan]:
    """Returns the gradient of the first step, and the tiles."""
    processor = ImageProcessor(PICTURE, bundle.metadata, SETTINGS)
    objective = Objective(np.array(SETTINGS.weights_of(bundle.metadata.layer_names), np.float32))
    evaluator = Evaluator(Sessions(bundle), SETTINGS, Machine("cpu", 2), objective, processor.size)
    _, gradient = evaluator.evaluate(processor.base(processor.size))
    return gradient, evaluator.tile_plan(processor.size)


def hard_cut(size: Size, *_: object) -> TilePlan:
    """Returns four tiles that touch without an overlap."""
    height, width = size
    down, across = np.ones(height // 2, np.float32), np.ones(width // 2, np.float32)
    corners = [(top, left) for top in (0, height // 2) for left in (0, width // 2)]
    return TilePlan(size, tuple(Tile(top, left, down, across) for top, left in corners))


def seam(image: NDArray[np.generic], tile_plan: TilePlan) -> float:
    """Returns the mean jump across the edges of tiles, divided by that across all other lines of an image."""
    values = image.astype(np.float64)
    edges, inside = [], []
    for axis, starts, side in (
        (1, {tile.top for tile in tile_plan}, tile_plan.tile_size[0]),
        (2, {tile.left for tile in tile_plan}, tile_plan.tile_size[1]),
    ):
        jumps = np.moveaxis(np.abs(np.diff(values, axis=axis)), axis, 0)
        lines = ({start - 1 for start in starts} | {start + side - 1 for start in starts}) & set(range(len(jumps)))
        assert lines, "there is only one tile along this axis"
        mask = np.isin(np.arange(len(jumps)), sorted(lines))
        edges.append(jumps[mask].ravel())
        inside.append(jumps[~mask].ravel())
    return float(np.concatenate(edges).mean() / np.concatenate(inside).mean())


def test_the_gradient_has_no_seams(embedded: Bundle) -> None:
    gradient, tile_plan = gradient_and_plan(embedded)
    assert len(tile_plan.tiles) >= 4
    assert MIN_SEAM <= seam(gradient, tile_plan) <= MAX_SEAM


def test_tiles_without_an_overlap_leave_seams(embedded: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxdream.runtime.ascent.evaluator.blended_tiles", hard_cut)
    assert not MIN_SEAM <= seam(*gradient_and_plan(embedded)) <= MAX_SEAM


def test_the_dreamed_picture_has_no_seams(embedded: Bundle) -> None:
    finished = dream(PICTURE, embedded, SETTINGS)
    (octave,) = finished.record.octaves
    tile_plan = blended_tiles(Size(256, 320), octave.tile, SETTINGS.tile_overlap, 8)
    assert octave.tiles == len(tile_plan.tiles) >= 4
    change = finished.picture.astype(np.float64) - PICTURE
    assert np.abs(change).mean() > 5
    for image in (finished.picture, change):  # in the picture itself, its grain might hide a seam
        assert MIN_SEAM <= seam(np.moveaxis(image, 2, 0), tile_plan) <= MAX_SEAM
