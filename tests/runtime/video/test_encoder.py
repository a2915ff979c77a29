"""Segments: their pictures, times and colours, and that the same pictures make the same file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures_fixture import frames as opencv_frames
from pictures_fixture import in_limited_files, listing

from onnxdream.models.arrays import Pixels, Size
from onnxdream.runtime.errors import OutputError
from onnxdream.runtime.video.encoder import SegmentWriter
from onnxdream.runtime.video.formats import FORMATS

av = pytest.importorskip("av")
from clips import BT709, LIMITED, decoded, flat, packets, pan, uneven_times  # noqa: E402

TIME_BASE = Fraction(1, 90_000)
FRAME = Fraction(1, 30)
SEGMENTS = (".mp4", ".webm", ".gif")  # those of a .webp are those of a .gif


def write(path: Path, suffix: str, pictures: Sequence[Pixels], times: Sequence[Fraction]) -> Path:
    path = path.with_suffix(FORMATS[suffix].segment_suffix)
    with SegmentWriter(path, FORMATS[suffix], Size(*pictures[0].shape[:2]), TIME_BASE) as writer:
        for picture, time in zip(pictures, times, strict=True):
            writer.add(picture, time, FRAME)
    return path


@pytest.mark.parametrize("suffix", SEGMENTS)
def test_a_segment_counts_its_times_from_its_first_picture(suffix: str, tmp_path: Path) -> None:
    times = uneven_times(120)
    path = write(tmp_path / "a", suffix, pan(120), [Fraction(1, 3) + time for time in times])
    off = 0 if suffix == ".mp4" else Fraction(1, 2000)
    stored = packets(path, "video")
    assert [packet.is_key for packet in stored[:2]] == [True, suffix == ".gif" and stored[1].is_key]
    assert max(abs(packet.time - time) for packet, time in zip(stored, times, strict=True)) <= off
    assert len(opencv_frames(path)) == 120


@pytest.mark.parametrize("suffix", SEGMENTS)
def test_the_same_pictures_make_the_same_file(suffix: str, tmp_path: Path) -> None:
    count = 60 if suffix == ".mp4" else 12  # more than libx264 looks ahead
    pictures = pan(count, Size(360, 640))
    first, second = (write(tmp_path / name, suffix, pictures, uneven_times(count)) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert write(tmp_path / "c", suffix, pictures[::-1], uneven_times(count)).read_bytes() != first.read_bytes()


COLOURS = [(200, 40, 40), (40, 180, 60), (30, 60, 210), (255, 255, 255), (0, 0, 0), (128, 128, 128)]


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_colours_are_stored_in_bt709_and_limited_range_with_their_tags(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a", suffix, [flat(*colour) for colour in COLOURS], [i * FRAME for i in range(6)])
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    tags = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    assert tags == (BT709, LIMITED, BT709, BT709)
    of_opencv = 6 if cv2.__version__ >= "5" else 40  # OpenCV 4 takes BT.709 for BT.601
    for shown, levels in ((opencv_frames(path), of_opencv), ([pixels for _, pixels in decoded(path)], 6)):
        for picture, colour in zip(shown, COLOURS, strict=True):
            assert np.abs(picture.mean(axis=(0, 1)) - colour).max() < levels, colour
    luma = frame.to_ndarray()[:48].mean()  # of red: 16 + 219 (.2126 R + .7152 G + .0722 B)
    assert abs(luma - (16 + 219 / 255 * (0.2126 * 200 + 0.7874 * 40))) < 2


@pytest.mark.parametrize(("suffix", "size"), [(".mp4", (38, 54)), (".webm", (38, 54)), (".gif", (37, 53))])
def test_odd_sizes_are_padded_where_the_codec_needs_it(suffix: str, size: tuple[int, int], tmp_path: Path) -> None:
    picture = flat(40, 40, 40, size=Size(37, 53))
    picture[-1], picture[:, -1] = 220, 220
    shown = opencv_frames(write(tmp_path / "a", suffix, [picture], [Fraction(0)]))[0]
    assert shown.shape[:2] == size
    assert shown[-1].mean() > 180
    assert shown[:, -1].mean() > 180
    assert shown[5:-5, 5:-5].mean() < 60


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_and_alpha_become_eight_bits_of_colour(channels: int, tmp_path: Path) -> None:
    picture = np.full((48, 64, channels), 150 * 257, np.uint16)
    shown = opencv_frames(write(tmp_path / "a", ".mp4", [picture], [Fraction(0)]))[0]
    assert abs(float(shown.mean()) - 150) < 4


def test_times_that_a_container_cannot_tell_apart_stay_in_order(tmp_path: Path) -> None:
    times = [Fraction(i, 90_000) for i in range(5)]
    path = write(tmp_path / "a", ".webm", pan(5), times)
    assert [packet.time * 1000 for packet in packets(path, "video")] == [0, 1, 2, 3, 4]


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    with (
        SegmentWriter(tmp_path / "a.mp4", FORMATS[".mp4"], Size(48, 64), TIME_BASE) as writer,
        pytest.raises(ValueError, match="a picture of 60×48 in a film of 64×48"),
    ):
        writer.add(flat(1, 2, 3, size=Size(48, 60)), Fraction(0), FRAME)
    assert listing(tmp_path) == set()  # a segment without pictures


def test_a_segment_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write film .*: make room or choose another name"):
        write(tmp_path / "none" / "a", ".mp4", pan(2), [Fraction(0), FRAME])


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("suffix", SEGMENTS)
def test_a_full_disk_is_an_output_error(suffix: str, tmp_path: Path) -> None:
    program = f"""
import numpy
from fractions import Fraction
from pathlib import Path
from onnxdream.models.arrays import Size
from onnxdream.runtime.errors import OutputError
from onnxdream.runtime.video.encoder import SegmentWriter
from onnxdream.runtime.video.formats import FORMATS
noise = numpy.random.default_rng(0).integers(0, 256, (10, 96, 128, 3), numpy.uint8)
kind = FORMATS[{suffix!r}]
path = Path({str(tmp_path)!r}) / ("a" + kind.segment_suffix)
try:
    with SegmentWriter(path, kind, Size(96, 128), Fraction(1, 30)) as writer:
        for number, picture in enumerate(noise):
            writer.add(picture, Fraction(number, 30), Fraction(1, 30))
except OutputError as error:
    print(error)
"""
    finished = in_limited_files(50_000, sys.executable, "-c", program)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "cannot write film" in finished.stdout
