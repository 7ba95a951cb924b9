"""Anomaly detection: an autoencoder of normal pictures reconstructs what is abnormal badly.

A detector is an autoencoder trained on normal pictures, with thresholds set on others that were
held out. It scores whole pictures, and draws the heat map of a larger one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from restore.autoencoders.base import Autoencoder
from restore.autoencoders.data import Samples
from restore.autoencoders.family import build
from restore.autoencoders.measure import in_batches, squared_errors
from restore.autoencoders.training import SCHEDULES, Epoch, Schedule, fit, make_card
from restore.errors import InputError, WeightsError
from restore.image.picture import Pixels
from restore.models.card import ModelCard

HELD_OUT = 10  # every tenth normal picture sets the thresholds
FEWEST = 20  # normal pictures
FEWEST_STEPS = 500  # of training: a single digit of MNIST is few pictures, so it gets more epochs


@dataclass(frozen=True)
class Thresholds:
    """The scores above which a picture or a pixel counts as abnormal."""

    picture: float  # squared error, summed over the picture
    pixel: float  # of the heat map
    quantile: float  # share of the held-out normal pictures that score below, 0 to 1


def hold_out(samples: Samples, normal: int | None) -> tuple[Tensor, Tensor]:
    """Normal pictures divided in two: nine tenths to train on, one tenth to set thresholds with.

    normal: the label of normal pictures; None: all are normal
    Raises InputError for missing labels, or for fewer than 20 normal pictures.
    """
    pictures = samples.pictures
    if normal is not None:
        if samples.labels is None:
            raise InputError("there are no labels to find the normal pictures by; give --labels")
        pictures = pictures[samples.labels == normal]
    if len(pictures) < FEWEST:
        raise InputError(
            f"{len(pictures)} normal pictures are too few to train on; give at least {FEWEST}"
        )
    held_out = torch.arange(len(pictures)) % HELD_OUT == 0
    return pictures[~held_out], pictures[held_out]


def fit_detector(
    kind: str, pictures: Tensor, *, latent: int, epochs: int | None = None, seed: int = 0
) -> tuple[Autoencoder, Schedule, Iterator[Epoch]]:
    """An autoencoder for normal pictures (N, C, H, W), its schedule, and its training.

    The training runs as the caller iterates over its epochs.
    """
    network = build(kind, tuple(pictures.shape[1:]), latent=latent, seed=seed)
    schedule = dataclasses.replace(SCHEDULES[kind], seed=seed)
    batch = min(schedule.batch, max(1, len(pictures) // 10))
    enough = max(schedule.epochs, -(-FEWEST_STEPS * batch // len(pictures)))
    schedule = dataclasses.replace(
        schedule, batch=batch, epochs=enough if epochs is None else epochs
    )
    return network, schedule, fit(network, pictures, schedule)


def set_thresholds(network: Autoencoder, normal: Tensor, share: float) -> Thresholds:
    """The quantiles of the scores of normal pictures (N, C, H, W) and of their pixels.

    Raises InputError for a share outside (0, 1).
    """
    heat = (in_batches(network, normal) - normal).abs().mean(1)
    return Thresholds(quantile(scores(network, normal), share), quantile(heat, share), share)


def detector_card(
    network: Autoencoder,
    data: str,
    normal: int | None,
    schedule: Schedule,
    epochs: list[Epoch],
    thresholds: Thresholds,
    pictures: int,
) -> ModelCard:
    """The card of a detector: that of its autoencoder, with the thresholds."""
    card = make_card(network, data, schedule, epochs, [], pictures)
    return dataclasses.replace(
        card,
        name=f"anomaly-{card.name}",
        task="anomaly",
        trained_on={**card.trained_on, "normal": normal},
        training={**card.training, "thresholds": dataclasses.asdict(thresholds)},
        limits=[*card.limits, "Bright, sharp and rare structures count as anomalies."],
    )


def thresholds_of(network: Autoencoder, where: str) -> Thresholds:
    """The thresholds in a detector's card. Raises WeightsError for any other weights file."""
    values: Any = network.card.training.get("thresholds") if network.card else None
    try:
        return Thresholds(**{key: float(value) for key, value in values.items()})
    except (AttributeError, TypeError, ValueError):
        raise WeightsError(
            f"{where} is not an anomaly detector; make one with `restore anomaly fit`"
        ) from None


def scores(network: Autoencoder, x: Tensor) -> Tensor:
    """The anomaly score of each picture (N, C, H, W): its squared error, (N,)."""
    return squared_errors(network, x)


def quantile(values: Tensor, share: float) -> float:
    """The value that a share of the values lies below. Raises InputError outside (0, 1)."""
    check_quantile(share)
    return float(np.quantile(values.flatten().numpy(), share))  # torch's stops at 2^24 values


def check_quantile(share: float) -> None:
    """Raises InputError for a share outside (0, 1)."""
    if not 0 < share < 1:
        raise InputError(f"the quantile must be above 0 and below 1, not {share}")


def auroc(values: Tensor, abnormal: Tensor) -> float:
    """Area under the ROC curve: the chance that an abnormal score is above a normal one.

    Ties count half. Computed from ranks (Hanley and McNeil, Radiology 143:29, 1982).

    values:   scores (N,); abnormal: bool (N,)
    Raises InputError where the lengths differ or all pictures are of one kind.
    """
    if values.shape != abnormal.shape:
        raise InputError(
            f"the labels do not match: there are {len(values)} scores and {len(abnormal)} labels"
        )
    positives = int(abnormal.sum())
    negatives = len(abnormal) - positives
    if not positives or not negatives:
        raise InputError("AUROC needs both normal and abnormal labels, but all are of one kind")
    _, place, counts = values.double().unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0).double() - (counts.double() - 1) / 2)[place]  # ties: their mean rank
    total = float(ranks[abnormal].sum())
    return (total - positives * (positives + 1) / 2) / (positives * negatives)


def window_positions(size: int, side: int, stride: int) -> list[int]:
    """Where windows start along an axis, so that they cover it; the last one ends at its end."""
    last = size - side
    return [*range(0, last, stride), last]


def heat_map(
    network: Autoencoder, pixels: Pixels, stride: int | None = None, blur: float = 0.0
) -> npt.NDArray[np.float32]:
    """The reconstruction error at each pixel: `(height, width)`, 0 and above.

    The reconstructions of overlapping windows are averaged; the error is the absolute difference,
    averaged over the channels.

    pixels: `(height, width, channels)` in [0, 1], at least as large as the network's pictures
    stride: distance between two windows in pixels; default a quarter of a window
    blur:   sigma in pixels of a Gaussian blur of the map, for anomalies larger than a pixel
    Raises InputError for a picture that is too small or has other channels.
    """
    channels, high, wide = network.shape
    height, width, found = pixels.shape
    if found != channels or height < high or width < wide:
        raise InputError(
            f"the detector needs {channels} channels and at least {wide}x{high} pixels; "
            f"this picture has {found} and {width}x{height}"
        )
    stride = stride or max(1, min(high, wide) // 4)
    x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    total, weight = torch.zeros_like(x), torch.zeros(1, height, width)
    columns = window_positions(width, wide, stride)
    for top in window_positions(height, high, stride):
        rows = x[:, top : top + high]
        windows = torch.stack([rows[:, :, left : left + wide] for left in columns])
        for left, window in zip(columns, in_batches(network, windows), strict=True):
            total[:, top : top + high, left : left + wide] += window
            weight[:, top : top + high, left : left + wide] += 1
    error = (x - total / weight).abs().mean(0)
    heat: npt.NDArray[np.float32] = gaussian_blur(error, blur).numpy()
    return heat


def gaussian_blur(plane: Tensor, sigma: float) -> Tensor:
    """A plane (H, W) blurred with its border repeated; unchanged for a sigma of 0."""
    if sigma <= 0:
        return plane
    radius = min(math.ceil(3 * sigma), *(s - 1 for s in plane.shape))
    offsets = torch.arange(-radius, radius + 1, dtype=plane.dtype)
    kernel = (-(offsets**2) / (2 * sigma**2)).exp()
    kernel = kernel / kernel.sum()
    padded = F.pad(plane[None, None], [radius] * 4, mode="replicate")
    across = F.conv2d(padded, kernel.view(1, 1, 1, -1))
    return F.conv2d(across, kernel.view(1, 1, -1, 1))[0, 0]
