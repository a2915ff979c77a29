"""What can go wrong while a bundle is made."""

from ..models.errors import OnnxdreamError


class ExportError(OnnxdreamError):
    """Base of everything that the export stage refuses or fails at."""


class UnknownLayerError(ExportError, ValueError):
    """A layer was asked for that the folded backbone does not offer."""


class UnsupportedLayerError(ExportError, NotImplementedError):
    """The backbone holds a layer that no gradient is written for."""


class WeightsError(ExportError):
    """The weights asked for cannot be had, or do not fit the backbone."""


class VerificationError(ExportError):
    """The converted graph does not agree with TensorFlow."""
