"""A bundle in memory, and the session that computes its losses and gradient."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ...models import assembly, contract
from ...models.assembly import Assembled
from ...models.contract import BundleError, BundleFormatError, BundleNotFoundError, Metadata
from ..errors import ComputationError, OutOfMemoryError, ProviderError, SettingsError
from ..provider.machine import Machine
from ..provider.session import builds_engine, first_line, open_session, placement
from ..provider.tensors import Tensor, run_bound
from ..settings.settings import Precision, ProviderName
from .channel_weights import plain_weights
from .onnx_file import in_form, read_model_file, without_default

# Larger than any backbone of the table in fp32; what is larger is no bundle.
_MOST_BYTES = 2**30

Array = NDArray[np.float32]


# Providers that take an input's default for a constant, and so would not hear of another value.
_DEAF: tuple[ProviderName, ...] = ("openvino", "tensorrt")

# Where onnxruntime's CPU provider keeps activations in blocks of channels; elsewhere not all its versions do.
_BLOCKED_MACHINES = ("x86_64", "AMD64")

# How onnxruntime, its arenas and CUDA say that memory is used up.
_OUT_OF_MEMORY = re.compile(r"alloc|out of memory|OOM", re.IGNORECASE)
# How it says that an output has another shape than the memory bound for it.
_OTHER_SHAPE = re.compile(r"dimensions for output|shape.*mismatch", re.IGNORECASE)


class Session:
    """A bundle on one provider, pinned to pictures of one size.

    Raises BundleFormatError, ProviderError and OutOfMemoryError.
    """

    def __init__(self, bundle: Bundle, height: int, width: int, machine: Machine) -> None:
        try:
            self._session = open_session(bundle.model_for(machine), machine, _pinned(height, width))
        except (ProviderError, BundleError):
            raise
        except Exception as error:  # onnxruntime's failures have no common base
            if _OUT_OF_MEMORY.search(str(error)):
                raise _out_of_memory(error) from error
            advice = "copy or export it again" + ("" if machine.provider == "cpu" else ", or choose --provider cpu")
            raise BundleFormatError(
                f"{bundle.name}: onnxruntime cannot load it ({first_line(error)}): {advice}"
            ) from error
        self._name = bundle.name
        self._export = bundle.export_command
        optional = _optional(self._session, machine)
        _require_contract(self._session, bundle, optional)
        self._takes_channels = bool(optional)
        # What a deaf provider must be fed where nobody chooses channels.
        deaf = self._takes_channels and machine.provider in _DEAF
        self._defaults = {contract.CHANNEL_WEIGHTS: plain_weights(bundle.metadata.layers)} if deaf else {}
        self._bound_defaults = {name: Tensor.on_host(values) for name, values in self._defaults.items()}

    def evaluate(self, image: Array, layer_weights: Array, channel_weights: Array | None = None) -> tuple[Array, Array]:
        """Losses [layers] and the gradient [3, height, width] of their weighted sum, for an image of that shape.

        Raises ComputationError, and BundleFormatError where the outputs are not what the contract says.
        """
        feed = self._feed(image, layer_weights)
        if channel_weights is not None:
            self._require_channels()
            feed[contract.CHANNEL_WEIGHTS] = channel_weights
        losses, gradient = self._run([contract.LOSSES, contract.GRADIENT], feed)
        if losses.shape != (1, *layer_weights.shape) or gradient.shape != (1, *image.shape):
            raise self._breach()
        return losses[0], gradient[0]

    def evaluate_bound(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
        """The same from tensors into tensors, in the shapes of the contract and under its names.

        Raises ComputationError and BundleFormatError.
        """
        if contract.CHANNEL_WEIGHTS in inputs:
            self._require_channels()
        try:
            run_bound(self._session, {**self._bound_defaults, **inputs}, outputs)
        except Exception as error:
            if _OTHER_SHAPE.search(str(error)):
                raise self._breach() from error
            raise failure(error) from error

    def channel_means(self, image: Array, layer_weights: Array) -> Array:
        """The mean objective of every channel of every layer, one behind the other, for an image of that shape."""
        self._require_channels()
        (means,) = self._run([contract.CHANNEL_MEANS], self._feed(image, layer_weights))
        found: Array = means[0]
        return found

    def _feed(self, image: Array, layer_weights: Array) -> dict[str, Array]:
        return {contract.IMAGE: image[None], contract.LAYER_WEIGHTS: layer_weights, **self._defaults}

    def _breach(self) -> BundleFormatError:
        return BundleFormatError(f"{self._name}: the shapes of its outputs break the contract: export it again")

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
            raise failure(error) from error
        return found


def failure(error: Exception) -> ComputationError:
    """What onnxruntime's failure at a step is to the user."""
    if _OUT_OF_MEMORY.search(str(error)):
        return _out_of_memory(error)
    return ComputationError(
        f"onnxruntime cannot compute the gradient ({first_line(error)}): choose a smaller --max-size, "
        "or export the bundle again"
    )


def _out_of_memory(error: Exception) -> OutOfMemoryError:
    return OutOfMemoryError(f"no memory for the gradient ({first_line(error)}): give a smaller --memory or --max-size")


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
            entries = read_model_file(read.bare if isinstance(read, Assembled) else read).metadata
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

    def session(self, height: int, width: int, machine: Machine) -> Session:
        """A session for pictures of that size; the last one made is kept, since two would slow each other down."""
        key = (height, width, machine)
        if self._kept.get("key") != key:
            self._kept.clear()
            self._kept.update(key=key, session=Session(self, *key))
        session: Session = self._kept["session"]
        return session

    def model_for(self, machine: Machine) -> bytes:
        """The model as that machine's provider must get it."""
        if machine.provider == "cpu" and platform.machine() in _BLOCKED_MACHINES:
            model = in_form(self.source, contract.BLOCKED)
        elif machine.provider == "openvino":
            model = in_form(self.source, contract.CHANNELS_LAST)
        else:
            model = self.data
        return without_default(model, contract.CHANNEL_WEIGHTS) if machine.provider in _DEAF else model

    def builds_engine(self, height: int, width: int, machine: Machine) -> bool:
        """Whether a session for that size would first have to build an engine, which takes TensorRT minutes."""
        if machine.provider != "tensorrt" or self._kept.get("key") == (height, width, machine):
            return False
        return builds_engine(self.model_for(machine), machine, _pinned(height, width))

    def placement(self, height: int, width: int, machine: Machine) -> dict[ProviderName, int]:
        """How many kernels of a gradient of that size each provider really runs. Raises ProviderError."""
        return placement(self.model_for(machine), machine, _pinned(height, width))

    def forget_session(self) -> None:
        """Gives back the memory of the session kept."""
        self._kept.clear()

    @cached_property
    def _kept(self) -> dict[str, Any]:
        return {}


def precision_of_bundle(precision: Precision) -> Precision:
    """The precision that a bundle must have for a run in that one: bf16 is a provider's way with fp32."""
    return "fp32" if precision == "bf16" else precision


def _read(path: Path) -> bytes | Assembled:
    if assembly.is_built_in(path):
        return assembly.assembled(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BundleFormatError(f"{path.name}: it is larger than any bundle: give the .onnx file of an export")
        return path.read_bytes()
    except FileNotFoundError:
        raise BundleNotFoundError(f"no bundle {path}: the command `info` lists the bundles there are") from None
    except OSError as error:
        raise BundleFormatError(f"{path.name}: it cannot be read ({error.strerror}): check the path") from None


def _pinned(height: int, width: int) -> dict[str, int]:
    return {contract.BATCH: 1, contract.HEIGHT: height, contract.WIDTH: width}


def _optional(session: Any, machine: Machine) -> dict[str, Any]:
    """The inputs that have a default, or had one until a deaf provider's session was made."""
    found = list(session.get_overridable_initializers())
    if machine.provider in _DEAF:
        found += [value for value in session.get_inputs() if value.name == contract.CHANNEL_WEIGHTS]
    return {value.name: value for value in found}


def _require_contract(session: Any, bundle: Bundle, optional: dict[str, Any]) -> None:
    """The tensors of the contract, with their types and ranks; more inputs would have no value."""
    layers, channels = len(bundle.metadata.layers), sum(layer.channels for layer in bundle.metadata.layers)
    inputs = {value.name: value for value in session.get_inputs() if value.name not in optional}
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
