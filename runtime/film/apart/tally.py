"""A tally: what is there of a film whose shots are dreamed apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from ..parts import require_whole, shot_name, unfinished_record
from ..record import FilmRecord, SegmentRecord, read_film_record
from ..reels import Section


class Tally:
    """The shots of a film in a `.parts` folder, and the segments of each that are finished. Raises RecordError."""

    def __init__(self, folder: Path, record: FilmRecord) -> None:
        ends = list(accumulate(record.shots))
        self.sections = [
            Section(number, end - frames, frames)
            for number, (frames, end) in enumerate(zip(record.shots, ends, strict=True), 1)
        ]
        self._segments = {section.number: _segments_in(folder / shot_name(section.number)) for section in self.sections}

    def add(self, section: Section, segments: tuple[SegmentRecord, ...]) -> None:
        """Takes in the finished segments of a shot, all of them."""
        self._segments[section.number] = segments

    @property
    def unfinished(self) -> list[Section]:
        """The shots that lack frames, in order."""
        return [section for section in self.sections if self.frames_of(section) < section.frames]

    @property
    def frames(self) -> int:
        """The number of frames in all finished segments."""
        return sum(map(self.frames_of, self.sections))

    def frames_of(self, section: Section) -> int:
        """The number of frames in the finished segments of a shot."""
        return sum(segment.frames for segment in self._segments[section.number])

    @property
    def film(self) -> tuple[SegmentRecord, ...]:
        """The segments from the beginning of the film up to the first frame that is missing."""
        return tuple(self._film())

    def _film(self) -> Iterator[SegmentRecord]:
        for section in self.sections:
            for segment in self._segments[section.number]:
                yield replace(segment, file=f"{shot_name(section.number)}/{segment.file}")
            if self.frames_of(section) < section.frames:
                return


def _segments_in(folder: Path) -> tuple[SegmentRecord, ...]:
    record = unfinished_record(folder)
    if not record.exists():
        return ()
    segments = read_film_record(record).segments
    require_whole(folder, segments)
    return segments
