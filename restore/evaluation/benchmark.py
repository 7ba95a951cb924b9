"""Scores of a model over a folder, through the whole pipeline: degrade, restore, compare, average.

The result is rounded to 8 bits and compared without a border; the score of a set is the mean of its
pictures' scores. What is degraded, and how, is in `restore.evaluation.testsets`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from restore.errors import InputError
from restore.evaluation.testsets import WORDS, Degradation, files_of
from restore.image.metrics import compare
from restore.pipeline.picture import denoise

KNOWN = "known"  # told the very level of the noise that was added


@dataclass(frozen=True)
class PictureScore:
    """One picture of a set with one degradation."""

    picture: str
    noise: str
    noisy_psnr: float
    psnr: float
    ssim: float
    seconds: float
    megapixels: float


@dataclass(frozen=True)
class SetScore:
    """A set with one degradation: the means of its pictures."""

    data: str
    noise: str
    pictures: int
    noisy_psnr: float | None  # None where it is infinite: nothing was added
    psnr: float
    ssim: float
    megapixels_per_second: float
    protocol: str
    precision: str
    told: str | None = None  # of the noise level: "known", "auto" or a number

    def to_dict(self) -> dict[str, Any]:
        """As plain values, rounded as they are printed."""
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(self).items()}


def evaluate(
    folder: Path, model: Any, degradation: Degradation, **settings: Any
) -> Iterator[PictureScore]:
    """Score a model on each picture of a folder with one degradation.

    settings: as for `denoise`; a sigma of "known" tells the model the level of the degradation
    """
    if settings.get("sigma") == KNOWN:
        if degradation.kind != "gaussian":
            raise InputError(
                f"the noise level of {degradation.name} is not known; give auto or a number"
            )
        settings["sigma"] = degradation.level
    for case in files_of(folder, degradation):
        started = time.perf_counter()
        result = denoise(case.faulty, model, **settings)
        seconds = time.perf_counter() - started
        before = compare(case.faulty, case.clean, channel=degradation.channel, with_ssim=False)
        after = compare(result.picture, case.clean, channel=degradation.channel)
        yield PictureScore(
            case.name,
            degradation.name,
            before.psnr,
            after.psnr,
            after.ssim,
            seconds,
            case.clean.megapixels,
        )


def summarise(
    scores: list[PictureScore],
    data: str,
    precision: str,
    degradation: Degradation,
    told: str | None = None,
) -> SetScore:
    """The means over a set, with the protocol they were measured by."""
    before = fmean(s.noisy_psnr for s in scores)
    channel = "luma" if degradation.channel == "y" else "all channels"
    return SetScore(
        data=data,
        noise=degradation.name,
        pictures=len(scores),
        noisy_psnr=before if math.isfinite(before) else None,
        psnr=fmean(s.psnr for s in scores),
        ssim=fmean(s.ssim for s in scores),
        megapixels_per_second=sum(s.megapixels for s in scores) / sum(s.seconds for s in scores),
        protocol=(
            f"{WORDS[degradation.kind]}; result 8 bit; {channel}, no border; mean over pictures"
        ),
        precision=precision,
        told=told,
    )
