"""The command `doctor`: the versions on this machine, the providers that really work, and its known issues."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass

import cv2
import onnxruntime as ort

from ..models import library
from .bundle.bundle import Bundle
from .bundle.choice import choose_bundle, display_name
from .bundle.sessions import kernel_counts
from .deploying.reference import Reference
from .provider.budget import default_budget
from .provider.cards import PROVIDERS, offered
from .provider.hardware import Gpu, Hardware, Jetson, detect_hardware
from .provider.known_issues import KnownIssue, detect_issues
from .provider.machine import Machine, usable_threads
from .provider.selection import how_to_add, self_test
from .provider.session import first_line
from .settings.settings import ProviderName

# The CPU flags that are shown, since they decide how fast a CPU computes and in which precisions.
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")
# The height and width, in pixels, of the picture for which a bundle's kernels are counted.
_PROBE_SIDE = 192
# The largest relative difference of a loss from the CPU's that rounding in fp32 explains. An H200 had 4e-7; weights
# that are rounded to TF32 give 7e-5 and more.
_FP32_LOSS_ERROR = 1e-5
_TF32_LOSS_ERROR = 1e-2  # more than that is no rounding


@dataclass(frozen=True)
class ProviderReport:
    """A provider of this onnxruntime; `problem` is a line on why it does not work, None if it works.

    `kernels` and `elsewhere` count the kernels (compiled operators) of the bundle that `dream` would use: those that
    the provider runs, and those that other providers run for it; None where they were not counted. `loss_error` is the
    largest relative difference of a loss from the CPU's in fp32, None where they were not compared. `bf16` states
    whether the provider works in that precision, too.
    """

    name: ProviderName
    problem: str | None
    kernels: int | None = None
    elsewhere: int | None = None
    bf16: bool = False
    loss_error: float | None = None

    def line(self) -> str:
        """Returns the line for the user."""
        if self.problem:
            return f"provider {self.name:<14}fails: {self.problem}"
        text = "works, also in bf16" if self.bf16 else "works"
        if self.kernels is not None and self.elsewhere:
            total = self.kernels + self.elsewhere
            text += f", but leaves {self.elsewhere} of the gradient's {total} operations to other providers"
        elif self.kernels is not None:
            text += ", runs the whole gradient"
        if self.loss_error is not None and not self.loss_error <= _FP32_LOSS_ERROR:
            text += f", but its losses differ from the CPU's by {self.loss_error:.0e}"
            if PROVIDERS[self.name].device == "cuda" and self.loss_error < _TF32_LOSS_ERROR:
                text += ", as with TF32 instead of fp32 (NVIDIA_TF32_OVERRIDE=0 forbids it)"
        return f"provider {self.name:<14}{text}"


@dataclass(frozen=True)
class Diagnosis:
    """The state of this machine.

    `memory` is in bytes, and so is `budget`, the most that a dream takes of it by default. `cores` and `quota` are the
    physical cores and the CPU time, in cores, that may be used; `gpus` are those that CUDA may use, in its order if
    `knows_gpu_order`; `cpu_flags` are those of `_FLAGS` that the CPU has.
    `versions` maps packages to versions; `cuda`, `cudnn` and `tensorrt` are the versions found of each library.
    `not_in_this_build` maps the providers that this onnxruntime lacks to
    advice. `bundles` counts the exported bundles, and `bundle` is the one that was named or that `dream` would choose.
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
    gpus: tuple[Gpu, ...]
    knows_gpu_order: bool
    jetson: Jetson | None
    cuda: tuple[str, ...]
    cudnn: tuple[str, ...]
    tensorrt: tuple[str, ...]
    versions: dict[str, str]
    providers: tuple[ProviderReport, ...]
    not_in_this_build: dict[ProviderName, str]
    bundle_folder: str
    bundles: int
    bundle: str
    problems: tuple[KnownIssue, ...]

    def lines(self) -> list[str]:
        """Returns the diagnosis as lines for the user, no more than fit on one screen."""
        threads = f"{self.threads} CPU threads by default, of {self.logical_cpus} logical CPUs"
        quota = f", a quota of {self.quota:g} cores" if self.quota else ""
        return [
            f"Python {self.python} on {self.machine}, {threads}",
            f"CPU         {self.cpu or 'unknown'}, {self.cores} cores{quota}: {' '.join(self.cpu_flags) or 'no flags'}",
            f"memory      {self.memory / 1e9:.1f} GB, of which a dream takes {self.budget / 1e9:.1f} GB at most",
            *_gpu_lines(self.gpus, self.knows_gpu_order),
            *([f"board       {self.jetson.model}, L4T {self.jetson.l4t or 'unknown'}"] if self.jetson else []),
            f"libraries   {self._libraries()}",
            f"packages    {', '.join(f'{package} {version}' for package, version in self.versions.items())}",
            *(provider.line() for provider in self.providers),
            *(
                f"provider {name:<14}not in this onnxruntime ({advice})"
                for name, advice in self.not_in_this_build.items()
            ),
            f"bundles     {self.bundles} exported, in {self.bundle_folder}; dream uses {self.bundle}",
            *(f"problem: {problem}" for problem in self.problems),
        ]

    def facts(self) -> dict[str, object]:
        """Returns the diagnosis as plain data, as `--json` prints it."""
        problems = [{"name": issue.name, "what": issue.description, "fix": issue.fix} for issue in self.problems]
        return {**asdict(self), "problems": problems}

    def _libraries(self) -> str:
        libraries = {"CUDA": self.cuda, "cuDNN": self.cudnn, "TensorRT": self.tensorrt}
        found = ", ".join(f"{name} {' and '.join(versions)}" for name, versions in libraries.items() if versions)
        missing = [name for name, versions in libraries.items() if not versions]
        if not missing:
            return found
        user = "--provider tensorrt" if missing == ["TensorRT"] else "an NVIDIA GPU"
        return (f"{found}; " if found else "") + f"{', '.join(missing)} not found (only needed for {user})"


def diagnose(model: str | None = None) -> Diagnosis:
    """Detects the machine's hardware and software, and tries every provider that this onnxruntime has.

    `model` is the path or name of the bundle that providers are tried with; None is the one that `dream` uses. Raises
    BundleError.
    """
    available, hardware, bundle = ort.get_available_providers(), detect_hardware(), choose_bundle(model)
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
        gpus=hardware.gpus,
        knows_gpu_order=hardware.knows_gpu_order,
        jetson=hardware.jetson,
        cuda=hardware.versions_of("cudart"),
        cudnn=hardware.versions_of("cudnn"),
        tensorrt=hardware.versions_of("nvinfer"),
        versions={**hardware.packages, "OpenCV": cv2.__version__},
        providers=tuple(_provider(name, bundle, hardware) for name in offered(available)),
        not_in_this_build={
            name: how_to_add(name, available, hardware) for name in PROVIDERS if name not in offered(available)
        },
        bundle_folder=library.bundle_folder_in_words(),
        bundles=len(library.bundle_paths()),
        bundle=display_name(bundle),
        problems=tuple(detect_issues(hardware, available)),
    )


def _provider(name: ProviderName, bundle: Bundle, hardware: Hardware) -> ProviderReport:
    """Tries a provider: the self-test, then a gradient of the bundle that `dream` would use."""
    problem = self_test(name)
    if problem or name == "tensorrt":  # TensorRT would build an engine first, which takes minutes
        return ProviderReport(name, problem)
    bf16 = name == "openvino" and hardware.has_bf16 and self_test(name, "bf16") is None
    loss_error = None
    try:
        loss_error = _loss_error(name, bundle)
        counts = kernel_counts(bundle, _PROBE_SIDE, _PROBE_SIDE, Machine(name, usable_threads()))
    except OSError:  # there is no temporary folder to count in, as in a container whose files are read-only
        return ProviderReport(name, None, bf16=bf16, loss_error=loss_error)
    except Exception as error:  # onnxruntime's and the drivers' errors have no common base class
        problem = f"a small convolution works, but {bundle.name} does not ({first_line(error)})"
        return ProviderReport(name, problem, bf16=bf16)
    kernels = counts.pop(name, 0)
    return ProviderReport(name, None, kernels, sum(counts.values()), bf16, loss_error)


def _loss_error(name: ProviderName, bundle: Bundle) -> float | None:
    """Returns the largest relative difference of a bundle's loss from the CPU's, None if there is nothing to compare.

    The self-test has other shapes than a bundle, and where cuDNN has no fp32 kernel for a shape, onnxruntime takes TF32
    instead, without a word.
    """
    if name == "cpu" or bundle.precision != "fp32":
        return None
    reference = Reference.of(bundle)
    return reference.agreement(bundle, Machine(name, usable_threads())).loss_error if reference.is_sound() else None


def _gpu_lines(gpus: tuple[Gpu, ...], knows_order: bool) -> list[str]:
    """Returns a line for each GPU, with the number that `--provider cuda:NUMBER` takes if there are several."""
    if not gpus:
        return ["GPU         no NVIDIA GPU found (nvidia-smi lists none, or CUDA_VISIBLE_DEVICES hides them)"]
    if len(gpus) == 1:
        return [f"GPU         {_gpu_line(gpus[0])}"]
    if knows_order:
        return [f"GPU cuda:{number:<2} {_gpu_line(gpu)}" for number, gpu in enumerate(gpus)]
    return [
        *(f"GPU         {_gpu_line(gpu)}" for gpu in gpus),
        "GPUs        CUDA numbers unlike GPUs by their speed: set CUDA_DEVICE_ORDER=PCI_BUS_ID to number them as here",
    ]


def _gpu_line(gpu: Gpu) -> str:
    memory = "memory shared with the CPU" if gpu.memory is None else f"{gpu.memory / 1e9:.1f} GB"
    return f"{gpu.name}, {memory}, compute capability {gpu.capability}, driver {gpu.driver}"
