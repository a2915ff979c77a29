"""The errors of the runtime; those of bundles are in `models.contract`."""

from ..models.errors import OnnxdreamError


class DreamError(OnnxdreamError):
    """Base class of the runtime's errors."""


class SettingsError(DreamError, ValueError):
    """A setting is out of its range, unknown, or contradicts another."""

    exit_code = 2


class ProviderError(DreamError, RuntimeError):
    """The execution provider asked for is not available or does not work."""


class ComputationError(DreamError, RuntimeError):
    """onnxruntime failed at a step."""


class DivergedError(DreamError, ArithmeticError):
    """A loss or gradient is no longer a finite number."""


class RecordError(DreamError, ValueError):
    """A record cannot be repeated: it is unreadable, or its bundle or picture cannot be found."""


class OutOfMemoryError(ComputationError, MemoryError):
    """onnxruntime or a device has no memory left for a step."""


class OutputError(DreamError, OSError):
    """A result cannot be written to its output path."""


class PictureError(DreamError):
    """A picture cannot be read or encoded. The message is one line: what happened, to which file, what to do."""


class PictureNotFoundError(PictureError, FileNotFoundError):
    """There is no file of that name."""


class PictureReadError(PictureError, OSError):
    """The file exists but cannot be opened: it is a folder, access is denied, or the disk is broken."""


class PictureFormatError(PictureError, ValueError):
    """The file is not a picture, is damaged, or is in a format that is not read."""


class PictureTooLargeError(PictureError, ValueError):
    """The picture has more than `image.files.MAX_PIXELS` pixels, or its file more than 2 GB."""


class NoPicturesError(PictureError, FileNotFoundError):
    """The folder has no pictures."""


class PictureWriteError(PictureError, OSError):
    """The picture cannot be encoded in that format."""


class FilmError(DreamError):
    """A film cannot be read. The message is one line: what happened, to which file, what to do."""


class FilmNotFoundError(FilmError, FileNotFoundError):
    """There is no film of that name."""


class FilmFormatError(FilmError, ValueError):
    """The file is not a film, has no pictures, or is damaged."""


class FilmExtraError(FilmError, ImportError):
    """PyAV is not installed."""


class ClusterError(DreamError, RuntimeError):
    """A cluster cannot be joined, or its nodes cannot dream."""


class ClusterExtraError(ClusterError, ImportError):
    """Ray is not installed."""
