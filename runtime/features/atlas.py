"""The folder of drawn features: their pictures, and an atlas of them as a page, a sheet of tiles and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ...models.arrays import Pixels
from ...models.decoding import DecodeError, decoded_json
from ...models.files import atomic_write, lock_alone
from ..bundle.bundle import Bundle
from ..errors import OutputError, PictureError
from ..image.files import read_picture
from ..image.formats.codec import encode_picture
from ..image.resizing import resize
from .drawing.draw import Drawn
from .feature import Feature
from .page import atlas_page
from .settings import FeatureSettings

JSON_NAME, SHEET_NAME, PAGE_NAME = "atlas.json", "atlas.jpg", "atlas.html"
_LOCK = ".atlas.lock"
# Side of a tile in pixels, at most, and of a sheet.
_TILE, _SHEET = 128, 16_000
_GREY = 128


@dataclass(frozen=True)
class Tile:
    """A drawn feature in an atlas: its channel, the files of its pictures and its loss, its channel's mean on it.

    After fewer `steps` than the atlas's settings have, it was interrupted.
    """

    layer: str
    channel: int
    label: str
    files: tuple[str, ...]
    loss: float
    steps: int

    @property
    def feature(self) -> Feature:
        return Feature(self.layer, self.channel, self.label)


@dataclass(frozen=True)
class AtlasRecord:
    """What an atlas was made with, and what is drawn of it.

    Its sheet has `columns` tiles in a row, `tile` pixels wide, in the order of `tiles`. `spectrum` is the SHA-256 of
    the picture that MACO's magnitudes are from.
    """

    bundle: str
    sha256: str
    settings: dict[str, Any]
    spectrum: str | None = None
    tile: int = 0
    columns: int = 0
    tiles: tuple[Tile, ...] = field(default=(), repr=False)


class Atlas:
    """A folder that features are drawn into. What is there already, drawn with the same settings, stays.

    Raises OutputError where the folder cannot be written, has features of other settings, or another call draws in it.
    """

    def __init__(
        self,
        folder: Path,
        bundle: Bundle,
        settings: FeatureSettings,
        spectrum: str | None = None,
        overwrite: bool = False,
    ) -> None:
        self.folder = folder
        self._settings, self._bundle, self._spectrum = settings, bundle, spectrum
        self._overwrite = overwrite
        self._tiles: dict[Feature, Tile] = {}
        self._replaced: dict[Feature, Tile] = {}  # by those that are drawn anew
        self._resources = ExitStack()

    def __enter__(self) -> Atlas:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock_alone(self.folder / _LOCK, self._resources)
            self._tiles = self._earlier_tiles()
        except BlockingIOError:
            self._resources.close()
            raise OutputError(
                f"another run is drawing in {self.folder}: wait for it, or choose another --output"
            ) from None
        except OSError as error:
            self._resources.close()
            raise error if isinstance(error, OutputError) else self._failure(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()
        with suppress(OSError):
            (self.folder / _LOCK).unlink()

    @property
    def is_empty(self) -> bool:
        return not self._tiles

    def missing(self, features: Iterable[Feature]) -> list[Feature]:
        """Returns the features that are not drawn yet, or only in part."""
        return [feature for feature in features if feature not in self._tiles or self._is_partial(feature)]

    def start_of(self, features: Iterable[Feature]) -> None:
        """Features start from noise."""

    def add(self, drawn: list[Drawn[Feature]]) -> None:
        """Writes the pictures of a batch, and notes them. Raises OutputError."""
        pictures: dict[Feature, list[Drawn[Feature]]] = {}
        for one in drawn:
            pictures.setdefault(one.subject, []).append(one)
        try:
            for feature, ones in pictures.items():
                files = tuple(self._write(one) for one in ones)
                loss = float(np.mean([one.loss for one in ones]))
                steps = ones[0].steps
                self._tiles[feature] = Tile(feature.layer, feature.channel, feature.label, files, loss, steps)
                self._remove_replaced(feature)
            self._write_record()
        except OSError as error:
            raise self._failure(error) from error

    def finish(self) -> Path:
        """Writes the sheet and the page of all features that are drawn; returns the page's path. Raises OutputError."""
        tiles = sorted(self._tiles.values(), key=self._place)
        columns = math.ceil(math.sqrt(len(tiles)))
        side = min(_TILE, self._settings.size, _SHEET // columns)
        sheet, _ = encode_picture(_sheet([self._read(tile) for tile in tiles], columns, side), ".jpg")
        record = self._record(side, columns, tuple(tiles))
        try:
            atomic_write(self.folder / SHEET_NAME, sheet)
            atomic_write(self.folder / JSON_NAME, _encoded(record))
            atomic_write(self.folder / PAGE_NAME, atlas_page(asdict(record), sheet).encode())
        except OSError as error:
            raise self._failure(error) from error
        return self.folder / PAGE_NAME

    def _remove_replaced(self, feature: Feature) -> None:
        """Removes the pictures that a feature had before and has no more, as with less diversity. Raises OSError."""
        if feature in self._replaced:
            for name in set(self._replaced[feature].files) - set(self._tiles[feature].files):
                (self.folder / name).unlink(missing_ok=True)

    def _is_partial(self, feature: Feature) -> bool:
        return self._tiles[feature].steps < self._settings.steps

    def _place(self, tile: Tile) -> tuple[int, int]:
        return self._bundle.metadata.layer_names.index(tile.layer), tile.channel

    def _earlier_tiles(self) -> dict[Feature, Tile]:
        """The tiles of an earlier call whose pictures are there, unless they are replaced.

        Raises OutputError and OSError.
        """
        path = self.folder / JSON_NAME
        if not path.exists():
            return {}
        try:
            found = decoded_json(AtlasRecord, path.read_text(encoding="utf-8"))
        except (DecodeError, ValueError):
            if self._overwrite:
                return {}
            raise OutputError(f"{path} is not that of an atlas: choose another --output") from None
        tiles, own = {tile.feature: tile for tile in found.tiles if self._is_there(tile)}, self._record()
        if self._overwrite:
            self._replaced = tiles
            return {}
        if (found.sha256, found.settings, found.spectrum) != (own.sha256, own.settings, own.spectrum):
            raise OutputError(
                f"{self.folder} has features of another bundle or other settings: choose another --output, or replace "
                "them with --overwrite"
            )
        return tiles

    def _is_there(self, tile: Tile) -> bool:
        return all(Path(name).name == name and (self.folder / name).is_file() for name in tile.files)

    def _write(self, drawn: Drawn[Feature]) -> str:
        number = f"-{drawn.number + 1}" if drawn.number else ""
        name = f"{drawn.subject.file_stem}{number}.png"
        atomic_write(self.folder / name, encode_picture(drawn.pixels, ".png")[0])
        return name

    def _read(self, tile: Tile) -> Pixels:
        try:
            return read_picture(self.folder / tile.files[0]).pixels
        except PictureError as error:
            raise OutputError(f"{error}; draw it again with --overwrite") from error

    def _record(self, side: int = 0, columns: int = 0, tiles: tuple[Tile, ...] | None = None) -> AtlasRecord:
        drawn = tuple(self._tiles.values()) if tiles is None else tiles
        settings = asdict(self._settings)
        return AtlasRecord(self._bundle.name, self._bundle.sha256, settings, self._spectrum, side, columns, drawn)

    def _write_record(self) -> None:
        atomic_write(self.folder / JSON_NAME, _encoded(self._record()))

    def _failure(self, error: OSError) -> OutputError:
        reason = error.strerror or str(error)
        return OutputError(f"cannot write features to {self.folder} ({reason}): make room or choose another --output")


def _encoded(record: AtlasRecord) -> bytes:
    return f"{json.dumps(asdict(record), indent=1)}\n".encode()


def _sheet(pictures: list[Pixels], columns: int, side: int) -> Pixels:
    """The pictures as tiles of a sheet, uint8 [height, width, 3]; transparent parts are grey."""
    rows = math.ceil(len(pictures) / columns)
    sheet = np.full((rows * side, columns * side, 3), _GREY, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = (number * side for number in divmod(place, columns))
        sheet[top : top + side, left : left + side] = _on_grey(resize(picture, side, side))
    return sheet


def _on_grey(pixels: Pixels) -> Pixels:
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return np.rint(pixels[..., :3] * alpha + _GREY * (1 - alpha)).astype(np.uint8)
