"""The building blocks of the convolutional autoencoders.

All are bias-free: without additive constants a ReLU network is scale-equivariant, f(a x) = a f(x),
and generalises to noise levels that it was not trained on (Mohan et al., "Robust and interpretable
blind image denoising via bias-free convolutional neural networks", ICLR 2020).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size: (N, inputs, H, W) -> (N, outputs, H, W)."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def down(inputs: int, outputs: int) -> nn.Conv2d:
    """A strided convolution that halves the size: (N, inputs, H, W) -> (N, outputs, H/2, W/2)."""
    return nn.Conv2d(inputs, outputs, 2, stride=2, bias=False)


def up(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles the size: (N, inputs, H, W) -> (N, outputs, 2H, 2W)."""
    return nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), the block of EDSR (Lim et al. 2017) and DRUNet (Zhang et al. 2021).

    Without normalisation, which would make pixels depend on the whole tile or add constants.
    """

    def __init__(self, width: int) -> None:
        """`width`: channels in and out."""
        super().__init__()
        self.conv1 = conv3x3(width, width)
        self.conv2 = conv3x3(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, width, H, W)."""
        # in place: at full resolution, writing another tensor to memory takes noticeable time
        y: Tensor = self.conv2(F.relu(self.conv1(x), inplace=True))
        return y.add_(x)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """He initialisation; the last convolution of each block and of the network start near zero.

    Each block, and so the whole network, starts close to the identity whatever its depth.
    """
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            # each output of a 2x2 transposed convolution of stride 2 has one tap per input channel
            one_tap = isinstance(module, nn.ConvTranspose2d)
            fan_in = module.in_channels if one_tap else module.weight[0].numel()
            variance = (2.0 if name.endswith("conv1") else 1.0) / fan_in  # a ReLU follows conv1
            gain = 0.1 if name.endswith(("conv2", "tail")) else 1.0
            with torch.no_grad():
                module.weight.normal_(0.0, gain * variance**0.5, generator=generator)
