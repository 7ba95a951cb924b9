"""The convolutional autoencoder, and the arithmetic of its sizes.

From i values along an axis a convolution of kernel k, stride s and padding p gives
floor((i + 2p - k) / s) + 1 values, a transposed one (i - 1) s - 2p + k (Dumoulin and Visin, "A
guide to convolution arithmetic for deep learning", 2016).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from restore.autoencoders.base import (
    Autoencoder,
    as_float32,
    check_widths,
    initialise,
    shrink_weights,
)
from restore.errors import InputError


def convolved_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """The output size of a convolution: floor((i + 2p - k) / s) + 1."""
    return (size + 2 * padding - kernel) // stride + 1


def transposed_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """The output size of a transposed convolution: (i - 1) s - 2p + k."""
    return (size - 1) * stride - 2 * padding + kernel


def doubling_kernel(size: int) -> int:
    """The kernel of the transposed convolution (stride 2, padding 1) whose output has this size.

    A 3x3 convolution of stride 2 and padding 1 reduces both 2o - 1 and 2o values to o; the way back
    needs a kernel of 3 for 2o - 1 values and of 4 for 2o.
    """
    return 3 if size % 2 else 4


class ConvolutionalAutoencoder(Autoencoder):
    """Strided convolutions to a small feature map, a dense code, transposed convolutions back.

    Masci, Meier, Ciresan and Schmidhuber, "Stacked convolutional auto-encoders for hierarchical
    feature extraction" (ICANN 2011). The denoiser of this package is related: it has the feature
    map instead of a dense code, and skip connections, and so takes pictures of any size.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 32,
        widths: Sequence[int] = (32, 64, 128),
        seed: int | None = 0,
    ) -> None:
        """`widths`: channels after each halving of the size; 28x28 becomes 14x14, 7x7 and 4x4."""
        super().__init__(shape, latent, widths=check_widths(widths))
        if not widths:
            raise InputError("a convolutional autoencoder needs the width of at least one layer")
        channels, *size = self.shape
        sizes = [tuple(size)]
        for _ in widths:
            sizes.append(tuple(convolved_size(s, 3, 2, 1) for s in sizes[-1]))
        self.map = (widths[-1], *sizes[-1])
        down: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise([channels, *widths]):
            down += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.SiLU()]
        up: list[nn.Module] = []
        steps = zip([*reversed(widths), channels][1:], reversed(widths), sizes[-2::-1], strict=True)
        for outputs, inputs, (height, width) in steps:
            kernel = (doubling_kernel(height), doubling_kernel(width))
            up += [nn.SiLU(), nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, padding=1)]
        self.down, self.up = nn.Sequential(*down), nn.Sequential(*up)
        self.code = nn.Linear(math.prod(self.map), latent)
        self.spread = nn.Linear(latent, math.prod(self.map))  # the name is in weights files
        initialise(self, seed)
        shrink_weights(self.up[-1])

    def outer_layers(self) -> tuple[None, nn.Module]:
        """No first layer, for a convolution cannot subtract a mean picture; and the last one."""
        return None, self.up[-1]

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, latent)."""
        z: Tensor = self.code(self.down(x).flatten(1))
        return z

    def decode(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, C, H, W) in [0, 1]."""
        y: Tensor = self.up(self.spread(z).unflatten(1, self.map))
        return torch.sigmoid(as_float32(y))
