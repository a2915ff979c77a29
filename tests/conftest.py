"""Fixtures that all tests share. TensorFlow and onnx are imported only when a test needs them."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The terminal or the service that runs the tests decides neither the width nor the colours of what a command prints.
os.environ["COLUMNS"] = "80"
os.environ.pop("TERMINAL_WIDTH", None)
os.environ.pop("FORCE_COLOR", None)
os.environ.pop("PY_COLORS", None)
os.environ.pop("GITHUB_ACTIONS", None)
# Under nohup, every process that a test starts would ignore a hangup, too, which tests send. A function here is the
# default there.
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)
# NumPy reads it when it is imported. In small products its threads mostly wait for the cores that the threads of
# onnxruntime and TensorFlow occupy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cv2
import numpy
import onnxruntime
import pytest
from make_tiny_bundle import TINY_PATH
from tiny import LAYERS, TINY, TINY_LITE

from onnxdream.models.backbones import Backbone, find_backbone


def pytest_report_header() -> str:
    versions = {name.__name__: name.__version__ for name in (onnxruntime, numpy, cv2)}
    for package in ("tensorflow", "tensorflow-cpu", "keras", "onnx"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(f"{name} {version}" for name, version in versions.items())


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder for each test, so that no test reads or changes the user's bundles."""
    folder = tmp_path / "onnxdream-home"
    monkeypatch.setenv("ONNXDREAM_HOME", str(folder))
    return folder


@pytest.fixture
def no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves `tempfile` without a folder that it can write to, as in a container whose files are read-only."""
    missing = str(tmp_path / "missing")
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [missing])
    with pytest.raises(FileNotFoundError):
        tempfile.gettempdir()


@pytest.fixture
def broken_cuda(monkeypatch: pytest.MonkeyPatch) -> str:
    """Makes onnxruntime list CUDA, which does not work here; returns the notice of `auto`, which then uses the CPU."""
    from onnxdream.runtime.provider.cards import PROVIDERS
    from onnxdream.runtime.provider.selection import choose_provider
    from onnxdream.runtime.settings.settings import Execution

    if PROVIDERS["cuda"].ort_name in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: [PROVIDERS["cuda"].ort_name, PROVIDERS["cpu"].ort_name]
    )
    notice = choose_provider(Execution()).notice
    assert notice is not None
    assert notice.endswith(": using cpu")
    return notice


@pytest.fixture(scope="session")
def tiny_backbone() -> Backbone:
    """The backbone card of the tiny net."""
    return TINY


@pytest.fixture(scope="session")
def tiny_path() -> Path:
    """The path of the committed tiny bundle, which needs neither TensorFlow nor onnx."""
    return TINY_PATH


@pytest.fixture(scope="session")
def tiny_bundle(tiny_backbone: Backbone) -> bytes:
    """The bytes of a freshly exported tiny bundle, with random weights of seed 0; skips the test without TensorFlow."""
    pytest.importorskip("tensorflow")
    from onnxdream.export.bundle import ExportRequest, make_bundle

    bundle, _ = make_bundle(ExportRequest(tiny_backbone, LAYERS, weights="random", seed=0))
    return bundle


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Any]:
    """Returns reference Keras models with random weights of seed 0, each built once: `reference("v3").model`."""
    pytest.importorskip("tensorflow")
    from onnxdream.export.weights import load

    tiny = {backbone.name: backbone for backbone in (TINY, TINY_LITE)}
    return cache(lambda name: load(tiny.get(name) or find_backbone(name), "random", 0))
