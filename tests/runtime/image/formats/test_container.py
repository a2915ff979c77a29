"""What is read from the bytes of picture files of any kind."""

from __future__ import annotations

from picture_bytes import PROFILE

from onnxdream.runtime.image.formats.container import profile_colours


def test_the_colour_space_of_a_profile_is_read() -> None:
    assert profile_colours(PROFILE) == "RGB"
    assert profile_colours(bytes(16) + b"GRAY" + bytes(200)) == "GRAY"
    assert profile_colours(bytes(16) + b"\xff\xfe" + bytes(200)) == "ÿþ\0\0"
