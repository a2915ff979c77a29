"""What can go wrong in a study, apart from what the runtime refuses."""

from ..models.errors import OnnxdreamError


class StudyError(OnnxdreamError):
    """Base of everything that the study refuses or fails at."""


class GridError(StudyError, ValueError):
    """A grid contradicts itself, or names what there is not."""


class MissingBundleError(StudyError, FileNotFoundError):
    """A bundle is not here and cannot be exported here; the message has the command that makes it."""


class ExportFailedError(StudyError, RuntimeError):
    """The export stage refused or failed; the message is its own."""


class ResultsError(StudyError, OSError):
    """A result folder cannot be read or written."""
