"""A picture before and after, as what is shown of them needs it, and their colours on a screen."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from restore.errors import WriteError
from restore.image import icc
from restore.image.metrics import Scores
from restore.image.picture import Picture, Pixels, quantise
from restore.view.windows import Window

Samples = npt.NDArray[np.uint8]
CHECK, LIGHT, DARK = 8, 0.8, 0.6  # the squares that stand for what is transparent


@dataclass(frozen=True, eq=False)
class Pair:
    """A picture before and after, of one size, and perhaps what it should look like.

    name:      what the picture is called, such as its file's name
    reference: of the same size; None if there is none
    before_scores, after_scores: against the reference, where they were measured
    labels:    what the two are called
    """

    name: str
    before: Picture
    after: Picture
    reference: Picture | None = None
    before_scores: Scores | None = None
    after_scores: Scores | None = None
    labels: tuple[str, str] = ("before", "after")

    @property
    def pictures(self) -> dict[str, Picture]:
        """All of them by what they are called, before and after first."""
        named = dict(zip(self.labels, (self.before, self.after), strict=True))
        return named if self.reference is None else {**named, "reference": self.reference}


def score_words(scores: Scores | None) -> str:
    """PSNR and SSIM in words; "" where nothing was measured."""
    if scores is None:
        return ""
    equal = math.isinf(scores.psnr)
    ratio = "equal to the reference" if equal else f"PSNR {scores.psnr:.2f} dB"
    return ratio if math.isnan(scores.ssim) or equal else f"{ratio}, SSIM {scores.ssim:.4f}"


def displayed(picture: Picture, window: Window | None = None) -> Samples:
    """The picture, or a window of it, as `(height, width, 3)` in sRGB, 8 bits.

    Colours are converted by the picture's profile; what is transparent shows a chequered ground.
    """
    if window is not None:
        alpha = None if picture.alpha is None else picture.alpha[window.place]
        picture = picture.replace(pixels=picture.pixels[window.place], alpha=alpha)
    shown = _in_srgb(quantise(picture.pixels, 8), picture)
    if picture.alpha is None:
        return shown
    ground = _chequered(picture.height, picture.width)
    opacity = picture.alpha[:, :, None]
    return quantise(ground + (shown / np.float32(255) - ground) * opacity, 8)


def _in_srgb(samples: Samples, picture: Picture) -> Samples:
    image = Image.fromarray(samples[:, :, 0] if samples.shape[2] == 1 else samples)
    try:
        profile = icc.profile_of(picture, "PNG")
    except WriteError:  # HDR, and codes that nobody knows: the samples as they are
        profile = None
    return np.asarray((_converted(image, profile) if profile else None) or image.convert("RGB"))


def _converted(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The image in sRGB; None for a profile that is damaged, or made for other channels."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None


def _chequered(height: int, width: int) -> Pixels:
    odd = (np.arange(height)[:, None] // CHECK + np.arange(width) // CHECK) % 2
    ground: Pixels = np.where(odd, np.float32(DARK), np.float32(LIGHT))[:, :, None]
    return ground
