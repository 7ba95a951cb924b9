"""Trainings: on digits against PCA and published numbers, schedules, seeds, augmentation."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path
from typing import Any

import pytest
import torch

from restore.autoencoders.base import Autoencoder
from restore.autoencoders.data import Samples, Split, load_samples
from restore.autoencoders.dense import LinearAutoencoder
from restore.autoencoders.family import build
from restore.autoencoders.measure import (
    corrupt_with_seed,
    in_batches,
    negative_elbo,
    squared_errors,
)
from restore.autoencoders.pca import fit_pca, principal_angles
from restore.autoencoders.regularised import SparseAutoencoder
from restore.autoencoders.training import SCHEDULES, Epoch, Schedule, bernoulli, fit, rate, warp
from restore.autoencoders.variational import VariationalAutoencoder
from restore.errors import InputError, TrainingError

MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"


@pytest.fixture(scope="module")
def digits() -> Split:
    if not (MNIST / "t10k-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"needs MNIST's test digits in {MNIST}")
    return load_samples(str(MNIST))


def trained(
    kind: str, split: Split, epochs: int, batch: int = 200, **options: Any
) -> tuple[Autoencoder, list[Epoch]]:
    network = build(kind, split.train.shape, **options)
    schedule = dataclasses.replace(SCHEDULES[kind], epochs=epochs, batch=batch)
    return network, list(fit(network, split.train.pictures, schedule))


def mean_error(network: Any, split: Split) -> float:
    return float(squared_errors(network, split.test.pictures).mean())


def test_digits_are_divided_as_the_published_numbers_ask(digits: Split) -> None:
    assert (len(digits.train), len(digits.test)) == (8000, 2000)
    with gzip.open(MNIST / "t10k-labels-idx1-ubyte.gz") as file:
        labels = list(file.read()[8:])
    assert digits.train.labels is not None and digits.test.labels is not None
    assert digits.train.labels.tolist() + digits.test.labels.tolist() == labels


def test_pca_of_the_digits_has_the_known_errors(digits: Split) -> None:
    pca = fit_pca(digits.train.pictures, 30)
    assert mean_error(pca, digits) == pytest.approx(14.33, abs=0.02)
    assert mean_error(pca.keep(10), digits) == pytest.approx(27.60, abs=0.02)


def test_the_linear_autoencoder_learns_pca(digits: Split) -> None:
    network, _ = trained("linear", digits, 20, batch=200, latent=32)
    assert isinstance(network, LinearAutoencoder)
    pca = fit_pca(digits.train.pictures, 32)
    assert mean_error(network, digits) < 1.01 * mean_error(pca, digits)
    spans = network.decoder.weight.detach().T, pca.components
    assert principal_angles(*spans).max() < 3


def test_the_convolutional_autoencoder_is_far_below_pca(digits: Split) -> None:
    network = build("convolutional", digits.train.shape, latent=30)
    # without augmentation fewer epochs are enough
    schedule = dataclasses.replace(SCHEDULES["convolutional"], epochs=3, batch=100, warp=0.0)
    list(fit(network, digits.train.pictures, schedule))
    assert mean_error(network, digits) < 7  # PCA: 14.33


def test_the_variational_autoencoder_bounds_the_likelihood(digits: Split) -> None:
    network, epochs = trained("variational", digits, 6, latent=20)
    assert isinstance(network, VariationalAutoencoder)
    binary = bernoulli(digits.test.pictures, torch.Generator().manual_seed(7))
    assert 70 < negative_elbo(network, binary, draws=2) < 120
    assert set(epochs[-1].parts) == {"reconstruction", "kl"}


def strokes(count: int, seed: int) -> torch.Tensor:
    """14x14 pictures in place of digits: two soft bright lines on black, placed at random."""
    generator = torch.Generator().manual_seed(seed)
    start, end = (2 + 9 * torch.rand(2, count, 2, 1, 2, generator=generator)).unbind()
    axis = torch.arange(14.0)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).view(-1, 2)
    way = end - start
    along = ((points - start) * way).sum(-1, keepdim=True) / way.square().sum(-1, keepdim=True)
    away = (points - start - along.clamp(0, 1) * way).square().sum(-1)
    return (-away).exp().amax(1).view(count, 1, 14, 14)


@pytest.fixture(scope="module")
def stand_ins() -> Split:
    return Split(Samples(strokes(1500, 0)), Samples(strokes(500, 1)))


@pytest.mark.parametrize(("penalty", "target"), [("kl", 0.05), ("l1", 0.1)])
def test_the_sparse_autoencoder_reaches_its_target(
    stand_ins: Split, penalty: str, target: float
) -> None:
    options = {"latent": 16, "hidden": 256, "penalty": penalty, "target": target}
    network, _ = trained("sparse", stand_ins, 8, batch=50, **options)
    assert isinstance(network, SparseAutoencoder)
    means = in_batches(network.features, stand_ins.test.pictures).mean(0)
    assert float(means.mean()) == pytest.approx(target, rel=0.2)
    assert float(((means / target - 1).abs() < 0.2).float().mean()) > 0.9  # not on average alone
    x = stand_ins.test.pictures
    assert mean_error(network, stand_ins) < 0.5 * x.var(0).sum()  # and still reconstructs


@pytest.mark.parametrize(("kind", "level"), [("gaussian", 0.3), ("masking", 0.5)])
def test_the_denoising_autoencoder_beats_the_vanilla_one_on_its_corruption(
    stand_ins: Split, kind: str, level: float
) -> None:
    vanilla, _ = trained("vanilla", stand_ins, 12, batch=100)
    denoising, _ = trained("denoising", stand_ins, 12, batch=100, corruption=kind, level=level)
    x = stand_ins.test.pictures
    corrupted = corrupt_with_seed(x, kind, level)
    errors = [float(squared_errors(n, x, corrupted).mean()) for n in (denoising, vanilla)]
    assert errors[0] < 0.75 * errors[1]


def random_split(count: int = 200) -> Split:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.rand(6, 144, generator=generator)
    x = (torch.rand(count, 6, generator=generator) @ mixing / 6).view(-1, 1, 12, 12)
    labels = (x.mean((1, 2, 3)) > x.mean()).long()
    whole = Samples(x, labels)
    return Split(whole.take(slice(150)), whole.take(slice(150, None)))


def test_every_phase_of_the_stacked_autoencoder_learns() -> None:
    split = random_split()
    network = build("stacked", (1, 12, 12), latent=4, hidden=[30, 10], pretrain=0.5)
    schedule = Schedule(epochs=30, batch=25)
    epochs = list(fit(network, split.train.pictures, schedule, split.test.pictures))
    names = [e.phase for e in epochs]
    assert names == ["layer 1"] * 5 + ["layer 2"] * 5 + ["layer 3"] * 5 + ["fine-tuning"] * 15
    assert [e.epoch for e in epochs] == list(range(1, 31))
    for phase in dict.fromkeys(names):
        losses = [e.loss for e in epochs if e.phase == phase]
        assert losses[-1] < losses[0]
    assert all(e.validation is not None and e.validation > 0 for e in epochs)


@pytest.mark.parametrize("kind", ["denoising", "variational"])
def test_the_same_seed_trains_the_same_network(kind: str) -> None:
    split, found = random_split(), []
    for _ in range(2):
        network, _ = trained(kind, split, 2, latent=4)
        found.append(in_batches(network.encode, split.test.pictures))
        torch.manual_seed(99)  # the global generator must not matter
    torch.testing.assert_close(*found)


def test_half_precision_trains_as_well_as_full() -> None:
    split, errors = random_split(), []
    for precision in ("fp32", "bf16"):
        network = build("vanilla", (1, 12, 12), latent=6)
        list(fit(network, split.train.pictures, Schedule(epochs=8, batch=25, precision=precision)))
        assert all(p.dtype == torch.float32 for p in network.parameters())
        errors.append(mean_error(network, split))
    assert errors[0] != errors[1]
    assert errors[1] == pytest.approx(errors[0], rel=0.2)


def test_a_training_that_diverges_is_an_error() -> None:
    network = build("linear", (1, 12, 12), latent=4)
    with pytest.raises(TrainingError, match="--rate"):
        list(fit(network, random_split().train.pictures, Schedule(epochs=9, rate=1e30)))


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch": 0}, {"rate": -1.0}, {"warp": 9.0}])
def test_impossible_schedules_are_refused(change: dict[str, Any]) -> None:
    network = build("linear", (1, 12, 12), latent=4)
    with pytest.raises(InputError):
        list(fit(network, random_split().train.pictures, Schedule(**change)))
    with pytest.raises(InputError, match="pictures of shape"):
        list(fit(network, torch.rand(9, 1, 8, 8)))


def test_the_rate_rises_and_falls() -> None:
    assert rate(0.0) == 0
    assert rate(0.05) == pytest.approx(1)
    assert rate(1.0) == pytest.approx(0, abs=1e-12)
    assert rate(0.5) > rate(0.8)


def test_binary_pictures_have_the_grey_ones_as_their_mean(generator: torch.Generator) -> None:
    x = torch.full((20_000, 1, 1, 2), 0.3)
    binary = bernoulli(x, generator)
    assert set(binary.unique().tolist()) == {0.0, 1.0}
    assert binary.mean().item() == pytest.approx(0.3, abs=0.01)


def test_warping_keeps_the_mass_about_where_it_was(generator: torch.Generator) -> None:
    x = torch.zeros(64, 1, 28, 28)
    x[:, :, 8:20, 12:16] = 1
    warped = warp(x, 1.0, generator)
    assert not torch.allclose(warped[0], warped[1])
    assert warped.sum().item() == pytest.approx(x.sum().item(), rel=0.05)
    assert torch.allclose(warp(x, 1e-9, generator), x, atol=1e-4)
