"""The request for a dream, and the folder that is made of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from .errors import StudioError
from .jobs.choices import Chosen
from .jobs.folder import FRAME, ORIGINAL, Folder
from .jobs.job import StudioJob
from .pictures.reading import Reader, Scale
from .pictures.uploads import Pictures, StudioPicture

_START, _MASK, _GUIDE = "shown.start.jpg", "dream.mask.png", "guide."
_MAX_IDENTIFIER = 100  # characters

Role = Literal["mask", "guide"]
_ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class JobRequest:
    """A request for a dream as the page sends it; `identifier` is the page's own.

    With `branch_of`, the files of that job, the parent, are used where they are named, since its uploads may have been
    removed, and where none are; `from_result` dreams its result. `without` are the roles whose files are named as None.
    """

    identifier: str = ""
    picture: str | None = None
    look: str | None = None
    bundle: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    mask: str | None = None
    guide: str | None = None
    branch_of: str | None = None
    from_result: bool = False
    without: frozenset[Role] = frozenset()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> JobRequest:
        """Reads the object of a request. Raises StudioError."""
        names = ("picture", "look", "bundle", "mask", "guide", "branch_of")
        found = {name: _text(data, name) for name in names}
        settings = data.get("settings") or {}
        if not isinstance(settings, dict):
            raise StudioError(422, "settings are an object of names and values", "settings")
        identifier = (_text(data, "request") or "")[:_MAX_IDENTIFIER]
        if not (found["picture"] or found["branch_of"]):
            raise StudioError(422, "choose a picture first", "picture")
        without = frozenset(role for role in _ROLES if role in data and not found[role])
        from_result = data.get("from_result") is True
        return cls(identifier, **found, settings=settings, from_result=from_result, without=without)

    def takes_picture_of(self, parent: StudioJob | None) -> bool:
        """Whether the parent's picture, or its result, is dreamed."""
        return parent is not None and self.picture in (None, parent.picture)

    def size(self, parent: StudioJob | None, pictures: Pictures) -> tuple[int, int]:
        """Returns the width and the height of the picture to dream. Raises StudioError."""
        if parent is None or not self.takes_picture_of(parent):
            picture = pictures.find(self.picture)
            return picture.width, picture.height
        is_result = self.from_result and parent.has_result
        return (parent.width, parent.height) if is_result else (parent.picture_width, parent.picture_height)

    def file_of(self, parent: StudioJob | None, role: Role) -> str | None:
        """Returns the name of the parent's file that is used in that role, if one is."""
        if parent is None or role in self.without:
            return None
        own, its, file = {
            "mask": (self.mask, parent.mask, parent.mask_file),
            "guide": (self.guide, parent.guide, parent.guide_file),
        }[role]
        return file if own in (None, its) else None

    def has_guide(self, parent: StudioJob | None) -> bool:
        return bool(self.guide or self.file_of(parent, "guide"))


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is None or isinstance(value, str):
        return value or None
    raise StudioError(422, f"{name} must be text", name)


class JobFiles:
    """Makes the folder of a new job, with files of its own. Raises StudioError and OSError."""

    def __init__(self, folder: Path, pictures: Pictures, reader: Reader, whole: Folder) -> None:
        self._folder, self._pictures, self._reader, self._whole = folder, pictures, reader, whole
        folder.mkdir(parents=True)

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def job(self, request: JobRequest, chosen: Chosen, parent: StudioJob | None) -> StudioJob:
        """Returns the new job, whose files are in its folder."""
        job = StudioJob(
            id=self._folder.name,
            name="",
            request=request.identifier,
            picture="",
            picture_file="",
            picture_width=0,
            picture_height=0,
            result="",
            bundle=chosen.model,
            initial=chosen.settings,
            settings=chosen.settings,
            look=chosen.look,
            branch_of=parent.id if parent else None,
            notices=(chosen.notice,) if chosen.notice else (),
        )
        self._take_picture(job, request, parent)
        self._take_mask(job, request, parent)
        self._take_guide(job, request, parent)
        job.result = f"{Path(job.picture_file).stem}-dream.png"
        job.steps = chosen.settings.steps * chosen.settings.octaves
        return job

    def _take_picture(self, job: StudioJob, request: JobRequest, parent: StudioJob | None) -> None:
        if parent is None or not request.takes_picture_of(parent):
            self._use(job, self._pictures.find(request.picture))
        elif request.from_result:
            if not parent.has_result:
                raise StudioError(409, f"{parent.name} has no result yet to dream on")
            with self._whole.result(parent).open("rb") as result:
                self._use(job, self._pictures.add(result, parent.result))
        else:
            job.picture, job.name, job.picture_file = parent.picture, parent.name, parent.picture_file
            job.picture_width, job.picture_height = parent.picture_width, parent.picture_height
            for name in (parent.picture_file, ORIGINAL, _START):
                self._copy(self._whole.of(parent) / name, name)
        self._copy(self._folder / _START, FRAME)

    def _use(self, job: StudioJob, picture: StudioPicture) -> None:
        if picture.is_mask:
            raise StudioError(422, f"{picture.name} is a mask: choose a picture", "picture")
        job.picture, job.name, job.picture_file = picture.id, picture.name, picture.file
        job.picture_width, job.picture_height = picture.width, picture.height
        self._copy(self._pictures.path(picture), picture.file)
        self._copy(self._pictures.preview(picture), ORIGINAL)
        self._copy(self._pictures.frame(picture), _START)

    def _take_mask(self, job: StudioJob, request: JobRequest, parent: StudioJob | None) -> None:
        """Writes the mask at the size of the picture."""
        if parent and (file := request.file_of(parent, "mask")):
            job.mask, source = parent.mask, self._whole.of(parent) / file
        elif request.mask:
            picture = self._pictures.find(request.mask)
            job.mask, source = picture.id, self._pictures.path(picture)
        else:
            return
        job.mask_file = _MASK
        self._reader.ask(Scale(source, self._folder / _MASK, job.picture_width, job.picture_height))

    def _take_guide(self, job: StudioJob, request: JobRequest, parent: StudioJob | None) -> None:
        if parent and (file := request.file_of(parent, "guide")):
            job.guide, job.guide_file = parent.guide, file
            self._copy(self._whole.of(parent) / file, file)
        elif request.guide:
            picture = self._pictures.find(request.guide)
            job.guide, job.guide_file = picture.id, f"{_GUIDE}{picture.file}"
            self._copy(self._pictures.path(picture), job.guide_file)

    def _copy(self, source: Path, name: str) -> None:
        """Makes a file of that name in the folder; it shares its bytes on the disk where that is possible."""
        target = self._folder / name
        with suppress(OSError):
            os.link(source, target)
            return
        shutil.copyfile(source, target)
