"""onnxruntime's sessions: opened on one provider and no lesser one, with the libraries that it needs."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from ..errors import ComputationError, OutOfMemoryError, ProviderError
from ..settings.settings import ProviderName
from .cards import PROVIDERS
from .hardware import detect_hardware, nvidia_folders
from .machine import Machine
from .options import engine_folder

# How onnxruntime, its arenas and CUDA say that memory is used up.
_OUT_OF_MEMORY = re.compile(r"alloc|out of memory|OOM", re.IGNORECASE)


def open_session(
    model: bytes,
    machine: Machine,
    sizes: Mapping[str, int] | None = None,
    profile: Path | None = None,
    spins: bool = True,
) -> Any:
    """An onnxruntime session on the machine's provider and no lesser one, its symbolic dimensions pinned to `sizes`.

    `profile` is the beginning of a path that onnxruntime writes its profile to. Threads that do not spin sleep between
    operators: for small graphs beside a large one. Raises ProviderError.
    """
    card = PROVIDERS[machine.provider]
    providers = card.chain(model, machine, sizes or {})
    options = _session_options(machine, sizes or {})
    if not spins:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    with contextlib.redirect_stdout(io.StringIO()):  # onnxruntime prints there what it says again when it raises
        _load_libraries(machine)
        session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    session.disable_fallback()  # a step that fails must not be done elsewhere in silence
    if session.get_providers()[0] != card.ort_name:
        raise ProviderError(f"onnxruntime fell back to {session.get_providers()[0]} from {card.ort_name}")
    return session


def builds_engine(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> bool:
    """Whether a session on TensorRT would first have to build its engine, which takes minutes."""
    folder = engine_folder(model, sizes, machine.precision, detect_hardware(), ort.__version__)
    return not any(folder.glob("*.engine"))


def _load_libraries(machine: Machine) -> None:
    """Finds the libraries that pip installed, which the system's linker does not know."""
    card = PROVIDERS[machine.provider]
    if not card.libraries:
        return
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # from the folder that onnxruntime itself is installed in, and from no other
    if card.name == "tensorrt" and machine.precision == "fp32":
        os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # TensorRT has no other switch
    _load_from_pip([library.format(cuda=_cuda_major()) for library in card.libraries])


def _load_from_pip(libraries: Sequence[str]) -> None:
    """Loads those libraries that pip has installed; the session says what is missing."""
    for library in libraries:
        for file in [folder / library for folder in nvidia_folders() if (folder / library).is_file()]:
            with contextlib.suppress(OSError):
                ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)


def _cuda_major() -> str:
    """The major version of the CUDA that this onnxruntime was built with; 12 where it does not say."""
    return str(getattr(ort, "cuda_version", "") or "12").split(".")[0]


def _session_options(machine: Machine, sizes: Mapping[str, int]) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # its failures reach the user as our own one line
    options.intra_op_num_threads = machine.threads
    if PROVIDERS[machine.provider].optimizes:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Else every tensor has its place in one block that is planned from the first run, beside what that run took.
    options.enable_mem_pattern = False
    # Gradients hold denormals, which some CPUs compute a hundred times slower.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # Else they go on spinning for a while after a run, and another session's threads find no core.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for dimension, size in sizes.items():
        options.add_free_dimension_override_by_name(dimension, size)
    return options


def placement(model: bytes, machine: Machine, sizes: Mapping[str, int]) -> dict[ProviderName, int]:
    """How many kernels of a model each provider really runs, counted in onnxruntime's profile of one run on ones.

    An engine, or a graph that OpenVINO has taken whole, counts as one. Raises ProviderError.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(model, machine, sizes, Path(folder) / "profile")
        inputs = {value.name: [sizes.get(side, side) for side in value.shape] for value in session.get_inputs()}
        session.run(None, {name: np.ones(shape, np.float32) for name, shape in inputs.items()})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    ours = {card.ort_name: name for name, card in PROVIDERS.items()}
    places = (event.get("args", {}).get("provider") for event in events if event.get("cat") == "Node")
    return dict(Counter(ours[place] for place in places if place in ours))


def first_line(error: Exception) -> str:
    """What an error of a library says, short enough for a line of our own."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def failure(error: Exception) -> ComputationError:
    """What onnxruntime's failure at a step is to the user."""
    if is_out_of_memory(error):
        return out_of_memory(error)
    return ComputationError(
        f"onnxruntime cannot compute the gradient ({first_line(error)}): choose a smaller --max-size, "
        "or export the bundle again"
    )


def out_of_memory(error: Exception) -> OutOfMemoryError:
    """A failure that says so, as the user reads it."""
    return OutOfMemoryError(f"no memory for the gradient ({first_line(error)}): give a smaller --memory or --max-size")


def is_out_of_memory(error: Exception) -> bool:
    """Whether a failure of onnxruntime says that memory is used up."""
    return bool(_OUT_OF_MEMORY.search(str(error)))
