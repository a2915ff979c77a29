"""The options of providers, and the folders of TensorRT's engines."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onnxdream.runtime.errors import ProviderError
from onnxdream.runtime.provider.hardware import Gpu, Hardware, Jetson
from onnxdream.runtime.provider.options import (
    cache_folder,
    cuda_options,
    engine_folder,
    openvino_options,
    private_folder,
    tensorrt_options,
)

GPU = Gpu("NVIDIA GeForce RTX 4070", "580.65.06", 12 * 2**30, "8.9")
# The options that onnxruntime-gpu 1.31.1 knows; a session with any other cannot be opened.
CUDA_OPTIONS = {
    *("arena_extend_strategy", "cudnn_conv1d_pad_to_nc1d", "cudnn_conv_algo_search", "cudnn_conv_use_max_workspace"),
    *("device_id", "do_copy_in_default_stream", "enable_cuda_graph", "enable_skip_layer_norm_strict_mode"),
    *("fuse_conv_bias", "gpu_external_alloc", "gpu_external_empty_cache", "gpu_external_free", "gpu_mem_limit"),
    *("has_user_compute_stream", "prefer_nhwc", "sdpa_kernel", "tunable_op_enable"),
    *("tunable_op_max_tuning_duration_ms", "tunable_op_tuning_enable", "use_ep_level_unified_stream", "use_tf32"),
    "user_compute_stream",
}
TENSORRT_OPTIONS = {
    *("device_id", "trt_auxiliary_streams", "trt_build_heuristics_enable", "trt_builder_optimization_level"),
    *("trt_context_memory_sharing_enable", "trt_cuda_graph_enable", "trt_detailed_build_log", "trt_dla_core"),
    *("trt_dla_enable", "trt_dump_subgraphs", "trt_engine_cache_enable", "trt_engine_cache_path"),
    *("trt_engine_cache_prefix", "trt_engine_hw_compatible", "trt_force_sequential_engine_build"),
    *("trt_force_timing_cache", "trt_fp16_enable", "trt_int8_enable", "trt_layer_norm_fp32_fallback"),
    *("trt_max_partition_iterations", "trt_max_workspace_size", "trt_min_subgraph_size", "trt_op_types_to_exclude"),
    *("trt_profile_max_shapes", "trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_sparsity_enable"),
    *("trt_tactic_sources", "trt_timing_cache_enable", "trt_timing_cache_path", "trt_weight_stripped_engine_enable"),
}
MACHINE = Hardware(gpus=(GPU,), libraries=("libnvinfer.so.10.3.0", "libcudart.so.12.6.68"))
SIZES = {"batch": 1, "height": 384, "width": 512}
POSIX = pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no file owners")


def test_cuda_s_bad_defaults_are_overridden() -> None:
    assert cuda_options("fp32") == {
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
        "enable_cuda_graph": "0",
    }
    assert cuda_options("fp16")["use_tf32"] == cuda_options("mixed")["use_tf32"] == "1"


@pytest.mark.parametrize("graphs", [False, True])
def test_a_tuned_session_lets_cudnn_time_its_algorithms(graphs: bool) -> None:
    changed = {"cudnn_conv_algo_search": "EXHAUSTIVE", "enable_cuda_graph": str(int(graphs))}
    assert cuda_options("fp32", tune=True, graphs=graphs) == cuda_options("fp32") | changed


@pytest.mark.parametrize("precision", ["fp32", "fp16", "mixed"])
@pytest.mark.parametrize("budget", [None, 4 * 10**9])
@pytest.mark.parametrize("tune", [False, True])
def test_cuda_accepts_every_option(precision: Any, budget: int | None, tune: bool) -> None:
    options = cuda_options(precision, budget, tune, graphs=tune)
    assert set(options) <= CUDA_OPTIONS
    for name in ("use_tf32", "enable_cuda_graph", "cudnn_conv_use_max_workspace"):
        assert options.get(name, "0") in ("0", "1")
    assert options["cudnn_conv_algo_search"] in ("EXHAUSTIVE", "HEURISTIC", "DEFAULT")
    assert options.get("arena_extend_strategy", "kNextPowerOfTwo") in ("kNextPowerOfTwo", "kSameAsRequested")
    assert int(options.get("gpu_mem_limit", "1")) > 0


@pytest.mark.parametrize("precision", ["fp32", "fp16", "mixed"])
def test_tensorrt_accepts_every_option(precision: Any, tmp_path: Path) -> None:
    """Switches are words there: `1` and `0` are refused."""
    options = tensorrt_options(precision, tmp_path)
    assert set(options) <= TENSORRT_OPTIONS
    assert {value for name, value in options.items() if name.endswith("_enable")} <= {"True", "False"}


def test_a_gpu_that_shares_the_machine_s_memory_keeps_within_the_budget() -> None:
    options = cuda_options("fp32", 4 * 10**9)
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert options["cudnn_conv_use_max_workspace"] == "0"
    assert int(options["gpu_mem_limit"]) == 3 * 10**9
    assert int(cuda_options("fp32", 10**9)["gpu_mem_limit"]) == 256 * 10**6
    assert options.items() > cuda_options("fp32").items()


def test_tensorrt_caches_its_engine_and_its_timings(tmp_path: Path) -> None:
    options = tensorrt_options("fp32", tmp_path / "environment" / "engine")
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "True"
    assert options["trt_engine_cache_path"] == str(tmp_path / "environment" / "engine")
    assert options["trt_timing_cache_path"] == str(tmp_path / "environment")
    assert options["trt_fp16_enable"] == "False"
    assert tensorrt_options("mixed", tmp_path)["trt_fp16_enable"] == "True"
    assert not [name for name in options if "profile" in name or "plugin" in name]


def test_without_a_home_folder_one_line_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a container's bare user number; older versions of platformdirs return a relative folder instead."""

    def no_home(*_: object, **__: object) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("ONNXDREAM_HOME")
    for user_cache_path in (no_home, lambda *_, **__: Path("~/.cache")):
        monkeypatch.setattr("platformdirs.user_cache_path", user_cache_path)
        with pytest.raises(ProviderError, match=r"^there is no home folder .*: set HOME or ONNXDREAM_HOME to a folder"):
            engine_folder(b"model", SIZES, "fp32", MACHINE, "1.32.0")


@pytest.mark.parametrize(("precision", "hint"), [("fp32", "f32"), ("bf16", "bf16"), ("fp16", "f32"), ("mixed", "f32")])
def test_openvino_gets_a_precision_and_threads_as_json_text(precision: Any, hint: str) -> None:
    options = openvino_options(precision, 3)
    assert options["device_type"] == "CPU"
    assert json.loads(options["load_config"]) == {
        "CPU": {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": "3"}
    }


def folder_of(**changes: Any) -> Path:
    arguments = {
        "model": b"model",
        "sizes": SIZES,
        "precision": "fp32",
        "hardware": MACHINE,
        "onnxruntime_version": "1.31.1",
    }
    return engine_folder(**{**arguments, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"model": b"other weights"},
        {"sizes": {**SIZES, "height": 512}},
        {"precision": "fp16"},
        {"onnxruntime_version": "1.32.0"},
        {"hardware": replace(MACHINE, libraries=("libnvinfer.so.10.16.1", "libcudart.so.12.6.68"))},
        {"hardware": replace(MACHINE, libraries=("libnvinfer.so.10.3.0", "libcudart.so.13.0.1"))},
        {"hardware": replace(MACHINE, packages={"tensorrt-cu13": "10.13.0"})},
        {"hardware": replace(MACHINE, gpus=(replace(GPU, name="NVIDIA L4"),))},
        {"hardware": replace(MACHINE, gpus=(replace(GPU, driver="590.1"),))},
        {"hardware": replace(MACHINE, gpus=(), jetson=Jetson("NVIDIA Jetson Orin Nano", "36.4.3"))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_engine_s_folder_changes_with_everything_it_depends_on(changes: dict[str, Any]) -> None:
    assert folder_of(**changes) != folder_of()


def test_an_engine_is_found_again(home: Path) -> None:
    assert folder_of() == folder_of(sizes=dict(reversed(SIZES.items())))
    assert folder_of().parent.parent == home / "cache" / "tensorrt"


def test_sizes_of_one_model_share_their_timings() -> None:
    assert folder_of(sizes={**SIZES, "width": 640}).parent == folder_of().parent


def test_the_cache_lies_in_the_user_s_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == home / "cache"
    monkeypatch.delenv("ONNXDREAM_HOME")
    assert "onnxdream" in str(cache_folder())
    assert home not in cache_folder().parents


@POSIX
def test_nobody_else_may_enter_the_folders_of_engines() -> None:
    folder = private_folder(folder_of())
    for level in (folder, folder.parent, folder.parent.parent):
        assert level.stat().st_mode & 0o777 == 0o700
    assert private_folder(folder) == folder


@POSIX
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_folder_that_others_can_write_into_is_refused(depth: int) -> None:
    folder = private_folder(folder_of())
    opened = (folder, *folder.parents)[depth]
    opened.chmod(0o770)
    with pytest.raises(ProviderError, match="others can write into") as refused:
        private_folder(folder)
    assert str(opened) in str(refused.value)


@POSIX
def test_a_link_to_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    cache_folder().mkdir(parents=True)
    (cache_folder() / "tensorrt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ProviderError, match="others can write into"):
        private_folder(folder_of())


def test_where_no_folder_can_be_made_the_error_names_the_remedy(home: Path) -> None:
    home.write_text("a file in the way")
    with pytest.raises(ProviderError, match=r"cannot be made .* set ONNXDREAM_HOME"):
        private_folder(folder_of())
