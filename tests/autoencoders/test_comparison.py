"""The comparison: a row for each model, PCA first, with the numbers that define it."""

from __future__ import annotations

import pytest
import torch

from restore.autoencoders.comparison import Row, autoencoder_row, compare
from restore.autoencoders.data import Samples, Split
from restore.autoencoders.family import build
from restore.autoencoders.measure import squared_errors
from restore.autoencoders.pca import fit_pca
from restore.autoencoders.training import Epoch


@pytest.fixture
def split(generator: torch.Generator) -> Split:
    """200 pictures of 12x12 with six degrees of freedom, and labels by their brightness."""
    mixing = torch.rand(6, 144, generator=generator)
    x = (torch.rand(200, 6, generator=generator) @ mixing / 6).view(-1, 1, 12, 12)
    whole = Samples(x, (x.mean((1, 2, 3)) > x.mean()).long())
    return Split(whole.take(slice(150)), whole.take(slice(150, None)))


def test_there_is_a_row_for_each_model_and_pca_is_first(split: Split) -> None:
    events = list(compare(split, 4, ["linear", "vanilla"], epochs=2, shown=3))
    rows = [event for event in events if isinstance(event, Row)]
    assert [row.name for row in rows] == ["pca", "linear", "vanilla"]
    assert sum(isinstance(event, Epoch) for event in events) == 4
    assert [row.latent for row in rows] == [4, 4, 4]
    assert rows[0].parameters == 4 * 144 + 144
    assert rows[1].parameters == 2 * 4 * 144 + 144 + 4
    pca = fit_pca(split.train.pictures, 4)
    assert rows[0].error == pytest.approx(float(squared_errors(pca, split.test.pictures).mean()))
    assert all(row.error >= rows[0].error and row.accuracy is not None for row in rows)
    assert all(row.reconstructions.shape == (3, 1, 12, 12) for row in rows)


def test_the_dictionary_of_a_row_holds_numbers_only(split: Split) -> None:
    network = build("vanilla", split.train.shape, latent=4).eval()
    row = autoencoder_row("v", network, split, seconds=10.0, epochs=4)
    assert row.trained_per_second == pytest.approx(150 * 4 / 10)
    assert row.network is network
    found = row.to_dict()
    assert "network" not in found and "reconstructions" not in found
    assert found["seconds"] == 10.0 and found["name"] == "v"
