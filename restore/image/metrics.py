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
    image: Any,
    reference: Any,
    *,
    data_range: float,
    channel: Channel = "rgb",
    border: int = 0,
) -> float:
    """Peak signal-to-noise ratio in decibels: 10 log10(data_range^2 / mean squared error).

    image, reference: arrays `(height, width)` or `(height, width, channels)`, one shape, any real
                type; tensors, also `([1,] channels, height, width)` with up to 4 channels; PIL
                images; or a Picture or Result, whose values are in [0, 1], alpha ignored
    data_range: the largest possible value, 255 for 8 bit, 1 for floats in [0, 1]; never guessed
    channel: "rgb" for the mean over all channels, "y" for the luma of ITU-R BT.601 (see `luma`)
    border:  pixels left out on each side
    Returns infinity for equal pictures. Raises InputError for what is none of these, shapes that
    differ, values that are not finite, a data_range that is not above 0 or not that of a Picture,
    or a border that leaves nothing.
    """
    from skimage.metrics import peak_signal_noise_ratio

    data_range = _checked_range(data_range)
    image, reference = _prepare(image, reference, data_range, channel, border)
    if np.array_equal(image, reference):
        return math.inf
    return float(peak_signal_noise_ratio(reference, image, data_range=data_range))


def ssim(
    image: Any,
    reference: Any,
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

    data_range = _checked_range(data_range)
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


def _checked_range(data_range: Any) -> float:
    try:
        value = math.nan if isinstance(data_range, str) else float(data_range)
    except (TypeError, ValueError, RuntimeError):  # the last: of a tensor with several values
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"data_range is the largest possible value, above 0, not {data_range!r}")
    return value


def _samples(image: Any, data_range: float) -> Array:
    """The samples of anything that can be scored, as an array."""
    image = getattr(image, "picture", image)  # of a Result, its picture
    if isinstance(image, Picture):
        if data_range != 1:
            raise InputError(f"a Picture holds values in [0, 1]; data_range is 1, not {data_range}")
        return image.pixels
    array = _of_tensor(image) if hasattr(image, "detach") else np.asarray(image)
    if array.dtype.kind not in "buif":
        raise InputError(
            f"a {type(image).__name__} cannot be scored; give an array of numbers, a tensor, a PIL "
            "image, a Picture or a Result, and read a file with load_image"
        )
    return array


def _of_tensor(tensor: Any) -> Array:
    """The values of a tensor on any device; channels last where they come first."""
    plain = tensor.detach().cpu()
    plain = plain.double() if plain.is_floating_point() else plain  # NumPy has no bfloat16
    array: Array = plain.numpy()
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    return array.transpose(1, 2, 0) if array.ndim == 3 and len(array) <= 4 else array


def _prepare(
    image: Any, reference: Any, data_range: float, channel: Channel, border: int
) -> tuple[Array, Array]:
    """Both as float64 `(height, width, channels)`, checked, reduced to luma, shaved."""
    image, reference = (_samples(each, data_range) for each in (image, reference))
    if image.shape != reference.shape:
        raise InputError(f"the shapes differ: {image.shape} and {reference.shape}")
    if image.ndim == 2:
        image, reference = image[..., None], reference[..., None]
    if image.ndim != 3:
        raise InputError(f"pictures are (height, width[, channels]), not {image.shape}")
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
