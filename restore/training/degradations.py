"""Synthetic faults: what training, the samples and the benchmarks do to a clean picture.

Pictures are float32 tensors (N, C, H, W) in [0, 1]; randomness comes from the generator passed in.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from restore.image.image import quantise


def add_gaussian_noise(clean: Tensor, sigma: float | Tensor, generator: torch.Generator) -> Tensor:
    """Additive white Gaussian noise, independent in each sample; neither clipped nor rounded.

    sigma: standard deviation on the 0-255 scale; one number, or one for each of the N pictures
    """
    noise = torch.randn(
        clean.shape, generator=generator, device=clean.device, dtype=clean.dtype
    ).to(memory_format=torch.channels_last)
    if isinstance(sigma, Tensor):
        sigma = sigma.view(-1, 1, 1, 1).to(clean)
    return clean + noise * (sigma / 255)


def luma(rgb: Tensor) -> Tensor:
    """Grey as (N, 1, H, W) from (N, 3, H, W): the weights of BT.601; grey stays as it is."""
    if rgb.shape[1] == 1:
        return rgb
    weights = torch.tensor([0.299, 0.587, 0.114], device=rgb.device, dtype=rgb.dtype)
    return (rgb * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)


def draw_sigmas(
    low: float, high: float, count: int, generator: torch.Generator, power: float = 1.0
) -> Tensor:
    """One noise level for each picture of a batch, between `low` and `high` (0-255).

    power: of the uniform draw; 1 gives all levels alike, above 1 more of the low ones
    """
    draw = torch.rand(count, generator=generator, device=generator.device)
    return low + (high - low) * draw**power


def add_shot_and_read_noise(
    clean: Tensor, shot: float, read: float, generator: torch.Generator
) -> Tensor:
    """Sensor noise: Gaussian of variance shot * x + read at each sample x (0-1 scale squared).

    The heteroscedastic model of Foi et al. (IEEE TIP 2008), with the parameters named as in
    Brooks et al., "Unprocessing images for learned raw denoising" (CVPR 2019). Not clipped.
    """
    noise = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
    return clean + noise * (shot * clean.clamp(min=0) + read).sqrt()


def compress_jpeg(clean: Tensor, quality: int) -> Tensor:
    """Each picture written as a JPEG of that quality (1-100) and read again, through Pillow."""
    restored = []
    for picture in clean:
        samples = quantise(picture.permute(1, 2, 0).numpy(), 8)
        buffer = io.BytesIO()
        Image.fromarray(samples.squeeze()).save(buffer, "JPEG", quality=quality)
        decoded = np.array(Image.open(buffer), np.float32) / 255
        restored.append(torch.from_numpy(decoded.reshape(samples.shape)).permute(2, 0, 1))
    return torch.stack(restored)
