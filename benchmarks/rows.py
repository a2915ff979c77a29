"""What is timed: layer sets of backbones (the rows) at picture sizes; a row at a size is a case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# In pixels, width first as in results.json and on the command line. onnxdream's own type has the height first, and
# PyTorch's environment does not have onnxdream.
WidthHeight = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """A layer set of a backbone of `onnxdream.models.backbones`; `objective` is mean or l2."""

    name: str
    title: str
    backbone: str
    layer_set: str
    objective: str = "mean"


@dataclass(frozen=True)
class Case:
    """A row at a size; `folder` has the row's fixtures."""

    folder: Path
    size: WidthHeight

    @property
    def size_name(self) -> str:
        """The size as in 512x384, width first."""
        return "{}x{}".format(*self.size)

    @property
    def picture(self) -> Path:
        """The file of the picture, uint8 [height, width, 3], RGB."""
        return self.folder / f"{self.size_name}-picture.npy"

    @property
    def image(self) -> Path:
        """The file of the picture as an image, float32 [3, height, width] from -1 to 1."""
        return self.folder / f"{self.size_name}-image.npy"

    @property
    def gradient(self) -> Path:
        """The file of TensorFlow's gradient at that image, float32 [3, height, width]."""
        return self.folder / f"{self.size_name}-gradient.npy"


ROWS = (
    Row("v3-low", "Inception-v3, mixed0–2", "v3", "paper-low"),
    Row("v3-high", "Inception-v3, mixed6–8", "v3", "paper-high"),
    Row("irv2", "Inception-ResNet-v2, block35_2 and 4", "inception-resnet-v2", "paper-low"),
    # The output of a block has no activation: the gradient of its mean would hardly depend on the picture.
    Row("lite0", "EfficientNet-Lite0, blocks 03 and 05–10 (l2)", "lite0", "low", "l2"),
)
# In units of the input range. All systems start from the same image and apply the same update.
STEP_SIZE = 0.003
SIZES: tuple[WidthHeight, ...] = ((256, 256), (512, 384), (1024, 768))
# The case with which cold start, memory and a whole dream are measured.
STANDARD_ROW, STANDARD_SIZE = "v3-low", (512, 384)
# 0.05 to 2 megapixels, all with the same aspect ratio.
SCALING_SIZES: tuple[WidthHeight, ...] = ((256, 192), (512, 384), (1024, 768), (1632, 1224))
