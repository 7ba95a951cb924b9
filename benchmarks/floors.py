"""What the shipped networks take at least on a card: arithmetic, and traffic to its memory.

    python benchmarks/floors.py [--models denoise-gaussian,denoise-gaussian-fast]
                                [--teraflops 989 --terabytes 4.8]

Half precision. Arithmetic: two operations for each multiplication and addition of all convolutions.
Traffic: each convolution reads its input and writes its answer once, with ReLU and additions fused
into it; what it adds to is read once; kernels and the 8-bit picture are not counted. The defaults
are the maker's figures for an NVIDIA H200: dense half precision, and memory.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from restore.models.unet import ResidualBlock
from restore.models.weights import load_model

HALF = 2  # bytes
SIDE = 512  # of the picture that goes through


def counted(name: str, side: int = SIDE) -> tuple[float, float]:
    """Operations and bytes for each pixel of a picture."""
    network = load_model(name)
    assert isinstance(network, nn.Module)
    operations = traffic = 0

    def convolution(layer: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        nonlocal operations, traffic
        assert isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
        inputs, outputs = given[0].numel(), found.numel()
        taps = layer.weight.numel() // (layer.in_channels * layer.out_channels)
        if isinstance(layer, nn.Conv2d):
            operations += 2 * outputs * layer.in_channels * taps
        else:
            operations += 2 * inputs * layer.out_channels * taps
            traffic += outputs * HALF  # the skip that its answer is added to
        traffic += (inputs + outputs) * HALF

    def block(layer: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        nonlocal traffic
        traffic += found.numel() * HALF  # the block's input, added to its answer

    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(convolution)
        elif isinstance(layer, ResidualBlock):
            layer.register_forward_hook(block)
    with torch.inference_mode():
        network(torch.zeros(1, network.channels, side, side))
    return operations / side**2, traffic / side**2


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="denoise-gaussian,denoise-gaussian-fast")
    parser.add_argument("--teraflops", type=float, default=989)
    parser.add_argument("--terabytes", type=float, default=4.8)
    asked = parser.parse_args()
    for name in asked.models.split(","):
        operations, traffic = counted(name)
        arithmetic, memory = asked.teraflops * 1e6 / operations, asked.terabytes * 1e6 / traffic
        print(
            f"{name:<24} {operations / 1e3:.0f} kFLOP and {traffic:.0f} bytes a pixel: "
            f"at most {arithmetic:.0f} MP/s by arithmetic, {memory:.0f} MP/s by memory"
        )


if __name__ == "__main__":
    main()
