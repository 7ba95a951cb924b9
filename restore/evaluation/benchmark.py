"""Scores of a model on a test set, through the whole pipeline: degrade, restore, compare.

A denoiser is scored on pictures with a degradation (see `restore.evaluation.testsets`): the result
is rounded to 8 bits and compared on all channels, or on luma for JPEG, without a border.

An upscaler is scored on pictures that were made small, by the protocol of the field (Timofte et
al., Kim et al. "VDSR", Lim et al. "EDSR") as their MATLAB code has it: the picture is cut to a
multiple of the scale and made small by `imresize`, antialiased bicubic, rounded to 8 bits; the
result is rounded to 8 bits; both are converted to Y of BT.601, rounded to 8 bits as `rgb2ycbcr`
does; `scale` pixels are shaved off each side; PSNR has a peak of 255, SSIM a Gaussian window of
11x11. Papers that do not round Y report 0.01 to 0.03 dB more.

A set has the mean of its pictures' scores, the lowest PSNR, the smallest gain, and the names of
those two pictures: a mean hides a picture that was ruined.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from restore.errors import InputError
from restore.evaluation.testsets import Degradation, cases_of
from restore.image.metrics import Scores, compare, luma, psnr, ssim
from restore.image.picture import Picture, dequantise, quantise
from restore.image.read import load_image
from restore.image.resize import imresize
from restore.models.weights import read_card
from restore.pipeline.picture import denoise, upscale
from restore.pipeline.result import Result
from restore.tasks.upscale import BICUBIC
from restore.view.pair import Pair

# Is given each picture before and after, with its reference, and what is to be told of it.
See = Callable[[Pair, dict[str, str]], None]
KNOWN = "known"  # the model is given the noise level that was added


@dataclass(frozen=True)
class PictureScore:
    """One picture with one degradation, before and after it was restored.

    What stands for "before" is the degraded picture; for upscaling, its bicubic interpolation.
    """

    picture: str  # file name
    noise: str  # the degradation, such as "gaussian:25" or "bicubic:4"
    noisy_psnr: float  # before, in dB
    psnr: float  # after, in dB
    ssim: float
    seconds: float  # of restoring
    megapixels: float  # of the result
    noisy_ssim: float | None = None  # before; for upscaling only

    @property
    def gain(self) -> float | None:
        """By how many dB the PSNR rose; None where one of the two is infinite."""
        gain = self.psnr - self.noisy_psnr
        return gain if math.isfinite(gain) else None


@dataclass(frozen=True)
class SetScore:
    """A set of pictures with one degradation: the means and the worst cases."""

    data: str  # name of the folder
    noise: str  # the degradation, as in `PictureScore`
    pictures: int
    noisy_psnr: float | None  # before, mean; None if infinite, where nothing was added
    psnr: float  # mean
    ssim: float  # mean
    min_psnr: float
    worst: str  # the picture with the lowest PSNR
    min_gain: float | None  # the smallest gain in dB; None without a "before"
    least_gained: str | None  # the picture with the smallest gain
    megapixels_per_second: float
    protocol: str
    precision: str  # of the network: "fp32", "bf16" or "fp16"
    sigma: str | None = None  # the noise level given to the model: "known", "auto" or a number


def to_plain(score: PictureScore | SetScore) -> dict[str, Any]:
    """A score as values for JSON: rounded to four decimals, None for what is not finite."""
    values = asdict(score)
    for key, value in values.items():
        if isinstance(value, float):
            values[key] = round(value, 4) if math.isfinite(value) else None
    return values


def evaluate(
    folder: Path,
    model: Any,
    degradation: Degradation,
    *,
    see: See | None = None,
    **settings: Any,
) -> Iterator[PictureScore]:
    """Score a denoiser on each picture of a folder with one degradation.

    see:      to look at each picture
    settings: as for `restore.denoise`; a sigma of "known" is the level of the degradation
    Raises InputError where that level is not known, ReadError for a folder without pictures.
    """
    if settings.get("sigma") == KNOWN:
        if degradation.kind != "gaussian":
            raise InputError(
                f"the noise level of {degradation.name} is not known; give auto or a number"
            )
        settings["sigma"] = degradation.level
    for case in cases_of(folder, degradation):
        started = time.perf_counter()
        result = denoise(case.degraded, model, **settings)
        seconds = time.perf_counter() - started
        before = compare(case.degraded, case.clean, channel=degradation.channel, with_ssim=False)
        after = compare(result.picture, case.clean, channel=degradation.channel)
        if see is not None:
            name = f"{case.name}, {degradation.name}"
            see(
                Pair(name, case.degraded, result.picture, case.clean, before, after),
                _facts(result, seconds, after.protocol),
            )
        yield PictureScore(
            case.name,
            degradation.name,
            before.psnr,
            after.psnr,
            after.ssim,
            seconds,
            case.clean.megapixels,
        )


def _facts(result: Result, seconds: float, protocol: str) -> dict[str, str]:
    """What is told of a picture, beside its scores."""
    picture = result.picture
    facts = {
        "size": f"{picture.width}x{picture.height}, {picture.megapixels:.2f} MP",
        "time": f"{seconds:.2f} s",
        "scored as": protocol,
    }
    if result.sigma is not None:
        facts["noise level"] = f"sigma {result.sigma:.1f} of 255, given or estimated"
    return facts


def evaluate_scale(
    files: list[Path], model: Any, scale: int, *, see: See | None = None, **settings: Any
) -> Iterator[PictureScore]:
    """Score an upscaler on each file at a scale; `see` as above, settings as for `upscale`."""
    for file in files:
        clean, small = make_small(load_image(file), scale)
        started = time.perf_counter()
        done = upscale(small, scale, model, **settings)
        result = done.picture
        seconds = time.perf_counter() - started
        bicubic = result if model == BICUBIC else upscale(small, scale, BICUBIC).picture
        before, after = (compare_y(p, clean, scale) for p in (bicubic, result))
        if see is not None:
            protocol = f"Y of BT.601, 8 bit, border {scale}"
            name, scores = f"{file.name}, scale {scale}", Scores(*before, protocol)
            pair = Pair(name, bicubic, result, clean, scores, Scores(*after, protocol))
            see(pair, _facts(done, seconds, protocol))
        yield PictureScore(
            file.name,
            f"bicubic:{scale}",
            before[0],
            *after,
            seconds,
            clean.megapixels,
            noisy_ssim=before[1],
        )


def summarise(
    scores: list[PictureScore],
    data: str,
    precision: str,
    protocol: str,
    sigma: str | None = None,
) -> SetScore:
    """The means and the worst cases of a set; `protocol` says how it was measured."""
    before = fmean(s.noisy_psnr for s in scores)
    worst = min(scores, key=lambda s: s.psnr)
    gained = [(s.gain, s.picture) for s in scores if s.gain is not None]
    min_gain, least_gained = min(gained, default=(None, None))
    return SetScore(
        data=data,
        noise=scores[0].noise,
        pictures=len(scores),
        noisy_psnr=before if math.isfinite(before) else None,
        psnr=fmean(s.psnr for s in scores),
        ssim=fmean(s.ssim for s in scores),
        min_psnr=worst.psnr,
        worst=worst.picture,
        min_gain=min_gain,
        least_gained=least_gained,
        megapixels_per_second=sum(s.megapixels for s in scores)
        / max(sum(s.seconds for s in scores), 1e-9),
        protocol=protocol,
        precision=precision,
        sigma=sigma,
    )


def scale_protocol(scale: int) -> str:
    """How an upscaler is scored, in a few words."""
    return (
        "made small by MATLAB's bicubic, 8 bit; result 8 bit; Y of BT.601, 8 bit, "
        f"border of {scale} shaved; mean over pictures"
    )


def parse_scale(model: str, text: str | None) -> int | None:
    """The scale to evaluate a model at; None for a denoiser.

    Raises InputError for a scale that is not from 2 to 8 or that the model does not have, and where
    bicubic interpolation is given none.
    """
    if text is not None and re.fullmatch(r"[2-8]", text) is None:
        raise InputError(f"the scale of an evaluation is a whole number from 2 to 8, not '{text}'")
    own = None if model == BICUBIC else read_card(model).scale
    if own is None and text is None:
        raise InputError("bicubic has no scale of its own; give one, such as --scale 2")
    if own is not None and text is not None and int(text) != own:
        does = "does not change the size of pictures" if own == 1 else f"upscales by {own}"
        raise InputError(f"{model} {does}; it cannot be scored at a scale of {text}")
    return int(text) if text is not None else None if own == 1 else own


def make_small(picture: Picture, scale: int) -> tuple[Picture, Picture]:
    """The picture cut to a multiple of the scale, and its small version, 8 bits both.

    Raises InputError for a picture too small for SSIM after its border is shaved off.
    """
    height, width = (side // scale * scale for side in picture.pixels.shape[:2])
    if min(height, width) < 11 + 2 * scale:
        raise InputError(
            f"{picture.path} is too small to be scored at a scale of {scale}; "
            f"leave out pictures below {11 + 2 * scale} pixels"
        )
    pixels = dequantise(quantise(picture.pixels[:height, :width], 8))
    small = dequantise(quantise(imresize(pixels, 1 / scale), 8))
    plain = {"alpha": None, "depth": 8, "exif": None, "xmp": None}
    return picture.replace(pixels=pixels, **plain), picture.replace(pixels=small, **plain)


def compare_y(picture: Picture, reference: Picture, border: int) -> tuple[float, float]:
    """PSNR and SSIM on Y of 8 bits; a grey picture is its own Y."""
    pair = [_y(quantise(p.pixels, 8)) for p in (picture, reference)]
    return (
        psnr(pair[0], pair[1], data_range=255, border=border),
        ssim(pair[0], pair[1], data_range=255, border=border),
    )


def _y(levels: np.typing.NDArray[np.uint8]) -> np.typing.NDArray[Any]:
    return levels if levels.shape[2] == 1 else np.floor(luma(levels, 255) + 0.5)
