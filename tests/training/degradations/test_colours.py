"""Crops in other colours."""

from __future__ import annotations

import torch

from restore.training.degradations.colours import vary_colours
from restore.training.degradations.jpeg import TO_YCC, mix


def saturation(crops: torch.Tensor) -> float:
    return float(mix(crops, TO_YCC)[:, 1:].square().mean().sqrt())


def test_a_share_of_the_crops_has_other_colours_and_the_others_are_untouched() -> None:
    crops = 0.4 + 0.2 * torch.rand(400, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    varied = vary_colours(crops, 0.3, torch.Generator().manual_seed(0))
    same = (varied == crops).flatten(1).all(1)
    assert 0.6 < float(same.float().mean()) < 0.8
    assert saturation(varied[~same]) > 1.2 * saturation(crops[~same])


def test_the_result_is_a_picture_of_8_bits() -> None:
    crops = torch.rand(50, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    varied = vary_colours(crops, 1.0, torch.Generator().manual_seed(0)) * 255
    assert float(varied.min()) >= 0 and float(varied.max()) <= 255
    assert torch.allclose(varied, varied.round(), atol=1e-4)


def test_the_structure_stays() -> None:
    """Colours change, edges do not move: a grey ramp keeps its order in each channel."""
    ramp = torch.linspace(0, 1, 64).view(1, 1, 1, 64).expand(20, 3, 2, 64)
    varied = vary_colours(ramp, 1.0, torch.Generator().manual_seed(0))
    assert bool((varied.diff(dim=3) >= 0).all())
    assert float(varied.amax((1, 2, 3)).min()) > 0.6
