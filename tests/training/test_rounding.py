"""Half precision is called close to float32 only where it is."""

from __future__ import annotations

import torch

from restore.models.upscaler import Upscaler
from restore.training.rounding import close_precisions


def test_a_network_that_adds_little_is_close_in_bf16() -> None:
    network = Upscaler(2, 3, (8,), (1,))
    before = network.state_dict()["tail.weight"].clone()
    assert close_precisions(network) == ["bf16"]
    assert network.tail.weight.dtype == torch.float32
    torch.testing.assert_close(network.tail.weight, before)


def test_one_that_adds_large_values_is_not() -> None:
    network = Upscaler(2, 3, (8,), (1,))
    with torch.no_grad():
        network.tail.weight *= 100
    assert close_precisions(network) == []


def test_grey_networks_are_measured_too() -> None:
    assert close_precisions(Upscaler(3, 1, (8,), (1,))) == ["bf16"]
