"""Short films for tests, written by PyAV. Import it only where PyAV is installed (`pytest.importorskip("av")`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from onnxdream.models.arrays import Pixels, Size

SIZE = Size(48, 64)
RATE = 30
LIMITED, FULL = 1, 2
BT709, BT601, BT2020 = 1, 5, 9  # of AVColorSpace
PQ, HLG = 16, 18  # of AVColorTransferCharacteristic
UNSPECIFIED = 2
SAMPLES_PER_SECOND = 48000


def pan(frames: int, size: Size = SIZE, seed: int = 0) -> list[Pixels]:
    """Pictures of pale squares, so that halved chroma loses little, that move to the left by a pixel in each."""
    random, squares = np.random.default_rng(seed), (size.height // 8 + 1, (size.width + frames) // 8 + 2)
    grey, tint = random.integers(40, 216, (*squares, 1)), random.integers(-12, 12, (*squares, 3))
    wall = np.kron(grey + tint, np.ones((8, 8, 1))).astype(np.uint8)
    return [np.ascontiguousarray(wall[: size.height, i : i + size.width]) for i in range(frames)]


def flat(*colour: int, size: Size = SIZE) -> Pixels:
    """A picture of one colour."""
    return np.full((*size, 3), colour, np.uint8)


def even_times(frames: int, rate: int = RATE) -> list[Fraction]:
    """The times of frames at a constant rate, in seconds."""
    return [Fraction(i, rate) for i in range(frames)]


def uneven_times(frames: int, ticks: int = 90_000, seed: int = 0) -> list[Fraction]:
    """The times of frames at a rate that varies from 18 to 45 per second, as a telephone records them."""
    gaps = np.random.default_rng(seed).integers(ticks // 45, ticks // 18, frames)
    return [Fraction(int(gaps[:i].sum()), ticks) for i in range(frames)]


@dataclass(frozen=True)
class Sound:
    """A tone of `hertz`, from `start` for `seconds`, in this codec and language."""

    codec: str = "aac"
    hertz: int = 440
    seconds: float = 4.0
    start: float = 0.0
    language: str = "eng"
    channels: int = 2
    per_second: int = SAMPLES_PER_SECOND


@dataclass(frozen=True)
class Clip:
    """What a film is like: its pictures, and how they are stored. `sounds` are its sound tracks."""

    pictures: Sequence[Pixels] = field(default_factory=lambda: pan(30))
    times: Sequence[Fraction] | None = None
    codec: str = "libx264"
    pixels: str = "yuv420p"
    options: dict[str, str] = field(default_factory=lambda: {"crf": "10", "preset": "fast"})
    matrix: int = BT601
    range: int = LIMITED
    transfer: int = UNSPECIFIED
    tagged: bool = True
    pixel_aspect: Fraction | None = None
    rotation: int = 0
    ticks: int = 90_000
    sounds: Sequence[Sound] = ()


def write_clip(path: Path, clip: Clip) -> Path:
    """Writes a film of that kind, in the container that the path's suffix names."""
    times = clip.times or even_times(len(clip.pictures))
    size = Size(*clip.pictures[0].shape[:2])
    with av.open(str(path), "w") as container:
        stream = container.add_stream(clip.codec, rate=RATE, options=dict(clip.options))
        stream.width, stream.height, stream.pix_fmt = size.width, size.height, clip.pixels
        context = stream.codec_context
        context.time_base = stream.time_base = Fraction(1, clip.ticks)
        if clip.tagged and not clip.pixels.startswith(("rgb", "bgr", "gbr")):
            context.colorspace, context.color_range = clip.matrix, clip.range
            context.color_trc = clip.transfer
        if clip.pixel_aspect:
            context.sample_aspect_ratio = clip.pixel_aspect
        if clip.rotation:
            stream.set_display_rotation(clip.rotation)
        tracks = [_add_sound(container, sound) for sound in clip.sounds]
        for picture, time in zip(clip.pictures, times, strict=True):
            for track in tracks:
                track(float(time) + 0.5)
            frame = _frame(picture, clip)
            frame.pts, frame.time_base = round(time * clip.ticks), Fraction(1, clip.ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for track in tracks:
            track(None)
    return path


def _frame(picture: Pixels, clip: Clip) -> Any:
    """A frame with the clip's pixel format; those of 16 bits are signals in BT.2020 already."""
    deep = picture.dtype == np.uint16
    frame = av.VideoFrame.from_ndarray(picture, "rgb48le" if deep else "rgb24")
    matrix = {BT709: 1, BT601: 5, BT2020: 9}[clip.matrix]
    converted = frame.reformat(format=clip.pixels, dst_colorspace=matrix, dst_color_range=clip.range)
    if not clip.tagged:
        converted.colorspace = UNSPECIFIED
    converted.color_trc = clip.transfer
    return converted


def _add_sound(container: Any, sound: Sound) -> Callable[[float | None], None]:
    """Adds a sound track; the function that is returned writes it up to a time, or to its end."""
    stream = container.add_stream(sound.codec, rate=sound.per_second)
    stream.codec_context.layout = "mono" if sound.channels == 1 else "stereo"
    stream.metadata["language"] = sound.language
    done = 0
    whole = round(sound.seconds * sound.per_second)

    def write(until: float | None) -> None:
        nonlocal done
        last = whole if until is None else min(whole, round((until - sound.start) * sound.per_second))
        while done < last:
            count = min(1024, whole - done)
            frame = _tone(sound, done, count)
            frame.pts = done + round(sound.start * sound.per_second)
            container.mux(stream.encode(frame))
            done += count
        if until is None:
            container.mux(stream.encode(None))

    return write


def _tone(sound: Sound, first: int, count: int) -> Any:
    times = (first + np.arange(count)) / sound.per_second
    wave = (np.sin(times * 2 * np.pi * sound.hertz) * 12_000).astype(np.int16)
    layout = "mono" if sound.channels == 1 else "stereo"
    frame = av.AudioFrame.from_ndarray(np.repeat(wave, sound.channels)[None], format="s16", layout=layout)
    frame.sample_rate, frame.time_base = sound.per_second, Fraction(1, sound.per_second)
    return frame


@dataclass(frozen=True)
class StoredPacket:
    """A packet of a file: its stream's kind and language, its time in seconds and its bytes."""

    kind: str
    language: str
    time: Fraction
    data: bytes = field(repr=False)
    is_key: bool


def packets(path: Path, kind: str) -> list[StoredPacket]:
    """All packets of the streams of one kind ("video" or "audio")."""
    with av.open(str(path)) as container:
        return [
            StoredPacket(
                packet.stream.type,
                packet.stream.metadata.get("language", ""),
                packet.pts * fraction(packet.time_base),
                bytes(packet),
                packet.is_keyframe,
            )
            for packet in container.demux()
            if packet.size and packet.stream.type == kind
        ]


def fraction(rational: Any) -> Fraction:
    return Fraction(rational.numerator, rational.denominator)


def decoded(path: Path) -> list[tuple[Fraction, Pixels]]:
    """The time of each frame and its pixels, as PyAV decodes them."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        tick = fraction(stream.time_base)
        return [(frame.pts * tick, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]


def samples(path: Path, track: int = 0) -> tuple[float, NDArray[np.float32]]:
    """The time in seconds at which a sound track begins, and its first channel from there on."""
    with av.open(str(path)) as container:
        parts = []
        start = None
        for frame in container.decode(audio=track):
            if start is None:
                start = float(frame.pts * fraction(frame.time_base))
            wave = frame.to_ndarray()
            if not frame.format.is_planar:
                wave = wave.reshape(-1, frame.layout.nb_channels).T
            scale = 32768 if wave.dtype == np.int16 else 1
            parts.append(wave[0].astype(np.float32) / scale)
        assert start is not None
        return start, np.concatenate(parts)


def remux(path: Path, output: Path, change: Callable[[int, Any], Any]) -> Path:
    """Copies a film's first stream packet by packet; `change` gets each with its number and may alter it or drop it."""
    with av.open(str(path)) as source, av.open(str(output), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
        kept = [packet for packet in source.demux(source.streams.video[0]) if packet.size]
        for number, packet in enumerate(kept):
            changed = change(number, packet)
            if changed is not None:
                changed.stream = stream
                container.mux(changed)
    return output
