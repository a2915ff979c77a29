"""The settings of films: what they accept, and how the command line writes them."""

from __future__ import annotations

from typing import Any

import pytest

from onnxdream.runtime.errors import SettingsError
from onnxdream.runtime.film.settings import Camera, Travel
from onnxdream.runtime.settings.kinds import Place
from onnxdream.runtime.settings.settings import descriptions


@pytest.mark.parametrize("given", ["0.5,0.25", " 0.5 , 0.25", (0.5, 0.25), [0.5, 0.25]])
def test_a_place_is_x_and_y(given: Any) -> None:
    assert Camera(centre=Place().read("centre", given)).centre == (0.5, 0.25)


@pytest.mark.parametrize("given", ["0.5", "0.5,x", "0.5,0.5,0.5", ""])
def test_any_other_place_is_explained(given: str) -> None:
    with pytest.raises(SettingsError, match=r"write x and y as parts of the picture, as in 0\.5,0\.25"):
        Place().read("centre", given)


@pytest.mark.parametrize(("seconds", "fps", "count"), [(2, 25, 50), (0.1, 24, 2), (0.01, 1, 1)])
def test_a_film_has_a_frame_at_least(seconds: float, fps: float, count: int) -> None:
    assert Camera(seconds=seconds, fps=fps).count == Travel(seconds=seconds, fps=fps).count == count


@pytest.mark.parametrize("group", [Camera, Travel])
def test_every_setting_is_described(group: type[Any]) -> None:
    for name, description in descriptions(group).items():
        assert description.sentence.endswith(".")
        assert description.kind.checked(name, description.default) == description.default
