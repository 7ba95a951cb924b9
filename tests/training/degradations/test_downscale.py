"""Pictures are made small as MATLAB does it, and as the published chain of degradations does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from restore.image.picture import quantise
from restore.image.resize import imresize
from restore.training.degradations.downscale import (
    FIRST,
    degrade_twice,
    draw_kernels,
    filter_each,
    shrink,
)
from restore.training.degradations.pairs import bicubic, second_order
from restore.training.recipe import load_recipe, make_recipe


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrinking_is_the_benchmarks(
    generator: torch.Generator, scale: int, assert_same_picture: Callable[..., None]
) -> None:
    pictures = torch.rand(2, 3, 6 * scale, 10 * scale, generator=generator)
    small = shrink(pictures, scale)
    for ours, picture in zip(small, pictures, strict=True):
        theirs = quantise(imresize(picture.permute(1, 2, 0).numpy(), 1 / scale), 8)
        levels = (ours.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        assert_same_picture(levels, theirs)


def test_blurs_are_blurs(generator: torch.Generator) -> None:
    kernels = draw_kernels(200, FIRST.blur, generator)
    assert kernels.shape == (200, 21, 21)
    torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(200))
    torch.testing.assert_close(kernels, kernels.flip(1, 2))  # a blur moves nothing
    ringing = (kernels < -1e-6).flatten(1).any(1)
    assert 8 <= int(ringing.sum()) <= 36  # one of ten
    symmetric = (kernels - kernels.mT).abs().amax((1, 2)) < 1e-6
    assert 105 <= int(symmetric.sum()) <= 170  # isotropic: .1 + .9 * .66


def test_each_picture_gets_its_own_filter(generator: torch.Generator) -> None:
    pictures = torch.rand(3, 3, 9, 12, generator=generator)
    kernels = torch.zeros(3, 5, 5)
    kernels[0, 2, 2] = kernels[1, 2, 4] = 1  # nothing; the pixel two to the right
    kernels[2] = 1 / 25
    same, moved, mean = filter_each(pictures, kernels)
    torch.testing.assert_close(same, pictures[0])
    torch.testing.assert_close(moved[:, :, :-2], pictures[1, :, :, 2:])
    torch.testing.assert_close(mean[:, 2, 2], pictures[2, :, :5, :5].mean((1, 2)))


def test_twice_degraded_pictures_are_small_and_of_8_bits(generator: torch.Generator) -> None:
    ramp = torch.linspace(0.2, 0.8, 96).expand(4, 3, 96, 96)
    means = []
    for _ in range(6):
        small = degrade_twice(ramp, 4, generator)
        assert small.shape == (4, 3, 24, 24)
        torch.testing.assert_close(small * 255, (small * 255).round(), atol=1e-3, rtol=0)
        assert float(small.min()) >= 0 and float(small.max()) <= 1
        means.append(small.mean((1, 2, 3)))
        assert float((small.mean((1, 2)).diff(dim=1)).mean()) > 0.01  # still the ramp
    assert float(torch.cat(means).mean()) == pytest.approx(0.5, abs=0.02)
    first, second = (degrade_twice(ramp, 4, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)


def test_pairs_have_the_recipes_scale_and_shares(generator: torch.Generator) -> None:
    recipe = load_recipe("upscale-x3", grey=0.5, flat=0.5)
    seen = []

    def draw(side: int) -> torch.Tensor:
        seen.append(side)
        return torch.rand(40, 3, side, side, generator=generator)

    clean, small, _ = bicubic(draw, 8, recipe, generator)
    assert seen == [24] and clean.shape[-1] == 24 and small.shape[-1] == 8
    grey = (clean[:, 0] == clean[:, 2]).flatten(1).all(1)
    even = (clean == clean[:, :, :1, :1]).flatten(1).all(1)
    assert 8 < int(grey.sum()) < 32 and 8 < int(even.sum()) < 32
    torch.testing.assert_close(small[even], clean[even][..., :8, :8])
    recipe = make_recipe({**recipe.to_dict(), "degradation": "second-order"}, "t")
    clean, small, _ = second_order(draw, 8, recipe, generator)
    assert clean.shape[-1] == 24 and small.shape[-1] == 8


@pytest.mark.parametrize("degrade", [bicubic, second_order])
def test_a_share_of_the_crops_has_patterns(degrade: Any, generator: torch.Generator) -> None:
    """All crops are even, but for those."""
    recipe = load_recipe("upscale-x3", patterned=0.5, grey=0.0, flat=0.0)
    even = torch.full((60, 3, 48, 48), 0.5)
    clean = degrade(lambda side: even.clone(), 16, recipe, generator).clean
    changed = (clean != 0.5).flatten(1).any(1)
    assert 15 < int(changed.sum()) < 45
