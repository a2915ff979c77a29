"""The facts of a machine that decide what it can run; looked up once, then judged as plain data."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

# Distributions that the traps and the doctor know.
PACKAGES = (
    "onnxdream",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
    "numpy",
    "protobuf",
    "matplotlib",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "tf2onnx",
    "onnx",
)
_LIBRARY = re.compile(r"lib(cudart|cublas|cudnn|nvinfer)\.so\.\d[\d.]*")
_PROC_FLAGS = re.compile(r"^(?:flags|Features)\s*:\s*(.*)$", re.MULTILINE)
_PROC_NAME = re.compile(r"^(?:model name|Model)\s*:\s*(.*)$", re.MULTILINE)
# A cgroup's limit of memory in bytes, in version 2 and in version 1.
_CGROUP_MEMORY = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_L4T = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")


@dataclass(frozen=True)
class Gpu:
    """The first NVIDIA GPU; `memory` is in bytes, None where it shares the machine's; `capability` as in 8.7."""

    name: str
    driver: str
    memory: int | None
    capability: str


@dataclass(frozen=True)
class Jetson:
    """An NVIDIA board; `l4t` is its system's release as in 36.4.3, empty where no file tells."""

    model: str
    l4t: str


@dataclass(frozen=True)
class Hardware:
    """What a machine is and has.

    `cores` and `quota` are the physical cores and the CPU time (in cores) that this process may use, and `memory` the
    bytes. `packages` maps installed distributions to versions, `libraries` are the files of CUDA, cuDNN and TensorRT,
    `public_gpu_wheel` says that onnxruntime-gpu came from the public index.
    """

    system: str = "Linux"
    architecture: str = "x86_64"
    cpu: str = ""
    cpu_flags: frozenset[str] = frozenset()
    logical_cpus: int = 1
    cores: int = 1
    quota: float | None = None
    memory: int = 0
    gpu: Gpu | None = None
    jetson: Jetson | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    public_gpu_wheel: bool = False

    @property
    def shares_memory(self) -> bool:
        """Whether the GPU takes its memory out of the machine's."""
        return self.jetson is not None or (self.gpu is not None and self.gpu.memory is None)

    @property
    def has_bf16(self) -> bool:
        """Whether the CPU computes in bfloat16."""
        return bool(self.cpu_flags & {"avx512_bf16", "amx_bf16"})

    def versions_of(self, library: str) -> tuple[str, ...]:
        """The versions of a library found: `cudart`, `cublas`, `cudnn` or `nvinfer`."""
        start = f"lib{library}.so."
        return tuple(name[len(start) :] for name in self.libraries if name.startswith(start))

    def majors_of(self, library: str) -> set[int]:
        """The major versions of a library found."""
        return {int(version.split(".")[0]) for version in self.versions_of(library)}


@cache
def detect_hardware() -> Hardware:
    """The facts of this machine, looked up once."""
    cpuinfo = _read(Path("/proc/cpuinfo"))
    return Hardware(
        system=platform.system(),
        architecture=platform.machine(),
        cpu=next(iter(_PROC_NAME.findall(cpuinfo)), platform.processor()).strip(),
        cpu_flags=flags_in(cpuinfo),
        logical_cpus=os.cpu_count() or 1,
        cores=physical_cores(),
        quota=cpu_quota(),
        memory=machine_memory(),
        gpu=_gpu(),
        jetson=jetson_in(_read(Path("/proc/device-tree/model")), _read(Path("/etc/nv_tegra_release"))),
        packages=package_versions(PACKAGES),
        libraries=tuple(sorted({*_system_libraries(), *_pip_libraries()})),
        public_gpu_wheel="manylinux" in _wheel_tags("onnxruntime-gpu"),
    )


def flags_in(cpuinfo: str) -> frozenset[str]:
    """The CPU flags in the text of /proc/cpuinfo, x86 or ARM."""
    return frozenset(" ".join(_PROC_FLAGS.findall(cpuinfo)[:1]).split())


def quota_in(cpu_max: str) -> float | None:
    """The cores' worth of time that the text of a cgroup's cpu.max grants; None for no limit."""
    words = cpu_max.split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0].isdigit() else None


def jetson_in(device_tree: str, release: str) -> Jetson | None:
    """The board that the device tree's model and /etc/nv_tegra_release tell of; None where neither does."""
    model = device_tree.strip("\0\n ")
    match = _L4T.search(release)
    if not match and "jetson" not in model.lower():
        return None
    return Jetson(model or "a Jetson", f"{match[1]}.{match[2]}" if match else "")


def gpu_in(answer: str) -> Gpu | None:
    """The first GPU in nvidia-smi's answer to `name,driver_version,memory.total,compute_cap` as bare CSV."""
    lines = answer.strip().splitlines()
    words = [word.strip() for word in lines[0].split(",")] if lines else []
    if len(words) != 4:
        return None
    return Gpu(words[0], words[1], int(words[2]) * 2**20 if words[2].isdigit() else None, words[3])


def libraries_in(files: Iterable[str]) -> frozenset[str]:
    """The names of the libraries that count among some paths of files."""
    return frozenset(name for name in (Path(file).name for file in files) if _LIBRARY.fullmatch(name))


def nvidia_folders() -> list[Path]:
    """Where pip puts the libraries of CUDA, cuDNN and TensorRT."""
    folders: list[Path] = []
    for package, pattern in (("nvidia", "*/lib"), ("tensorrt_libs", ".")):
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            folders += Path(place).glob(pattern) if pattern != "." else [Path(place)]
    return folders


def _pip_libraries() -> frozenset[str]:
    return libraries_in(str(file) for folder in nvidia_folders() for file in folder.glob("lib*.so.*"))


def _system_libraries() -> frozenset[str]:
    """Under their whole version, which is the name of the file that a linker's name leads to."""
    lines = _answer(["ldconfig", "-p"]) or _answer(["/sbin/ldconfig", "-p"])
    return libraries_in(os.path.realpath(line.split(" => ")[-1]) for line in lines.splitlines() if " => " in line)


def _gpu() -> Gpu | None:
    query = "--query-gpu=name,driver_version,memory.total,compute_cap"
    return gpu_in(_answer(["nvidia-smi", query, "--format=csv,noheader,nounits"]))


def _answer(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    import importlib.metadata  # slow to import, and needed after the first step only

    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _wheel_tags(package: str) -> str:
    import importlib.metadata

    try:
        return importlib.metadata.distribution(package).read_text("WHEEL") or ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def physical_cores() -> int:
    """Physical cores that this process may use at this moment."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    return len({_read(Path(siblings.format(cpu))) or str(cpu) for cpu in allowed})


def machine_memory() -> int:
    """The memory, in bytes, that this process may use: the machine's, or its cgroup's limit where that is less.

    4 GB where the system does not tell.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 4 * 10**9
    limits = [_read(file) for file in _CGROUP_MEMORY]
    return min([total, *(int(limit) for limit in limits if limit.isdigit())])


def cpu_quota() -> float | None:
    """The CPU time, in cores, that this process's cgroup grants; None for no limit."""
    return quota_in(_read(Path("/sys/fs/cgroup/cpu.max")))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
