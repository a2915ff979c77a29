"""The command `deploy`: writes a folder that is copied to a device and runs there.

It contains the bundle, onnxdream itself, the list of what to install, and the data for checks.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ..models.files import atomic_write
from .bundle.bundle import Bundle
from .deploying.folder import (
    ENVIRONMENT,
    FACTS,
    MANIFEST,
    REQUIREMENTS,
    RUN,
    TARGETS,
    Deployment,
    DeploymentError,
    DeploymentWriteError,
    Target,
    manifest,
    plain_name,
    read_deployment,
    read_listed,
    read_manifest,
)
from .deploying.reference import Reference
from .deploying.wheel import pack_wheel
from .errors import SettingsError

README = "README.txt"
JETSON_REQUIREMENTS = "requirements-jetson.txt"
OPENCV_REQUIREMENTS = "requirements-opencv.txt"
_RUN_TEMPLATE = Path(__file__).parent / "deploying" / "templates" / RUN

_README = """\
{bundle}, deployed by onnxdream {version} for {target} ({title}).
Copy this folder to the device unchanged; there, `sha256sum --check {manifest}` checks that all of it has arrived.
Set up and check:    ./{run} verify    (the first call installs into {environment} here, from the network)
Dream:               ./{run} dream bears.jpg --steps 200
Show what can run:   ./{run} doctor
Films, HEIC, studio: {environment}/bin/python -m pip install './{wheel}[video,heic,studio]'
"""


def deploy(bundle: Bundle, target: str, output: Path | None = None, overwrite: bool = False) -> Path:
    """Writes the folder, completely or not at all, and returns its path; `output` defaults to `<bundle>-<target>`.

    An existing folder is replaced only with `overwrite`, and only if it contains nothing that `deploy` did not write.
    Raises SettingsError, DeploymentError, DreamError and BundleError.
    """
    if target not in TARGETS:
        raise SettingsError(f"unknown target {target!r}: choose one of {', '.join(TARGETS)}")
    stem = bundle.path.stem if bundle.path else "bundle"
    folder = output or Path(f"{stem}-{target}")
    try:
        _require_free(folder, overwrite)
        files = deployed_files(bundle, plain_name(f"{stem}.onnx"), target)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name[:100]}."))
        try:
            _write(temporary / "new", files)
            _replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        if isinstance(error, DeploymentError):
            raise
        raise DeploymentWriteError(
            f"{str(folder)!r} cannot be written ({error.strerror}): choose another --output or make room on the disk"
        ) from error
    return folder


def deployed_files(bundle: Bundle, name: str, target: str) -> dict[str, bytes]:
    """Returns the files of a deployed folder, bytes by name, the manifest last.

    `name` is the bundle's file name in the folder. Raises DeploymentError, DreamError and BundleError.
    """
    wheel, wheel_bytes = pack_wheel()
    reference = Reference.of(bundle)
    if not reference.is_sound():
        raise DeploymentError(f"{bundle.name}: its gradient is zero or not finite: export it again")
    version, device = wheel.split("-")[1], TARGETS[target]
    script = _RUN_TEMPLATE.read_text(encoding="utf-8")
    for key, value in {"@bundle": name, "@python": device.python, "@title": device.title}.items():
        script = script.replace(key, value)
    files = {
        name: bundle.data,
        wheel: wheel_bytes,
        FACTS: Deployment(version, target, name, reference).to_json().encode(),
        RUN: script.encode(),
        README: _README.format(
            bundle=name,
            wheel=wheel,
            version=version,
            target=target,
            title=device.title,
            manifest=MANIFEST,
            run=RUN,
            environment=ENVIRONMENT,
        ).encode(),
        **{file: text.encode() for file, text in requirements(device, wheel).items()},
    }
    return {**files, MANIFEST: manifest(files)}


def requirements(target: Target, wheel: str) -> dict[str, str]:
    """Returns the requirements files for pip on a device, text by name; `wheel` is the wheel's file name."""
    more = "".join(f"{requirement}\n" for requirement in target.requirements)
    if target.extra:
        return {REQUIREMENTS: f"./{wheel}[{target.extra}]\n{more}"}
    return {
        # JetPack's OpenCV, and perhaps its onnxruntime, are built for numpy 1.
        REQUIREMENTS: f"./{wheel}\nnumpy>=1.26,<2\n",
        JETSON_REQUIREMENTS: (
            "# Only from this index and without dependencies: the public index has a newer onnxruntime-gpu for ARM,\n"
            "# but its CUDA code is not for a Jetson's GPU.\n"
            f"--index-url {target.jetson_index}\n{more}"
        ),
        OPENCV_REQUIREMENTS: "# Only where JetPack's OpenCV is not installed.\nopencv-python-headless>=4.8,<4.12\n",
    }


def _require_free(folder: Path, overwrite: bool) -> None:
    """Raises DeploymentWriteError where the folder exists already and may not be replaced."""
    if not os.path.lexists(folder):
        return
    shown = repr(str(folder))
    if folder.is_symlink() or not folder.is_dir():
        raise DeploymentWriteError(f"{shown} exists and is not a folder: choose another --output")
    found = {path.name for path in folder.iterdir()}
    try:
        listed = set(read_manifest(folder)) if found else set()
    except DeploymentError:
        raise DeploymentWriteError(f"{shown} exists and is not a deployed folder: choose another --output") from None
    if found and not overwrite:
        raise DeploymentWriteError(f"{shown} exists: give --overwrite, or choose another --output")
    foreign = sorted(found - listed - {MANIFEST, ENVIRONMENT})
    if foreign:
        raise DeploymentWriteError(f"{shown} contains {foreign[0]!r}, which was not deployed: move it away first")


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Writes the files into a new folder, and reads them back as a device will."""
    folder.mkdir()
    for name, data in files.items():
        atomic_write(folder / name, data)
    script = folder / RUN
    script.chmod(script.stat().st_mode | (script.stat().st_mode & 0o444) >> 2)  # everyone who may read it may run it
    listed = read_manifest(folder)
    read_deployment(folder, listed)
    for name in listed:
        read_listed(folder, name, listed)


def _replace(temporary: Path, folder: Path) -> None:
    """Moves `temporary / "new"` to `folder`; an old folder there is moved aside first, and back if that fails."""
    if os.path.lexists(folder):
        os.replace(folder, temporary / "old")
    try:
        os.replace(temporary / "new", folder)
    except BaseException:
        if os.path.lexists(temporary / "old"):
            os.replace(temporary / "old", folder)
        raise
