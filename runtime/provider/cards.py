"""onnxruntime's execution providers: one card for each, with everything in which it differs from the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import onnxruntime as ort

from ...models import contract
from ..settings.settings import ProviderName
from .budget import default_budget
from .hardware import Hardware, detect_hardware
from .known_issues import KnownIssue, nvidia_issues
from .machine import DeviceName, Machine
from .options import Options, cuda_options, engine_folder, openvino_options, private_folder, tensorrt_options

# onnxruntime's names of a provider and of those that run the operators it cannot, in that order, with their options.
ProviderList = list[tuple[str, Options]]
# Before this version, the CUDA graph of a Split or Concat of unequal sizes read memory that had been freed.
_GRAPHS_SINCE = (1, 31)


def _no_issues(failure: str, hardware: Hardware) -> Iterable[KnownIssue]:
    return ()


@dataclass(frozen=True)
class Provider:
    """An execution provider of onnxruntime.

    `ort_name` is onnxruntime's name for it, and `install` says what to do where this onnxruntime lacks it.
    `session_providers` returns the providers that a session is opened with, for a model, a machine and the sizes of the
    model's symbolic dimensions. `device` is the memory that its tensors lie in. `form` is the form of a bundle's graph
    that it runs fastest (None: the portable form), on `processors` as `platform.machine` names them (empty: on all).
    A provider with `optimizes` optimizes graphs itself: onnxruntime leaves them unchanged for it.
    `auto` tries the providers that have an `auto_rank`, the lowest first. One that `can_tune` prepares a size longer
    for faster steps if asked. `libraries` are shared libraries that pip may have installed where the linker does not
    search; {cuda} is replaced by CUDA's major version. `known_issues` recognises known issues in the text of a failure.
    """

    name: ProviderName
    ort_name: str
    install: str
    session_providers: Callable[[bytes, Machine, Mapping[str, int]], ProviderList]
    device: DeviceName = "cpu"
    form: str | None = None
    processors: tuple[str, ...] = ()
    optimizes: bool = False
    auto_rank: int | None = None
    can_tune: bool = False
    libraries: tuple[str, ...] = ()
    known_issues: Callable[[str, Hardware], Iterable[KnownIssue]] = _no_issues


def _cpu_providers(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> ProviderList:
    return [("CPUExecutionProvider", {})]


def _openvino_providers(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> ProviderList:
    return [("OpenVINOExecutionProvider", openvino_options(machine.precision, machine.threads))]


def _cuda_providers(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> ProviderList:
    budget = (machine.memory or default_budget("cuda", machine.card)) if detect_hardware().shares_memory else None
    graphs = machine.tune and _ort_version() >= _GRAPHS_SINCE
    options = cuda_options(machine.precision, budget, machine.tune, graphs)
    return [("CUDAExecutionProvider", {**options, **_device(machine)})]


def _tensorrt_providers(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> ProviderList:
    hardware = detect_hardware().seen_from(machine.card)
    folder = private_folder(engine_folder(model, sizes, machine.precision, hardware, ort.__version__))
    options = {**tensorrt_options(machine.precision, folder), **_device(machine)}
    return [("TensorrtExecutionProvider", options), *_cuda_providers(model, machine, sizes)]


def _ort_version() -> tuple[int, ...]:
    """Returns the first two numbers of onnxruntime's version."""
    return tuple(int(number) for number in ort.__version__.split(".")[:2])


def _device(machine: Machine) -> Options:
    return {"device_id": str(machine.card)}


# The libraries that onnxruntime's CUDA provider is linked to or opens; each comes after those that it needs itself.
_CUDA_LIBRARIES = (
    "libcudart.so.{cuda}",
    "libcublasLt.so.{cuda}",
    "libcublas.so.{cuda}",
    "libnvrtc.so.{cuda}",
    "libcurand.so.10",
    "libcufft.so.11",  # needed up to onnxruntime 1.26
    "libcudnn.so.9",
)

_ALL = (
    Provider(
        name="cpu",
        ort_name="CPUExecutionProvider",
        install="install onnxruntime again",
        session_providers=_cpu_providers,
        # On other processors, some versions of onnxruntime do not keep activations in blocks of channels.
        form=contract.BLOCKED,
        processors=("x86_64", "AMD64"),
        auto_rank=3,
    ),
    Provider(
        name="cuda",
        ort_name="CUDAExecutionProvider",
        install="install onnxdream[gpu] on a machine with an NVIDIA GPU",
        session_providers=_cuda_providers,
        device="cuda",
        auto_rank=1,
        can_tune=True,
        libraries=_CUDA_LIBRARIES,
        known_issues=nvidia_issues,
    ),
    Provider(
        name="tensorrt",
        ort_name="TensorrtExecutionProvider",
        install="install onnxdream[tensorrt] on a machine with an NVIDIA GPU",
        session_providers=_tensorrt_providers,
        device="cuda",
        libraries=(*_CUDA_LIBRARIES, "libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10"),
        known_issues=nvidia_issues,
    ),
    Provider(
        name="openvino",
        ort_name="OpenVINOExecutionProvider",
        install="install onnxdream[openvino]",
        session_providers=_openvino_providers,
        form=contract.CHANNELS_LAST,
        auto_rank=2,
        optimizes=True,
    ),
)
PROVIDERS: dict[ProviderName, Provider] = {card.name: card for card in _ALL}


def offered(available: Collection[str]) -> list[ProviderName]:
    """Returns our names of the providers that this onnxruntime has; `available` are its own names of them."""
    return [card.name for card in _ALL if card.ort_name in available]
