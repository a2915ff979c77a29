"""What the command line does with the standard streams of its process."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from onnxdream.models.streams import filtered_import

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs a file in memory")
NOISE = b"[W:onnxruntime:Default, device_discovery.cc:164 DiscoverDevicesForPlatform] GPU device discovery failed"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that writes to standard error as native code does."""
    code = (
        f"import os\nos.write(2, b'before\\nmessages before absl::InitializeLog()\\n' + {NOISE!r} + b'\\nafter\\n')\n"
    )
    (tmp_path / "writes_lines.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "writes_lines", raising=False)
    return "writes_lines"


def test_an_import_loses_the_lines_that_are_noise_and_no_others(module: str, capfd: pytest.CaptureFixture[str]) -> None:
    finders, files = list(sys.meta_path), len(os.listdir("/proc/self/fd"))
    with filtered_import(module, "device_discovery.cc", "absl::InitializeLog"):
        assert find_spec(module) is not None  # which does not load it
        import_module(module)
        os.write(2, NOISE)  # after the import, everything is shown
    assert capfd.readouterr() == ("", f"before\nafter\n{NOISE.decode()}")
    assert (list(sys.meta_path), len(os.listdir("/proc/self/fd"))) == (finders, files)


def test_a_module_that_cannot_be_imported_still_tells_why(
    module: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with open(tmp_path / f"{module}.py", "a", encoding="utf-8") as file:
        file.write("raise ImportError('built for numpy 1')\n")
    with (
        filtered_import(module, "device_discovery.cc", "absl::InitializeLog"),
        pytest.raises(ImportError, match="built for numpy 1"),
    ):
        import_module(module)
    assert capfd.readouterr().err == "before\nafter\n"
