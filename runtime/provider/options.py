"""The options of onnxruntime's providers, set wherever a default is slow, imprecise or takes too much memory."""

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
from .budget import SHARED_CONTEXT_BYTES
from .hardware import Hardware

Options = dict[str, str]

_MIN_ARENA_BYTES = 256 * 10**6


def cuda_options(precision: Precision, budget: int | None = None, tune: bool = False, graphs: bool = False) -> Options:
    """Returns CUDA's options.

    `budget` is the run's memory in bytes where the GPU shares the machine's memory, else None. With `tune`, a session
    takes longer to prepare, and its steps are faster. With `graphs`, each run of a session must name its CUDA graph.
    """
    options = {
        # DEFAULT is up to 50 times slower since onnxruntime 1.20. EXHAUSTIVE measures again in each session, so the
        # algorithms, and with them the rounding, change from run to run.
        "cudnn_conv_algo_search": "EXHAUSTIVE" if tune else "HEURISTIC",
        # TF32 is on by default, and computes with three decimal digits instead of seven.
        "use_tf32": "0" if precision == "fp32" else "1",
        # A CUDA graph replays fixed addresses, so only inputs and outputs that stay bound can take part in it.
        "enable_cuda_graph": str(int(graphs)),
    }
    if budget is None:
        return options
    return options | {
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": str(max(_MIN_ARENA_BYTES, budget - SHARED_CONTEXT_BYTES)),
        "cudnn_conv_use_max_workspace": "0",
    }


def tensorrt_options(precision: Precision, folder: Path) -> Options:
    """Returns TensorRT's options, with its cached engines in `folder`.

    No optimization profiles are set: a session's sizes are pinned, so its engine is built for exactly these sizes.
    """
    return {
        # TensorRT's switches are the words True and False, CUDA's are the digits 1 and 0.
        "trt_fp16_enable": str(precision in ("fp16", "mixed")),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_engine_cache_prefix": "onnxdream",
        "trt_timing_cache_enable": "True",
        # Timings are valid for every model and size on one GPU.
        "trt_timing_cache_path": str(folder.parent),
    }


def openvino_options(precision: Precision, threads: int) -> Options:
    """Returns OpenVINO's options on the CPU.

    The precision hint is always set, since OpenVINO would otherwise choose bf16 on a CPU that has it.
    """
    hint = "bf16" if precision == "bf16" else "f32"
    config = {"CPU": {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": str(threads)}}
    return {"device_type": "CPU", "load_config": json.dumps(config)}


def engine_folder(
    model: bytes, sizes: Mapping[str, int], precision: Precision, hardware: Hardware, onnxruntime_version: str
) -> Path:
    """Returns the folder of TensorRT's engine for a model in one size; another engine has another folder.

    Its name is a hash of all that an engine depends on. onnxruntime itself names an engine after the graph's tensors
    only, so engines of another size or of other weights would share a name. Raises ProviderError without a home.
    """
    gpu = hardware.gpu or hardware.jetson
    versions = [*hardware.versions_of("nvinfer"), *hardware.versions_of("cudart")]
    # The libraries that pip installs have no more than their major version in their names.
    versions += [version for package, version in hardware.packages.items() if package.startswith("tensorrt")]
    environment = _short_hash(f"{gpu}", onnxruntime_version, *versions)
    engine = _short_hash(hashlib.sha256(model).hexdigest(), json.dumps(dict(sizes), sort_keys=True), precision)
    return cache_folder() / "tensorrt" / environment / engine


def cache_folder() -> Path:
    """Returns `$ONNXDREAM_HOME/cache`, else the user's cache folder. Raises ProviderError where there is no home."""
    home = os.environ.get("ONNXDREAM_HOME")
    no_home = ProviderError(
        "there is no home folder to keep TensorRT's engines in: set HOME or ONNXDREAM_HOME to a folder of yours"
    )
    try:
        folder = Path(home) / "cache" if home else platformdirs.user_cache_path("onnxdream", appauthor=False)
    except RuntimeError:
        raise no_home from None
    if not home and not folder.is_absolute():  # so say older versions of platformdirs that there is no home
        raise no_home
    return folder


def private_folder(folder: Path) -> Path:
    """Makes a folder below the cache folder that nobody else can write into, since an engine is executable code.

    Raises ProviderError where it cannot be made, where others can write into one that exists, or without a home.
    """
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for level in [*(parent for parent in reversed(folder.parents) if cache in parent.parents), folder]:
            level.mkdir(mode=0o700, exist_ok=True)
            _require_private(level)
    except OSError as error:
        raise ProviderError(
            f"the folder for TensorRT's engine cannot be made ({error}): set ONNXDREAM_HOME to a folder of your own"
        ) from None
    return folder


def _require_private(folder: Path) -> None:
    """Raises ProviderError unless only this user can write into a folder, which must not be a link."""
    if not hasattr(os, "getuid"):
        return
    found = folder.stat(follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ProviderError(f"others can write into {folder}, and TensorRT's engines are code: remove it")


def _short_hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
