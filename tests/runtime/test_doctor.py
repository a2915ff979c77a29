"""The diagnosis of the command `doctor`."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from make_tiny_bundle import TINY_PATH
from numpy.typing import NDArray
from pictures_fixture import bundle_bytes, facts

from onnxdream.models.contract import Weights
from onnxdream.runtime import Bundle, doctor
from onnxdream.runtime.deploying.reference import Reference
from onnxdream.runtime.doctor import Diagnosis, ProviderReport, diagnose
from onnxdream.runtime.provider import hardware as hardware_module
from onnxdream.runtime.provider.cards import PROVIDERS
from onnxdream.runtime.provider.hardware import Gpu, Jetson, detect_hardware
from onnxdream.runtime.provider.known_issues import KnownIssue, clashes
from onnxdream.runtime.provider.machine import Machine, usable_threads
from onnxdream.runtime.provider.selection import self_test


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Diagnosis:
    """The diagnosis of this machine, with the built-in bundles only."""
    with pytest.MonkeyPatch.context() as patch:  # this is asked before the home of the first test is empty
        patch.setenv("ONNXDREAM_HOME", str(tmp_path_factory.mktemp("home")))
        return diagnose()


def test_the_diagnosis_of_this_machine(found: Diagnosis) -> None:
    assert found.python == platform.python_version()
    assert platform.machine() in found.machine
    assert found.threads == usable_threads() <= found.cores <= found.logical_cpus
    assert found.versions["numpy"] == np.__version__
    assert found.versions["onnxdream"]
    assert set(found.cpu_flags) <= detect_hardware().cpu_flags
    assert found.budget == found.memory // 2
    assert found.memory > 0
    assert len(found.problems) >= len(clashes(detect_hardware().packages))


def test_every_provider_of_this_onnxruntime_is_tried(found: Diagnosis) -> None:
    ours = {name for name, card in PROVIDERS.items() if card.ort_name in ort.get_available_providers()}
    assert {provider.name for provider in found.providers} == ours
    assert set(found.not_in_this_build) == set(PROVIDERS) - ours
    for provider in found.providers:
        assert (provider.problem is None) == (self_test(provider.name) is None)
        assert provider.name == "tensorrt" or (provider.kernels or 0) > 0 or provider.problem


def test_a_bundle_that_is_named_is_the_one_that_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def counts(bundle: Bundle, *_: object) -> dict[str, int]:
        tried.append(bundle.name)
        return {"cpu": 1}

    monkeypatch.setattr(doctor, "kernel_counts", counts)
    found = diagnose(str(TINY_PATH))
    assert {found.bundle, *tried} == {"tiny.onnx"}
    assert "dream uses tiny.onnx" in "\n".join(found.lines())


def test_without_a_temporary_folder_providers_are_shown_without_counts(no_temporary_folder: None) -> None:
    cpu = next(provider for provider in diagnose().providers if provider.name == "cpu")
    assert (cpu.problem, cpu.kernels) == (None, None)
    assert cpu.line() == "provider cpu           works"


def test_a_loss_that_cannot_be_compared_leaves_a_provider_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_folder(name: str, bundle: Bundle) -> float:
        raise FileNotFoundError("there is no temporary folder")

    monkeypatch.setattr(doctor, "_loss_error", no_folder)
    cpu = next(provider for provider in diagnose().providers if provider.name == "cpu")
    assert (cpu.problem, cpu.kernels, cpu.loss_error) == (None, None, None)


def test_the_cpu_leaves_nothing_to_other_providers(found: Diagnosis) -> None:
    cpu = next(provider for provider in found.providers if provider.name == "cpu")
    assert cpu.elsewhere == 0
    assert cpu.kernels is not None
    assert cpu.kernels > 100
    assert cpu.line() == "provider cpu           works, runs the whole gradient"


def test_the_diagnosis_is_plain_data(found: Diagnosis) -> None:
    issue = KnownIssue("clash", "a and b clash", "uninstall a")
    data = json.loads(json.dumps(replace(found, problems=(issue,)).facts()))
    assert data["versions"] == found.versions
    assert data["providers"][0]["name"] == "cpu"
    assert data["providers"][0]["problem"] is None
    assert data["problems"] == [{"name": "clash", "what": "a and b clash", "fix": "uninstall a"}]


def test_it_names_the_bundle_that_dream_would_use(home: Path, found: Diagnosis) -> None:
    assert found.bundle == "v3-low, built in"
    path = home / "bundles" / "mine.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(TINY_PATH.read_bytes())
    diagnosis = diagnose()
    bundles = diagnosis.bundle, diagnosis.bundles, diagnosis.bundle_folder
    assert bundles == ("v3-low, built in", 1, str(path.parent))
    path.write_bytes(
        bundle_bytes([b"\x22\x04Relu"], metadata=replace(facts(), weights=Weights("mine.h5", "", "")).to_json())
    )
    diagnosis = diagnose()
    assert diagnosis.bundle == "mine.onnx"
    assert diagnosis.providers[0].problem is not None
    assert "a small convolution works, but mine.onnx does not" in diagnosis.providers[0].problem


def test_the_known_issues_of_the_machine_are_its_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Jetson("NVIDIA Jetson Orin Nano", "36.4.3")
    packages = {"onnxruntime": "1", "onnxruntime-gpu": "1"}
    monkeypatch.setattr(doctor, "detect_hardware", lambda: replace(detect_hardware(), jetson=board, packages=packages))
    diagnosis = diagnose()
    names = [problem.name for problem in diagnosis.problems]
    assert names[0] == "clashing packages"
    assert "Jetson wheel" in names or "CUDAExecutionProvider" in ort.get_available_providers()
    assert "board       NVIDIA Jetson Orin Nano, L4T 36.4.3" in diagnosis.lines()


def test_in_a_container_the_memory_is_the_one_that_a_dream_plans_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sys" / "fs" / "cgroup").mkdir(parents=True)
    (tmp_path / "sys" / "fs" / "cgroup" / "memory.max").write_text("400000000\n")
    monkeypatch.setattr(hardware_module, "_ROOT", tmp_path)
    hardware = detect_hardware.__wrapped__()
    monkeypatch.setattr(doctor, "detect_hardware", lambda: hardware)
    diagnosis = diagnose()
    assert (diagnosis.memory, diagnosis.budget) == (400 * 10**6, 200 * 10**6)
    assert "memory      0.4 GB, of which a dream takes 0.2 GB at most" in diagnosis.lines()


def test_the_diagnosis_as_lines(found: Diagnosis) -> None:
    diagnosis = replace(
        found,
        python="3.12.1",
        machine="Linux aarch64",
        logical_cpus=8,
        threads=4,
        cores=6,
        quota=4.5,
        cpu="Cortex",
        cpu_flags=("asimd", "bf16"),
        memory=8 * 10**9,
        budget=4 * 10**9,
        gpus=(Gpu("RTX", "580.65", 12 * 10**9, "8.9"),),
        knows_gpu_order=True,
        cuda=("12.6.68", "13"),
        cudnn=("9",),
        tensorrt=(),
        versions={"numpy": "2.0"},
        providers=(
            ProviderReport("cpu", None, 257, 0),
            ProviderReport("cuda", "no device"),
            ProviderReport("openvino", None, 3, 2, bf16=True),
        ),
        not_in_this_build={"tensorrt": "install onnxdream[tensorrt] on a machine with an NVIDIA GPU"},
        bundle_folder="/home/bundles",
        bundles=2,
        bundle="v3.onnx",
        problems=(KnownIssue("clash", "a and b clash", "uninstall a"),),
    )
    lines = diagnosis.lines()
    assert lines == [
        "Python 3.12.1 on Linux aarch64, 4 CPU threads by default, of 8 logical CPUs",
        "CPU         Cortex, 6 cores, a quota of 4.5 cores: asimd bf16",
        "memory      8.0 GB, of which a dream takes 4.0 GB at most",
        "GPU         RTX, 12.0 GB, compute capability 8.9, driver 580.65",
        *(line for line in lines if line.startswith("board")),
        "libraries   CUDA 12.6.68 and 13, cuDNN 9; TensorRT not found (only needed for --provider tensorrt)",
        "packages    numpy 2.0",
        "provider cpu           works, runs the whole gradient",
        "provider cuda          fails: no device",
        "provider openvino      works, also in bf16, but leaves 2 of the gradient's 5 operations to other providers",
        "provider tensorrt      not in this onnxruntime (install onnxdream[tensorrt] on a machine with an NVIDIA GPU)",
        "bundles     2 exported, in /home/bundles; dream uses v3.onnx",
        "problem: clash: a and b clash: uninstall a",
    ]
    assert (
        "GPU         Orin, memory shared with the CPU, compute capability 8.7, driver 540"
        in replace(diagnosis, gpus=(Gpu("Orin", "540", None, "8.7"),)).lines()
    )
    without = replace(diagnosis, gpus=(), cuda=(), cudnn=()).lines()
    assert "GPU         no NVIDIA GPU found (nvidia-smi lists none, or CUDA_VISIBLE_DEVICES hides them)" in without
    assert "libraries   CUDA, cuDNN, TensorRT not found (only needed for an NVIDIA GPU)" in without


def to_tf32(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounds to the nearest number with TF32's 10 bits behind the point; halves are rounded up."""
    return ((values.view(np.uint32) + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)


def test_tf32_is_told_from_fp32_by_the_losses() -> None:
    onnx = pytest.importorskip("onnx")
    bundle = Bundle.built_in()
    reference = Reference.of(bundle)
    cpu = Machine("cpu", 1)
    assert reference.agreement(bundle, cpu).loss_error < 1e-6
    model = onnx.load_from_string(bundle.data)
    for weights in model.graph.initializer:
        if len(weights.dims) == 4:
            rounded = to_tf32(onnx.numpy_helper.to_array(weights).copy())
            weights.CopyFrom(onnx.numpy_helper.from_array(rounded, weights.name))
    rounded_model = Bundle.load(model.SerializeToString())
    error = reference.agreement(rounded_model, cpu).loss_error
    assert "its losses differ from the CPU's by" in ProviderReport("cuda", None, 1, 0, loss_error=error).line()


@pytest.mark.parametrize(
    ("error", "is_told", "is_tf32"),
    [
        (None, False, False),
        (4e-7, False, False),
        (7e-5, True, True),
        (1.0, True, False),
        (float("nan"), True, False),
    ],
)
def test_a_loss_that_rounding_does_not_explain_is_told(error: float | None, is_told: bool, is_tf32: bool) -> None:
    line = ProviderReport("cuda", None, 276, 0, loss_error=error).line()
    assert ("but its losses differ from the CPU's by" in line) == is_told
    assert ("as with TF32 instead of fp32 (NVIDIA_TF32_OVERRIDE=0 forbids it)" in line) == is_tf32


def test_losses_are_compared_with_the_cpu_s_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.load(TINY_PATH)
    assert doctor._loss_error("cpu", bundle) is None
    monkeypatch.setattr(doctor, "Machine", lambda name, threads: Machine("cpu", threads))  # a GPU that agrees
    assert 0 <= (doctor._loss_error("cuda", bundle) or 0) < 1e-6


def test_several_gpus_are_listed_with_their_numbers_where_these_are_known(found: Diagnosis) -> None:
    gpus = Gpu("RTX", "580", 12 * 10**9, "8.9"), Gpu("GTX", "580", 8 * 10**9, "7.5")
    lines = replace(found, gpus=gpus, knows_gpu_order=True).lines()
    assert "GPU cuda:0  RTX, 12.0 GB, compute capability 8.9, driver 580" in lines
    assert "GPU cuda:1  GTX, 8.0 GB, compute capability 7.5, driver 580" in lines
    lines = replace(found, gpus=gpus, knows_gpu_order=False).lines()
    assert "GPU         GTX, 8.0 GB, compute capability 7.5, driver 580" in lines
    assert any("CUDA_DEVICE_ORDER=PCI_BUS_ID" in line for line in lines)
