"""Every kind of autoencoder: one interface, seeds, refused options, weights files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from restore.autoencoders.family import KINDS, LIMITS, build, kind_of, load_autoencoder
from restore.autoencoders.training import SCHEDULES
from restore.errors import InputError, WeightsError
from restore.models.card import ModelCard
from restore.models.weights import load_model, save_weights

SHAPES = [(1, 12, 12), (3, 7, 10)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_same_interface(
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
def test_a_weights_file_rebuilds_the_network(kind: str, tmp_path: Path) -> None:
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


def test_a_denoiser_is_not_loaded_as_an_autoencoder(
    tmp_path: Path, small_network: nn.Module
) -> None:
    arguments = {"channels": 3, "widths": [4, 8], "blocks": [1, 1]}
    save_weights(small_network, ModelCard("d", "denoise", "Denoiser", arguments), tmp_path / "d")
    with pytest.raises(WeightsError, match="known are LinearAutoencoder"):
        load_autoencoder(tmp_path / "d")


@pytest.mark.parametrize("latent", [0, -1, 145])
@pytest.mark.parametrize("kind", KINDS)
def test_impossible_code_sizes_are_refused(kind: str, latent: int) -> None:
    with pytest.raises(InputError, match="from 1 to 144"):
        build(kind, (1, 12, 12), latent=latent)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("sparse", {"target": 0.0}, "above 0 and below 1"),
        ("sparse", {"target": 1.0}, "above 0 and below 1"),
        ("sparse", {"target": float("nan")}, "above 0 and below 1"),
        ("sparse", {"penalty": "l3"}, "kl or l1"),
        ("sparse", {"hidden": 144}, "must have more"),
        ("denoising", {"corruption": "rain"}, "gaussian or masking"),
        ("denoising", {"corruption": "masking", "level": 1.0}, "level of masking"),
        ("variational", {"beta": -1.0}, "beta"),
        ("variational", {"warm_up": 2.0}, "warm-up"),
        ("convolutional", {"widths": []}, "at least one layer"),
        ("stacked", {"pretrain": 1.0}, "pretraining"),
        ("vanilla", {"beta": 1.0}, "no option beta"),
        ("vanilla", {"hidden": [0]}, "widths"),
        ("vanilla", {"hidden": [10**9]}, "give smaller layers"),
        ("vanilla", {"hidden": [2**70]}, "give smaller layers"),
        ("convolutional", {"widths": [10**9, 5]}, "give smaller layers"),
        ("sparse", {"hidden": 10**12}, "give smaller layers"),
        ("perceptual", {}, "choose one of linear"),
    ],
)
def test_bad_options_are_refused(kind: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(kind, (1, 12, 12), **{"latent": 4, **options})


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"convolutional", "sparse"}))
def test_a_centred_network_starts_at_the_mean_picture(
    kind: str, generator: torch.Generator
) -> None:
    mean = 0.01 + 0.9 * torch.rand(1, 12, 12, generator=generator)
    network = build(kind, (1, 12, 12), latent=4)
    network.centre(mean)
    with torch.no_grad():
        assert torch.allclose(network(mean[None])[0], mean, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_pictures_are_float32_under_half_precision(
    kind: str, generator: torch.Generator
) -> None:
    network, x = build(kind, (1, 12, 12), latent=4), torch.rand(4, 1, 12, 12, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        total, parts = network.loss(x, generator)
        sigmoids = network(x) if kind != "linear" else x
    assert {value.dtype for value in (total, sigmoids, *parts.values())} == {torch.float32}


def test_every_kind_has_a_schedule_and_limits() -> None:
    assert set(SCHEDULES) == set(LIMITS) == set(KINDS)
