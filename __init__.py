"""onnxdream: DeepDream on ONNX Runtime; the losses and their gradient are exported once as plain ONNX.

from onnxdream import dream
result = dream("bears.jpg", "lite0", "creatures")
"""

TYPE_CHECKING = False  # typing's constant, without the time that importing typing takes
if TYPE_CHECKING:
    from .runtime import (
        PRESETS,
        Bundle,
        Change,
        Coherence,
        Dream,
        Execution,
        OnnxdreamError,
        Preparation,
        Sessions,
        Settings,
        Step,
        changes_at,
        dream,
        dream_film,
        prepare,
        preset,
    )

__version__ = "0.1.0"
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
    "__version__",
    "changes_at",
    "dream",
    "dream_film",
    "prepare",
    "preset",
]


def __getattr__(name: str) -> object:
    """Imports the runtime, and with it onnxruntime and OpenCV, when one of its names is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import runtime

    return getattr(runtime, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
