"""Joining segments: every packet and time is kept, and the sound stays in step."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pictures_fixture import frames as opencv_frames
from pictures_fixture import in_limited_files

from onnxdream.models.arrays import Pixels, Size
from onnxdream.runtime.errors import FilmError, FilmFormatError, FilmNotFoundError, OutputError
from onnxdream.runtime.video.encoder import SegmentWriter
from onnxdream.runtime.video.formats import FORMATS
from onnxdream.runtime.video.joining import Segment, join
from onnxdream.runtime.video.reader import FilmReader

av = pytest.importorskip("av")
from clips import Clip, Sound, decoded, even_times, flat, packets, pan, samples, uneven_times, write_clip  # noqa: E402

TIME_BASE = Fraction(1, 90_000)
FRAME = Fraction(1, 30)
MILLISECOND, CENTISECOND = Fraction(1, 1000), Fraction(1, 100)


def segments(
    folder: Path, suffix: str, pictures: Sequence[Pixels], times: Sequence[Fraction], length: int = 25
) -> list[Segment]:
    """A film in segments of `length` frames."""
    written = []
    for first in range(0, len(pictures), length):
        path = folder / f"part-{first}{FORMATS[suffix].segment_suffix}"
        part = slice(first, first + length)
        with SegmentWriter(path, FORMATS[suffix], Size(*pictures[0].shape[:2]), TIME_BASE) as writer:
            for picture, time in zip(pictures[part], times[part], strict=True):
                writer.add(picture, time, FRAME)
        written.append(Segment(path, times[first], len(pictures[part])))
    return written


def boxes(path: Path) -> list[str]:
    """The types of an .mp4's boxes in order."""
    data, position, types = path.read_bytes(), 0, []
    while position < len(data):
        types.append(data[position + 4 : position + 8].decode())
        position += int.from_bytes(data[position : position + 4], "big")
    return types


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_joined_segments_keep_every_packet_and_time(suffix: str, tmp_path: Path) -> None:
    times = uneven_times(130)
    parts = segments(tmp_path, suffix, pan(130), times)
    output = tmp_path / f"film{suffix}"
    join(parts, output, FORMATS[suffix])
    stored = packets(output, "video")
    before = [packet.data for part in parts for packet in packets(part.path, "video")]
    assert [packet.data for packet in stored] == before
    worst = max(abs(packet.time - time) for packet, time in zip(stored, times, strict=True))
    assert worst <= (0 if suffix == ".mp4" else MILLISECOND)
    assert [i for i, packet in enumerate(stored) if packet.is_key] == list(range(0, 130, 25))
    shown = opencv_frames(output)
    assert len(shown) == 130
    for number in (0, 24, 25, 77, 129):
        assert np.abs(shown[number].astype(int) - pan(130)[number]).mean() < 8


def test_the_index_of_an_mp4_comes_first(tmp_path: Path) -> None:
    join(segments(tmp_path, ".mp4", pan(30), uneven_times(30)), tmp_path / "film.mp4", FORMATS[".mp4"])
    types = boxes(tmp_path / "film.mp4")
    assert types.index("moov") < types.index("mdat")


def test_the_same_segments_make_the_same_film(tmp_path: Path) -> None:
    sound = write_clip(tmp_path / "source.mkv", Clip(sounds=[Sound("pcm_s16le", seconds=1)], ticks=1000))
    for suffix in FORMATS:
        parts = segments(tmp_path, suffix, pan(30), uneven_times(30))
        for name in "ab":
            join(parts, tmp_path / f"{name}{suffix}", FORMATS[suffix], sound)
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_gif_has_its_times_one_palette_and_repeats_for_ever(tmp_path: Path) -> None:
    times = uneven_times(130)
    output = tmp_path / "film.gif"
    join(segments(tmp_path, ".gif", pan(130), times), output, FORMATS[".gif"])
    shown = decoded(output)
    assert max(abs(a - b) for (a, _), b in zip(shown, times, strict=True)) <= CENTISECOND
    for (_, pixels), picture in zip(shown, pan(130), strict=True):
        assert np.abs(pixels.astype(int) - picture).mean() < 12
    data = output.read_bytes()
    assert data[:6] == b"GIF89a"
    assert b"NETSCAPE2.0\x03\x01\x00\x00\x00" in data  # zero repetitions: for ever
    assert data[10] & 0x80  # there is a global palette
    assert local_palettes(data) == 0
    assert len(opencv_frames(output)) == 130


def local_palettes(data: bytes) -> int:
    """The number of a GIF's pictures that have a palette of their own (GIF89a, section 20)."""
    position = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    found = 0
    while data[position] != 0x3B:
        if data[position] == 0x2C:
            found += data[position + 9] >> 7
            position += 11 + (3 * 2 ** ((data[position + 9] & 7) + 1) if data[position + 9] & 0x80 else 0)
        else:
            position += 2
        while data[position]:
            position += data[position] + 1
        position += 1
    return found


def test_a_gif_leaves_out_pictures_that_browsers_would_show_too_long(tmp_path: Path) -> None:
    times = [Fraction(i, 100) for i in range(40)]
    output = tmp_path / "film.gif"
    join(segments(tmp_path, ".gif", pan(40), times), output, FORMATS[".gif"])
    assert [time for time, _ in decoded(output)] == times[::2]


def test_a_webp_has_its_pictures_and_times(tmp_path: Path) -> None:
    times = uneven_times(30)
    output = tmp_path / "film.webp"
    join(segments(tmp_path, ".webp", pan(30), times), output, FORMATS[".webp"])
    data = output.read_bytes()
    assert (data[:4], data[8:16]) == (b"RIFF", b"WEBPVP8X")
    chunk = data.index(b"ANIM")
    assert data[chunk + 12 : chunk + 14] == b"\x00\x00"  # repeats for ever
    assert data.count(b"ANMF") == 30
    starts = [0]
    position = data.index(b"ANMF")
    while position < len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        starts.append(starts[-1] + int.from_bytes(data[position + 20 : position + 23], "little"))
        position += 8 + length + length % 2
    assert (
        max(abs(Fraction(a, 1000) - b) for a, b in zip(starts, (*times, times[-1] + FRAME), strict=True)) <= MILLISECOND
    )
    if int(av.__version__.split(".")[0]) >= 19:
        assert len(list(FilmReader(output))) == 30
    else:
        with pytest.raises(FilmFormatError, match="an animated WebP is read by PyAV 19 only"):
            FilmReader(output)
    if hasattr(cv2, "imreadanimation"):
        _, animation = cv2.imreadanimation(str(output))
        assert len(animation.frames) == 30
        assert np.abs(animation.frames[9][..., 2::-1].astype(int) - pan(30)[9]).mean() < 10


@pytest.mark.parametrize(
    ("suffix", "source", "codec"),
    [
        (".mp4", "mp4", "aac"),
        (".mp4", "mkv", "ac3"),
        (".mp4", "mkv", "libmp3lame"),
        (".mp4", "mkv", "flac"),
        (".mp4", "ts", "aac"),
        (".mp4", "mkv", "libopus"),
        (".webm", "webm", "libopus"),
    ],
)
def test_sound_that_fits_is_copied_bit_by_bit(suffix: str, source: str, codec: str, tmp_path: Path) -> None:
    times = uneven_times(60)
    clip = Clip(
        pan(60),
        times,
        codec="libvpx-vp9" if source == "webm" else "libx264",
        options={},
        ticks=1000 if source in ("mkv", "webm") else 90_000,
        sounds=[Sound(codec, seconds=3)],
    )
    film = write_clip(tmp_path / f"source.{source}", clip)
    lines: list[str] = []
    output = tmp_path / f"film{suffix}"
    join(segments(tmp_path, suffix, pan(60), times), output, FORMATS[suffix], film, log=lines.append)
    before, after = packets(film, "audio"), packets(output, "audio")
    adts = 7 if source == "ts" else 0  # its header of each packet is dropped, since an .mp4 has one for all
    assert [packet.data for packet in after] == [packet.data[adts:] for packet in before]
    zero = packets(film, "video")[0].time
    assert max(abs(a.time - b.time + zero) for a, b in zip(after, before, strict=True)) <= MILLISECOND
    assert lines == []
    assert packets(output, "video")[0].time == 0


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"),
    [
        (".mp4", "pcm_s16le", 44_100),
        (".webm", "aac", 44_100),
        (".webm", "pcm_s16le", 48_000),
        (".mp4", "mp2", 44_100),
        (".mp4", "pcm_s16le", 192_000),
    ],
)
def test_other_sound_is_encoded_anew_in_step(suffix: str, codec: str, rate: int, tmp_path: Path) -> None:
    """The tone begins a second after the pictures, and does so afterwards."""
    clip = Clip(pan(60), ticks=1000, sounds=[Sound(codec, seconds=2, start=1, per_second=rate)])
    film = write_clip(tmp_path / "source.mkv", clip)
    lines: list[str] = []
    output = tmp_path / f"film{suffix}"
    join(segments(tmp_path, suffix, pan(60), uneven_times(60)), output, FORMATS[suffix], film, log=lines.append)
    start, wave = samples(output)
    heard = np.flatnonzero(np.abs(wave) > 0.05)
    per_second = min(rate, 96_000) if suffix == ".mp4" else 48_000  # no more than the codec has
    assert abs(start + heard[0] / per_second - 1) < 0.03
    assert abs(start + heard[-1] / per_second - 3) < 0.03
    name = codec.removeprefix("lib")
    assert lines == [f"source.mkv: its sound ({name}) is encoded anew, since {suffix} films do not take it"]


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_sound_that_changes_its_form_on_the_way_stays_in_step(suffix: str, tmp_path: Path) -> None:
    """Two programmes of a broadcast: stereo of 48 kHz, then mono of 44.1 kHz, which is silent for half a second."""
    sounds = Sound("mp2", seconds=1), Sound("mp2", seconds=0.5, start=0.5, channels=1, per_second=44_100)
    clips = [Clip(pan(30), options={"bf": "0"}, ticks=1000, sounds=[sound]) for sound in sounds]
    film = tmp_path / "source.mkv"
    with av.open(str(film), "w") as container:
        streams: list[Any] = []
        for number, clip in enumerate(clips):
            with av.open(str(write_clip(tmp_path / f"{number}.mkv", clip))) as source:
                streams = streams or [container.add_stream_from_template(one, opaque=True) for one in source.streams]
                for packet in source.demux():
                    if packet.size:
                        packet.stream = streams[packet.stream.index]
                        packet.pts = packet.dts = packet.pts + 1000 * number
                        container.mux(packet)
    output = tmp_path / f"film{suffix}"
    join(segments(tmp_path, suffix, pan(60), even_times(60)), output, FORMATS[suffix], film)
    start, wave = samples(output)
    heard = np.flatnonzero(np.abs(wave) > 0.05) / 48_000 + start
    assert abs(heard[0]) < 0.03
    assert abs(heard[heard < 1.25].max() - 1) < 0.03
    assert abs(heard[heard > 1.25].min() - 1.5) < 0.03
    assert abs(heard[-1] - 2) < 0.03


def test_all_sound_tracks_are_kept_with_their_languages(tmp_path: Path) -> None:
    sounds = [Sound("aac", 440, 2, language="eng"), Sound("pcm_s16le", 880, 2, language="deu")]
    film = write_clip(tmp_path / "source.mkv", Clip(pan(60), ticks=1000, sounds=sounds))
    output = tmp_path / "film.mp4"
    join(segments(tmp_path, ".mp4", pan(60), uneven_times(60)), output, FORMATS[".mp4"], film)
    assert {packet.language for packet in packets(output, "audio")} == {"eng", "deu"}
    for track, hertz in enumerate((440, 880)):
        _, wave = samples(output, track)
        second = wave[24_000:72_000]
        assert abs(int(np.abs(np.fft.rfft(second)).argmax()) - hertz) <= 1


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_is_cut_to_the_part(codec: str, tmp_path: Path) -> None:
    clip = Clip(pan(120), ticks=1000, sounds=[Sound(codec, seconds=4), Sound(codec, seconds=1, start=1.5)])
    film = write_clip(tmp_path / "source.mkv", clip)
    output = tmp_path / "film.mp4"
    parts = segments(tmp_path, ".mp4", pan(30), [Fraction(i, 30) for i in range(30)])
    join(parts, output, FORMATS[".mp4"], film, start=1, end=2)
    for track, (first, last) in enumerate(((0, 1), (0.5, 1))):
        start, wave = samples(output, track)
        assert start >= 0
        heard = np.flatnonzero(np.abs(wave) > 0.15)
        off = 0.03 if codec == "aac" else 0.004  # whole packets are copied
        assert abs(start + heard[0] / 48_000 - first) < off
        assert abs(start + heard[-1] / 48_000 - last) < off
    assert packets(output, "video")[0].time == 0


def test_cut_sound_does_not_move_the_pictures(tmp_path: Path) -> None:
    """A WebM has no times before zero: sound from before the part would shift all that follows."""
    film = write_clip(tmp_path / "source.mkv", Clip(pan(90), ticks=1000, sounds=[Sound("pcm_s16le", seconds=3)]))
    output = tmp_path / "film.webm"
    times = uneven_times(30)
    join(segments(tmp_path, ".webm", pan(30), times), output, FORMATS[".webm"], film, start=1.01)
    stored = packets(output, "video")
    assert max(abs(packet.time - time) for packet, time in zip(stored, times, strict=True)) <= MILLISECOND
    assert packets(output, "audio")[0].time >= -Fraction(8, 1000)  # the run-in of Opus


def test_sound_that_is_longer_than_the_pictures_is_kept_whole(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "source.mp4", Clip(pan(30), sounds=[Sound(seconds=5)]))
    output = tmp_path / "film.mp4"
    join(segments(tmp_path, ".mp4", pan(30), uneven_times(30)), output, FORMATS[".mp4"], film)
    assert [p.data for p in packets(output, "audio")] == [p.data for p in packets(film, "audio")]


def test_pictures_and_sound_alternate_in_the_file(tmp_path: Path) -> None:
    """So that a player never has to jump: between two pictures there is no more than a second of sound."""
    film = write_clip(tmp_path / "source.mp4", Clip(pan(120), sounds=[Sound(seconds=4)]))
    output = tmp_path / "film.webm"
    join(segments(tmp_path, ".webm", pan(120), uneven_times(120)), output, FORMATS[".webm"], film)
    with av.open(str(output)) as container:
        order = [(float(p.pts * p.time_base), p.stream.type) for p in container.demux() if p.size]
    assert all(b[0] - a[0] > -0.2 for a, b in pairwise(order))


def test_segments_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    small = segments(tmp_path / "a", ".mp4", pan(5), uneven_times(5))
    large = segments(tmp_path / "b", ".mp4", [flat(1, 2, 3, size=Size(96, 128))] * 5, uneven_times(5))
    with pytest.raises(
        FilmError, match="does not fit to the segments before it; start the film again with --overwrite"
    ):
        join([*small, Segment(large[0].path, Fraction(1), 5)], tmp_path / "film.mp4", FORMATS[".mp4"])


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_missing_segment_is_named(suffix: str, tmp_path: Path) -> None:
    parts = [*segments(tmp_path, suffix, pan(3), uneven_times(3)), Segment(tmp_path / "none.mkv", Fraction(1), 3)]
    with pytest.raises(FilmNotFoundError, match=r"none\.mkv: no such film"):
        join(parts, tmp_path / f"film{suffix}", FORMATS[suffix])


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_film_that_cannot_be_written_is_an_output_error(suffix: str, tmp_path: Path) -> None:
    parts = segments(tmp_path, suffix, pan(3), uneven_times(3))
    with pytest.raises(OutputError, match=r"cannot write film .*: make room or choose another name"):
        join(parts, tmp_path / "none" / f"film{suffix}", FORMATS[suffix])


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_is_an_output_error(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (10, 96, 128, 3), np.uint8)
    (part,) = segments(tmp_path, suffix, list(noise), uneven_times(10))
    program = f"""
from fractions import Fraction
from pathlib import Path
from onnxdream.runtime.errors import OutputError
from onnxdream.runtime.video.formats import FORMATS
from onnxdream.runtime.video.joining import Segment, join
part = Segment(Path({str(part.path)!r}), Fraction(0), 10)
try:
    join([part], Path({str(tmp_path / f"film{suffix}")!r}), FORMATS[{suffix!r}])
except OutputError as error:
    print(error)
"""
    finished = in_limited_files(30_000, sys.executable, "-c", program)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "cannot write film" in finished.stdout
