"""Reading films: times, colours, sizes and damage."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pictures_fixture import frames as opencv_frames

from onnxdream.models.arrays import Pixels, Size
from onnxdream.runtime.errors import FilmError, FilmExtraError, FilmFormatError, FilmNotFoundError
from onnxdream.runtime.video.reader import FilmReader, SourceFrame

av = pytest.importorskip("av")
from clips import (  # noqa: E402
    BT601,
    BT709,
    FULL,
    LIMITED,
    RATE,
    Clip,
    Sound,
    even_times,
    flat,
    pan,
    remux,
    uneven_times,
    write_clip,
)

LOSSLESS = {"qp": "0", "preset": "ultrafast"}


def read(path: Path, start: float | None = None, end: float | None = None) -> tuple[list[SourceFrame], list[str]]:
    lines: list[str] = []
    with FilmReader(path, start, end, lines.append) as reader:
        return list(reader), lines


def distance(a: Pixels | None, b: Pixels) -> float:
    """The mean difference of two pictures."""
    assert a is not None
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_a_film_is_read_with_exact_times_and_facts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    times = uneven_times(40)
    path = write_clip(tmp_path / "a.mp4", Clip(pan(40), times, sounds=[Sound(seconds=1)]))
    with FilmReader(path) as reader:
        facts = reader.facts
        shown = list(reader)
    assert (facts.time_base, facts.has_sound, facts.frames) == (Fraction(1, 90_000), True, 40)
    assert abs(facts.rate - 40 / (shown[-1].time + shown[-1].duration)) < 1
    assert [frame.time for frame in shown] == times
    assert [frame.duration for frame in shown[:-1]] == [b - a for a, b in pairwise(times)]
    assert shown[-1].duration > 0
    assert max(distance(frame.pixels, picture) for frame, picture in zip(shown, pan(40), strict=True)) < 6
    assert capfd.readouterr() == ("", "")  # FFmpeg is silent, too


@pytest.mark.parametrize("container", ["mkv", "ts", "avi", "mov"])
def test_other_containers_are_read(container: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / f"a.{container}", Clip(ticks=RATE if container == "avi" else 90_000))
    shown, lines = read(path)
    assert len(shown) == 30
    assert lines == []
    assert max(abs(frame.time - time) for frame, time in zip(shown, even_times(30), strict=True)) < Fraction(1, 1000)


@pytest.mark.parametrize("codec", ["libsvtav1", "libvpx-vp9", "libvpx", "libx265", "mpeg4"])
def test_other_codecs_are_read(codec: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", Clip(codec=codec, options={}, ticks=1000, matrix=BT601))
    shown, lines = read(path)
    assert (len(shown), lines) == (30, [])
    assert distance(shown[10].pixels, pan(30)[10]) < 30


def test_a_gif_is_read(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "a.gif",
        Clip(
            [flat(200, 30, 30), flat(30, 200, 30)],
            [Fraction(0), Fraction(1, 2)],
            codec="gif",
            pixels="rgb8",
            options={},
            ticks=100,
            tagged=False,
        ),
    )
    shown, _ = read(path)
    assert [frame.time for frame in shown] == [0, Fraction(1, 2)]
    assert shown[1].pixels is not None
    assert shown[1].pixels[0, 0].argmax() == 1


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize("distance_of_keys", [30, 1000])
def test_the_part_between_start_and_end_is_read(container: str, distance_of_keys: int, tmp_path: Path) -> None:
    ticks = RATE if container == "avi" else 90_000
    clip = Clip(pan(90), options={"g": str(distance_of_keys), "crf": "10"}, ticks=ticks)
    path = write_clip(tmp_path / f"a.{container}", clip)
    shown, lines = read(path, start=1.1, end=2)
    assert len(shown) == 27  # frames 33 to 59
    times = [Fraction(i, 30) - Fraction(11, 10) for i in range(33, 60)]
    assert max(abs(frame.time - time) for frame, time in zip(shown, times, strict=True)) <= Fraction(1, 1000)
    assert distance(shown[0].pixels, pan(90)[33]) < 6
    assert abs(shown[-1].time + shown[-1].duration - Fraction(9, 10)) <= Fraction(1, 1000)
    assert lines == []
    with FilmReader(path, 1.1, 2) as reader:
        assert reader.facts.frames == 27


def test_a_part_of_an_avi_is_that_of_the_whole_where_frames_refer_to_later_ones(tmp_path: Path) -> None:
    """As in those of DivX and Xvid, which store no times."""
    clip = Clip(pan(60), codec="mpeg4", options={"bf": "2", "b": "4M"}, ticks=RATE)
    path = write_clip(tmp_path / "a.avi", clip)
    (whole, _), (part, lines) = read(path), read(path, start=0.5)
    assert [frame.time for frame in part] == [frame.time - Fraction(1, 2) for frame in whole[15:]]
    for one, other in zip(part, whole[15:], strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
    assert lines == []


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_pictures_that_last_beyond_the_ends_of_the_part_last_up_to_them(container: str, tmp_path: Path) -> None:
    """As in a recording of a screen, on which nothing moves for seconds."""
    times = [Fraction(0), Fraction(1, 10), Fraction(5), Fraction(51, 10), Fraction(9)]
    path = write_clip(tmp_path / f"a.{container}", Clip(pan(5), times, ticks=1000))
    for start, end, numbers, begins in ((2, 7, (1, 2, 3), (0, 3, Fraction(31, 10))), (2, 4, (1,), (0,))):
        shown, lines = read(path, start, end)
        assert [frame.time for frame in shown] == list(begins)
        assert shown[-1].time + shown[-1].duration == end - start
        assert all(distance(f.pixels, pan(5)[n]) < 6 for f, n in zip(shown, numbers, strict=True))
        assert lines == []


def test_the_last_picture_lasts_as_long_as_the_file_says(tmp_path: Path) -> None:
    """Many GIFs rest on their last picture."""
    path = tmp_path / "a.gif"
    with av.open(str(path), "w", options={"final_delay": "300"}) as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
        for picture in pan(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture).reformat(format="rgb8")))
        container.mux(stream.encode(None))
    for end, last in ((None, 3), (1, Fraction(4, 5))):
        shown, lines = read(path, end=end)
        assert [frame.duration for frame in shown] == [Fraction(1, 10), Fraction(1, 10), last]
        assert lines == []


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (5.0, None, "has no pictures after 5 s; choose an earlier start"),
        (2.0, 1.0, "nothing is left between the start and the end; choose a later end"),
    ],
)
def test_an_empty_part_is_refused(start: float, end: float | None, text: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", Clip())
    with pytest.raises(FilmError, match=text):
        FilmReader(path, start, end)


def test_a_start_in_a_film_without_times_is_refused_with_what_to_do(tmp_path: Path) -> None:
    raw = tmp_path / "a.h264"
    with av.open(str(raw), "w", format="h264") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in pan(20):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        output.mux(stream.encode(None))
    assert len(read(raw)[0]) == 20
    with pytest.raises(FilmError, match=r"stores no times, .*; make an \.mp4 of it first$"):
        FilmReader(raw, 0.4)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_rotated_film_is_turned_upright(degrees: int, tmp_path: Path) -> None:
    picture = flat(60, 60, 60)
    picture[:16, :16] = (220, 30, 30)  # a red corner
    plain = Clip([picture] * 3)
    if not hasattr(av.video.stream.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write a rotation")
    path = write_clip(tmp_path / "a.mp4", Clip([picture] * 3, rotation=degrees))
    shown, _ = read(path)
    expected = np.rot90(picture, degrees // 90)
    assert shown[0].pixels is not None
    assert shown[0].pixels.shape == expected.shape
    assert distance(shown[0].pixels, expected) < 8
    assert distance(opencv_frames(path)[0], expected) < 8  # another reader turns it the same way
    assert plain.rotation == 0


def test_pixels_that_are_not_square_become_so(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", Clip(pixel_aspect=Fraction(4, 3)))
    with FilmReader(path) as reader:
        assert {frame.pixels.shape for frame in reader if frame.pixels is not None} == {(48, 85, 3)}


COLOURS = [(200, 40, 40), (40, 180, 60), (30, 60, 210), (255, 255, 255), (0, 0, 0), (128, 128, 128)]


@pytest.mark.parametrize("levels", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", [BT601, BT709])
@pytest.mark.parametrize("tagged", [True, False])
def test_colours_are_those_of_the_source(matrix: int, levels: int, tagged: bool, tmp_path: Path) -> None:
    """Without tags, high definition has BT.709 and other films BT.601, in limited range."""
    if not tagged and levels == FULL:
        pytest.skip("full range is always tagged")
    size = Size(720, 1280) if matrix == BT709 and not tagged else Size(48, 64)
    pictures = [flat(*colour, size=size) for colour in COLOURS]
    clip = Clip(pictures, matrix=matrix, range=levels, tagged=tagged, options=LOSSLESS)
    shown, lines = read(write_clip(tmp_path / "a.mkv", clip))
    for frame, colour in zip(shown, COLOURS, strict=True):
        assert frame.pixels is not None
        assert np.abs(frame.pixels.mean(axis=(0, 1)) - colour).max() <= 3, colour
    assert lines == []


def test_ten_bits_become_eight_and_a_line_says_so(tmp_path: Path) -> None:
    clip = Clip(
        [flat(200, 100, 50)] * 3,
        codec="libx265",
        pixels="yuv420p10le",
        options={"x265-params": "log-level=0:bframes=0"},
    )
    shown, lines = read(write_clip(tmp_path / "a.mp4", clip))
    assert distance(shown[0].pixels, flat(200, 100, 50)) < 4
    assert lines == ["a.mp4: its 10 bits per colour become 8"]


def test_a_size_that_changes_is_scaled_back(tmp_path: Path) -> None:
    """Two streams of MPEG-2, one after the other, are a stream whose size changes."""
    first = write_clip(tmp_path / "1.mpg", Clip(pan(20), codec="mpeg2video", options={"b": "4M"}, ticks=RATE))
    second = write_clip(
        tmp_path / "2.mpg", Clip(pan(20, Size(96, 128)), codec="mpeg2video", options={"b": "4M"}, ticks=RATE)
    )
    raw = tmp_path / "a.m2v"
    with raw.open("wb") as file:
        for path in (first, second):
            with av.open(str(path)) as container:
                file.writelines(bytes(packet) for packet in container.demux(video=0) if packet.size)
    shown, lines = read(raw)
    assert len(shown) >= 36
    assert {frame.pixels.shape for frame in shown if frame.pixels is not None} == {(48, 64, 3)}
    assert "a.m2v: the size of its frames changes; later ones are scaled to 64×48" in lines


def test_repeated_and_backward_times_are_mended(tmp_path: Path) -> None:
    """The pictures are whole ones, so that the order of the packets is that of the pictures."""
    path = write_clip(tmp_path / "a.mkv", Clip(codec="ffv1", pixels="bgr0", options={}, ticks=1000))

    def disturb(number: int, packet: object) -> object:
        packet.dts = packet.pts - 500  # type: ignore[attr-defined]
        if number == 10:
            packet.pts = 300  # type: ignore[attr-defined]
        return packet

    disturbed = remux(path, tmp_path / "b.mkv", disturb)
    shown, lines = read(disturbed)
    times = [frame.time for frame in shown]
    assert len(shown) == 30
    assert all(a < b for a, b in pairwise(times))
    assert times[11] == Fraction(367, 1000)
    assert lines == ["b.mkv: the times of 1 frame are missing or not in order, and were mended"]


def test_a_late_beginning_is_time_zero(tmp_path: Path) -> None:
    times = [Fraction(10) + time for time in even_times(10)]
    shown, _ = read(write_clip(tmp_path / "a.ts", Clip(pan(10), times)))
    assert [frame.time for frame in shown] == even_times(10)


def test_sound_before_the_first_picture_counts_but_a_run_in_does_not(tmp_path: Path) -> None:
    for delay in (Fraction(1), Fraction(1, 20)):
        clip = Clip(
            pan(30), [delay + time for time in even_times(30)], ticks=1000, sounds=[Sound("pcm_s16le", seconds=2)]
        )
        shown, lines = read(write_clip(tmp_path / "a.mkv", clip))
        assert shown[0].time == (1 if delay == 1 else 0)
        assert lines == []


@pytest.mark.parametrize("number", [10, 29])
@pytest.mark.parametrize(("codec", "pixels"), [("libx264", "yuv420p"), ("mjpeg", "yuvj420p"), ("ffv1", "bgr0")])
def test_a_damaged_packet_is_a_frame_without_pixels(codec: str, pixels: str, number: int, tmp_path: Path) -> None:
    options = {"g": "1"} if codec == "libx264" else {}
    path = write_clip(tmp_path / "a.mkv", Clip(codec=codec, pixels=pixels, options=options, ticks=1000))

    def damage(at: int, packet: object) -> object:
        if at != number:
            return packet
        broken = av.Packet(bytes(packet)[:99])
        broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base  # type: ignore[attr-defined]
        return broken

    shown, lines = read(remux(path, tmp_path / "b.mkv", damage))
    damaged = [i for i, frame in enumerate(shown) if frame.pixels is None]
    assert damaged in ([number], [number - 1, number])  # PyAV 17 loses the frame before it, too, at the end of a film
    assert max(abs(f.time - t) for f, t in zip(shown, even_times(30), strict=True)) <= Fraction(1, 1000)
    assert lines == [f"b.mkv: {'1 frame' if len(damaged) == 1 else '2 frames'} cannot be decoded"]


def test_a_truncated_film_gives_what_is_there(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", Clip(pan(60)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    shown, lines = read(path)
    whole = [frame for frame in shown if frame.pixels is not None]
    assert 5 < len(whole) < 59
    assert distance(whole[5].pixels, pan(60)[5]) < 6
    assert any("instead of 2.0 s; it may be cut short" in line for line in lines)


def test_what_is_no_film_is_refused_with_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("Not a film. " * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    film = write_clip(tmp_path / "film.mp4", Clip(pan(30)))
    for length in (1000, 2000):  # in the pictures, and in the index
        (tmp_path / f"cut{length}.mp4").write_bytes(film.read_bytes()[:length])
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.int16), "s16", "stereo")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(tmp_path / "picture.png"), "w", format="image2", container_options={"update": "1"}) as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(flat(1, 2, 3))))
        container.mux(stream.encode(None))
    refused = {
        "none.mp4": (FilmNotFoundError, "no such film; check the name and the folder"),
        ".": (FilmError, "is a folder; name the film in it"),
        "text.mp4": (FilmFormatError, "is not a film, or is damaged"),
        "empty.mp4": (FilmFormatError, "is not a film, or is damaged"),
        "cut1000.mp4": (FilmFormatError, "its index is missing, because it was cut short; copy or record it again"),
        "cut2000.mp4": (FilmFormatError, "its index is missing, because it was cut short; copy or record it again"),
        "sound.m4a": (FilmFormatError, "has no pictures, only sound or other data"),
        "picture.png": (FilmFormatError, "is not a film; name a file of moving pictures"),
    }
    for name, (kind, text) in refused.items():
        with pytest.raises(kind, match=text) as caught:
            FilmReader(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(tmp_path / name))
    assert capfd.readouterr() == ("", "")


def test_a_cover_picture_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w", format="mp3") as container:
        sound = container.add_stream("libmp3lame", rate=48000)
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.int16), "s16", "stereo")
        frame.sample_rate = 48000
        encoded = sound.encode(frame) + sound.encode(None)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(flat(1, 2, 3))) + cover.encode(None))
        container.mux(encoded)
    with pytest.raises(FilmFormatError, match="has sound and a cover picture, but no film"):
        FilmReader(path)


def test_a_film_of_one_frame_is_read(tmp_path: Path) -> None:
    shown, lines = read(write_clip(tmp_path / "a.mp4", Clip(pan(1))))
    assert ([frame.time for frame in shown], lines) == ([0], [])
    assert shown[0].duration > 0


def test_without_pyav_a_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(FilmExtraError, match=r"^films need PyAV: pip install 'onnxdream\[video\]'$"):
        FilmReader(tmp_path / "a.mp4")
