"""Known issues of machines, recognised by their hardware and by the text of failures alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from onnxdream.runtime.provider import selection
from onnxdream.runtime.provider.cards import PROVIDERS
from onnxdream.runtime.provider.hardware import Gpu, Hardware, Jetson
from onnxdream.runtime.provider.known_issues import clashes, detect_issues, nvidia_issues
from onnxdream.runtime.provider.session import computation_error, is_out_of_memory
from onnxdream.runtime.settings.settings import ProviderName

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
ORIN = Jetson("NVIDIA Jetson Orin Nano Developer Kit", "36.4.3")
RTX = Gpu("NVIDIA GeForce RTX 4070", "580.65.06", 12 * 2**30, "8.9")

# The log of onnxruntime-gpu 1.31 where CUDA's libraries are missing.
LACKS_CUDA_13 = (
    "[E:onnxruntime:Default, provider_bridge_ort.cc:2458 operator()] [ONNXRuntimeError] : 1 : FAIL : Failed to load "
    "library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file: "
    "No such file or directory\nFailed to create CUDAExecutionProvider. Require cuDNN 9.* and CUDA 13.*."
)
LACKS_CUDA_12 = LACKS_CUDA_13.replace("libcublasLt.so.13", "libcublasLt.so.12").replace("13", "12")


def lacks(library: str) -> str:
    return f"with error: {library}: cannot open shared object file: No such file or directory"


TOO_OLD = "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"
NO_CUDNN_CODE = "CUDNN failure 3008: CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH ; GPU=0"
NO_KERNEL = "CUDA failure 209: no kernel image is available for execution on the device"


@pytest.mark.parametrize(
    ("installed", "count"),
    [
        (set(), 0),
        ({"onnxruntime", "opencv-python-headless", "numpy"}, 0),
        ({"onnxruntime-gpu", "opencv-python"}, 0),
        ({"onnxruntime", "onnxruntime-gpu"}, 1),
        ({"onnxruntime", "onnxruntime-openvino", "onnxruntime-gpu"}, 1),
        ({"opencv-python", "opencv-contrib-python"}, 1),
        ({"onnxruntime", "onnxruntime-gpu", "opencv-python", "opencv-python-headless"}, 2),
    ],
)
def test_packages_that_overwrite_each_other_are_reported(installed: set[str], count: int) -> None:
    issues = clashes(dict.fromkeys(installed, "1"))
    assert len(issues) == count
    for issue in issues:
        assert str(issue).startswith("clashing packages: ")
        assert "overwrite each other: uninstall all of them" in str(issue)


def test_a_clash_names_all_packages_that_clash() -> None:
    (issue,) = clashes({"onnxruntime-gpu": "1", "onnxruntime": "1", "numpy": "2"})
    assert issue.description == "onnxruntime and onnxruntime-gpu overwrite each other"


@pytest.mark.parametrize(
    ("hardware", "available", "names"),
    [
        (Hardware(), [CPU], []),
        (Hardware(packages={"onnxruntime": "1.32.0"}), [CPU], []),
        (Hardware(gpus=(RTX,), packages={"onnxruntime-gpu": "1.31.1"}), [CUDA, CPU], []),
        (Hardware(gpus=(RTX,), packages={"onnxruntime": "1.32.0"}), [CPU], ["GPU unused"]),
        (Hardware(gpus=(RTX,), packages={"onnxruntime-openvino": "1.24.1"}), [CPU], []),  # a deliberate choice
        (Hardware(jetson=ORIN), [CPU], ["Jetson wheel"]),
        (Hardware(jetson=ORIN, public_gpu_wheel=True), [CUDA, CPU], ["Jetson wheel"]),
        (Hardware(jetson=ORIN), [TENSORRT, CUDA, CPU], []),
        (Hardware(libraries=("libnvinfer.so.11.4.0",)), [TENSORRT, CUDA, CPU], ["TensorRT 11"]),
        (Hardware(libraries=("libnvinfer.so.11.4.0",)), [CPU], []),
        (Hardware(libraries=("libnvinfer.so.11.4.0", "libnvinfer.so.10.3.0")), [TENSORRT, CUDA, CPU], []),
        (Hardware(jetson=ORIN, packages={"onnxruntime": "1", "onnxruntime-gpu": "1"}), [CPU],
         ["clashing packages", "Jetson wheel"]),
    ],
)  # fmt: skip
def test_issues_are_detected_before_any_provider_is_tried(
    hardware: Hardware, available: list[str], names: list[str]
) -> None:
    assert [issue.name for issue in detect_issues(hardware, available)] == names


def test_on_a_jetson_the_fix_names_the_wheel_to_install() -> None:
    (issue,) = detect_issues(Hardware(jetson=ORIN), [CPU])
    assert "NVIDIA Jetson Orin Nano Developer Kit, L4T 36.4.3" in issue.description
    assert "built for this JetPack" in issue.fix
    assert "jp6/cu126" in issue.fix


@pytest.mark.parametrize(
    ("failure", "hardware", "name", "words"),
    [
        (LACKS_CUDA_13, Hardware(), "CUDA libraries missing", ("CUDA 13", "onnxruntime-gpu[cuda,cudnn]")),
        (LACKS_CUDA_13, Hardware(libraries=("libcudart.so.12.6.68",)), "CUDA 13 needed",
         ("CUDA 12 is installed", "needs CUDA 13", "onnxruntime-gpu[cuda,cudnn]<1.27")),
        (LACKS_CUDA_12, Hardware(libraries=("libcudart.so.13",)), "CUDA 12 needed",
         ("CUDA 13 is installed", "needs CUDA 12", "the latest for CUDA 13")),
        (LACKS_CUDA_13, Hardware(libraries=("libcudart.so.13",)), "CUDA libraries missing", ("does not find CUDA 13",)),
        (LACKS_CUDA_13, Hardware(jetson=ORIN, libraries=("libcudart.so.12.6.68",)), "CUDA 13 needed",
         ("needs CUDA 13", "built for this JetPack")),
        (lacks("libcufft.so.12"), Hardware(), "CUDA libraries missing", ("does not find CUDA:",)),
        (lacks("libcudnn.so.9"), Hardware(), "cuDNN missing", ("need it", "onnxruntime-gpu[cuda,cudnn]")),
        (lacks("libcudnn_graph.so.9"), Hardware(libraries=("libcudnn.so.8.9.7",)), "cuDNN missing", ("cuDNN 8.9.7",)),
        (lacks("libcudnn.so.9"), Hardware(jetson=ORIN), "cuDNN missing", ("nvidia-jetpack",)),
        (lacks("libcuda.so.1"), Hardware(), "NVIDIA driver", ("install a newer driver",)),
        (TOO_OLD, Hardware(gpus=(RTX,)),
         "NVIDIA driver", ("too old",)),
        (TOO_OLD, Hardware(gpus=(replace(RTX, driver="550.54"),)), "NVIDIA driver",
         ("driver 580 or newer", "onnxruntime-gpu[cuda,cudnn]<1.27")),
        (TOO_OLD, Hardware(gpus=(replace(RTX, driver="470.1"),)), "NVIDIA driver", ("install a newer driver",)),
        (NO_KERNEL, Hardware(jetson=ORIN), "Jetson wheel", ("no code for a Jetson's GPU", "Orin Nano")),
        (NO_KERNEL, Hardware(gpus=(Gpu("GTX 1080", "580", 8 * 2**30, "6.1"),)), "GPU without code",
         ("GTX 1080, compute capability 6.1", "onnxruntime-gpu[cuda,cudnn]<1.27", "nvidia-cudnn-cu12<9.11")),
        (NO_KERNEL, Hardware(gpus=(replace(RTX, capability="7.0"),)), "GPU without code", ("nvidia-cudnn-cu12<9.11",)),
        (NO_KERNEL, Hardware(gpus=(replace(RTX, capability="10.0"),)), "GPU without code", ("<1.27'",)),
        (NO_KERNEL, Hardware(gpus=(replace(RTX, capability="12.0"),)), "GPU without code", ("the latest",)),
        (NO_CUDNN_CODE, Hardware(gpus=(replace(RTX, capability="7.0"),)), "GPU without cuDNN",
         ("no code for NVIDIA GeForce RTX 4070, compute capability 7.0", "nvidia-cudnn-cu12<9.11")),
        (NO_CUDNN_CODE, Hardware(gpus=(RTX,)), "GPU without cuDNN", ("onnxruntime-gpu[cuda,cudnn]'",)),
        ("CUDA failure 100: no CUDA-capable device is detected", Hardware(), "no GPU", ("nvidia-smi",)),
        (lacks("libnvinfer.so.10"), Hardware(), "TensorRT missing", ("tensorrt-cu13>=10,<11",)),
        (lacks("libnvinfer.so.10"), Hardware(libraries=("libcudart.so.13",)), "TensorRT missing", ("tensorrt-cu13",)),
        (lacks("libnvinfer.so.10"), Hardware(libraries=("libcudart.so.12.6.68",)), "TensorRT missing",
         ("tensorrt-cu12>=10,<11", "pypi.nvidia.com")),
        (lacks("libnvinfer.so.10"), Hardware(jetson=ORIN), "TensorRT missing", ("sudo apt install tensorrt",)),
        (lacks("libnvinfer.so.10"), Hardware(libraries=("libnvinfer.so.11.4.0",)), "TensorRT 11",
         ("TensorRT 11 is installed", "needs TensorRT 10", "tensorrt-cu13>=10,<11")),
    ],
)  # fmt: skip
def test_a_failure_is_traced_to_its_known_issue(
    failure: str, hardware: Hardware, name: str, words: tuple[str, ...]
) -> None:
    issue = next(iter(nvidia_issues(failure, hardware)), None)
    assert issue is not None
    assert issue.name == name
    assert "\n" not in str(issue)
    for word in words:
        assert word in str(issue)


# What onnxruntime-gpu 1.31.1 says in many situations, and 1.23.2 where it says something else.
ERRORS: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parents[2] / "data" / "cuda-errors.json").read_text(encoding="utf-8")
)
FELL_BACK = "onnxruntime fell back to CPUExecutionProvider from CUDAExecutionProvider"
# What a line about the situation must contain, by the start of the situation's name.
WORDS = {
    "cudaSetDevice returns 35": "NVIDIA driver: it is missing, or too old",
    "cudaSetDevice returns 46": "46",
    "cudaSetDevice returns 100": "no GPU",
    "cudaSetDevice returns 101": "no such GPU",
    "cudaSetDevice returns 801": "801",
    "cudaSetDevice returns 802": "nvidia-fabricmanager",
    "cudaSetDevice returns 803": "803): reboot",
    "cudaSetDevice returns 804": "804",
    "cudaSetDevice returns 999": "999",
    "a kernel's launch returns 209": "GPU without code",
    "a kernel's launch returns 700": "cudaErrorIllegalAddress",
    "cudaStreamEndCapture returns 901": "cannot capture the gradient (CUDA failure 901): leave out --tune",
    "cudaStreamSynchronize returns 209": "GPU without code",
    "cudaStreamSynchronize returns 700": "CUDA failure 700: an illegal memory access was encountered",
    "cudaMalloc returns 2": "Failed to allocate memory",
    "gpu_mem_limit is reached": "is smaller than requested",
    "a GPU that does not exist": "no such GPU",
    "a CUDA option": "Unknown provider option",
    "libcuda is missing": "NVIDIA driver",
    "libcudnn is missing": "cuDNN missing",
    "libnvinfer is missing": "TensorRT missing",
    "libnvonnxparser is missing": "TensorRT missing",
    "libcu": "CUDA libraries missing",
    "trt_": "should be 'True' or 'False'",
    "a TensorRT option": "Invalid TensorRT EP option: no_such_option",
}


@pytest.mark.parametrize("situation", ERRORS)
def test_a_real_failure_of_cuda_is_explained_in_one_short_line(situation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "detect_hardware", Hardware)
    message, log = ERRORS[situation]["message"], ERRORS[situation]["log"]
    line = selection._reason("cuda", RuntimeError(message or FELL_BACK), log)
    assert next(words for start, words in WORDS.items() if situation.startswith(start)) in line
    assert len(line) < 200
    assert "\n" not in line
    assert ".cc:" not in line


def test_tensorrt_without_its_libraries_is_recognised_without_a_log_too() -> None:
    message = ERRORS["libnvinfer is missing, 1.31.1"]["message"]
    assert selection._reason("tensorrt", RuntimeError(message), "").startswith("TensorRT missing: ")


def test_only_memory_that_is_used_up_is_taken_for_it() -> None:
    used_up = [name for name, error in ERRORS.items() if is_out_of_memory(RuntimeError(error["message"]))]
    assert used_up
    assert all(name.startswith(("cudaMalloc returns 2", "gpu_mem_limit is reached")) for name in used_up)
    assert sum(name.startswith(("cudaMalloc", "gpu_mem_limit")) for name in ERRORS) == len(used_up)
    elsewhere = ERRORS["cudaStreamSynchronize returns 700, 1.31.1"]["message"].replace("gpu_data_transfer", "allocator")
    assert not is_out_of_memory(RuntimeError(elsewhere))


def test_a_failure_at_a_step_names_the_known_issue() -> None:
    error = computation_error(RuntimeError(ERRORS["a kernel's launch returns 209, 1.31.1"]["message"]))
    assert "GPU without code" in str(error)
    error = computation_error(RuntimeError(ERRORS["a kernel's launch returns 700, 1.31.1"]["message"]))
    assert "onnxruntime cannot compute the gradient (Non-zero status code returned" in str(error)


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_provider_without_cuda_has_none_of_its_issues(provider: ProviderName) -> None:
    assert not list(PROVIDERS[provider].known_issues(LACKS_CUDA_13, Hardware()))


def test_an_unknown_failure_has_no_known_issue() -> None:
    assert not list(nvidia_issues("the cat sat on the keyboard", Hardware()))
