"""The kinds of values that settings take: what each accepts, and how it is read from the command line or a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, get_args

import numpy as np

from ..errors import SettingsError
from .colours import parse_colours
from .parsing import GuideKind, parse_guide_by, parse_layer_weights, parse_memory, parse_size, parse_snapshots
from .schedule import parse_schedule, schedule_error


def plain(value: Any) -> Any:
    """Converts NumPy's numbers, texts and arrays into Python's, also within a list or tuple."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


def _as_tuple(value: Any) -> Any:
    """Converts a list or a range into a tuple."""
    return tuple(value) if isinstance(value, list | range) else value


class Kind:
    """A kind of value. `option` is the type that the command line gives."""

    option: ClassVar[Any] = str

    def checked(self, name: str, value: Any) -> Any:
        """Returns a plain value as settings store it, which JSON can represent.

        `name` is the setting's name in messages. Raises SettingsError unless the value is of this kind.
        """
        raise NotImplementedError

    def read(self, name: str, value: Any) -> Any:
        """Converts a value of the command line or of a config file to what the setting takes. Raises SettingsError."""
        return value

    def write(self, value: Any) -> Any:
        """Converts a setting back to what a config file holds and `read` accepts; None for a setting to leave out."""
        return list(value) if isinstance(value, tuple) else value

    def __str__(self) -> str:
        """Returns what the kind accepts, in words."""
        raise NotImplementedError


@dataclass(frozen=True)
class IntRange(Kind):
    """A whole number within a range."""

    minimum: int
    maximum: int
    option: ClassVar[Any] = int
    noun: ClassVar[str] = "a whole number"

    def checked(self, name: str, value: Any) -> int:
        if type(value) is not int or not self.minimum <= value <= self.maximum:
            raise SettingsError(f"{name} must be {self.noun} from {self.minimum} to {self.maximum}, not {value!r}")
        return value

    def __str__(self) -> str:
        return f"{self.minimum} to {self.maximum}"


@dataclass(frozen=True)
class FloatRange(Kind):
    """A number within a range."""

    minimum: float
    maximum: float
    option: ClassVar[Any] = float

    def checked(self, name: str, value: Any) -> float:
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not is_number or not self.minimum <= value <= self.maximum:  # which NaN is not, either
            raise SettingsError(f"{name} must be a number from {self.minimum:g} to {self.maximum:g}, not {value!r}")
        return value if type(value) is int else float(value)

    def __str__(self) -> str:
        return f"{self.minimum:g} to {self.maximum:g}"


@dataclass(frozen=True)
class Scheduled(Kind):
    """A number, or a pair of numbers for an octave's first and last step."""

    number: FloatRange

    def checked(self, name: str, value: Any) -> float | tuple[float, float]:
        ends = _as_tuple(value)
        if not isinstance(ends, tuple):
            return self.number.checked(name, value)
        if len(ends) != 2 or not all(isinstance(end, Real) and not isinstance(end, bool) for end in ends):
            raise schedule_error(name, value)
        return self.number.checked(name, ends[0]), self.number.checked(name, ends[1])

    def read(self, name: str, value: Any) -> Any:
        if isinstance(value, str):
            return parse_schedule(name, value)
        return _as_tuple(value)

    def __str__(self) -> str:
        return f"{self.number}, or first:last"


@dataclass(frozen=True)
class Choice(Kind):
    """One of the words of a Literal."""

    words: Any

    def checked(self, name: str, value: Any) -> Any:
        if value not in get_args(self.words):
            raise SettingsError(f"{name} must be one of {', '.join(get_args(self.words))}, not {value!r}")
        return value

    def __str__(self) -> str:
        *others, last = get_args(self.words)
        return f"{', '.join(others)} or {last}"


@dataclass(frozen=True)
class NumberedChoice(Choice):
    """One of the words of a Literal. Those in `numbered` may be followed by the number of a device, as in cuda:1."""

    numbered: tuple[str, ...]

    def checked(self, name: str, value: Any) -> Any:
        word, number = value.partition(":")[::2] if isinstance(value, str) else ("", "")
        if word in self.numbered and re.fullmatch(r"[0-9]{1,2}", number):
            return value
        return super().checked(name, value)


class Flag(Kind):
    """True or false."""

    option: ClassVar[Any] = bool

    def checked(self, name: str, value: Any) -> bool:
        if type(value) is not bool:
            raise SettingsError(f"{name} must be true or false, not {value!r}")
        return value

    def __str__(self) -> str:
        return "true or false"


class Text(Kind):
    """Any text."""

    def checked(self, name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise SettingsError(f"{name} must be text, not {value!r}")
        return value

    def __str__(self) -> str:
        return "text"


class ColourChoice(Text):
    """The source of a dream's colours, as `parse_colours` reads it."""

    def checked(self, name: str, value: Any) -> str:
        parse_colours(value)
        return super().checked(name, value)

    def __str__(self) -> str:
        return "free, own, own:SHARE, imagenet or lightness"


class GuideChoice(Text):
    """How a guide counts, as `parse_guide_by` reads it."""

    def checked(self, name: str, value: Any) -> str:
        text = super().checked(name, value)
        parse_guide_by(text)
        return text

    def __str__(self) -> str:
        return f"{', '.join(get_args(GuideKind))} or caricature:POWER"


@dataclass(frozen=True)
class OrNone(Kind):
    """A value of another kind, or None."""

    kind: Kind

    @property
    def option(self) -> Any:
        return self.kind.option

    def checked(self, name: str, value: Any) -> Any:
        return None if value is None else self.kind.checked(name, value)

    def read(self, name: str, value: Any) -> Any:
        return self.kind.read(name, value)

    def write(self, value: Any) -> Any:
        return None if value is None else self.kind.write(value)

    def __str__(self) -> str:
        return str(self.kind)


@dataclass(frozen=True)
class ZeroMeansNone(OrNone):
    """A value of another kind, or None, which the command line and files write as 0."""

    def checked(self, name: str, value: Any) -> Any:
        if value == 0 and value is not False:
            raise SettingsError(f"{name} must be {self.kind}, or None for no limit, not 0")
        return super().checked(name, value)

    def read(self, name: str, value: Any) -> Any:
        if value == 0 and value is not False:
            return None
        try:
            return self.kind.checked(name, value)
        except SettingsError:
            raise SettingsError(f"{name} must be {self}, not {value!r}") from None

    def write(self, value: Any) -> Any:
        return 0 if value is None else value

    def __str__(self) -> str:
        return f"0 or {self.kind}"


@dataclass(frozen=True)
class ListOf(Kind):
    """A list of values of another kind; on the command line, the option is repeated for each of them."""

    kind: Kind = field(default_factory=Text)
    option: ClassVar[Any] = list[str]

    def checked(self, name: str, value: Any) -> tuple[Any, ...]:
        items = _as_tuple(value)
        if not isinstance(items, tuple):
            raise SettingsError(f"{name} must be a list, not {value!r}")
        return tuple(self.kind.checked(name, item) for item in items)

    def read(self, name: str, value: Any) -> Any:
        if isinstance(value, str):
            return (value,)
        return _as_tuple(value)

    def __str__(self) -> str:
        return f"a list, each {self.kind}"


@dataclass(frozen=True)
class Snapshots(ListOf):
    """Numbers of steps, which the command line separates by commas; `none` and 0 mean an empty list."""

    option: ClassVar[Any] = str

    def read(self, name: str, value: Any) -> Any:
        if type(value) is int and value == 0:
            return ()
        return parse_snapshots(value) if isinstance(value, str) else super().read(name, value)

    def __str__(self) -> str:
        return f"none, or {super().__str__()}"


class PictureSize(Kind):
    """A width and a height in pixels."""

    def checked(self, name: str, value: Any) -> tuple[int, int]:
        sides = _as_tuple(value)
        if not isinstance(sides, tuple) or len(sides) != 2:
            raise SettingsError(f"{name} must be a width and a height, not {value!r}")
        side = IntRange(1, 65536)
        return side.checked(name, sides[0]), side.checked(name, sides[1])

    def read(self, name: str, value: Any) -> Any:
        text = "x".join(map(str, value)) if isinstance(value, list) else value
        return parse_size(text, name) if isinstance(text, str) else text

    def __str__(self) -> str:
        return "WIDTHxHEIGHT"


class Place(Kind):
    """A place in a picture: x and y as parts of its width and height."""

    def checked(self, name: str, value: Any) -> tuple[float, float]:
        numbers = _as_tuple(value)
        if not isinstance(numbers, tuple) or len(numbers) != 2:
            raise SettingsError(f"{name} must be x and y as parts of the picture, not {value!r}")
        part = FloatRange(0, 1)
        return part.checked(name, numbers[0]), part.checked(name, numbers[1])

    def read(self, name: str, value: Any) -> Any:
        if not isinstance(value, str):
            return _as_tuple(value)
        try:
            x, y = map(float, value.split(","))
        except ValueError:
            raise SettingsError(f"{name} {value!r}: write x and y as parts of the picture, as in 0.5,0.25") from None
        return x, y

    def __str__(self) -> str:
        return "X,Y, each 0 to 1"


class LayerWeights(Kind):
    """Weights of layers by name."""

    def checked(self, name: str, value: Any) -> dict[str, float]:
        """Returns a copy as a dict, because `asdict` does not take other mappings."""
        if not isinstance(value, Mapping) or not all(isinstance(layer, str) for layer in value):
            raise SettingsError(f"{name} must name layers with their weights, not {value!r}")
        number = FloatRange(-1e6, 1e6)
        return {str(layer): number.checked(f"weight of {layer}", plain(weight)) for layer, weight in value.items()}

    def read(self, name: str, value: Any) -> Any:
        return parse_layer_weights(value) if isinstance(value, str) else value

    def write(self, value: Any) -> Any:
        return dict(value)

    def __str__(self) -> str:
        return "LAYER=WEIGHT,LAYER=WEIGHT"


@dataclass(frozen=True)
class Bytes(IntRange):
    """A number of bytes, which texts may write with a unit."""

    option: ClassVar[Any] = str
    noun: ClassVar[str] = "a whole number of bytes"

    def read(self, name: str, value: Any) -> Any:
        return parse_memory(value) if isinstance(value, str) else value

    def __str__(self) -> str:
        return "a size as in 1GB or 512MB"
