"""The pictures that came to the studio: each in a folder of its own, until newer ones need its place."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import unicodedata
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from ...models.decoding import DecodeError, decoded_json
from ...models.files import atomic_file, atomic_write
from ..errors import StudioError, not_found
from ..jobs.folder import FRAME, is_id, new_id
from .reading import MASK_PREVIEW, PREVIEW, Look, Reader

MAX_BYTES = 64 * 2**20
# Jobs have copies of their own.
_MAX_PICTURES = 100
_MAX_NAME = 60  # characters
_MAX_NAME_BYTES = 200  # so that a file system takes the names of all results, too
_UNKNOWN = "picture"
# Names that Windows keeps for devices.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


@dataclass(frozen=True)
class StudioPicture:
    """A picture that can be dreamed: its name for users, the name of its file, and its size in pixels, upright."""

    id: str
    name: str
    file: str
    width: int
    height: int
    notices: tuple[str, ...]
    is_mask: bool
    created: float

    def __post_init__(self) -> None:
        """Raises DecodeError where its file is not in its folder."""
        if os.path.basename(self.file) != self.file:
            raise DecodeError("the file of a picture is not a name")

    def facts(self) -> dict[str, object]:
        """Returns what the page knows of the picture."""
        shown = {name: value for name, value in asdict(self).items() if name in ("id", "name", "width", "height")}
        preview = f"/api/pictures/{self.id}.{'png' if self.is_mask else 'jpg'}"
        return {**shown, "notices": list(self.notices), "picture": preview}


class Pictures:
    """The folder of the pictures. Its methods may take a while, and any thread may call them."""

    def __init__(self, folder: Path, reader: Reader) -> None:
        self._folder, self._reader = folder, reader

    def add(self, source: IO[bytes], name: str, is_mask: bool = False) -> StudioPicture:
        """Keeps the picture of an open file, of which this process never has the whole in its memory.

        Raises StudioError where it cannot be read, and OSError.
        """
        stem = clean_stem(name)
        folder = self._folder / new_id()
        folder.mkdir(parents=True)
        try:
            path = folder / "original"
            with atomic_file(path) as kept:
                shutil.copyfileobj(source, kept)
            if not path.stat().st_size:
                raise StudioError(415, f"{stem} is empty: copy it again from its source")
            seen = self._reader.ask(Look(path, _shown_name(name, stem), is_mask))
            file = f"{stem}{seen.suffix}"
            path.rename(folder / file)
            notices = tuple(seen.notices)
            picture = StudioPicture(folder.name, stem, file, seen.width, seen.height, notices, is_mask, time.time())
            atomic_write(folder / "picture.json", json.dumps(asdict(picture)).encode())
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._make_room(folder)
        return picture

    def find(self, identifier: object) -> StudioPicture:
        """Returns the picture of that identifier. Raises StudioError."""
        if not isinstance(identifier, str) or not is_id(identifier):
            raise not_found("picture")
        try:
            return self._read(self._folder / identifier)
        except (OSError, DecodeError):
            raise not_found("picture") from None

    def path(self, picture: StudioPicture) -> Path:
        """Returns the path of a picture's file."""
        return self._folder / picture.id / picture.file

    def preview(self, picture: StudioPicture) -> Path:
        """Returns the path of the file that a browser can show."""
        return self._folder / picture.id / (MASK_PREVIEW if picture.is_mask else PREVIEW)

    def frame(self, picture: StudioPicture) -> Path:
        """Returns the path of the picture as the first frame of its dream."""
        return self._folder / picture.id / FRAME

    def clean(self) -> None:
        """Removes what a studio that was killed has left half made."""
        for folder in (path for path in self._folder.iterdir() if is_id(path.name)):
            with suppress(OSError):
                if not (folder / "picture.json").is_file():
                    shutil.rmtree(folder, ignore_errors=True)

    def _read(self, folder: Path) -> StudioPicture:
        return decoded_json(StudioPicture, (folder / "picture.json").read_text(encoding="utf-8"))

    def _make_room(self, newest: Path) -> None:
        """Removes the oldest pictures if there are too many; never the newest, whatever the clock says."""
        found = []
        for folder in (path for path in self._folder.iterdir() if is_id(path.name) and path != newest):
            with suppress(OSError):
                found.append(((folder / "picture.json").stat().st_mtime, folder))
        for _, folder in sorted(found)[: -_MAX_PICTURES + 1]:
            (folder / "picture.json").unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)


def clean_stem(name: str) -> str:
    """Returns the stem of a file's name without anything that could be more than a name."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    stem = last.rpartition(".")[0] if "." in last else last
    letters = "".join(one if one.isalnum() or one in " -_" else "-" for one in stem)
    short = re.sub(r"-{2,}", "-", letters)[:_MAX_NAME].encode()[:_MAX_NAME_BYTES]
    cleaned = short.decode(errors="ignore").strip(" -_")
    return _UNKNOWN if not cleaned or _DEVICES.fullmatch(cleaned) else cleaned


def _shown_name(name: str, stem: str) -> str:
    """The name in messages: the cleaned one with the suffix that its sender gave it."""
    suffix = re.search(r"\.[A-Za-z0-9]{1,5}$", name)
    return stem + (suffix[0] if suffix else "")
