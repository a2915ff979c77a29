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
from onnxdream.models.contract import Memory
from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.provider import budget as budget_module
from onnxdream.runtime.provider.budget import Cost, MemoryBudgetError, default_budget, tile_shape
from onnxdream.runtime.provider.hardware import Gpu, Hardware, Jetson
from onnxdream.runtime.provider.options import cuda_options
from onnxdream.runtime.settings.parsing import parse_memory
from onnxdream.runtime.settings.settings import Precision

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


# What `v3-low` took of an H200's memory beside CUDA's context, in MB, with the bundle's cost on the CPU at that time:
# bytes for each pixel and fixed bytes. docs/performance.md has the same numbers.
TAKEN = {
    ("fp32", 690.0, 37e6): {(384, 512): 606, (768, 1024): 3173, (1536, 2048): 2837},
    ("fp16", 719.0, 35e6): {(384, 512): 549, (768, 1024): 984, (1536, 2048): 1621},
    ("mixed", 865.0, 31e6): {(384, 512): 682, (768, 1024): 1520, (1536, 2048): 3771},
}


@pytest.mark.parametrize(("measured", "taken"), TAKEN.items(), ids=[precision for precision, *_ in TAKEN])
def test_the_plan_for_cuda_is_not_below_what_a_run_took(
    measured: tuple[Precision, float, float], taken: dict[tuple[int, int], int]
) -> None:
    precision, per_pixel, fixed = measured
    cost = Cost.on("cuda", precision, Memory(fixed=fixed, per_pixel=per_pixel), 0.0, 0.0)
    for (height, width), megabytes in taken.items():
        planned = cost.fixed + cost.of_tile(height * width)
        assert megabytes * 1e6 <= planned < 2.5 * megabytes * 1e6
        assert cost.program + planned >= 552e6 + megabytes * 1e6


@pytest.mark.parametrize("budget", [10**9, 2 * 10**9, 4 * 10**9, 6 * 10**9, 12 * 10**9, 40 * 10**9])
def test_with_a_workspace_the_largest_tile_just_fits(budget: int) -> None:
    cost = Cost.on("cuda", "fp32", Memory(fixed=36e6, per_pixel=710.0), 48.0, 33.0)
    pixels = cost.largest_tile(budget, 10**6, 75)
    unavoidable = cost.program + cost.fixed + 33.0 * 10**6
    assert unavoidable + cost.of_tile(pixels) <= 0.93 * budget + 1
    assert unavoidable + cost.of_tile(pixels + 2) > 0.93 * budget


def test_a_gpu_that_shares_the_machine_s_memory_leaves_room_for_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(fixed=36e6, per_pixel=710.0)
    own = Cost.on("cuda", "fp32", memory, 48.0, 33.0)
    monkeypatch.setattr(budget_module, "detect_hardware", lambda: Hardware(jetson=Jetson("a Jetson", "")))
    shared = Cost.on("cuda", "fp32", memory, 48.0, 33.0)
    assert shared.program == 10**9 > own.program > Cost.on("cpu", "fp32", memory, 48.0, 33.0).program
    arena = int(cuda_options("fp32", 3 * 10**9)["gpu_mem_limit"])
    assert shared.fixed + shared.of_tile(shared.largest_tile(3 * 10**9, 10**6, 75)) <= arena


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


def test_the_default_budget_on_cuda_is_half_of_the_named_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = Gpu("A", "580", 16 * 10**9, "8.9"), Gpu("B", "580", 8 * 10**9, "7.5")
    for knows_order, budgets in ((True, [8 * 10**9, 4 * 10**9]), (False, [4 * 10**9, 4 * 10**9])):
        hardware = Hardware(gpus=gpus, knows_gpu_order=knows_order)
        monkeypatch.setattr(budget_module, "detect_hardware", lambda hardware=hardware: hardware)
        assert [default_budget("cuda", card) for card in (0, 1)] == budgets


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
    assert peak_bytes("350MB", "640x480", tmp_path) < 350 * 10**6


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux reports a process's peak memory")
def test_a_larger_budget_is_used(tmp_path: Path) -> None:
    assert 350 * 10**6 < peak_bytes("600MB", "640x480", tmp_path) < 600 * 10**6
