"""Errors of known reconstructions; the linear probe on classes that are separable, or not."""

from __future__ import annotations

import pytest
import torch

from restore.autoencoders.data import Samples
from restore.autoencoders.dense import LinearAutoencoder
from restore.autoencoders.measure import (
    BATCH,
    code_accuracy,
    corrupt_with_seed,
    count_parameters,
    in_batches,
    linear_probe,
    negative_elbo,
    squared_errors,
)
from restore.autoencoders.variational import VariationalAutoencoder
from restore.errors import InputError


def test_what_is_separable_is_separated_and_noise_is_not(generator: torch.Generator) -> None:
    x = torch.randn(600, 5, generator=generator)
    labels = (x @ torch.tensor([1.0, -2, 0, 0, 3]) > 0).long()
    assert linear_probe(x[:400], labels[:400], x[400:], labels[400:]) > 0.95
    noise = torch.randint(0, 4, (600,), generator=generator)
    assert linear_probe(x[:400], noise[:400], x[400:], noise[400:]) < 0.4


def test_a_linear_classifier_cannot_do_exclusive_or(generator: torch.Generator) -> None:
    x = torch.randn(2000, 2, generator=generator)
    labels = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).long()
    assert 0.4 < linear_probe(x[:1000], labels[:1000], x[1000:], labels[1000:]) < 0.65


def test_labels_that_do_not_match_are_refused() -> None:
    x, labels = torch.rand(10, 2), torch.arange(10) % 2
    with pytest.raises(InputError, match="do not match"):
        linear_probe(x, labels[:9], x, labels)
    with pytest.raises(InputError, match="one class"):
        linear_probe(x, torch.zeros(10, dtype=torch.long), x, labels)
    with pytest.raises(InputError, match="do not match"):
        linear_probe(x, labels, x, labels[:9])


def test_batches_are_computed_apart_and_joined(generator: torch.Generator) -> None:
    x = torch.rand(BATCH + 7, 2, generator=generator)
    sizes: list[int] = []

    def double(part: torch.Tensor) -> torch.Tensor:
        sizes.append(len(part))
        return 2 * part

    torch.testing.assert_close(in_batches(double, x), 2 * x)
    assert sizes == [BATCH, 7]


def test_squared_errors_compare_with_the_clean_pictures() -> None:
    clean, corrupted = torch.zeros(3, 1, 2, 2), torch.full((3, 1, 2, 2), 0.5)
    assert squared_errors(lambda x: x, clean).tolist() == [0, 0, 0]
    assert squared_errors(lambda x: x, clean, corrupted).tolist() == pytest.approx([1, 1, 1])


def test_the_same_seed_corrupts_alike(generator: torch.Generator) -> None:
    x = torch.rand(4, 1, 5, 5, generator=generator)
    first, again, other = (corrupt_with_seed(x, "gaussian", 0.3, seed) for seed in (1, 1, 2))
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, other)


def test_the_elbo_is_that_of_beta_one_and_leaves_the_network_alone(
    generator: torch.Generator,
) -> None:
    binary = torch.rand(6, 1, 6, 6, generator=generator).round()
    bounds = []
    for beta in (1.0, 5.0):
        network = VariationalAutoencoder((1, 6, 6), 4, hidden=(8,), beta=beta)
        bounds.append(negative_elbo(network, binary, draws=3))
        assert network.beta == beta
    assert bounds[0] == pytest.approx(bounds[1])
    assert bounds[0] > 0


def test_codes_are_probed_where_there_are_labels(generator: torch.Generator) -> None:
    x = torch.rand(100, 1, 4, 4, generator=generator)
    labels = (x.mean((1, 2, 3)) > 0.5).long()
    whole = Samples(x, labels)
    found = code_accuracy(lambda part: part.flatten(1), whole, whole)
    assert found is not None and found > 0.9
    assert code_accuracy(lambda part: part.flatten(1), whole, Samples(x)) is None


def test_parameters_are_counted() -> None:
    assert count_parameters(LinearAutoencoder((1, 4, 4), 3)) == 2 * 3 * 16 + 3 + 16
