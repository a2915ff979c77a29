"""BMP and GIF files up to their pixels."""

from __future__ import annotations

import pytest
from picture_bytes import HEIGHT, VALID, WIDTH, gif, gif_control, gif_frame

from onnxdream.runtime.image.formats.container import DamagedContainerError
from onnxdream.runtime.image.formats.kinds import read_container


def test_a_bmp_may_store_its_rows_from_the_top() -> None:
    data = VALID["BMP"]
    upside_down = data[:22] + (-HEIGHT).to_bytes(4, "little", signed=True) + data[26:]
    assert read_container(upside_down).height == HEIGHT


def test_the_oldest_bmp_header_has_16_bit_sizes() -> None:
    header = (12).to_bytes(4, "little") + WIDTH.to_bytes(2, "little") + HEIGHT.to_bytes(2, "little")
    container = read_container(b"BM" + bytes(12) + header + bytes(200))
    assert (container.width, container.height) == (WIDTH, HEIGHT)


def test_a_gif_s_first_frame_is_all_that_is_decoded() -> None:
    first = gif(gif_control(), gif_frame(1))
    data = gif(b"!\xfe\5bears\0", gif_control(), gif_frame(1), gif_control(), gif_frame(0))
    container = read_container(data)
    assert (container.kind, container.width, container.height) == ("GIF", WIDTH, HEIGHT)
    assert container.decodable == gif(b"!\xfe\5bears\0", gif_control(), gif_frame(1))
    assert container.warnings == ("it moves: only its first frame is read",)
    assert read_container(gif(gif_frame(1), b"!\xfe\5bears\0")).warnings == ()
    assert read_container(first).decodable == first


@pytest.mark.parametrize(
    "data",
    [
        gif(),
        gif(gif_control()),
        gif(gif_frame(1, left=1)),
        gif(gif_frame(1), height=HEIGHT - 1),
        gif(b"?"),
        gif(gif_frame(1))[:-3],
        gif(gif_frame(1))[:11],
        gif(gif_control() * 2**17)[:-1] * 2,
        gif(gif_frame(0, 0, 0), width=0),
    ],
)
def test_a_damaged_gif_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedContainerError):
        read_container(data)
