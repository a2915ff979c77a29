"""How fast films are, what a frame's time goes to, and how fast PyTorch is (sections of films.py)."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import film_clips
import numpy as np
from device_case import make_case
from film_clips import Extent, clips
from film_quality import BUNDLE, LOOK, look
from film_report import Figure, at_most

from onnxdream.models.arrays import Pixels, Size
from onnxdream.runtime import Bundle, Sessions, Settings, dream
from onnxdream.runtime.ascent.ascent import Ascent
from onnxdream.runtime.film import output
from onnxdream.runtime.film.frames import coherence, shots
from onnxdream.runtime.film.frames.coherence import FilmDream
from onnxdream.runtime.film.frames.exposure import Exposure
from onnxdream.runtime.film.frames.flow import Motion
from onnxdream.runtime.film.request import parse_film
from onnxdream.runtime.film.run import FilmCallbacks, make_film
from onnxdream.runtime.image.processor import ImageProcessor
from onnxdream.runtime.provider.machine import usable_threads
from onnxdream.runtime.settings.schedule import largest_value
from onnxdream.runtime.video.encoder import SegmentWriter
from onnxdream.runtime.video.reader import FilmReader

_DECODING, _ASCENT = "decoding", "gradients and updates"
# The parts of a frame's work, and the functions that do it. None of them calls another.
_PARTS: dict[str, tuple[tuple[Any, str], ...]] = {
    "flow": ((coherence, "motion_between"),),
    "warping": ((Motion, "warped"), (Motion, "trust_at")),
    "exposure": ((coherence, "visibility"), (shots, "visibility"), (Exposure, "held")),
    "shots": ((shots, "change_between"), (shots, "_correlation")),
    _DECODING: ((FilmReader, "__iter__"),),
    "encoding": ((SegmentWriter, "add"), (SegmentWriter, "close"), (output, "join")),
    _ASCENT: ((Ascent, "run"),),
}
_PEER = Path(__file__).with_name("peer_film.py")


class Clock:
    """Adds up the seconds that functions take, for each part of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts what runs within as a part."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    @contextmanager
    def watching(self, name: str, owner: Any, attribute: str) -> Iterator[None]:
        """Counts all calls of a function or method as a part; those of an iterator count as long as each item takes."""
        original = getattr(owner, attribute)

        def timed(*given: Any, **more: Any) -> Any:
            with self.part(name):
                return original(*given, **more)

        def each(reader: Any) -> Iterator[Any]:
            items = original(reader)
            while True:
                with self.part(name):
                    item = next(items, None)
                if item is None:
                    return
                yield item

        setattr(owner, attribute, each if attribute == "__iter__" else timed)
        try:
            yield
        finally:
            setattr(owner, attribute, original)


def share(extent: Extent, folder: Path) -> list[Figure]:
    """Makes a film with the defaults of the command, and counts what its frames' time goes to."""
    clip = film_clips.parallax(extent.speed_size, extent.speed)
    source = clips.write_clip(folder / "speed.mp4", clips.Clip(clip))
    options = {"preset": LOOK, "max_size": max(extent.speed_size)}
    film = parse_film("film", source, folder / "speed-dream.mp4", options).film
    clock = Clock()
    ends: list[float] = []

    def on_frame(_: object) -> None:
        if not ends:  # what the first frame took does not count, except for the frames that were decoded ahead
            clock.seconds = {_DECODING: clock.seconds[_DECODING]}
        ends.append(time.perf_counter())

    started = time.perf_counter()
    with ExitStack() as watched:
        for name, functions in _PARTS.items():
            for owner, attribute in functions:
                watched.enter_context(clock.watching(name, owner, attribute))
        make_film(film, FilmCallbacks(lambda line: None, on_frame=on_frame))
    frames, seconds = len(clip) - 1, time.perf_counter() - ends[0]
    parts = {name: clock.seconds.get(name, 0.0) / seconds for name in _PARTS}
    beside = sum(parts.values()) - parts[_ASCENT]
    return [
        Figure("frames a second", f"{frames / seconds:.2f}"),
        Figure("seconds of the first frame", f"{ends[0] - started:.1f}"),
        *(Figure(name, f"{part:.1%}") for name, part in parts.items()),
        Figure("everything else", f"{1 - sum(parts.values()):.1%}"),
        at_most("flow, warping, exposure, shots and codec", beside, 0.2, "{:.1%}"),
    ]


def peers(extent: Extent, folder: Path, pytorch: Path) -> list[Figure]:
    """Times later frames of a film, and frames that onnxdream and PyTorch dream apart, one of each in turn."""
    bundle, settings = Bundle.built_in(BUNDLE), replace(look(), max_size=max(extent.speed_size))
    clip = film_clips.parallax(extent.speed_size, extent.rounds + 2)
    processor = ImageProcessor(clip[0], bundle.metadata, settings)
    _write_case(folder, clip, bundle, settings, processor.octaves)
    try:
        peer = Peer(pytorch, folder)
    except PeerError as error:
        return [Figure("skipped", str(error))]
    film, sessions = iter(FilmDream(bundle, settings).frames(clip)), Sessions(bundle)
    systems: dict[str, Callable[[Pixels, int], object]] = {
        "onnxdream, film": lambda frame, number: next(film),
        "onnxdream, frames apart": lambda frame, number: dream(frame, bundle, settings, sessions=sessions),
        "PyTorch, frames apart": lambda frame, number: peer.dream(number),
    }
    next(film)  # the first frame of the film, which gets the whole dream
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    with peer:
        for number, frame in enumerate(clip[1:], 1):
            for name, system in systems.items():
                started = time.perf_counter()
                system(frame, number)
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}  # the first of each warms up
    ratios = [b / a for a, b in zip(*(seconds[name][1:] for name in (*systems,)[::2]), strict=True)]
    return [
        *(Figure(f"{name}: frames a second", f"{1 / median:.3f}") for name, median in medians.items()),
        Figure("film / PyTorch, median of the rounds", f"{statistics.median(ratios):.2f} ×"),
    ]


def _write_case(folder: Path, clip: list[Pixels], bundle: Bundle, settings: Settings, octaves: list[Size]) -> None:
    """Writes the look's network, its loop and the frames, as the peer reads them."""
    height, width = clip[0].shape[:2]
    case = make_case(BUNDLE, (width, height), folder)
    network = case.folder / "forward.json"
    facts = json.loads(network.read_text())
    weights = dict(zip(bundle.metadata.layer_names, settings.weights_of(bundle.metadata.layer_names), strict=True))
    facts["layers"] = [layer for layer in facts["layers"] if weights[layer]]
    network.write_text(json.dumps(facts))
    np.save(folder / "frames.npy", np.stack(clip))
    loop = {
        "octaves": octaves,
        "steps": settings.steps,
        "step_size": largest_value(settings.step_size),
        "jitter": settings.jitter,
        "threads": usable_threads(),
    }
    (folder / "loop.json").write_text(json.dumps(loop))


class PeerError(RuntimeError):
    """PyTorch cannot take part."""


class Peer:
    """PyTorch's process, which is stopped (SIGSTOP, spinning threads included) unless it dreams. Raises PeerError."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._log = folder / "peer.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [str(python), str(_PEER), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._wait()

    def dream(self, number: int) -> None:
        """Dreams the frame of that number."""
        assert self._process.stdin
        self._process.send_signal(signal.SIGCONT)
        print(number, file=self._process.stdin, flush=True)
        self._wait()

    def _wait(self) -> None:
        assert self._process.stdout
        if not self._process.stdout.readline():
            reason = (self._log.read_text().strip().splitlines() or ["it has ended"])[-1]
            raise PeerError(f"{reason}: name a Python that has PyTorch and NumPy with --pytorch")
        self._process.send_signal(signal.SIGSTOP)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.kill()
        self._process.communicate()
