"""A bundle in memory: its bytes and its metadata."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ...models import assembly, contract, library
from ...models.assembly import Assembled
from ...models.contract import BundleError, BundleFormatError, BundleNotFoundError, Metadata
from ..errors import SettingsError
from ..settings.settings import Precision
from .onnx_file import read_model_file

# Larger than a bundle of any known backbone in fp32.
_MAX_BYTES = 2**30


@dataclass(frozen=True, eq=False, repr=False)
class Bundle:
    """A bundle with its metadata; `path` is None if it came as bytes.

    `source` is the bytes of its file, or the assembled parts of a built-in bundle.
    """

    source: bytes | Assembled
    metadata: Metadata
    path: Path | None = None

    def __repr__(self) -> str:
        return f"<Bundle {self.name}: {self.metadata.backbone}, {len(self.metadata.layers)} layers>"

    def __reduce__(self) -> tuple[Any, ...]:
        """How the bundle travels to another process: by its name if it is built in, since its parts are mere views."""
        if self.is_built_in:
            return Bundle.built_in, (self.name,)
        return Bundle, (self.source, self.metadata, self.path)

    @classmethod
    def load(cls, source: str | os.PathLike[str] | bytes) -> Bundle:
        """Reads and checks a bundle.

        `source` is the path of a file, the name of a built-in or an exported bundle as `--model` takes it, or bytes.
        Raises BundleError, and SettingsError for a source of another type.
        """
        if not isinstance(source, str | os.PathLike | bytes):
            raise SettingsError(
                f"a bundle is a Bundle, or its path, its name or its bytes, not {type(source).__name__}"
            )
        path = None if isinstance(source, bytes) else library.find_bundle(os.fspath(source))
        data = _read(path) if path else cast(bytes, source)
        name = path.name if path else "bundle"
        try:
            entries = read_model_file(data.without_weights if isinstance(data, Assembled) else data).metadata
            if contract.METADATA_KEY not in entries:
                raise BundleFormatError("it is an ONNX file, but not a bundle: make one with the command `export`")
            return cls(data, Metadata.from_json(entries[contract.METADATA_KEY]), path)
        except BundleError as error:
            raise type(error)(f"{name}: {error}") from None

    @classmethod
    def built_in(cls, name: str = assembly.DEFAULT.name) -> Bundle:
        """Loads the built-in bundle of that name. Raises BundleNotFoundError."""
        for recipe in assembly.BUILT_IN:
            if recipe.name == name:
                return cls.load(recipe.path)
        names = ", ".join(recipe.name for recipe in assembly.BUILT_IN)
        raise BundleNotFoundError(f"there is no built-in bundle {name!r}: choose one of {names}")

    @property
    def is_built_in(self) -> bool:
        """Whether the bundle comes with the package."""
        return self.path is not None and assembly.is_built_in(self.path)

    @property
    def name(self) -> str:
        """The name in messages and records: the file's name, a built-in bundle's name, or "bundle" for bytes."""
        if self.path is None:
            return "bundle"
        return self.path.stem if self.is_built_in else self.path.name

    @property
    def data(self) -> bytes:
        """The bytes of the bundle, an ONNX file."""
        return self.source.whole if isinstance(self.source, Assembled) else self.source

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the bundle's bytes, as hexadecimal digits."""
        digest = hashlib.sha256()
        for piece in self.source.pieces if isinstance(self.source, Assembled) else [self.source]:
            digest.update(piece)
        return digest.hexdigest()

    @property
    def precision(self) -> Precision:
        """The default precision of a run with this bundle. Raises BundleFormatError where it is unknown."""
        for known in ("fp32", "fp16", "mixed"):
            if self.metadata.precision == known:
                return cast(Precision, known)
        raise BundleFormatError(f"{self.name}: its precision {self.metadata.precision!r} is unknown: update onnxdream")

    def require_precision(self, precision: Precision) -> None:
        """Raises SettingsError unless the bundle has the precision that a run in `precision` needs."""
        own, needed = self.precision, precision_of_bundle(precision)
        if own != needed:
            raise SettingsError(
                f"{self.name} is a bundle in {own}, but a run in {precision} needs one in {needed}: "
                f"choose --precision {own}, or export one: {replace(self.metadata, precision=needed).export_command}"
            )


def precision_of_bundle(precision: Precision) -> Precision:
    """Returns the precision that a bundle must have for a run in `precision`.

    A run in bf16 needs a bundle in fp32, which the provider computes in bf16.
    """
    return "fp32" if precision == "bf16" else precision


def _read(path: Path) -> bytes | Assembled:
    if assembly.is_built_in(path):
        return assembly.load_built_in(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BundleFormatError(f"{path.name}: it is larger than any bundle: give the .onnx file of an export")
        return path.read_bytes()
    except OSError as error:
        raise BundleFormatError(f"{path.name}: it cannot be read ({error.strerror}): check the path") from None
