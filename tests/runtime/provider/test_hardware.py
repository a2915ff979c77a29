"""A machine's hardware and software, parsed from the text of its files and tools."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import pytest

from onnxdream.runtime.provider import hardware as hardware_module
from onnxdream.runtime.provider.hardware import (
    Gpu,
    Hardware,
    Jetson,
    detect_hardware,
    machine_memory,
    nvidia_libraries,
    parse_cpu_flags,
    parse_cpu_quota,
    parse_gpu,
    parse_jetson,
)

X86 = (
    "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512_bf16\n\nprocessor\t: 1\nflags\t\t: fpu other\n"
)
ARM = "processor\t: 0\nBogoMIPS\t: 62.50\nFeatures\t: fp asimd bf16\nCPU implementer\t: 0x41\n"
L4T = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025"
)
BOARD = "NVIDIA Jetson Orin Nano Developer Kit"


def test_cpu_flags_are_those_of_the_first_core() -> None:
    assert parse_cpu_flags(X86) == {"fpu", "avx2", "avx512_bf16"}
    assert parse_cpu_flags(ARM) == {"fp", "asimd", "bf16"}
    assert parse_cpu_flags("") == frozenset()


@pytest.mark.parametrize(
    ("flags", "found"), [({"avx512_bf16"}, True), ({"amx_bf16"}, True), ({"avx512f", "bf16"}, False), (set(), False)]
)
def test_bf16_is_recognised_by_the_cpu_flags(flags: set[str], found: bool) -> None:
    assert Hardware(cpu_flags=frozenset(flags)).has_bf16 is found


@pytest.mark.parametrize(("text", "quota"), [("150000 100000", 1.5), ("max 100000", None), ("", None), ("odd", None)])
def test_a_quota_is_parsed_as_cores(text: str, quota: float | None) -> None:
    assert parse_cpu_quota(text) == quota


@pytest.mark.parametrize(
    ("device_tree", "release", "board"),
    [
        (BOARD + "\0", L4T, Jetson(BOARD, "36.4.3")),
        (BOARD, "", Jetson(BOARD, "")),
        ("", L4T, Jetson("a Jetson", "36.4.3")),
        ("Raspberry Pi 5 Model B Rev 1.0\0", "", None),
        ("", "", None),
    ],
)
def test_a_jetson_is_recognised_by_its_files(device_tree: str, release: str, board: Jetson | None) -> None:
    assert parse_jetson(device_tree, release) == board


@pytest.mark.parametrize(
    ("csv", "gpu"),
    [
        ("NVIDIA H200, 580.65.06, 143771, 9.0\n", Gpu("NVIDIA H200", "580.65.06", 143771 * 2**20, "9.0")),
        ("A, 1, 8192, 8.6\nB, 1, 4096, 7.5\n", Gpu("A", "1", 8192 * 2**20, "8.6")),
        ("Orin (nvgpu), 540.4.0, [N/A], 8.7", Gpu("Orin (nvgpu)", "540.4.0", None, "8.7")),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", None),
        ("", None),
    ],
)
def test_a_gpu_is_parsed_from_nvidia_smi_s_output(csv: str, gpu: Gpu | None) -> None:
    assert parse_gpu(csv) == gpu


def test_a_gpu_without_memory_of_its_own_shares_the_machine_s_memory() -> None:
    assert Hardware(gpu=Gpu("GB10", "580", None, "12.1")).shares_memory
    assert Hardware(jetson=Jetson("a Jetson", "")).shares_memory
    assert not Hardware(gpu=Gpu("H200", "580", 2**37, "9.0")).shares_memory
    assert not Hardware().shares_memory


def test_the_versions_of_libraries_come_from_their_file_names() -> None:
    files = [
        "/usr/lib/libcudart.so.12.6.68",
        "/x/libcudnn.so.9",
        "libcudnn_graph.so.9",
        "libc.so.6",
        "libnvinfer.so",
        "libcudart.so.11-gdb.py",
    ]
    hardware = Hardware(libraries=tuple(nvidia_libraries([*files, "libnvinfer.so.10.3.0", "libcudart.so.13"])))
    assert set(hardware.versions_of("cudart")) == {"12.6.68", "13"}
    assert hardware.majors_of("cudart") == {12, 13}
    assert hardware.versions_of("cudnn") == ("9",)
    assert hardware.versions_of("nvinfer") == ("10.3.0",)
    assert hardware.majors_of("cublas") == set()


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="the system does not report its memory")
@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (("3000000", None), 3_000_000),
        ((None, "5000000"), 5_000_000),
        (("7000000\n", "5000000\n"), 5_000_000),
        (("max", None), None),
        ((None, "9223372036854771712"), None),
        ((None, None), None),
    ],
)
def test_the_memory_is_the_machine_s_or_its_cgroup_s_limit(
    limits: tuple[str | None, str | None], expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "two", tmp_path / "one"
    for file, text in zip(files, limits, strict=True):
        if text:
            file.write_text(text)
    monkeypatch.setattr(hardware_module, "_CGROUP_MEMORY", files)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine_memory() == (expected or total)


def test_this_machine_s_hardware_is_detected_once() -> None:
    hardware = detect_hardware()
    assert hardware is detect_hardware()
    assert (hardware.system, hardware.architecture) == (platform.system(), platform.machine())
    assert hardware.packages["numpy"] == np.__version__
    assert 1 <= hardware.cores <= hardware.logical_cpus == os.cpu_count()
    assert hardware.memory > 10**8
    if os.path.exists("/proc/cpuinfo"):
        assert hardware.cpu_flags
