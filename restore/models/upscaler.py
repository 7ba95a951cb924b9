"""The upscaler: an autoencoder at the input's size, whose last layer gives the larger picture.

The U-shaped network works at the size of the input, so that each operation serves `scale^2` output
pixels. Its last convolution gives the `scale^2` output pixels of each input pixel as channels. They
are added to the bicubic interpolation and rearranged by a pixel shuffle (Shi et al., "Real-time
single image and video super-resolution using an efficient sub-pixel convolutional neural network",
CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.image.resize import axis_matrix
from restore.models.unet import UNet, halo_radius

DETAIL_REACH = 2  # radius of the local mean, in pixels
CUBIC_REACH = 2  # radius of the bicubic interpolation, in input pixels


class Upscaler(UNet):
    """A bias-free residual U-Net that adds detail to a bicubic interpolation.

    channels:    1 or 3, the channels of the picture
    scale:       2, 3 or 4, the factor by which the output is higher and wider than the input
    multiple_of: height and width of the input must be multiples of this
    halo:        input pixels around a tile on which the tile's output can depend, a multiple of
                 `multiple_of`

    The local mean is subtracted from the network's input, and the network has no additive
    constants, so it is equivariant to a x + b: a brighter picture, or one of less contrast, gets
    the same detail at that brightness or contrast. An area of one colour keeps exactly that colour,
    up to the picture's edge, because zero padding then continues the local mean. The difference is
    taken in float32, because half precision would round bright pixels to half an 8-bit level.
    """

    interpolation: Tensor
    context = max(DETAIL_REACH, CUBIC_REACH)

    def __init__(
        self,
        scale: int = 2,
        channels: int = 3,
        widths: Sequence[int] = (64, 128),
        blocks: Sequence[int] = (8, 2),
        seed: int | None = 0,
    ) -> None:
        """Build the network; `widths`, `blocks` and `seed` as for `UNet`."""
        if scale not in (2, 3, 4):
            raise ValueError(f"an upscaler's scale is 2, 3 or 4, not {scale}")
        super().__init__(channels, channels * scale**2, widths, blocks, seed)
        self.arguments = {
            "scale": scale,
            "channels": channels,
            "widths": list(widths),
            "blocks": list(blocks),
        }
        self.channels = channels
        self.scale = scale
        radius = max(halo_radius(blocks) + DETAIL_REACH, CUBIC_REACH)
        self.halo = -(-radius // self.multiple_of) * self.multiple_of
        self.register_buffer("interpolation", bicubic_kernel(channels, scale), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, scale H, scale W).

        The convolutions run in the precision of the kernels, everything else in that of `x`.
        """
        detail = self.features(self.preprocess(x).to(self.head.weight.dtype))
        return self.postprocess(x, detail.to(x.dtype))

    def preprocess(self, x: Tensor) -> Tensor:
        """The picture minus its local mean."""
        return x - local_mean(x)

    def postprocess(
        self, x: Tensor, output: Tensor, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Tensor:
        """The detail of these rows and columns added to the interpolation, at the output's size."""
        return F.pixel_shuffle(output + self.interpolated(x)[:, :, rows, columns], self.scale)

    def interpolated(self, x: Tensor) -> Tensor:
        """The bicubic interpolation, its output pixels as channels: (N, C scale^2, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            framed = F.pad(x, [CUBIC_REACH] * 4, mode="replicate")
            return F.conv2d(framed, self.interpolation.to(x))

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> nn.Module:
        """Move and cast the network; the interpolation kernel is moved too, but stays float32."""
        exact = self.interpolation
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch gives it no types
        self.interpolation = exact.to(self.interpolation.device)
        return self


def local_mean(x: Tensor) -> Tensor:
    """The mean of the 5x5 pixels around each; at the edges, of those inside the picture."""
    side = 2 * DETAIL_REACH + 1
    return F.avg_pool2d(x, side, stride=1, padding=DETAIL_REACH, count_include_pad=False)


def bicubic_kernel(channels: int, scale: int) -> Tensor:
    """A kernel (C scale^2, C, 5, 5): each output is one phase of MATLAB's bicubic interpolation.

    Output c scale^2 + i scale + j is the output pixel (i, j) of channel c, in the order of
    `pixel_shuffle`. Away from the edges the result equals `restore.image.resize.imresize`.
    """
    side, middle = 2 * CUBIC_REACH + 1, 3 * CUBIC_REACH
    rows = axis_matrix(2 * middle + 1, (2 * middle + 1) * scale, scale)
    phases = rows[middle * scale : (middle + 1) * scale, middle - CUBIC_REACH :][:, :side]
    plane = np.einsum("ia,jb->ijab", phases, phases).reshape(scale**2, side, side)
    kernel = np.zeros((channels, scale**2, channels, side, side), np.float32)
    for channel in range(channels):
        kernel[channel, :, channel] = plane
    return torch.from_numpy(kernel.reshape(channels * scale**2, channels, side, side))
