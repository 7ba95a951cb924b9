"""Scores of an upscaler over a folder of pictures that are made small, through the whole pipeline.

The protocol of the field (Timofte et al., Kim et al. "VDSR", Lim et al. "EDSR"), as their MATLAB
has it: the picture cut to a multiple of the scale; made small by `imresize` with its antialiased
bicubic kernel and rounded to 8 bits; the result rounded to 8 bits; both turned to Y of BT.601,
rounded to 8 bits as `rgb2ycbcr` does for pictures of 8 bits; `scale` pixels shaved off each side;
PSNR of a peak of 255 and SSIM of an 11x11 Gaussian window; the mean over the pictures. Leaving Y
unrounded, as some later papers do, gives 0.01 to 0.03 dB more.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from restore.errors import InputError
from restore.evaluation.benchmark import SetScore
from restore.image.metrics import luma, psnr, ssim
from restore.image.picture import Picture, dequantise, quantise
from restore.image.read import load_image
from restore.image.resize import imresize
from restore.pipeline.picture import upscale
from restore.tasks.upscale import BICUBIC

PROTOCOL = (
    "made small by MATLAB's bicubic, 8 bit; result 8 bit; Y of BT.601, 8 bit, "
    "border of {scale} shaved; mean over pictures"
)


@dataclass(frozen=True)
class ScaleScore:
    """One picture of a set at one scale; of its bicubic interpolation, and of the result."""

    picture: str
    scale: int
    bicubic_psnr: float
    bicubic_ssim: float
    psnr: float
    ssim: float
    seconds: float
    megapixels: float  # of the result


def parse_scale(model: str, text: str | None) -> int | None:
    """The scale to evaluate a model at; None where it is none for upscaling and none was asked.

    Raises InputError for a scale that is not 2, 3, 4 ... 8, that the model does not have, or that
    bicubic interpolation needs and was not given.
    """
    from restore.models.weights import read_card

    if text is not None and re.fullmatch(r"[2-8]", text) is None:
        raise InputError(f"the scale of an evaluation is a whole number from 2 to 8, not '{text}'")
    own = None if model == BICUBIC else read_card(model).scale
    if own is None and text is None:
        raise InputError("bicubic has no scale of its own; give one, such as --scale 2")
    if own is not None and text is not None and int(text) != own:
        does = "leaves pictures in their size" if own == 1 else f"upscales by {own}"
        raise InputError(f"{model} {does}; it cannot be scored at a scale of {text}")
    return int(text) if text is not None else None if own == 1 else own


def evaluate_scale(
    files: list[Path], model: Any, scale: int, **settings: Any
) -> Iterator[ScaleScore]:
    """Score a model on each file at a scale; settings as for `upscale`."""
    for file in files:
        clean, small = make_small(load_image(file), scale)
        started = time.perf_counter()
        result = upscale(small, scale, model, **settings).picture
        seconds = time.perf_counter() - started
        plain = result if model == BICUBIC else upscale(small, scale, BICUBIC).picture
        before, after = compare_y(plain, clean, scale), compare_y(result, clean, scale)
        yield ScaleScore(file.name, scale, *before, *after, seconds, clean.megapixels)


def make_small(picture: Picture, scale: int) -> tuple[Picture, Picture]:
    """The picture cut to a multiple of the scale, and its small version of 8 bits.

    Raises InputError for a picture that is smaller than SSIM's window after the shaving.
    """
    height, width = (side // scale * scale for side in picture.pixels.shape[:2])
    if min(height, width) < 11 + 2 * scale:
        raise InputError(f"{picture.path} is too small to be scored at a scale of {scale}")
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


def summarise_scale(scores: list[ScaleScore], data: str, precision: str) -> SetScore:
    """The means over a set; what stands under "noisy" is the bicubic interpolation's."""
    scale = scores[0].scale
    seconds = sum(s.seconds for s in scores)
    return SetScore(
        data=data,
        noise=f"bicubic:{scale}",
        pictures=len(scores),
        noisy_psnr=fmean(s.bicubic_psnr for s in scores),
        psnr=fmean(s.psnr for s in scores),
        ssim=fmean(s.ssim for s in scores),
        megapixels_per_second=sum(s.megapixels for s in scores) / max(seconds, 1e-9),
        protocol=PROTOCOL.format(scale=scale),
        precision=precision,
    )
