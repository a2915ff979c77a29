"""The format of a deployed folder, and reading such a folder without trusting it.

The folder has no subfolders. `SHA256SUMS` lists all its files in the format of sha256sum; `deployment.json` states the
target, the bundle's name, and what the bundle computes on a reference picture.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ...models.decoding import decoded_json
from ..errors import DreamError
from ..settings.settings import ProviderName
from .reference import Reference

MANIFEST = "SHA256SUMS"
FACTS = "deployment.json"
RUN = "run.sh"
REQUIREMENTS = "requirements.txt"
ENVIRONMENT = ".venv"
_FORMAT = 1
_MAX_MANIFEST_BYTES = 2**16
_MAX_FACTS_BYTES = 2**24
_MAX_BYTES = 2**30  # of any file; no bundle is larger
# Excludes folders, hidden files, and characters with a meaning to a shell or a terminal.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,200}")
_LINE = re.compile(rf"([0-9a-f]{{64}}) [ *]({_NAME.pattern})")


class DeploymentError(DreamError):
    """Base class of errors about a deployed folder."""


class DeploymentFormatError(DeploymentError, ValueError):
    """The folder was not made by `deploy`, or has changed since."""


class DeploymentReadError(DeploymentError, OSError):
    """A file of the folder cannot be read."""


class DeploymentWriteError(DeploymentError, OSError):
    """The folder cannot be written."""


@dataclass(frozen=True)
class Target:
    """A kind of device that a folder is deployed for.

    `title` describes it, `python` is a Python expression that is true for the versions it supports, and `providers`
    are those that must work there. `extra` is the extra of onnxdream to install where the public package index has
    everything; for a Jetson, `jetson_index` is the index that has its onnxruntime. `requirements` are those of pip on
    top.
    """

    title: str
    python: str
    providers: tuple[ProviderName, ...]
    extra: str | None = None
    jetson_index: str | None = None
    requirements: tuple[str, ...] = ()


_ANY_PYTHON = "sys.version_info >= (3, 10)"
# A Jetson's versions of onnxruntime are those that its index listed in October 2026.
TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "jetpack6": Target(
            "a Jetson with JetPack 6: Python 3.10, CUDA 12.6",
            "sys.version_info[:2] == (3, 10)",
            ("cuda", "cpu"),
            jetson_index="https://pypi.jetson-ai-lab.io/jp6/cu126",
            requirements=("onnxruntime-gpu>=1.23,<1.25",),
        ),
        "jetpack7": Target(
            "a Jetson with JetPack 7: Python 3.12, CUDA 13",
            "sys.version_info[:2] == (3, 12)",
            ("cuda", "cpu"),
            jetson_index="https://pypi.jetson-ai-lab.io/sbsa/cu130",
            requirements=("onnxruntime-gpu>=1.24,<1.31",),
        ),
        "workstation": Target("an x86-64 machine with an NVIDIA GPU", _ANY_PYTHON, ("cuda", "cpu"), extra="gpu"),
        # This cuDNN is the last one for GPUs that are older than Turing.
        "workstation-cuda12": Target(
            "an x86-64 machine with an NVIDIA GPU or driver that is too old for CUDA 13",
            _ANY_PYTHON,
            ("cuda", "cpu"),
            extra="gpu",
            requirements=("onnxruntime-gpu[cuda,cudnn]<1.27", "nvidia-cudnn-cu12<9.11"),
        ),
        "cpu": Target("any x86-64 or ARM machine", _ANY_PYTHON, ("cpu",), extra="cpu"),
    }
)


@dataclass(frozen=True)
class Deployment:
    """The content of `deployment.json`: onnxdream's version, the target, the bundle's file name, and the reference."""

    version: str
    target: str
    bundle: str
    reference: Reference

    def to_json(self) -> str:
        """Returns the text of `deployment.json`."""
        facts = {"format": _FORMAT, "onnxdream": self.version, "target": self.target, "bundle": self.bundle}
        return json.dumps({**facts, "reference": self.reference.to_facts()}, indent=1)

    @classmethod
    def from_json(cls, data: bytes) -> Deployment:
        """Reads and checks the bytes of `deployment.json`. Raises DeploymentFormatError."""
        damaged = DeploymentFormatError(f"{FACTS} is damaged: copy the folder again, or deploy it again")
        try:
            facts = decoded_json(_Facts, data, {Reference: Reference.from_facts})
        except ValueError:
            raise damaged from None
        if facts.format > _FORMAT:
            raise DeploymentFormatError(
                f"{FACTS} was written by a newer onnxdream: run the one in the folder with {RUN}"
            )
        has_names = _NAME.fullmatch(facts.bundle) and _NAME.fullmatch(facts.onnxdream)
        if facts.format != _FORMAT or facts.target not in TARGETS or not has_names:
            raise damaged
        return cls(facts.onnxdream, facts.target, facts.bundle, facts.reference)


@dataclass(frozen=True)
class _Facts:
    """The fields of `deployment.json` as they are written."""

    format: int
    onnxdream: str
    target: str
    bundle: str
    reference: Reference


def manifest(files: Mapping[str, bytes]) -> bytes:
    """Returns the content of `SHA256SUMS`, which `sha256sum --check` reads, for files by their names."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())).encode()


def plain_name(name: str) -> str:
    """Returns a file's name for a deployed folder, with special characters replaced."""
    plain = re.sub(r"[^A-Za-z0-9._+-]", "_", name)[-200:].lstrip("._+-")
    return plain if _NAME.fullmatch(plain) else f"bundle-{plain}"


def read_manifest(folder: Path) -> dict[str, str]:
    """Returns the names and SHA-256 of a folder's files. Raises DeploymentFormatError and DeploymentReadError."""
    try:
        text = _read_regular(folder, MANIFEST, _MAX_MANIFEST_BYTES).decode("ascii")
    except UnicodeDecodeError:
        raise DeploymentFormatError(f"{MANIFEST} is damaged: copy the folder again") from None
    except (FileNotFoundError, NotADirectoryError):
        raise DeploymentFormatError(
            f"{str(folder)!r} has no {MANIFEST}: give a folder that the command `deploy` made"
        ) from None
    listed: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match[2] in listed or match[2] == MANIFEST:
            raise DeploymentFormatError(f"{MANIFEST} has the line {line[:100]!r}: copy the folder again")
        listed[match[2]] = match[1]
    for name in (FACTS, RUN, REQUIREMENTS):
        if name not in listed:
            raise DeploymentFormatError(f"{MANIFEST} does not list {name}: copy the folder again")
    return listed


def read_deployment(folder: Path, listed: Mapping[str, str]) -> Deployment:
    """Reads `deployment.json` of a folder with the listed files, SHA-256 by name.

    Raises DeploymentFormatError and DeploymentReadError.
    """
    deployment = Deployment.from_json(read_listed(folder, FACTS, listed, _MAX_FACTS_BYTES))
    if deployment.bundle not in listed:
        raise DeploymentFormatError(f"{MANIFEST} does not list {deployment.bundle}: copy the folder again")
    return deployment


def read_listed(folder: Path, name: str, listed: Mapping[str, str], max_bytes: int = _MAX_BYTES) -> bytes:
    """Returns a file's bytes if they have the listed SHA-256. Raises DeploymentFormatError and DeploymentReadError."""
    try:
        data = _read_regular(folder, name, max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        raise DeploymentFormatError(f"{name} is missing: copy the folder again") from None
    if hashlib.sha256(data).hexdigest() != listed[name]:
        raise DeploymentFormatError(f"{name} is not as it was deployed: copy the folder again")
    return data


def _read_regular(folder: Path, name: str, max_bytes: int) -> bytes:
    """Returns the bytes of a plain file; refuses links, pipes and devices.

    Raises FileNotFoundError, NotADirectoryError, DeploymentFormatError and DeploymentReadError.
    """
    path = folder / name
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # before it is opened, since opening a device may act on it
            raise DeploymentFormatError(f"{name} is not a plain file, but a link or a device: copy the folder again")
        with open(os.open(path, flags), "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise DeploymentFormatError(f"{name} is not a plain file: copy the folder again")
            if state.st_size > max_bytes:
                raise DeploymentFormatError(f"{name} is larger than any file that is deployed: copy the folder again")
            return file.read(max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError, DeploymentError):
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the path contains a zero byte"
        raise DeploymentReadError(f"{name} cannot be read ({reason}): check the folder's permissions") from None
