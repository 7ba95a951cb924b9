"""The U-shaped convolutional autoencoder inside the denoiser and the upscaler, and its halo.

Encoder: strided convolutions halve the picture level by level while the channels grow. Decoder:
transposed convolutions double it again, and the encoder's output at each level is added to the
decoder's input (additive skip connections). The network is purely local: no global pooling,
normalisation or attention. That is why a picture can be restored tile by tile with the same result.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from restore.models.blocks import ResidualBlock, conv3x3, down, initialise, up
from restore.models.network import BaseNetwork

Kind = TypeVar("Kind", bound="UNet")


class UNet(nn.Module, BaseNetwork):
    """A bias-free residual U-Net from `inputs` channels to `outputs`, at one resolution.

    multiple_of: height and width of the input must be multiples of this
    context:     radius in pixels of the neighbourhood that `preprocess` and `postprocess` use
    arguments:   its constructor's arguments, by name, for the model card
    channels, scale, halo: set by subclasses; see `models.network`
    """

    context = 0

    channels: int
    scale: int
    halo: int
    arguments: dict[str, Any]

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        seed: int | None,
    ) -> None:
        """Build the layers.

        widths: channels of each level, from full resolution down to the bottleneck
        blocks: number of residual blocks of each level; every level but the last has them twice,
                in the encoder and in the decoder
        seed:   of the initial kernels; None leaves torch's own, for weights that are loaded next
        """
        super().__init__()
        if len(widths) != len(blocks) or not widths:
            raise ValueError(
                f"there must be one count of blocks for each width, not {blocks} for {widths}"
            )
        self.multiple_of = 2 ** (len(widths) - 1)
        pairs = list(itertools.pairwise(widths))
        self.head = conv3x3(inputs, widths[0])
        self.encoder = nn.ModuleList(level(w, n) for w, n in zip(widths, blocks, strict=True))
        self.downs = nn.ModuleList(down(a, b) for a, b in pairs)
        self.ups = nn.ModuleList(up(b, a) for a, b in pairs)
        self.decoder = nn.ModuleList(level(w, n) for w, n in zip(widths[:-1], blocks, strict=False))
        self.tail = conv3x3(widths[0], outputs)
        if seed is not None:
            initialise(self, torch.Generator().manual_seed(seed))

    def with_head(self: Kind, head: nn.Conv2d) -> Kind:
        """A network with another first layer, which shares all others with this one."""
        other = copy.copy(self)
        other._modules = {**self._modules, "head": head}
        return other

    def preprocess(self, x: Tensor) -> Tensor:
        """The input of the first layer, for a picture (N, C, H, W)."""
        return x

    def postprocess(
        self, x: Tensor, output: Tensor, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Tensor:
        """The result, from the picture (N, C, H, W) and the output of the last layer.

        rows, columns: the part of the picture that `output` covers
        """
        raise NotImplementedError

    def features(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W).

        offset: (N, widths[0], 1, 1), added to the output of the first layer
        """
        x = self.head(x)
        if offset is not None:
            x = x + offset
        skips = []
        for encode, halve in zip(self.encoder, self.downs, strict=False):
            x = encode(x)
            skips.append(x)
            x = halve(x)
        x = self.encoder[-1](x)
        for double, decode in zip(reversed(self.ups), reversed(self.decoder), strict=True):
            x = decode(double(x) + skips.pop())
        output: Tensor = self.tail(x)
        return output


def level(width: int, count: int) -> nn.Sequential:
    """`count` residual blocks in a row."""
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))


def halo_radius(blocks: Sequence[int]) -> int:
    """How far beyond a tile on the stride grid its output depends on the input: exactly, in pixels.

    The interval of inputs on which one output depends is carried back through the layers: a 3x3
    convolution widens it by one on each side, a transposed convolution (2x2, stride 2) halves its
    ends, a strided one doubles them. The interval depends on the phase of the output pixel on the
    stride grid; a tile begins at phase 0 and ends at the last one, so the radius is the largest
    reach beyond the cell [0, grid) over all phases in it.
    """
    grid = 2 ** (len(blocks) - 1)
    radius = 0
    for phase in range(grid):
        first, last = phase - 1, phase + 1  # tail
        for count in blocks[:-1]:  # decoder, from full resolution down
            first, last = (first - 2 * count) // 2, (last + 2 * count) // 2
        first, last = first - 2 * blocks[-1], last + 2 * blocks[-1]  # bottleneck
        for count in reversed(blocks[:-1]):  # encoder, from the bottleneck up
            first, last = 2 * first - 2 * count, 2 * last + 1 + 2 * count
        first, last = first - 1, last + 1  # head
        radius = max(radius, -first, last - (grid - 1))
    return radius
