"""The numbers that describe the noise of a picture, and the small network that estimates them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.models.card import ModelCard

# Of the logarithm of an error: a cell's true level varies by a tenth, so none is surer than that;
# and in training the surest, which are clean, shall not drown the others.
DOUBTS = (-2.3, 3.0)
FAINTEST = 0.2  # of 255: below it nothing is told apart
LEVELS = ("luma", "chroma", "fine")  # in this order
LUMA = (0.299, 0.587, 0.114)  # BT.601
BLUE = (-0.168735892, -0.331264108, 0.5)
RED = (0.5, -0.418687589, -0.081312411)


def noise_levels(noise: Tensor) -> Tensor:
    """What noise is like in three numbers: (N, 3, H, W) on any scale -> (N, 3) on the same.

    luma:   its root mean square in brightness (Y of BT.601)
    chroma: that in the two colour differences (Cb, Cr), their squares averaged
    fine:   that of the differences of neighbours in brightness, over the square root of 2: as much
            as `luma` where the noise is white, less where it is coarse
    """
    return noise_planes(noise).square().mean((2, 3)).sqrt()


def noise_planes(noise: Tensor) -> Tensor:
    """The levels of `noise_levels` at each pixel, (N, 3, H, W) -> (N, 3, H, W), none negative."""
    matrix = torch.tensor([LUMA, BLUE, RED], device=noise.device, dtype=noise.dtype)
    planes = torch.einsum("ij,njhw->nihw", matrix, noise)
    luma, chroma = planes[:, :1], planes[:, 1:].square().mean(1, keepdim=True).sqrt()
    steps = [luma.diff(dim=dim, append=luma.narrow(dim, -1, 1)).square() / 4 for dim in (2, 3)]
    return torch.cat([luma.abs(), chroma, (steps[0] + steps[1]).sqrt()], 1)


class NoiseEstimator(nn.Module):
    """What the noise is like in each cell of 8 x 8 pixels, and how sure that is; convolutional.

    Local statistics cannot tell fine regular patterns from noise; a network that has seen both can.
    Its receptive field is about 100 pixels, so that it sees whether something repeats.

    arguments: what rebuilds it
    card:      what the weights file said, where it was loaded from one
    """

    cell = 8  # pixels, each way

    def __init__(self, width: int = 32, blocks: int = 2, seed: int | None = 0) -> None:
        """Build the layers.

        width:  channels at half resolution, twice as many below
        blocks: residual blocks at an eighth
        seed:   of the first kernels; None leaves them as torch makes them, to be loaded over
        """
        super().__init__()
        self.arguments: dict[str, Any] = {"width": width, "blocks": blocks}
        self.card: ModelCard | None = None
        if seed is not None:
            torch.manual_seed(seed)
        wide = 2 * width
        self.body = nn.Sequential(
            nn.Conv2d(9, width, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, wide, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(wide, wide // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(wide // 2, wide, 3, stride=2, padding=1),
            nn.ReLU(),
            *(EstimatorBlock(wide) for _ in range(blocks)),
            nn.Conv2d(wide, 2 * len(LEVELS), 1),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) in [0, 1], H and W multiples of 8 -> two of (N, 3, H / 8, W / 8).

        First the natural logarithm of each of LEVELS in the cell (0-255, at least FAINTEST), then
        the logarithm of the mean absolute error that is to be expected of it.
        """
        near, wide = (F.avg_pool2d(x, k, 1, k // 2, count_include_pad=False) for k in (3, 9))
        # compressed, so that noise of half a level and of fifty are both of the order of one
        details = (torch.asinh(100 * (x - near)), torch.asinh(100 * (near - wide)))
        found: Tensor = self.body(torch.cat([2 * x - 1, *details], 1))
        level, doubt = found.chunk(2, 1)
        return level, doubt.clamp(*DOUBTS)


class EstimatorBlock(nn.Module):
    """A residual block whose second convolution looks further."""

    def __init__(self, width: int) -> None:
        """`width` channels in and out, half as many between."""
        super().__init__()
        self.conv1 = nn.Conv2d(width, width // 2, 3, padding=1)
        self.conv2 = nn.Conv2d(width // 2, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> the same."""
        out: Tensor = F.relu(x + self.conv2(F.relu(self.conv1(x))))
        return out
