"""Denoising: the network, the noise levels it is conditioned on, and its share in the result."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from restore.errors import InputError
from restore.image.metadata import without_thumbnails
from restore.image.picture import Picture, Pixels
from restore.tasks.task import (
    Bounds,
    PictureTask,
    Task,
    check_detail,
    check_strength,
    find_network,
    fit_channels,
    parse_sigma,
)
from restore.tasks.white_noise import estimate_sigma, white_noise

if TYPE_CHECKING:
    from restore.models.network import Network
    from restore.tasks.jpeg_error import Compression
    from restore.tasks.noise_level import Noise

DEFAULT_MODEL = "denoise-photo"
DETAIL = 0.5  # for a network that is conditioned on the measured noise
LOWEST_SIGMA = 0.5  # of 255; a network that is conditioned on 0 runs as a blind one
logger = logging.getLogger(__name__)
Sigma = float | str | None  # a noise level (0-255), "auto" to estimate it, or None


@dataclass(frozen=True)
class Denoise:
    """Denoise every picture with the same network, blind or conditioned on one noise level.

    strength:    0 to 1, the share of the network's output in the result
    sigma:       the noise level (0-255) that was given or estimated; None if there is none
    added_noise: standard deviation (0-255) of white noise that is added to the network's input, in
                 two passes with opposite signs; see `DenoiseToLevel`
    bound:       the noise of the picture, which limits how far a pixel may change; see `bounded`
                 and, for errors of JPEG compression, `within_rounding`
    detail:      0 to 1, how much of the structure in what was removed is given back; see
                 `return_structure`
    """

    network: Network
    strength: float = 1.0
    sigma: float | None = None
    added_noise: float = 0.0
    bound: Noise | None = None
    detail: float = 0.0

    first = None
    by_rows = True
    uniform = True

    @property
    def unchanged(self) -> bool:
        """Whether the result is the input."""
        return self.strength == 0

    @property
    def context(self) -> int:
        """The rows above and below that structure is sought in, or that share a block of a JPEG."""
        if self.detail:
            from restore.tasks.structure import STEP

            return STEP
        if self.compression is not None:
            from restore.tasks.jpeg_error import BLOCK

            return BLOCK
        return 0

    @property
    def compression(self) -> Compression | None:
        """How the picture was compressed, if the errors of that are what is removed."""
        return None if self.bound is None else self.bound.jpeg

    @property
    def passes(self) -> int:
        """Two if noise is added, else one."""
        return 2 if self.added_noise else 1

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """The same size."""
        return height, width

    def for_picture(self, picture: Picture) -> PictureTask:
        """The same for every picture."""
        return self

    def baseline(self, picture: Picture) -> Picture:
        """The picture itself."""
        return picture

    def preprocess(self, picture: Picture, index: int = 0) -> Pixels:
        """The pixels, with noise added if there is any, in the network's channels."""
        pixels = picture.pixels
        if self.added_noise:
            noise = white_noise(pixels.shape, self.added_noise * (1 if index == 0 else -1))
            pixels = np.add(pixels, noise, out=noise)
        return fit_channels(pixels, self.network.channels)

    def postprocess(
        self, picture: Picture, pixels: Pixels, bounds: Bounds | None = None
    ) -> Picture:
        """The blended result, with the picture's channels, alpha, depth and metadata."""
        fitted = fit_channels(pixels, picture.channels)
        if self.detail:
            from restore.tasks.structure import return_structure

            fitted = return_structure(picture.pixels, fitted, self.detail)
        if self.compression is not None:
            from restore.tasks.jpeg_error import within_rounding

            fitted = within_rounding(picture.pixels, fitted, self.compression)
        if self.bound is not None:
            from restore.tasks.noise_level import bounded

            fitted = bounded(picture.pixels, fitted, self.bound)
        restored = picture.replace(pixels=blend(picture.pixels, fitted, self.strength, bounds))
        return restored if self.unchanged else without_thumbnails(restored)


@dataclass(frozen=True)
class _PerPicture:
    """What the tasks share whose noise level depends on the picture."""

    network: Network
    strength: float = 1.0
    ensemble: bool = False
    detail: float = 0.0

    first = None
    by_rows = True
    uniform = False

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """The same size."""
        return height, width

    def baseline(self, picture: Picture) -> Picture:
        """The picture itself."""
        return picture


@dataclass(frozen=True)
class DenoiseMeasured(_PerPicture):
    """Measure the noise of each picture, condition the network on it, and bound the result by it.

    level: a noise level (0-255) to which the measured noise is scaled; None: as measured
    least: a picture with less noise than this (0-255) is returned as it is; None: one whose noise
           is negligible
    jpeg:  whether a picture with errors of JPEG compression is restored even if it has less
    """

    level: float | None = None
    least: float | None = None
    jpeg: bool = True

    def for_picture(self, picture: Picture) -> Denoise:
        """The task with the noise of this picture."""
        from restore.tasks.noise_level import LEAST, estimate_noise

        noise = estimate_noise(picture.pixels)
        logger.info("%s", noise)
        if self.level is not None:
            noise = noise.scaled_to(self.level)
        network = find_network(self.network.conditioned_on(*noise.conditions), self.ensemble)
        least = LEAST if self.least is None or (self.jpeg and noise.jpeg) else self.least
        little = noise.level < least
        strength = 0.0 if little else self.strength
        return Denoise(network, strength, noise.level, bound=noise, detail=self.detail)


@dataclass(frozen=True)
class DenoiseEstimated(_PerPicture):
    """Estimate the level of white noise of each picture, and condition the network on it.

    A blind network runs as usual, and the estimate is only reported.
    """

    def for_picture(self, picture: Picture) -> Denoise:
        """The task with the noise level of this picture."""
        sigma = estimate_sigma(np.asarray(picture.pixels))
        network = self.network
        if network.noise_inputs == 1:
            sigma = max(LOWEST_SIGMA, sigma)
            network = network.conditioned_on(sigma)
        network = find_network(network, self.ensemble)
        return Denoise(network, self.strength, sigma, detail=self.detail)


@dataclass(frozen=True)
class DenoiseToLevel(_PerPicture):
    """Denoise with a blind network as if the noise had a given level.

    If `level` is above the picture's own, white noise is added up to `level`, once as it is and
    once negated, and the mean of both outputs is the result: the network's response to the added
    noise cancels as far as it is linear, and details hidden by the noise are removed. If `level` is
    below the picture's own, only the share of the noise that has that level is removed.
    """

    level: float = 0.0

    def for_picture(self, picture: Picture) -> Denoise:
        """The task with the noise to add to this picture, or the share of its noise to remove."""
        own = estimate_sigma(np.asarray(picture.pixels))
        added = math.sqrt(max(0.0, self.level**2 - own**2))
        share = 1.0 if self.level >= own else 1 - math.sqrt(1 - (self.level / own) ** 2)
        network = find_network(self.network, self.ensemble)
        return Denoise(network, self.strength * share, self.level, added, detail=self.detail)


def denoising(
    model: str | os.PathLike[str] | Network,
    strength: float = 1.0,
    ensemble: bool = False,
    sigma: Sigma = None,
    detail: float | None = None,
) -> Task:
    """The task that `denoise` runs. Raises InputError for arguments that are not valid."""
    check_strength(strength)
    if detail is not None:
        check_detail(detail)
    network = find_network(model)
    if network.scale != 1:
        raise InputError(
            f"this model enlarges pictures {network.scale} times and does not denoise; "
            "use `restore upscale`, or choose a model for denoising"
        )
    level = None if sigma is None else parse_sigma(sigma)
    if network.noise == "unknown" and sigma is not None:
        raise InputError("this model decides itself what it removes; leave sigma out")
    if sigma is not None and level is None and network.noise_inputs < 2:
        check_estimable(network)
    if strength == 0:  # then nothing is estimated either, which is the work of a network, too
        return Denoise(network, strength=0)
    if network.noise_inputs > 1:
        detail = default_detail(network) if detail is None else detail
        return DenoiseMeasured(network, strength, ensemble, detail, level)
    detail = detail or 0.0
    if sigma is None:
        network = find_network(network, ensemble)
        return Denoise(network, strength, network.sigma, detail=detail)
    if level is None:
        return DenoiseEstimated(network, strength, ensemble, detail)
    if network.noise_inputs:
        network = find_network(network.conditioned_on(level), ensemble)
        return Denoise(network, strength, level, detail=detail)
    return DenoiseToLevel(network, strength, ensemble, detail, level)


def default_detail(network: Network) -> float:
    """How much structure is given back; none where a camera's own was learned from pairs."""
    card = network.card
    return 0.0 if card is not None and card.degradation == "pairs" else DETAIL


def check_estimable(network: Network) -> None:
    """Raises InputError unless the network is for white noise, the only noise `auto` estimates."""
    if network.noise != "white":
        raise InputError(
            "sigma auto estimates white noise, and this model is for the noise of cameras, which "
            "it estimates itself; leave sigma out, or give a number"
        )


def blend(
    original: Pixels, restored: Pixels, strength: float, bounds: Bounds | None = None
) -> Pixels:
    """A blend of the two, written over `restored`; strength 0 gives the original exactly.

    The result is clipped to [0, 1], or to the original's range (`bounds`) where that is wider.
    """
    if strength == 0:
        return np.array(original)
    low, high = bounds or (min(0.0, float(original.min())), max(1.0, float(original.max())))
    result = np.clip(restored, np.float32(low), np.float32(high), out=restored)
    if strength < 1:
        result -= original
        result *= np.float32(strength)
        result += original
    return result
