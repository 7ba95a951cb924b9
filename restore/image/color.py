"""Colours: any Pillow mode as grey or RGB with alpha, CMYK through its profile; colour under alpha.

The luma that scores are measured on is in `metrics`.
"""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from restore.errors import InputError
from restore.image.picture import Depth, Pixels, dequantise, quantise

# BT.601 luma of full-range RGB, as Pillow's mode "L" and JPEG have it.
LUMA = (0.299, 0.587, 0.114)


class Planes(NamedTuple):
    """Pixels `(height, width, 1 or 3)`, alpha `(height, width)` or None, and the samples' depth."""

    pixels: Pixels
    alpha: Pixels | None
    depth: Depth


def as_rgb(pixels: Pixels) -> Pixels:
    """`(height, width, 1 or 3)` as a new `(height, width, 3)`; grey is repeated."""
    return np.array(pixels) if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def as_grey(pixels: Pixels) -> Pixels:
    """`(height, width, 1 or 3)` as a new `(height, width, 1)`: BT.601 luma; grey is unchanged."""
    if pixels.shape[2] == 1:
        return np.array(pixels)
    # Not a matrix product: BLAS rounds by a pixel's position, and tiles must equal the whole.
    grey: Pixels = pixels[:, :, :1] * np.float32(LUMA[0])
    for channel in (1, 2):
        grey += pixels[:, :, channel : channel + 1] * np.float32(LUMA[channel])
    return grey


def cmyk_to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """A CMYK picture as sRGB: through its profile where that is usable, else by plain inversion.

    Relative colorimetric intent: colours that both spaces hold look the same. The perceptual intent
    would lift the blacks, because littlecms maps the black of the paper to that of the screen.
    """
    if icc:
        from PIL import ImageCms

        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            converted = ImageCms.profileToProfile(
                image,
                profile,
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.HIGHRESPRECALC,
            )
        except (ImageCms.PyCMSError, OSError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    return image.convert("RGB") if converted is None else converted


def simplify(image: Image.Image) -> Image.Image:
    """An image of any Pillow mode as L, LA, RGB, RGBA, I;16 or F, without loss of bits.

    A colour or palette entry that is declared transparent becomes alpha. Raises InputError for
    32-bit integers beyond 16 bits, which have no known range.
    """
    mode = image.mode
    if mode == "1" and "transparency" in image.info:
        bits, key = image.convert("L"), image.info["transparency"]
        alpha = bits.point([0 if v == (255 if key else 0) else 255 for v in range(256)])
        return Image.merge("LA", (bits, alpha))
    if mode == "CMYK":
        return cmyk_to_rgb(image, image.info.get("icc_profile"))
    if mode == "LAB":
        return _lab_to_rgb(image)
    if mode == "I":
        # of a picture of one channel a pair of numbers; Pillow's type has pairs of pairs, too
        low, high = (int(v) for v in image.getextrema()[:2])  # type: ignore[arg-type]
        if low < 0 or high > 65535:
            raise InputError(
                f"32-bit integers have no known range, and these reach from {low} to {high}; "
                "give 8 or 16 bits, or floats in [0, 1]"
            )
        return image
    if mode in ("F", "LA", "RGBA") or mode.startswith("I;16"):
        return image
    if mode in ("1", "L", "La"):
        wanted = "LA" if mode == "La" or "transparency" in image.info else "L"
    else:
        wanted = "RGBA" if image.has_transparency_data or mode == "RGBa" else "RGB"
    return image if mode == wanted else image.convert(wanted)


def planes(image: Image.Image) -> Planes:
    """A Pillow image of any mode as planes of floats; the image stays as it is."""
    plain = simplify(image)
    if plain.mode.startswith("I"):
        return split(np.asarray(plain).astype(np.uint16)[:, :, np.newaxis])
    samples = np.asarray(plain)
    return split(samples[:, :, np.newaxis] if samples.ndim == 2 else samples)


def split(samples: np.typing.NDArray[np.generic]) -> Planes:
    """Samples `(height, width, 1..4)` as planes: grey, grey and alpha, RGB, RGB and alpha."""
    depth: Depth = "float"
    if samples.dtype.kind in "ub":
        depth = 16 if samples.dtype.itemsize == 2 else 8
    if samples.shape[2] in (2, 4):
        return Planes(dequantise(samples[:, :, :-1]), dequantise(samples[:, :, -1]), depth)
    return Planes(dequantise(samples), None, depth)


def as_16_bits(samples: npt.NDArray[Any], bits: int) -> npt.NDArray[np.uint16]:
    """Samples of 8 to 16 bits as 16, so that white, which is all ones, becomes 65535."""
    wide = samples.astype(np.uint16)
    filled: npt.NDArray[np.uint16] = wide << np.uint16(16 - bits) | wide >> np.uint16(2 * bits - 16)
    return filled


def join(pixels: Pixels, alpha: Pixels | None, depth: Depth) -> npt.NDArray[Any]:
    """Planes as one new array `(height, width, 1..4)` of stored samples, alpha last.

    Each plane is stored by itself: the floats of a large picture are not copied.
    """
    samples = quantise(pixels, depth)
    if alpha is None:
        return samples
    return np.concatenate([samples, quantise(alpha[:, :, np.newaxis], depth)], axis=2)


def bleed(pixels: Pixels, alpha: Pixels) -> Pixels:
    """New pixels in which the colour of visible pixels has spread to the invisible ones.

    pixels: `(height, width, channels)`; alpha: `(height, width)`, 0 where nothing is visible
    Visible pixels keep their colour. Each invisible one takes the mean, weighted by alpha, of
    the smallest square of 2, 4, 8 ... pixels around it that holds something visible (push and pull
    over a pyramid, Gortler et al., "The lumigraph", SIGGRAPH 1996). Where no pixel is
    visible, nothing changes.
    """
    hidden = alpha <= 0
    if not hidden.any() or hidden.all():
        return np.array(pixels)
    filled: Pixels = pixels.copy()
    filled[hidden] = _beneath(pixels * alpha[:, :, None], alpha)[hidden]
    return filled


def _beneath(colour: Pixels, weight: Pixels) -> Pixels:
    """Colour over weight; from the level of half the size where a pixel has no weight.

    colour: premultiplied by the weight
    """
    empty = weight <= 0
    result: Pixels = colour / np.where(empty, 1, weight).astype(np.float32)[:, :, None]
    if empty.any() and max(weight.shape) > 1:
        height, width = weight.shape
        coarse = _beneath(_halve(colour), _halve(weight[:, :, None])[:, :, 0])
        spread = coarse.repeat(2, 0)[:height].repeat(2, 1)[:, :width]
        result[empty] = spread[empty]
    return result


def _halve(values: Pixels) -> Pixels:
    """Sums of 2x2 pixels; an odd border is continued with nothing."""
    height, width, channels = values.shape
    even = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    summed: Pixels = even.reshape(-(-height // 2), 2, -(-width // 2), 2, channels).sum((1, 3))
    return summed
