"""Known reasons why a provider does not work on a machine, and their fixes.

They are recognised by the machine's hardware and software, or by the text of a failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .hardware import Hardware

# Distributions that install different builds of one module into the same folder.
_CLASHES = (
    ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
)
_GPU_LIBRARIES = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
_TENSORRT_10 = "pip install 'tensorrt-cu13>=10,<11'"
_JETSON_WHEEL = (
    "uninstall every onnxruntime, then install the onnxruntime-gpu wheel built for this JetPack "
    "(Jetson AI Lab's index has them: jp6/cu126 for JetPack 6, sbsa/cu130 for JetPack 7)"
)


@dataclass(frozen=True)
class KnownIssue:
    """A known issue of a machine: its name, a description of what is wrong, and how to fix it."""

    name: str
    description: str
    fix: str

    def __str__(self) -> str:
        return f"{self.name}: {self.description}: {self.fix}"


def clashes(packages: Mapping[str, str]) -> list[KnownIssue]:
    """Returns an issue for each set of installed distributions that overwrite each other."""
    installed = [[name for name in family if name in packages] for family in _CLASHES]
    return [
        KnownIssue(
            "clashing packages",
            f"{' and '.join(names)} overwrite each other",
            "uninstall all of them, then install the one you need",
        )
        for names in installed
        if len(names) > 1
    ]


def detect_issues(hardware: Hardware, available: Sequence[str]) -> list[KnownIssue]:
    """Returns the issues that are known before any provider is tried; `available` are onnxruntime's provider names."""
    issues = clashes(hardware.packages)
    has_cuda, has_tensorrt = (f"{name}ExecutionProvider" in available for name in ("CUDA", "Tensorrt"))
    if hardware.jetson and not has_cuda:
        issues.append(_jetson_wheel("this onnxruntime has no CUDA", hardware))
    elif hardware.jetson and hardware.public_gpu_wheel:
        issues.append(_jetson_wheel("the public index's onnxruntime-gpu has no code for a Jetson's GPU", hardware))
    elif hardware.gpu and not has_cuda and "onnxruntime" in hardware.packages:
        description = f"this machine has the GPU {hardware.gpu.name}, but this onnxruntime computes on the CPU only"
        issues.append(KnownIssue("GPU unused", description, "uninstall onnxruntime, then install onnxdream[gpu]"))
    if has_tensorrt and (issue := _tensorrt_11(hardware)):
        issues.append(issue)
    return issues


def nvidia_issues(failure: str, hardware: Hardware) -> Iterator[KnownIssue]:
    """Yields the known issues that may have caused a failure of CUDA or TensorRT, the likeliest first.

    `failure` is the text of onnxruntime's or the driver's error. The order matters because the failure of one library
    may name another that is missing.
    """
    if re.search(r"libcuda\.so|driver version is insufficient|CUDA failure 35\b", failure):
        yield KnownIssue(
            "NVIDIA driver", "it is missing, or too old for this onnxruntime's CUDA", "install a newer driver"
        )
    if re.search(r"libnv(infer|onnxparser)", failure):
        yield _tensorrt_11(hardware) or KnownIssue("TensorRT missing", "its libraries cannot be loaded", _TENSORRT_10)
    if "libcudnn" in failure:
        yield _cudnn_missing(hardware)
    if match := re.search(r"lib(?:cudart|cublas(?:Lt)?|nvrtc)\.so\.(\d+)|lib(?:cufft|curand|nvJitLink)", failure):
        yield _cuda_missing(int(match[1]) if match[1] else None, hardware)
    if re.search(r"no kernel image|cudaErrorNoKernelImageForDevice|CUDA failure 209\b", failure, re.IGNORECASE):
        yield _gpu_unsupported(hardware)
    if re.search(r"no CUDA-capable device|CUDA failure 100\b", failure):
        yield KnownIssue("no GPU", "the driver shows no NVIDIA GPU", "check nvidia-smi and CUDA_VISIBLE_DEVICES")


def _jetson_wheel(description: str, hardware: Hardware) -> KnownIssue:
    board = f"{hardware.jetson.model}, L4T {hardware.jetson.l4t or 'unknown'}" if hardware.jetson else "this board"
    return KnownIssue("Jetson wheel", f"{description} ({board})", _JETSON_WHEEL)


def _gpu_unsupported(hardware: Hardware) -> KnownIssue:
    if hardware.jetson:
        return _jetson_wheel("this onnxruntime-gpu has no code for a Jetson's GPU", hardware)
    gpu = f"{hardware.gpu.name}, compute capability {hardware.gpu.capability}" if hardware.gpu else "this GPU"
    fix = "for a GPU older than Turing (7.5) pip install 'onnxruntime-gpu<1.27', for a newer one install the latest"
    return KnownIssue("GPU without code", f"this onnxruntime-gpu has no code for {gpu}", fix)


def _tensorrt_11(hardware: Hardware) -> KnownIssue | None:
    installed = hardware.majors_of("nvinfer")
    if not installed or 10 in installed:
        return None
    versions = ", ".join(map(str, sorted(installed)))
    description = f"TensorRT {versions} is installed, but onnxruntime needs TensorRT 10"
    return KnownIssue("TensorRT 11", description, _TENSORRT_10)


def _cudnn_missing(hardware: Hardware) -> KnownIssue:
    if hardware.jetson:
        return KnownIssue("cuDNN missing", "CUDA's convolutions need it", "sudo apt install nvidia-jetpack")
    versions = ", ".join(hardware.versions_of("cudnn"))
    found = f"onnxruntime does not find the cuDNN that it needs, only cuDNN {versions}"
    return KnownIssue("cuDNN missing", found if versions else "CUDA's convolutions need it", _GPU_LIBRARIES)


def _cuda_missing(needed: int | None, hardware: Hardware) -> KnownIssue:
    """Returns the issue of a missing CUDA library; `needed` is its major version where the failure names one."""
    installed = hardware.majors_of("cudart") | hardware.majors_of("cublas")
    if needed is None or not installed or needed in installed:
        fix = "sudo apt install nvidia-jetpack" if hardware.jetson else _GPU_LIBRARIES
        return KnownIssue("CUDA libraries missing", f"onnxruntime does not find CUDA {needed or ''}".rstrip(), fix)
    versions = ", ".join(map(str, sorted(installed)))
    description = f"CUDA {versions} is installed, but this onnxruntime needs CUDA {needed}"
    if hardware.jetson:
        return KnownIssue(f"CUDA {needed} needed", description, _JETSON_WHEEL)
    other = "pip install 'onnxruntime-gpu<1.27' for CUDA 12" if needed > 12 else "install the latest for CUDA 13"
    return KnownIssue(f"CUDA {needed} needed", description, f"{_GPU_LIBRARIES} brings its own, or {other}")
