"""The command `studio`: its options, the checks before the start, and the server itself."""

from __future__ import annotations

import ipaddress
import os
import secrets
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import StudioExtraError, StudioStartError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 7860
_EXTRA = ("starlette", "uvicorn", "websockets", "python_multipart")
# What the system may keep of frames that a slow page has not taken yet, in bytes: little, since they get old.
_SEND_BUFFER = 2**17

Log = Callable[[str], None]


@dataclass(frozen=True)
class StudioRequest:
    """What the command line asks for. `machine` are the options of the computation, by name."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    folder: Path | None = None
    opens_browser: bool = True
    machine: Mapping[str, Any] = field(default_factory=dict)


def require_extra() -> None:
    """Raises StudioExtraError unless the extra `studio` is installed."""
    missing = [name.replace("_", "-") for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise StudioExtraError(f"the studio needs {', '.join(missing)}: pip install 'onnxdream[studio]'")


def run_studio(request: StudioRequest, log: Log) -> None:
    """Serves the page until Ctrl-C. Raises StudioStartError, StudioExtraError, DreamError and BundleError."""
    require_extra()
    import uvicorn

    from ..runtime.provider.hardware import detect_hardware
    from .jobs.choices import Chooser
    from .jobs.folder import Folder, default_folder
    from .studio import Studio
    from .web.app import Addresses
    from .web.guard import Guard
    from .web.live import Hub
    from .workers.desk import devices

    chooser = Chooser(request.machine)
    is_local = _is_loopback(request.host)
    token = None if is_local else secrets.token_urlsafe(24)
    path = request.folder or default_folder()
    with _bound(request.host, request.port) as listener, closing(Folder(path)) as folder:
        address = _address(request, listener.getsockname()[1], token)

        def make(hub: Hub) -> Studio:
            return Studio(folder, chooser, devices(chooser.execution, len(detect_hardware().gpus)), hub)

        app = Guard(Addresses(make, log).app(), request.host, token)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="websockets-sansio",
            ws_max_size=2**14,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
        )
        _announce(address, folder.path, token, log)
        if request.opens_browser:
            _open_soon(address)
        server = uvicorn.Server(config)
        with _ending_at_hangup(server.handle_exit):
            server.run(sockets=[listener])


@contextmanager
def _ending_at_hangup(end: Callable[[int, Any], None]) -> Iterator[None]:
    """A closed terminal ends the server as Ctrl-C does, which uvicorn does not see to; then it ends the command."""
    hangup = getattr(signal, "SIGHUP", None)  # which Windows lacks
    if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN:  # as under `nohup`
        yield
        return
    hung_up = False

    def handler(number: int, frame: Any) -> None:
        nonlocal hung_up
        hung_up = True
        end(number, frame)

    before = signal.signal(hangup, handler)
    try:
        yield
    finally:
        signal.signal(hangup, before)
    if hung_up:
        signal.raise_signal(hangup)


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises StudioStartError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            listener.bind(address)
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
        return listener
    except OverflowError:
        raise StudioStartError(f"{port} is not a port: choose one from 1 to 65535 with --port") from None
    except (socket.gaierror, UnicodeError):  # the latter for a name that no host may have
        raise StudioStartError(
            f"there is no host {host}: give a name or an address of this machine as --host"
        ) from None
    except OSError as error:
        raise StudioStartError(
            f"port {port} of {host} cannot be used ({error.strerror}): choose another one with --port"
        ) from None


def _address(request: StudioRequest, port: int, token: str | None) -> str:
    host = f"[{request.host}]" if ":" in request.host else request.host
    if host in ("0.0.0.0", "[::]"):
        host = socket.gethostname()
    return f"http://{host}:{port}/" + (f"?token={token}" if token else "")


def _announce(address: str, folder: Path, token: str | None, log: Log) -> None:
    log(f"dreams are kept in {folder}")
    if token:
        log("everybody who has this address can dream here and see the dreams; it holds until the studio ends")
    log(f"the studio is at {address} (Ctrl-C ends it)")


def _open_soon(address: str) -> None:
    """Opens the browser where there is a screen, a second from now, when the server probably answers."""
    has_screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not has_screen:
        return

    def open_browser() -> None:
        time.sleep(1.0)
        with suppress(webbrowser.Error):
            webbrowser.open(address)

    threading.Thread(target=open_browser, daemon=True).start()
