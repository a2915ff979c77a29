"""The live connection: each page hears of every change of a job, and sees the newest frame of the one that it shows."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from ..studio import Studio

# A page hears of each job at most so often, in seconds, and always of its last change.
_CHANGE_SECONDS = 0.1
# A page that asks for frames instead has gone when it has not asked for so long.
_POLL_SECONDS = 3.0


class Client:
    """One page: what it has to be told, and which job it shows. It is told the newest only, as fast as it listens."""

    def __init__(self) -> None:
        self.wakes = asyncio.Event()
        self.watched: str | None = None
        self.changed: dict[str, float] = {}  # job -> when it was told of last
        self.due: set[str] = set()
        self.removed: list[str] = []
        self.told_step: dict[str, int] = {}
        self.sent_seq = 0

    def show(self, job: str | None) -> None:
        self.watched, self.sent_seq = job, 0
        self.wakes.set()


class Hub:
    """All pages. It is the studio's listener, for the event loop's thread."""

    def __init__(self) -> None:
        self._clients: set[Client] = set()
        self._polled: dict[str, float] = {}
        self._watched: set[str] = set()
        self.studio: Studio

    def changed(self, job: str) -> None:
        for client in self._clients:
            client.due.add(job)
            client.wakes.set()

    def framed(self, job: str) -> None:
        for client in self._clients:
            if client.watched == job:
                client.wakes.set()

    def removed(self, job: str) -> None:
        for client in self._clients:
            client.due.discard(job)
            client.told_step.pop(job, None)
            client.changed.pop(job, None)
            client.removed.append(job)
            client.wakes.set()

    def polled(self, job: str) -> None:
        """Notes that a page without a live connection has asked for a frame of a job."""
        self._polled[job] = time.monotonic() + _POLL_SECONDS
        asyncio.get_running_loop().call_later(_POLL_SECONDS + 0.1, self.look)
        self.look()

    def look(self) -> None:
        """Tells the studio whose frames are watched."""
        now = time.monotonic()
        self._polled = {job: until for job, until in self._polled.items() if until > now}
        watched = {client.watched for client in self._clients if client.watched} | set(self._polled)
        for job in watched ^ self._watched:
            self.studio.watch(job, job in watched)
        self._watched = watched

    async def serve(self, socket: WebSocket) -> None:
        """Serves a page until it leaves."""
        await socket.accept()
        client = Client()
        self._clients.add(client)
        sender = asyncio.create_task(self._send(client, socket))
        try:
            while True:
                self._hear(client, await socket.receive_text())
        except (WebSocketDisconnect, KeyError, RuntimeError):
            pass
        finally:
            self._clients.discard(client)
            sender.cancel()
            self.look()

    def _hear(self, client: Client, text: str) -> None:
        with suppress(ValueError, AttributeError, RecursionError):
            said = json.loads(text)
            job = said.get("job")
            if said.get("type") == "watch" and (job is None or isinstance(job, str)):
                client.show(job)
                self.look()

    async def _send(self, client: Client, socket: WebSocket) -> None:
        jobs = [job.facts(with_losses=False) for job in self.studio.newest_first()]
        with suppress(WebSocketDisconnect, RuntimeError, OSError):
            await socket.send_text(_text({"type": "jobs", "jobs": jobs}))
            while True:
                await client.wakes.wait()
                client.wakes.clear()
                while client.removed:
                    await socket.send_text(_text({"type": "removed", "id": client.removed.pop(0)}))
                await self._send_changes(client, socket)
                await self._send_frame(client, socket)

    async def _send_changes(self, client: Client, socket: WebSocket) -> None:
        """Sends the jobs that have changed and may be told of again; for the others, the client wakes later."""
        loop, now = asyncio.get_running_loop(), time.monotonic()
        for identifier in list(client.due):
            wait = client.changed.get(identifier, 0.0) + _CHANGE_SECONDS - now
            if wait > 0:
                loop.call_later(wait, client.wakes.set)
                continue
            client.due.discard(identifier)
            client.changed[identifier] = now
            if job := self.studio.jobs.get(identifier):
                told = client.told_step.get(identifier, -1)
                rows = [row for row in job.losses if row[0] > told]
                client.told_step[identifier] = job.losses[-1][0] if job.losses else -1
                facts = {**job.facts(with_losses=False), "new_losses": rows}
                await socket.send_text(_text({"type": "job", "job": facts}))

    async def _send_frame(self, client: Client, socket: WebSocket) -> None:
        job = self.studio.jobs.get(client.watched or "")
        newest = await self.studio.newest_frame(job) if job else None
        if newest and newest.seq > client.sent_seq and client.watched == newest.header["job"]:
            client.sent_seq = newest.seq
            header = _text(newest.header).encode()
            await socket.send_bytes(struct.pack(">I", len(header)) + header + newest.jpeg)


def _text(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False)
