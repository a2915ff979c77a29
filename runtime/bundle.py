"""A bundle in memory, and the session that computes its losses and gradient."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models import contract
from ..models.contract import BundleError, BundleFormatError, BundleNotFoundError, Metadata
from .errors import ComputationError, OutOfMemoryError, ProviderError
from .model_file import read_model_file
from .providers import first_line, open_session, session_options
from .settings import ProviderName

# Larger than any backbone of the table in fp32; what is larger is no bundle.
_MOST_BYTES = 2**30

Array = NDArray[np.float32]


# How onnxruntime, its arenas and CUDA say that memory is used up.
_OUT_OF_MEMORY = re.compile(r"alloc|out of memory|OOM", re.IGNORECASE)


class Session:
    """A bundle on one provider, pinned to pictures of one size.

    Raises BundleFormatError, ProviderError and OutOfMemoryError.
    """

    def __init__(self, bundle: Bundle, height: int, width: int, provider: ProviderName, threads: int) -> None:
        sizes = {contract.BATCH: 1, contract.HEIGHT: height, contract.WIDTH: width}
        try:
            self._session = open_session(bundle.data, provider, session_options(threads, sizes))
        except ProviderError:
            raise
        except Exception as error:  # onnxruntime's failures have no common base
            if _OUT_OF_MEMORY.search(str(error)):
                raise _out_of_memory(error) from error
            raise BundleFormatError(
                f"{bundle.name}: onnxruntime cannot load it ({first_line(error)}): copy or export it again"
            ) from error
        self._name = bundle.name
        self._export = f"onnxdream export --model {bundle.metadata.backbone} --layers " + ",".join(
            bundle.metadata.layer_names
        )
        _require_contract(self._session, bundle)
        self._takes_channels = bool(self._session.get_overridable_initializers())

    def evaluate(self, image: Array, layer_weights: Array, channel_weights: Array | None = None) -> tuple[Array, Array]:
        """Losses [layers] and the gradient [3, height, width] of their weighted sum, for an image of that shape.

        Raises ComputationError, and BundleFormatError where the outputs are not what the contract says.
        """
        feed = {contract.IMAGE: image[None], contract.LAYER_WEIGHTS: layer_weights}
        if channel_weights is not None:
            self._require_channels()
            feed[contract.CHANNEL_WEIGHTS] = channel_weights
        losses, gradient = self._run([contract.LOSSES, contract.GRADIENT], feed)
        if losses.shape != (1, *layer_weights.shape) or gradient.shape != (1, *image.shape):
            raise BundleFormatError(f"{self._name}: the shapes of its outputs break the contract: export it again")
        return losses[0], gradient[0]

    def channel_means(self, image: Array, layer_weights: Array) -> Array:
        """The mean objective of every channel of every layer, one behind the other, for an image of that shape."""
        self._require_channels()
        feed = {contract.IMAGE: image[None], contract.LAYER_WEIGHTS: layer_weights}
        (means,) = self._run([contract.CHANNEL_MEANS], feed)
        found: Array = means[0]
        return found

    def _require_channels(self) -> None:
        if not self._takes_channels:
            raise BundleFormatError(
                f"{self._name}: it was exported before channels could be chosen: export it again for --channels, "
                f"--pick or --guide: {self._export}"
            )

    def _run(self, outputs: list[str], feed: dict[str, Array]) -> list[Array]:
        try:
            found: list[Array] = self._session.run(outputs, feed)
        except Exception as error:
            if _OUT_OF_MEMORY.search(str(error)):
                raise _out_of_memory(error) from error
            raise ComputationError(
                f"onnxruntime cannot compute the gradient ({first_line(error)}): choose a smaller --max-size, "
                "or export the bundle again"
            ) from error
        return found


def _out_of_memory(error: Exception) -> OutOfMemoryError:
    return OutOfMemoryError(f"no memory for the gradient ({first_line(error)}): give a smaller --memory or --max-size")


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

    def forget_session(self) -> None:
        """Gives back the memory of the session kept."""
        self._kept.clear()

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
    """The tensors of the contract, with their types and ranks; more inputs would have no value."""
    layers, channels = len(bundle.metadata.layers), sum(layer.channels for layer in bundle.metadata.layers)
    inputs = {value.name: value for value in session.get_inputs()}
    optional = {value.name: value for value in session.get_overridable_initializers()}
    outputs = {value.name: value for value in session.get_outputs()}
    found = {**inputs, **optional, **outputs}
    ranks = {contract.IMAGE: 4, contract.LAYER_WEIGHTS: 1, contract.LOSSES: 2, contract.GRADIENT: 4}
    if optional:
        ranks |= {contract.CHANNEL_WEIGHTS: 1, contract.CHANNEL_MEANS: 2}
    sound = (
        set(found) == set(ranks)
        and set(inputs) == {contract.IMAGE, contract.LAYER_WEIGHTS}
        and set(optional) <= {contract.CHANNEL_WEIGHTS}
        and all(value.type == "tensor(float)" and len(value.shape) == ranks[name] for name, value in found.items())
        and inputs[contract.LAYER_WEIGHTS].shape == [layers]
        and all(value.shape == [channels] for value in optional.values())
    )
    if not sound:
        raise BundleFormatError(f"{bundle.name}: its inputs and outputs break the contract: export it again")
