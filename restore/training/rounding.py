"""How far half precision is from float32, measured where an upscaler has the most to add."""

from __future__ import annotations

import copy

import torch

from restore.models.upscaler import Upscaler
from restore.training.degradations.graphics import draw_graphics
from restore.training.degradations.patterns import draw_patterns

SIDE, COUNT = 96, 4
SHARE = 0.9999  # of the values must lie within one level of 255


@torch.no_grad()
def close_precisions(network: Upscaler) -> list[str]:
    """The half precisions of a CPU in which results lie within one level of 255 of float32.

    For 99.99 % of the values, of each of three kinds of pictures: graphics, fine patterns, and
    white noise, the hardest there is. Returns ["bf16"] or [].
    """
    generator = torch.Generator().manual_seed(0)
    pictures = [
        draw_graphics(COUNT, SIDE, generator),
        draw_patterns(COUNT, SIDE, generator),
        torch.rand(COUNT, 3, SIDE, SIDE, generator=generator),
    ]
    half = copy.deepcopy(network).to(torch.bfloat16)
    for given in pictures:
        given = given[:, : network.channels]
        difference = (network(given).clamp(0, 1) - half(given).clamp(0, 1)).abs() * 255
        if torch.quantile(difference.flatten(), SHARE) > 1:
            return []
    return ["bf16"]
