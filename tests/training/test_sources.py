"""The crops that a recipe asks for, before anything is degraded."""

from __future__ import annotations

import numpy as np
import torch

from restore.training.crops import PictureStore, build_store
from restore.training.degradations.jpeg import TO_YCC, mix
from restore.training.recipe import Recipe, make_recipe
from restore.training.sources import Degraded


def clean_crops(store: PictureStore, recipe: Recipe, **changes: object) -> torch.Tensor:
    asked = make_recipe({**recipe.to_dict(), "grey": 0.0, **changes}, "t")
    return Degraded(store, asked).pairs(64, 16, torch.Generator().manual_seed(0)).clean


def levels_a_pixel(crops: torch.Tensor) -> torch.Tensor:
    """How steep each crop is."""
    return crops.diff(dim=2).abs().mean((1, 2, 3)) + crops.diff(dim=3).abs().mean((1, 2, 3))


def test_a_share_comes_from_pictures_of_half_the_size(tiny: Recipe) -> None:
    """Of a picture that brightens by one level a pixel they are twice as steep: the last ones."""
    ramp = np.broadcast_to(np.arange(240, dtype=np.uint8)[None, :, None], (240, 240, 3))
    crops = clean_crops(build_store([ramp]), tiny, halved=0.25) * 255
    slopes = levels_a_pixel(crops)
    assert torch.allclose(slopes[:48], torch.tensor(1.0))
    assert torch.allclose(slopes[48:], torch.tensor(2.0), atol=0.2)
    every = clean_crops(build_store([ramp]), tiny, halved=1.0) * 255
    assert torch.allclose(levels_a_pixel(every), torch.tensor(2.0), atol=0.2)


def test_only_small_pictures_cannot_be_halved(tiny: Recipe) -> None:
    """The others are the more, and a picture too small for that is used as it is."""
    small, large = (np.full((side, side, 3), side, np.uint8) for side in (24, 64))
    asked = make_recipe({**tiny.to_dict(), "patch": [24, 24], "grey": 0.0, "halved": 0.5}, "t")
    source = Degraded(build_store([small, large]), asked)
    assert source.halves is not None and source.halves.heights.tolist() == [32]
    clean = source.pairs(64, 24, torch.Generator().manual_seed(0)).clean
    assert {24, 64} == set((clean[:32] * 255).round().unique().tolist())
    alone = Degraded(build_store([small]), asked)
    assert alone.halves is None
    assert alone.pairs(8, 24, torch.Generator().manual_seed(0)).clean.shape == (8, 3, 24, 24)


def test_a_share_has_other_colours(store: PictureStore, tiny: Recipe) -> None:
    plain, varied = (clean_crops(store, tiny, colours=share) for share in (0.0, 1.0))
    chroma = [float(mix(crops, TO_YCC)[:, 1:].square().mean()) for crops in (plain, varied)]
    assert chroma[1] > 1.2 * chroma[0]
