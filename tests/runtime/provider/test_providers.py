"""The choice of an execution provider, its self-test, and its sessions."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from pictures_fixture import TINY_BYTES

from onnxdream.models.arrays import Losses
from onnxdream.runtime import Bundle
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.bundle.sessions import Session, kernel_counts
from onnxdream.runtime.errors import DreamError, ProviderError, SettingsError
from onnxdream.runtime.provider import cards, selection, session
from onnxdream.runtime.provider import machine as machine_module
from onnxdream.runtime.provider.cards import PROVIDERS
from onnxdream.runtime.provider.hardware import Gpu, Hardware, Jetson, detect_hardware
from onnxdream.runtime.provider.machine import Machine, threads_of, usable_threads
from onnxdream.runtime.provider.selection import candidates, choose_provider, probe, self_test, wrong_precision
from onnxdream.runtime.provider.session import builds_engine, first_line, open_session, placement
from onnxdream.runtime.settings.settings import Execution, Precision, ProviderName

CPU, CUDA, TENSORRT, OPENVINO = (PROVIDERS[name].ort_name for name in ("cpu", "cuda", "tensorrt", "openvino"))
AZURE = "AzureExecutionProvider"
WITH_BF16 = Hardware(cpu_flags=frozenset({"avx512_bf16"}))
ORIN = Hardware(jetson=Jetson("NVIDIA Jetson Orin Nano", "36.4.3"))

pytestmark = pytest.mark.filterwarnings("ignore:Specified provider")
with_openvino = pytest.mark.skipif(OPENVINO not in ort.get_available_providers(), reason="no OpenVINO here")
with_bf16 = pytest.mark.skipif(not detect_hardware().has_bf16, reason="this CPU has no bf16")


@pytest.mark.parametrize(
    ("request_", "available", "expected"),
    [
        ("auto", [CPU], ("cpu",)),
        ("auto", [AZURE, CPU], ("cpu",)),
        ("auto", [TENSORRT, CUDA, CPU], ("cuda", "cpu")),
        ("auto", [CPU, CUDA], ("cuda", "cpu")),
        ("auto", [OPENVINO, CPU], ("openvino", "cpu")),
        ("auto", [CPU, OPENVINO, CUDA], ("cuda", "openvino", "cpu")),
        ("cpu", [TENSORRT, CUDA, CPU], ("cpu",)),
        ("cuda", [TENSORRT, CUDA, CPU], ("cuda",)),
        ("tensorrt", [TENSORRT, CUDA, CPU], ("tensorrt",)),
        ("openvino", [OPENVINO, CPU], ("openvino",)),
    ],
)
def test_the_candidates_depend_on_the_request_and_on_the_providers_available(
    request_: ProviderName, available: list[str], expected: tuple[ProviderName, ...]
) -> None:
    assert candidates(request_, available) == expected


@pytest.mark.parametrize(
    ("request_", "available", "advice"),
    [
        ("cuda", [AZURE, CPU], "onnxdream[gpu]"),
        ("tensorrt", [CPU], "onnxdream[tensorrt]"),
        ("openvino", [CUDA, CPU], "onnxdream[openvino]"),
    ],
)
def test_an_explicit_provider_that_is_missing_is_refused_with_the_extra_to_install(
    request_: ProviderName, available: list[str], advice: str
) -> None:
    with pytest.raises(ProviderError) as refused:
        candidates(request_, available, hardware=Hardware())
    line = str(refused.value)
    assert "\n" not in line
    assert f"provider {request_} is not in this onnxruntime" in line
    assert advice in line
    assert "--provider auto" in line
    assert AZURE not in line  # it cannot dream


def test_the_refusal_names_the_providers_available() -> None:
    with pytest.raises(ProviderError, match=r"it has cpu, cuda\)"):
        candidates("openvino", [CUDA, CPU], hardware=Hardware())
    assert issubclass(ProviderError, DreamError)
    assert issubclass(ProviderError, RuntimeError)


@pytest.mark.parametrize(
    ("request_", "hardware", "words"),
    [
        ("cuda", ORIN, "Jetson wheel: this onnxruntime has no CUDA (NVIDIA Jetson Orin Nano, L4T 36.4.3)"),
        ("tensorrt", ORIN, "Jetson wheel"),
        ("openvino", ORIN, "onnxdream[openvino]"),
        ("cuda", Hardware(packages={"onnxruntime": "1", "onnxruntime-gpu": "1"}), "clashing packages: onnxruntime and"),
        ("openvino", Hardware(packages={"onnxruntime": "1", "onnxruntime-openvino": "1"}), "clashing packages"),
        ("openvino", Hardware(packages={"opencv-python": "1", "opencv-python-headless": "1"}), "onnxdream[openvino]"),
        (
            "openvino",
            Hardware(packages={"onnxruntime-gpu": "1"}),
            "): uninstall onnxruntime-gpu, then install onnxdream[openvino]",
        ),
        ("cuda", Hardware(packages={"onnxruntime": "1"}), "uninstall onnxruntime, then install onnxdream[gpu] on a"),
    ],
)
def test_a_provider_that_is_missing_is_traced_to_its_known_issue(
    request_: ProviderName, hardware: Hardware, words: str
) -> None:
    with pytest.raises(ProviderError) as refused:
        candidates(request_, [CPU], hardware=hardware)
    assert words in str(refused.value)


def test_on_a_jetson_whose_wheel_has_cuda_alone_tensorrt_is_not_looked_for_elsewhere() -> None:
    with pytest.raises(ProviderError, match="for this JetPack has no TensorRT: choose --provider cuda") as refused:
        candidates("tensorrt", [CUDA, CPU], hardware=ORIN)
    assert "onnxdream[tensorrt]" not in str(refused.value)


@pytest.mark.parametrize("request_", ["auto", "openvino"])
def test_bf16_is_computed_by_openvino(request_: ProviderName) -> None:
    assert candidates(request_, [OPENVINO, CPU], "bf16", WITH_BF16) == ("openvino",)
    with pytest.raises(ProviderError, match=r"install onnxdream\[openvino\], or choose --precision fp32"):
        candidates(request_, [CUDA, CPU], "bf16", WITH_BF16)
    with pytest.raises(ProviderError, match=r"this CPU has no bf16 .* choose --precision fp32"):
        candidates(request_, [OPENVINO, CPU], "bf16", Hardware())


@pytest.mark.parametrize("request_", ["cpu", "cuda", "tensorrt"])
def test_no_other_provider_computes_in_bf16(request_: ProviderName) -> None:
    with pytest.raises(ProviderError, match=f"provider {request_} cannot compute in bf16, only openvino can"):
        candidates(request_, [TENSORRT, CUDA, OPENVINO, CPU], "bf16", WITH_BF16)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "mixed"])
def test_auto_tries_openvino_before_the_cpu_in_every_precision(precision: Precision) -> None:
    assert candidates("auto", [OPENVINO, CPU], precision, Hardware()) == ("openvino", "cpu")


@pytest.mark.parametrize(
    ("mean", "precision", "wrong"),
    [
        (1.0002441, "fp32", None),
        (1.0, "fp32", "it computes in less than fp32 although fp32 was asked for"),
        (1.0, "bf16", None),
        (1.0002441, "bf16", "it computes in fp32 although bf16 was asked for"),
        (1.0, "fp16", None),
        (1.0002441, "mixed", None),
        (0.5, "fp32", "a convolution returns wrong values"),
        (0.0, "bf16", "a convolution returns wrong values"),
        (float("nan"), "fp32", "a convolution returns wrong values"),
    ],
)
def test_the_self_test_tells_precisions_apart(mean: float, precision: Precision, wrong: str | None) -> None:
    assert wrong_precision(mean, precision) == wrong


def test_the_cpu_works() -> None:
    assert self_test("cpu") is None
    assert choose_provider(Execution("cpu")).machine.provider == "cpu"
    assert choose_provider(Execution("cpu")).notice is None


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "cpu"])
def test_only_cuda_is_tuned(provider: ProviderName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(selection, "self_test", lambda *words: None)
    choice = choose_provider(Execution(provider, threads=1, tune=True))
    assert choice.machine.tune == (provider == "cuda")
    assert choice.notice == (None if provider == "cuda" else f"--tune changes nothing on the provider {provider}")
    assert not choose_provider(Execution(provider, threads=1)).machine.tune


@pytest.mark.parametrize(("version", "graphs"), [("1.31.1", "1"), ("1.30.2", "0"), ("1.23.2", "0"), ("2.0.0", "1")])
def test_a_tuned_session_has_cuda_graphs_where_onnxruntime_has_them_right(
    version: str, graphs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 1.31, the graph of a Split of unequal sizes read memory that had been freed."""
    monkeypatch.setattr(ort, "__version__", version)
    ((_, options),) = PROVIDERS["cuda"].session_providers(b"", Machine("cuda", 1, tune=True), {})
    assert options["enable_cuda_graph"] == graphs
    assert options["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    ((_, options),) = PROVIDERS["cuda"].session_providers(b"", Machine("cuda", 1), {})
    assert options["enable_cuda_graph"] == "0"


def test_auto_chooses_a_provider_that_works() -> None:
    choice = choose_provider(Execution())
    provider = choice.machine.provider
    assert self_test(provider) is None
    assert (choice.notice is None) == (provider == candidates("auto", ort.get_available_providers())[0])


@pytest.mark.parametrize("name", ["cuda", "tensorrt", "openvino"])
def test_a_provider_works_or_its_failure_is_one_line(name: ProviderName) -> None:
    if PROVIDERS[name].ort_name in ort.get_available_providers():
        failure = self_test(name)
        assert failure is None or (failure and "\n" not in failure)
        return
    assert self_test(name) is not None
    with pytest.raises(ProviderError, match=f"provider {name} is not in this onnxruntime"):
        choose_provider(Execution(name))


def test_auto_reports_a_provider_that_it_skipped_and_an_explicit_request_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with onnxruntime-gpu and a broken driver."""
    if CUDA in ort.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    choice = choose_provider(Execution())
    assert choice.machine.provider == "cpu"
    assert choice.notice is not None
    assert choice.notice.startswith("provider cuda does not work here (")
    assert choice.notice.endswith(": using cpu")
    with pytest.raises(ProviderError, match=r"provider cuda does not work here .* --provider cpu works everywhere"):
        choose_provider(Execution("cuda"))


def test_a_session_never_falls_back_silently() -> None:
    available = ort.get_available_providers()
    missing = [name for name, card in PROVIDERS.items() if card.ort_name not in available and name != "tensorrt"]
    assert missing
    for name in missing:
        with pytest.raises(Exception) as failed:  # noqa: PT011  # onnxruntime's or ours, by its version
            open_session(probe(), Machine(name, 1))
        assert first_line(failed.value)


def test_a_failure_names_the_cause_that_only_the_log_states() -> None:
    log = "[E:onnxruntime] Failed to load library x.so with error: libodd.so.7: no such file\nmore"
    reason = selection._reason("openvino", RuntimeError("onnxruntime fell back"), log)
    assert reason == "onnxruntime fell back: libodd.so.7: no such file"
    log = log.replace("libodd.so.7", "libcudnn.so.9")
    assert selection._reason("cuda", RuntimeError("onnxruntime fell back"), log).startswith("cuDNN missing: ")
    assert selection._reason("cuda", RuntimeError("no device"), "") == "no device"


def test_the_log_of_a_failure_comes_from_a_process_of_its_own(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert selection._failure_log("cpu", "fp32", 0) == ""
    writes = [sys.executable, "-c", "import os; os.write(2, b'why')"]
    monkeypatch.setattr(selection, "code_command", lambda *words: writes)
    assert selection._failure_log("cuda", "fp32", 0) == "why"
    monkeypatch.setattr(selection, "code_command", lambda *words: ["/no/such/python"])
    assert selection._failure_log("cuda", "fp32", 0) == ""
    assert capfd.readouterr() == ("", "")


def test_a_library_s_error_is_cut_to_one_short_line() -> None:
    assert first_line(RuntimeError("  no device\nat line 9")) == "no device"
    assert first_line(RuntimeError()) == "RuntimeError"


def test_threads_are_at_least_one_and_at_most_what_the_process_may_use() -> None:
    assert 1 <= usable_threads() <= (os.cpu_count() or 1)
    assert threads_of(Execution()) == usable_threads()
    assert threads_of(Execution(threads=3)) == 3


@pytest.mark.parametrize(
    ("cores", "threads", "line"),
    [
        (2, 64, "64 threads on 2 cores are slower than 2: leave out --threads"),
        (1, 2, "2 threads on 1 core are slower than 1: leave out --threads"),
        (2, 2, None),
        (8, 1, None),
    ],
)
def test_more_threads_than_cores_are_reported_with_the_choice(
    cores: int, threads: int, line: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_module, "usable_threads", lambda: cores)
    choice = choose_provider(Execution("cpu", threads))
    assert choice.notice == line
    assert choice.machine.threads == threads  # not a refusal


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_threads_follow_the_affinity_of_the_process() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_machine_has_the_threads_and_memory_of_the_execution() -> None:
    assert choose_provider(Execution("cpu", 3, 10**9)).machine == Machine("cpu", 3, "fp32", 10**9)
    assert choose_provider(Execution("cpu")).machine.threads == usable_threads()
    with pytest.raises(ProviderError):
        choose_provider(Execution("cpu", precision="bf16"))


@pytest.mark.parametrize("model", [TINY_BYTES, Bundle.built_in().data], ids=["tiny", "embedded"])
def test_on_the_cpu_every_kernel_is_the_cpu_s(model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = {"batch": 1, "height": 96, "width": 128}
    counts = placement(model, Machine("cpu", 1), sizes)
    assert set(counts) == {"cpu"}
    assert counts["cpu"] > 30
    assert not list(tmp_path.iterdir())  # the profile has been deleted


def test_kernels_are_not_counted_without_a_temporary_folder(no_temporary_folder: None) -> None:
    with pytest.raises(FileNotFoundError):
        placement(TINY_BYTES, Machine("cpu", 1), {"batch": 1, "height": 96, "width": 128})


def test_an_engine_is_built_once(home: Path) -> None:
    sizes, machine = {"batch": 1, "height": 96, "width": 128}, Machine("tensorrt", 1)
    assert builds_engine(TINY_BYTES, machine, sizes)
    folder = session.engine_folder(TINY_BYTES, sizes, "fp32", detect_hardware(), ort.__version__)
    folder.mkdir(parents=True)
    (folder / "onnxdream_1.engine").write_bytes(b"")
    assert not builds_engine(TINY_BYTES, machine, sizes)
    assert builds_engine(TINY_BYTES, machine, {**sizes, "width": 160})


def test_an_engine_that_cannot_be_read_is_built_again_once(tmp_path: Path) -> None:
    text = (
        f"[ONNXRuntimeError] : 11 : EP_FAIL : TensorRT EP could not deserialize engine from cache: {tmp_path}/a.engine"
    )
    timings = tmp_path / "timings.profile"
    timings.write_bytes(b"")

    def open_once() -> str:
        if list(tmp_path.glob("*.engine")):
            raise RuntimeError(text)
        return "session"

    (tmp_path / "a.engine").write_bytes(b"of another version")
    assert session._opened_without_unreadable_engine(open_once, str(tmp_path)) == "session"
    assert list(tmp_path.iterdir()) == [timings]

    calls = []

    def always_fails(text: str) -> None:
        calls.append(text)
        raise RuntimeError(text)

    for message, folder, tries in ((text, tmp_path, 2), (text, None, 1), ("Deserialize tensor failed", tmp_path, 1)):
        (tmp_path / "a.engine").write_bytes(b"")
        calls.clear()
        with pytest.raises(RuntimeError, match="eserialize"):
            session._opened_without_unreadable_engine(partial(always_fails, message), folder and str(folder))
        assert len(calls) == tries
    assert (tmp_path / "a.engine").exists()


def test_in_the_mode_without_denormals_numpy_does_not_warn() -> None:
    """numpy before 2.3 looks for the smallest denormal when it first needs the limits of float32."""
    code = (
        "import numpy as np; from onnxdream.runtime.provider.machine import FloatMode\n"
        "with FloatMode(flush=True): np.nan_to_num(np.ones(3, np.float32))"
    )
    finished = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "mixed"])
def test_half_precision_on_tensorrt_is_reported_as_not_supported(
    precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(selection, "self_test", lambda *words: None)
    notice = choose_provider(Execution("tensorrt", precision=precision)).notice
    assert (notice is None) == (precision == "fp32")
    assert notice is None or f"provider tensorrt is not supported in {precision}" in notice
    assert choose_provider(Execution("cuda", precision=precision)).notice is None


def provider_list(
    machine: Machine, hardware: Hardware, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, dict[str, str]]]:
    monkeypatch.setattr(cards, "detect_hardware", lambda: hardware)
    return PROVIDERS[machine.provider].session_providers(TINY_BYTES, machine, {"batch": 1})


def test_a_session_lists_its_provider_and_the_next_for_operators_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert provider_list(Machine("cpu", 2), Hardware(), monkeypatch) == [(CPU, {})]
    ((name, options),) = provider_list(Machine("openvino", 2, "bf16"), Hardware(), monkeypatch)
    assert name == OPENVINO
    assert '"bf16"' in options["load_config"]
    ((name, options),) = provider_list(Machine("cuda", 2), Hardware(), monkeypatch)
    assert name == CUDA
    assert "gpu_mem_limit" not in options
    first, second = provider_list(Machine("tensorrt", 2), Hardware(), monkeypatch)
    assert (first[0], second[0]) == (TENSORRT, CUDA)
    assert Path(first[1]["trt_engine_cache_path"]).is_dir()


def test_a_named_gpu_is_the_one_of_the_session_and_of_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = Gpu("A", "580", 2**34, "8.9"), Gpu("B", "580", 2**33, "7.5")
    hardware = Hardware(gpus=gpus)
    ((_, options),) = provider_list(Machine("cuda", 2, card=1), hardware, monkeypatch)
    assert options["device_id"] == "1"
    named, (_, options) = provider_list(Machine("tensorrt", 2, card=1), hardware, monkeypatch)
    assert named[1]["device_id"] == options["device_id"] == "1"
    first, _ = provider_list(Machine("tensorrt", 2), hardware, monkeypatch)
    assert first[1]["device_id"] == "0"
    assert first[1]["trt_engine_cache_path"] != named[1]["trt_engine_cache_path"]


@pytest.mark.parametrize("words", ["cuda", "cuda:0", "cuda:1", "tensorrt:12"])
def test_a_gpu_is_named_by_its_number(words: str) -> None:
    execution = Execution(words)
    name, number = (*words.split(":"), "0")[:2]
    assert (execution.provider_name, execution.card) == (name, int(number))
    text = Machine(execution.provider_name, 1, card=execution.card).provider_text
    assert text == words.removesuffix(":0")


@pytest.mark.parametrize(
    "words", ["cpu:1", "cuda:", "cuda:-1", "cuda:x", "cuda:123", "auto:0", "cuda:1:1", "cuda:\u0661"]
)
def test_only_a_gpu_has_a_number(words: str) -> None:
    with pytest.raises(SettingsError, match="provider must be one of auto, cpu"):
        Execution(words)


def test_the_failure_of_a_named_gpu_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(selection, "self_test", lambda *words: f"tested {words}")
    with pytest.raises(ProviderError, match=r"provider cuda:1 does not work here \(tested \('cuda', 'fp32', 1\)\)"):
        choose_provider(Execution("cuda:1"))


def test_on_a_jetson_cuda_keeps_within_the_memory_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ((_, options),) = provider_list(Machine("cuda", 2, memory=5 * 10**9), ORIN, monkeypatch)
    assert int(options["gpu_mem_limit"]) == 4 * 10**9
    ((_, options),) = provider_list(Machine("cuda", 2), ORIN, monkeypatch)
    assert int(options["gpu_mem_limit"]) > 0


# OpenVINO, where it is installed.


def evaluated(provider: ProviderName, precision: Precision = "fp32") -> tuple[Losses, NDArray[np.float64]]:
    """The built-in bundle's losses of noise, and its gradient [values], flattened and scaled to length 1."""
    image = np.random.default_rng(0).uniform(-1, 1, (3, 150, 200)).astype(np.float32)
    session = Session(Bundle.built_in(), 150, 200, Machine(provider, 2, precision))
    losses, gradient = session.evaluate(image, Objective(np.array([1, -0.5, 2], np.float32)))
    flat = gradient.ravel().astype(np.float64)
    return losses, flat / np.linalg.norm(flat)


@with_openvino
def test_openvino_computes_what_the_cpu_computes() -> None:
    (expected_losses, expected), (losses, gradient) = evaluated("cpu"), evaluated("openvino")
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    assert expected @ gradient > 0.99999  # the cosine, of two vectors of length 1


@with_openvino
@with_bf16
def test_openvino_computes_in_bf16_when_asked_to() -> None:
    assert self_test("openvino", "bf16") is None
    (expected_losses, expected), (losses, gradient) = evaluated("cpu"), evaluated("openvino", "bf16")
    np.testing.assert_allclose(losses, expected_losses, rtol=0.02)
    assert 0.95 < expected @ gradient < 0.99999
    assert choose_provider(Execution(precision="bf16")).machine.provider == "openvino"


@with_openvino
def test_openvino_runs_the_whole_graph() -> None:
    assert kernel_counts(Bundle.built_in(), 96, 128, Machine("openvino", 1)) == {"openvino": 1}


@with_openvino
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"device_type": "CPU", "load_config": "no JSON"}, "onnxruntime fell back to CPUExecutionProvider"),
        ({"device_type": "CPU", "no_such": "1"}, "Invalid OpenVINO EP opt"),
        ({"device_type": "GPU"}, "DeviceName GPU is not available"),
        ({"device_type": "CPU", "load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "f99"}}'}, "fp32 although bf16"),
        ({"device_type": "CPU", "load_config": '{"CPU": {"NO_SUCH_KEY": "1"}}'}, "initialization"),
    ],
)
def test_a_wrong_option_of_openvino_is_not_a_silent_fall_to_the_cpu(
    options: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cards, "openvino_options", lambda *_: options)
    failure = selection.self_test.__wrapped__("openvino", "bf16")
    assert failure is not None
    assert reason in failure
    assert "\n" not in failure
    assert capfd.readouterr() == ("", "")
