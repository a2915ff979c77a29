"""Tensors on the host, and the properties of devices. No GPU is needed: a GPU's tensors take the same calls."""

from __future__ import annotations

import numpy as np
import pytest

from onnxdream.runtime.provider.machine import Machine
from onnxdream.runtime.provider.tensors import Device, GraphReplay, Tensor
from onnxdream.runtime.settings.settings import ProviderName


@pytest.mark.parametrize(
    ("provider", "name"), [("cpu", "cpu"), ("openvino", "cpu"), ("cuda", "cuda"), ("tensorrt", "cuda")]
)
def test_the_native_machine_computes_in_the_same_memory(provider: ProviderName, name: str) -> None:
    device = Device(Machine(provider, 3, "mixed", 10**9, tune=True))
    assert device.name == name
    assert device.native_machine == Machine(name, 3, "fp32", 10**9)  # type: ignore[arg-type]
    assert Device(device.native_machine).name == name
    assert (device.fetch_interval > 1) == (name == "cuda")


def test_a_tensor_on_the_host_is_the_array_itself() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = Device(Machine("cpu", 1)).tensor(values)
    values[0, 0] = 9
    assert tensor.value.numpy()[0, 0] == 9
    assert tensor.fetch() is values
    assert tensor.shape == (2, 3)


def test_an_array_that_onnxruntime_cannot_write_to_is_copied() -> None:
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    read_only = np.zeros(4, np.float32)
    read_only.flags.writeable = False
    for values in (transposed, read_only):
        tensor = Tensor.on_host(values)
        assert tensor.fetch() is not values
        np.testing.assert_array_equal(tensor.value.numpy(), values)


def test_an_empty_tensor_has_its_shape() -> None:
    tensor = Device(Machine("cpu", 1)).empty((1, 3, 4, 5))
    assert tensor.shape == (1, 3, 4, 5)
    assert tensor.fetch().dtype == np.float32


def graphs_of(replay: GraphReplay, runs: int) -> list[str]:
    """The numbers of the CUDA graphs of the next runs; -1 is none."""
    return [replay.next_options().get_run_config_entry("gpu_graph_id") for _ in range(runs)]


def test_a_graph_is_captured_after_some_plain_runs() -> None:
    """An octave of a few steps would not make good the time that a capture takes."""
    replay = GraphReplay(3)
    assert graphs_of(replay, 8) == ["-1"] * 5 + ["3"] * 3
    replay.give_up()
    assert graphs_of(replay, 2) == ["-1"] * 2


def test_without_a_number_there_is_no_graph() -> None:
    assert graphs_of(GraphReplay(None), 8) == ["-1"] * 8
