"""The hardware and installed software that decide what a machine can run: detected once, then passed on as plain data.

Parsing is separate from reading files and running commands, so that tests can parse the text of any machine.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

# The distributions that `known_issues` and the command `doctor` report on.
PACKAGES = (
    "onnxdream",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "tensorrt-cu12",
    "tensorrt-cu13",
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
# The folder below which /proc and /sys lie.
_ROOT = Path("/")
_L4T = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU; `memory` is in bytes, None where it shares the machine's; `capability` is such as 8.7."""

    name: str
    driver: str
    memory: int | None
    capability: str


@dataclass(frozen=True)
class Jetson:
    """An NVIDIA Jetson board; `l4t` is the release of its system, such as 36.4.3, empty where no file states it."""

    model: str
    l4t: str


@dataclass(frozen=True)
class Hardware:
    """A machine's hardware, and the software installed on it.

    `cores` and `quota` are the physical cores and the CPU time (in cores; None: no limit) that this process may use,
    `memory` the bytes. `gpus` are those that CUDA may use, in its order if `knows_gpu_order`. `packages` maps installed
    distributions to versions, `libraries` are the file names of CUDA's, cuDNN's and TensorRT's libraries, and
    `public_gpu_wheel` states that onnxruntime-gpu came from the public index.
    """

    system: str = "Linux"
    architecture: str = "x86_64"
    cpu: str = ""
    cpu_flags: frozenset[str] = frozenset()
    logical_cpus: int = 1
    cores: int = 1
    quota: float | None = None
    memory: int = 0
    gpus: tuple[Gpu, ...] = ()
    knows_gpu_order: bool = True
    jetson: Jetson | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    public_gpu_wheel: bool = False

    @property
    def gpu(self) -> Gpu | None:
        """The first GPU."""
        return self.gpus[0] if self.gpus else None

    def seen_from(self, card: int) -> Hardware:
        """Returns this hardware with one GPU, that of CUDA's number `card`.

        Where the order of unlike GPUs is not known, it is the one with the least memory, so that a plan fits all.
        """
        if self.knows_gpu_order:
            return replace(self, gpus=self.gpus[card : card + 1])
        return replace(self, gpus=(min(self.gpus, key=lambda gpu: gpu.memory or 0),))

    @property
    def shares_memory(self) -> bool:
        """Whether the GPU shares the machine's memory."""
        return self.jetson is not None or (self.gpu is not None and self.gpu.memory is None)

    @property
    def has_bf16(self) -> bool:
        """Whether the CPU computes in bfloat16."""
        return bool(self.cpu_flags & {"avx512_bf16", "amx_bf16"})

    def versions_of(self, library: str) -> tuple[str, ...]:
        """Returns the versions that were found of a library: `cudart`, `cublas`, `cudnn` or `nvinfer`."""
        start = f"lib{library}.so."
        return tuple(name[len(start) :] for name in self.libraries if name.startswith(start))

    def majors_of(self, library: str) -> set[int]:
        """Returns the major versions that were found of a library."""
        return {int(version.split(".")[0]) for version in self.versions_of(library)}


@cache
def detect_hardware() -> Hardware:
    """Detects this machine's hardware and software, once per process."""
    cpuinfo = _read(Path("/proc/cpuinfo"))
    by_bus = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    gpus, knows_gpu_order = visible_gpus(_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"), by_bus)
    return Hardware(
        system=platform.system(),
        architecture=platform.machine(),
        cpu=next(iter(_PROC_NAME.findall(cpuinfo)), platform.processor()).strip(),
        cpu_flags=parse_cpu_flags(cpuinfo),
        logical_cpus=os.cpu_count() or 1,
        cores=physical_cores(),
        quota=cpu_quota(),
        memory=machine_memory(),
        gpus=gpus,
        knows_gpu_order=knows_gpu_order,
        jetson=parse_jetson(
            _read(Path("/proc/device-tree/model")),
            _read(Path("/etc/nv_tegra_release")),
            platform.release(),
            Path("/dev/nvmap").exists(),
        ),
        packages=package_versions(PACKAGES),
        libraries=tuple(sorted({*_system_libraries(), *_pip_libraries()})),
        public_gpu_wheel="manylinux" in _wheel_tags("onnxruntime-gpu"),
    )


def parse_cpu_flags(cpuinfo: str) -> frozenset[str]:
    """Returns the first core's flags in the text of /proc/cpuinfo, on x86 or ARM."""
    return frozenset(" ".join(_PROC_FLAGS.findall(cpuinfo)[:1]).split())


def parse_cpu_quota(cpu_max: str) -> float | None:
    """Returns the CPU time, in cores, that the text of a cgroup's cpu.max grants; None for no limit."""
    words = cpu_max.split()
    return int(words[0]) / int(words[1]) if len(words) == 2 and words[0].isdigit() else None


def parse_cfs_quota(quota_us: str, period_us: str) -> float | None:
    """Returns the CPU time, in cores, that the texts of cpu.cfs_quota_us and cpu.cfs_period_us of a cgroup of version 1
    grant; None for no limit, which is written as -1."""
    return int(quota_us) / int(period_us) if quota_us.isdigit() and period_us.isdigit() and int(period_us) else None


def cgroup_folders(root: Path) -> list[Path]:
    """Returns the folders of this process's cgroups and of all cgroups that contain them; each may set a limit.

    `root` is the folder below which /proc and /sys lie. Version 2 has one tree, version 1 a tree for each kind of
    limit. In a container, a tree often begins at the container's own cgroup although /proc names its path on the host.
    """
    mounts = root / "sys/fs/cgroup"
    folders = dict.fromkeys((mounts, mounts / "memory", mounts / "cpu"))
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        names = [controllers, *controllers.split(",")] if controllers else ["", "unified"]
        parts = [part for part in path.split("/") if part]
        if ".." in parts:  # a cgroup outside of this container's tree
            continue
        levels = [Path(*parts[:depth]) for depth in range(len(parts) + 1)]
        folders |= dict.fromkeys(mounts / name / level for name in names for level in levels)
    return [folder for folder in folders if folder.is_dir()]


def parse_jetson(device_tree: str, release: str, kernel: str = "", has_nvmap: bool = False) -> Jetson | None:
    """Returns the board that the device tree's model and /etc/nv_tegra_release name; None where this is no Jetson.

    A container hides both, but neither the kernel's release nor /dev/nvmap, through which programs reach the GPU.
    """
    model = device_tree.strip("\0\n ")
    match = _L4T.search(release)
    if not (match or "jetson" in model.lower() or "tegra" in kernel or has_nvmap):
        return None
    return Jetson(model or "a Jetson", f"{match[1]}.{match[2]}" if match else "")


def parse_gpus(csv: str) -> dict[str, Gpu]:
    """Returns the GPUs by their identifiers (GPU-…), in the order of their buses.

    `csv` is what nvidia-smi prints for name,driver_version,memory.total,compute_cap,uuid. Its unit of memory is MiB.
    """
    gpus = {}
    for line in csv.splitlines():
        values = [value.strip() for value in line.split(",")]
        if len(values) == 5:
            name, driver, mebibytes, capability, identifier = values
            memory = int(mebibytes) * 2**20 if mebibytes.isdigit() else None
            gpus[identifier] = Gpu(name, driver, memory, capability)
    return gpus


def visible_gpus(gpus: Mapping[str, Gpu], choice: str | None, by_bus: bool) -> tuple[tuple[Gpu, ...], bool]:
    """Returns the GPUs that CUDA may use, and whether they are in CUDA's order.

    `gpus` are all by their identifiers, in the order of their buses, `choice` is the value of CUDA_VISIBLE_DEVICES, and
    `by_bus` tells whether CUDA numbers GPUs by their buses, too; otherwise it numbers unlike GPUs by their speed. As
    CUDA does, it stops at the first number or beginning of an identifier that is no GPU's.
    """
    knows_order = by_bus or len(set(gpus.values())) < 2
    if choice is None:
        return tuple(gpus.values()), knows_order
    found = []
    for word in (word.strip() for word in choice.split(",")):
        number = int(word) if word.isdecimal() else len(gpus)
        matches = [name for name in gpus if word and name.startswith(word)] or list(gpus)[number : number + 1]
        if len(matches) != 1:
            break
        if word.isdecimal() and not knows_order:  # which GPU this is is not known
            return tuple(gpus.values()), False
        found.append(gpus[matches[0]])
    return tuple(found), True


def nvidia_libraries(files: Iterable[str]) -> frozenset[str]:
    """Returns the names of CUDA's, cuDNN's and TensorRT's main libraries among the paths of files."""
    return frozenset(name for name in (Path(file).name for file in files) if _LIBRARY.fullmatch(name))


def nvidia_folders() -> list[Path]:
    """Returns the folders into which pip has installed the libraries of CUDA, cuDNN and TensorRT."""
    nvidia = [folder for package in _package_folders("nvidia") for folder in package.glob("*/lib")]
    return [*nvidia, *_package_folders("tensorrt_libs")]


def _package_folders(name: str) -> list[Path]:
    """Returns the folders of an installed package, of which a namespace package has several; none if it is missing."""
    spec = find_spec(name)
    return [Path(location) for location in (spec.submodule_search_locations or [])] if spec else []


def _pip_libraries() -> frozenset[str]:
    return nvidia_libraries(str(file) for folder in nvidia_folders() for file in folder.glob("lib*.so.*"))


def _system_libraries() -> frozenset[str]:
    """Returns the linker's libraries by the names of the files that its links lead to, which have the full version."""
    lines = _output_of(["ldconfig", "-p"]) or _output_of(["/sbin/ldconfig", "-p"])
    return nvidia_libraries(os.path.realpath(line.split(" => ")[-1]) for line in lines.splitlines() if " => " in line)


def _gpus() -> dict[str, Gpu]:
    query = "--query-gpu=name,driver_version,memory.total,compute_cap,uuid"
    return parse_gpus(_output_of(["nvidia-smi", query, "--format=csv,noheader,nounits"]))


def _output_of(command: list[str]) -> str:
    """Runs a command and returns its standard output, empty where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Returns the versions of those of the named packages that are installed."""
    import importlib.metadata  # here, because it is slow to import and a dream needs it only after the first step

    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _wheel_tags(package: str) -> str:
    """Returns the text of an installed wheel's WHEEL file, empty where the package is not installed."""
    import importlib.metadata

    try:
        return importlib.metadata.distribution(package).read_text("WHEEL") or ""
    except importlib.metadata.PackageNotFoundError:
        return ""


def physical_cores() -> int:
    """Returns the number of physical cores that this process may use at this moment."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    return len({_read(Path(siblings.format(cpu))) or str(cpu) for cpu in allowed})


def machine_memory() -> int:
    """Returns the bytes of memory that this process may use: the machine's, or its cgroups' limit where that is less.

    Assumes 4 GB where the system does not report its memory.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 4 * 10**9
    names = "memory.max", "memory.limit_in_bytes"  # in version 2 and in version 1
    limits = [_read(folder / name) for folder in cgroup_folders(_ROOT) for name in names]
    return min([total, *(int(limit) for limit in limits if limit.isdigit())])


def cpu_quota() -> float | None:
    """Returns the CPU time, in cores, that this process's cgroups grant; None for no limit."""
    quotas = []
    for folder in cgroup_folders(_ROOT):
        quotas.append(parse_cpu_quota(_read(folder / "cpu.max")))
        quotas.append(parse_cfs_quota(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")))
    return min((quota for quota in quotas if quota is not None), default=None)


def _read(path: Path) -> str:
    """Returns a file's stripped text, empty where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
