"""Tensors on the host, and what a there says of itself. No GPU is needed: there they are the same calls."""

from __future__ import annotations

import numpy as np
import pytest

from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.tensors import Device, Tensor
from onnxdream.runtime.settings.settings import ProviderName


@pytest.mark.parametrize(
    ("provider", "device"), [("cpu", "cpu"), ("openvino", "cpu"), ("cuda", "cuda"), ("tensorrt", "cuda")]
)
def test_an_aide_works_in_the_same_memory_without_preparation(provider: ProviderName, device: str) -> None:
    there = Device(Machine(provider, 3, "mixed", 10**9))
    assert there.name == device
    assert there.native_machine == Machine(device, 3, "fp32", 10**9)  # type: ignore[arg-type]
    assert Device(there.native_machine).name == device
    assert (there.fetch_interval > 1) == (device == "cuda")


def test_a_tensor_on_the_host_is_the_array_itself() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = Device(Machine("cpu", 1)).tensor(values)
    values[0, 0] = 9
    assert tensor.value.numpy()[0, 0] == 9
    assert tensor.fetch() is values
    assert tensor.shape == (2, 3)


def test_an_array_that_onnxruntime_cannot_write_to_is_copied() -> None:
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    fixed = np.zeros(4, np.float32)
    fixed.flags.writeable = False
    for values in (turned, fixed):
        tensor = Tensor.on_host(values)
        assert tensor.fetch() is not values
        np.testing.assert_array_equal(tensor.value.numpy(), values)


def test_an_empty_tensor_has_its_shape() -> None:
    tensor = Device(Machine("cpu", 1)).empty((1, 3, 4, 5))
    assert tensor.shape == (1, 3, 4, 5)
    assert tensor.fetch().dtype == np.float32
