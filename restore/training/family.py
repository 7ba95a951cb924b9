"""How a member of the autoencoder family is trained: batches by indexing, one loop over phases."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import InputError, TrainingError
from restore.models.autoencoders import Autoencoder
from restore.models.family import kind_of

EVALUATION_BATCH = 2000


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; the defaults of a kind are in `SCHEDULES`."""

    epochs: int = 30
    batch: int = 128
    rate: float = 2e-3  # the peak of a one-cycle schedule
    warp: float = 0.0  # random affine warps of the training pictures; 1 is up to about 9 degrees
    binarise: bool = False  # draw binary pictures, each sample 1 with its grey value's probability
    seed: int = 0


@dataclass(frozen=True)
class Epoch:
    """One pass over the training pictures."""

    phase: str
    epoch: int  # counted over all phases, from 1
    epochs: int
    loss: float
    parts: dict[str, float]
    pictures_per_second: float
    seconds: float  # since the training began
    validation: float | None = None  # loss on the validation pictures, as in training


# Measured on the first 8,000 test digits of MNIST, chosen on the last 1,000 of them.
SCHEDULES: dict[str, Schedule] = {
    "linear": Schedule(epochs=40, batch=500, rate=5e-3),
    "vanilla": Schedule(epochs=40),
    "stacked": Schedule(epochs=50),
    "denoising": Schedule(epochs=40),
    "sparse": Schedule(epochs=30, rate=1e-3),
    "convolutional": Schedule(epochs=30, rate=4e-3),
    "variational": Schedule(epochs=60, binarise=True, warp=0.7),
}


@dataclass
class Curve:
    """What a training was like, epoch by epoch, for the figure and the card."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.epochs[-1].seconds if self.epochs else 0.0

    @property
    def pictures_per_second(self) -> float:
        """The mean over the epochs."""
        rates = [e.pictures_per_second for e in self.epochs]
        return len(rates) / sum(1 / r for r in rates) if rates else 0.0


def check_schedule(schedule: Schedule) -> None:
    """InputError for a count below 1 or a rate that is not above 0."""
    if schedule.epochs < 1 or schedule.batch < 1 or not 0 < schedule.rate < math.inf:
        raise InputError(
            f"epochs and batch are at least 1 and the rate is above 0, not {schedule.epochs}, "
            f"{schedule.batch} and {schedule.rate}"
        )
    if not 0 <= schedule.warp <= 3:
        raise InputError(f"the warp is from 0 to 3, not {schedule.warp}")


def fit(
    network: Autoencoder,
    pictures: Tensor,
    schedule: Schedule | None = None,
    validation: Tensor | None = None,
) -> Iterator[Epoch]:
    """Train on pictures (N, C, H, W) in [0, 1] that lie in memory; yields after every epoch.

    AdamW with a one-cycle rate (Smith and Topin, 2019) over each phase. All randomness comes from
    the schedule's seed. Raises TrainingError when the loss is not a number any more.
    """
    schedule = schedule or SCHEDULES[kind_of(network)]
    check_schedule(schedule)
    if tuple(pictures.shape[1:]) != network.shape:
        raise InputError(
            f"the autoencoder is for pictures of {network.shape}, not {tuple(pictures.shape[1:])}"
        )
    generator = torch.Generator(pictures.device).manual_seed(schedule.seed)
    phases, done, started = network.phases(), 0, time.perf_counter()
    batch = min(schedule.batch, len(pictures))
    for phase in phases:
        wanted = schedule.epochs - done if phase is phases[-1] else phase.share * schedule.epochs
        count = max(1, round(wanted))
        optimiser = torch.optim.AdamW(phase.parameters, lr=schedule.rate, weight_decay=1e-4)
        rates = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, schedule.rate, total_steps=count * (len(pictures) // batch), pct_start=0.1
        )
        for epoch in range(count):
            began = time.perf_counter()
            order = torch.randperm(len(pictures), generator=generator, device=pictures.device)
            chunks = order.split(batch)[: len(pictures) // batch]
            sums: dict[str, Tensor] = {}
            network.train()
            for index, chunk in enumerate(chunks):
                network.anneal((epoch + index / len(chunks)) / count)
                loss = phase.loss(vary(pictures[chunk], schedule, generator), generator)
                optimiser.zero_grad(set_to_none=True)
                loss.total.backward()
                optimiser.step()
                rates.step()
                for name, value in {"loss": loss.total, **loss.parts}.items():
                    sums[name] = sums.get(name, 0) + value.detach()
            done += 1
            now = time.perf_counter()
            yield Epoch(
                phase.name,
                done,
                schedule.epochs,
                *_means(sums, len(chunks)),
                len(chunks) * batch / (now - began),
                now - started,
                None if validation is None else mean_loss(network, validation, schedule.binarise),
            )
    network.eval()


def _means(sums: dict[str, Tensor], steps: int) -> tuple[float, dict[str, float]]:
    """The mean loss and the means of its parts. Raises TrainingError where it is no number."""
    means = {name: float(value) / steps for name, value in sums.items()}
    if not math.isfinite(means["loss"]):
        raise TrainingError("the loss is not a number any more; give a lower --rate")
    return means.pop("loss"), means


@torch.no_grad()
def mean_loss(network: Autoencoder, pictures: Tensor, binarise: bool = False) -> float:
    """The loss over pictures, in evaluation mode, with draws of a fixed seed."""
    network.eval()
    generator = torch.Generator(pictures.device).manual_seed(0)
    total = 0.0
    for chunk in pictures.split(EVALUATION_BATCH):
        x = bernoulli(chunk, generator) if binarise else chunk
        total += float(network.loss(x, generator).total) * len(chunk)
    return total / len(pictures)


def vary(x: Tensor, schedule: Schedule, generator: torch.Generator) -> Tensor:
    """A batch as the schedule wants it seen: warped, binarised, or as it is."""
    if schedule.warp:
        x = warp(x, schedule.warp, generator)
    return bernoulli(x, generator) if schedule.binarise else x


def bernoulli(x: Tensor, generator: torch.Generator) -> Tensor:
    """Binary pictures whose expectation is x (Salakhutdinov and Murray, ICML 2008)."""
    return torch.bernoulli(x.clamp(0, 1), generator=generator)


def warp(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Each picture slightly turned, scaled and sheared about its centre, by bicubic interpolation.

    At strength 1: up to 0.15 radians, 10 % and 0.15. More pictures of the same kind for a small
    training set; bicubic, for bilinear interpolation would blur what is to be learned.
    """
    draws = torch.rand(4, len(x), generator=generator, device=x.device) * 2 - 1
    angle, shear = 0.15 * strength * draws[0], 0.15 * strength * draws[1]
    wide, high = 1 + 0.1 * strength * draws[2], 1 + 0.1 * strength * draws[3]
    zero = torch.zeros_like(angle)
    cos, sin = angle.cos(), angle.sin()
    rows = torch.stack([cos * wide, shear - sin * high, zero, sin * wide, cos * high, zero], 1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bicubic", align_corners=False).clamp(0, 1)
