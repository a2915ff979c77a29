"""What the doctor tells of a machine."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict

import numpy as np
import onnxruntime as ort
import pytest

from onnxdream.runtime.doctor import Diagnosis, Provider, clashes, diagnose
from onnxdream.runtime.providers import NAMES, usable_threads


@pytest.mark.parametrize(
    ("installed", "lines"),
    [
        (set(), 0),
        ({"onnxruntime", "opencv-python-headless", "numpy"}, 0),
        ({"onnxruntime-gpu", "opencv-python"}, 0),
        ({"onnxruntime", "onnxruntime-gpu"}, 1),
        ({"onnxruntime", "onnxruntime-openvino", "onnxruntime-gpu"}, 1),
        ({"opencv-python", "opencv-contrib-python"}, 1),
        ({"onnxruntime", "onnxruntime-gpu", "opencv-python", "opencv-python-headless"}, 2),
    ],
)
def test_installations_that_overwrite_each_other_are_told(installed: set[str], lines: int) -> None:
    found = clashes(frozenset(installed))
    assert len(found) == lines
    for line in found:
        assert "overwrite each other: uninstall all of them" in line


def test_a_clash_names_all_that_clash() -> None:
    (line,) = clashes(frozenset({"onnxruntime-gpu", "onnxruntime", "numpy"}))
    assert line.startswith("onnxruntime and onnxruntime-gpu overwrite")


def test_the_diagnosis_of_this_machine() -> None:
    found = diagnose()
    assert found.python == platform.python_version()
    assert platform.machine() in found.machine
    assert found.threads == usable_threads()
    assert found.logical_cpus >= found.threads
    assert found.versions["numpy"] == np.__version__
    assert found.versions["onnxdream"]
    assert "tensorflow" in found.versions
    assert Provider("cpu", None) in found.providers
    ours = {name for name, theirs in NAMES.items() if theirs in ort.get_available_providers()}
    assert {provider.name for provider in found.providers} == ours
    assert set(found.not_in_this_build) == set(NAMES) - ours


def test_the_diagnosis_is_plain_data() -> None:
    found = diagnose()
    data = json.loads(json.dumps(asdict(found)))
    assert data["versions"] == found.versions
    assert data["providers"][0] == {"name": "cpu", "problem": None}


def test_the_diagnosis_in_words_tells_what_fails_and_leaves_out_what_is_not_installed() -> None:
    found = Diagnosis(
        python="3.12.1",
        machine="Linux aarch64",
        logical_cpus=8,
        threads=4,
        versions={"numpy": "2.0", "tensorflow": None},
        providers=(Provider("cpu", None), Provider("cuda", "no device")),
        not_in_this_build=("openvino",),
        problems=("a and b overwrite each other",),
    )
    text = "\n".join(found.lines())
    assert text.startswith("Python 3.12.1 on Linux aarch64, 4 CPU threads by default, of 8 logical CPUs")
    assert "tensorflow" not in text
    for words in ("cpu           works", "cuda          fails: no device", "openvino      not in this onnxruntime"):
        assert f"provider {words}" in text
    assert text.endswith("problem: a and b overwrite each other")
