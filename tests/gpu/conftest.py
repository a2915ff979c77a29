"""Tests that need an NVIDIA GPU. They are skipped if the CUDA provider does not work."""

from __future__ import annotations

import os
from pathlib import Path

import onnxruntime
import pytest

from onnxdream.models import assembly
from onnxdream.runtime import Bundle
from onnxdream.runtime.provider.cards import PROVIDERS
from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.selection import self_test

# A folder of .onnx files: bundles of any precision to test in addition to the built-in ones.
FOLDER = os.environ.get("ONNXDREAM_TEST_BUNDLES")
BUNDLES = [one.path for one in assembly.BUILT_IN] + (sorted(Path(FOLDER).glob("*.onnx")) if FOLDER else [])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "bundle" in metafunc.fixturenames:
        metafunc.parametrize("bundle", BUNDLES, ids=[path.stem for path in BUNDLES], indirect=True)


@pytest.fixture(scope="session", autouse=True)
def cuda() -> Machine:
    """Returns the GPU as a machine in fp32."""
    if PROVIDERS["cuda"].ort_name not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider")
    if failure := self_test("cuda"):
        pytest.skip(f"CUDA does not work here: {failure}")
    return Machine("cuda", 1)


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest) -> Bundle:
    """Returns each built-in bundle and each bundle of the folder in turn."""
    return Bundle.load(request.param)
