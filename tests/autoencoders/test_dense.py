"""The family's members: one interface, closed forms, sizes by the textbook, weights files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from restore.autoencoders.convolutional import (
    ConvolutionalAutoencoder,
    convolved,
    doubling_kernel,
    transposed,
)
from restore.autoencoders.dense import Autoencoder, StackedAutoencoder, VanillaAutoencoder
from restore.autoencoders.family import KINDS, build, kind_of, load_autoencoder
from restore.autoencoders.variational import (
    VariationalAutoencoder,
    gaussian_kl,
    reparameterise,
    walk,
)
from restore.errors import InputError, WeightsError
from restore.models.card import ModelCard
from restore.models.weights import load_model, save_weights

SHAPES = [(1, 12, 12), (3, 7, 10)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_member_has_the_same_interface(
    kind: str, shape: tuple[int, int, int], generator: torch.Generator
) -> None:
    network = build(kind, shape, latent=5)
    x = torch.rand(4, *shape, generator=generator)
    z = network.encode(x)
    assert z.shape == (4, 5)
    torch.testing.assert_close(network(x), network.decode(z))
    assert network(x).shape == x.shape
    loss = network.loss(x, generator)
    assert loss.total.ndim == 0
    assert "reconstruction" in loss.parts
    loss.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_decides_the_first_weights(kind: str) -> None:
    first, again, other = (build(kind, (1, 8, 8), latent=3, seed=s) for s in (1, 1, 2))
    assert all(map(torch.equal, first.parameters(), again.parameters()))
    assert not all(map(torch.equal, first.parameters(), other.parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_loaded_is_what_was_saved(kind: str, tmp_path: Path) -> None:
    network = build(kind, (1, 12, 12), latent=5).eval()
    path = tmp_path / "a.safetensors"
    card = ModelCard(kind, "autoencoder", type(network).__name__, network.arguments)
    save_weights(network, card, path, torch.float32)
    loaded = load_autoencoder(path)
    x = torch.rand(2, 1, 12, 12)
    torch.testing.assert_close(loaded(x), network(x))
    assert kind_of(loaded) == kind
    assert loaded.arguments == network.arguments
    assert loaded.card == card
    with pytest.raises(WeightsError, match="an autoencoder"):
        load_model(path)


def test_a_denoiser_is_no_autoencoder_of_the_family(
    tmp_path: Path, small_network: nn.Module
) -> None:
    arguments = {"channels": 3, "widths": [4, 8], "blocks": [1, 1]}
    save_weights(small_network, ModelCard("d", "denoise", "Denoiser", arguments), tmp_path / "d")
    with pytest.raises(WeightsError, match="known are LinearAutoencoder"):
        load_autoencoder(tmp_path / "d")


def test_the_vanilla_member_is_the_textbook_one() -> None:
    network = VanillaAutoencoder((1, 28, 28))
    widths = [tuple(p.shape) for p in network.parameters() if p.ndim == 2]
    assert widths == [(128, 784), (32, 128), (128, 32), (784, 128)]


@pytest.mark.parametrize("latent", [0, -1, 145])
@pytest.mark.parametrize("kind", KINDS)
def test_code_sizes_that_cannot_be_are_refused(kind: str, latent: int) -> None:
    with pytest.raises(InputError, match="from 1 to 144"):
        build(kind, (1, 12, 12), latent=latent)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("sparse", {"target": 0.0}, "between 0 and 1"),
        ("sparse", {"target": 1.0}, "between 0 and 1"),
        ("sparse", {"target": float("nan")}, "between 0 and 1"),
        ("sparse", {"penalty": "l3"}, "kl or l1"),
        ("sparse", {"hidden": 144}, "must have more"),
        ("denoising", {"corruption": "rain"}, "gaussian or masking"),
        ("denoising", {"corruption": "masking", "level": 1.0}, "no level"),
        ("variational", {"beta": -1.0}, "beta"),
        ("stacked", {"pretrain": 1.0}, "pretraining"),
        ("vanilla", {"beta": 1.0}, "no option beta"),
        ("vanilla", {"hidden": [0]}, "widths"),
        ("perceptual", {}, "the family is linear"),
    ],
)
def test_bad_options_are_refused(kind: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(kind, (1, 12, 12), **{"latent": 4, **options})


@pytest.mark.parametrize("size", range(5, 30))
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (4, 2, 1), (5, 3, 2)])
def test_sizes_follow_the_arithmetic_of_convolutions(
    size: int, kernel: int, stride: int, padding: int
) -> None:
    x = torch.zeros(1, 1, size, size)
    down = nn.Conv2d(1, 1, kernel, stride, padding)(x)
    up = nn.ConvTranspose2d(1, 1, kernel, stride, padding)(x)
    assert down.shape[2] == convolved(size, kernel, stride, padding)
    assert up.shape[2] == transposed(size, kernel, stride, padding)


def test_the_way_up_gives_back_every_size_of_the_way_down() -> None:
    assert [convolved(28, 3, 2, 1), convolved(14, 3, 2, 1), convolved(7, 3, 2, 1)] == [14, 7, 4]
    for size in range(2, 100):
        small = convolved(size, 3, 2, 1)
        assert transposed(small, doubling_kernel(size), 2, 1) == size
    assert ConvolutionalAutoencoder((1, 28, 28)).map == (128, 4, 4)


def test_kl_is_the_integral_that_it_stands_for() -> None:
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


def test_beta_weighs_the_kl_and_the_warm_up_only_trains(generator: torch.Generator) -> None:
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


def test_a_walk_begins_and_ends_where_it_should(generator: torch.Generator) -> None:
    a, b = torch.randn(2, 3, 20, generator=generator)
    path = walk(a, b, 7)
    assert torch.allclose(path[:, 0], a, atol=1e-5)
    assert torch.allclose(path[:, -1], b, atol=1e-5)
    lengths = path.norm(dim=2)
    assert torch.allclose(lengths[:, 3], (a.norm(dim=1) + b.norm(dim=1)) / 2, atol=1e-4)


def test_the_stacked_member_trains_layer_by_layer_and_then_whole() -> None:
    network = StackedAutoencoder((1, 12, 12), 4, hidden=(20, 10), pretrain=0.3)
    phases = network.phases()
    assert [p.name for p in phases] == ["layer 1", "layer 2", "layer 3", "fine-tuning"]
    assert sum(p.share for p in phases) == pytest.approx(1)
    shapes = [[tuple(q.shape) for q in p.parameters if q.ndim == 2] for p in phases[:3]]
    assert shapes == [[(20, 144), (144, 20)], [(10, 20), (20, 10)], [(4, 10), (10, 4)]]
    phases[1].loss(torch.rand(3, 1, 12, 12), None).total.backward()
    touched = {name for name, p in network.named_parameters() if p.grad is not None}
    assert touched == {
        f"{s}.{i}.{k}" for s in ("encoder", "decoder") for i in (2,) for k in ("weight", "bias")
    }
    weights = network.state_dict()
    assert torch.equal(weights["encoder.2.weight"].T, weights["decoder.2.weight"])  # begun as tied
    scratch = StackedAutoencoder((1, 12, 12), 4, pretrain=0.0)
    assert [p.name for p in scratch.phases()] == ["fine-tuning"]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"convolutional", "sparse"}))
def test_a_centred_member_begins_at_the_mean_picture(kind: str, generator: torch.Generator) -> None:
    mean = 0.01 + 0.9 * torch.rand(1, 12, 12, generator=generator)
    network = build(kind, (1, 12, 12), latent=4)
    network.centre(mean)
    with torch.no_grad():
        assert torch.allclose(network(mean[None])[0], mean, atol=1e-4)


def test_a_centred_kernel_has_the_mean_of_each_channel() -> None:
    mean = torch.stack([torch.full((8, 8), 0.2), torch.eye(8)])
    network = ConvolutionalAutoencoder((2, 8, 8), 4, widths=(4,))
    network.centre(mean)
    bias = network.state_dict()["up.1.bias"]  # SiLU, then the one layer
    assert torch.allclose(bias.sigmoid(), torch.tensor([0.2, 0.125]))


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_pictures_are_float32_under_half_precision(
    kind: str, generator: torch.Generator
) -> None:
    network, x = build(kind, (1, 12, 12), latent=4), torch.rand(4, 1, 12, 12, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        total, parts = network.loss(x, generator)
        sigmoids = network(x) if kind != "linear" else x
    assert {value.dtype for value in (total, sigmoids, *parts.values())} == {torch.float32}


def test_the_base_class_asks_for_both_halves() -> None:
    base = Autoencoder((1, 4, 4), 2)
    with pytest.raises(NotImplementedError):
        base.centre(torch.zeros(1, 4, 4))
    for half in (base.encode, base.decode):
        with pytest.raises(NotImplementedError):
            half(torch.zeros(1, 1, 4, 4))
