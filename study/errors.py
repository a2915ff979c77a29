"""The errors of a study, apart from those that the runtime raises."""

from ..models.errors import OnnxdreamError


class StudyError(OnnxdreamError):
    """Base of all errors of a study."""


class GridError(StudyError, ValueError):
    """A grid contradicts itself, or names something that does not exist."""


class MissingBundleError(StudyError, FileNotFoundError):
    """A bundle is missing and cannot be exported here; the message contains the command that exports it."""


class ExportFailedError(StudyError, RuntimeError):
    """The command `export` failed; the message contains its own error message."""


class ResultsError(StudyError, OSError):
    """A result folder cannot be read or written."""
