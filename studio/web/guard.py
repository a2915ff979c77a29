"""The guard: who may speak to the studio, and the headers that keep browsers from being turned against it."""

from __future__ import annotations

import ipaddress
import json
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "onnxdream-studio"
_CHANGING = ("POST", "PUT", "PATCH", "DELETE")
_LOCAL = ("localhost", "127.0.0.1", "::1")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
_NO_TOKEN = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>onnxdream studio</title>
<p>This page needs its token: open the address that <code>onnxdream studio</code> has printed.</p></html>"""


class Guard:
    """Lets through what comes from the studio's own page.

    The Host must be a name of this machine, since another one may be that of a page elsewhere whose name was pointed
    here (DNS rebinding), and a changing request or a WebSocket must not come from the page of another origin. With a
    `token`, everything else needs its cookie, which the address with the token sets. `host` is that of --host.
    """

    def __init__(self, app: App, host: str, token: str | None = None) -> None:
        self._app, self._token = app, token
        self._names = {*_LOCAL, host.lower(), *(_names_of_this_machine() if token else ())}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        guarded = _with_headers(send)
        if line := self._foreign(scope, headers):
            await _refuse(scope, guarded, 403, line)
        elif self._token is None or self._has_cookie(headers):
            await self._app(scope, receive, guarded)
        elif scope["type"] == "http" and scope["path"] == "/" and self._has_token(scope):
            await _enter(guarded, self._token)
        else:
            await _refuse(scope, guarded, 401, "the address needs its token: open the one that the studio has printed")

    def _foreign(self, scope: Scope, headers: dict[str, str]) -> str | None:
        """Why a request is refused as one from elsewhere, or None."""
        host = headers.get("host", "")
        if not self._is_own(host):
            return "this host is not the studio's: open the address that the studio has printed"
        if scope["type"] == "http" and scope["method"] not in _CHANGING:
            return None
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            return "a page of another origin may not do this"
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "a page of another origin may not do this"
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or (self._token is not None and _is_address(name))

    def _has_cookie(self, headers: dict[str, str]) -> bool:
        """Whether the token is among the cookies, which other programs on this machine may have set, too."""
        cookies = (cookie.strip().partition("=") for cookie in headers.get("cookie", "").split(";"))
        return any(name == COOKIE and self._is_token(value) for name, _, value in cookies)

    def _has_token(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])
        return self._is_token(given[0])

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "replace"), (self._token or "").encode())


def _names_of_this_machine() -> set[str]:
    name = socket.gethostname().lower()
    return {name, f"{name.split('.')[0]}.local"}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            given = {name.lower() for name, _ in message.get("headers", ())}
            added = [(name.encode(), value.encode()) for name, value in _HEADERS.items() if name.encode() not in given]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return send_with_headers


async def _enter(send: Send, token: str) -> None:
    """Answers the address with the token: sets the cookie, and leaves the token out of the browser's address."""
    cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/"
    headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, send: Send, status: int, line: str) -> None:
    wants_page = status == 401 and scope["type"] == "http" and scope["path"] == "/"
    body = _NO_TOKEN if wants_page else json.dumps({"error": line, "field": None}).encode()
    kind = b"text/html; charset=utf-8" if wants_page else b"application/json"
    prefix = "" if scope["type"] == "http" else "websocket."
    if prefix and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", kind), (b"cache-control", b"no-store")]
    headers += [] if prefix else [(b"content-length", str(len(body)).encode())]  # which uvicorn adds itself
    await send({"type": f"{prefix}http.response.start", "status": status, "headers": headers})
    await send({"type": f"{prefix}http.response.body", "body": body})
