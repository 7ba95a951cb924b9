"""Synthetic degradations: what training, the samples and the benchmarks do to a clean picture.

Pictures are float32 tensors (N, C, H, W) in [0, 1]; randomness comes from the generator passed in.
"""

from __future__ import annotations

import io

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from restore.image.picture import quantise
from restore.training.degradations.jpeg import TO_RGB, TO_YCC, mix


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


def add_poisson_noise(clean: Tensor, peak: Tensor, generator: torch.Generator) -> Tensor:
    """Photon noise of `peak` photons at white, (N,) for N pictures: variance clean / peak.

    peak 10^2 to 10^4 are BSRGAN's (Zhang et al., ICCV 2021). Drawn as Poisson counts. Not clipped.
    """
    photons = peak.view(-1, 1, 1, 1).to(clean)
    return torch.poisson(clean.clamp(min=0) * photons, generator=generator) / photons


def add_speckle_noise(clean: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """Multiplicative noise, clean * (1 + n), of variance (clean * sigma / 255)^2; sigma (N,)."""
    noise = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
    return clean + clean * noise * (sigma.view(-1, 1, 1, 1).to(clean) / 255)


def add_common_noise(
    clean: Tensor, sigma: Tensor, share: Tensor, generator: torch.Generator
) -> Tensor:
    """Gaussian noise whose channels correlate with the coefficient `share`: (N,) in [0, 1] each.

    0 is colour noise, 1 is the same noise in all channels; sigma (N,) on the 0-255 scale.
    BSRGAN's three cases (grey, colour, correlated) in one.
    """
    own = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
    common = torch.randn(own[:, :1].shape, generator=generator, device=own.device, dtype=own.dtype)
    share, scale = (v.view(-1, 1, 1, 1).to(clean) for v in (share, sigma / 255))
    return clean + scale * (own * (1 - share).sqrt() + common * share.sqrt())


def blur(pictures: Tensor, sigma: Tensor) -> Tensor:
    """Each picture under its own Gaussian, (N,) pixels of standard deviation up to 3; 0 is none.

    (N, C, H, W) -> the same; borders mirrored, support 13 pixels.
    """
    count, channels, height, width = pictures.shape
    steps = torch.arange(-6, 7, device=pictures.device, dtype=pictures.dtype)
    kernel = (-0.5 * (steps / sigma.to(pictures).clamp(min=0.05).view(-1, 1)).square()).exp()
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    planes = pictures.reshape(1, count * channels, height, width)
    for shape, border in (((-1, 1, 13, 1), (0, 0, 6, 6)), ((-1, 1, 1, 13), (6, 6, 0, 0))):
        padded = F.pad(planes, border, "reflect")
        planes = F.conv2d(padded, kernel.view(shape), groups=count * channels)
    return planes.view(pictures.shape)


def spread_noise(noise: Tensor, luma_sigma: Tensor, chroma_sigma: Tensor, edge: Tensor) -> Tensor:
    """Noise as a camera's own smoothing and sharpening leave it: correlated between pixels.

    noise:        (N, 3, H, W), the difference to the clean picture, which itself is not touched
    luma_sigma:   (N,) pixels of the Gaussian over the brightness of the noise
    chroma_sigma: (N,) pixels of that over its colour, which cameras smooth more
    edge:         (N,) strength of the unsharp mask that follows, 0 none
    """
    planes = mix(noise, TO_YCC)
    luma, chroma = blur(planes[:, :1], luma_sigma), blur(planes[:, 1:], chroma_sigma)
    wide = blur(luma, torch.ones_like(edge))
    luma = luma + edge.view(-1, 1, 1, 1) * (luma - wide)
    return mix(torch.cat([luma, chroma], 1), TO_RGB)


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
