"""Known ways in which a machine keeps a provider from working, recognised from facts and failures, with the fix."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .hardware import Hardware

# Distributions that put different builds of one module into the same folder.
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
    """A known trap by name, what is the matter, and what to do."""

    name: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}: {self.fix}"


def clashes(packages: Mapping[str, str]) -> list[KnownIssue]:
    """A trap for each set of installed distributions that overwrite each other."""
    found = [[name for name in family if name in packages] for family in _CLASHES]
    return [
        KnownIssue(
            "clashing packages",
            f"{' and '.join(names)} overwrite each other",
            "uninstall all of them, then install the one you need",
        )
        for names in found
        if len(names) > 1
    ]


def detect_issues(hardware: Hardware, available: Sequence[str]) -> list[KnownIssue]:
    """The traps that a machine is in before anything is tried; `available` are onnxruntime's names of providers."""
    found = clashes(hardware.packages)
    has_cuda, has_tensorrt = (f"{name}ExecutionProvider" in available for name in ("CUDA", "Tensorrt"))
    if hardware.jetson and not has_cuda:
        found.append(_jetson("this onnxruntime has no CUDA", hardware))
    elif hardware.jetson and hardware.public_gpu_wheel:
        found.append(_jetson("the public index's onnxruntime-gpu has no code for a Jetson's GPU", hardware))
    elif hardware.gpu and not has_cuda and "onnxruntime" in hardware.packages:
        what = f"{hardware.gpu.name} is here, but this onnxruntime computes on the CPU only"
        found.append(KnownIssue("GPU unused", what, "uninstall onnxruntime, then install onnxdream[gpu]"))
    if has_tensorrt and (trap := _tensorrt_11(hardware)):
        found.append(trap)
    return found


def nvidia_issues(failure: str, hardware: Hardware) -> Iterator[KnownIssue]:
    """The known traps that a failure of CUDA or TensorRT, as onnxruntime and the drivers word it, may come from.

    Likeliest first: a missing library may itself be named in the failure of another.
    """
    if re.search(r"libcuda\.so|driver version is insufficient|CUDA failure 35\b", failure):
        yield KnownIssue(
            "NVIDIA driver", "it is missing, or older than this onnxruntime's CUDA", "install a newer driver"
        )
    if re.search(r"libnv(infer|onnxparser)", failure):
        yield _tensorrt_11(hardware) or KnownIssue("TensorRT missing", "its libraries cannot be loaded", _TENSORRT_10)
    if "libcudnn" in failure:
        yield _cudnn(hardware)
    if match := re.search(r"lib(?:cudart|cublas(?:Lt)?|nvrtc)\.so\.(\d+)|lib(?:cufft|curand|nvJitLink)", failure):
        yield _cuda(int(match[1]) if match[1] else None, hardware)
    if re.search(r"no kernel image|cudaErrorNoKernelImageForDevice|CUDA failure 209\b", failure, re.IGNORECASE):
        yield _no_kernels(hardware)
    if re.search(r"no CUDA-capable device|CUDA failure 100\b", failure):
        yield KnownIssue("no GPU", "the driver shows no NVIDIA GPU", "look at nvidia-smi, and at CUDA_VISIBLE_DEVICES")


def _jetson(what: str, hardware: Hardware) -> KnownIssue:
    board = f"{hardware.jetson.model}, L4T {hardware.jetson.l4t or 'unknown'}" if hardware.jetson else "this board"
    return KnownIssue("Jetson wheel", f"{what} ({board})", _JETSON_WHEEL)


def _no_kernels(hardware: Hardware) -> KnownIssue:
    if hardware.jetson:
        return _jetson("this onnxruntime-gpu has no code for a Jetson's GPU", hardware)
    gpu = f"{hardware.gpu.name}, compute capability {hardware.gpu.capability}" if hardware.gpu else "this GPU"
    fix = "for one older than Turing (7.5) pip install 'onnxruntime-gpu<1.27', for a newer one the latest"
    return KnownIssue("GPU without code", f"this onnxruntime-gpu has no code for {gpu}", fix)


def _tensorrt_11(hardware: Hardware) -> KnownIssue | None:
    majors = hardware.majors_of("nvinfer")
    if not majors or 10 in majors:
        return None
    there = ", ".join(map(str, sorted(majors)))
    return KnownIssue("TensorRT 11", f"TensorRT {there} is here, onnxruntime needs TensorRT 10", _TENSORRT_10)


def _cudnn(hardware: Hardware) -> KnownIssue:
    if hardware.jetson:
        return KnownIssue("cuDNN missing", "CUDA's convolutions need it", "sudo apt install nvidia-jetpack")
    there = ", ".join(hardware.versions_of("cudnn"))
    what = f"onnxruntime does not find its own among cuDNN {there}" if there else "CUDA's convolutions need it"
    return KnownIssue("cuDNN missing", what, _GPU_LIBRARIES)


def _cuda(needed: int | None, hardware: Hardware) -> KnownIssue:
    there = hardware.majors_of("cudart") | hardware.majors_of("cublas")
    if needed is None or not there or needed in there:
        fix = "sudo apt install nvidia-jetpack" if hardware.jetson else _GPU_LIBRARIES
        return KnownIssue("CUDA libraries missing", f"onnxruntime does not find CUDA {needed or ''}".rstrip(), fix)
    what = f"CUDA {', '.join(map(str, sorted(there)))} is here, this onnxruntime needs CUDA {needed}"
    if hardware.jetson:
        return KnownIssue(f"CUDA {needed} wanted", what, _JETSON_WHEEL)
    other = "pip install 'onnxruntime-gpu<1.27' for CUDA 12" if needed > 12 else "the latest for CUDA 13"
    return KnownIssue(f"CUDA {needed} wanted", what, f"{_GPU_LIBRARIES} brings its own, or {other}")
