"""Measures of an autoencoder: reconstruction error, ELBO, accuracy of a classifier on its code."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.autoencoders.base import Autoencoder
from restore.autoencoders.data import Samples
from restore.autoencoders.regularised import corrupt
from restore.autoencoders.variational import VariationalAutoencoder
from restore.errors import InputError

BATCH = 1000


@torch.no_grad()
def in_batches(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The function of (N, ...), computed batch by batch to save memory."""
    return torch.cat([function(part) for part in x.split(BATCH)])


def squared_errors(
    network: Callable[[Tensor], Tensor], clean: Tensor, corrupted: Tensor | None = None
) -> Tensor:
    """Squared error of each reconstruction, summed over the values of a picture: (N,).

    clean:     pictures (N, C, H, W) in [0, 1] that the reconstructions are compared with
    corrupted: what the network sees, where that is not the clean pictures themselves
    """
    reconstructions = in_batches(network, clean if corrupted is None else corrupted)
    return (reconstructions - clean).square().flatten(1).sum(1)


def corrupt_with_seed(x: Tensor, kind: str, level: float, seed: int = 0) -> Tensor:
    """Pictures corrupted with a fixed seed, the same for all networks that are compared."""
    return corrupt(x, kind, level, torch.Generator(x.device).manual_seed(seed))


@torch.no_grad()
def negative_elbo(
    network: VariationalAutoencoder, binary: Tensor, draws: int = 10, seed: int = 0
) -> float:
    """Negative evidence lower bound (beta 1) of binary pictures, in nats per picture.

    The expectation over the code is the mean of `draws` draws. The negative log-likelihood is at
    most this number.
    """
    generator = torch.Generator(binary.device).manual_seed(seed)
    beta, network.beta = network.beta, 1.0
    network.eval()
    total = 0.0
    for part in binary.split(BATCH):
        for _ in range(draws):
            total += float(network.loss(part, generator).total) * len(part) / draws
    network.beta = beta
    return total / len(binary)


def count_parameters(network: Autoencoder) -> int:
    """How many trained numbers a network has."""
    return sum(p.numel() for p in network.parameters())


def code_accuracy(
    encode: Callable[[Tensor], Tensor], train: Samples, test: Samples
) -> float | None:
    """Test accuracy, 0 to 1, of a linear classifier on codes; None without labels.

    encode: pictures (N, C, H, W) -> codes (N, size)
    """
    if train.labels is None or test.labels is None:
        return None
    return linear_probe(
        in_batches(encode, train.pictures),
        train.labels,
        in_batches(encode, test.pictures),
        test.labels,
    )


def linear_probe(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    weight_decay: float = 1e-3,
) -> float:
    """Test accuracy, 0 to 1, of logistic regression on codes, fitted by L-BFGS.

    Alain and Bengio, "Understanding intermediate layers using linear classifier probes" (2016).

    train, test: codes (N, size), standardised by mean and deviation of the training codes
    labels:      int64 (N,), classes from 0 on
    Raises InputError where the labels do not match the codes or name one class only.
    """
    if len(train) != len(train_labels) or len(test) != len(test_labels):
        raise InputError(
            f"the labels do not match: there are {len(train)} training and {len(test)} test codes "
            f"but {len(train_labels)} and {len(test_labels)} labels"
        )
    if len(train_labels.unique()) < 2:
        raise InputError("the labels name one class only; a classifier needs at least two")
    classes = int(torch.cat([train_labels, test_labels]).max()) + 1
    mean, deviation = train.mean(0), train.std(0).clamp(min=1e-6)
    x = (train - mean) / deviation
    weight = torch.zeros(classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=200, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias), train_labels)
        loss = loss + weight_decay * weight.square().sum() / 2
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        predicted = F.linear((test - mean) / deviation, weight, bias).argmax(1)
    return float((predicted == test_labels).float().mean())
