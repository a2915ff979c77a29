"""Parsers of the texts that the command line and config files give for settings."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from ..errors import SettingsError

GuideKind = Literal["surplus", "cosine", "caricature"]
_MAX_POWER = 100.0  # of a caricature's cosine
_MAX_SIDE = 99_999  # of a size in pixels
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def finite_number(text: str) -> float | None:
    """Returns a finite number, or None if a text is not one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def parse_layer_weights(text: str) -> dict[str, float]:
    """Reads `mixed0=1,mixed2=-0.5`; a name alone has weight 1, and one with a = must have one. Raises SettingsError."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        named, _, number = part.rpartition("=") if "=" in part else (part, "", "")
        layer, number = named.strip(), number.strip()
        if not layer or layer in weights:
            raise SettingsError(f"layer weights {text!r}: write each layer once, as in mixed0=1,mixed2=-0.5")
        try:
            weights[layer] = float(number) if number else 1.0
        except ValueError:
            raise SettingsError(f"weight {number!r} of {layer} is not a number: write mixed0=1,mixed2=-0.5") from None
    return weights


def parse_layers(given: str | Sequence[str]) -> dict[str, float]:
    """Reads `mixed3,mixed5` or a list of names, whatever their characters, as layers of weight 1.

    Raises SettingsError.
    """
    parts = given.split(",") if isinstance(given, str) else given
    names = [name.strip() for name in parts]
    has_weights = isinstance(given, str) and "=" in given
    if not names or not all(names) or len(set(names)) < len(names) or has_weights:
        raise SettingsError(f"layers {given!r}: write each layer once, as in mixed3,mixed5")
    return dict.fromkeys(names, 1.0)


def parse_snapshots(text: str) -> tuple[int, ...]:
    """Reads `100,500,1000`; `none`, `0` or an empty text mean no snapshots. Raises SettingsError."""
    if text.strip().lower() in ("none", "0"):
        return ()
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise SettingsError(f"snapshots {text!r}: write numbers of steps, as in 100,500,1000") from None


def parse_memory(text: str) -> int:
    """Reads `1GB`, `512MB`, `1.5GiB` or a plain number as bytes. Raises SettingsError."""
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d+)?)\s*((?:[KMG]I?)?B)?\s*", text.upper())
    size = int(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    if not size:
        raise SettingsError(f"memory {text!r}: write a size as in 1GB or 512MB")
    return size


def parse_size(text: str, option: str = "noise") -> tuple[int, int]:
    """Reads the `512x384` of an option as pixels, width first. Raises SettingsError."""
    match = re.fullmatch(r"\s*(\d{1,15})\s*[x×]\s*(\d{1,15})\s*", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (width and height):
        raise SettingsError(f"{option} {text!r}: write width x height, as in 512x384")
    if max(width, height) > _MAX_SIDE:
        raise SettingsError(f"{option} {text!r}: a side has at most {_MAX_SIDE} pixels")
    return width, height


@dataclass(frozen=True)
class GuideBy:
    """How a guide counts: `kind` is its way, and `power` that of a caricature's cosine."""

    kind: GuideKind
    power: float = 2.0

    @property
    def is_function(self) -> bool:
        """Whether it is a function of channel means, in place of weights that stay the same."""
        return self.kind != "surplus"


def parse_guide_by(text: str, kinds: Sequence[GuideKind] = get_args(GuideKind)) -> GuideBy:
    """Reads one of `kinds`, or `caricature:4` with the power of the cosine. Raises SettingsError."""
    kind, colon, number = text.partition(":")
    power = finite_number(number) if colon else GuideBy.power
    is_known = kind in kinds and (kind == "caricature" or not colon)
    if not is_known or power is None or not 0 <= power <= _MAX_POWER:
        raise SettingsError(f"guide by {text!r}: write {', '.join(kinds)} or caricature:4")
    return GuideBy(cast(GuideKind, kind), power)
