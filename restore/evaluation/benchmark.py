"""Scores of a model over a folder of clean pictures with noise added, through the whole pipeline.

The protocol of the field for Gaussian noise (Zhang et al., DnCNN and FFDNet; Zamir et al.,
Restormer): `numpy.random.seed(0)` before each picture, noise of sigma/255 added to the floats,
neither clipped nor rounded; the result rounded to 8 bits; PSNR on RGB without a border; the mean
of the pictures' PSNRs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from restore.errors import InputError
from restore.evaluation.metrics import compare
from restore.image.image import Pixels
from restore.image.read import load_image
from restore.inference.pipeline import denoise


@dataclass(frozen=True)
class PictureScore:
    """One picture of a set at one noise level."""

    picture: str
    sigma: float
    noisy_psnr: float
    psnr: float
    ssim: float
    seconds: float
    megapixels: float


@dataclass(frozen=True)
class SetScore:
    """A set at one noise level: the means of its pictures."""

    data: str
    noise: str
    pictures: int
    noisy_psnr: float
    psnr: float
    ssim: float
    megapixels_per_second: float
    protocol: str
    precision: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values, rounded as they are printed."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


def parse_noise(text: str) -> float:
    """The sigma of "gaussian:SIGMA" on the 0-255 scale. Raises InputError for anything else."""
    match = re.fullmatch(r"gaussian:(\d+(?:\.\d+)?)", text)
    if match is None or not 0 <= float(match[1]) <= 255:
        raise InputError(f"'{text}' is no noise; write gaussian:SIGMA with a sigma from 0 to 255")
    return float(match[1])


def add_noise(clean: Pixels, sigma: float) -> Pixels:
    """The benchmark's noise, the same in every run and for every method: seed 0, HWC order."""
    noise = np.random.RandomState(0).normal(0, sigma / 255, clean.shape)
    return (clean + noise).astype(np.float32)


def evaluate(
    files: list[Path], model: Any, sigma: float, **settings: Any
) -> Iterator[PictureScore]:
    """Score a model on each file with Gaussian noise of one level; settings as for `denoise`."""
    for file in files:
        clean = load_image(file)
        noisy = clean.replace(pixels=add_noise(clean.pixels, sigma), alpha=None)
        started = time.perf_counter()
        result = denoise(noisy, model, **settings)
        seconds = time.perf_counter() - started
        after = compare(result.picture, clean)
        yield PictureScore(
            file.name,
            sigma,
            compare(noisy, clean).psnr,
            after.psnr,
            after.ssim,
            seconds,
            clean.megapixels,
        )


def summarise(scores: list[PictureScore], data: str, precision: str) -> SetScore:
    """The means over a set, with the protocol they were measured by."""
    return SetScore(
        data=data,
        noise=f"gaussian:{scores[0].sigma:g}",
        pictures=len(scores),
        noisy_psnr=fmean(s.noisy_psnr for s in scores),
        psnr=fmean(s.psnr for s in scores),
        ssim=fmean(s.ssim for s in scores),
        megapixels_per_second=sum(s.megapixels for s in scores) / sum(s.seconds for s in scores),
        protocol="noise from seed 0 for each picture, not clipped; result 8 bit; "
        "all channels, no border; mean over pictures",
        precision=precision,
    )
