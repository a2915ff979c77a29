"""How requests are read and answered: limits on what is read, files with their tags, and errors as lines."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response

from ...models.contract import BundleError
from ...models.errors import OnnxdreamError
from ...runtime.errors import OutputError, SettingsError
from ..errors import StudioError, disk_error, not_found
from ..jobs.choices import refusal
from ..pictures.uploads import MAX_BYTES

_MAX_JSON = 2**18
_MULTIPART = 2**16  # what a form takes besides its file
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}


async def json_object(request: Request) -> dict[str, Any]:
    """Returns the object that a request holds. Raises StudioError."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise StudioError(400, "the request is not JSON")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_JSON:
            raise StudioError(413, "the request is too large")
    try:
        data = json.loads(body)
        json.dumps(data, ensure_ascii=False).encode()  # half of a surrogate pair could not be sent back in an answer
    except (ValueError, RecursionError):
        raise StudioError(400, "the request is not JSON") from None
    if not isinstance(data, dict):
        raise StudioError(400, "the request is not an object")
    return data


def limited(request: Request) -> Request:
    """Returns the same request, which raises StudioError as soon as it is larger than a picture may be."""
    too_large = StudioError(413, f"the file has more than {MAX_BYTES // 2**20} MB: shrink the picture first")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_BYTES + _MULTIPART:
        raise too_large
    count = 0

    async def receive() -> MutableMapping[str, Any]:
        nonlocal count
        message = await request.receive()
        count += len(message.get("body", b""))
        if count > MAX_BYTES + _MULTIPART:
            raise too_large
        return message

    return Request(request.scope, receive)


async def file_response(request: Request, path: Path) -> Response:
    """Answers with a file of the package, which a browser keeps but asks for again each time."""
    stat = await asyncio.to_thread(path.stat)
    tag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
    headers = {"etag": tag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, media_type=_KINDS.get(path.suffix, "application/octet-stream"), headers=headers)


async def tagged_response(request: Request, tag: str, kind: str, make: Callable[[], bytes]) -> Response:
    """Answers with bytes that are made only if the browser does not have them under this tag."""
    headers = {"etag": f'"{tag}"', "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == f'"{tag}"':
        return Response(status_code=304, headers=headers)
    return Response(await asyncio.to_thread(make), media_type=kind, headers=headers)


def error_response(request: Request, error: Exception) -> Response:
    """Answers with what went wrong, in one line."""
    if isinstance(error, HTTPException):
        line = {404: "there is no such address", 405: "that is not possible here"}.get(error.status_code, error.detail)
        return _line(error.status_code, line)
    if isinstance(error, FormParserError):
        return _line(400, "the upload is damaged: send it again")
    if isinstance(error, ClientDisconnect):
        return _line(400, "the upload was cut short: send it again")
    if isinstance(error, SettingsError | BundleError):
        error = refusal(error)
    if isinstance(error, FileNotFoundError):
        error = not_found("file")
    if isinstance(error, StudioError):
        return _line(error.status, str(error), error.field)
    if isinstance(error, OutputError | OSError):
        error = disk_error(error)
        return _line(error.status, str(error))
    if isinstance(error, OnnxdreamError):
        return _line(422, str(error))
    return _line(500, "something unexpected went wrong: the terminal of the studio says more")


def on_loop_error(log: Callable[[str], None]) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Returns what an event loop does with errors of no request: that too many files are open is one line, once.

    For asyncio, it is a traceback for each connection that waits, again each second.
    """
    is_told = False

    def on_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal is_told
        if getattr(context.get("exception"), "errno", None) not in (errno.EMFILE, errno.ENFILE):
            loop.default_exception_handler(context)
        elif not is_told:
            is_told = True
            log("more connections than files may be open here: close some pages, or raise the limit, as with ulimit -n")

    return on_error


def _line(status: int, line: str, field: str | None = None) -> JSONResponse:
    return JSONResponse({"error": line, "field": field}, status, headers={"cache-control": "no-store"})
