"""What onnxruntime's providers are told: explicit where a default is slow, imprecise or greedy."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from ..errors import ProviderError
from ..settings.settings import Precision
from .hardware import Hardware

Options = dict[str, str]

# Of a budget on a board whose GPU shares the machine's memory: the program, CUDA's context and its libraries, which
# onnxruntime does not count. Estimated, not measured.
_BESIDE_ARENA = 10**9
_MIN_ARENA = 256 * 10**6


def cuda_options(precision: Precision, budget: int | None = None) -> Options:
    """CUDA's options; `budget` is the run's memory in bytes on a board whose GPU shares the machine's, else None."""
    options = {
        # DEFAULT is up to 50 times slower since onnxruntime 1.20. EXHAUSTIVE measures anew in each session, so that a
        # run's algorithms, and with them its rounding, would change from one time to the next.
        "cudnn_conv_algo_search": "HEURISTIC",
        # On by default: three decimal digits instead of seven.
        "use_tf32": "0" if precision == "fp32" else "1",
        # A graph replays fixed addresses: to be turned on only together with bound inputs and outputs.
        "enable_cuda_graph": "0",
    }
    if budget is None:
        return options
    return options | {
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": str(max(_MIN_ARENA, budget - _BESIDE_ARENA)),
        "cudnn_conv_use_max_workspace": "0",
    }


def tensorrt_options(precision: Precision, folder: Path) -> Options:
    """TensorRT's options, its caches in `folder`.

    No profiles: a session's sizes are pinned, so that its engine is built for just these when it is created.
    """
    return {
        # TensorRT's switches are words, CUDA's are digits.
        "trt_fp16_enable": str(precision in ("fp16", "mixed")),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_engine_cache_prefix": "onnxdream",
        "trt_timing_cache_enable": "True",
        # Timings hold for every model and size on one GPU.
        "trt_timing_cache_path": str(folder.parent),
    }


def openvino_options(precision: Precision, threads: int) -> Options:
    """OpenVINO's options on the CPU; where the hint is missing it would choose bf16 itself on a CPU that has it."""
    hint = "bf16" if precision == "bf16" else "f32"
    config = {"CPU": {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": str(threads)}}
    return {"device_type": "CPU", "load_config": json.dumps(config)}


def engine_folder(
    model: bytes, sizes: Mapping[str, int], precision: Precision, hardware: Hardware, onnxruntime_version: str
) -> Path:
    """Where TensorRT's engine of a model in one size lies: a folder of its own for all that it depends on.

    onnxruntime names an engine by the graph's tensors only: another size, or other weights, would get the same name.
    """
    gpu = hardware.gpu or hardware.jetson
    here = _short(f"{gpu}", onnxruntime_version, *hardware.versions_of("nvinfer"), *hardware.versions_of("cudart"))
    own = _short(hashlib.sha256(model).hexdigest(), json.dumps(dict(sizes), sort_keys=True), precision)
    return cache_folder() / "tensorrt" / here / own


def cache_folder() -> Path:
    """`$ONNXDREAM_HOME/cache`, else the user's cache folder."""
    home = os.environ.get("ONNXDREAM_HOME")
    return Path(home) / "cache" if home else platformdirs.user_cache_path("onnxdream", appauthor=False)


def private_folder(folder: Path) -> Path:
    """Makes a folder below the cache folder into which nobody else can write, since an engine is code.

    Raises ProviderError, also where one is there already that is open to others.
    """
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for place in [*(parent for parent in reversed(folder.parents) if cache in parent.parents), folder]:
            place.mkdir(mode=0o700, exist_ok=True)
            _require_own(place)
    except OSError as error:
        raise ProviderError(
            f"TensorRT's engine has no place ({error}): set ONNXDREAM_HOME to a folder of your own"
        ) from None
    return folder


def _require_own(place: Path) -> None:
    if not hasattr(os, "getuid"):
        return
    found = place.stat(follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ProviderError(f"others can write into {place}, and TensorRT's engines are code: remove it")


def _short(*hardware: str) -> str:
    return hashlib.sha256("\n".join(hardware).encode()).hexdigest()[:16]
