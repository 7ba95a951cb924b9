"""All kinds of autoencoder and PCA compared: same pictures, same code size, one table."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from restore.autoencoders.base import Autoencoder
from restore.autoencoders.data import Split
from restore.autoencoders.family import KINDS, build
from restore.autoencoders.measure import code_accuracy, count_parameters, squared_errors
from restore.autoencoders.pca import Pca, fit_pca
from restore.autoencoders.training import SCHEDULES, Epoch, fit


@dataclass(frozen=True)
class Row:
    """One model, measured on the test pictures."""

    name: str
    latent: int  # numbers in a code
    error: float  # squared, summed over a picture, mean over the test pictures
    parameters: int
    seconds: float  # of training
    trained_per_second: float  # pictures, in training
    applied_per_second: float  # pictures, encoded and decoded
    accuracy: float | None  # of a linear classifier on the code, 0 to 1; None without labels
    reconstructions: Tensor = field(repr=False)  # of the first test pictures
    network: Autoencoder | None = field(default=None, repr=False)  # None for PCA

    def to_dict(self) -> dict[str, Any]:
        """The numbers alone, rounded to four decimals."""
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
    """Measure PCA, then train and measure each kind; yields every epoch, and a row per model.

    kinds:  names from `KINDS`; default all
    epochs: instead of the kind's own number
    shown:  number of reconstructions that a row holds
    """
    yield pca_row(split, latent, shown)
    changes: dict[str, Any] = {"seed": seed}
    if epochs is not None:
        changes["epochs"] = epochs
    for kind in kinds or KINDS:
        network = build(kind, split.train.shape, latent=latent, seed=seed)
        schedule = dataclasses.replace(SCHEDULES[kind], **changes)
        done = []
        for epoch in fit(network, split.train.pictures, schedule):
            done.append(epoch)
            yield epoch
        yield autoencoder_row(kind, network, split, done[-1].seconds, len(done), shown)


def pca_row(split: Split, latent: int, shown: int = 10) -> Row:
    """PCA of the training pictures, measured like the autoencoders."""
    started = time.perf_counter()
    pca = fit_pca(split.train.pictures, latent)
    seconds = time.perf_counter() - started
    return Row(
        name="pca",
        latent=latent,
        parameters=pca.components.numel() + pca.mean.numel(),
        seconds=seconds,
        trained_per_second=len(split.train) / seconds,
        **_measured(pca, pca.encode, split, shown),
    )


def autoencoder_row(
    name: str, network: Autoencoder, split: Split, seconds: float, epochs: int, shown: int = 10
) -> Row:
    """A trained autoencoder, measured; `seconds` and `epochs` are those of its training."""
    return Row(
        name=name,
        latent=network.latent,
        parameters=count_parameters(network),
        seconds=seconds,
        trained_per_second=len(split.train) * epochs / seconds,
        network=network,
        **_measured(network, network.encode, split, shown),
    )


def _measured(
    model: Pca | Autoencoder, encode: Callable[[Tensor], Tensor], split: Split, shown: int
) -> dict[str, Any]:
    """The fields of a row that the test pictures decide."""
    test = split.test.pictures
    started = time.perf_counter()
    error = float(squared_errors(model, test).mean())
    seconds = time.perf_counter() - started
    with torch.no_grad():
        reconstructions = model(test[:shown])
    return {
        "error": error,
        "applied_per_second": len(test) / seconds,
        "accuracy": code_accuracy(encode, split.train, split.test),
        "reconstructions": reconstructions,
    }
