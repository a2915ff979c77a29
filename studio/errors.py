"""The errors of the studio: each is an answer to the page, with a line for its user."""

from __future__ import annotations

import errno
import re

from ..models.errors import OnnxdreamError
from ..runtime.errors import OutputError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class StudioError(OnnxdreamError):
    """A request that is refused: `status` is that of HTTP, `field` the name of the setting that is wrong, or None."""

    def __init__(self, status: int, line: str, field: str | None = None) -> None:
        super().__init__(in_page_words(line))
        self.status, self.field = status, field


class StudioExtraError(OnnxdreamError, ImportError):
    """A package of the extra `studio` is not installed."""


class StudioStartError(OnnxdreamError, OSError):
    """The studio cannot start: its port is taken, or its folder cannot be used."""


def not_found(what: str) -> StudioError:
    return StudioError(404, f"there is no such {what}: it may have been removed")


def disk_error(error: OSError) -> StudioError:
    """The answer where a file cannot be read or written: 507 where the disk is full."""
    cause: BaseException = error
    while isinstance(cause, OutputError) and cause.__cause__:
        cause = cause.__cause__
    if getattr(cause, "errno", None) in _FULL:
        return StudioError(507, "the disk is full: remove some dreams, or make room")
    reason = getattr(cause, "strerror", None) or error
    return StudioError(500, f"a file cannot be read or written ({reason}): check the folder")


def in_page_words(line: str) -> str:
    """Returns a line of the command line for the page, where options are settings: --max-size is max size."""
    return re.sub(r"--([a-z][a-z-]*)", lambda option: option[1].replace("-", " "), line)
