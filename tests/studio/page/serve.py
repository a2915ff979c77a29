"""Serves the page with the stand-in for its server, to look at it: `python tests/studio/page/serve.py 7860`."""

from __future__ import annotations

import socket
import sys
import threading
import time

import uvicorn
from fake_studio import FakeStudio


class Server:
    """A server of the stand-in in a thread, on a port of its own that stays the same over restarts."""

    def __init__(self, studio: FakeStudio, port: int = 0) -> None:
        self.studio = studio
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        config = uvicorn.Config(
            self.studio.app(), port=self.port, log_level="critical", ws="websockets-sansio", timeout_graceful_shutdown=0
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), f"port {self.port} cannot be used"
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    server = Server(FakeStudio(seconds=0.12), int(sys.argv[1]) if len(sys.argv) > 1 else 7860)
    server.start()
    print(server.address, flush=True)
    threading.Event().wait()
