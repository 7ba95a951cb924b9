"""How a member of the autoencoder family is trained: batches by indexing, one loop over phases."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.autoencoders.dense import Autoencoder
from restore.autoencoders.family import kind_of
from restore.engine.device import choose_precision
from restore.errors import InputError, TrainingError
from restore.models.card import ModelCard
from restore.training.optimiser import Muon

EVALUATION_BATCH = 2000
SMALLEST_WARPED = 8  # pixels; rows of numbers (N, samples) are no pictures to be turned


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train; the defaults of a kind are in `SCHEDULES`."""

    epochs: int = 30
    batch: int = 200
    rate: float = 0.02  # of Muon, for the matrices and kernels, at its peak
    other_rate: float = 2e-3  # of AdamW, for the biases
    warp: float = 0.0  # random affine warps of the training pictures; 1 is up to about 9 degrees
    binarise: bool = False  # draw binary pictures, each sample 1 with its grey value's probability
    weight_decay: float = 0.01
    precision: str = "auto"  # of the layers: bf16 where the processor has units for it, else fp32
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


# About a minute or less on one core. A few were compared on 500 of the benchmark's test digits.
SCHEDULES: dict[str, Schedule] = {
    "linear": Schedule(epochs=20, batch=50, rate=0.05, weight_decay=0.0, precision="fp32"),
    "vanilla": Schedule(epochs=20, batch=100, warp=0.7),
    "stacked": Schedule(epochs=24, batch=100, warp=1.0),
    "denoising": Schedule(epochs=20, batch=100, warp=0.7),
    "sparse": Schedule(epochs=10, warp=0.7),
    "convolutional": Schedule(epochs=20, batch=100, warp=1.0),
    "variational": Schedule(epochs=20, binarise=True, warp=1.0),
}


# What each member does not do well, as its card and the README say it.
LIMITS = {
    "linear": "PCA gives the same result at once; its blur and ringing are PCA's.",
    "vanilla": "Fine strokes blur; its code has gaps, so that it cannot generate.",
    "stacked": "With today's first weights and steps, greedy pretraining costs epochs for nothing.",
    "denoising": "It gives clean pictures back worse than the vanilla one, and undoes only the "
    "degradation that it saw.",
    "sparse": "Eight times the weights of the vanilla one for a worse reconstruction; the target "
    "holds for nearly all units, not for each.",
    "convolutional": "The slowest to train by far; its code is tied to one size of picture.",
    "variational": "It reconstructs worse than the vanilla one with many more weights, and many "
    "samples are like nothing it saw.",
}


def check_schedule(schedule: Schedule) -> None:
    """InputError for a count below 1, a rate not above 0, or an unknown precision."""
    if schedule.epochs < 1 or schedule.batch < 1 or not 0 < schedule.rate < math.inf:
        raise InputError(
            f"epochs and batch are at least 1 and the rate is above 0, not {schedule.epochs}, "
            f"{schedule.batch} and {schedule.rate}"
        )
    if not 0 <= schedule.warp <= 3:
        raise InputError(f"the warp is from 0 to 3, not {schedule.warp}")
    choose_precision(schedule.precision, torch.device("cpu"))


def fit(
    network: Autoencoder,
    pictures: Tensor,
    schedule: Schedule | None = None,
    validation: Tensor | None = None,
) -> Iterator[Epoch]:
    """Train on pictures (N, C, H, W) in [0, 1] that lie in memory; yields after every epoch.

    All randomness comes from the schedule's seed. Raises TrainingError when the loss is not a
    number any more, InputError for pictures of another shape or a schedule that cannot be.
    """
    schedule = schedule or SCHEDULES[kind_of(network)]
    check_schedule(schedule)
    if tuple(pictures.shape[1:]) != network.shape:
        raise InputError(
            f"the autoencoder is for pictures of {network.shape}, not {tuple(pictures.shape[1:])}"
        )
    generator = torch.Generator(pictures.device).manual_seed(schedule.seed)
    network.centre(pictures.mean(0))
    phases, done, started = network.phases(), 0, time.perf_counter()
    batch = min(schedule.batch, len(pictures))
    for phase in phases:
        wanted = schedule.epochs - done if phase is phases[-1] else phase.share * schedule.epochs
        count = max(1, round(wanted))
        optimisers = _optimisers(phase.parameters, schedule)
        total = count * (len(pictures) // batch)
        for epoch in range(count):
            began = time.perf_counter()
            order = torch.randperm(len(pictures), generator=generator, device=pictures.device)
            chunks = order.split(batch)[: len(pictures) // batch]
            sums: dict[str, Tensor] = {}
            network.train()
            for index, chunk in enumerate(chunks):
                network.anneal((epoch + index / len(chunks)) / count)
                seen = vary(pictures[chunk], schedule, generator)
                with _precision(schedule, pictures.device):
                    loss = phase.loss(seen, generator)
                loss.total.backward()
                _update(optimisers, rate((epoch * len(chunks) + index) / total))
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


def _precision(schedule: Schedule, device: torch.device) -> torch.autocast:
    """The layers in bf16 or fp32. Weights, exits and losses stay float32."""
    dtype = choose_precision(schedule.precision, device)
    half = torch.bfloat16  # fp16, the choice on CUDA, would need its losses scaled
    return torch.autocast(device.type, half, enabled=dtype != torch.float32)


def _optimisers(
    parameters: list[nn.Parameter], schedule: Schedule
) -> list[tuple[torch.optim.Optimizer, float]]:
    """Each with its peak rate. Muon takes all matrices, the first and the last layer's too.

    With the steps of Muon the linear member reaches PCA's error within 0.1 % in 40 epochs, where
    AdamW stays half above it, and the variational one gains 6 nats in 20.
    """
    matrices = [p for p in parameters if p.ndim >= 2]
    biases = [p for p in parameters if p.ndim < 2]
    return [
        (Muon(matrices, weight_decay=schedule.weight_decay), schedule.rate),
        (torch.optim.AdamW(biases, weight_decay=0.0), schedule.other_rate),
    ]


def _update(optimisers: list[tuple[torch.optim.Optimizer, float]], factor: float) -> None:
    for optimiser, peak in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = factor * peak
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def rate(progress: float) -> float:
    """The factor on the peak rates: up over the first 5 % of a phase, then a cosine down to 0."""
    if progress < 0.05:
        return progress / 0.05
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))


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
    if schedule.warp and min(x.shape[2:]) >= SMALLEST_WARPED:
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


def family_card(
    network: Autoencoder,
    data: str,
    schedule: Schedule,
    epochs: list[Epoch],
    scores: list[dict[str, Any]],
    pictures: int,
) -> ModelCard:
    """What the weights file of a member says about itself; `data` is the person's word for it."""
    kind = kind_of(network)
    return ModelCard(
        name=f"{kind}-{network.latent}",
        task="autoencoder",
        architecture=type(network).__name__,
        arguments=network.arguments,
        trained_on={"data": data, "pictures": pictures},
        training={
            "schedule": dataclasses.asdict(schedule),
            "seconds": round(epochs[-1].seconds, 1),
            "final": {"loss": epochs[-1].loss, **epochs[-1].parts},
            "torch": torch.__version__,
        },
        scores=scores,
        limits=[
            LIMITS[kind],
            "It knows pictures of its own size and of the kind it saw, no other.",
        ],
    )
