"""A memory budget: parsing it, refusing one that is too small, and keeping within it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from onnxdream.models.arrays import Size
from onnxdream.models.assembly import DEFAULT
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.provider.budget import Cost, MemoryBudgetError, default_budget, tile_shape
from onnxdream.runtime.settings.parsing import parse_memory

COST = Cost(per_tile_pixel=1710.0, fixed=25e6, per_picture_pixel=33.0)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GB", 10**9),
        ("512MB", 512 * 10**6),
        ("1.5GiB", 3 * 2**29),
        (" 2 mib ", 2**21),
        ("64kB", 64_000),
        ("3KiB", 3072),
        ("123456", 123456),
        ("7B", 7),
    ],
)
def test_sizes_are_parsed(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "GB", "0", "0GB", "0.2B", "-1GB", "1 TB", "1IB", "1GiGB", "1,5GB", "1e9", "nan", "inf", "one GB", "9" * 400],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="write a size as in 1GB or 512MB"):
        parse_memory(text)


@pytest.mark.parametrize("seed", range(20))
def test_the_refusal_of_a_budget_names_the_minimum_which_is_enough(seed: int) -> None:
    random = np.random.default_rng(seed)
    cost = Cost(*(float(random.uniform(*span)) for span in ((300, 9000), (1e6, 3e8), (12, 200))))
    pixels, smallest = int(random.integers(1, 10**8)), int(random.integers(19, 300))
    with pytest.raises(MemoryBudgetError) as refusal:
        cost.largest_tile(10**7, pixels, smallest)
    minimum = re.search(r"at least --memory (\d+MB)", str(refusal.value))
    assert minimum, refusal.value
    budget = parse_memory(minimum[1])
    assert cost.largest_tile(budget, pixels, smallest) >= max(128, smallest) ** 2
    with pytest.raises(MemoryBudgetError):  # the minimum is not larger than it has to be
        cost.largest_tile(budget - 2 * 10**6, pixels, smallest)


def test_a_run_with_the_largest_tile_stays_within_the_budget() -> None:
    budget, picture = 10**9, 4 * 10**6
    pixels = COST.largest_tile(budget, picture, 75)
    needed = pixels * COST.per_tile_pixel + COST.fixed + picture * COST.per_picture_pixel
    assert 0.5 * budget < needed < budget
    assert COST.largest_tile(2 * budget, picture, 75) > pixels > COST.largest_tile(budget, 2 * picture, 75)


SHAPES = [(75, 75), (128, 4000), (4000, 130), (768, 1024), (2000, 3000), (333, 500), (90, 8000)]


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("pixels", [128**2, 200**2, 300_000, 10**6])
@pytest.mark.parametrize("grid", [1, 8, 32])
def test_a_tile_has_at_most_its_pixels_and_is_the_whole_picture_where_that_fits(
    size: tuple[int, int], pixels: int, grid: int
) -> None:
    tile = tile_shape(pixels, Size(*size), grid)
    if size[0] * size[1] <= pixels:
        assert tile == size
        return
    assert tile[0] * tile[1] <= pixels
    assert all(length <= whole for length, whole in zip(tile, size, strict=True))
    assert all((whole - length) % grid == 0 for length, whole in zip(tile, size, strict=True))
    assert (tile[0] + grid) * (tile[1] + grid) > pixels or tile[0] == size[0] or tile[1] == size[1]


def test_a_narrow_picture_s_tiles_are_as_long_as_the_pixels_allow() -> None:
    assert tile_shape(100_000, Size(100, 5000), 8) == (100, 1000)
    assert tile_shape(100_000, Size(5001, 100), 8) == (993, 100)


def test_the_default_budget_is_at_most_half_of_the_machine() -> None:
    budget = default_budget("cpu")
    assert budget > 0
    if hasattr(os, "sysconf"):
        assert budget <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


# A whole dream in a process of its own, which prints its peak memory at its end.
DREAM = """
import re, sys
from pathlib import Path
from onnxdream.cli import app
try:
    app(sys.argv[1:], prog_name="onnxdream")
except SystemExit as end:
    assert not end.code, end
print("peak", re.findall(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[0])
"""


def peak_bytes(memory: str, size: str, folder: Path) -> int:
    words = [
        *("--noise", size, "--max-size", "0", "--steps", "1", "--snapshots", "", "--model", str(DEFAULT.path)),
        *("--memory", memory, "--provider", "cpu", "--threads", "2", "--output", str(folder / "noise.png")),
    ]
    finished = subprocess.run(
        [sys.executable, "-c", DREAM, "dream", *words], capture_output=True, text=True, timeout=100, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert (folder / "noise.png").exists()
    return int(finished.stdout.split("peak")[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux reports a process's peak memory")
def test_a_dream_keeps_within_its_budget(tmp_path: Path) -> None:
    assert peak_bytes("400MB", "1024x768", tmp_path) < 400 * 10**6


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux reports a process's peak memory")
def test_a_larger_budget_is_used(tmp_path: Path) -> None:
    assert 400 * 10**6 < peak_bytes("900MB", "1024x768", tmp_path) < 900 * 10**6
