"""The convolutional member of the autoencoder family, and the arithmetic of its sizes.

A convolution of kernel k, stride s and padding p makes o = floor((i + 2p - k) / s) + 1 samples of
i, and a transposed one o = (i - 1) s - 2p + k (Dumoulin and Visin, "A guide to convolution
arithmetic for deep learning", 2016).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from restore.autoencoders.dense import Autoencoder, check_widths, full, initialise, shrink
from restore.errors import InputError


def convolved(size: int, kernel: int, stride: int, padding: int) -> int:
    """Samples that a convolution makes of `size`: floor((i + 2p - k) / s) + 1."""
    return (size + 2 * padding - kernel) // stride + 1


def transposed(size: int, kernel: int, stride: int, padding: int) -> int:
    """Samples that a transposed convolution makes of `size`: (i - 1) s - 2p + k."""
    return (size - 1) * stride - 2 * padding + kernel


def doubling_kernel(size: int) -> int:
    """The kernel with which a transposed convolution (stride 2, padding 1) gives back `size`.

    A 3x3 convolution of stride 2 and padding 1 makes ceil(i / 2) of i, whether i is odd or even;
    on the way back 2o - 1 needs a kernel of 3 and 2o one of 4.
    """
    return 3 if size % 2 else 4


class ConvolutionalAutoencoder(Autoencoder):
    """Strided convolutions down to a small map, a dense code, transposed convolutions up again.

    Masci, Meier, Ciresan and Schmidhuber, "Stacked convolutional auto-encoders for hierarchical
    feature extraction" (ICANN 2011). The denoiser of this package is its relative: it keeps the
    map instead of a dense code, adds skips, and so takes pictures of any size.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 32,
        widths: Sequence[int] = (32, 64, 128),
        seed: int | None = 0,
    ) -> None:
        """`widths`: channels after each halving; 28x28 goes to 14x14, 7x7 and 4x4."""
        super().__init__(shape, latent, widths=check_widths(widths))
        if not widths:
            raise InputError("a convolutional autoencoder has at least one layer; give its width")
        channels, *size = self.shape
        sizes = [tuple(size)]
        for _ in widths:
            sizes.append(tuple(convolved(s, 3, 2, 1) for s in sizes[-1]))
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
        self.spread = nn.Linear(latent, math.prod(self.map))
        initialise(self, seed)
        shrink(self.up[-1])

    def edges(self) -> tuple[None, nn.Module]:
        """The last transposed convolution; a kernel that slides has no place for a mean picture."""
        return None, self.up[-1]

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, latent)."""
        z: Tensor = self.code(self.down(x).flatten(1))
        return z

    def decode(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, C, H, W) in [0, 1]."""
        y: Tensor = self.up(self.spread(z).unflatten(1, self.map))
        return torch.sigmoid(full(y))
