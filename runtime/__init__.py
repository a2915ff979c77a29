"""Dreams a picture with a bundle. The only heavy packages it needs are numpy, onnxruntime and OpenCV.

from onnxdream import dream
result = dream("bears.jpg", "lite0", "creatures")

The names below are those of `onnxdream`, too; docs/python.md shows how to use them.
"""

from importlib.util import find_spec

_MISSING = [name for name in ("onnxruntime", "cv2") if find_spec(name) is None]
if _MISSING:
    raise ImportError(
        f"dreaming needs {' and '.join(_MISSING)}: "
        "install one of onnxdream[cpu], onnxdream[gpu], onnxdream[tensorrt], onnxdream[openvino]"
    )

import cv2  # noqa: E402

if tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 8):  # as Ubuntu 22.04's, whose constants are fewer
    raise ImportError(
        f"onnxdream needs OpenCV 4.8, not {cv2.__version__}: pip install -U 'opencv-python-headless>=4.8,<6'"
    )

from ..models.errors import OnnxdreamError  # noqa: E402
from .ascent.step import Step  # noqa: E402
from .bundle.bundle import Bundle  # noqa: E402
from .bundle.sessions import Sessions  # noqa: E402
from .dream.run import Dream, Preparation, dream, prepare  # noqa: E402
from .film.frames.coherence import dream_film  # noqa: E402
from .film.settings import Coherence  # noqa: E402
from .settings.changes import Change, changes_at  # noqa: E402
from .settings.presets import PRESETS, preset  # noqa: E402
from .settings.settings import Execution, Settings  # noqa: E402

__all__ = [
    "PRESETS",
    "Bundle",
    "Change",
    "Coherence",
    "Dream",
    "Execution",
    "OnnxdreamError",
    "Preparation",
    "Sessions",
    "Settings",
    "Step",
    "changes_at",
    "dream",
    "dream_film",
    "prepare",
    "preset",
]
