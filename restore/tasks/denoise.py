"""Denoising: which network, what it is told of the noise, and how much of its answer is taken."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from restore.errors import InputError
from restore.image.metadata import without_thumbnails
from restore.image.picture import Picture, Pixels
from restore.tasks.noise_level import LEAST, Noise, bounded, estimate_noise
from restore.tasks.task import (
    Bounds,
    PictureTask,
    Task,
    check_strength,
    find_network,
    fit_channels,
    parse_sigma,
)
from restore.tasks.white_noise import estimate_sigma, white_noise

if TYPE_CHECKING:
    from restore.models.network import Network

DEFAULT_MODEL = "denoise-photo"
FAST = "-fast"  # at the end of the name of a model's smaller version
LOWEST_SIGMA = 0.5  # of 255, that a network is told; told 0 it would be told nothing
Sigma = float | str | None  # a noise level on the 0-255 scale, "auto", or None: not told


@dataclass(frozen=True)
class Denoise:
    """One network for all pictures; it judges the noise itself, or is told one level for all.

    strength:    0 to 1, the share of the network's answer in the result
    sigma:       the noise level (0-255) it is told or made to see; None: neither
    added_noise: standard deviation (0-255) of white noise that is added before the network, in two
                 passes with opposite signs; see `DenoiseToLevel`
    bound:       the noise of the picture, which bounds how far a pixel may move; see `bounded`
    """

    network: Network
    strength: float = 1.0
    sigma: float | None = None
    added_noise: float = 0.0
    bound: Noise | None = None

    first = None
    by_rows = True
    uniform = True

    @property
    def unchanged(self) -> bool:
        """Whether the result is the input."""
        return self.strength == 0

    @property
    def passes(self) -> int:
        """Two where noise is added."""
        return 2 if self.added_noise else 1

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """The same size."""
        return height, width

    def for_picture(self, picture: Picture) -> PictureTask:
        """The same for each picture."""
        return self

    def baseline(self, picture: Picture) -> Picture:
        """The picture itself."""
        return picture

    def preprocess(self, picture: Picture, index: int = 0) -> Pixels:
        """The pixels in the channels of the network."""
        pixels = picture.pixels
        if self.added_noise:
            noise = white_noise(pixels.shape, self.added_noise * (1 if index == 0 else -1))
            pixels = np.add(pixels, noise, out=noise)
        return fit_channels(pixels, self.network.channels)

    def postprocess(
        self, picture: Picture, pixels: Pixels, bounds: Bounds | None = None
    ) -> Picture:
        """Channels, alpha, depth and metadata are the picture's."""
        fitted = fit_channels(pixels, picture.channels)
        if self.bound is not None:
            fitted = bounded(picture.pixels, fitted, self.bound)
        restored = picture.replace(pixels=blend(picture.pixels, fitted, self.strength, bounds))
        return restored if self.unchanged else without_thumbnails(restored)


@dataclass(frozen=True)
class _PerPicture:
    """What the two tasks share whose noise level depends on the picture."""

    network: Network
    strength: float = 1.0
    ensemble: bool = False

    first = None
    by_rows = True
    uniform = False

    @property
    def unchanged(self) -> bool:
        """Whether the result is the input."""
        return self.strength == 0

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """The same size."""
        return height, width

    def baseline(self, picture: Picture) -> Picture:
        """The picture itself."""
        return picture


@dataclass(frozen=True)
class DenoiseMeasured(_PerPicture):
    """The noise of each picture is measured: it is what the network is told, and bounds the result.

    level: a noise level (0-255) in place of the one that was found; the kind of the noise stays
    least: with less noise than this (0-255) the picture stays as it is
    """

    level: float | None = None
    least: float = LEAST

    def for_picture(self, picture: Picture) -> Denoise:
        """With the noise of this picture."""
        noise = estimate_noise(picture.pixels)
        if self.level is not None:
            noise = noise.scaled_to(self.level)
        network = find_network(self.network.conditioned_on(*noise.told), self.ensemble)
        strength = 0.0 if noise.level < self.least else self.strength
        return Denoise(network, strength, noise.level, bound=noise)


@dataclass(frozen=True)
class DenoiseEstimated(_PerPicture):
    """The network is told the level of white noise that is estimated for each picture.

    A blind network runs as always, and the estimate is reported.
    """

    def for_picture(self, picture: Picture) -> Denoise:
        """With the level of this picture."""
        sigma = estimate_sigma(np.asarray(picture.pixels))
        network = self.network
        if network.noise_inputs == 1:
            sigma = max(LOWEST_SIGMA, sigma)
            network = network.conditioned_on(sigma)
        return Denoise(find_network(network, self.ensemble), self.strength, sigma)


@dataclass(frozen=True)
class DenoiseToLevel(_PerPicture):
    """A blind network is made to see a noise level.

    Above the level found in the picture, white noise is added up to `level`, once as it is and once
    negated, and the mean of both answers is the result: what the network does to the added noise
    cancels where it is linear in it, and what the noise hides is removed. Below, only so much of
    what the network removes is taken away as has that level.
    """

    level: float = 0.0

    def for_picture(self, picture: Picture) -> Denoise:
        """With the noise to add, or the share to remove, for this picture."""
        found = estimate_sigma(np.asarray(picture.pixels))
        added = math.sqrt(max(0.0, self.level**2 - found**2))
        share = 1.0 if self.level >= found else 1 - math.sqrt(1 - (self.level / found) ** 2)
        network = find_network(self.network, self.ensemble)
        return Denoise(network, self.strength * share, self.level, added)


def denoising(
    model: str | os.PathLike[str] | Network,
    strength: float = 1.0,
    ensemble: bool = False,
    sigma: Sigma = None,
) -> Task:
    """The task of `denoise`. Raises InputError for what can be known without a picture."""
    check_strength(strength)
    network = find_network(model)
    if network.scale != 1:
        raise InputError(
            f"this model enlarges pictures {network.scale} times and removes no noise; "
            "use `restore upscale`, or a model for denoising"
        )
    level = None if sigma is None else parse_sigma(sigma)
    if network.noise_inputs > 1:
        return DenoiseMeasured(network, strength, ensemble, level)
    if sigma is None:
        return Denoise(find_network(network, ensemble), strength, network.sigma)
    if level is None:
        check_estimable(network)
        return DenoiseEstimated(network, strength, ensemble)
    if network.noise_inputs:
        network = find_network(network.conditioned_on(level), ensemble)
        return Denoise(network, strength, level)
    return DenoiseToLevel(network, strength, ensemble, level)


def of_size(model: str, size: str) -> str:
    """The name of the fast or the best version of a shipped model.

    model: the name of either version; size: "fast" or "best"
    Raises InputError where the model has no fast version.
    """
    from restore.models.weights import available_models

    best = model.removesuffix(FAST)
    if size == "best":
        return best
    shipped = available_models()
    if best + FAST not in shipped:
        listed = "".join(f"take {name}, or " for name in shipped if name.endswith(FAST))
        raise InputError(f"there is no fast version of '{model}'; {listed}take the model as it is")
    return best + FAST


def check_estimable(network: Network) -> None:
    """Raises InputError for a network of noise that the estimator of white noise sees in part."""
    if network.noise != "white":
        raise InputError(
            "what is estimated is the level of white noise, and this model is for the noise of "
            "cameras, whose level it finds itself; leave the sigma out, or give a number"
        )


def blend(
    original: Pixels, restored: Pixels, strength: float, bounds: Bounds | None = None
) -> Pixels:
    """Between the two, written over `restored`; strength 0 gives the original exactly.

    The result stays within the original's range, or within [0, 1] where that is wider.
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
