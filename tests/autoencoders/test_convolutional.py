"""The convolutional autoencoder: sizes by the arithmetic of convolutions, on the way and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from restore.autoencoders.convolutional import (
    ConvolutionalAutoencoder,
    convolved_size,
    doubling_kernel,
    transposed_size,
)


@pytest.mark.parametrize("size", range(5, 30))
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (4, 2, 1), (5, 3, 2)])
def test_sizes_follow_the_arithmetic_of_convolutions(
    size: int, kernel: int, stride: int, padding: int
) -> None:
    x = torch.zeros(1, 1, size, size)
    down = nn.Conv2d(1, 1, kernel, stride, padding)(x)
    up = nn.ConvTranspose2d(1, 1, kernel, stride, padding)(x)
    assert down.shape[2] == convolved_size(size, kernel, stride, padding)
    assert up.shape[2] == transposed_size(size, kernel, stride, padding)


def test_transposed_convolutions_restore_every_size() -> None:
    assert [
        convolved_size(28, 3, 2, 1),
        convolved_size(14, 3, 2, 1),
        convolved_size(7, 3, 2, 1),
    ] == [14, 7, 4]
    for size in range(2, 100):
        small = convolved_size(size, 3, 2, 1)
        assert transposed_size(small, doubling_kernel(size), 2, 1) == size
    assert ConvolutionalAutoencoder((1, 28, 28)).map == (128, 4, 4)


def test_a_centred_network_starts_at_the_mean_of_each_channel() -> None:
    mean = torch.stack([torch.full((8, 8), 0.2), torch.eye(8)])
    network = ConvolutionalAutoencoder((2, 8, 8), 4, widths=(4,))
    network.centre(mean)
    bias = network.state_dict()["up.1.bias"]  # SiLU, then the one layer
    assert torch.allclose(bias.sigmoid(), torch.tensor([0.2, 0.125]))
