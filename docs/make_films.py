"""Makes the contact sheets of docs/film.md and the short film of the README: `python docs/make_films.py [NAME...]`.

Every film is made from the example pictures by the commands `film`, `zoom` and `travel`. The source of a film is a
camera that moves over a picture. Needs the extra `video`; all of them take about ten minutes on two cores.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from onnxdream.models.arrays import Pixels, Size
from onnxdream.runtime.video.encoder import SegmentWriter
from onnxdream.runtime.video.formats import film_format
from onnxdream.runtime.video.joining import Segment, join
from onnxdream.runtime.video.reader import FilmReader

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "gallery"
FPS = 25
SIZE = Size(270, 480)
_THUMBNAIL = 256
_JPEG_QUALITY = 82

Camera = Callable[[Pixels, float], Pixels]


@dataclass(frozen=True)
class Film:
    """A film: its name, and the command that makes `{output}`, from `{source}` if a camera moves over a picture.

    The sheet shows `columns` frames of it, and those of the source above them.
    """

    name: str
    command: str
    photo: str = ""
    camera: Camera | None = None
    frames: int = 0
    columns: int = 6


def view(picture: Pixels, x: float, y: float, width: float) -> Pixels:
    """What a camera sees whose middle is at x, y, with a view of this width, all as shares of the picture's width."""
    side = picture.shape[1]
    scale = SIZE.width / (width * side)
    matrix = np.array([[scale, 0, SIZE.width / 2 - scale * x * side], [0, scale, SIZE.height / 2 - scale * y * side]])
    return cv2.warpAffine(
        picture, matrix, (SIZE.width, SIZE.height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT
    )


def pan(picture: Pixels, share: float) -> Pixels:
    """The camera goes from the left to the right."""
    return view(picture, 0.3 + 0.4 * share, 0.36, 0.58)


def approach(picture: Pixels, share: float) -> Pixels:
    """The camera comes nearer and goes away again, so that the end meets the beginning."""
    near = 0.5 - 0.5 * np.cos(2 * np.pi * share)
    return view(picture, 0.5 - 0.06 * near, 0.35 - 0.02 * near, 0.9 - 0.3 * near)


FILMS = (
    Film("film-creatures", "film {source} {output} --preset creatures", "rocket", pan, 60),
    Film("film-cat", "film {source} {output} --preset woodcut", "cat", approach, 36),
    Film("zoom", "zoom examples/cat.jpg {output} --preset creatures --seconds 3 --max-size 320", columns=6),
    Film(
        "zoom-out",
        "zoom examples/rocket.jpg {output} --preset eyes --zoom 0.97 --rotate 0.5 --seconds 2 --max-size 320",
    ),
    Film(
        "travel",
        "travel examples/rocket.jpg {output} --through creatures,woodcut,snakes,neon --seconds 12 --fps 6 "
        "--max-size 320",
        columns=8,
    ),
)
# The camera moves twice: what the dream has become by then goes on where it ends.
LOOP = Film("loop", "film {source} {output} --preset creatures --max-size 360", "cat", approach, 100)
_TURNS = 2


def main(names: list[str]) -> None:
    """Makes the sheets with these names, or all, and the loop."""
    with tempfile.TemporaryDirectory() as folder:
        for film in FILMS:
            if not names or film.name in names:
                made = make(film, Path(folder), ".mp4")
                rows = [made] if film.camera is None else [Path(folder) / f"{film.name}-source.mp4", made]
                write_sheet(rows, FOLDER / f"{film.name}.jpg", film.columns)
        if not names or LOOP.name in names:
            made = frames_of(make(LOOP, Path(folder), ".mp4"))
            write_clip(FOLDER / "loop.webp", made[-LOOP.frames // _TURNS :], Path(folder))


def make(film: Film, folder: Path, suffix: str) -> Path:
    """Runs the command of a film and returns its path."""
    source, output = folder / f"{film.name}-source.mp4", folder / f"{film.name}{suffix}"
    if film.camera:
        picture = cv2.cvtColor(cv2.imread(str(ROOT / "examples" / f"{film.photo}.jpg")), cv2.COLOR_BGR2RGB)
        turns = _TURNS if film is LOOP else 1
        write_clip(source, [film.camera(picture, turns * i / film.frames % 1) for i in range(film.frames)], folder)
    words = shlex.split(film.command.format(source=source, output=output))
    print("onnxdream", *words, flush=True)
    subprocess.run([sys.executable, "-m", "onnxdream", *words], check=True, cwd=ROOT)
    return output


def write_clip(path: Path, frames: list[Pixels], folder: Path) -> None:
    """Writes frames as a film of `FPS` frames per second; `folder` takes its segment for a while."""
    tick = Fraction(1, FPS)
    part = folder / f"{path.stem}-part{film_format(path).segment_suffix}"
    with SegmentWriter(part, film_format(path), Size(*frames[0].shape[:2]), tick) as writer:
        for number, frame in enumerate(frames):
            writer.add(frame, number * tick, tick)
    join([Segment(part, Fraction(0), len(frames))], path, film_format(path))


def frames_of(film: Path) -> list[Pixels]:
    """The frames of a film."""
    return [frame.pixels for frame in FilmReader(film) if frame.pixels is not None]


def write_sheet(films: list[Path], sheet: Path, columns: int) -> None:
    """Writes frames of films, at the same times, as rows of a picture."""
    rows = []
    for film in films:
        frames = frames_of(film)
        chosen = [frames[round(i * (len(frames) - 1) / (columns - 1))] for i in range(columns)]
        height = round(_THUMBNAIL * chosen[0].shape[0] / chosen[0].shape[1])
        rows.append(np.hstack([cv2.resize(f, (_THUMBNAIL, height), interpolation=cv2.INTER_AREA) for f in chosen]))
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    cv2.imwrite(str(sheet), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR), quality)


if __name__ == "__main__":
    main(sys.argv[1:])
