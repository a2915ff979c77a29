"""What this machine can run: versions, providers that really work, and the traps it is in."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import cv2
import onnxruntime as ort

from ..models import library
from .bundle.bundle import Bundle
from .bundle.choice import choose_bundle, display_name
from .bundle.sessions import kernel_counts
from .provider.budget import default_budget
from .provider.cards import PROVIDERS, offered
from .provider.hardware import Gpu, Hardware, Jetson, detect_hardware
from .provider.known_issues import KnownIssue, detect_issues
from .provider.machine import Machine, usable_threads
from .provider.selection import self_test
from .provider.session import first_line
from .settings.settings import ProviderName

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")
# Height and width at which a bundle's kernels are counted.
_PROBE_SIZE = 192


@dataclass(frozen=True)
class ProviderReport:
    """A provider of this onnxruntime; `problem` is None if its self-test passed.

    `kernels` and `elsewhere` count what it runs, and what others run for it, of the bundle that `dream` would use;
    None where that was not counted. `bf16` says whether it passed the self-test in that precision, too.
    """

    name: ProviderName
    problem: str | None
    kernels: int | None = None
    elsewhere: int | None = None
    bf16: bool = False

    def line(self) -> str:
        """The provider in words."""
        if self.problem:
            return f"provider {self.name:<14}fails: {self.problem}"
        words = ["works"] + ["bf16 too"] * self.bf16
        if self.kernels is not None:
            words.append(f"{self.kernels} kernel{'s' * (self.kernels != 1)}")
        if self.elsewhere:
            words.append(f"{self.elsewhere} more fell to other providers")
        return f"provider {self.name:<14}{', '.join(words)}"


@dataclass(frozen=True)
class Diagnosis:
    """The state of this machine; memory is in bytes, `budget` what a dream takes of it at most by default.

    `cores` and `quota` are the physical cores and the CPU time, in cores, that may be used; `cpu_flags` those that
    matter. `versions` maps packages to versions. `cuda`, `cudnn` and `tensorrt` are versions found of each library.
    `bundle` is what `dream` would choose.
    """

    python: str
    machine: str
    logical_cpus: int
    threads: int
    cores: int
    quota: float | None
    cpu: str
    cpu_flags: tuple[str, ...]
    memory: int
    budget: int
    gpu: Gpu | None
    jetson: Jetson | None
    cuda: tuple[str, ...]
    cudnn: tuple[str, ...]
    tensorrt: tuple[str, ...]
    versions: dict[str, str]
    providers: tuple[ProviderReport, ...]
    not_in_this_build: tuple[ProviderName, ...]
    bundle_folder: str
    bundles: int
    bundle: str
    problems: tuple[KnownIssue, ...]

    def lines(self) -> list[str]:
        """The diagnosis in words, one screen."""
        threads = f"{self.threads} CPU threads by default, of {self.logical_cpus} logical CPUs"
        quota = f", a quota of {self.quota:g} cores" if self.quota else ""
        libraries = {"CUDA": self.cuda, "cuDNN": self.cudnn, "TensorRT": self.tensorrt}
        found = ", ".join(f"{name} {' and '.join(versions) or 'not found'}" for name, versions in libraries.items())
        return [
            f"Python {self.python} on {self.machine}, {threads}",
            f"CPU         {self.cpu or 'unknown'}, {self.cores} cores{quota}: {' '.join(self.cpu_flags) or 'no flags'}",
            f"memory      {self.memory / 1e9:.1f} GB, of which a dream takes {self.budget / 1e9:.1f} GB at most",
            f"GPU         {_gpu_line(self.gpu)}",
            *([f"board       {self.jetson.model}, L4T {self.jetson.l4t or 'unknown'}"] if self.jetson else []),
            f"libraries   {found}",
            f"packages    {', '.join(f'{package} {version}' for package, version in self.versions.items())}",
            *(provider.line() for provider in self.providers),
            *(f"provider {name:<14}not in this onnxruntime" for name in self.not_in_this_build),
            f"bundles     {self.bundles} in {self.bundle_folder}; dream uses {self.bundle}",
            *(f"problem: {problem}" for problem in self.problems),
        ]


def diagnose() -> Diagnosis:
    """Looks at the machine and tries every provider that this onnxruntime offers."""
    available, hardware, bundle = ort.get_available_providers(), detect_hardware(), choose_bundle(None)
    return Diagnosis(
        python=platform.python_version(),
        machine=f"{hardware.system} {hardware.architecture}",
        logical_cpus=hardware.logical_cpus,
        threads=usable_threads(),
        cores=hardware.cores,
        quota=hardware.quota,
        cpu=hardware.cpu,
        cpu_flags=tuple(flag for flag in _FLAGS if flag in hardware.cpu_flags),
        memory=hardware.memory,
        budget=default_budget("cpu"),
        gpu=hardware.gpu,
        jetson=hardware.jetson,
        cuda=hardware.versions_of("cudart"),
        cudnn=hardware.versions_of("cudnn"),
        tensorrt=hardware.versions_of("nvinfer"),
        versions={**hardware.packages, "OpenCV": cv2.__version__},
        providers=tuple(_provider(name, bundle, hardware) for name in offered(available)),
        not_in_this_build=tuple(name for name in PROVIDERS if name not in offered(available)),
        bundle_folder=library.bundle_folder_in_words(),
        bundles=len(library.bundle_paths()),
        bundle=display_name(bundle),
        problems=tuple(detect_issues(hardware, available)),
    )


def _provider(name: ProviderName, bundle: Bundle, hardware: Hardware) -> ProviderReport:
    problem = self_test(name)
    if problem or name == "tensorrt":  # whose engine would take minutes
        return ProviderReport(name, problem)
    bf16 = name == "openvino" and hardware.has_bf16 and self_test(name, "bf16") is None
    try:
        counts = kernel_counts(bundle, _PROBE_SIZE, _PROBE_SIZE, Machine(name, usable_threads()))
    except Exception as error:  # onnxruntime's and the drivers' failures have no common base
        return ProviderReport(name, f"a convolution works, {bundle.name} does not ({first_line(error)})", bf16=bf16)
    own = counts.pop(name, 0)
    return ProviderReport(name, None, own, sum(counts.values()), bf16)


def _gpu_line(gpu: Gpu | None) -> str:
    if gpu is None:
        return "none that nvidia-smi shows"
    memory = "memory shared with the CPU" if gpu.memory is None else f"{gpu.memory / 1e9:.1f} GB"
    return f"{gpu.name}, {memory}, compute capability {gpu.capability}, driver {gpu.driver}"
