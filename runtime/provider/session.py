"""onnxruntime's sessions: opened on the chosen provider, never on a fallback, with the libraries that it needs."""

from __future__ import annotations

import contextlib
import ctypes
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from ...models.wording import cause
from ..errors import ComputationError, OutOfMemoryError, ProviderError
from ..settings.settings import ProviderName
from .cards import PROVIDERS
from .hardware import detect_hardware, nvidia_folders
from .known_issues import nvidia_issues
from .machine import FloatMode, Machine
from .options import engine_folder

# The words of onnxruntime, its arenas and CUDA for memory that is used up.
_OUT_OF_MEMORY = re.compile(r"alloc|out of memory|OOM|Available memory of", re.IGNORECASE)
# What onnxruntime's errors contain besides their cause: the C++ functions that they passed through, the kind of error,
# and the host, file and line of a CUDA call.
_PASSAGE = re.compile(
    r"\S*/\S+\.(?:cc|cu|h):\d+ [^()]*\([^()]*\)(?: \[with [^\]]*\])? |\[ONNXRuntimeError\] : \d+ : \w+ : | ; GPU=.*"
)


def open_session(
    model: bytes,
    machine: Machine,
    sizes: Mapping[str, int] | None = None,
    profile: Path | None = None,
    spins: bool = True,
) -> Any:
    """Opens an onnxruntime session on the machine's provider, its symbolic dimensions pinned to `sizes`.

    `profile` is the start of the path that onnxruntime writes its profile to. With `spins` false, threads sleep between
    operators instead of waiting in a loop, which suits small graphs that run beside a large one. Raises ProviderError
    where onnxruntime falls back to another provider, and onnxruntime's own errors.
    """
    card = PROVIDERS[machine.provider]
    providers = card.session_providers(model, machine, sizes or {})
    options = _session_options(machine, sizes or {})
    if not spins:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    _load_from_pip([library.format(cuda=_cuda_major()) for library in card.libraries])
    with FloatMode():  # the first session of a process turns denormals into zero for the whole thread
        open_once = partial(ort.InferenceSession, model, options, providers=providers, enable_fallback=0)
        session = _opened_without_unreadable_engine(open_once, providers[0][1].get("trt_engine_cache_path"))
    session.disable_fallback()  # a step that fails must not be silently repeated on another provider
    if session.get_providers()[0] != card.ort_name:
        raise ProviderError(f"onnxruntime fell back to {session.get_providers()[0]} from {card.ort_name}")
    return session


def builds_engine(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> bool:
    """Whether a session on TensorRT would have to build its engine first, which takes minutes."""
    hardware = detect_hardware().seen_from(machine.card)
    folder = engine_folder(model, sizes, machine.precision, hardware, ort.__version__)
    return not any(folder.glob("*.engine"))


def _opened_without_unreadable_engine(open_once: Callable[[], Any], folder: str | None) -> Any:
    """Opens a session; where TensorRT cannot read the engine in the folder, removes it and tries again, once.

    An engine can be read only by the version of TensorRT that built it, whose last digits no library's name states.
    """
    try:
        return open_once()
    except Exception as error:
        engines = list(Path(folder).glob("*.engine")) if folder else []
        if not engines or "could not deserialize engine" not in str(error):
            raise
    for engine in engines:
        engine.unlink(missing_ok=True)
    return open_once()


def _load_from_pip(libraries: Sequence[str]) -> None:
    """Loads those of the libraries that pip has installed, since the system's linker does not find them there.

    A session reports those that are missing. onnxruntime's own `preload_dlls` does less and prints.
    """
    for library in libraries:
        for file in [folder / library for folder in nvidia_folders() if (folder / library).is_file()]:
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)


def _cuda_major() -> str:
    """Returns the major version of the CUDA that this onnxruntime was built with; 12 where it does not state it."""
    return str(getattr(ort, "cuda_version", "") or "12").split(".")[0]


def _session_options(machine: Machine, sizes: Mapping[str, int]) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # fatal only: its failures reach the user as one line of our own
    options.intra_op_num_threads = machine.threads
    if PROVIDERS[machine.provider].optimizes:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # A memory pattern would put all tensors into one block after the first run, on top of the memory of that run.
    options.enable_mem_pattern = False
    # Gradients contain denormal numbers, with which some CPUs compute a hundred times slower.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # Threads that keep spinning after a run would occupy the cores that another session's threads need.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for dimension, size in sizes.items():
        options.add_free_dimension_override_by_name(dimension, size)
    return options


def placement(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> dict[ProviderName, int]:
    """Counts the kernels (compiled operators) of a model that each provider really runs.

    They are counted in onnxruntime's profile of one run on ones. A TensorRT engine, or a graph that OpenVINO runs as a
    whole, counts as one. Raises OSError where there is no temporary folder for the profile, and ProviderError.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(model, machine, sizes, Path(folder) / "profile")
        shapes = {value.name: [sizes.get(length, length) for length in value.shape] for value in session.get_inputs()}
        session.run(None, {name: np.ones(shape, np.float32) for name, shape in shapes.items()})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    names = {card.ort_name: name for name, card in PROVIDERS.items()}
    ort_names = (event.get("args", {}).get("provider") for event in events if event.get("cat") == "Node")
    return dict(Counter(names[ort_name] for ort_name in ort_names if ort_name in names))


def first_line(error: Exception) -> str:
    """Returns the first line of onnxruntime's error that names its cause, without the passage of its code."""
    return cause(error, _without_passage(error))


def _without_passage(error: Exception) -> str:
    return _PASSAGE.sub("", str(error)).strip()


def computation_error(error: Exception) -> ComputationError:
    """Turns onnxruntime's failure at a step into an error for the user."""
    if is_out_of_memory(error):
        return out_of_memory_error(error)
    hardware = detect_hardware()
    if len(set(hardware.gpus)) > 1:
        hardware = replace(hardware, gpus=())  # which of them failed is not known here
    for issue in nvidia_issues(str(error), hardware):
        return ComputationError(f"the GPU cannot compute the gradient ({issue}), or choose --provider cpu")
    return ComputationError(
        f"onnxruntime cannot compute the gradient ({first_line(error)}): choose a smaller --max-size, "
        "or export the bundle again"
    )


def out_of_memory_error(error: Exception) -> OutOfMemoryError:
    """Turns onnxruntime's failure to allocate memory into an error for the user."""
    return OutOfMemoryError(
        f"not enough memory for the gradient ({first_line(error)}): give a smaller --memory or --max-size"
    )


def is_out_of_memory(error: Exception) -> bool:
    """Whether onnxruntime failed because memory is used up, recognised by the text of its error."""
    return bool(_OUT_OF_MEMORY.search(_without_passage(error)))
