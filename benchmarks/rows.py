"""What is timed: layer sets of backbones, at picture sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Row:
    """A layer set of a backbone of `onnxdream.models.backbones`."""

    name: str
    title: str
    backbone: str
    layer_set: str


@dataclass(frozen=True)
class Case:
    """A row at a size; its folder holds what `fixtures` made of the row."""

    folder: Path
    size: Size

    @property
    def size_name(self) -> str:
        """Width first."""
        return "{}x{}".format(*self.size)

    @property
    def picture(self) -> Path:
        """uint8 [height, width, 3], RGB, from 0 to 255."""
        return self.folder / f"{self.size_name}-picture.npy"

    @property
    def image(self) -> Path:
        """The picture as float32 [3, height, width] in the backbone's range."""
        return self.folder / f"{self.size_name}-image.npy"

    @property
    def gradient(self) -> Path:
        """TensorFlow's gradient of that image, float32 [3, height, width]."""
        return self.folder / f"{self.size_name}-gradient.npy"


ROWS = (
    Row("v3-low", "Inception-v3, mixed0–2", "v3", "paper-low"),
    Row("v3-high", "Inception-v3, mixed6–8", "v3", "paper-high"),
    Row("irv2", "Inception-ResNet-v2, block35_2 and 4", "inception-resnet-v2", "paper-low"),
)
# In units of the range, as in the paper's preset; all climb from the same image by the same rule.
STEP_SIZE = 0.003
SIZES: tuple[Size, ...] = ((256, 256), (512, 384), (1024, 768))
# Where start, memory and a whole job are measured.
HOME_ROW, HOME_SIZE = "v3-low", (512, 384)
# 0.05 to 2 megapixels, all of one shape.
SCALING_SIZES: tuple[Size, ...] = ((256, 192), (512, 384), (1024, 768), (1632, 1224))
