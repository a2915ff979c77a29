"""Known issues of machines, recognised by their hardware and by the text of failures alone."""

from __future__ import annotations

import pytest

from onnxdream.runtime.provider.cards import PROVIDERS
from onnxdream.runtime.provider.hardware import Gpu, Hardware, Jetson
from onnxdream.runtime.provider.known_issues import clashes, detect_issues, nvidia_issues
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
        (Hardware(gpu=RTX, packages={"onnxruntime-gpu": "1.31.1"}), [CUDA, CPU], []),
        (Hardware(gpu=RTX, packages={"onnxruntime": "1.32.0"}), [CPU], ["GPU unused"]),
        (Hardware(gpu=RTX, packages={"onnxruntime-openvino": "1.24.1"}), [CPU], []),  # a deliberate choice
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
         ("CUDA 12 is installed", "needs CUDA 13", "onnxruntime-gpu<1.27")),
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
        ("CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version", Hardware(gpu=RTX),
         "NVIDIA driver", ("too old",)),
        (NO_KERNEL, Hardware(jetson=ORIN), "Jetson wheel", ("no code for a Jetson's GPU", "Orin Nano")),
        (NO_KERNEL, Hardware(gpu=Gpu("GTX 1080", "580", 8 * 2**30, "6.1")), "GPU without code",
         ("GTX 1080, compute capability 6.1", "onnxruntime-gpu<1.27")),
        ("CUDA failure 100: no CUDA-capable device is detected", Hardware(), "no GPU", ("nvidia-smi",)),
        (lacks("libnvinfer.so.10"), Hardware(), "TensorRT missing", ("tensorrt-cu13>=10,<11",)),
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


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_provider_without_cuda_has_none_of_its_issues(provider: ProviderName) -> None:
    assert not list(PROVIDERS[provider].known_issues(LACKS_CUDA_13, Hardware()))


def test_an_unknown_failure_has_no_known_issue() -> None:
    assert not list(nvidia_issues("the cat sat on the keyboard", Hardware()))
