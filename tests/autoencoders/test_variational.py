"""The variational autoencoder: KL, reparameterisation, ELBO and interpolation in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from restore.autoencoders.variational import (
    VariationalAutoencoder,
    gaussian_kl,
    interpolate,
    reparameterise,
)


def test_kl_has_its_closed_form() -> None:
    assert gaussian_kl(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 0
    # mean 1, variance 1: 1/2; mean 0, variance 4: (4 - 1 - ln 4) / 2
    known = torch.tensor([0.5, (3 - math.log(4)) / 2])
    means, variances = torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [4.0]])
    assert torch.allclose(gaussian_kl(means, variances.log()), known)
    p = torch.distributions.Normal(0.7, 0.3)
    expected = torch.distributions.kl_divergence(p, torch.distributions.Normal(0.0, 1.0))
    found = gaussian_kl(torch.tensor([[0.7]]), torch.tensor([[2 * math.log(0.3)]]))
    assert torch.allclose(found, expected, atol=1e-6)


def test_reparameterised_draws_have_their_moments_and_gradients(
    generator: torch.Generator,
) -> None:
    mean = torch.full((200_000, 1), 2.0, requires_grad=True)
    log_variance = torch.full((200_000, 1), math.log(0.25), requires_grad=True)
    z = reparameterise(mean, log_variance, generator)
    assert z.mean().item() == pytest.approx(2.0, abs=0.01)
    assert z.std().item() == pytest.approx(0.5, abs=0.01)
    z.sum().backward()
    assert mean.grad is not None and torch.equal(mean.grad, torch.ones_like(mean))
    assert log_variance.grad is not None
    # dz / dlog_variance = (z - mean) / 2
    assert torch.allclose(log_variance.grad, (z - mean).detach() / 2, atol=1e-6)


def test_beta_weighs_the_kl_and_warms_up_in_training_only(generator: torch.Generator) -> None:
    x = torch.rand(3, 1, 6, 6, generator=generator).round()
    network = VariationalAutoencoder((1, 6, 6), 4, hidden=(8,), beta=3.0, warm_up=0.5)
    network.anneal(0.25)

    def weight() -> float:
        with torch.no_grad():
            total, parts = network.loss(x, torch.Generator().manual_seed(1))
        return float((total - parts["reconstruction"]) / parts["kl"])

    assert network.train() and weight() == pytest.approx(1.5, rel=1e-4)
    assert network.eval() and weight() == pytest.approx(3.0, rel=1e-4)
    network.train().anneal(0.9)
    assert weight() == pytest.approx(3.0, rel=1e-4)


def test_cross_entropy_is_that_of_bernoulli(generator: torch.Generator) -> None:
    x = torch.rand(2, 1, 6, 6, generator=generator).round()
    x = x.double()  # in float32 torch.distributions clamps probabilities near 0 and 1
    network = VariationalAutoencoder((1, 6, 6), 4, hidden=(8,)).eval().double()
    network.requires_grad_(False)
    parts = network.loss(x, torch.Generator().manual_seed(1)).parts
    z = reparameterise(*network.posterior(x), torch.Generator().manual_seed(1))
    likelihood = torch.distributions.Bernoulli(network.decode(z)).log_prob(x).sum((1, 2, 3))
    assert float(parts["reconstruction"]) == pytest.approx(-float(likelihood.mean()), rel=1e-5)


def test_interpolation_reaches_both_ends(generator: torch.Generator) -> None:
    a, b = torch.randn(2, 3, 20, generator=generator)
    path = interpolate(a, b, 7)
    assert torch.allclose(path[:, 0], a, atol=1e-5)
    assert torch.allclose(path[:, -1], b, atol=1e-5)
    lengths = path.norm(dim=2)
    assert torch.allclose(lengths[:, 3], (a.norm(dim=1) + b.norm(dim=1)) / 2, atol=1e-4)


def test_generated_pictures_come_from_the_seed() -> None:
    network = VariationalAutoencoder((1, 6, 6), 4, hidden=(8,)).eval()
    with torch.no_grad():
        first, again = (network.sample(3, torch.Generator().manual_seed(5)) for _ in range(2))
    torch.testing.assert_close(first, again)
    assert first.shape == (3, 1, 6, 6)
    assert first.min() >= 0 and first.max() <= 1
