"""The studio's addresses: each reads its request, asks the studio, and answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from python_multipart.exceptions import FormParserError
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from ...models.errors import OnnxdreamError
from ...runtime.provider.machine import Machine, threads_of
from ..errors import StudioError, not_found
from ..jobs.downloads import download, thumbnail_of
from ..jobs.estimate import estimate
from ..jobs.folder import ORIGINAL
from ..jobs.job import StudioJob
from ..pictures.reading import MAX_PIXELS
from ..pictures.uploads import MAX_BYTES, StudioPicture
from ..requests import JobRequest
from ..studio import MAX_QUEUED, Studio
from . import catalogue
from .live import Hub
from .serving import error_response, file_response, json_object, limited, tagged_response

LIMITS = {"bytes": MAX_BYTES, "pixels": MAX_PIXELS, "queue": MAX_QUEUED}
_ROLES = ("picture", "guide", "mask")


class Addresses:
    """The handlers of all addresses, on a studio that `make` makes when the server starts."""

    def __init__(self, make: Callable[[Hub], Studio]) -> None:
        self._make = make
        self._hub = Hub()
        self._studio: Studio

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._studio = self._hub.studio = self._make(self._hub)
        try:
            self._studio.load()
            warming = asyncio.create_task(asyncio.to_thread(self._catalogue))
            yield
            await warming
        finally:
            await self._studio.close()

    def app(self) -> Starlette:
        """Returns the application."""
        handled = (StudioError, OnnxdreamError, OSError, HTTPException, FormParserError, ClientDisconnect, Exception)
        return Starlette(
            routes=self._routes(),
            lifespan=self.lifespan,
            exception_handlers=dict.fromkeys(handled, _answer_error),
        )

    def _routes(self) -> list[Route | WebSocketRoute]:
        job = "/api/jobs/{job}"
        return [
            Route("/", self.index),
            Route("/static/{name:path}", self.static),
            Route("/api/catalogue", self.catalogue),
            Route("/api/looks/{name}", self.look_tile),
            Route("/api/atlases/{bundle}/{name}", self.atlas),
            Route("/api/samples/{name}", self.sample),
            Route("/api/samples/{name}", self.take_sample, methods=["POST"]),
            Route("/api/pictures", self.add_picture, methods=["POST"]),
            Route("/api/pictures/{name}", self.picture),
            Route("/api/estimate", self.estimate, methods=["POST"]),
            Route("/api/jobs", self.jobs),
            Route("/api/jobs", self.create, methods=["POST"]),
            Route(job, self.job),
            Route(job, self.change, methods=["PATCH"]),
            Route(job, self.remove, methods=["DELETE"]),
            Route(f"{job}/frame.jpg", self.frame),
            Route(f"{job}/original.jpg", self.original),
            Route(f"{job}/thumbnail.jpg", self.thumbnail),
            Route(f"{job}/{{action:str}}", self.act, methods=["POST"]),
            Route(f"{job}/{{name:str}}", self.result),
            WebSocketRoute("/api/live", self.live),
        ]

    async def index(self, request: Request) -> Response:
        return await file_response(request, catalogue.PAGE / "index.html")

    async def static(self, request: Request) -> Response:
        files = {path.relative_to(catalogue.PAGE).as_posix(): path for path in catalogue.PAGE.rglob("*.*")}
        return await file_response(request, _known(files, request.path_params["name"], "file"))

    async def catalogue(self, request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self._catalogue), headers={"cache-control": "no-cache"})

    def _catalogue(self) -> dict[str, Any]:
        machine = self._studio.machine
        provider = f"{machine.provider_text} ({machine.threads} threads)" if machine else "starting"
        return catalogue.catalogue(self._studio.chooser, provider, LIMITS)

    async def look_tile(self, request: Request) -> Response:
        files = {path.name: path for path in catalogue.LOOKS.glob("*.webp")}
        return await file_response(request, _known(files, request.path_params["name"], "look"))

    async def atlas(self, request: Request) -> Response:
        bundle, name = request.path_params["bundle"], request.path_params["name"]
        sheet = await asyncio.to_thread(catalogue.atlas_sheet, bundle, name.removesuffix(".webp"))
        if sheet is None:
            raise not_found("atlas")
        return await file_response(request, sheet)

    async def sample(self, request: Request) -> Response:
        files = {path.name: path for path in catalogue.SAMPLES.glob("*.jpg")}
        return await file_response(request, _known(files, request.path_params["name"], "sample"))

    async def take_sample(self, request: Request) -> Response:
        files = {path.stem: path for path in catalogue.SAMPLES.glob("*.jpg")}
        path = _known(files, request.path_params["name"], "sample")

        def taken() -> StudioPicture:
            with path.open("rb") as file:
                return self._studio.pictures.add(file, path.name)

        picture = await asyncio.to_thread(taken)
        return JSONResponse(picture.facts(), 201)

    async def add_picture(self, request: Request) -> Response:
        async with limited(request).form(max_files=1, max_fields=4, max_part_size=1024) as form:
            file, role = form.get("file"), form.get("role", "picture")
            if not isinstance(file, UploadFile):
                raise StudioError(400, "the form has no file: send a picture")
            if role not in _ROLES:
                raise StudioError(400, f"a picture's role is {', '.join(_ROLES)}")
            add = self._studio.pictures.add
            picture = await asyncio.to_thread(add, file.file, file.filename or "", role == "mask")
        return JSONResponse(picture.facts(), 201)

    async def picture(self, request: Request) -> Response:
        picture = self._studio.pictures.find(Path(request.path_params["name"]).stem)
        return await file_response(request, self._studio.pictures.preview(picture))

    async def estimate(self, request: Request) -> Response:
        studio, asked = self._studio, JobRequest.of(await json_object(request))
        parent = studio.find(asked.branch_of) if asked.branch_of else None

        def estimated() -> dict[str, Any]:
            width, height = asked.size(parent, studio.pictures)
            chosen = studio.chooser.choose(asked.look, asked.bundle, asked.settings, asked.has_guide(parent))
            machine = studio.machine or Machine("cpu", threads_of(studio.chooser.execution))
            return estimate(chosen, width, height, machine, studio.speeds)

        return JSONResponse(await asyncio.to_thread(estimated))

    async def jobs(self, request: Request) -> Response:
        return JSONResponse({"jobs": [job.facts(with_losses=False) for job in self._studio.newest_first()]})

    async def create(self, request: Request) -> Response:
        job, is_new = await self._studio.create(JobRequest.of(await json_object(request)))
        return JSONResponse(job.facts(), 201 if is_new else 200)

    async def job(self, request: Request) -> Response:
        return JSONResponse(self._job(request).facts())

    async def change(self, request: Request) -> Response:
        data = await json_object(request)
        return JSONResponse(self._studio.change(request.path_params["job"], data.get("settings") or {}).facts())

    async def remove(self, request: Request) -> Response:
        self._studio.remove(request.path_params["job"])
        return Response(status_code=204)

    async def act(self, request: Request) -> Response:
        studio = self._studio
        actions = {"pause": studio.pause, "resume": studio.resume, "step": studio.take_step, "stop": studio.stop}
        action = actions.get(request.path_params["action"])
        if action is None:
            raise not_found("action")
        return JSONResponse(action(request.path_params["job"]).facts())

    async def frame(self, request: Request) -> Response:
        job = self._job(request)
        after = request.query_params.get("after", "0")
        newest = await self._studio.newest_frame(job)
        self._hub.polled(job.id)
        if newest is None or (after.isdecimal() and newest.seq <= int(after[:18])):
            return Response(status_code=204, headers={"cache-control": "no-store"})
        headers = {"x-frame": json.dumps(newest.header), "cache-control": "no-store"}
        return Response(newest.jpeg, media_type="image/jpeg", headers=headers)

    async def original(self, request: Request) -> Response:
        return await file_response(request, self._studio.folder.of(self._job(request)) / ORIGINAL)

    async def thumbnail(self, request: Request) -> Response:
        newest = await self._studio.newest_frame(self._job(request))
        if newest is None:
            raise not_found("picture")
        return await tagged_response(request, f"{newest.seq}", "image/jpeg", lambda: thumbnail_of(newest.jpeg))

    async def result(self, request: Request) -> Response:
        job, name, studio = self._job(request), request.path_params["name"], self._studio
        found = await asyncio.to_thread(download, studio.folder, job, name, studio.keeper.reel(job))
        headers = {"cache-control": "no-cache"}
        if isinstance(found.content, bytes):
            return Response(found.content, media_type=found.kind, headers=headers)
        stat = await asyncio.to_thread(found.content.stat)
        return FileResponse(found.content, media_type=found.kind, headers=headers, stat_result=stat)

    async def live(self, socket: WebSocket) -> None:
        await self._hub.serve(socket)

    def _job(self, request: Request) -> StudioJob:
        return self._studio.find(request.path_params["job"])


def _known(files: dict[str, Path], name: str, what: str) -> Path:
    """The file of a name among those that there are: no path ever comes from the page."""
    if name not in files:
        raise not_found(what)
    return files[name]


async def _answer_error(request: Request, error: Exception) -> Response:
    return error_response(request, error)
