"""Where no cluster answers: one line that says so, within seconds."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

import pytest

from onnxdream.runtime.cluster.connection import ClusterOptions, joined, load_ray
from onnxdream.runtime.errors import ClusterError, ClusterExtraError, SettingsError


def test_the_extra_is_named_where_ray_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # the import fails as for a package that is not installed
    with pytest.raises(ClusterExtraError, match=r"--cluster needs Ray: pip install 'onnxdream\[cluster\]'"):
        load_ray()


@pytest.mark.parametrize("address", ["local", "auto", "10.0.0.1:6379", "head:1", "[::1]:6379"])
def test_addresses(address: str) -> None:
    assert ClusterOptions(address).address == address


@pytest.mark.parametrize("address", ["", "head", "head:0", "head:65536", "ray://head:10001", "::1:6379", "a b:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="cluster must be local, auto, or a host and a port"):
        ClusterOptions(address)


def test_a_temporary_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs the extra `cluster`")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "file"))
    with (
        pytest.raises(
            ClusterError, match=r"Ray cannot write .*file.* \(.*\): set RAY_TMPDIR to a folder that can be w"
        ),
        joined("local"),
    ):
        pass


def test_an_address_where_nothing_answers_is_refused() -> None:
    pytest.importorskip("ray", reason="needs the extra `cluster`")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with (
        pytest.raises(ClusterError, match=f"--cluster 127.0.0.1:{port}: nothing answers there .*: give the address"),
        joined(f"127.0.0.1:{port}"),
    ):
        pass


def test_an_address_where_something_else_answers_is_refused() -> None:
    pytest.importorskip("ray", reason="needs the extra `cluster`")
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answer, args=(server,), daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterError, match="what answers there is not a Ray cluster: give"), joined(address):
            pass


def _answer(server: socket.socket) -> None:
    """Answers as a web server does, until it is closed."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
