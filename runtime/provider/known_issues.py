"""Known ways in which a machine keeps a provider from working, recognised from facts and failures, with the fix."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .hardware import Facts

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
class Trap:
    """A known trap by name, what is the matter, and what to do."""

    name: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}: {self.fix}"


def clashes(packages: Mapping[str, str]) -> list[Trap]:
    """A trap for each set of installed distributions that overwrite each other."""
    found = [[name for name in family if name in packages] for family in _CLASHES]
    return [
        Trap(
            "clashing packages",
            f"{' and '.join(names)} overwrite each other",
            "uninstall all of them, then install the one you need",
        )
        for names in found
        if len(names) > 1
    ]


def standing_traps(facts: Facts, available: Sequence[str]) -> list[Trap]:
    """The traps that a machine is in before anything is tried; `available` are onnxruntime's names of providers."""
    found = clashes(facts.packages)
    has_cuda, has_tensorrt = (f"{name}ExecutionProvider" in available for name in ("CUDA", "Tensorrt"))
    if facts.jetson and not has_cuda:
        found.append(_jetson("this onnxruntime has no CUDA", facts))
    elif facts.jetson and facts.public_gpu_wheel:
        found.append(_jetson("the public index's onnxruntime-gpu has no code for a Jetson's GPU", facts))
    elif facts.gpu and not has_cuda and "onnxruntime" in facts.packages:
        what = f"{facts.gpu.name} is here, but this onnxruntime computes on the CPU only"
        found.append(Trap("GPU unused", what, "uninstall onnxruntime, then install onnxdream[gpu]"))
    if has_tensorrt and (trap := _tensorrt_11(facts)):
        found.append(trap)
    return found


def nvidia_issues(failure: str, facts: Facts) -> Iterator[Trap]:
    """The known traps that a failure of CUDA or TensorRT, as onnxruntime and the drivers word it, may come from.

    Likeliest first: a missing library may itself be named in the failure of another.
    """
    if re.search(r"libcuda\.so|driver version is insufficient|CUDA failure 35\b", failure):
        yield Trap("NVIDIA driver", "it is missing, or older than this onnxruntime's CUDA", "install a newer driver")
    if re.search(r"libnv(infer|onnxparser)", failure):
        yield _tensorrt_11(facts) or Trap("TensorRT missing", "its libraries cannot be loaded", _TENSORRT_10)
    if "libcudnn" in failure:
        yield _cudnn(facts)
    if match := re.search(r"lib(?:cudart|cublas(?:Lt)?|nvrtc)\.so\.(\d+)|lib(?:cufft|curand|nvJitLink)", failure):
        yield _cuda(int(match[1]) if match[1] else None, facts)
    if re.search(r"no kernel image|cudaErrorNoKernelImageForDevice|CUDA failure 209\b", failure, re.IGNORECASE):
        yield _no_kernels(facts)
    if re.search(r"no CUDA-capable device|CUDA failure 100\b", failure):
        yield Trap("no GPU", "the driver shows no NVIDIA GPU", "look at nvidia-smi, and at CUDA_VISIBLE_DEVICES")


def _jetson(what: str, facts: Facts) -> Trap:
    board = f"{facts.jetson.model}, L4T {facts.jetson.l4t or 'unknown'}" if facts.jetson else "this board"
    return Trap("Jetson wheel", f"{what} ({board})", _JETSON_WHEEL)


def _no_kernels(facts: Facts) -> Trap:
    if facts.jetson:
        return _jetson("this onnxruntime-gpu has no code for a Jetson's GPU", facts)
    gpu = f"{facts.gpu.name}, compute capability {facts.gpu.capability}" if facts.gpu else "this GPU"
    fix = "for one older than Turing (7.5) pip install 'onnxruntime-gpu<1.27', for a newer one the latest"
    return Trap("GPU without code", f"this onnxruntime-gpu has no code for {gpu}", fix)


def _tensorrt_11(facts: Facts) -> Trap | None:
    majors = facts.majors_of("nvinfer")
    if not majors or 10 in majors:
        return None
    there = ", ".join(map(str, sorted(majors)))
    return Trap("TensorRT 11", f"TensorRT {there} is here, onnxruntime needs TensorRT 10", _TENSORRT_10)


def _cudnn(facts: Facts) -> Trap:
    if facts.jetson:
        return Trap("cuDNN missing", "CUDA's convolutions need it", "sudo apt install nvidia-jetpack")
    there = ", ".join(facts.versions_of("cudnn"))
    what = f"onnxruntime does not find its own among cuDNN {there}" if there else "CUDA's convolutions need it"
    return Trap("cuDNN missing", what, _GPU_LIBRARIES)


def _cuda(needed: int | None, facts: Facts) -> Trap:
    there = facts.majors_of("cudart") | facts.majors_of("cublas")
    if needed is None or not there or needed in there:
        fix = "sudo apt install nvidia-jetpack" if facts.jetson else _GPU_LIBRARIES
        return Trap("CUDA libraries missing", f"onnxruntime does not find CUDA {needed or ''}".rstrip(), fix)
    what = f"CUDA {', '.join(map(str, sorted(there)))} is here, this onnxruntime needs CUDA {needed}"
    if facts.jetson:
        return Trap(f"CUDA {needed} wanted", what, _JETSON_WHEEL)
    other = "pip install 'onnxruntime-gpu<1.27' for CUDA 12" if needed > 12 else "the latest for CUDA 13"
    return Trap(f"CUDA {needed} wanted", what, f"{_GPU_LIBRARIES} brings its own, or {other}")
