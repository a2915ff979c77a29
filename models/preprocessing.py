"""What networks take as their input, computed from an image from -1 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Preprocessing:
    """How a network's input is computed from an image whose pixels range from -1 to 1: image * scale + offset.

    `scale` and `offset` are those of red, green and blue. `is_bgr` is whether the network takes blue, green and red.
    """

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    is_bgr: bool = False

    @classmethod
    def uniform(cls, scale: float, offset: float) -> Preprocessing:
        """Returns a preprocessing that is the same for all three colours."""
        return cls((scale,) * 3, (offset,) * 3)

    @classmethod
    def standardised(cls, mean: tuple[float, float, float], deviation: tuple[float, float, float]) -> Preprocessing:
        """Returns (pixel - mean) / deviation for pixels from 0 to 1."""
        offset = tuple((0.5 - m) / d for m, d in zip(mean, deviation, strict=True))
        return cls(tuple(0.5 / d for d in deviation), offset)  # type: ignore[arg-type]

    @property
    def is_uniform(self) -> bool:
        """Whether it is the same for all three colours, in the order red, green, blue."""
        return len(set(self.scale)) == len(set(self.offset)) == 1 and not self.is_bgr


# The preprocessing of networks that take an image as it is.
UNCHANGED = Preprocessing.uniform(1.0, 0.0)
_RAW = Preprocessing.uniform(127.5, 127.5)
_CAFFE_MEAN = (123.68, 116.779, 103.939)  # of red, green and blue
# The names that users and Keras's documentation have for them.
PREPROCESSINGS: Mapping[str, Preprocessing] = MappingProxyType(
    {
        "tf": UNCHANGED,  # -1 to 1
        "unit": Preprocessing.uniform(0.5, 0.5),  # 0 to 1
        "raw": _RAW,  # 0 to 255
        "caffe": Preprocessing(_RAW.scale, tuple(127.5 - mean for mean in _CAFFE_MEAN), is_bgr=True),  # type: ignore[arg-type]
        "torch": Preprocessing.standardised((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "lite": Preprocessing.uniform(127.5 / 128, 0.5 / 128),  # (pixel - 127) / 128 for pixels from 0 to 255
    }
)
