"""Training of the network that estimates the noise of a picture; see `restore.models.noise_level`.

It sees what the denoiser of photographs sees: the same degradations, patterns and clean crops.

    python -m restore.training.noise_level --data TRAIN --val VAL --output noise-level.safetensors
"""

from __future__ import annotations

import argparse
import logging
import platform
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.models.card import ModelCard
from restore.models.noise_level import FAINTEST, NoiseEstimator, noise_planes
from restore.models.weights import save_weights
from restore.training.crops import PictureStore, load_store
from restore.training.degradations.pairs import Pair, photo
from restore.training.job import describe_sources
from restore.training.precision import autocast
from restore.training.recipe import Recipe, load_recipe

SIDE = 96  # pixels of a crop
WINDOW = 3  # cells each way over which the noise of a cell is measured
LIMITS = [
    "Trained on the synthetic noise of cameras and files alone; bands and grain of film were not "
    "among it.",
    "Texture without any order, such as sand, looks like noise and is counted in part.",
]

log = logging.getLogger(__name__)


def true_levels(noise: Tensor, cell: int = NoiseEstimator.cell) -> Tensor:
    """The levels of noise (N, 3, H, W; 0-255) around each cell: their logarithms, (N, 3, h, w)."""
    squares = F.avg_pool2d(noise_planes(noise).square(), cell)
    around = F.avg_pool2d(squares, WINDOW, 1, WINDOW // 2, count_include_pad=False)
    return (around + FAINTEST**2).log() / 2


def estimator_loss(level: Tensor, doubt: Tensor, truth: Tensor) -> Tensor:
    """The negative log-likelihood of the truth under a Laplace distribution for each number."""
    return ((level - truth).abs() * (-doubt).exp() + doubt).mean()


def train_estimator(
    pictures: PictureStore,
    recipe: Recipe,
    steps: int,
    batch: int = 24,
    rate: float = 2e-3,
    seed: int = 0,
) -> NoiseEstimator:
    """Train from nothing on the recipe's degradations; prints the loss now and then."""
    network = NoiseEstimator(seed=seed).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    started, mean = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        draw = partial(_draw, pictures, batch, generator)
        pair = photo(draw, SIDE, recipe, generator)
        truth = true_levels((pair.degraded - pair.clean) * 255)
        with autocast(torch.device("cpu"), torch.bfloat16):
            level, doubt = network(pair.degraded)
        loss = estimator_loss(level.float(), doubt.float(), truth)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        mean = loss.item() if step == 1 else 0.98 * mean + 0.02 * loss.item()
        if step % 100 == 0:
            log.info("step %d: loss %.4f, %.0f s", step, mean, time.monotonic() - started)
    return network.eval()


def _draw(pictures: PictureStore, count: int, generator: torch.Generator, side: int) -> Tensor:
    return pictures.crops(count, side, generator)


@torch.no_grad()
def error_of(network: NoiseEstimator, pairs: list[Pair]) -> float:
    """The mean absolute error of the logarithm of the levels, sure cells counting more."""
    errors, weights = 0.0, 0.0
    for pair in pairs:
        level, doubt = network(pair.degraded)
        truth = true_levels((pair.degraded - pair.clean) * 255)
        weight = (-2 * doubt).exp()
        errors += float(((level - truth).abs() * weight).sum())
        weights += float(weight.sum())
    return errors / weights


def main() -> None:
    """Train, measure on the validation pictures, write the weights with their card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("noise-level.safetensors"))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--recipe", default="denoise-photo")
    asked = parser.parse_args()
    recipe = load_recipe(asked.recipe, patterned=0.5)
    started = time.monotonic()
    network = train_estimator(load_store(asked.data, 3, SIDE), recipe, asked.steps)
    generator = torch.Generator().manual_seed(1)
    held_out = load_store(asked.val, 3, SIDE)
    draw = partial(_draw, held_out, 24, generator)
    error = error_of(network, [photo(draw, SIDE, recipe, generator) for _ in range(20)])
    card = ModelCard(
        name="noise-level",
        task="noise-level",
        architecture=type(network).__name__,
        arguments=network.arguments,
        trained_on=describe_sources(asked.data),
        training={
            "recipe": recipe.to_dict(),
            "steps": asked.steps,
            "hours": round((time.monotonic() - started) / 3600, 2),
            "device": f"cpu ({platform.machine()})",
            "precision": "bf16",
            "torch": torch.__version__,
        },
        scores=[
            {
                "data": asked.val.name,
                "noise": "photo",
                "error": round(error, 4),
                "protocol": "mean absolute error of ln(level), cells weighted by their confidence",
            }
        ],
        limits=LIMITS,
    )
    save_weights(network, card, asked.output)
    log.info("%s: error %.4f", asked.output, error)


if __name__ == "__main__":
    main()
