"""What can be fetched of a job's result: the picture in several formats, the record, the settings and a film."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from ...runtime.image.files import picture_of, read_picture
from ...runtime.image.formats.codec import encode_picture, encode_preview
from ...runtime.image.resizing import shrink
from ..errors import not_found
from .choices import settings_file
from .film import Reel
from .folder import Folder
from .job import PICTURE_FORMS, StudioJob

_THUMBNAIL = 320  # pixels, the longer side
_KINDS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "tiff": "image/tiff",
    "record": "application/json",
    "settings": "application/toml",
}
_FILM_KINDS = {"webm": "video/webm", "webp": "image/webp", "gif": "image/gif"}
_MAKING = threading.Lock()


@dataclass(frozen=True)
class Download:
    """A result: a file or bytes, and its media type."""

    name: str
    kind: str
    content: Path | bytes


def download(folder: Folder, job: StudioJob, name: str, reel: Reel) -> Download:
    """Returns the result of that name; makes it first if need be, which takes a while. Raises StudioError, DreamError
    and OSError."""
    form = next((form for form, known in job.result_names().items() if known == name), None)
    if form is None:
        raise not_found("result")
    picture = folder.result(job)
    if form == "film":
        return Download(name, _FILM_KINDS[job.film or ""], _film(picture.with_name(name), picture, reel))
    content: Path | bytes = picture.with_name(name)
    if form in PICTURE_FORMS and form != "png":
        read = read_picture(picture)
        content, _ = encode_picture(read.pixels, f".{form}", read.icc)
    elif form == "settings":
        content = settings_file(job.settings, job.bundle, picture.with_suffix(".toml")).encode()
    return Download(name, _KINDS[form], content)


def _film(path: Path, result: Path, reel: Reel) -> Path:
    with _MAKING:  # the second one who asks waits for the first one's
        if not path.is_file():
            reel.make(path, result)
    return path


def thumbnail_of(jpeg: bytes) -> bytes:
    """Returns a small JPEG of a frame."""
    return encode_preview(shrink(picture_of(jpeg, Path("frame.jpg")).pixels, _THUMBNAIL))
