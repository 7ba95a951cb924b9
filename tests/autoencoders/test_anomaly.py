"""Anomaly detection: AUROC by its definition, heat maps of a known error, digits, photographs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from restore.autoencoders.anomaly import (
    Thresholds,
    auroc,
    detector_card,
    fit_detector,
    gaussian_blur,
    heat_map,
    hold_out,
    quantile,
    scores,
    set_thresholds,
    thresholds_of,
    window_positions,
)
from restore.autoencoders.data import Samples, load_samples
from restore.autoencoders.dense import LinearAutoencoder
from restore.errors import InputError, WeightsError
from restore.image.color import as_grey
from restore.image.read import load_image

MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"


class Flat(LinearAutoencoder):
    """Reconstructs everything as mid-grey."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.full_like(x, 0.5)


def test_auroc_is_the_share_of_pairs_in_order(generator: torch.Generator) -> None:
    values = torch.randint(0, 6, (60,), generator=generator).float()  # with many ties
    abnormal = torch.rand(60, generator=generator) < 0.3
    positive, negative = values[abnormal][:, None], values[~abnormal]
    pairs = (positive > negative).double() + 0.5 * (positive == negative).double()
    assert auroc(values, abnormal) == pytest.approx(float(pairs.mean()))
    assert auroc(torch.arange(4.0), torch.tensor([False, False, True, True])) == 1
    assert auroc(torch.arange(4.0), torch.tensor([True, True, False, False])) == 0


def test_labels_of_one_kind_or_another_number_are_refused() -> None:
    with pytest.raises(InputError, match="one kind"):
        auroc(torch.arange(3.0), torch.zeros(3, dtype=torch.bool))
    with pytest.raises(InputError, match="do not match"):
        auroc(torch.arange(3.0), torch.zeros(4, dtype=torch.bool))


@pytest.mark.parametrize(("size", "side", "stride"), [(10, 10, 3), (11, 10, 3), (50, 8, 3)])
def test_windows_cover_every_pixel(size: int, side: int, stride: int) -> None:
    positions = window_positions(size, side, stride)
    covered = {p + i for p in positions for i in range(side)}
    assert covered == set(range(size))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 30), (31, 17)])
def test_the_heat_is_the_error_at_each_pixel(
    height: int, width: int, rng: np.random.Generator
) -> None:
    pixels = rng.random((height, width, 3)).astype(np.float32)
    heat = heat_map(Flat((3, 8, 8), 4), pixels, stride=3)
    assert np.allclose(heat, np.abs(pixels - 0.5).mean(2), atol=1e-6)


def test_pictures_of_another_size_or_kind_are_refused() -> None:
    for shape in ((7, 20, 3), (20, 20, 1)):
        with pytest.raises(InputError, match="the detector needs"):
            heat_map(Flat((3, 8, 8), 4), np.zeros(shape, np.float32))


def test_the_blur_keeps_the_sum_and_spreads_as_a_gaussian() -> None:
    plane = torch.zeros(31, 31)
    plane[15, 15] = 1
    blurred = gaussian_blur(plane, 2.0)
    assert blurred.sum().item() == pytest.approx(1, abs=1e-5)
    offsets = torch.arange(31) - 15.0
    assert (blurred.sum(0) * offsets**2).sum().item() == pytest.approx(4, rel=0.05)
    assert torch.equal(gaussian_blur(plane, 0.0), plane)


def test_thresholds_are_quantiles_of_the_normal(generator: torch.Generator) -> None:
    x = torch.rand(200, 1, 8, 8, generator=generator)
    network = Flat((1, 8, 8), 4)
    found = set_thresholds(network, x, 0.9)
    assert (scores(network, x) > found.picture).float().mean().item() == pytest.approx(0.1)
    above = ((x - 0.5).abs() > found.pixel).float().mean().item()
    assert above == pytest.approx(0.1, abs=0.001)
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(InputError, match="quantile"):
            quantile(x, share)


def test_normal_pictures_are_divided_and_others_left_out() -> None:
    x = torch.arange(100.0).view(-1, 1, 1, 1)
    learned, held = hold_out(Samples(x, torch.arange(100) % 2), 1)
    together = torch.cat([learned, held]).flatten()
    assert sorted(together.tolist()) == [float(i) for i in range(1, 100, 2)]
    with pytest.raises(InputError, match="too few"):
        hold_out(Samples(x, torch.arange(100)), 1)
    with pytest.raises(InputError, match="no labels"):
        hold_out(Samples(x), 1)


def test_one_digit_against_the_rest() -> None:
    """Two of the ten digits, an easy one and a hard one; benchmarks/anomalies.py does all."""
    if not (MNIST / "t10k-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"needs MNIST's test digits in {MNIST}")
    split = load_samples(str(MNIST))
    assert split.test.labels is not None
    found = []
    for digit in (0, 2):
        learned, _ = hold_out(split.train, digit)
        network, _, epochs = fit_detector("vanilla", learned, latent=16, epochs=15)
        list(epochs)
        found.append(auroc(scores(network, split.test.pictures), split.test.labels != digit))
    assert sum(found) / 2 > 0.88


def test_scratches_and_dust_on_photographs_are_found(
    samples: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    for name in ("night", "fur", "portrait-16bit", "cut-out"):
        shutil.copy(samples / f"{name}-clean.png", tmp_path)
    patches = load_samples(str(tmp_path), patch=16, count=5000).train.pictures
    network, _, epochs = fit_detector("linear", patches, latent=16, epochs=8)
    list(epochs)
    clean = as_grey(load_image(samples / "grey-clean.png").pixels)  # not among those it learned
    damaged, marked = scratch(clean, rng)
    heat = torch.from_numpy(heat_map(network, damaged)).flatten()
    assert 0.002 < marked.mean() < 0.02
    assert auroc(heat, torch.from_numpy(marked).flatten()) > 0.9


def scratch(pixels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Twelve white lines a pixel wide and twelve specks of two by two, and where they are."""
    height, width = pixels.shape[:2]
    marked = np.zeros((height, width), bool)
    for _ in range(12):
        along = np.linspace(0, rng.uniform(20, 80), 240)
        angle = rng.uniform(0, np.pi)
        rows = rng.uniform(0, height) + along * np.sin(angle)
        columns = rng.uniform(0, width) + along * np.cos(angle)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        marked[rows[inside].astype(int), columns[inside].astype(int)] = True
        row, column = rng.integers(1, height), rng.integers(1, width)
        marked[row - 1 : row + 1, column - 1 : column + 1] = True
    return np.where(marked[:, :, None], np.float32(1), pixels), marked


def test_the_card_holds_the_thresholds(generator: torch.Generator) -> None:
    x = torch.rand(40, 1, 6, 6, generator=generator)
    network, schedule, epochs = fit_detector("linear", x, latent=2, epochs=1)
    assert schedule.batch == 4  # at least ten steps in an epoch
    found = Thresholds(3.5, 0.25, 0.99)
    network.card = detector_card(network, "x", 7, schedule, list(epochs), found, 40)
    assert network.card.task == "anomaly" and network.card.trained_on["normal"] == 7
    assert thresholds_of(network, "a file") == found
    for wrong in ({}, {"thresholds": None}, {"thresholds": {"picture": "x"}}):
        object.__setattr__(network.card, "training", wrong)
        with pytest.raises(WeightsError, match="is not an anomaly detector"):
            thresholds_of(network, "a file")


def test_few_pictures_get_more_epochs(generator: torch.Generator) -> None:
    x = torch.rand(100, 1, 6, 6, generator=generator)
    _, schedule, _ = fit_detector("linear", x, latent=2)
    assert schedule.epochs * (100 // schedule.batch) >= 500
