"""What `import onnxdream` offers: the names of the runtime, which is imported only when one of them is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import onnxdream
from onnxdream import runtime


def run(code: str) -> str:
    """What a fresh Python prints."""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def test_the_package_offers_all_names_of_the_runtime() -> None:
    assert set(onnxdream.__all__) == {*runtime.__all__, "__version__"}
    for name in runtime.__all__:
        assert getattr(onnxdream, name) is getattr(runtime, name)
        assert name in dir(onnxdream)


def test_importing_the_package_imports_nothing_else() -> None:
    show = "import sys; before = set(sys.modules); import onnxdream; print(*sorted(set(sys.modules) - before))"
    assert run(show) == "onnxdream"


def test_its_names_are_imported_as_any_others() -> None:
    assert run("from onnxdream import Bundle, Settings, dream, preset; print(dream.__name__)") == "dream"
    assert run("import onnxdream; print(onnxdream.preset('paper').steps, onnxdream.__version__)") == "1000 0.1.0"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'onnxdream' has no attribute 'dreams'"):
        onnxdream.dreams  # noqa: B018
    with pytest.raises(ImportError):
        from onnxdream import dreams  # noqa: F401
    assert not hasattr(onnxdream, "dreams")


def test_an_old_opencv_is_refused_in_a_line_that_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text('__version__ = "4.5.5"\n')
    finished = subprocess.run(
        [sys.executable, "-m", "onnxdream.cli", "doctor"],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert finished.returncode == 1
    assert finished.stderr == (
        "error: onnxdream needs OpenCV 4.8, not 4.5.5: pip install -U 'opencv-python-headless>=4.8,<6'\n"
    )
