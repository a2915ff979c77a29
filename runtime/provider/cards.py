"""The execution providers: one card for each, with all that tells it from the others."""

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

# onnxruntime's names of a provider and of those that take what it leaves, with their options.
Chain = list[tuple[str, Options]]


def _no_issues(failure: str, hardware: Hardware) -> Iterable[KnownIssue]:
    return ()


@dataclass(frozen=True)
class Provider:
    """An execution provider of onnxruntime.

    `ort_name` is what onnxruntime calls it, `install` what to do where this onnxruntime lacks it, `chain` what a
    session of a model in given sizes is opened with. `device` is where its tensors lie. `form` is the form of a
    bundle's graph that it runs fastest (None: the portable one), on `processors` (none named: on all). One that
    `folds_defaults` takes an input's default for a constant, and so would not hear of another value; one that
    `optimizes` a graph itself is given it as it is. `auto` tries those of a rank, the lowest first.
    `libraries` are those that pip may have put where the linker does not look; {cuda} stands for CUDA's major version.
    """

    name: ProviderName
    ort_name: str
    install: str
    chain: Callable[[bytes, Machine, Mapping[str, int]], Chain]
    device: DeviceName = "cpu"
    form: str | None = None
    processors: tuple[str, ...] = ()
    folds_defaults: bool = False
    optimizes: bool = False
    auto_rank: int | None = None
    libraries: tuple[str, ...] = ()
    known_issues: Callable[[str, Hardware], Iterable[KnownIssue]] = _no_issues


def _cpu_chain(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> Chain:
    return [("CPUExecutionProvider", {})]


def _openvino_chain(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> Chain:
    return [("OpenVINOExecutionProvider", openvino_options(machine.precision, machine.threads))]


def _cuda_chain(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> Chain:
    budget = (machine.memory or default_budget("cuda")) if detect_hardware().shares_memory else None
    return [("CUDAExecutionProvider", cuda_options(machine.precision, budget))]


def _tensorrt_chain(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> Chain:
    folder = private_folder(engine_folder(model, sizes, machine.precision, detect_hardware(), ort.__version__))
    own = "TensorrtExecutionProvider", tensorrt_options(machine.precision, folder)
    return [own, *_cuda_chain(model, machine, sizes)]


# What onnxruntime's CUDA provider is linked to or opens; what needs another library comes behind it.
_CUDA_LIBRARIES = (
    "libcudart.so.{cuda}",
    "libcublasLt.so.{cuda}",
    "libcublas.so.{cuda}",
    "libnvrtc.so.{cuda}",
    "libcurand.so.10",
    "libcudnn.so.9",
)

_ALL = (
    Provider(
        name="cpu",
        ort_name="CPUExecutionProvider",
        install="install onnxruntime again",
        chain=_cpu_chain,
        # Elsewhere not all versions of onnxruntime keep activations in blocks of channels.
        form=contract.BLOCKED,
        processors=("x86_64", "AMD64"),
        auto_rank=2,
    ),
    Provider(
        name="cuda",
        ort_name="CUDAExecutionProvider",
        install="install onnxdream[gpu] on a machine with an NVIDIA GPU",
        chain=_cuda_chain,
        device="cuda",
        auto_rank=1,
        libraries=_CUDA_LIBRARIES,
        known_issues=nvidia_issues,
    ),
    Provider(
        name="tensorrt",
        ort_name="TensorrtExecutionProvider",
        install="install onnxdream[tensorrt] on a machine with an NVIDIA GPU",
        chain=_tensorrt_chain,
        device="cuda",
        folds_defaults=True,
        libraries=(*_CUDA_LIBRARIES, "libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10"),
        known_issues=nvidia_issues,
    ),
    Provider(
        name="openvino",
        ort_name="OpenVINOExecutionProvider",
        install="install onnxdream[openvino] instead of onnxdream[cpu]",
        chain=_openvino_chain,
        form=contract.CHANNELS_LAST,
        folds_defaults=True,
        optimizes=True,
    ),
)
PROVIDERS: dict[ProviderName, Provider] = {card.name: card for card in _ALL}


def offered(available: Collection[str]) -> list[ProviderName]:
    """The providers among onnxruntime's names of what it has."""
    return [card.name for card in _ALL if card.ort_name in available]
