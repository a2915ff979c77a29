"""What goes wrong in a page while a test uses it: errors, warnings, and requests to other places."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Request

ELSEWHERE = "studio.example"  # a name that leads to this machine, but is no safe address to a browser


@dataclass
class Watch:
    """What went wrong in the pages of a test; `allow` names what a test provokes."""

    origins: set[str] = field(default_factory=set)
    allowed: list[str] = field(default_factory=lambda: ["willReadFrequently"])  # of the canvas that tests read
    faults: list[str] = field(default_factory=list)

    def allow(self, *patterns: str) -> None:
        self.allowed += patterns

    def follow(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("blob", "data") and parts.netloc not in self.origins:
            self.faults.append(f"request to {request.url}")

    def check(self) -> None:
        found = [fault for fault in self.faults if not any(re.search(pattern, fault) for pattern in self.allowed)]
        assert not found
