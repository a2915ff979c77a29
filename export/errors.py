"""The errors of the export."""

from ..models.errors import OnnxdreamError


class ExportError(OnnxdreamError):
    """The base class of the export's errors."""


class UnknownLayerError(ExportError, ValueError):
    """A requested layer does not exist in the folded backbone."""


class UnsupportedLayerError(ExportError, NotImplementedError):
    """The backbone contains a layer that the export has no gradient for."""


class WeightsError(ExportError):
    """The requested weights are not available, or do not fit the backbone."""


class ModelFileError(ExportError, ValueError):
    """A file is not a Keras model that onnxdream can open."""


class VerificationError(ExportError):
    """The converted graph does not agree with TensorFlow."""
