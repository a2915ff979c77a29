"""What this machine can run: versions, providers that really work, and installations that clash."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass

import cv2
import onnxruntime as ort

from .providers import NAMES, self_test, usable_threads

_PACKAGES = (
    "onnxdream",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "opencv-python",
    "opencv-python-headless",
    "numpy",
    "matplotlib",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "tf2onnx",
    "onnx",
)
# Distributions that put different builds of one module into the same folder.
_CLASHES = (
    ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
)


@dataclass(frozen=True)
class Provider:
    """A provider of this onnxruntime; `problem` is None if its self-test passed."""

    name: str
    problem: str | None


@dataclass(frozen=True)
class Diagnosis:
    """The state of this machine; `versions` maps packages to versions, None for those that are not installed."""

    python: str
    machine: str
    logical_cpus: int
    threads: int
    versions: dict[str, str | None]
    providers: tuple[Provider, ...]
    not_in_this_build: tuple[str, ...]
    problems: tuple[str, ...]

    def lines(self) -> list[str]:
        """The diagnosis in words, one screen."""
        threads = f"{self.threads} CPU threads by default, of {self.logical_cpus} logical CPUs"
        return [
            f"Python {self.python} on {self.machine}, {threads}",
            *(f"{package:<23}{version}" for package, version in self.versions.items() if version),
            *(f"provider {p.name:<14}{'fails: ' + p.problem if p.problem else 'works'}" for p in self.providers),
            *(f"provider {name:<14}not in this onnxruntime" for name in self.not_in_this_build),
            *(f"problem: {problem}" for problem in self.problems),
        ]


def diagnose() -> Diagnosis:
    """Looks at the machine and tries every provider that this onnxruntime offers."""
    available = ort.get_available_providers()
    providers = tuple(Provider(name, self_test(name)) for name, theirs in NAMES.items() if theirs in available)
    return Diagnosis(
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        logical_cpus=os.cpu_count() or 1,
        threads=usable_threads(),
        versions={"OpenCV": cv2.__version__, **{package: _version(package) for package in _PACKAGES}},
        providers=providers,
        not_in_this_build=tuple(name for name, theirs in NAMES.items() if theirs not in available),
        problems=clashes(_installed()),
    )


def clashes(installed: frozenset[str]) -> tuple[str, ...]:
    """A line for each set of installed distributions that overwrite each other."""
    lines = []
    for family in _CLASHES:
        found = [name for name in family if name in installed]
        if len(found) > 1:
            lines.append(
                f"{' and '.join(found)} overwrite each other: uninstall all of them, then install the one you need"
            )
    return tuple(lines)


def _installed() -> frozenset[str]:
    names = {distribution.metadata["Name"] for distribution in importlib.metadata.distributions()}
    return frozenset(name.lower().replace("_", "-") for name in names if name)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
