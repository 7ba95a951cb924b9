"""The whole family and PCA side by side: the same pictures, the same code size, one table."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from restore.autoencoders.dense import Autoencoder
from restore.autoencoders.family import KINDS, build
from restore.autoencoders.pca import fit_pca
from restore.autoencoders.probe import probe
from restore.autoencoders.reconstruction import in_batches, parameters, squared_errors
from restore.autoencoders.samples import Samples, Split
from restore.autoencoders.training import SCHEDULES, Epoch, fit


@dataclass(frozen=True)
class Row:
    """One member, trained and measured on the test pictures."""

    name: str
    latent: int
    error: float  # squared, summed over a picture, mean over the test pictures
    parameters: int
    seconds: float  # of training
    trained_per_second: float  # pictures, while training
    applied_per_second: float  # pictures through encoder and decoder
    accuracy: float | None  # of a linear classifier on the code, where there are labels
    reconstructions: Tensor = field(repr=False)  # of the first test pictures
    network: Autoencoder | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The numbers alone, rounded as they are printed."""
        left_out = ("reconstructions", "network")
        values = {k: v for k, v in vars(self).items() if k not in left_out}
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}


def compare(
    split: Split,
    latent: int,
    kinds: Sequence[str] | None = None,
    *,
    epochs: int | None = None,
    seed: int = 0,
    shown: int = 10,
) -> Iterator[Epoch | Row]:
    """PCA first, then each kind: yields every epoch and, when a member is done, its row.

    epochs: instead of those of each kind's own schedule
    """
    yield pca_row(split, latent, shown)
    for kind in kinds or KINDS:
        network = build(kind, split.train.shape, latent=latent, seed=seed)
        changes: dict[str, Any] = (
            {"seed": seed} if epochs is None else {"seed": seed, "epochs": epochs}
        )
        schedule = dataclasses.replace(SCHEDULES[kind], **changes)
        done = []
        for epoch in fit(network, split.train.pictures, schedule):
            done.append(epoch)
            yield epoch
        yield member_row(kind, network, split, done[-1].seconds, len(done), shown)


def pca_row(split: Split, latent: int, shown: int = 10) -> Row:
    """PCA of the training pictures, measured as the members are."""
    started = time.perf_counter()
    pca = fit_pca(split.train.pictures, latent)
    seconds = time.perf_counter() - started
    size = pca.components.numel() + pca.mean.numel()
    return _row("pca", pca, split, latent, size, seconds, len(split.train) / seconds, shown)


def member_row(
    name: str, network: Autoencoder, split: Split, seconds: float, epochs: int, shown: int = 10
) -> Row:
    """A member that was trained so long, measured.

    seconds, epochs: of its training, for the pictures per second
    """
    rate = len(split.train) * epochs / seconds
    size = parameters(network)
    row = _row(name, network, split, network.latent, size, seconds, rate, shown)
    return dataclasses.replace(row, network=network)


def _row(
    name: str,
    coder: Any,  # a PCA or a member: `encode`, and a call that goes through the code and back
    split: Split,
    latent: int,
    size: int,
    seconds: float,
    rate: float,
    shown: int,
) -> Row:
    test = split.test.pictures
    started = time.perf_counter()
    error = float(squared_errors(coder, test).mean())
    applied = len(test) / (time.perf_counter() - started)
    with torch.no_grad():
        reconstructions = coder(test[:shown])
    found = accuracy(coder.encode, split.train, split.test)
    return Row(name, latent, error, size, seconds, rate, applied, found, reconstructions)


def accuracy(encode: Callable[[Tensor], Tensor], train: Samples, test: Samples) -> float | None:
    """Accuracy on the test codes of a linear classifier on the code; None without labels."""
    if train.labels is None or test.labels is None:
        return None
    return probe(
        in_batches(encode, train.pictures),
        train.labels,
        in_batches(encode, test.pictures),
        test.labels,
    )
