"""Training of the network that estimates the noise of a picture; see `restore.models.noise_level`.

It sees what the denoiser of photographs sees: the same degradations, patterns and clean crops.
`benchmarks/train_noise_level.py` trains it and writes its weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.models.noise_level import FAINTEST, NoiseEstimator, noise_planes
from restore.training.crops import PictureStore
from restore.training.degradations.downscale import shrink, to_levels
from restore.training.degradations.noise import add_common_noise, blur, spread_noise
from restore.training.degradations.pairs import Pair, as_strong, photo, spread_randomly
from restore.training.precision import autocast
from restore.training.recipe import Recipe

SIDE = 96  # pixels of a crop
USES = 4  # steps on each batch: to draw one takes four times as long as a step
PLAIN = 0.6  # the share of pairs with Gaussian noise of any level
# The share of photographs as sharp as they come or sharper, each where it has most detail of some
# places. Without them the texture of stone, fur and leaves, which is hardly ever sharp and clean in
# the others, would be taken for noise.
SHARP, PLACES = 0.3, 3
SMALLER = 3  # times: how much smaller some of these are made
SHARPENED = 0.3  # the share of pairs that are sharpened, noise and all
# Of these, those with noise as the denoiser sees it spread, and with still coarser noise, which is
# taken for texture otherwise: a real camera's lies at the end of what the denoiser sees.
SPREAD = ((0.0, 0.2), (0.2, 0.8))
WIDEST = 1.5  # pixels: the Gaussian over the brightness of the coarsest
POOL = 12  # batches that are kept for that
WINDOW = 3  # cells each way over which the noise of a cell is measured
LIMITS = [
    "Trained on the synthetic noise of cameras and files alone; bands and grain of film were not "
    "among it.",
    "Texture without any order, such as sand, looks like noise and is counted in part.",
]


def true_levels(noise: Tensor, cell: int = NoiseEstimator.cell) -> Tensor:
    """The levels of noise (N, 3, H, W; 0-255) around each cell: their logarithms, (N, 3, h, w)."""
    squares = F.avg_pool2d(noise_planes(noise).square(), cell)
    around = F.avg_pool2d(squares, WINDOW, 1, WINDOW // 2, count_include_pad=False)
    return (around + FAINTEST**2).log() / 2


def estimator_loss(level: Tensor, doubt: Tensor, truth: Tensor) -> Tensor:
    """The negative log-likelihood of the truth under a Laplace distribution for each number."""
    return ((level - truth).abs() * (-doubt).exp() + doubt).mean()


def with_plain_noise(pair: Pair, generator: torch.Generator) -> Pair:
    """Of some pairs with Gaussian noise of any level instead, most of it spread as by a camera.

    The levels are even in their logarithm, so that none is rare.
    """
    clean, degraded, _ = pair
    draws = torch.rand(9, len(clean), generator=generator)
    sigma = torch.exp(math.log(0.5) + math.log(100) * draws[0])
    noise = add_common_noise(torch.zeros_like(clean), sigma, draws[1].round(), generator)
    spread, wide = ((first <= draws[2]) & (draws[2] < last) for first, last in SPREAD)
    blurred = spread_noise(noise, WIDEST * draws[4], 3 * draws[5].maximum(draws[4] / 2), draws[6])
    # brightness and colour in any proportion, or the one is guessed from the other
    gains = torch.stack([0.7 + 0.6 * draws[7], torch.exp(2.3 * draws[8] - 2)])
    coarse = as_strong(blurred, noise, gains)
    noise = torch.where(wide.view(-1, 1, 1, 1), coarse, noise)
    noise = torch.where(spread.view(-1, 1, 1, 1), spread_randomly(noise, generator), noise)
    noisy = clean + noise
    noisy = (noisy.clamp(0, 1) * 255).round() / 255
    chosen = (draws[3] < PLAIN).view(-1, 1, 1, 1)
    return Pair(clean, torch.where(chosen, noisy, degraded))


def sharp_photographs(
    pictures: PictureStore, count: int, side: int, generator: torch.Generator
) -> Tensor:
    """Crops without noise, as people put them on the web: made smaller, and sharpened.

    Returns float32 (count, 3, side, side) in [0, 1], rounded to 8 bits.
    """
    smallest = int(torch.minimum(pictures.heights, pictures.widths).min())
    most = max(1, min(SMALLER, smallest // side))
    scale = int(torch.randint(1, most + 1, (), generator=generator))
    crops = pictures.crops(count, side * scale, generator, PLACES)
    crops = shrink(crops, scale) if scale > 1 else crops
    return sharpened(crops, torch.rand(2, count, generator=generator))


def sharpened(crops: Tensor, draws: Tensor) -> Tensor:
    """Crops (N, 3, H, W) with an unsharp mask as `draws` say, (2, N) in [0, 1]; of 8 bits."""
    width, amount = draws
    amount = (4 * amount - 1).clamp(min=0).view(-1, 1, 1, 1)  # a quarter stays as it is
    return to_levels(crops + amount * (crops - blur(crops, 0.5 + width)))


def with_sharpened_noise(pair: Pair, generator: torch.Generator) -> Pair:
    """Some pairs sharpened after the noise came, as cameras and people do.

    Otherwise sharpened noise would be taken for the sharpened texture of `sharp_photographs`.
    """
    draws = torch.rand(3, len(pair.clean), generator=generator)
    chosen = (draws[0] < SHARPENED).view(-1, 1, 1, 1)
    parts = [torch.where(chosen, sharpened(x, draws[1:]), x) for x in (pair.clean, pair.degraded)]
    return Pair(*parts)


def with_sharp_photographs(pair: Pair, sharp: Tensor, generator: torch.Generator) -> Pair:
    """The pairs, some of them a sharp photograph with no degradation at all instead."""
    chosen = torch.rand(len(sharp), 1, 1, 1, generator=generator) < SHARP
    clean, degraded = (torch.where(chosen, sharp, part) for part in (pair.clean, pair.degraded))
    return Pair(clean, degraded)


def train_estimator(  # noqa: PLR0913 (settings of one training)
    pictures: PictureStore,
    recipe: Recipe,
    steps: int,
    batch: int = 24,
    side: int = SIDE,
    rate: float = 2e-3,
    seed: int = 0,
    start: NoiseEstimator | None = None,
    report: Callable[[int, float], None] | None = None,
) -> NoiseEstimator:
    """Train on the recipe's degradations, from nothing or from a network that was trained before.

    report: called after each step with its number and the running mean of the loss
    """
    network = start or NoiseEstimator(seed=seed)
    network = network.train().requires_grad_(True).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    mean = 0.0
    draw = partial(draw_crops, pictures, batch, generator)
    pool: list[Pair] = []
    for step in range(1, steps + 1):
        if step % USES == 1 or len(pool) < POOL // USES:
            drawn = photo(draw, side, recipe, generator)
            sharp = sharp_photographs(pictures, batch, side, generator)
            drawn = with_sharp_photographs(drawn, sharp, generator)
            drawn = with_sharpened_noise(with_plain_noise(drawn, generator), generator)
            pool = [*pool, drawn][-POOL:]
        pair = _any_turned(pool, generator)
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
        if report:
            report(step, mean)
    return network.eval()


def _any_turned(pool: list[Pair], generator: torch.Generator) -> Pair:
    """One batch of the pool, turned in one of the eight dihedral ways."""
    chosen, turns, mirror = (
        int(torch.randint(0, most, (), generator=generator)) for most in (len(pool), 4, 2)
    )
    clean, degraded, _ = pool[chosen]
    if mirror:
        clean, degraded = clean.flip(3), degraded.flip(3)
    return Pair(clean.rot90(turns, (2, 3)), degraded.rot90(turns, (2, 3)))


def draw_crops(pictures: PictureStore, count: int, generator: torch.Generator, side: int) -> Tensor:
    """Random crops: float32 (count, 3, side, side) in [0, 1]."""
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
