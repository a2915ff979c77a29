"""Who may speak to the studio, what its answers forbid a browser, and how it starts."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from studio_server import SHORT, Server, picture, running
from websockets.exceptions import InvalidStatus

from onnxdream.studio.command import StudioRequest, run_studio
from onnxdream.studio.errors import StudioStartError
from onnxdream.studio.web.app import Addresses
from onnxdream.studio.web.guard import Guard

ELSEWHERE = "http://elsewhere.example"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("studio")) as server:
        yield server


def test_another_host_name_is_refused(studio: Server) -> None:
    for host in ("elsewhere.example", "127.0.0.1.nip.io", "192.168.0.7:7860", "", "[::1", "localhost.example:80"):
        answer = studio.ask("GET", "/api/jobs", host=host)
        assert (answer.status, set(answer.json)) == (403, {"error", "field"}), host
    for host in ("localhost:1234", "127.0.0.1", "[::1]:99"):
        assert studio.ask("GET", "/api/jobs", host=host).status == 200, host


@pytest.mark.parametrize(("host", "token"), [("127.0.0.2", None), ("MyBox.lan", "x")])
def test_the_host_that_the_studio_is_served_at_is_its_own(host: str, token: str | None) -> None:
    """A browser sends it in small letters."""
    started = []

    async def let_through(scope: object, receive: object, send: object) -> None:
        started.append("app")

    async def nothing(*message: object) -> dict[str, object]:
        return {}

    headers = [(b"host", f"{host.lower()}:7860".encode()), (b"cookie", b"onnxdream-studio=x")]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    asyncio.run(Guard(let_through, host, token)(scope, nothing, nothing))
    assert started == ["app"]


def test_localhost_in_any_letters_needs_no_token(tmp_path: Path) -> None:
    with running(tmp_path, "--host", "LOCALHOST") as server:
        assert server.ask("GET", "/api/jobs").status == 200


def test_a_page_of_another_origin_changes_nothing(studio: Server) -> None:
    asked = {"picture": studio.picture(), "bundle": "tiny", "settings": SHORT}
    for origin in (ELSEWHERE, "null", f"http://{studio.host}.example", "http://127.0.0.1:1", "", "http://["):
        assert studio.ask("POST", "/api/jobs", asked, origin=origin).status == 403
        assert studio.upload(picture(), origin=origin).status == 403
        assert studio.ask("DELETE", "/api/jobs/none", origin=origin).status == 403
    assert studio.ask("POST", "/api/jobs", asked, sec_fetch_site="cross-site").status == 403
    assert studio.ask("GET", "/api/jobs").json == {"jobs": []}
    own = {"origin": f"http://{studio.host}", "sec_fetch_site": "same-origin"}
    assert studio.ask("POST", "/api/jobs", asked, **own).status == 201
    studio.remove_all()


def test_a_page_of_another_origin_gets_no_live_connection(studio: Server) -> None:
    with pytest.raises(InvalidStatus) as refused, studio.live(origin=ELSEWHERE):
        pass
    assert refused.value.response.status_code == 403
    with studio.live(origin=f"http://{studio.host}") as page:
        assert page.receive()["type"] == "jobs"


def test_a_form_of_another_page_is_not_read_as_a_request(studio: Server) -> None:
    answer = studio.ask("POST", "/api/jobs", b'{"picture": "x"}', content_type="text/plain")
    assert answer.status == 400


def test_every_answer_restricts_the_browser(studio: Server) -> None:
    for path in ("/api/jobs", "/api/catalogue", "/static/none.js", "/api/jobs/none", "/nowhere"):
        headers = studio.ask("GET", path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_no_path_leads_out_of_the_studio(studio: Server) -> None:
    job = studio.finish(studio.begin())
    paths = [
        "/static/../command.py",
        "/static/%2e%2e/command.py",
        "/static//etc/passwd",
        "/api/looks/..%2f..%2fcommand.py",
        "/api/samples/../../command.py",
        "/api/atlases/lite0/..%2f..%2fbuilt_in.py",
        "/api/atlases/..%2flite0/block03.webp",
        "/api/pictures/..%2f..%2fspeeds.json",
        f"/api/jobs/{job['id']}/job.json",
        f"/api/jobs/{job['id']}/..%2f..%2fspeeds.json",
        f"/api/jobs/{job['id']}/{job['id']}",
        "/api/jobs/../pictures",
    ]
    for path in paths:
        assert studio.ask("GET", path).status in (404, 405), path
    for bundle in ("/etc/passwd", "../tiny", "tiny.onnx", "./tiny", "til"):
        asked = {"picture": job["picture"], "bundle": bundle, "settings": SHORT}
        answer = studio.ask("POST", "/api/jobs", asked)
        assert (answer.status, answer.json["field"]) == (422, "bundle"), bundle
    studio.remove_all()


def test_a_taken_port_is_one_line_and_leaves_no_folder(studio: Server, tmp_path: Path) -> None:
    port = studio.host.rpartition(":")[2]
    ran = studio.cli("studio", "--port", port, "--no-browser", "--folder", str(tmp_path / "dreams"))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert not (tmp_path / "dreams").exists()
    (line,) = ran.stderr.splitlines()
    assert port in line
    assert "--port" in line


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_a_host_that_there_is_not_is_one_line(host: str, tmp_path: Path) -> None:
    with pytest.raises(StudioStartError) as refused:
        run_studio(StudioRequest(host=host, port=0, folder=tmp_path, opens_browser=False), log=print)
    assert "\n" not in str(refused.value)
    assert "--host" in str(refused.value)


def test_the_studio_is_closed_even_where_its_catalogue_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise nothing that runs would be saved."""
    closed = []

    class NoStudio:
        def load(self) -> None:
            pass

        async def close(self) -> None:
            closed.append(True)

    def fail(self: Addresses) -> None:
        raise RuntimeError("no catalogue")

    made: Any = NoStudio()
    addresses = Addresses(lambda hub: made, print)

    async def serve() -> None:
        async with addresses.lifespan(Starlette()):
            pass

    monkeypatch.setattr(Addresses, "_catalogue", fail)
    with pytest.raises(RuntimeError, match="no catalogue"):
        asyncio.run(serve())
    assert closed == [True]


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process")
def test_too_many_connections_are_one_line_until_some_are_closed(tmp_path: Path) -> None:
    with running(tmp_path) as server, ExitStack() as connections:
        number = server.process.pid
        server.picture()  # so that all that the studio opens by itself is open
        few = max(int(name) for name in os.listdir(f"/proc/{number}/fd")) + 3
        most = resource.prlimit(number, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(number, resource.RLIMIT_NOFILE, (few, most))
        host, port = server.host.split(":")
        for _ in range(9):
            connections.enter_context(socket.create_connection((host, int(port))))
        assert server.process.stderr
        told = "more connections than files may be open here: close some pages, or raise the limit, as with ulimit -n\n"
        assert server.process.stderr.readline() == told
        connections.close()
        assert server.ask("GET", "/api/jobs").status == 200
        server.process.kill()
        assert server.process.stderr.read() == ""


def test_a_second_studio_on_the_same_folder_is_one_line(studio: Server) -> None:
    ran = studio.cli("studio", "--port", "0", "--no-browser", "--folder", str(studio.folder))
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert "--folder" in line


def test_missing_packages_are_one_line(studio: Server, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['starlette'] = None\n")
    paths = [str(tmp_path), *studio.environment.get("PYTHONPATH", "").split(":")]
    studio.environment["PYTHONPATH"] = ":".join(path for path in paths if path)
    try:
        ran = studio.cli("studio", "--port", "0", "--no-browser", "--folder", str(tmp_path))
    finally:
        studio.environment["PYTHONPATH"] = ":".join(paths[1:])
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == ["error: the studio needs starlette: pip install 'onnxdream[studio]'"]


def test_elsewhere_everything_needs_the_token(tmp_path: Path) -> None:
    with running(tmp_path, "--host", "0.0.0.0") as server:
        address = server.address
        assert "?token=" in address
        token = address.split("token=")[1]
        assert len(token) >= 32
        port = address.split("/")[2].rpartition(":")[2]
        server.host = f"127.0.0.1:{port}"
        for path in ("/", "/api/jobs", "/static/app.js", f"/api/jobs?token={token}", "/?token=wrong", "/?token=%ff"):
            assert server.ask("GET", path).status == 401, path
        assert server.ask("GET", "/api/jobs", cookie="onnxdream-studio=wrong").status == 401
        with pytest.raises(InvalidStatus) as refused, server.live():
            pass
        assert refused.value.response.status_code == 401
        entered = server.ask("GET", f"/?token={token}")
        assert (entered.status, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        kept = cookie.split(";")[0]
        for cookies in (kept, f'prefs={{"a":1}}; theme=a b,c; {kept}', f"onnxdream-studio=old; {kept}"):
            assert server.ask("GET", "/api/jobs", cookie=cookies).status == 200, cookies
        assert server.ask("GET", "/api/jobs", cookie=kept, host="elsewhere.example").status == 403
        assert server.ask("GET", "/api/jobs", cookie=kept, host=f"{socket.gethostname()}:{port}").status == 200
        assert server.ask("POST", "/api/samples/x", cookie=kept, origin=ELSEWHERE).status == 403
        with server.live(additional_headers={"Cookie": kept}) as page:
            assert page.receive()["type"] == "jobs"
