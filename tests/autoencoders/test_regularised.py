"""The denoising and the sparse autoencoder: corruptions, penalties and targets, in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from restore.autoencoders.regularised import (
    DenoisingAutoencoder,
    SparseAutoencoder,
    corrupt,
    sparsity_penalty,
)


def test_sparsity_penalties_in_closed_form() -> None:
    at_target = torch.full((7,), 0.05)
    assert sparsity_penalty(at_target, 0.05, "kl").item() == pytest.approx(0, abs=1e-6)
    assert sparsity_penalty(at_target, 0.05, "l1").item() == 0
    a = torch.tensor([0.2, 0.5])
    bernoulli = torch.distributions.Bernoulli
    kl = torch.distributions.kl_divergence(bernoulli(torch.tensor(0.05)), bernoulli(a)).sum()
    assert torch.allclose(sparsity_penalty(a, 0.05, "kl"), kl)
    assert sparsity_penalty(a, 0.05, "l1").item() == pytest.approx(0.6)


def test_an_untrained_sparse_layer_starts_near_its_target() -> None:
    network = SparseAutoencoder((1, 12, 12), 4, target=0.1)
    assert 0.05 < network.features(torch.rand(50, 1, 12, 12)).mean().item() < 0.2


def test_corruptions_have_their_level(generator: torch.Generator) -> None:
    x = torch.full((100, 1, 20, 20), 0.5)
    noise = corrupt(x, "gaussian", 0.3, generator) - x
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    masked = corrupt(x, "masking", 0.25, generator)
    assert set(masked.unique().tolist()) == {0.0, 0.5}
    assert (masked == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


def test_the_denoising_loss_compares_with_the_clean_picture() -> None:
    class Unchanged(DenoisingAutoencoder):
        def forward(self, x: Tensor) -> Tensor:
            return x

    x = torch.rand(50, 1, 20, 20)
    loss = Unchanged((1, 20, 20), 4, level=0.3).loss(x, torch.Generator().manual_seed(0)).total
    assert float(loss) == pytest.approx(400 * 0.09, rel=0.05)  # the error is the noise


def test_centring_keeps_the_sparse_target_and_trained_weights() -> None:
    mean = torch.rand(1, 12, 12)
    network = SparseAutoencoder((1, 12, 12), 4, target=0.1)
    network.centre(mean)
    assert network.features(mean[None]).mean().item() == pytest.approx(0.1, abs=1e-5)
    before = [p.clone() for p in network.parameters()]
    network.centre(1 - mean)
    assert all(map(torch.equal, network.parameters(), before))
