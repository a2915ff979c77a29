"""Exports for tests of something else than the verification."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def unverified() -> Iterator[None]:
    """Leaves out the comparison with TensorFlow and the measurement of memory, which tests of their own cover.

    They take most of the time of a small export. Also decorates a test.
    """
    from onnxdream.export import bundle

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "verify", lambda *_: ())
        patch.setattr(bundle, "measure", lambda *_: None)
        yield
