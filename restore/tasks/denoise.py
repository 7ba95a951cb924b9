"""Denoising as the work of a request: the network, the noise level it is told, the strength."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from restore.errors import InputError
from restore.image.metadata import without_thumbnails
from restore.image.picture import Picture, Pixels
from restore.tasks.noise_level import estimate_sigma, white_noise
from restore.tasks.task import find_network, fit_channels

if TYPE_CHECKING:
    from restore.models.network import Network

DEFAULT_MODEL = "denoise-photo"
FAST = "-fast"  # at the end of the name of a model's smaller version
AUTO = "auto"
LEAST_SIGMA = 0.5  # that a network is told, of 255; a network told 0 is told nothing
Sigma = float | str | None  # a noise level on the 0-255 scale, "auto", or None: not told


@dataclass(frozen=True)
class Denoising:
    """A network's work on a picture, mixed with the picture by the strength.

    level:  the noise level to treat the picture's noise as, 0-255, for a network that cannot be
            told one
    estimated: whether the level is each picture's own, as it is estimated
    added:  the standard deviation of white noise that the network shall see besides, 0-255; not 0
            only where the work is fitted to a picture
    """

    network: Network
    strength: float = 1.0
    ensemble: bool = False
    level: float | None = None
    estimated: bool = False
    added: float = 0.0
    fitted: bool = False

    @property
    def untouched(self) -> bool:
        """Whether the result is the very input."""
        return self.strength == 0

    @property
    def by_size(self) -> bool:
        """Unless each has its own noise level."""
        return not (self.estimated or self.masking)

    @property
    def masking(self) -> bool:
        """Whether the network is to treat the noise as stronger or weaker than it finds it."""
        return self.level is not None and not self.fitted

    @property
    def views(self) -> int:
        """Two where noise is added: with either sign."""
        return 2 if self.added else 1

    @property
    def sigma(self) -> float | None:
        """The noise level that the network is told, or made to see; None: it finds it itself."""
        told: float | None = getattr(self.network, "sigma", None)
        return self.level if told is None else told

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """As it is."""
        return height, width

    def fitted_to(self, picture: Picture) -> Denoising:
        """The same, with the noise level that is the picture's own.

        A network that finds the level itself is made to see another one: noise is added up to the
        level, or only so much of what it finds is taken away.
        """
        if self.by_size:
            return self
        found = estimate_sigma(picture.pixels)
        if self.level is None and getattr(self.network, "tellable", False):
            told = tell(self.network, max(LEAST_SIGMA, found))
            told = find_network(told, self.ensemble)
            return replace(self, network=told, estimated=False, fitted=True)
        level = found if self.level is None else self.level
        added = math.sqrt(max(0.0, level**2 - found**2))
        share = 1.0 if level >= found else 1 - math.sqrt(1 - (level / found) ** 2)
        network = find_network(self.network, self.ensemble and self.estimated)
        kept = self.strength * share
        return replace(
            self,
            network=network,
            strength=kept,
            level=level,
            added=added,
            estimated=False,
            fitted=True,
        )

    def network_for(self, picture: Picture) -> Network:
        """One for all."""
        return self.network

    def seen(self, picture: Picture, view: int = 0) -> Pixels:
        """The pixels in the channels that the network wants."""
        pixels = picture.pixels
        if self.added:
            noise = white_noise(pixels.shape, self.added if view == 0 else -self.added)
            pixels = np.add(pixels, noise, out=noise)
        return fit_channels(pixels, self.network.channels)

    def put_back(
        self, picture: Picture, pixels: Pixels, bounds: tuple[float, float] | None = None
    ) -> Picture:
        """Channels, alpha, depth and metadata are the picture's; `pixels` are used up.

        bounds: the range of the whole picture, where `picture` is a part of one
        """
        fitted = fit_channels(pixels, picture.channels)
        mixed = _blend(picture.pixels, fitted, self.strength, bounds)
        restored = picture.replace(pixels=mixed)
        return restored if self.untouched else without_thumbnails(restored)

    def unrestored(self, picture: Picture) -> Picture:
        """The picture itself."""
        return picture


def denoising(
    model: str | os.PathLike[str] | Network,
    strength: float = 1.0,
    ensemble: bool = False,
    sigma: Sigma = None,
) -> Denoising:
    """The work of `denoise`. Raises what can be known without a picture."""
    check_strength(strength)
    network = find_network(model)
    if network.scale != 1:
        raise InputError(
            f"this model makes pictures {network.scale} times as large and takes no noise away; "
            "use `restore upscale`, or a model for noise"
        )
    level = None
    if sigma is not None:
        level = parse_sigma(sigma)
        if level is None:
            check_estimable(network)
            return Denoising(network, strength, ensemble, estimated=True)
        if getattr(network, "tellable", False):
            network, level = tell(network, level), None
    # the views are made once, so that the engine may keep them prepared
    return Denoising(find_network(network, ensemble), strength, level=level)


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
        raise InputError(
            f"there is no fast version of '{model}'; {listed}leave 'fast' out, which is 'best'"
        )
    return best + FAST


def parse_sigma(sigma: float | str) -> float | None:
    """A noise level as a person gives it; None for "auto". Raises InputError."""
    if sigma == AUTO:
        return None
    try:
        level = float(sigma)
    except ValueError:
        level = math.nan
    if not 0 < level <= 255:
        raise InputError(
            f"sigma is a noise level above 0 and at most 255, or auto, not {sigma}; "
            "to leave a picture as it is, take strength 0"
        )
    return level


def check_estimable(network: Network) -> None:
    """Raises InputError for a network of noise that the estimator does not see whole."""
    if network.card and network.card.degradation not in ("", "gaussian"):
        raise InputError(
            "what is estimated is the level of white noise, and this model is for noise that a "
            "camera has spread, whose level it finds itself; leave the sigma out, or give a number"
        )


def tell(network: Network, sigma: float) -> Network:
    """A network that is told the noise level; it shares its kernels with the one given."""
    # only what is `tellable` gets here, which `Network` does not ask of all
    told: Network = network.told(sigma)  # type: ignore[attr-defined]
    return told


def check_strength(strength: float) -> None:
    """Raises InputError unless 0 <= strength <= 1."""
    if not 0 <= strength <= 1:
        raise InputError(
            f"strength is between 0 (as it was) and 1 (fully restored), not {strength}"
        )


def _blend(
    original: Pixels,
    restored: Pixels,
    strength: float,
    bounds: tuple[float, float] | None = None,
) -> Pixels:
    """Between the two, written over the second; strength 0 gives the original exactly.

    Never beyond the original's range.
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
