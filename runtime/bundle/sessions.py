"""The sessions of a bundle: for pictures of one size each, on the provider that a run has."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from typing import Any

from ...models import contract
from ...models.arrays import Floats, Image, Losses
from ...models.contract import BundleError, BundleFormatError
from ..errors import ComputationError, ProviderError
from ..provider.cards import PROVIDERS
from ..provider.machine import Machine
from ..provider.session import (
    builds_engine,
    computation_error,
    first_line,
    is_out_of_memory,
    open_session,
    out_of_memory_error,
    placement,
)
from ..provider.tensors import BoundSession, Tensor
from ..settings.settings import ProviderName
from .bundle import Bundle
from .channel_weights import plain_weights
from .onnx_file import in_form, without_default

_RANKS = {
    contract.IMAGE: 4,
    contract.LAYER_WEIGHTS: 1,
    contract.CHANNEL_WEIGHTS: 1,
    contract.LOSSES: 2,
    contract.GRADIENT: 4,
    contract.CHANNEL_MEANS: 2,
}
# How onnxruntime says that an output has another shape than the memory bound for it.
_OTHER_SHAPE = re.compile(r"dimensions for output|shape.*mismatch", re.IGNORECASE)


class Sessions:
    """Opens a bundle's sessions and keeps the last one, since two would slow each other down.

    Dreams that are given the same one share a session where they have one size.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._key: tuple[int, int, Machine] | None = None
        self._session: Session | None = None

    def get(self, height: int, width: int, machine: Machine) -> Session:
        """The session for pictures of that size. Raises BundleFormatError, ProviderError and OutOfMemoryError."""
        key = height, width, machine
        if self._session is None or self._key != key:
            self.forget()
            self._session, self._key = Session(self.bundle, *key), key
        return self._session

    def builds_engine(self, height: int, width: int, machine: Machine) -> bool:
        """Whether a session for that size would first have to build an engine, which takes TensorRT minutes."""
        if machine.provider != "tensorrt" or self._key == (height, width, machine):
            return False
        return builds_engine(model_for(self.bundle, machine), machine, _pinned(height, width))

    def forget(self) -> None:
        """Gives back the memory of the session kept."""
        self._session = self._key = None


class Session:
    """A bundle on one provider, pinned to pictures of one size.

    Raises BundleFormatError, ProviderError and OutOfMemoryError.
    """

    def __init__(self, bundle: Bundle, height: int, width: int, machine: Machine) -> None:
        try:
            self._session = open_session(model_for(bundle, machine), machine, _pinned(height, width))
        except (ProviderError, BundleError):
            raise
        except Exception as error:  # onnxruntime's failures have no common base
            if is_out_of_memory(error):
                raise out_of_memory_error(error) from error
            advice = "copy or export it again" + ("" if machine.provider == "cpu" else ", or choose --provider cpu")
            raise BundleFormatError(
                f"{bundle.name}: onnxruntime cannot load it ({first_line(error)}): {advice}"
            ) from error
        self._name = bundle.name
        fed = _inputs_without_defaults(machine)
        _require_contract(self._session, bundle, fed)
        # What is fed where nobody chooses channels.
        self._defaults = {name: plain_weights(bundle.metadata.layers) for name in fed}
        self._bound_defaults = {name: Tensor.on_host(values) for name, values in self._defaults.items()}

    def evaluate(
        self, image: Image, layer_weights: Floats, channel_weights: Floats | None = None
    ) -> tuple[Losses, Image]:
        """Losses [layers] and the gradient [3, height, width] of their weighted sum, for an image of that shape.

        Raises ComputationError, and BundleFormatError where the outputs are not what the contract says.
        """
        feed = self._feed(image, layer_weights)
        if channel_weights is not None:
            feed[contract.CHANNEL_WEIGHTS] = channel_weights
        losses, gradient = self._run([contract.LOSSES, contract.GRADIENT], feed)
        if losses.shape != (1, *layer_weights.shape) or gradient.shape != (1, *image.shape):
            raise self._breach()
        return losses[0], gradient[0]

    def bind(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> BoundSession:
        """The same from tensors into tensors, in the shapes of the contract and under its names, as often as it is run.

        Raises ComputationError and BundleFormatError, here and when it runs.
        """
        return BoundSession(self._session, {**self._bound_defaults, **inputs}, outputs, self._failure)

    def channel_means(self, image: Image, layer_weights: Floats) -> Floats:
        """The mean objective of every channel of every layer, one behind the other, for an image of that shape."""
        (means,) = self._run([contract.CHANNEL_MEANS], self._feed(image, layer_weights))
        found: Floats = means[0]
        return found

    def _feed(self, image: Image, layer_weights: Floats) -> dict[str, Floats]:
        return {contract.IMAGE: image[None], contract.LAYER_WEIGHTS: layer_weights, **self._defaults}

    def _breach(self) -> BundleFormatError:
        return BundleFormatError(f"{self._name}: the shapes of its outputs break the contract: export it again")

    def _run(self, outputs: list[str], feed: dict[str, Floats]) -> list[Floats]:
        try:
            found: list[Floats] = self._session.run(outputs, feed)
        except Exception as error:
            raise self._failure(error) from error
        return found

    def _failure(self, error: Exception) -> ComputationError | BundleFormatError:
        return self._breach() if _OTHER_SHAPE.search(str(error)) else computation_error(error)


def model_for(bundle: Bundle, machine: Machine) -> bytes:
    """The model as that machine's provider must get it. Raises BundleFormatError."""
    card = PROVIDERS[machine.provider]
    suits = card.form and (not card.processors or platform.machine() in card.processors)
    model = in_form(bundle.source, card.form) if card.form and suits else bundle.data
    return without_default(model, contract.CHANNEL_WEIGHTS) if card.folds_defaults else model


def kernel_counts(bundle: Bundle, height: int, width: int, machine: Machine) -> dict[ProviderName, int]:
    """How many kernels of a gradient of that size each provider really runs. Raises ProviderError."""
    return placement(model_for(bundle, machine), machine, _pinned(height, width))


def _pinned(height: int, width: int) -> dict[str, int]:
    return {contract.BATCH: 1, contract.HEIGHT: height, contract.WIDTH: width}


def _inputs_without_defaults(machine: Machine) -> set[str]:
    """The inputs whose default `model_for` takes out of the model."""
    return {contract.CHANNEL_WEIGHTS} if PROVIDERS[machine.provider].folds_defaults else set()


def _require_contract(session: Any, bundle: Bundle, fed: set[str]) -> None:
    """The tensors of the contract, with their types and ranks; more inputs would have no value.

    `fed` are the inputs that have lost their default.
    """
    layers, channels = len(bundle.metadata.layers), sum(layer.channels for layer in bundle.metadata.layers)
    inputs = {value.name: value for value in session.get_inputs()}
    defaults = {value.name: value for value in session.get_overridable_initializers()}
    outputs = {value.name: value for value in session.get_outputs()}
    found = {**inputs, **defaults, **outputs}
    sound = (
        set(inputs) == {contract.IMAGE, contract.LAYER_WEIGHTS} | fed
        and set(defaults) == {contract.CHANNEL_WEIGHTS} - fed
        and set(outputs) == {contract.LOSSES, contract.GRADIENT, contract.CHANNEL_MEANS}
        and all(value.type == "tensor(float)" and len(value.shape) == _RANKS[name] for name, value in found.items())
        and found[contract.LAYER_WEIGHTS].shape == [layers]
        and found[contract.CHANNEL_WEIGHTS].shape == [channels]
    )
    if not sound:
        raise BundleFormatError(f"{bundle.name}: its inputs and outputs break the contract: export it again")
