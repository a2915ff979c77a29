"""WebP files up to their pixels."""

from __future__ import annotations

import cv2
import numpy as np
from picture_bytes import HEIGHT, PICTURE, WIDTH, decoded, encoded, vp8x_chunk, webp, webp_chunk

from onnxdream.runtime.image.formats.kinds import read_container


def test_the_first_frame_of_an_animation_is_decoded() -> None:
    frames = [encoded(".webp", PICTURE[..., :3] // divisor, cv2.IMWRITE_WEBP_QUALITY, 101) for divisor in (1, 2)]
    sizes = (WIDTH - 1).to_bytes(3, "little") + (HEIGHT - 1).to_bytes(3, "little")
    header = bytes(6) + sizes + (100).to_bytes(3, "little") + b"\0"
    animation = [webp_chunk(b"ANMF", header + frame[12:]) for frame in frames]
    container = read_container(webp(vp8x_chunk(0x02), webp_chunk(b"ANIM", bytes(6)), *animation))
    assert (container.width, container.height) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(decoded(container.decodable)[..., :3], PICTURE[..., :3])
