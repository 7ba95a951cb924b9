"""Upscaling by any factor: with the network of the next scale and an antialiased resize.

This task chooses the network, fills in colour under transparent pixels, resizes to the exact size,
and corrects the result by the original picture.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from restore.errors import InputError, UnknownModelError
from restore.image.color import bleed
from restore.image.metadata import with_size, without_thumbnails
from restore.image.picture import BAND, Picture, Pixels
from restore.image.resize import resize
from restore.models.card import ModelCard
from restore.models.network import BaseNetwork
from restore.tasks.denoise import DEFAULT_MODEL, DETAIL, DenoiseMeasured
from restore.tasks.target_size import Size
from restore.tasks.task import Bounds, Task, check_strength, find_network, fit_channels

if TYPE_CHECKING:
    from torch import Tensor

    from restore.models.network import Network

BICUBIC = "bicubic"
SMALL = "fast"  # given as a model: the small version of whatever the size asks for
MOST_STEPS_BACK = 20
WORTH_REMOVING = 2.0  # of 255; a picture with less noise is upscaled without denoising, if no JPEG
TOO_NOISY = 17.0  # of 255; with more, a network for noisy pictures smooths everything
COLOUR_RADIUS = 8  # standard deviation of a Gaussian, in pixels of the original picture


class Interpolation(BaseNetwork):
    """Stands in for a network where there is none: the identity, followed by the resize."""

    channels, scale, multiple_of, halo = 3, 1, 1, 0
    precisions: tuple[str, ...] = ("fp32",)
    card: ModelCard | None = ModelCard(BICUBIC, "upscale", "Interpolation", {})

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W), unchanged."""
        return x


@dataclass(frozen=True)
class Upscale:
    """Upscale pictures to a size.

    networks: by scale; the smallest scale that reaches the factor is used, or else the largest
    first:    the task that denoises a picture before it is upscaled; None: it is not denoised
    """

    size: Size
    networks: dict[int, Network | Path]
    back_projection: int = 0
    ensemble: bool = False
    first: Task | None = None
    _loaded: dict[int, Network] = field(default_factory=dict, init=False, repr=False)

    by_rows = False

    @property
    def uniform(self) -> bool:
        """True unless each picture is denoised first."""
        return self.first is None

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """The size of the result. Raises InputError if it is not possible."""
        return self.size.of(height, width)

    def for_picture(self, picture: Picture) -> UpscalePicture:
        """The task with the network of the next scale."""
        sides = self.size.of(picture.height, picture.width)
        factor = min(sides[0] / picture.height, sides[1] / picture.width)
        enough = [scale for scale in sorted(self.networks) if scale >= factor]
        scale = enough[0] if enough else max(self.networks)
        if scale not in self._loaded:  # always the same object, so that the engine can cache it
            network = find_network(self.networks[scale])
            ensemble = self.ensemble and not isinstance(network, Interpolation)
            self._loaded[scale] = find_network(network, ensemble)
        return UpscalePicture(self._loaded[scale], sides, self.back_projection)

    def baseline(self, picture: Picture) -> Picture:
        """The bicubic interpolation of the picture."""
        return interpolated(picture, *self.size.of(picture.height, picture.width))


@dataclass(frozen=True)
class UpscalePicture:
    """Upscale one picture to a size (height, width)."""

    network: Network
    size: tuple[int, int]
    back_projection: int = 0

    unchanged = False
    context = 0
    passes = 1
    sigma = None

    def preprocess(self, picture: Picture, index: int = 0) -> Pixels:
        """The pixels in the network's channels, with colour filled in under transparent ones."""
        pixels = _opaque(picture)
        if isinstance(self.network, Interpolation):
            return pixels
        return fit_channels(pixels, self.network.channels)

    def postprocess(
        self, picture: Picture, pixels: Pixels, bounds: Bounds | None = None
    ) -> Picture:
        """The result at the exact size, with the picture's alpha and metadata."""
        height, width = self.size
        fine = resize(fit_channels(pixels, picture.channels), height, width)
        if self.network.noise == "mixed":
            fine = faithful(fine, _opaque(picture))
        if self.back_projection:
            fine = project_back(fine, _opaque(picture), self.back_projection)
        if self.network.noise != "unknown":  # other projects' networks may invent texture
            fine = within_range(fine, _opaque(picture))
        alpha = picture.alpha
        if alpha is not None:
            alpha = resize(alpha[:, :, None], height, width)[:, :, 0].clip(0, 1)
        about = with_size(without_thumbnails(picture), height, width)
        low, high = min(0.0, float(picture.pixels.min())), max(1.0, float(picture.pixels.max()))
        np.clip(fine, np.float32(low), np.float32(high), out=fine)
        return about.replace(pixels=fine, alpha=alpha)


def interpolated(picture: Picture, height: int, width: int) -> Picture:
    """The bicubic interpolation of a picture to a size, without a network."""
    bicubic = UpscalePicture(Interpolation(), (height, width))
    return bicubic.postprocess(picture, _opaque(picture).copy())


def upscaling(
    size: Size,
    model: str | os.PathLike[str] | Network | None = None,
    back_projection: int = 0,
    ensemble: bool = False,
    strength: float = 1.0,
) -> Upscale:
    """The task that `upscale` runs.

    model:    None: the shipped ones, by the size; "fast": their small versions
    strength: of the denoising before upscaling, if no model is named, or one for noisy pictures;
              0: none
    Raises InputError, UnknownModelError or WeightsError for arguments that are not valid.
    """
    check_strength(strength)
    if isinstance(back_projection, bool) or not 0 <= back_projection <= MOST_STEPS_BACK:
        raise InputError(
            f"back-projection must have 0 to {MOST_STEPS_BACK} steps, not {back_projection}"
        )
    if model is None or model == SMALL:
        networks: dict[int, Network | Path] = dict(shipped_upscalers(fast=model == SMALL))
        if not networks:
            raise UnknownModelError(
                "this version ships no model for upscaling; give --model bicubic, or a weights "
                "file written by `restore train upscale-x4`"
            )
        first = restoring_first(strength) if strength else None
        return Upscale(size, networks, back_projection, ensemble, first)
    if model == BICUBIC:
        return Upscale(size, {1: Interpolation()}, back_projection)
    network = find_network(model)
    if network.scale == 1:
        raise InputError(
            "this model does not enlarge pictures; choose a model for upscaling, or bicubic"
        )
    # a network for clean pictures that is named gets the picture as it is
    first = None
    if strength and network.noise == "mixed":
        first = restoring_first(strength, TOO_NOISY, jpeg=False)
    return Upscale(size, {network.scale: network}, back_projection, ensemble, first)


def restoring_first(
    strength: float, least: float = WORTH_REMOVING, jpeg: bool = True
) -> Task | None:
    """The denoising before upscaling, which would turn noise and JPEG artefacts into detail.

    least: a picture with less noise than this (0-255) is left as it is
    jpeg:  whether one with errors of JPEG compression is restored even so
    None if the shipped denoiser cannot be conditioned on noise, as it could do harm.
    """
    from restore.models.folders import available_models

    if DEFAULT_MODEL not in available_models():
        return None
    network = find_network(DEFAULT_MODEL)
    if network.noise_inputs < 2:
        return None
    return DenoiseMeasured(network, strength, detail=DETAIL, least=least, jpeg=jpeg)


def shipped_upscalers(fast: bool = False) -> dict[int, Path]:
    """The shipped models that are chosen by the size, by scale: `upscale-x2` and so on.

    fast: their small versions instead
    """
    from restore.models.folders import FAST, available_models

    name = re.compile(r"upscale-x(\d)" + FAST * fast)
    matches = ((name.fullmatch(model), path) for model, path in available_models().items())
    return {int(match[1]): path for match, path in matches if match is not None}


def project_back(fine: Pixels, picture: Pixels, steps: int) -> Pixels:
    """Correct a result so that, downscaled, it comes closer to the picture with each step.

    Each step adds the upscaled difference between the picture and the downscaled result (Irani and
    Peleg, "Improving resolution by image registration", CVGIP 1991). This undoes small changes of
    colour and brightness, and assumes that the picture has no noise. The result is written over.
    """
    height, width = fine.shape[:2]
    for _ in range(steps):
        missing = picture - resize(fine, picture.shape[0], picture.shape[1])
        fine += resize(missing, height, width)
    return fine


def faithful(fine: Pixels, picture: Pixels) -> Pixels:
    """Correct a result so that, downscaled, it has the picture's colours and its structure.

    A network that removes noise and JPEG artefacts also takes what looks like them: fine patterns,
    and a part of the colour. Of what the downscaled result lacks, the structure is given back, and
    the rest blurred, which corrects the mean over some pixels without bringing noise back. The
    result is written over.
    """
    import cv2

    from restore.tasks.structure import return_structure

    small = resize(fine, picture.shape[0], picture.shape[1])
    added = return_structure(picture, small.copy(), DETAIL) - small
    border = cv2.BORDER_REFLECT
    missing = picture - small - added
    smooth: Any = cv2.GaussianBlur(missing, (0, 0), COLOUR_RADIUS, borderType=border)
    fine += resize(added + smooth.reshape(picture.shape), fine.shape[0], fine.shape[1])
    return fine


def within_range(fine: Pixels, picture: Pixels) -> Pixels:
    """Limit a result to a range around the picture's pixels at the same place.

    In each channel a result may exceed the lowest and the highest of 3x3 pixels by the difference
    between them. So a uniform colour is kept, and white beside orange stays white, because both
    have the same red. On photographs this changes the PSNR by 0.001 dB. The result is written over,
    some rows at a time: the range of each of its pixels would take twice its memory.
    """
    rows, columns = (
        np.arange(large) * small // large
        for large, small in zip(fine.shape[:2], picture.shape[:2], strict=True)
    )
    for top in range(0, len(fine), BAND):
        band, below = fine[top : top + BAND], rows[top : top + BAND]
        first = max(0, below[0] - 1)  # a row more at each end, on which the range depends
        around = _range_around(picture[first : below[-1] + 2])
        low, high = (limit.take(columns, axis=1)[below - first] for limit in around)
        np.clip(band, low, high, out=band)
    return fine


def _range_around(picture: Pixels) -> tuple[Pixels, Pixels]:
    """What a result's pixels may be at least and at most, by the 3x3 pixels around each."""
    import cv2

    around = np.ones((3, 3), np.uint8)
    lowest: Any = cv2.erode(picture, around)
    highest: Any = cv2.dilate(picture, around)
    spread = highest - lowest
    return (lowest - spread).reshape(picture.shape), (highest + spread).reshape(picture.shape)


def _opaque(picture: Picture) -> Pixels:
    return picture.pixels if picture.alpha is None else bleed(picture.pixels, picture.alpha)
