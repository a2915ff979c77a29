"""A bundle in memory, and the session that computes its losses and gradient."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models import contract
from ..models.contract import BundleError, BundleFormatError, BundleNotFoundError, Metadata
from .errors import ComputationError, ProviderError
from .model_file import read_model_file
from .providers import first_line, open_session, session_options
from .settings import ProviderName

# Larger than any backbone of the table in fp32; what is larger is no bundle.
_MOST_BYTES = 2**30

Array = NDArray[np.float32]


class Session:
    """A bundle on one provider, pinned to pictures of one size."""

    def __init__(self, bundle: Bundle, height: int, width: int, provider: ProviderName, threads: int) -> None:
        sizes = {contract.BATCH: 1, contract.HEIGHT: height, contract.WIDTH: width}
        try:
            self._session = open_session(bundle.data, provider, session_options(threads, sizes))
        except ProviderError:
            raise
        except Exception as error:  # onnxruntime's failures have no common base
            raise BundleFormatError(
                f"{bundle.name}: onnxruntime cannot load it ({first_line(error)}): copy or export it again"
            ) from error
        self._name = bundle.name
        _require_contract(self._session, bundle)

    def evaluate(self, image: Array, layer_weights: Array) -> tuple[Array, Array]:
        """Losses [layers] and the gradient [3, height, width] of their weighted sum, for an image of that shape.

        Raises ComputationError, and BundleFormatError where the outputs are not what the contract says.
        """
        feed = {contract.IMAGE: image[None], contract.LAYER_WEIGHTS: layer_weights}
        try:
            losses, gradient = self._session.run([contract.LOSSES, contract.GRADIENT], feed)
        except Exception as error:
            raise ComputationError(
                f"onnxruntime cannot compute the gradient ({first_line(error)}): choose a smaller --max-size, "
                "or export the bundle again"
            ) from error
        if losses.shape != (1, *layer_weights.shape) or gradient.shape != (1, *image.shape):
            raise BundleFormatError(f"{self._name}: the shapes of its outputs break the contract: export it again")
        return losses[0], gradient[0]


@dataclass(frozen=True, eq=False)
class Bundle:
    """The bytes of a bundle with the facts it states of itself; `path` is None if it came as bytes."""

    data: bytes
    metadata: Metadata
    path: Path | None = None

    @classmethod
    def load(cls, source: Path | str | bytes) -> Bundle:
        """Reads and judges a bundle, from a file or from bytes. Raises BundleError."""
        path = None if isinstance(source, bytes) else Path(source)
        data = source if isinstance(source, bytes) else _read(Path(source))
        name = path.name if path else "bundle"
        try:
            entries = read_model_file(data).metadata
            if contract.METADATA_KEY not in entries:
                raise BundleFormatError("it is an ONNX file but no bundle: make one with the command `export`")
            return cls(data, Metadata.from_json(entries[contract.METADATA_KEY]), path)
        except BundleError as error:
            raise type(error)(f"{name}: {error}") from None

    @property
    def name(self) -> str:
        """The file's name, for messages and records."""
        return self.path.name if self.path else "bundle"

    @cached_property
    def sha256(self) -> str:
        """Hash of the bundle's bytes."""
        return hashlib.sha256(self.data).hexdigest()

    def session(self, height: int, width: int, provider: ProviderName, threads: int) -> Session:
        """A session for pictures of that size; the last one made is kept, since two would slow each other down."""
        key = (height, width, provider, threads)
        if self._kept.get("key") != key:
            self._kept.clear()
            self._kept.update(key=key, session=Session(self, *key))
        session: Session = self._kept["session"]
        return session

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return {}


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BundleFormatError(f"{path.name}: it is larger than any bundle: give the .onnx file of an export")
        return path.read_bytes()
    except FileNotFoundError:
        raise BundleNotFoundError(f"no bundle {path}: the command `info` lists the bundles there are") from None
    except OSError as error:
        raise BundleFormatError(f"{path.name}: it cannot be read ({error.strerror}): check the path") from None


def _require_contract(session: Any, bundle: Bundle) -> None:
    """The four tensors of the contract, with their types and ranks; more inputs would have no value."""
    ranks = {contract.IMAGE: 4, contract.LAYER_WEIGHTS: 1, contract.LOSSES: 2, contract.GRADIENT: 4}
    found = {value.name: value for value in (*session.get_inputs(), *session.get_outputs())}
    layers = len(bundle.metadata.layers)
    sound = (
        set(found) == set(ranks)
        and {value.name for value in session.get_inputs()} == {contract.IMAGE, contract.LAYER_WEIGHTS}
        and all(value.type == "tensor(float)" and len(value.shape) == ranks[name] for name, value in found.items())
        and found[contract.LAYER_WEIGHTS].shape == [layers]
    )
    if not sound:
        raise BundleFormatError(f"{bundle.name}: its inputs and outputs break the contract: export it again")
