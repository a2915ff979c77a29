"""A stand-in for the studio's server: the same interface, with canned dreams whose frames change, at a chosen speed."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from fake_catalogue import ATLASES, GALLERY, SAMPLES, catalogue
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

PAGE = Path(__file__).parents[3] / "studio" / "page"
ENDED = {"finished", "stopped", "diverged", "failed"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class RefusedError(Exception):
    """An error of the interface: its status, its line, and the setting that it is about."""

    def __init__(self, status: int, line: str, field_name: str | None = None) -> None:
        super().__init__(line)
        self.status, self.line, self.field = status, line, field_name


@dataclass
class Picture:
    id: str
    name: str
    pixels: np.ndarray
    role: str = "picture"

    def described(self) -> dict[str, Any]:
        height, width = self.pixels.shape[:2]
        link = f"/api/pictures/{self.id}.{'png' if self.role == 'mask' else 'jpg'}"
        return {"id": self.id, "name": self.name, "width": width, "height": height, "notices": [], "picture": link}


@dataclass
class Job:
    id: str
    body: dict[str, Any]
    picture: Picture
    look: dict[str, Any]
    created: float = field(default_factory=time.time)
    state: str = "queued"
    settings: dict[str, Any] = field(default_factory=dict)
    pending: dict[str, Any] = field(default_factory=dict)
    changes: list[dict[str, Any]] = field(default_factory=list)
    step: int = 0
    seq: int = 0
    losses: list[list[float]] = field(default_factory=list)
    error: str | None = None
    frame: bytes = b""
    single_steps: int = 0
    notices: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return int(self.settings["steps"]) * int(self.settings["octaves"])

    @property
    def octave(self) -> int:
        return min(self.step // int(self.settings["steps"]) + 1, int(self.settings["octaves"]))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the current octave."""
        height, width = self.picture.pixels.shape[:2]
        scale = min(1.0, (self.settings["max_size"] or 9999) / max(width, height))
        scale /= float(self.settings["octave_scale"]) ** (int(self.settings["octaves"]) - self.octave)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def described(self, with_losses: bool = False) -> dict[str, Any]:
        width, height = self.size
        link = f"/api/jobs/{self.id}"
        stem = Path(self.picture.name).stem
        files = {kind: f"{link}/{stem}-dream.{kind}" for kind in ("png", "jpg", "webp", "tiff")}
        files |= {"record": f"{link}/record.json", "settings": f"{link}/settings.toml", "film": f"{link}/film.webp"}
        command = f"onnxdream dream {self.picture.name} --preset {self.look['name']}"
        described = {
            "id": self.id,
            "name": stem,
            "state": self.state,
            "error": self.error,
            "created": self.created,
            "picture": self.picture.id,
            "mask": self.body.get("mask"),
            "guide": self.body.get("guide"),
            "look": self.look["name"],
            "bundle": self.look["bundle"],
            "settings": self.settings,
            "changes": self.changes,
            "pending": self.pending,
            "step": self.step,
            "steps": self.steps,
            "octave": self.octave,
            "octaves": self.settings["octaves"],
            "width": width,
            "height": height,
            "loss": self.losses[-1][1] if self.losses else None,
            "octave_starts": list(range(0, self.steps, int(self.settings["steps"]))),
            "seconds": self.step * 0.1,
            "seconds_left": (self.steps - self.step) * 0.1 if self.step else None,
            "provider": "cpu",
            "notices": self.notices,
            "command": command,
            "seq": self.seq,
            "original": f"{link}/original.jpg",
            "thumbnail": f"{link}/thumbnail.jpg",
            "results": files if self.state in ("finished", "stopped") else {},
            "branch_of": self.body.get("branch_of"),
        }
        return described | ({"losses": self.losses} if with_losses else {})

    def dreamed(self) -> np.ndarray:
        """The picture with waves and colours that grow with the steps."""
        width, height = self.size
        small = cv2.resize(self.picture.pixels, (width, height), interpolation=cv2.INTER_AREA)
        share = self.step / max(1, self.steps)
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        wave = 12 * share * np.sin(y / 9 + 3 * share), 12 * share * np.cos(x / 11)
        warped = cv2.remap(small, x + wave[0], y + wave[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        hsv = cv2.cvtColor(warped, cv2.COLOR_BGR2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + int(60 * share)) % 180
        hsv[..., 1] = np.minimum(255, hsv[..., 1] * (1 + 1.2 * share))
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)

    def advance(self) -> None:
        self.step += 1
        if self.pending:
            self.changes.append({"step": self.step, "settings": self.pending})
            self.settings, self.pending = {**self.settings, **self.pending}, {}
        self.losses.append([self.step, 2 + 3 * (1 - math.exp(-self.step / 20)) - 0.6 * (self.octave - 1) / 5])
        self.seq += 1
        self.frame = encoded(self.dreamed(), ".jpg")

    def header(self) -> dict[str, Any]:
        width, height = self.size
        loss = self.losses[-1][1] if self.losses else None
        return {"job": self.id, "seq": self.seq, "step": self.step, "octave": self.octave, "width": width,
                "height": height, "loss": loss}  # fmt: skip


def encoded(pixels: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


class FakeStudio:
    """The state of the stand-in, which outlives a restart of its server, and its application.

    `seconds` is the time of a step. A dream that runs rests at the step `rests_at`, unless that is None, so that it
    does not end before a test has done something to it. `has_sockets` False refuses the live connection, as some
    proxies do.
    """

    def __init__(self, seconds: float = 0.05, rests_at: int | None = None) -> None:
        self.seconds = seconds
        self.rests_at = rests_at
        self.has_sockets = True
        self.fails_at: int | None = None
        self.notices: list[str] = []
        self.estimate_delay = 0.0
        self.patches: list[dict[str, Any]] = []
        self.estimates: list[dict[str, Any]] = []
        self.starts: list[dict[str, Any]] = []
        self.pictures: dict[str, Picture] = {}
        self.jobs: dict[str, Job] = {}
        self.watchers: dict[WebSocket, str | None] = {}
        self.catalogue = catalogue()
        self.numbers = itertools.count(1)

    # Pages and files

    async def page(self, request: Request) -> Response:
        path = PAGE / request.path_params.get("name", "index.html")
        if not path.is_file():
            raise RefusedError(404, "no such file")
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
        return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers=headers)

    async def tile(self, request: Request) -> Response:
        return Response((GALLERY / f"{request.path_params['name']}.jpg").read_bytes(), media_type="image/jpeg")

    async def atlas(self, request: Request) -> Response:
        name = "{bundle}-{layer}.webp".format_map(request.path_params)
        return Response((ATLASES / name).read_bytes(), media_type="image/webp")

    async def sample_picture(self, request: Request) -> Response:
        return Response((SAMPLES / f"{request.path_params['name']}.jpg").read_bytes(), media_type="image/jpeg")

    async def show_catalogue(self, request: Request) -> Response:
        return JSONResponse(self.catalogue)

    # Pictures

    def add_picture(self, name: str, pixels: np.ndarray, role: str = "picture") -> Picture:
        picture = Picture(f"p{next(self.numbers)}", name, pixels, role)
        self.pictures[picture.id] = picture
        return picture

    async def use_sample(self, request: Request) -> Response:
        name = request.path_params["name"]
        pixels = cv2.imread(str(SAMPLES / f"{name}.jpg"))
        return JSONResponse(self.add_picture(f"{name}.jpg", pixels).described(), 201)

    async def upload(self, request: Request) -> Response:
        form = await request.form()
        upload = form["file"]
        assert isinstance(upload, UploadFile)
        data = await upload.read()
        role = str(form.get("role", "picture"))
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if pixels is None:
            raise RefusedError(415, f"{upload.filename} is no picture that can be read: try a JPEG, PNG or WebP file")
        return JSONResponse(self.add_picture(upload.filename or "picture", pixels, role).described(), 201)

    async def show_picture(self, request: Request) -> Response:
        name, _, suffix = request.path_params["file"].partition(".")
        return Response(encoded(self.pictures[name].pixels, f".{suffix}"), media_type=f"image/{suffix}")

    # Jobs

    def checked(self, settings: dict[str, Any]) -> None:
        rows = {row["name"]: row for row in self.catalogue["settings"]}
        for name, value in settings.items():
            row = rows.get(name)
            ends = value if isinstance(value, list) else [value]
            for end in ends:
                is_number = row and row["kind"] in ("number", "integer") and isinstance(end, int | float)
                if is_number and (end < row["min"] or end > row["max"]):
                    line = f"{row['title']} must be from {row['min']} to {row['max']}"
                    raise RefusedError(422, line, name)

    async def estimate(self, request: Request) -> Response:
        body = await request.json()
        await asyncio.sleep(self.estimate_delay)
        self.estimates.append(body)
        self.checked(body.get("settings", {}))
        job = Job("", body, self.picture_of(body), self.look(body))
        job.settings = {**job.look["settings"], **body.get("settings", {})}
        job.step = job.steps
        width, height = job.size
        seconds = job.steps * width * height * 5e-7
        memory = 200_000_000 + width * height * 1500
        return JSONResponse(
            {"seconds": seconds, "memory": memory, "octaves": [[width, height]], "steps": job.steps, "tiles": 1}
        )

    def picture_of(self, body: dict[str, Any]) -> Picture:
        earlier = self.jobs.get(body.get("branch_of") or "")
        if body.get("from_result") and earlier:
            return self.add_picture(f"{Path(earlier.picture.name).stem}-dream.jpg", earlier.dreamed())
        return self.pictures[body.get("picture") or (earlier.picture.id if earlier else "")]

    def look(self, body: dict[str, Any]) -> dict[str, Any]:
        name = body.get("look") or self.catalogue["default_look"]
        found: dict[str, Any] = next(look for look in self.catalogue["looks"] if look["name"] == name)
        return found

    async def list_jobs(self, request: Request) -> Response:
        return JSONResponse({"jobs": self.newest()})

    def newest(self) -> list[dict[str, Any]]:
        return [job.described() for job in reversed(self.jobs.values())]

    async def start(self, request: Request) -> Response:
        body = await request.json()
        for job in self.jobs.values():
            if job.body.get("request") == body["request"]:
                return JSONResponse(job.described(True))
        self.checked(body.get("settings", {}))
        self.starts.append(body)
        job = Job(f"j{next(self.numbers)}", body, self.picture_of(body), self.look(body), notices=self.notices)
        job.settings = {**job.look["settings"], **body.get("settings", {})}
        self.jobs[job.id] = job
        await self.tell(job)
        self.run(job)
        return JSONResponse(job.described(True), 201)

    def run(self, job: Job) -> None:
        job.task = asyncio.get_running_loop().create_task(self.dream(job))  # type: ignore[attr-defined]

    async def dream(self, job: Job) -> None:
        while any(other.state in ("running", "starting") for other in self.jobs.values() if other is not job):
            await asyncio.sleep(0.02)
        if job.state == "queued":
            job.state = "running"
        while job.state in ("running", "paused") and job.step < job.steps:
            await asyncio.sleep(self.seconds)
            is_resting = self.rests_at is not None and job.step >= self.rests_at
            if (job.state == "paused" or (job.state == "running" and is_resting)) and not job.single_steps:
                continue
            job.single_steps = max(0, job.single_steps - 1)
            if self.fails_at is not None and job.step >= self.fails_at:
                job.state, job.error = "failed", "The dream ran out of memory: choose a smaller size."
                break
            if job.state in ENDED:
                break
            job.advance()
            await self.tell(job)
        if job.state in ("running", "paused"):
            job.state = "finished"
        await self.tell(job)

    async def one(self, request: Request) -> Response:
        return JSONResponse(self.found(request).described(True))

    def found(self, request: Request) -> Job:
        job = self.jobs.get(request.path_params["id"])
        if job is None:
            raise RefusedError(404, "this dream is no longer there")
        return job

    async def change(self, request: Request) -> Response:
        job = self.found(request)
        settings = (await request.json())["settings"]
        self.checked(settings)
        if job.state in ENDED:
            raise RefusedError(409, "the dream has ended")
        self.patches.append(settings)
        job.pending = {**job.pending, **settings}
        await self.tell(job)
        return JSONResponse(job.described(True))

    async def act(self, request: Request) -> Response:
        job, action = self.found(request), request.path_params["action"]
        if action == "pause" and job.state in ("running", "queued"):
            job.state = "paused"
        elif action == "resume" and job.state == "paused":
            job.state = "running"
        elif action == "resume" and job.state == "stopped":
            job.state = "running"
            self.run(job)
        elif action == "step" and job.state == "paused":
            job.single_steps += 1
        elif action == "stop" and job.state not in ENDED:
            job.state = "stopped"
        else:
            raise RefusedError(409, f"a dream that is {job.state} cannot {action}")
        await self.tell(job)
        return JSONResponse(job.described(True))

    async def delete(self, request: Request) -> Response:
        job = self.found(request)
        job.state = "stopped"
        del self.jobs[job.id]
        await self.send_all({"type": "removed", "id": job.id})
        return Response(status_code=204)

    async def file(self, request: Request) -> Response:
        job, name = self.found(request), request.path_params["name"]
        if name == "frame.jpg":
            if int(request.query_params.get("after", -1)) >= job.seq or not job.frame:
                return Response(status_code=204)
            headers = {"X-Frame": json.dumps(job.header())}
            return Response(job.frame, media_type="image/jpeg", headers=headers)
        if name == "original.jpg":
            return Response(encoded(job.picture.pixels, ".jpg"), media_type="image/jpeg")
        if name == "thumbnail.jpg":
            return Response(encoded(cv2.resize(job.dreamed(), (192, 144)), ".jpg"), media_type="image/jpeg")
        if name == "record.json":
            return JSONResponse({"settings": job.settings, "changes": job.changes})
        if name == "settings.toml":
            return Response("".join(f"{key} = {value!r}\n" for key, value in job.settings.items()))
        suffix = "webp" if name.startswith("film") else Path(name).suffix[1:]
        return Response(encoded(job.dreamed(), f".{suffix}"), media_type=f"image/{suffix}")

    # Live

    async def live(self, socket: WebSocket) -> None:
        if not self.has_sockets:
            await socket.close()
            return
        await socket.accept()
        self.watchers[socket] = None
        try:
            await socket.send_json({"type": "jobs", "jobs": self.newest()})
            while True:
                message = json.loads(await socket.receive_text())
                self.watchers[socket] = message["job"]
                if message["job"] in self.jobs:
                    await self.send_frame(socket, self.jobs[message["job"]])
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self.watchers.pop(socket, None)

    async def send_all(self, message: dict[str, Any]) -> None:
        for socket in list(self.watchers):
            with suppress(Exception):
                await socket.send_json(message)

    async def send_frame(self, socket: WebSocket, job: Job) -> None:
        if job.frame:
            header = json.dumps(job.header()).encode()
            with suppress(Exception):
                await socket.send_bytes(len(header).to_bytes(4, "big") + header + job.frame)

    async def tell(self, job: Job) -> None:
        described = job.described() | {"new_losses": job.losses[-1:]}
        await self.send_all({"type": "job", "job": described})
        for socket, watched in list(self.watchers.items()):
            if watched == job.id:
                await self.send_frame(socket, job)

    # The application

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        for job in self.jobs.values():
            if job.state not in ENDED:
                self.run(job)
        yield

    def app(self) -> Starlette:
        def refused(request: Request, error: Exception) -> Response:
            assert isinstance(error, RefusedError)
            return JSONResponse({"error": error.line, "field": error.field}, error.status)

        routes = [
            Route("/", self.page),
            Route("/static/{name}", self.page),
            Route("/api/catalogue", self.show_catalogue),
            Route("/api/looks/{name}.webp", self.tile),
            Route("/api/atlases/{bundle}/{layer}.webp", self.atlas),
            Route("/api/samples/{name}.jpg", self.sample_picture),
            Route("/api/samples/{name}", self.use_sample, methods=["POST"]),
            Route("/api/pictures", self.upload, methods=["POST"]),
            Route("/api/pictures/{file}", self.show_picture),
            Route("/api/estimate", self.estimate, methods=["POST"]),
            Route("/api/jobs", self.list_jobs),
            Route("/api/jobs", self.start, methods=["POST"]),
            Route("/api/jobs/{id}", self.one),
            Route("/api/jobs/{id}", self.change, methods=["PATCH"]),
            Route("/api/jobs/{id}", self.delete, methods=["DELETE"]),
            Route("/api/jobs/{id}/{action}", self.act, methods=["POST"]),
            Route("/api/jobs/{id}/{name}", self.file),
            WebSocketRoute("/api/live", self.live),
        ]
        return Starlette(routes=routes, exception_handlers={RefusedError: refused}, lifespan=self.lifespan)
