"""The linear probe on codes whose classes are, or are not, linearly separable."""

from __future__ import annotations

import pytest
import torch

from restore.autoencoders.probe import probe
from restore.errors import InputError


def test_what_is_separable_is_separated_and_noise_is_not(generator: torch.Generator) -> None:
    x = torch.randn(600, 5, generator=generator)
    labels = (x @ torch.tensor([1.0, -2, 0, 0, 3]) > 0).long()
    assert probe(x[:400], labels[:400], x[400:], labels[400:]) > 0.95
    noise = torch.randint(0, 4, (600,), generator=generator)
    assert probe(x[:400], noise[:400], x[400:], noise[400:]) < 0.4


def test_a_linear_classifier_cannot_do_exclusive_or(generator: torch.Generator) -> None:
    x = torch.randn(2000, 2, generator=generator)
    labels = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).long()
    assert 0.4 < probe(x[:1000], labels[:1000], x[1000:], labels[1000:]) < 0.65


def test_labels_that_do_not_match_are_refused() -> None:
    x, labels = torch.rand(10, 2), torch.arange(10) % 2
    with pytest.raises(InputError, match="do not match"):
        probe(x, labels[:9], x, labels)
    with pytest.raises(InputError, match="one class"):
        probe(x, torch.zeros(10, dtype=torch.long), x, labels)
