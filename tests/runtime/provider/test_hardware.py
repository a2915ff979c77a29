"""A machine's hardware and software, parsed from the text of its files and tools."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnxdream.runtime.provider import hardware as hardware_module
from onnxdream.runtime.provider.hardware import (
    Gpu,
    Hardware,
    Jetson,
    cpu_quota,
    detect_hardware,
    machine_memory,
    nvidia_libraries,
    parse_cfs_quota,
    parse_cpu_flags,
    parse_cpu_quota,
    parse_gpus,
    parse_jetson,
    visible_gpus,
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
    ("csv", "gpus"),
    [
        (
            "NVIDIA H200, 580.65.06, 143771, 9.0, GPU-a1\n",
            {"GPU-a1": Gpu("NVIDIA H200", "580.65.06", 143771 * 2**20, "9.0")},
        ),
        (
            "A, 1, 8192, 8.6, GPU-b\nB, 1, 4096, 7.5, GPU-a\n",
            {"GPU-b": Gpu("A", "1", 8192 * 2**20, "8.6"), "GPU-a": Gpu("B", "1", 4096 * 2**20, "7.5")},
        ),
        (
            "Orin (nvgpu), 540.4.0, [N/A], 8.7, GPU-c",
            {"GPU-c": Gpu("Orin (nvgpu)", "540.4.0", None, "8.7")},
        ),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", {}),
        ("", {}),
    ],
)
def test_gpus_are_parsed_from_nvidia_smi_s_output(csv: str, gpus: dict[str, Gpu]) -> None:
    assert list(parse_gpus(csv).items()) == list(gpus.items())


A, B, C = Gpu("A", "580", 2**34, "8.9"), Gpu("B", "580", 2**33, "7.5"), Gpu("C", "580", 2**35, "8.6")


@pytest.mark.parametrize(
    ("choice", "visible"),
    [
        (None, (A, B, C)),
        ("", ()),
        ("-1", ()),
        ("1", (B,)),
        ("2,0", (C, A)),
        (" 2 , 1 ", (C, B)),
        ("0,9,1", (A,)),
        ("GPU-bb", (B,)),
        ("GPU-ca,GPU-a", (C, A)),
        ("GPU-c", ()),  # the beginning of two identifiers
        ("MIG-GPU-a/1/0", ()),
        ("NoDevFiles", ()),
    ],
)
def test_cuda_visible_devices_hides_and_reorders_gpus(choice: str | None, visible: tuple[Gpu, ...]) -> None:
    gpus = {"GPU-aa": A, "GPU-bb": B, "GPU-ca": C}
    if choice == "GPU-c":
        gpus["GPU-cb"] = A
    assert visible_gpus(gpus, choice, by_bus=True) == (visible, True)


@pytest.mark.parametrize(
    ("choice", "visible", "knows_order"),
    [
        (None, (A, B), False),
        ("1", (A, B), False),  # the slower one, whichever that is
        ("GPU-bb,GPU-aa", (B, A), True),
        ("", (), True),
    ],
)
def test_cuda_s_own_order_of_unlike_gpus_is_not_known(
    choice: str | None, visible: tuple[Gpu, ...], knows_order: bool
) -> None:
    assert visible_gpus({"GPU-aa": A, "GPU-bb": B}, choice, by_bus=False) == (visible, knows_order)
    assert visible_gpus({"GPU-aa": A, "GPU-bb": A}, "1", by_bus=False) == ((A,), True)


def test_the_hardware_seen_from_a_card_has_that_gpu_or_the_smallest_one() -> None:
    hardware = Hardware(gpus=(A, B, C))
    assert [hardware.seen_from(card).gpu for card in range(4)] == [A, B, C, None]
    unordered = replace(hardware, knows_gpu_order=False)
    assert [unordered.seen_from(card).gpu for card in range(3)] == [B, B, B]
    assert Hardware().seen_from(1) == Hardware()


def test_a_jetson_is_recognised_in_a_container_that_hides_its_files() -> None:
    assert parse_jetson("", "", "5.15.148-tegra") == Jetson("a Jetson", "")
    assert parse_jetson("", "", "6.8.0-generic", has_nvmap=True) == Jetson("a Jetson", "")
    assert parse_jetson("", L4T, "5.15.148-tegra") == Jetson("a Jetson", "36.4.3")
    assert parse_jetson("", "", "6.8.0-generic") is None


def test_a_gpu_without_memory_of_its_own_shares_the_machine_s_memory() -> None:
    assert Hardware(gpus=(Gpu("GB10", "580", None, "12.1"),)).shares_memory
    assert Hardware(jetson=Jetson("a Jetson", "")).shares_memory
    assert not Hardware(gpus=(Gpu("H200", "580", 2**37, "9.0"),)).shares_memory
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


@pytest.mark.parametrize(
    ("quota", "period", "cores"), [("50000", "100000", 0.5), ("-1", "100000", None), ("", "", None), ("5", "0", None)]
)
def test_a_quota_of_cgroups_of_version_1_is_parsed_as_cores(quota: str, period: str, cores: float | None) -> None:
    assert parse_cfs_quota(quota, period) == cores


SYSTEMD = {"proc/self/cgroup": "0::/user.slice/job.scope\n"}
SLURM = {"proc/self/cgroup": "9:memory:/slurm/uid_1/job_2\n4:cpu,cpuacct:/slurm/uid_1/job_2\n1:name=systemd:/x\n0::/\n"}
DOCKER = {"proc/self/cgroup": "9:memory:/docker/0123\n4:cpu,cpuacct:/docker/0123\n"}


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="the system does not report its memory")
@pytest.mark.parametrize(
    ("files", "memory", "quota"),
    [
        ({}, None, None),
        ({"sys/fs/cgroup/memory.max": "3000000\n"}, 3_000_000, None),
        ({"sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/cpu.max": "max 100000"}, None, None),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "5000000"}, 5_000_000, None),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, None, None),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/memory.max": "7000000",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "5000000",
            },
            5_000_000,
            0.5,
        ),
        (
            {
                **SYSTEMD,
                "sys/fs/cgroup/user.slice/memory.max": "6000000",
                "sys/fs/cgroup/user.slice/cpu.max": "300000 100000",
                "sys/fs/cgroup/user.slice/job.scope/memory.max": "4000000",
                "sys/fs/cgroup/user.slice/job.scope/cpu.max": "max 100000",
                "sys/fs/cgroup/user.slice/other.scope/memory.max": "1000000",
            },
            4_000_000,
            3.0,
        ),
        ({**SYSTEMD, "sys/fs/cgroup/unified/user.slice/cpu.max": "150000 100000"}, None, 1.5),
        (
            {
                **SLURM,
                "sys/fs/cgroup/memory/slurm/uid_1/job_2/memory.limit_in_bytes": "8000000",
                "sys/fs/cgroup/memory/slurm/memory.limit_in_bytes": "2000000",
                "sys/fs/cgroup/cpu,cpuacct/slurm/uid_1/job_2/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu,cpuacct/slurm/uid_1/job_2/cpu.cfs_period_us": "100000",
            },
            2_000_000,
            2.0,
        ),
        ({**DOCKER, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9000000"}, 9_000_000, None),
        ({"proc/self/cgroup": "0::/../../other", "other/memory.max": "1", "sys/fs/cgroup/cpu.max": "5 10"}, None, 0.5),
        ({"proc/self/cgroup": "damaged\n\n1:2", "sys/fs/cgroup/cpu.max": "5 10"}, None, 0.5),
    ],
)
def test_the_least_limit_of_all_levels_of_cgroups_counts(
    files: dict[str, str], memory: int | None, quota: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(hardware_module, "_ROOT", tmp_path)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine_memory() == (memory or total)
    assert cpu_quota() == quota


def test_this_machine_s_hardware_is_detected_once() -> None:
    hardware = detect_hardware()
    assert hardware is detect_hardware()
    assert (hardware.system, hardware.architecture) == (platform.system(), platform.machine())
    assert hardware.packages["numpy"] == np.__version__
    assert 1 <= hardware.cores <= hardware.logical_cpus == os.cpu_count()
    assert hardware.memory > 10**8
    if os.path.exists("/proc/cpuinfo"):
        assert hardware.cpu_flags
