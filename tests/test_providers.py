"""Which execution provider a run gets."""

from __future__ import annotations

import os
from pathlib import Path

import onnxruntime as ort
import pytest

from onnxdream.runtime import providers
from onnxdream.runtime.errors import DreamError, ProviderError
from onnxdream.runtime.providers import (
    NAMES,
    candidates,
    choose,
    first_line,
    open_session,
    self_test,
    session_options,
    threads_of,
    usable_threads,
)
from onnxdream.runtime.settings import Execution, ProviderName

CPU, CUDA, TENSORRT, OPENVINO = (NAMES[name] for name in ("cpu", "cuda", "tensorrt", "openvino"))
AZURE = "AzureExecutionProvider"

pytestmark = pytest.mark.filterwarnings("ignore:Specified provider")


@pytest.mark.parametrize(
    ("request_", "available", "tried"),
    [
        ("auto", [CPU], ("cpu",)),
        ("auto", [AZURE, CPU], ("cpu",)),
        ("auto", [TENSORRT, CUDA, CPU], ("cuda", "cpu")),
        ("auto", [CPU, CUDA], ("cuda", "cpu")),
        ("auto", [OPENVINO, CPU], ("cpu",)),
        ("cpu", [TENSORRT, CUDA, CPU], ("cpu",)),
        ("cuda", [TENSORRT, CUDA, CPU], ("cuda",)),
        ("tensorrt", [TENSORRT, CUDA, CPU], ("tensorrt",)),
        ("openvino", [OPENVINO, CPU], ("openvino",)),
    ],
)
def test_the_choice_depends_on_the_request_and_on_what_is_there(
    request_: ProviderName, available: list[str], tried: tuple[ProviderName, ...]
) -> None:
    assert candidates(request_, available) == tried


@pytest.mark.parametrize(
    ("request_", "available", "advice"),
    [
        ("cuda", [AZURE, CPU], "onnxdream[gpu]"),
        ("tensorrt", [CPU], "onnxdream[gpu] and TensorRT 10"),
        ("openvino", [CUDA, CPU], "onnxdream[openvino]"),
    ],
)
def test_an_explicit_provider_that_is_missing_is_refused_with_the_extra_that_has_it(
    request_: ProviderName, available: list[str], advice: str
) -> None:
    with pytest.raises(ProviderError) as refused:
        candidates(request_, available)
    line = str(refused.value)
    assert "\n" not in line
    assert f"provider {request_} is not in this onnxruntime" in line
    assert advice in line
    assert "--provider auto" in line
    assert AZURE not in line  # no one can dream with it


def test_the_refusal_names_what_is_there() -> None:
    with pytest.raises(ProviderError, match=r"it has cpu, cuda\)"):
        candidates("openvino", [CUDA, CPU])
    assert issubclass(ProviderError, DreamError)
    assert issubclass(ProviderError, RuntimeError)


def test_the_cpu_works() -> None:
    assert self_test("cpu") is None
    assert choose("cpu").provider == "cpu"
    assert choose("cpu").notice is None


def test_auto_gets_a_provider_that_works() -> None:
    chosen = choose("auto")
    assert self_test(chosen.provider) is None
    assert (chosen.notice is None) == (chosen.provider == candidates("auto", ort.get_available_providers())[0])


@pytest.mark.parametrize("name", ["cuda", "tensorrt", "openvino"])
def test_a_provider_works_or_says_why_not_in_one_line(name: ProviderName) -> None:
    if NAMES[name] in ort.get_available_providers():
        failure = self_test(name)
        assert failure is None or (failure and "\n" not in failure)
        return
    assert self_test(name) is not None
    with pytest.raises(ProviderError, match=f"provider {name} is not in this onnxruntime"):
        choose(name)


def test_auto_says_what_it_passed_over_and_an_explicit_request_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine with onnxruntime-gpu and a broken driver sees."""
    if CUDA in ort.get_available_providers():
        pytest.skip("CUDA is there")
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    chosen = choose("auto")
    assert chosen.provider == "cpu"
    assert chosen.notice is not None
    assert chosen.notice.startswith("provider cuda does not work here (")
    assert chosen.notice.endswith(": using cpu")
    with pytest.raises(ProviderError, match=r"provider cuda does not work here .* --provider cpu works everywhere"):
        choose("cuda")


def test_a_session_never_runs_on_a_lesser_provider_in_silence() -> None:
    missing = [name for name in ("cuda", "openvino") if NAMES[name] not in ort.get_available_providers()]  # type: ignore[index]
    assert missing
    for name in missing:
        with pytest.raises(Exception) as failed:  # noqa: PT011  # onnxruntime's or ours, by its version
            open_session(providers.PROBE.read_bytes(), name, session_options(1))  # type: ignore[arg-type]
        assert first_line(failed.value)


def test_an_error_of_a_library_becomes_one_short_line() -> None:
    assert first_line(RuntimeError("  no device\nat line 9")) == "no device"
    assert first_line(RuntimeError()) == "RuntimeError"
    assert len(first_line(ValueError("x" * 9999))) == 300


def test_threads_are_at_least_one_and_at_most_what_the_process_may_use() -> None:
    assert 1 <= usable_threads() <= (os.cpu_count() or 1)
    assert threads_of(Execution()) == usable_threads()
    assert threads_of(Execution(threads=3)) == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_threads_follow_the_affinity_of_the_process() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_the_probe_ships_with_the_package() -> None:
    assert providers.PROBE.is_file()
    assert Path(providers.__file__).parents[1] / "models" / "graphs" / "probe.onnx" == providers.PROBE
