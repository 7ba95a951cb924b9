"""What makes a picture small: MATLAB's bicubic, or twice blur, resize, noise and JPEG.

The second chain is that of Wang et al., "Real-ESRGAN: Training real-world blind super-resolution
with pure synthetic data" (ICCVW 2021), with the published chances in half of the batches and milder
ones in the others. A batch shares the sizes and the
interpolation in between, because its tensors must agree; all else is drawn for each picture.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.image.resize import axis_matrix
from restore.training.degradations.jpeg import jpeg
from restore.training.degradations.noise import luma

KERNEL = 21  # pixels, the largest side of a blur
# Shapes of the blur: isotropic or not, Gaussian, generalised Gaussian or plateau; their chances.
GENERALISED, PLATEAU = (0.70, 0.85), (0.85, 1.00)
ANISOTROPIC = ((0.45, 0.70), (0.82, 0.85), (0.97, 1.00))
SINC = 0.1  # the share of blurs that cut frequencies off instead, and so ring


@dataclass(frozen=True)
class Stage:
    """One of the two rounds of degradations; shares and ranges, noise on the 0-255 scale.

    quality: of the JPEG after it
    """

    blurred: float
    blur: tuple[float, float]  # sigma in pixels
    enlarged: float  # the shares of the batches that grow, and that shrink
    shrunk: float
    factor: tuple[float, float]
    sigma: tuple[float, float]
    poisson: tuple[float, float]  # the factor on the noise of counting the picture's own levels
    quality: tuple[float, float] = (30, 95)


FIRST = Stage(1.0, (0.2, 3.0), 0.2, 0.7, (0.15, 1.5), (1, 30), (0.05, 3.0))
SECOND = Stage(0.8, (0.2, 1.5), 0.3, 0.4, (0.3, 1.2), (1, 25), (0.05, 2.5))
# What most pictures have been through: they keep texture, which the published chances destroy.
MILD_FIRST = Stage(0.5, (0.2, 1.5), 0.1, 0.5, (0.5, 1.2), (0, 6), (0.0, 0.6), (60, 98))
MILD_SECOND = Stage(0.5, (0.2, 0.8), 0.2, 0.2, (0.7, 1.2), (0, 5), (0.0, 0.5), (60, 98))
MILD = 0.5  # the share of the batches that have these


def shrink(pictures: Tensor, scale: int) -> Tensor:
    """(N, C, scale H, scale W) -> (N, C, H, W): MATLAB's `imresize`, rounded to 8 bits."""
    rows, columns = (_shrinking(side, scale).to(pictures) for side in pictures.shape[-2:])
    return to_levels(torch.einsum("oi,ncij,pj->ncop", rows, pictures, columns))


def to_levels(pictures: Tensor) -> Tensor:
    """Clipped to [0, 1] and rounded to multiples of 1/255."""
    return (pictures.clamp(0, 1) * 255).round() / 255


@functools.lru_cache(maxsize=16)
def _shrinking(length: int, scale: int) -> Tensor:
    return torch.from_numpy(axis_matrix(length, length // scale, 1 / scale))


def degrade_twice(clean: Tensor, scale: int, generator: torch.Generator) -> Tensor:
    """(N, 3, scale H, scale W) in [0, 1] -> (N, 3, H, W), as a picture found on the web might be.

    The end is a resize to the final size with a sinc filter (in four of five pictures) before or
    after the last JPEG, each in half of the batches; then rounding to 8 bits.
    """
    sides = clean.shape[-2] // scale, clean.shape[-1] // scale
    mild = bool(_draw(1, generator) < MILD)
    first, second = (MILD_FIRST, MILD_SECOND) if mild else (FIRST, SECOND)
    x = _round(clean, first, clean.shape[-2:], generator)
    x = _compress(x, first, generator)
    x = _round(x, second, sides, generator)
    sharp = _draw(len(x), generator) < 0.8
    kernels = torch.where(sharp.view(-1, 1, 1), _sincs(len(x), generator, math.pi / 3), _point(x))
    if bool(_draw(1, generator) < 0.5):
        x = _compress(filter_each(_resized(x, sides, generator), kernels), second, generator)
    else:
        x = filter_each(_resized(_compress(x, second, generator), sides, generator), kernels)
    return to_levels(x)


def _round(x: Tensor, stage: Stage, base: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Blur, resize (its factor counts from `base`), noise."""
    kernels = draw_kernels(len(x), stage.blur, generator)
    stays = (_draw(len(x), generator) >= stage.blurred).view(-1, 1, 1)
    x = filter_each(x, torch.where(stays, _point(x), kernels))
    chance, place = _draw(2, generator).tolist()
    low, high = stage.factor
    factor = 1.0
    if chance < stage.enlarged:
        factor = 1 + place * (high - 1)
    elif chance < stage.enlarged + stage.shrunk:
        factor = low + place * (1 - low)
    height, width = (max(4, round(side * factor)) for side in base)
    return _noisy(_resized(x, (height, width), generator), stage, generator)


def _noisy(x: Tensor, stage: Stage, generator: torch.Generator) -> Tensor:
    """Gaussian noise in half of the pictures, Poisson noise in the others; in two of five grey."""
    draws = torch.rand(4, len(x), 1, 1, 1, generator=generator, device=x.device)
    white = torch.randn(x.shape, generator=generator, device=x.device)
    white = torch.where(draws[0] < 0.4, white[:, :1], white)
    sigma = (stage.sigma[0] + draws[1] * (stage.sigma[1] - stage.sigma[0])) / 255
    factor = stage.poisson[0] + draws[2] * (stage.poisson[1] - stage.poisson[0])
    # a picture of 8 bits is counted as up to 256 quanta; of so many, Poisson noise is Gaussian
    seen = torch.where(draws[0] < 0.4, luma(x), x)
    counting = factor * (seen.clamp(min=0) / 256).sqrt()
    return (x + white * torch.where(draws[3] < 0.5, sigma, counting)).clamp(0, 1)


def _compress(x: Tensor, stage: Stage, generator: torch.Generator) -> Tensor:
    low, high = stage.quality
    return jpeg(x, low + (high - low) * _draw(len(x), generator))


def _resized(x: Tensor, sides: tuple[int, int], generator: torch.Generator) -> Tensor:
    """By one of the resizers that programs use, without antialiasing but for `area`."""
    kind = int(torch.randint(3, (1,), generator=generator, device=generator.device))
    if x.shape[-2:] == sides:
        return x
    if kind == 0:
        return F.interpolate(x, sides, mode="area")
    mode = "bilinear" if kind == 1 else "bicubic"
    return F.interpolate(x, sides, mode=mode, align_corners=False).clamp(0, 1)


def filter_each(pictures: Tensor, kernels: Tensor) -> Tensor:
    """Each picture (N, C, H, W) with its own kernel (N, K, K) of odd side; borders repeated."""
    count, channels, height, width = pictures.shape
    half = kernels.shape[-1] // 2
    framed = F.pad(pictures, [half] * 4, mode="replicate").reshape(1, -1, *_framed(pictures, half))
    weights = kernels.repeat_interleave(channels, 0)[:, None].to(pictures)
    return F.conv2d(framed, weights, groups=count * channels).view(count, channels, height, width)


def _framed(pictures: Tensor, half: int) -> tuple[int, int]:
    return pictures.shape[-2] + 2 * half, pictures.shape[-1] + 2 * half


def draw_kernels(count: int, sigma: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Random blurs (count, 21, 21), each with a sum of 1 and a side of 7 to 21 pixels.

    sigma: the range of the standard deviations along the two axes, in pixels
    """
    draws = torch.rand(8, count, 1, 1, generator=generator, device=generator.device)
    anisotropic = _within(draws[0], *ANISOTROPIC)
    one = sigma[0] + draws[1] * (sigma[1] - sigma[0])
    other = torch.where(anisotropic, sigma[0] + draws[2] * (sigma[1] - sigma[0]), one)
    turn = (draws[3] * 2 - 1) * math.pi
    y, x = _grid(generator)
    along = (x * turn.cos() + y * turn.sin()) / one
    across = (y * turn.cos() - x * turn.sin()) / other
    distance = along**2 + across**2
    generalised, plateau = _within(draws[0], GENERALISED), _within(draws[0], PLATEAU)
    # half of the exponents below 1, half above
    above = torch.where(plateau, 1 + draws[5], 1 + 3 * draws[5])
    low = torch.where(plateau, 1.0, 0.5 + 0.5 * draws[5])
    beta = torch.where(draws[4] < 0.5, low, above)
    beta = torch.where(generalised | plateau, beta, 1.0)
    power = distance.clamp(min=1e-12) ** beta
    kernels = torch.where(plateau, 1 / (1 + power), torch.exp(-0.5 * power))
    side = 2 * (3 + (draws[6] * 8).floor()) + 1
    kernels = kernels * ((x.abs() <= side / 2) & (y.abs() <= side / 2))
    kernels = kernels / kernels.sum((1, 2), keepdim=True)
    return torch.where(draws[7] < SINC, _sincs(count, generator), kernels)


def _sincs(count: int, generator: torch.Generator, lowest: float | None = None) -> Tensor:
    """Circular low-pass filters (count, 21, 21) of a random cutoff and side: they ring.

    lowest: the smallest cutoff in radians a pixel; None: pi/3 for sides below 13, else pi/5
    """
    draws = torch.rand(2, count, 1, 1, generator=generator, device=generator.device)
    side = 2 * (3 + (draws[0] * 8).floor()) + 1
    least = torch.where(side < 13, math.pi / 3, math.pi / 5) if lowest is None else lowest
    cutoff = least + draws[1] * (math.pi - least)
    y, x = _grid(generator)
    radius = (x**2 + y**2).sqrt()
    ring = torch.special.bessel_j1(cutoff * radius) * cutoff / (2 * math.pi * radius.clamp(min=1))
    kernels = torch.where(radius == 0, cutoff**2 / (4 * math.pi), ring)
    kernels = kernels * ((x.abs() <= side / 2) & (y.abs() <= side / 2))
    return kernels / kernels.sum((1, 2), keepdim=True)


def _point(like: Tensor) -> Tensor:
    """The kernel that changes nothing."""
    kernel = torch.zeros(KERNEL, KERNEL, device=like.device)
    kernel[KERNEL // 2, KERNEL // 2] = 1
    return kernel


def _grid(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    ramp = torch.arange(KERNEL, device=generator.device) - float(KERNEL // 2)
    return ramp.view(1, -1, 1), ramp.view(1, 1, -1)


def _within(draw: Tensor, *ranges: tuple[float, float]) -> Tensor:
    """Where a draw lies in one of the ranges."""
    found = torch.zeros_like(draw, dtype=torch.bool)
    for low, high in ranges:
        found |= (draw >= low) & (draw < high)
    return found


def _draw(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device)
