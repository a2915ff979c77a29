"""The first pass over a film, which finds its shots without dreaming."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from ....models.arrays import Pixels
from ....models.contract import Metadata
from ...image.processor import ImageProcessor
from ...settings.settings import Settings
from ..frames.coherence import settings_of_frames
from ..frames.flow import DisFlow, FlowMethod, Motion, motion_between
from ..frames.shots import Role, Seen, role_of, seen_after, with_following


def find_shots(frames: Iterable[Pixels | None], network: Metadata, settings: Settings) -> tuple[int, ...]:
    """Returns the number of frames of each shot that a FilmDream of these frames begins.

    Frames before the first shot, which are blank, count as frames of it. Raises SettingsError.
    """
    lengths, has_begun = [0], False
    for role in roles(frames, network, settings):
        if role == "first":
            if has_begun:
                lengths.append(0)
            has_begun = True
        lengths[-1] += 1
    return tuple(lengths)


def roles(frames: Iterable[Pixels | None], network: Metadata, settings: Settings) -> Iterator[Role | None]:
    """Yields what each frame is in its film; None for one that is missing, which is left out before the first one."""
    settings, flow, is_first = settings_of_frames(settings), DisFlow(), True
    seen: Seen | None = None
    for frame, following in with_following(frames):
        if frame is not None:
            processor = ImageProcessor(frame, network, settings)
            base = processor.base(processor.largest_octave)
            role = role_of(frame, base, seen, following, partial(_motion, frame, flow))
            seen = seen_after(frame, role, seen)
            is_first = False
            yield role
        elif not is_first:
            yield None


def _motion(frame: Pixels, flow: FlowMethod, seen: Seen) -> Motion:
    return motion_between(frame, seen.frame, flow)
