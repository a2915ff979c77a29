"""Packs the running onnxdream into a wheel, so that a device gets the same code without a checkout or a build.

This works from a checkout and from an installation alike: the code is pure Python, so a wheel is a zip of its files.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PACKAGE = Path(__file__).parents[2]
# The files of the package; a test compares them with those that setuptools packs.
_CONTENTS = (
    "__init__.py",
    "__main__.py",
    "cli.py",
    "py.typed",
    "commands/*.py",
    "export/*.py",
    "export/*/*.py",
    "models/*.py",
    "models/builtin/*.graph",
    "models/builtin/*.json",
    "models/builtin/*.npz",
    "models/builtin/*.txt",
    "runtime/*.py",
    "runtime/*/*.py",
    "runtime/*/*/*.py",
    "runtime/features/atlases/*",
    "runtime/deploying/templates/*.sh",
    "studio/*.py",
    "studio/*/*.py",
    "studio/page/*",
    "studio/page/*/*",
    "study/*.py",
    "study/templates/*.html",
)
_LICENCES = ("LICENSE", "NOTICE")
_TAGS = "Wheel-Version: 1.0\nGenerator: onnxdream\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_ENTRY_POINTS = "[console_scripts]\nonnxdream = onnxdream.cli:app\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip: with it, the same code makes the same wheel


def pack_wheel() -> tuple[str, bytes]:
    """Returns the wheel's file name and bytes."""
    is_checkout = (_PACKAGE / "pyproject.toml").is_file()
    version, metadata, licences = _metadata_of_checkout() if is_checkout else _metadata_of_installation()
    dist_info = f"onnxdream-{version}.dist-info"
    files = {f"onnxdream/{path.relative_to(_PACKAGE).as_posix()}": path.read_bytes() for path in package_files()}
    texts = {"METADATA": metadata, "WHEEL": _TAGS, "entry_points.txt": _ENTRY_POINTS}
    texts |= {f"licenses/{name}": text for name, text in licences.items()}
    files |= {f"{dist_info}/{name}": text.encode() for name, text in texts.items()}
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{dist_info}/RECORD"] = f"{record}{dist_info}/RECORD,,\n".encode()
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data)
    return f"onnxdream-{version}-py3-none-any.whl", wheel.getvalue()


def package_files() -> list[Path]:
    """Returns the files of this package, without the files of a checkout that do not belong to it."""
    return sorted(path for pattern in _CONTENTS for path in _PACKAGE.glob(pattern) if path.is_file())


def _metadata_of_installation() -> tuple[str, str, dict[str, str]]:
    """Returns the version, the metadata and the licences' texts by name as they were installed."""
    installed = importlib.metadata.distribution("onnxdream")
    licences = {name: installed.read_text(f"licenses/{name}") or "" for name in _LICENCES}
    return installed.version, installed.read_text("METADATA") or "", licences


def _metadata_of_checkout() -> tuple[str, str, dict[str, str]]:
    """Returns the version, the metadata and the licences' texts by name from the checkout's files.

    They are not taken from an editable installation, whose metadata stay those of the day it was made.
    """
    project: dict[str, Any] = tomllib.loads((_PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        *(f"License-File: {name}" for name in _LICENCES),
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {requirement}" for requirement in project["dependencies"]),
    ]
    for extra, requirements in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {_with_extra(requirement, extra)}" for requirement in requirements]
    licences = {name: (_PACKAGE / name).read_text(encoding="utf-8") for name in _LICENCES}
    return project["version"], "\n".join(lines) + "\n", licences


def _with_extra(requirement: str, extra: str) -> str:
    """Returns a requirement that holds only for an extra, in addition to the requirement's own marker."""
    package, _, marker = (part.strip() for part in requirement.partition(";"))
    return f'{package}; ({marker}) and extra == "{extra}"' if marker else f'{package}; extra == "{extra}"'


def _digest(data: bytes) -> str:
    """Returns the SHA-256 of some bytes as a wheel's RECORD writes it: URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
