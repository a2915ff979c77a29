"""What films look like: whether they flicker, keep their exposure and find the cuts (sections of films.py)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise, repeat
from pathlib import Path

import cv2
import film_clips
import numpy as np
from film_clips import Extent
from film_report import Figure, at_least, at_most, exactly
from numpy.typing import NDArray

from onnxdream.models.arrays import Floats, Pixels
from onnxdream.runtime import Bundle, Sessions, Settings, Step, dream, preset
from onnxdream.runtime.bundle.objective import Objective
from onnxdream.runtime.film.frames.coherence import FilmDream
from onnxdream.runtime.film.settings import Coherence
from onnxdream.runtime.provider.machine import Machine, usable_threads

BUNDLE, LOOK = "lite0", "creatures"
_LAST = 10  # frames of a film that are taken for its end
# Sundaram, Brox, Keutzer 2010, eq. 5.
_DISAGREEMENT_SHARE, _DISAGREEMENT = 0.01, 0.5


def look() -> Settings:
    """Returns the look that is measured, with the range of values that films have."""
    return replace(preset(LOOK), normalization="backbone")


class Gradients:
    """Counts the gradients that are followed by an update, as gradients of the largest octave's pixels."""

    def __init__(self, settings: Settings) -> None:
        self._steps, self._pixels, self._largest = settings.steps, 0, 1

    def on_step(self, step: Step) -> None:
        """Receives a step of a dream."""
        self._largest = max(self._largest, step.size.pixels)
        if step.octave_step < self._steps:  # otherwise it is the evaluation of the result
            self._pixels += step.size.pixels

    @property
    def count(self) -> float:
        return self._pixels / self._largest


def flicker(extent: Extent, folder: Path) -> list[Figure]:
    """Compares films with frames that are dreamed apart."""
    clips = {
        "pan": film_clips.pan(extent.size, extent.moving),
        "parallax": film_clips.parallax(extent.size, extent.moving),
    }
    return [figure for name, clip in clips.items() for figure in _against_frames_apart(name, clip)]


def _against_frames_apart(name: str, clip: list[Pixels]) -> list[Figure]:
    bundle, settings = Bundle.built_in(BUNDLE), look()
    sessions = Sessions(bundle)
    together, alone = Gradients(settings), Gradients(settings)
    film = [one.pixels for one in FilmDream(bundle, settings, sessions=sessions).frames(clip, together.on_step)]
    apart = [dream(frame, bundle, settings, alone.on_step, sessions=sessions).picture for frame in clip]
    errors = {key: warping_error(clip, frames) for key, frames in (("film", film), ("apart", apart), ("source", clip))}
    losses = {key: mean_loss(frames, sessions, settings) for key, frames in (("film", film), ("apart", apart))}
    return [
        Figure(f"{name}: warping error of the source", f"{errors['source']:.5f}"),
        Figure(f"{name}: warping error, frames apart", f"{errors['apart']:.5f}"),
        Figure(f"{name}: warping error, film", f"{errors['film']:.5f}"),
        at_most(f"{name}: film / apart", errors["film"] / errors["apart"], 0.4, "{:.2f} ×"),
        Figure(f"{name}: mean loss, frames apart", f"{losses['apart']:.2f}"),
        at_least(f"{name}: mean loss, film / apart", losses["film"] / losses["apart"], 0.95, "{:.2f} ×"),
        Figure(f"{name}: gradients a frame, apart", f"{alone.count / len(clip):.1f}"),
        at_most(f"{name}: gradients, film / apart", together.count / alone.count, 0.5, "{:.2f} ×"),
    ]


def warping_error(source: Sequence[Pixels], frames: Sequence[Pixels]) -> float:
    """Returns the mean square difference, in units of the input range, of each frame and the one before it.

    The one before it is warped along the flow of the source, and only the pixels count where that can be trusted.
    """
    errors = []
    for number in range(1, len(source)):
        flow, is_trusted = _flow_between(source[number], source[number - 1])
        difference = (frames[number].astype(np.float32) - _warped(frames[number - 1], flow)) / 127.5
        errors.append(float((difference**2).mean(axis=2)[is_trusted].mean()))
    return float(np.mean(errors))


def _flow_between(frame: Pixels, earlier: Pixels) -> tuple[Floats, NDArray[np.bool_]]:
    """Returns where each pixel was, and whether both directions of the flow agree there and it was in the picture."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    now, before = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (frame, earlier))
    backward, forward = (np.array(dis.calc(*pair, None)) for pair in ((now, before), (before, now)))
    there = _warped(forward, backward)
    lengths = (backward**2).sum(2) + (there**2).sum(2)
    agrees = ((backward + there) ** 2).sum(2) < _DISAGREEMENT_SHARE * lengths + _DISAGREEMENT
    x, y = _places(backward)
    height, width = now.shape
    return backward, agrees & (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def _warped(frame: NDArray[np.uint8] | NDArray[np.uint16] | Floats, flow: Floats) -> Floats:
    return np.asarray(cv2.remap(frame.astype(np.float32), *_places(flow), cv2.INTER_LINEAR))


def _places(flow: Floats) -> tuple[Floats, Floats]:
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    return x + flow[..., 0], y + flow[..., 1]


def mean_loss(frames: Sequence[Pixels], sessions: Sessions, settings: Settings) -> float:
    """Returns the mean of the weighted losses of finished frames."""
    height, width = frames[0].shape[:2]
    session = sessions.get(height, width, Machine("cpu", usable_threads()))
    weights = np.array(settings.weights_of(sessions.bundle.metadata.layer_names), np.float32)
    images = (np.ascontiguousarray(frame.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1) for frame in frames)
    return float(np.mean([session.evaluate(image, Objective(weights))[0] @ weights for image in images]))


def frozen(extent: Extent, folder: Path) -> list[Figure]:
    """Dreams one photograph again and again, and compares the frames with the first."""
    clip = repeat(film_clips.still(extent.size), extent.still)
    sessions = Sessions(Bundle.built_in(BUNDLE))
    frames = [one.pixels for one in FilmDream(sessions.bundle, look(), sessions=sessions).frames(clip)]
    first, last = (mean_loss(some, sessions, look()) for some in (frames[:1], frames[-_LAST:]))
    moves = [np.abs(one.astype(np.float32) - other).mean() for one, other in pairwise(frames[-_LAST:])]
    means = np.array([frame.mean(axis=(0, 1)) for frame in frames])
    contrasts = np.array([frame.std() for frame in frames])
    return [
        Figure("frames", str(len(frames))),
        at_most("mean, largest deviation in levels", np.abs(means.mean(1) - means[0].mean()).max(), 1.0),
        at_most("mean of a colour, largest deviation in levels", np.abs(means - means[0]).max(), 1.0),
        at_most("standard deviation, largest deviation", np.abs(contrasts / contrasts[0] - 1).max(), 0.05, "{:.1%}"),
        Figure(f"loss of the last {_LAST} frames / the first", f"{last / first:.2f} ×"),
        Figure("difference of a frame and the next, in levels", f"{np.mean(moves):.2f}"),
    ]


def cuts(extent: Extent, folder: Path) -> list[Figure]:
    """Counts the shots that are found and should be, and those that should not."""
    clip, expected = film_clips.cuts(extent.size, extent.cuts)
    found = resets(clip)
    hits = len({*found} & {*expected})
    faded, black = film_clips.fade(extent.size, extent.moving)
    after_black = resets(faded)
    return [
        Figure("cuts", f"{extent.cuts} in {len(clip)} frames"),
        at_least("recall", hits / len(expected), 0.95),
        at_least("precision", hits / max(1, len(found)), 0.95),
        exactly("new shots in a strobe light", len(resets(film_clips.strobe(extent.size, 3 * extent.moving))), 0),
        exactly("new shots in a fast pan", len(resets(film_clips.fast_pan(extent.size, 2 * extent.moving))), 0),
        exactly("new shots in a fade to black and up", len(after_black), 1),
        exactly("they begin as the picture comes back", all(begin >= black.stop for begin in after_black), True),
    ]


def resets(clip: Iterable[Pixels]) -> list[int]:
    """Returns the numbers of the frames that begin a shot, without the first, of a film with hardly any steps."""
    settings = replace(look(), steps=1, octaves=1)
    dreamed = FilmDream(Bundle.built_in(BUNDLE), settings, Coherence(steps_next=1)).frames(clip)
    return [number for number, frame in enumerate(dreamed) if frame.begins_shot and number]
