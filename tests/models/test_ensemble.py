"""The mean over eight views: invariant under them, better than one, and exact in tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from restore.engine.compute import Resources
from restore.engine.run import run_array
from restore.image.read import load_image
from restore.models.denoiser import Denoiser
from restore.models.ensemble import VIEWS, Ensemble
from restore.models.network import BaseNetwork
from restore.models.weights import load_model


def test_there_are_eight_different_views() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    views = {
        str(torch.rot90(x.flip(3) if mirrored else x, turns, (2, 3)).tolist())
        for mirrored, turns in VIEWS
    }
    assert len(views) == 8


def test_it_answers_a_turned_picture_with_the_turned_answer(small_network: Denoiser) -> None:
    x = torch.rand(1, 3, 16, 24)
    ensemble = Ensemble(small_network)
    with torch.no_grad():
        answer = ensemble(x)
        turned = ensemble(torch.rot90(x, 1, (2, 3)).flip(3))
        alone = small_network(x)
    torch.testing.assert_close(turned, torch.rot90(answer, 1, (2, 3)).flip(3))
    assert (answer - alone).abs().max() > 1e-4


def test_it_keeps_the_size_of_an_upscalers_answer() -> None:
    class Doubled(nn.Module, BaseNetwork):
        channels, scale, multiple_of, halo = 3, 2, 1, 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    x = torch.rand(1, 3, 4, 6)
    torch.testing.assert_close(Ensemble(Doubled())(x), Doubled()(x))


@pytest.mark.parametrize("size", [(61, 90), (100, 47)])
def test_tiled_equals_untiled(small_network: Denoiser, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).random((*size, 3), np.float32)
    cpu = torch.device("cpu")
    whole = run_array(Ensemble(small_network), pixels, Resources(cpu, torch.float32))
    tiled = run_array(Ensemble(small_network), pixels, Resources(cpu, torch.float32, 40))
    assert tiled.plan.tiles > 1
    np.testing.assert_allclose(tiled.pixels, whole.pixels, atol=1e-5)


def test_it_denoises_better_than_one_view(samples: Path) -> None:
    network = load_model("denoise-gaussian")
    pixels = load_image(samples / "fur-clean.png").pixels[:96, :96]
    clean = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    noisy = clean + torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.no_grad():
        one, eight = ((n(noisy) - clean).square().mean() for n in (network, Ensemble(network)))
    assert eight < one
