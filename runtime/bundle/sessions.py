"""The sessions of a bundle: each for pictures of one size, on a run's provider."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ...models import contract
from ...models.arrays import Floats, Image, Losses
from ...models.contract import BundleError, BundleFormatError
from ..errors import ComputationError, ProviderError, SettingsError
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
from ..provider.tensors import BoundSession, Device, GraphReplay, Tensor, run_options
from ..settings.settings import ProviderName
from .bundle import Bundle
from .objective import Objective, default_inputs
from .onnx_file import model_to_open

# The number of dimensions of each input and output.
_RANKS = {
    contract.IMAGE: 4,
    contract.LAYER_WEIGHTS: 1,
    contract.CHANNEL_WEIGHTS: 2,
    contract.POSITION: 2,
    contract.LOSSES: 2,
    contract.GRADIENT: 4,
    contract.CHANNEL_MEANS: 2,
}
# A session's CUDA graphs stay in the GPU's memory as long as it, so bindings beyond this number get none.
_MAX_GRAPHS = 12
# The words of onnxruntime for an output whose shape differs from the memory bound to it.
_SHAPE_MISMATCH = re.compile(r"dimensions for output|shape.*mismatch", re.IGNORECASE)


class Sessions:
    """Opens a bundle's sessions and keeps only the last one, since two would slow each other down.

    Dreams that share one `Sessions` share a session, too, if their size and machine are the same. Raises SettingsError
    for anything but a bundle.
    """

    def __init__(self, bundle: Bundle) -> None:
        if not isinstance(bundle, Bundle):
            raise SettingsError(
                f"sessions are those of a Bundle, not {type(bundle).__name__}: write Sessions(Bundle.load(name))"
            )
        self.bundle = bundle
        self._key: tuple[int, int, Machine, int, bool] | None = None
        self._session: Session | None = None

    def get(self, height: int, width: int, machine: Machine, batch: int = 1, takes_positions: bool = False) -> Session:
        """Returns the session for that many pictures at once, of that size in pixels, and opens it if needed.

        Raises BundleFormatError, ProviderError and OutOfMemoryError.
        """
        key = height, width, machine, batch, takes_positions
        if self._session is None or self._key != key:
            self.forget()
            self._session, self._key = Session(self.bundle, *key), key
        return self._session

    def builds_engine(self, height: int, width: int, machine: Machine, takes_positions: bool = False) -> bool:
        """Whether a session for that size would have to build an engine first, which takes TensorRT minutes."""
        if machine.provider != "tensorrt" or self._key == (height, width, machine, 1, takes_positions):
            return False
        return builds_engine(model_for(self.bundle, machine, takes_positions), machine, _pinned(height, width))

    def provider_options(self) -> dict[str, str]:
        """Returns onnxruntime's options of the provider of the session that is kept."""
        return self._session.provider_options() if self._session else {}

    def forget(self) -> None:
        """Closes the session that is kept, and so frees its memory."""
        self._session = self._key = None


class Session:
    """A bundle on one provider, for pictures of one fixed size, `batch` of them at once.

    Only a session that `takes_positions` may be given objectives with positions. In any other, the weights of all
    neurons are the constant 1, which saves a third of the kernels. Opening it raises BundleFormatError, ProviderError
    and OutOfMemoryError.
    """

    def __init__(
        self,
        bundle: Bundle,
        height: int,
        width: int,
        machine: Machine,
        batch: int = 1,
        takes_positions: bool = False,
    ) -> None:
        try:
            model = model_for(bundle, machine, takes_positions)
            self._session = open_session(model, machine, _pinned(height, width, batch))
        except (ProviderError, BundleError):
            raise
        except Exception as error:  # onnxruntime's errors have no common base class
            if is_out_of_memory(error):
                raise out_of_memory_error(error) from error
            advice = "copy or export it again" + ("" if machine.provider == "cpu" else ", or choose --provider cpu")
            raise BundleFormatError(
                f"{bundle.name}: onnxruntime cannot load it ({first_line(error)}): {advice}"
            ) from error
        self._name = bundle.name
        optional = _optional_inputs(takes_positions)
        _require_contract(self._session, bundle, {contract.IMAGE, contract.LAYER_WEIGHTS} | optional)
        # The values of inputs that have lost their defaults, fed unless the caller feeds others.
        defaults = default_inputs(bundle.metadata.layers)
        self._defaults = {name: values for name, values in defaults.items() if name in optional}
        self._machine = machine
        # Arrays of the host have no fixed address on the GPU, so they take part in no CUDA graph.
        self._run_options = run_options() if machine.tune else None
        self._graph_numbers = iter(range(1, _MAX_GRAPHS + 1))

    def evaluate(self, image: Image, objective: Objective) -> tuple[Losses, Image]:
        """Returns an image's losses, and the gradient of their weighted sum, which has the shape of the image.

        Raises ComputationError, and BundleFormatError where the outputs break the contract.
        """
        losses, gradient = self._evaluate(image, objective)
        return losses, gradient

    def evaluate_with_means(self, image: Image, objective: Objective) -> tuple[Losses, Image, Floats]:
        """Returns the same, and the channel means, float32 [channels of all layers]. Raises what `evaluate` raises."""
        losses, gradient, means = self._evaluate(image, objective, contract.CHANNEL_MEANS)
        return losses, gradient, means

    def evaluate_batch(
        self, images: Floats, layer_weights: Floats, channel_weights: Floats, positions: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Returns the channel means of the session's batch of images, and the gradient of each with its own channels.

        `images` are float32 [batch, 3, height, width], and so is the gradient; `layer_weights` are [layers];
        `channel_weights` are [batch, channels of all layers], and so are the channel means; `positions` are
        [layers, 3]. Raises ComputationError.
        """
        feed = {
            contract.IMAGE: images,
            contract.LAYER_WEIGHTS: layer_weights,
            contract.CHANNEL_WEIGHTS: channel_weights,
        }
        feed |= {} if positions is None else {contract.POSITION: positions}
        means, gradient = self._run([contract.CHANNEL_MEANS, contract.GRADIENT], {**self._defaults, **feed})
        if means.shape != channel_weights.shape or gradient.shape != images.shape:
            raise self._contract_error()
        return means, gradient

    def bind(self, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> BoundSession:
        """Binds the session to tensors of the contract's names and shapes, to be run any number of times.

        Raises ComputationError and BundleFormatError, here and when it runs.
        """
        replay = GraphReplay(next(self._graph_numbers, None)) if self._machine.tune else None
        return BoundSession(self._session, {**self._bound_defaults, **inputs}, outputs, self._error_for, replay)

    @cached_property
    def _bound_defaults(self) -> dict[str, Tensor]:
        """The default inputs in the memory of the device, so that no step copies them there."""
        device = Device(self._machine)
        return {name: device.tensor(values) for name, values in self._defaults.items()}

    def channel_means(self, image: Image, objective: Objective) -> Floats:
        """Returns an image's mean objective of every channel, float32 [channels], one layer after another.

        Raises ComputationError and BundleFormatError.
        """
        (means,) = self._run([contract.CHANNEL_MEANS], self._feed(image, objective))
        channel_means: Floats = means[0]
        return channel_means

    def provider_options(self) -> dict[str, str]:
        """Returns onnxruntime's options of the provider that computes."""
        options: dict[str, str] = self._session.get_provider_options()[self._session.get_providers()[0]]
        return options

    def _feed(self, image: Image, objective: Objective) -> dict[str, Floats]:
        return {contract.IMAGE: image[None], **self._defaults, **objective.inputs}

    def _evaluate(self, image: Image, objective: Objective, *more: str) -> list[Floats]:
        """Returns the losses, the gradient and `more` outputs of one image, without the dimension of the batch."""
        found = self._run([contract.LOSSES, contract.GRADIENT, *more], self._feed(image, objective))
        if found[0].shape != (1, *objective.layer_weights.shape) or found[1].shape != (1, *image.shape):
            raise self._contract_error()
        return [output[0] for output in found]

    def _contract_error(self) -> BundleFormatError:
        return BundleFormatError(f"{self._name}: the shapes of its outputs break the contract: export it again")

    def _run(self, outputs: list[str], feed: dict[str, Floats]) -> list[Floats]:
        try:
            arrays: list[Floats] = self._session.run(outputs, feed, self._run_options)
        except Exception as error:
            raise self._error_for(error) from error
        return arrays

    def _error_for(self, error: Exception) -> ComputationError | BundleFormatError:
        return self._contract_error() if _SHAPE_MISMATCH.search(str(error)) else computation_error(error)


def model_for(bundle: Bundle, machine: Machine, takes_positions: bool = False) -> bytes:
    """Returns the bundle's ONNX file in the form that suits the machine's provider. Raises BundleFormatError."""
    card = PROVIDERS[machine.provider]
    is_faster = not card.processors or platform.machine() in card.processors
    optional = _optional_inputs(takes_positions)
    defaults = default_inputs(bundle.metadata.layers)
    fixed = {name: values for name, values in defaults.items() if name not in optional}
    try:
        return model_to_open(bundle.source, card.form if is_faster else None, optional, fixed)
    except BundleFormatError as error:
        raise BundleFormatError(f"{bundle.name}: {error}") from None


def _optional_inputs(takes_positions: bool) -> set[str]:
    """Returns the inputs with a default value that a session takes.

    They are always fed: some providers compile a default into the graph and ignore any other value, and onnxruntime
    does not fix the dimensions of inputs that have one.
    """
    return {contract.CHANNEL_WEIGHTS, contract.POSITION} if takes_positions else {contract.CHANNEL_WEIGHTS}


def kernel_counts(bundle: Bundle, height: int, width: int, machine: Machine) -> dict[ProviderName, int]:
    """Counts the kernels of a gradient of that size that each provider really runs.

    Raises OSError where there is no temporary folder, and ProviderError.
    """
    return placement(model_for(bundle, machine), machine, _pinned(height, width))


def _pinned(height: int, width: int, batch: int = 1) -> dict[str, int]:
    return {contract.BATCH: batch, contract.WEIGHTS_BATCH: batch, contract.HEIGHT: height, contract.WIDTH: width}


def _require_contract(session: Any, bundle: Bundle, names: set[str]) -> None:
    """Raises BundleFormatError unless a session has exactly the contract's inputs and outputs, types and ranks.

    `names` are those of its inputs. More are refused because nothing would feed them.
    """
    layers, channels = len(bundle.metadata.layers), sum(layer.channels for layer in bundle.metadata.layers)
    inputs = {value.name: value for value in session.get_inputs()}
    outputs = {value.name: value for value in session.get_outputs()}
    tensors = {**inputs, **outputs}
    is_sound = (
        set(inputs) == names
        and not session.get_overridable_initializers()
        and set(outputs) == {contract.LOSSES, contract.GRADIENT, contract.CHANNEL_MEANS}
        and all(value.type == "tensor(float)" and len(value.shape) == _RANKS[name] for name, value in tensors.items())
        and tensors[contract.LAYER_WEIGHTS].shape == [layers]
        and tensors[contract.CHANNEL_WEIGHTS].shape[1:] == [channels]
        and (contract.POSITION not in inputs or inputs[contract.POSITION].shape == [layers, 3])
    )
    if not is_sound:
        raise BundleFormatError(f"{bundle.name}: its inputs and outputs break the contract: export it again")
