"""High dynamic range, compared with the figures of BT.2100 and BT.2408."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxdream.runtime.video.hdr import Transfer, to_sdr


def shown(transfer: Transfer, *signal: float) -> list[int]:
    """The sRGB levels of one pixel with these signals from 0 to 1."""
    pixel = np.round(np.array(signal) * 65535).astype(np.uint16)
    return [int(level) for level in to_sdr(pixel.reshape(1, 1, 3), transfer)[0, 0]]


@pytest.mark.parametrize(("transfer", "white"), [("PQ", 0.5806), ("HLG", 0.75)])
def test_greys_stay_grey_and_keep_their_order(transfer: Transfer, white: float) -> None:
    """White is 58 % of the signal in PQ and 75 % in HLG (BT.2408-7, table 1)."""
    levels = [shown(transfer, *[white * part] * 3) for part in (0, 0.25, 0.5, 0.75, 1, 1 / white)]
    assert all(max(level) - min(level) <= 1 for level in levels)
    greys = [level[1] for level in levels]
    assert greys == sorted(set(greys))
    assert greys[0] == 0
    assert 205 < greys[4] < 240  # white leaves room for what is brighter
    assert greys[5] == 255


@pytest.mark.parametrize("transfer", ["PQ", "HLG"])
def test_dark_light_is_kept(transfer: Transfer) -> None:
    """A grey card of 26 cd/m² is 38 % of the signal in both (BT.2408-7, table 1): 26 / 203 of white is level 100."""
    assert abs(shown(transfer, 0.38, 0.38, 0.38)[0] - 100) <= 2


def test_bt2020_colours_become_bt709_colours() -> None:
    """BT.709's red in BT.2020 (BT.2087, inverse of annex 2) at 50 cd/m²; what BT.709 lacks is cut off."""
    light = np.array([0.6274, 0.0691, 0.0164]) * 50 / 10000
    signal = ((0.8359375 + 18.8515625 * light**0.1593017578125) / (1 + 18.6875 * light**0.1593017578125)) ** 78.84375
    red, green, blue = shown("PQ", *signal)
    assert abs(red - 136) <= 2
    assert max(green, blue) <= 6
    assert shown("PQ", 0, 0.5, 0)[0] == 0


@pytest.mark.parametrize(("transfer", "code"), [("PQ", 16), ("HLG", 18)])
def test_a_film_of_high_dynamic_range_becomes_standard(transfer: Transfer, code: int, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from clips import BT2020, Clip, write_clip

    from onnxdream.runtime.video.reader import FilmReader

    picture = np.full((48, 64, 3), round(0.5 * 65535), np.uint16)
    clip = Clip(
        [picture] * 2,
        codec="libx265",
        pixels="yuv420p10le",
        matrix=BT2020,
        transfer=code,
        ticks=1000,
        options={"x265-params": "log-level=0:lossless=1:bframes=0"},
    )
    lines: list[str] = []
    with FilmReader(write_clip(tmp_path / "a.mkv", clip), log=lines.append) as reader:
        (frame, _) = reader
    assert frame.pixels is not None
    assert np.abs(frame.pixels.mean(axis=(0, 1)) - shown(transfer, 0.5, 0.5, 0.5)).max() < 3
    assert lines == [f"a.mkv: it has high dynamic range ({transfer}), which becomes the standard one"]
