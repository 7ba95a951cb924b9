"""Clean crops in other colours, for what a set of photographs lacks: strong and unusual ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from restore.training.degradations.downscale import to_levels
from restore.training.degradations.jpeg import TO_RGB, TO_YCC, mix

GAMMA = math.log(1.5)  # the logarithm of the exponent is drawn from between -this and this
SATURATION = 3.0  # the most
GAIN = 0.3  # each channel is multiplied by 1 - this to 1 + this


def vary_colours(crops: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A share of the crops in other colours: (N, 3, H, W) in [0, 1] -> the same, of 8 bits.

    First a gamma curve; then the two chroma planes of YCbCr are turned by any angle, in half of
    the crops, and multiplied by up to 3; then each channel has a gain of its own.
    """
    draws = torch.rand(8, len(crops), 1, 1, generator=generator, device=crops.device)
    planes = mix(crops ** ((2 * draws[0, ..., None] - 1) * GAMMA).exp(), TO_YCC)
    angle = torch.where(draws[1] < 0.5, 2 * math.pi * draws[2], 0.0)
    saturation = SATURATION * draws[3]
    blue, red = planes[:, 1], planes[:, 2]
    turned = [
        planes[:, 0],
        saturation * (angle.cos() * blue - angle.sin() * red),
        saturation * (angle.sin() * blue + angle.cos() * red),
    ]
    gains = 1 - GAIN + 2 * GAIN * draws[4:7].permute(1, 0, 2, 3)
    varied = to_levels(mix(torch.stack(turned, 1), TO_RGB) * gains)
    return torch.where(draws[7, ..., None] < share, varied, crops)
