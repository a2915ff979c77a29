"""Films as files: their sound and times, their memory, and whether they can be continued (sections of films.py).

`python benchmarks/film_files.py FILM OUTPUT` dreams a film with hardly any steps and prints the memory of this process
at every 50th frame, in bytes, as JSON.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import film_clips
from film_clips import Extent, clips
from film_report import Figure, at_most, exactly

from onnxdream.models.arrays import Size
from onnxdream.runtime.errors import RecordError
from onnxdream.runtime.film.output import FilmOutput, record_path
from onnxdream.runtime.film.parts import parts_folder, unfinished_record
from onnxdream.runtime.film.record import FilmRecord, read_film_record
from onnxdream.runtime.film.request import parse_film
from onnxdream.runtime.film.run import FilmCallbacks, make_film

_COMMAND = (sys.executable, "-m", "onnxdream.cli", "film")
# As little dreaming as there can be.
_FEW_STEPS = {"preset": "creatures", "steps": 1, "octaves": 1, "steps_next": 1, "max_size": 128}
_SOME_STEPS = {**_FEW_STEPS, "steps": 3, "octaves": 2, "steps_next": 3}
# For each suffix, the source's sound, and by how many seconds a time may differ.
_SOUNDS = {".mp4": ("aac", 0.0), ".webm": ("libopus", 0.001), ".gif": ("aac", 0.01)}
_SOUND_SIZE, _MEMORY_SIZE, _RESUME_SIZE = Size(48, 64), Size(96, 128), Size(72, 96)
_EVERY = 50  # frames after which the memory is measured
_SHOWN = (100, 500, 1000, 1500, 2000)
_KILLS = (2, 5)  # finished segments at which a run is killed
_POLL_SECONDS = 0.005


def sound(extent: Extent, folder: Path) -> list[Figure]:
    """Dreams a film with sound and a rate that varies into each kind of film, and compares packets and times."""
    return [figure for suffix in _SOUNDS for figure in _sound_of(suffix, extent, folder)]


def _sound_of(suffix: str, extent: Extent, folder: Path) -> list[Figure]:
    codec, tolerance = _SOUNDS[suffix]
    times = clips.uneven_times(extent.sound)
    tone = clips.Sound(codec, seconds=float(times[-1]))
    clip = clips.Clip(film_clips.there_and_back(_SOUND_SIZE, extent.sound), times, sounds=[tone])
    source, target = clips.write_clip(folder / f"{codec}.mp4", clip), folder / f"sound{suffix}"
    _run(*_COMMAND, source, target, *_words(_FEW_STEPS))
    figures = _compared_times(suffix, _times(source, "video"), _times(target, "video"), tolerance)
    if suffix != ".gif":
        before, after = ([packet.data for packet in clips.packets(file, "audio")] for file in (source, target))
        kept = sum(one == other for one, other in zip(before, after, strict=False))
        figures.append(exactly(f"{suffix}: packets of sound kept", kept, len(before)))
        figures += _compared_times(f"{suffix}, sound", _times(source, "audio"), _times(target, "audio"), tolerance)
    return figures


def _times(file: Path, kind: str) -> list[Fraction]:
    return sorted(packet.time for packet in clips.packets(file, kind))


def _compared_times(name: str, before: list[Fraction], after: list[Fraction], tolerance: float) -> list[Figure]:
    """Figures on the times of packets; an error that adds up shows in the last tenth."""
    errors = [abs(float(one - other)) for one, other in zip(before, after, strict=False)]
    last = errors[-max(1, len(errors) // 10) :]
    return [
        exactly(f"{name}: packets", len(after), len(before)),
        at_most(f"{name}: largest error of a time", 1e3 * max(errors), 1e3 * tolerance, "{:.2f} ms"),
        at_most(f"{name}: the same, last tenth", 1e3 * max(last), 1e3 * tolerance, "{:.2f} ms"),
    ]


def memory(extent: Extent, folder: Path) -> list[Figure]:
    """Measures the memory of a process that makes a long film."""
    frames = film_clips.there_and_back(_MEMORY_SIZE, extent.memory)
    source = clips.write_clip(folder / "long.mp4", clips.Clip(frames))
    printed = _run(sys.executable, __file__, source, folder / "long-dream.mp4")
    megabytes = {int(frame): size / 1e6 for frame, size in json.loads(printed).items()}
    first = megabytes[_EVERY]
    return [
        *(
            Figure(f"at frame {frame}", f"{megabytes[frame]:.1f} MB")
            for frame in (_EVERY, *_SHOWN)
            if frame in megabytes
        ),
        at_most(f"largest after frame {_EVERY}, above that", max(megabytes.values()) / first - 1, 0.05, "{:.1%}"),
        at_most(f"smallest after frame {_EVERY}, below that", 1 - min(megabytes.values()) / first, 0.05, "{:.1%}"),
    ]


def _resident_bytes() -> int:
    return 1024 * int(re.findall(r"VmRSS:\s*(\d+) kB", Path("/proc/self/status").read_text())[0])


def _hashes(record: FilmRecord) -> list[str]:
    """Those of all segments, which begin anew with each shot."""
    return [segment.hash for segment in record.segments]


def _measure_memory(source: Path, target: Path) -> dict[int, int]:
    """Dreams a film; returns the memory of this process at every 50th frame, in bytes."""
    count, found = 0, {}

    def on_frame(_: object) -> None:
        nonlocal count
        count += 1
        if count % _EVERY == 0:
            found[count] = _resident_bytes()

    film = parse_film("film", source, target, _FEW_STEPS).film
    make_film(film, FilmCallbacks(lambda line: None, on_frame=on_frame))
    return found


def resume(extent: Extent, folder: Path) -> list[Figure]:
    """Kills a run twice, continues it each time, and compares the film with one that was made without a break."""
    frames, _ = film_clips.cuts(_RESUME_SIZE, 8)
    source = clips.write_clip(folder / "shots.mp4", clips.Clip(frames))
    unbroken, broken = folder / "unbroken.mp4", folder / "broken.mp4"
    parts = parts_folder(broken)
    first, second = (*_COMMAND, source, broken, *_words(_SOME_STEPS)), (*_COMMAND, "--resume", parts)
    killed = [_kill_at(count, parts, words) for count, words in zip(_KILLS, (first, second), strict=True)]
    with _kept_parts():
        for request in (
            parse_film("film", None, None, {"resume": parts}),
            parse_film("film", source, unbroken, _SOME_STEPS),
        ):
            make_film(request.film, FilmCallbacks(lambda line: None))
    one, other = (read_film_record(record_path(film)) for film in (broken, unbroken))
    segments = [segment.file for segment in other.segments]
    same = sum((parts / name).read_bytes() == (parts_folder(unbroken) / name).read_bytes() for name in segments)
    return [
        Figure("killed after frames", ", ".join(map(str, killed))),
        exactly("all frames are equal before they are encoded", _hashes(one) == _hashes(other), True),
        exactly("segments that are equal, byte for byte", same, len(segments)),
        exactly("film is equal, byte for byte", broken.read_bytes() == unbroken.read_bytes(), True),
    ]


def _kill_at(count: int, parts: Path, words: tuple[object, ...]) -> int:
    """Starts a command and kills it when `count` segments are finished; returns the frames in them."""
    with subprocess.Popen([*map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while (record := _record_in(parts)) is None or len(record.segments) < count:
            if process.poll() is not None:
                raise RuntimeError("the film was finished before it could be killed")
            time.sleep(_POLL_SECONDS)
        process.kill()
    return record.frames


def _record_in(parts: Path) -> FilmRecord | None:
    try:
        return read_film_record(unfinished_record(parts))
    except RecordError:  # it is not there yet
        return None


@contextmanager
def _kept_parts() -> Iterator[None]:
    """Keeps the segments of films that are finished."""
    remove = FilmOutput._remove_folder
    FilmOutput._remove_folder = lambda self: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        FilmOutput._remove_folder = remove  # type: ignore[method-assign]


def _words(options: dict[str, object]) -> list[str]:
    """Options as the words of a command line."""
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def _run(*words: object) -> str:
    """Runs a command and returns what it prints. Raises RuntimeError with its last line if it fails."""
    finished = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError((finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"])[-1])
    return finished.stdout


if __name__ == "__main__":
    print(json.dumps(_measure_memory(*map(Path, sys.argv[1:3]))))
