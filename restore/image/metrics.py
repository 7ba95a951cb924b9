"""PSNR and SSIM, computed by scikit-image, each number with the protocol it was measured by."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from restore.errors import InputError
from restore.image.picture import LEVELS, Depth, Picture, Pixels, quantise

Array = npt.NDArray[Any]
Channel = Literal["rgb", "y"]


@dataclass(frozen=True)
class Scores:
    """How similar two pictures are, and how that was measured."""

    psnr: float  # decibels; infinite for equal pictures
    ssim: float  # 1 for equal pictures
    protocol: str


def psnr(
    image: Array,
    reference: Array,
    *,
    data_range: float,
    channel: Channel = "rgb",
    border: int = 0,
) -> float:
    """Peak signal-to-noise ratio in decibels: 10 log10(data_range^2 / mean squared error).

    image, reference: `(height, width)` or `(height, width, channels)`, one shape, any real type
    data_range: the largest possible value, 255 for 8 bit, 1 for floats in [0, 1]; never guessed
    channel: "rgb" for the mean over all channels, "y" for the luma of ITU-R BT.601 (see `luma`)
    border:  pixels left out on each side
    Returns infinity for equal pictures. Raises InputError for shapes that differ, values that are
    not finite, a data_range not above 0, or a border that leaves nothing.
    """
    from skimage.metrics import peak_signal_noise_ratio

    image, reference = _prepare(image, reference, data_range, channel, border)
    if np.array_equal(image, reference):
        return math.inf
    return float(peak_signal_noise_ratio(reference, image, data_range=data_range))


def ssim(
    image: Array,
    reference: Array,
    *,
    data_range: float,
    channel: Channel = "rgb",
    border: int = 0,
) -> float:
    """Structural similarity as Wang et al. (IEEE TIP 2004) define it, averaged over the channels.

    An 11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, the valid region only. Arguments
    and errors as for `psnr`; in addition both sides must be at least 11 pixels after the border.
    """
    from skimage.metrics import structural_similarity

    image, reference = _prepare(image, reference, data_range, channel, border)
    if min(image.shape[:2]) < 11:
        raise InputError(
            f"SSIM needs 11x11 pixels, these are {image.shape[1]}x{image.shape[0]}; use PSNR alone"
        )
    return float(
        structural_similarity(
            reference,
            image,
            data_range=data_range,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def luma(rgb: Array, data_range: float) -> npt.NDArray[np.float64]:
    """Y of ITU-R BT.601 in studio range, as MATLAB's rgb2ycbcr has it, not rounded.

    rgb: `(height, width, 3)` in [0, data_range]; returns `(height, width, 1)` in
    [16/255, 235/255] * data_range.
    """
    weights = np.array([65.481, 128.553, 24.966]) / 255
    y: npt.NDArray[np.float64] = rgb.astype(np.float64) @ weights[:, None]
    return y + 16 / 255 * data_range


def compare(
    picture: Picture,
    reference: Picture,
    *,
    channel: Channel = "rgb",
    border: int = 0,
    with_ssim: bool = True,
) -> Scores:
    """Score a picture against its reference as 8-bit pictures, as people see them.

    Both are rounded to 8 bits first, to 16 bits where both have 16, and not at all where both are
    deeper than 8 bits and one is float; alpha is ignored. Raises InputError where sizes or channels
    differ. SSIM is NaN for pictures below 11x11 pixels, and without
    `with_ssim`: it takes ten times as long as PSNR.
    """
    if picture.pixels.shape != reference.pixels.shape:
        raise InputError(
            f"the reference is {_describe(reference)} and the picture {_describe(picture)}; "
            "they must have the same size and both be grey or both be colour"
        )
    depth = common_depth(picture, reference)
    levels = 1 if depth == "float" else LEVELS[depth]
    a, b = (_stored(p.pixels, depth) for p in (picture, reference))
    ratio = psnr(a, b, data_range=levels, channel=channel, border=border)
    fits = with_ssim and min(picture.height, picture.width) - 2 * border >= 11
    likeness = ssim(a, b, data_range=levels, channel=channel, border=border) if fits else math.nan
    return Scores(ratio, likeness, describe_protocol(picture, depth, channel, border))


def _stored(pixels: Pixels, depth: Depth) -> Array:
    return pixels.clip(0, 1) if depth == "float" else quantise(pixels, depth)


def common_depth(picture: Picture, reference: Picture) -> Depth:
    """The depth at which two pictures are scored."""
    depths = {picture.depth, reference.depth}
    if 8 in depths:
        return 8
    return 16 if depths == {16} else "float"


def describe_protocol(picture: Picture, depth: Depth, channel: Channel, border: int) -> str:
    """The protocol in a few words, e.g. "RGB, 8 bit, no border"."""
    shown = "grey" if picture.channels == 1 else channel.upper()
    edge = f"border {border}" if border else "no border"
    return f"{shown}, {depth if depth == 'float' else f'{depth} bit'}, {edge}"


def check_channel(channel: str) -> Channel:
    """The channel of that name. Raises InputError for any but "rgb" and "y"."""
    known: dict[str, Channel] = {"rgb": "rgb", "y": "y"}
    if channel in known:
        return known[channel]
    raise InputError(f"channel is rgb or y, not '{channel}'")


def _describe(picture: Picture) -> str:
    return f"{picture.width}x{picture.height} {'grey' if picture.channels == 1 else 'RGB'}"


def _prepare(
    image: Array, reference: Array, data_range: float, channel: Channel, border: int
) -> tuple[Array, Array]:
    """Both as float64 `(height, width, channels)`, checked, reduced to luma, shaved."""
    image, reference = np.asarray(image), np.asarray(reference)
    if image.shape != reference.shape:
        raise InputError(f"the shapes differ: {image.shape} and {reference.shape}")
    if image.ndim == 2:
        image, reference = image[..., None], reference[..., None]
    if image.ndim != 3:
        raise InputError(f"pictures are (height, width[, channels]), not {image.shape}")
    if not data_range > 0:
        raise InputError(f"data_range is the largest possible value, above 0, not {data_range}")
    check_channel(channel)
    if not isinstance(border, numbers.Integral) or border < 0:
        raise InputError(f"border is a whole number of pixels from 0 on, not {border}")
    if 2 * border >= min(image.shape[:2]):
        raise InputError(f"a border of {border} leaves nothing of {image.shape[:2]}")
    pair = [a.astype(np.float64) for a in (image, reference)]
    if not all(np.isfinite(a).all() for a in pair):
        raise InputError("the pictures hold values that are not finite (NaN or infinity)")
    if channel == "y" and image.shape[2] == 3:
        pair = [luma(a, data_range) for a in pair]
    inner = slice(border, -border or None)
    return pair[0][inner, inner], pair[1][inner, inner]
