"""Where the shots of a film begin: cuts, and the flashes that are none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from ....models.arrays import Floats, Image, Pixels
from ...image.resizing import shrink
from ...video.encoder import in_eight_bits
from .exposure import visibility
from .flow import Motion

# A frame begins a shot, continues it, or lights it up or darkens it for a moment.
Change = Literal["cut", "same", "flash"]
# What a frame is in its film: the first of a shot, one that continues it, a flash, or one that shows nothing.
Role = Literal["first", "next", "flash", "blank"]

# Frames that are looked ahead: the longest flash, and what tells a cut from a fast motion.
LOOK_AHEAD = 4
# Mean difference in hue, saturation and value, in levels of 255, beyond which frames show different shots; the default
# of PySceneDetect's ContentDetector.
_CUT = 27.0
# Longer side of the frames that are compared: small, so that motion makes little difference.
_COMPARED_SIZE = 64
# Share of a change that may be left between two frames that show the same.
_SAME = 0.5
# Where less than this share of a frame can be found in the frame before, and the colours correlate less than this, a
# shot begins, too.
_TRUSTED_SHARE, _COLOUR_CORRELATION = 0.4, 0.5
_BINS = 8  # of a histogram, in each of red, green and blue


@dataclass(frozen=True, eq=False)
class Seen:
    """What a film has shown so far, as far as it tells where the next shot begins.

    `frame` is the last undreamed frame that was neither blank nor a flash, and `blank_frames` counts the blank ones
    since.
    """

    frame: Pixels = field(repr=False)
    blank_frames: int = 0


def role_of(
    frame: Pixels, base: Image, seen: Seen | None, following: Sequence[Pixels], motion: Callable[[Seen], Motion]
) -> Role:
    """Returns what a frame is in its film, given what the film has shown before and the frames that follow it.

    `base` is the frame as an image of the largest octave. `seen` is None before the first shot. `motion` computes how
    the picture has moved since what was seen; it is called only where the rest leaves a doubt. Nothing of this depends
    on how frames are dreamed.
    """
    if not visibility(base):
        return "blank"
    if seen is None or seen.blank_frames > LOOK_AHEAD:
        return "first"
    change = change_between(seen.frame, frame, following)
    if change == "same":
        return "first" if is_another_picture(seen.frame, frame, lambda: motion(seen).trusted_share) else "next"
    return "first" if change == "cut" else "flash"


def seen_after(frame: Pixels, role: Role, seen: Seen | None) -> Seen | None:
    """Returns what a film has shown after a frame of that role, given what it had shown before."""
    if role == "blank":
        return seen and Seen(seen.frame, seen.blank_frames + 1)
    # What a flash lights up is no part of the shot: the next frame is compared with the one before the flash.
    return seen if role == "flash" else Seen(frame)


def with_following(frames: Iterable[Pixels | None]) -> Iterator[tuple[Pixels | None, list[Pixels]]]:
    """Yields each frame with the up to `LOOK_AHEAD` frames that follow it, without those that are None."""
    waiting: deque[Pixels | None] = deque()
    for frame in frames:
        waiting.append(frame)
        if len(waiting) > LOOK_AHEAD:
            yield waiting.popleft(), [other for other in waiting if other is not None]
    while waiting:
        yield waiting.popleft(), [other for other in waiting if other is not None]


def change_between(earlier: Pixels, frame: Pixels, following: Sequence[Pixels]) -> Change:
    """Returns how a frame continues the shot of an earlier one, given the frames that follow it.

    All are [height, width, 3]. A change that the following frames take back is a flash; one that goes on at the
    same speed is a fast motion.
    """
    if earlier.shape != frame.shape:
        return "cut"
    before, now, *after = map(
        _compared, (earlier, frame, *(other for other in following if other.shape == frame.shape))
    )
    change = _difference(before, now)
    if change <= _CUT:
        return "same"
    if any(_difference(before, later) <= _SAME * change for later in after):
        return "flash"
    goes_on = bool(after) and _difference(now, after[0]) > _SAME * change
    return "same" if goes_on else "cut"


def is_another_picture(earlier: Pixels, frame: Pixels, trusted_share: Callable[[], float]) -> bool:
    """Whether a frame shows so little of an earlier one, and in such different colours, that a shot begins with it.

    `trusted_share` computes the share of the frame that the earlier one shows, too (`Motion.trusted_share`); it is
    called only if the colours differ.
    """
    return _correlation(earlier, frame) < _COLOUR_CORRELATION and trusted_share() < _TRUSTED_SHARE


def _compared(frame: Pixels) -> Floats:
    return np.asarray(cv2.cvtColor(shrink(in_eight_bits(frame), _COMPARED_SIZE), cv2.COLOR_RGB2HSV_FULL), np.float32)


def _difference(one: Floats, other: Floats) -> float:
    return float(np.abs(one - other).mean())


def _correlation(one: Pixels, other: Pixels) -> float:
    histograms = [
        cv2.calcHist([shrink(in_eight_bits(frame), 4 * _COMPARED_SIZE)], [0, 1, 2], None, [_BINS] * 3, [0, 256] * 3)
        for frame in (one, other)
    ]
    return float(cv2.compareHist(histograms[0], histograms[1], cv2.HISTCMP_CORREL))
