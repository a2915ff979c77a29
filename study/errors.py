"""The errors of a study, apart from those that the runtime raises."""

from ..models.errors import OnnxdreamError


class StudyError(OnnxdreamError):
    """Base of all errors of a study."""


class GridError(StudyError, ValueError):
    """A grid contradicts itself, or names something that does not exist."""


class MissingBundleError(StudyError, FileNotFoundError):
    """A bundle is missing and cannot be exported here; the message contains the command that exports it."""


class ExportFailedError(StudyError, RuntimeError):
    """The command `export` failed for a bundle; `reason` is its own error message."""

    def __init__(self, bundle: str, reason: str) -> None:
        super().__init__(f"exporting {bundle} failed: {reason}")
        self.reason = reason


class ResultsError(StudyError, OSError):
    """A result folder cannot be read or written."""
