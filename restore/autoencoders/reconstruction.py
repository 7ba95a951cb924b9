"""How well an autoencoder gives pictures back: squared error, ELBO, codes, in batches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from restore.autoencoders.dense import Autoencoder
from restore.autoencoders.regularised import corrupt
from restore.autoencoders.variational import VariationalAutoencoder

BATCH = 1000


@torch.no_grad()
def in_batches(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The function over (N, ...) without the memory of doing it at once."""
    return torch.cat([function(part) for part in x.split(BATCH)])


def squared_errors(
    network: Callable[[Tensor], Tensor], x: Tensor, seen: Tensor | None = None
) -> Tensor:
    """Squared error of each picture, summed over its samples: (N,).

    seen: what the network is shown instead of x, where it is to be given back cleaner
    """
    given_back = in_batches(network, x if seen is None else seen)
    return (given_back - x).square().flatten(1).sum(1)


def corrupted(x: Tensor, kind: str, level: float, seed: int = 0) -> Tensor:
    """Pictures with a degradation of a fixed seed, the same for every network that is compared."""
    return corrupt(x, kind, level, torch.Generator(x.device).manual_seed(seed))


@torch.no_grad()
def negative_elbo(
    network: VariationalAutoencoder, binary: Tensor, draws: int = 10, seed: int = 0
) -> float:
    """Negative evidence lower bound of binary pictures in nats per picture, beta 1.

    The expectation over the code is the mean of `draws` samples; below the bound lies the negative
    log-likelihood itself.
    """
    generator = torch.Generator(binary.device).manual_seed(seed)
    was, network.beta = network.beta, 1.0
    network.eval()
    total = 0.0
    for part in binary.split(BATCH):
        for _ in range(draws):
            total += float(network.loss(part, generator).total) * len(part) / draws
    network.beta = was
    return total / len(binary)


def parameters(network: Autoencoder) -> int:
    """How many numbers it learned."""
    return sum(p.numel() for p in network.parameters())
