"""Encodes pictures into a segment of a film: one closed file, whose first picture refers to none before it."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.arrays import Pixels, Size
from .formats import FilmFormat
from .library import SCALING, address, load_av, to_ticks, writing_errors

# The number of threads is a part of what an encoder computes: with one, a segment is the same on all machines and in
# every run. Dreaming a frame takes many times as long as encoding it.
_THREADS = 1
# Code points of ITU-T H.273 for BT.709, and FFmpeg's for limited range.
_BT709, _LIMITED = 1, 1


class SegmentWriter:
    """Writes pictures of one size, in order, to a segment file.

    `path` has the suffix `film_format.segment_suffix`. `size` is that of the pictures; where the codec needs even
    numbers, the last row or column is written twice. `time_base` is the unit of the pictures' times, and `rate` their
    nominal number per second, after which the codec chooses its level; all segments of a film need the same. The same
    pictures make the same file, byte for byte. Raises OutputError and FilmExtraError.
    """

    def __init__(
        self, path: Path, film_format: FilmFormat, size: Size, time_base: Fraction, rate: Fraction = Fraction(30)
    ) -> None:
        self.path = path
        self.size = size
        self._av = load_av()
        self._format = film_format
        self._tick = film_format.ticks(time_base)
        self._first: Fraction | None = None
        self._last_pts = -1
        self._durations: deque[int] = deque()
        with writing_errors(path):
            self._container = self._av.open(
                address(path),
                "w",
                format=film_format.segment_muxer,
                container_options=self._container_options(),
            )
            self._stream = self._add_stream(rate)

    def _container_options(self) -> dict[str, str]:
        options = {"fflags": "+bitexact"}  # no random identifiers, dates or versions
        if self._format.segment_muxer == "mp4":
            options["video_track_timescale"] = str(self._tick.denominator)
        return options

    def _add_stream(self, rate: Fraction) -> Any:
        stream = self._container.add_stream(self._format.codec, rate=rate, options=dict(self._format.options))
        stream.width, stream.height = self.size.width, self.size.height
        stream.pix_fmt = self._format.pixels
        if self._is_chroma_halved:
            stream.width, stream.height = _even(self.size.width), _even(self.size.height)
            context = stream.codec_context
            context.colorspace, context.color_range = _BT709, _LIMITED
            context.color_primaries = context.color_trc = _BT709
        stream.codec_context.time_base = stream.time_base = self._tick
        stream.codec_context.thread_count = _THREADS
        return stream

    @property
    def _is_chroma_halved(self) -> bool:
        return self._format.pixels == "yuv420p"

    def add(self, pixels: Pixels, time: Fraction, duration: Fraction) -> None:
        """Appends a picture [height, width, 3 or 4], uint8 or uint16; alpha is dropped, 16 bits become 8.

        `time` and `duration` are in seconds. The segment's times are counted from its first picture's. Raises
        OutputError if it cannot be written.
        """
        if pixels.shape[:2] != self.size:
            raise ValueError(f"a picture of {Size(*pixels.shape[:2])} in a film of {self.size}")
        if self._first is None:
            self._first = time
        pts = max(to_ticks(time - self._first, self._tick), self._last_pts + 1)
        self._last_pts = pts
        self._durations.append(max(1, to_ticks(duration, self._tick)))
        frame = self._frame(pixels)
        frame.pts, frame.time_base = pts, self._tick
        self._encode(frame)

    def _frame(self, pixels: Pixels) -> Any:
        colours = in_eight_bits(pixels)
        if not self._is_chroma_halved:
            frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(colours), "rgb24")
            return frame.reformat(format=self._format.pixels)
        frame = self._av.VideoFrame.from_ndarray(padded_to_even(colours), "rgb24")
        return frame.reformat(
            format=self._format.pixels,
            dst_colorspace=self._av.video.reformatter.Colorspace.ITU709,
            dst_color_range=_LIMITED,
            interpolation=SCALING,
        )

    def _encode(self, frame: Any) -> None:
        with writing_errors(self.path):
            for packet in self._stream.encode(frame):
                packet.duration = self._durations.popleft()
                self._container.mux(packet)

    def close(self) -> None:
        """Completes the file; one without pictures is removed. Raises OutputError."""
        if self._first is None:
            self._container.close()
            self.path.unlink(missing_ok=True)
            return
        try:
            self._encode(None)
        finally:
            with writing_errors(self.path):
                self._container.close()

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def in_eight_bits(pixels: Pixels) -> NDArray[np.uint8]:
    """The colours [height, width, 3] of a picture, without alpha."""
    colours: Any = np.ascontiguousarray(pixels[..., :3])
    eight: NDArray[np.uint8] = colours if colours.dtype == np.uint8 else (colours >> 8).astype(np.uint8)
    return eight


def _even(number: int) -> int:
    return number + number % 2


def padded_to_even(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = colours.shape[:2]
    if height % 2 or width % 2:
        return np.pad(colours, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(colours)
