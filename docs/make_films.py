"""Makes the contact sheets of docs/film.md and the short film of the README: `python docs/make_films.py [NAME...]`.

Every film is made from the example pictures by the commands `film`, `zoom` and `travel`. The source of a film is a
camera that moves over a picture. Needs the extra `video`; all of them take about half an hour on two cores.
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
    Film("film-creatures", "film {source} {output} --preset creatures", "rocket", pan, 75),
    Film("film-cat", "film {source} {output} --preset woodcut", "cat", approach, 75),
    Film("zoom", "zoom examples/cat.jpg {output} --preset creatures --seconds 6 --max-size 480", columns=6),
    Film(
        "zoom-out",
        "zoom examples/rocket.jpg {output} --preset eyes --zoom 0.98 --rotate 0.5 --seconds 4 --max-size 480",
    ),
    Film(
        "travel",
        "travel examples/rocket.jpg {output} --through creatures,woodcut,snakes,neon --seconds 12 --max-size 480",
        columns=8,
    ),
)
LOOP = Film("loop", "film {source} {output} --preset creatures --max-size 400", "cat", approach, 60)


def main(names: list[str]) -> None:
    """Makes the sheets with these names, or all, and the loop."""
    with tempfile.TemporaryDirectory() as folder:
        for film in FILMS:
            if not names or film.name in names:
                made = make(film, Path(folder), ".mp4")
                rows = [made] if film.camera is None else [Path(folder) / f"{film.name}-source.mp4", made]
                write_sheet(rows, FOLDER / f"{film.name}.jpg", film.columns)
        if not names or LOOP.name in names:
            (FOLDER / "loop.webp").write_bytes(make(LOOP, Path(folder), ".webp").read_bytes())


def make(film: Film, folder: Path, suffix: str) -> Path:
    """Runs the command of a film and returns its path."""
    source, output = folder / f"{film.name}-source.mp4", folder / f"{film.name}{suffix}"
    if film.camera:
        picture = cv2.cvtColor(cv2.imread(str(ROOT / "examples" / f"{film.photo}.jpg")), cv2.COLOR_BGR2RGB)
        write_clip(source, [film.camera(picture, i / film.frames) for i in range(film.frames)])
    words = shlex.split(film.command.format(source=source, output=output))
    print("onnxdream", *words, flush=True)
    subprocess.run([sys.executable, "-m", "onnxdream", *words], check=True, cwd=ROOT)
    return output


def write_clip(path: Path, frames: list[Pixels]) -> None:
    """Writes frames as an .mp4 at `FPS` frames per second."""
    tick = Fraction(1, FPS)
    part = path.with_suffix(".part.mp4")
    with SegmentWriter(part, film_format(path), SIZE, tick) as writer:
        for number, frame in enumerate(frames):
            writer.add(frame, number * tick, tick)
    join([Segment(part, Fraction(0), len(frames))], path, film_format(path))


def write_sheet(films: list[Path], sheet: Path, columns: int) -> None:
    """Writes frames of films, at the same times, as rows of a picture."""
    rows = []
    for film in films:
        frames = [frame.pixels for frame in FilmReader(film) if frame.pixels is not None]
        chosen = [frames[round(i * (len(frames) - 1) / (columns - 1))] for i in range(columns)]
        height = round(_THUMBNAIL * chosen[0].shape[0] / chosen[0].shape[1])
        rows.append(np.hstack([cv2.resize(f, (_THUMBNAIL, height), interpolation=cv2.INTER_AREA) for f in chosen]))
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    cv2.imwrite(str(sheet), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR), quality)


if __name__ == "__main__":
    main(sys.argv[1:])
