"""Pictures that come to the studio: those that can be dreamed, and those that are refused with a line."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_bytes import PROFILE, encoded, gif, gif_control, gif_frame, heif, heif_size, in_png, png_chunk
from studio_server import SECONDS, Server, children, decoded, picture, running

from onnxdream.studio.jobs.folder import new_id
from onnxdream.studio.pictures.reading import Reader
from onnxdream.studio.pictures.uploads import Pictures, clean_stem


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("studio")) as server:
        yield server


BAD = {
    "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "paper.pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "notes.png": b"these are only words\n" * 9,
    "empty.jpg": b"",
    "page.jpg": b"<!doctype html><html><script>alert(1)</script></html>",
    "cut.png": picture()[:200],
    "cut.jpg": picture(suffix=".jpg")[:300],
    "film.mp4": b"\0\0\0\x18ftypisom" + bytes(100),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_refused_in_one_line(studio: Server, name: str) -> None:
    answer = studio.upload(BAD[name], name)
    assert answer.status == 415, answer.data
    assert answer.json["field"] is None
    assert name.partition(".")[0] in answer.json["error"]
    assert "\n" not in answer.json["error"]
    assert str(studio.folder) not in answer.json["error"]
    assert not list((studio.folder / "pictures").iterdir()) or studio.upload(picture()).status == 201


def test_a_heic_is_read_or_told_how(studio: Server) -> None:
    answer = studio.upload(heif(heif_size(), brand=b"heic"), "phone.heic")
    assert answer.status == 415
    assert answer.json["error"].startswith("phone.heic")


def huge_png(side: int) -> bytes:
    """A PNG whose header states a square of that side, and whose pixels are those of a small one."""
    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"x") + png_chunk(b"IEND", b"")


def test_too_many_pixels_are_known_from_the_header(studio: Server) -> None:
    answer = studio.upload(huge_png(20_000), "huge.png")
    assert answer.status == 413
    assert "20000 by 20000" in answer.json["error"]


def test_too_many_bytes_are_not_read(studio: Server) -> None:
    connection = http.client.HTTPConnection(studio.host, timeout=SECONDS)
    connection.putrequest("POST", "/api/pictures")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(2**30))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_nor_are_they_where_the_sender_does_not_say_how_many(studio: Server) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    body = (head, *[bytes(2**20)] * 65, b"\r\n--x--\r\n")
    connection = http.client.HTTPConnection(studio.host, timeout=SECONDS)
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/api/pictures", iter(body), kind, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_forms_without_a_file_are_refused(studio: Server) -> None:
    for body in (
        b"",
        b"--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nword\r\n--x--\r\n',
        b"junk",
    ):
        answer = studio.ask("POST", "/api/pictures", body, content_type="multipart/form-data; boundary=x")
        assert answer.status == 400, body
    assert studio.ask("POST", "/api/pictures", {"file": "x"}).status == 400
    assert studio.upload(picture(), role="boss").status == 400


def test_an_upload_that_is_cut_short_leaves_nothing(studio: Server) -> None:
    before = len(list((studio.folder / "pictures").iterdir()))
    host, _, port = studio.host.partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST /api/pictures HTTP/1.1\r\nHost: {studio.host}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            "Content-Length: 100000\r\n\r\n--x\r\n".encode()
        )
    assert studio.upload(picture()).status == 201
    assert len(list((studio.folder / "pictures").iterdir())) == before + 1


def test_an_animation_is_its_first_frame(studio: Server) -> None:
    frames = gif(gif_control(), gif_frame(1), gif_control(), gif_frame(0))
    answer = studio.upload(frames, "moving.gif")
    if answer.status == 415:
        pytest.skip("this OpenCV reads no GIF")
    assert any("first" in notice for notice in answer.json["notices"]), answer.json["notices"]


def test_unusual_pictures_are_shown(studio: Server) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (40, 50, 3), dtype=np.uint16)
    clear = np.full((40, 50, 4), 128, np.uint8)
    clear[:20, :, 3] = 0
    grey = np.full((40, 50), 99, np.uint8)
    for pixels in (deep, clear, grey):
        answer = studio.upload(bytes(cv2.imencode(".png", pixels)[1]), "unusual.png")
        assert (answer.status, answer.json["width"], answer.json["height"]) == (201, 50, 40)
        shown = decoded(studio.ask("GET", answer.json["picture"]).data)
        assert (shown.shape, shown.dtype) == ((40, 50, 3), np.uint8)


def test_losses_of_a_picture_are_told(studio: Server) -> None:
    profile = PROFILE[:16] + b"CMYK" + PROFILE[20:]
    data = in_png(encoded(".png"), png_chunk(b"iCCP", b"x\0\0" + zlib.compress(profile)))
    answer = studio.upload(data, "print.png")
    assert answer.status == 201
    assert answer.json["notices"]


def test_large_pictures_are_shown_small(studio: Server) -> None:
    answer = studio.upload(picture(3000, 1000, ".jpg"), "wide.jpg")
    assert (answer.json["width"], answer.json["height"]) == (3000, 1000)
    assert decoded(studio.ask("GET", answer.json["picture"]).data).shape == (533, 1600, 3)


def peak_bytes(process: int) -> int:
    """The most memory that a process has taken so far."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="reads the memory in /proc")
def test_the_server_has_no_upload_in_memory_as_a_whole(studio: Server) -> None:
    """Else some large ones at once would fill the memory."""
    studio.picture()
    before = peak_bytes(studio.process.pid)
    assert studio.upload(bytes(48 * 2**20)).status == 415
    assert peak_bytes(studio.process.pid) - before < 16 * 2**20


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="finds the process in /proc")
def test_a_crash_of_the_reader_is_one_failed_upload(studio: Server) -> None:
    studio.picture()
    os.kill(children(studio.process.pid)[0], signal.SIGSEGV)  # the reader is the first process that a studio starts
    answers = [studio.upload(picture()).status for _ in range(3)]
    assert answers[0] in (201, 415)
    assert answers[1:] == [201, 201]


def test_a_new_picture_stays_where_the_clock_is_behind_that_of_older_ones(tmp_path: Path) -> None:
    """As on a Jetson without a battery for its clock."""
    reader = Reader()
    pictures = Pictures(tmp_path, reader)
    try:
        first = pictures.add(BytesIO(picture()), "first.png")
        for _ in range(100):
            shutil.copytree(tmp_path / first.id, tmp_path / new_id())
        for file in tmp_path.glob("*/picture.json"):
            os.utime(file, (4e9, 4e9))
        newest = pictures.add(BytesIO(picture()), "newest.png")
    finally:
        reader.close()
    assert pictures.find(newest.id) == newest
    assert len(list(tmp_path.iterdir())) == 100


def test_a_studio_whose_folder_was_moved_away_makes_it_again(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        server.finish(server.begin())
        server.folder.rename(tmp_path / "elsewhere")
        server.finish(server.begin())


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("bears.jpg", "bears"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Straße 1.JPG", "Straße 1"),
        ("..", "picture"),
        ("", "picture"),
        (".png", "picture"),
        ("con.png", "picture"),
        ("a\0b\nc<script>.png", "a-b-c-script"),
        ("熊.png", "熊"),
        ("x" * 300 + ".png", "x" * 60),
        ("𝓗" * 300 + ".png", "𝓗" * 50),  # four bytes each
        ("-rf.png", "rf"),
        ("a.b.c.png", "a-b-c"),
    ],
)
def test_a_name_is_never_more_than_a_name(name: str, stem: str) -> None:
    assert clean_stem(name) == stem
