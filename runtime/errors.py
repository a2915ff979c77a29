"""What can go wrong while dreaming, apart from bundles (`models.contract`)."""

from ..models.errors import OnnxdreamError


class DreamError(OnnxdreamError):
    """Base of everything that the dreaming stage refuses or fails at."""


class SettingsError(DreamError, ValueError):
    """A setting is out of its range, unknown, or contradicts another."""

    exit_code = 2


class ProviderError(DreamError, RuntimeError):
    """An execution provider was asked for that is not there or does not work."""


class ComputationError(DreamError, RuntimeError):
    """onnxruntime failed at a step."""


class DivergedError(DreamError, ArithmeticError):
    """A loss or gradient is no longer a finite number."""


class RecordError(DreamError, ValueError):
    """A record cannot be repeated: unreadable, or its bundle or picture is not to be found."""


class OutOfMemoryError(ComputationError, MemoryError):
    """onnxruntime or a device has no memory left for a step."""


class OutputError(DreamError, OSError):
    """A result cannot be written where it was asked for."""
