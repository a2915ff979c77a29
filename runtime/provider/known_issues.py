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
# The last onnxruntime-gpu for CUDA 12, and the last cuDNN with code for Maxwell, Pascal and Volta.
_CUDA_12 = "pip install 'onnxruntime-gpu[cuda,cudnn]<1.27'"
_OLD_CUDNN = "'nvidia-cudnn-cu12<9.11'"
# The oldest drivers for CUDA 12 and 13, and the compute capabilities of Turing and, without code in 1.31, of B200.
_CUDA_12_DRIVER, _CUDA_13_DRIVER = 525, 580
_TURING, _B200, _RTX_50 = (7, 5), (10, 0), (12, 0)
_JETSON_WHEEL = (
    "uninstall every onnxruntime, then install the onnxruntime-gpu wheel built for this JetPack "
    "(Jetson AI Lab's index has them: jp6/cu126 for JetPack 6, sbsa/cu130 for JetPack 7)"
)

_CUDA_FAILURE = re.compile(r"CUDA failure (\d+)\b")
# The numbers of errors that are also told without them.
_CUDA_WORDS = {"no CUDA-capable device": 100, "Invalid device ID": 101}
_UPDATED = "reboot; in a container, start it again, with NVIDIA's container toolkit"


@dataclass(frozen=True)
class KnownIssue:
    """A known issue of a machine: its name, a description of what is wrong, and how to fix it."""

    name: str
    description: str
    fix: str

    def __str__(self) -> str:
        return f"{self.name}: {self.description}: {self.fix}"


# The issues behind the numbers of CUDA's errors, where the machine's hardware does not matter.
_CUDA_ERRORS = {
    46: KnownIssue("GPU busy", "another program keeps it for itself (CUDA failure 46)", "stop that program"),
    100: KnownIssue("no GPU", "the driver shows no NVIDIA GPU", "check nvidia-smi and CUDA_VISIBLE_DEVICES"),
    101: KnownIssue("no such GPU", "CUDA has no GPU of this number", "the command `doctor` lists the GPUs"),
    801: KnownIssue(
        "CUDA not supported",
        "the driver does not support this CUDA (CUDA failure 801)",
        "on a Jetson, use a container made for the JetPack of the board",
    ),
    802: KnownIssue(
        "GPU not ready",
        "the connections between the GPUs are not set up (CUDA failure 802)",
        "start nvidia-fabricmanager, in the driver's version",
    ),
    803: KnownIssue("NVIDIA driver", "the driver and its libraries differ, as after an update (803)", _UPDATED),
    804: KnownIssue(
        "NVIDIA driver",
        "the driver and its libraries differ, or cuda-compat is for other GPUs (804)",
        "remove cuda-compat from LD_LIBRARY_PATH, or reboot after an update",
    ),
    999: KnownIssue(
        "NVIDIA driver",
        "it fails for an unknown reason, often after a suspend or an update (999)",
        "reboot; in a container, check that it has /dev/nvidia-uvm",
    ),
    **{
        code: KnownIssue(
            "CUDA graph", f"this GPU cannot capture the gradient (CUDA failure {code})", "leave out --tune"
        )
        for code in range(900, 909)
    },
}


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
        yield _driver_too_old(hardware)
    if re.search(r"libnv(infer|onnxparser)|install TensorRT libraries", failure):
        yield _tensorrt_missing(hardware)
    if "ARCH_MISMATCH" in failure:
        fix = f"pip install {_OLD_CUDNN}" if _needs_cuda_12(hardware) else _GPU_LIBRARIES
        yield KnownIssue("GPU without cuDNN", f"this cuDNN has no code for {_gpu_in_words(hardware)}", fix)
    if "libcudnn" in failure:
        yield _cudnn_missing(hardware)
    if match := re.search(r"lib(?:cudart|cublas(?:Lt)?|nvrtc)\.so\.(\d+)|lib(?:cufft|curand|nvJitLink)", failure):
        yield _cuda_missing(int(match[1]) if match[1] else None, hardware)
    if re.search(r"no kernel image|cudaErrorNoKernelImageForDevice|CUDA failure 209\b", failure, re.IGNORECASE):
        yield _gpu_unsupported(hardware)
    codes = [int(code) for code in _CUDA_FAILURE.findall(failure)]
    codes += [code for words, code in _CUDA_WORDS.items() if words in failure]
    yield from (_CUDA_ERRORS[code] for code in codes if code in _CUDA_ERRORS)


def provider_not_made(name: str, available: Sequence[str], hardware: Hardware) -> KnownIssue | None:
    """Returns the issue that there is no wheel with a provider for this machine; None where there is one.

    `available` are onnxruntime's provider names.
    """
    if name == "tensorrt" and hardware.jetson and "CUDAExecutionProvider" in available:
        description = "NVIDIA's onnxruntime-gpu for this JetPack has no TensorRT"
        return KnownIssue("no TensorRT", description, "choose --provider cuda")
    return None


def _jetson_wheel(description: str, hardware: Hardware) -> KnownIssue:
    board = f"{hardware.jetson.model}, L4T {hardware.jetson.l4t or 'unknown'}" if hardware.jetson else "this board"
    return KnownIssue("Jetson wheel", f"{description} ({board})", _JETSON_WHEEL)


def _gpu_unsupported(hardware: Hardware) -> KnownIssue:
    if hardware.jetson:
        return _jetson_wheel("this onnxruntime-gpu has no code for a Jetson's GPU", hardware)
    capability = _capability(hardware)
    fix = "install the latest onnxruntime-gpu"
    if _needs_cuda_12(hardware):
        fix = f"{_CUDA_12} {_OLD_CUDNN}"
    elif capability and _B200 <= capability < _RTX_50:  # 1.26 has code that the driver can translate for these
        fix = _CUDA_12
    return KnownIssue(
        "GPU without code", f"this onnxruntime-gpu has no code for {_gpu_in_words(hardware)} (CUDA failure 209)", fix
    )


def _gpu_in_words(hardware: Hardware) -> str:
    gpu = hardware.gpu
    return f"{gpu.name}, compute capability {gpu.capability}" if gpu else "this GPU"


def _capability(hardware: Hardware) -> tuple[int, ...]:
    """Returns the GPU's compute capability as numbers, empty where it is not known."""
    return tuple(map(int, re.findall(r"\d+", hardware.gpu.capability))) if hardware.gpu else ()


def _needs_cuda_12(hardware: Hardware) -> bool:
    """Whether the GPU is older than Turing, which CUDA 13 does not support."""
    return () < _capability(hardware) < _TURING


def _driver_too_old(hardware: Hardware) -> KnownIssue:
    description, fix = "it is missing, or too old for this onnxruntime's CUDA", "install a newer driver"
    driver = int((re.findall(r"\d+", hardware.gpu.driver) or ["0"])[0]) if hardware.gpu else 0
    if _CUDA_12_DRIVER <= driver < _CUDA_13_DRIVER and not hardware.jetson:
        fix = f"install driver {_CUDA_13_DRIVER} or newer, or {_CUDA_12}"
    return KnownIssue("NVIDIA driver", description, fix)


def _tensorrt_10(hardware: Hardware) -> str:
    """Returns how to install TensorRT 10 for the machine's CUDA."""
    if hardware.jetson:
        return "sudo apt install tensorrt"
    cuda = 12 if hardware.majors_of("cudart") == {12} else 13
    return f"pip install --extra-index-url https://pypi.nvidia.com 'tensorrt-cu{cuda}>=10,<11'"


def _tensorrt_missing(hardware: Hardware) -> KnownIssue:
    missing = KnownIssue("TensorRT missing", "its libraries cannot be loaded", _tensorrt_10(hardware))
    return _tensorrt_11(hardware) or missing


def _tensorrt_11(hardware: Hardware) -> KnownIssue | None:
    installed = hardware.majors_of("nvinfer")
    if not installed or 10 in installed:
        return None
    versions = ", ".join(map(str, sorted(installed)))
    description = f"TensorRT {versions} is installed, but onnxruntime needs TensorRT 10"
    return KnownIssue("TensorRT 11", description, _tensorrt_10(hardware))


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
    other = f"{_CUDA_12} for CUDA 12" if needed > 12 else "install the latest for CUDA 13"
    return KnownIssue(f"CUDA {needed} needed", description, f"{_GPU_LIBRARIES} brings its own, or {other}")
