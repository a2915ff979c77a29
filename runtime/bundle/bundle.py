"""A bundle in memory, and the session that computes its losses and gradient."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from ...models import assembly, contract
from ...models.assembly import Assembled
from ...models.contract import BundleError, BundleFormatError, BundleNotFoundError, Metadata
from ..errors import SettingsError
from ..settings.settings import Precision
from .onnx_file import read_model_file

# Larger than any backbone of the table in fp32; what is larger is no bundle.
_MAX_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle with the facts it states of itself; `path` is None if it came as bytes.

    `source` is its bytes, or what a built-in one was assembled to.
    """

    source: bytes | Assembled
    metadata: Metadata
    path: Path | None = None

    @classmethod
    def load(cls, source: Path | str | bytes) -> Bundle:
        """Reads and judges a bundle from a file, a built-in bundle's recipe, or bytes. Raises BundleError."""
        path = None if isinstance(source, bytes) else Path(source)
        read = source if isinstance(source, bytes) else _read(Path(source))
        name = path.name if path else "bundle"
        try:
            entries = read_model_file(read.without_weights if isinstance(read, Assembled) else read).metadata
            if contract.METADATA_KEY not in entries:
                raise BundleFormatError("it is an ONNX file but no bundle: make one with the command `export`")
            return cls(read, Metadata.from_json(entries[contract.METADATA_KEY]), path)
        except BundleError as error:
            raise type(error)(f"{name}: {error}") from None

    @classmethod
    def built_in(cls, name: str = assembly.DEFAULT.name) -> Bundle:
        """The built-in bundle of that name. Raises BundleNotFoundError."""
        for one in assembly.BUILT_IN:
            if one.name == name:
                return cls.load(one.path)
        known = ", ".join(one.name for one in assembly.BUILT_IN)
        raise BundleNotFoundError(f"no built-in bundle is called {name!r}: choose one of {known}")

    @property
    def is_built_in(self) -> bool:
        """Whether it comes with the package."""
        return self.path is not None and assembly.is_built_in(self.path)

    @property
    def name(self) -> str:
        """The file's name, or a built-in bundle's, for messages and records."""
        if self.path is None:
            return "bundle"
        return self.path.stem if self.is_built_in else self.path.name

    @property
    def data(self) -> bytes:
        """The bytes of the bundle, an ONNX file."""
        return self.source.whole if isinstance(self.source, Assembled) else self.source

    @cached_property
    def sha256(self) -> str:
        """Hash of the bundle's bytes."""
        digest = hashlib.sha256()
        for piece in self.source.pieces if isinstance(self.source, Assembled) else [self.source]:
            digest.update(piece)
        return digest.hexdigest()

    @property
    def export_command(self) -> str:
        """What exports such a bundle again."""
        return f"onnxdream export --model {self.metadata.backbone} --layers {','.join(self.metadata.layer_names)}"

    @property
    def precision(self) -> Precision:
        """The precision of a run with this bundle, where none is asked for. Raises BundleFormatError."""
        for known in ("fp32", "fp16", "mixed"):
            if self.metadata.precision == known:
                return cast(Precision, known)
        raise BundleFormatError(f"{self.name}: its precision {self.metadata.precision!r} is unknown: update onnxdream")

    def require_precision(self, precision: Precision) -> None:
        """Raises SettingsError where the bundle is not what a run in that precision takes."""
        own, wanted = self.precision, precision_of_bundle(precision)
        if own != wanted:
            raise SettingsError(
                f"{self.name} is a bundle of {own}, {precision} takes one of {wanted}: choose --precision {own}, "
                f"or export it: {self.export_command}{'' if wanted == 'fp32' else f' --precision {wanted}'}"
            )


def precision_of_bundle(precision: Precision) -> Precision:
    """The precision that a bundle must have for a run in that one: bf16 is a provider's way with fp32."""
    return "fp32" if precision == "bf16" else precision


def _read(path: Path) -> bytes | Assembled:
    if assembly.is_built_in(path):
        return assembly.load_built_in(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BundleFormatError(f"{path.name}: it is larger than any bundle: give the .onnx file of an export")
        return path.read_bytes()
    except FileNotFoundError:
        raise BundleNotFoundError(f"no bundle {path}: the command `info` lists the bundles there are") from None
    except OSError as error:
        raise BundleFormatError(f"{path.name}: it cannot be read ({error.strerror}): check the path") from None
