"""What all tests of the export share."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def settled_heap() -> None:
    """Hides what lives now from the garbage collector.

    Keras collects garbage before each model that it builds. Among the networks that earlier tests keep, that would take
    longer than building a small model.
    """
    gc.collect()
    gc.freeze()
