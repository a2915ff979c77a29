"""Pictures of a running dream for the screen: how large and how often."""

from __future__ import annotations

import time

from ...models.arrays import Pixels
from ...runtime.ascent.step import Step
from ...runtime.image.formats.codec import encode_preview
from ...runtime.image.resizing import shrink

# Longer side of a picture for the screen in pixels.
FRAME_SIDE = 1024
_WATCHED_SECONDS, _UNWATCHED_SECONDS = 0.1, 1.0
# Making pictures takes at most a fiftieth of the time of a run.
_SHARE = 50


def frame_of(pixels: Pixels) -> bytes:
    """Returns a picture for the screen, a JPEG."""
    return encode_preview(shrink(pixels, FRAME_SIDE))


class Previews:
    """Makes a picture of a step where it is time for one."""

    def __init__(self) -> None:
        self._next = 0.0

    def is_due(self, is_watched: bool) -> bool:
        wait = 0.0 if is_watched else _UNWATCHED_SECONDS - _WATCHED_SECONDS
        return time.monotonic() >= self._next + wait

    def hurry(self) -> None:
        """Makes the next step's picture due, which shows what has changed."""
        self._next = 0.0

    def take(self, step: Step) -> bytes:
        started = time.monotonic()
        jpeg = frame_of(step.fetch_picture())
        now = time.monotonic()
        self._next = now + max(_WATCHED_SECONDS, _SHARE * (now - started))
        return jpeg
