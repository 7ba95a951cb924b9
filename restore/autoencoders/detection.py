"""How an anomaly detector comes to be: an autoencoder of normal pictures, with its thresholds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor

from restore.autoencoders.anomaly import Thresholds
from restore.autoencoders.dense import Autoencoder
from restore.autoencoders.family import build
from restore.autoencoders.samples import Samples
from restore.autoencoders.training import SCHEDULES, Epoch, Schedule, family_card, fit
from restore.errors import InputError, WeightsError
from restore.models.card import ModelCard

HELD_SHARE = 0.1
STEPS = 500  # at least: a digit alone is a tenth of the pictures, and needs its steps too


def hold_back(samples: Samples, normal: int | None) -> tuple[Tensor, Tensor]:
    """The normal pictures, nine tenths to learn and every tenth to set the thresholds by.

    Raises InputError where labels are missing, none is the normal one, or too few are left.
    """
    pictures = samples.pictures
    if normal is not None:
        if samples.labels is None:
            raise InputError("there are no labels to say which are normal; give them by --labels")
        pictures = pictures[samples.labels == normal]
    if len(pictures) < 20:
        raise InputError(f"{len(pictures)} normal pictures are too few to learn from; give 20")
    held = torch.arange(len(pictures)) % round(1 / HELD_SHARE) == 0
    return pictures[~held], pictures[held]


def fit_detector(
    kind: str, pictures: Tensor, *, latent: int, epochs: int | None = None, seed: int = 0
) -> tuple[Autoencoder, Schedule, Iterator[Epoch]]:
    """A member for normal pictures, its schedule, and its training, which the caller runs."""
    network = build(kind, tuple(pictures.shape[1:]), latent=latent, seed=seed)
    schedule = dataclasses.replace(SCHEDULES[kind], seed=seed)
    batch = min(schedule.batch, max(1, len(pictures) // 10))
    wanted = max(schedule.epochs, -(-STEPS * batch // len(pictures)))
    schedule = dataclasses.replace(schedule, batch=batch, epochs=epochs or wanted)
    return network, schedule, fit(network, pictures, schedule)


def detector_card(
    network: Autoencoder,
    data: str,
    normal: int | None,
    schedule: Schedule,
    epochs: list[Epoch],
    thresholds: Thresholds,
    pictures: int,
) -> ModelCard:
    """The member's card with the thresholds, which make it a detector."""
    card = family_card(network, data, schedule, epochs, [], pictures)
    return dataclasses.replace(
        card,
        name=f"anomaly-{card.name}",
        task="anomaly",
        trained_on={**card.trained_on, "normal": normal},
        training={**card.training, "thresholds": dataclasses.asdict(thresholds)},
        limits=[*card.limits, "What is bright, sharp and rare is taken for a defect."],
    )


def thresholds_of(network: Autoencoder, where: str) -> Thresholds:
    """What a detector's card says. Raises WeightsError for a card of anything else."""
    card = network.card
    values = card.training.get("thresholds") if card else None
    try:
        return Thresholds(**values)  # type: ignore[arg-type]
    except TypeError:
        raise WeightsError(f"{where} is no detector; make one with `restore anomaly fit`") from None
