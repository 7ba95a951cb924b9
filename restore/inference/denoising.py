"""Denoising as the work of a request: the network, the noise level it is told, the strength."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from restore.errors import InputError
from restore.image.image import Picture, Pixels
from restore.image.metadata import without_thumbnails
from restore.image.noise import estimate_sigma
from restore.inference.work import find_network, fit_channels

if TYPE_CHECKING:
    from restore.models.weights import Network

DEFAULT_MODEL = "denoise-photo"
FAST = "-fast"  # at the end of the name of a model's smaller version
AUTO = "auto"
LEAST_SIGMA = 0.5  # that a network is told, of 255; a network told 0 is told nothing
Sigma = float | str | None  # a noise level on the 0-255 scale, "auto", or None: not told


@dataclass(frozen=True)
class Denoising:
    """A network's work on a picture, mixed with the picture by the strength.

    estimated: whether the network is told each picture's noise level, as it is estimated
    """

    network: Network
    strength: float = 1.0
    ensemble: bool = False
    estimated: bool = False

    @property
    def untouched(self) -> bool:
        """Whether the result is the very input."""
        return self.strength == 0

    @property
    def by_size(self) -> bool:
        """Unless each is told its own noise level."""
        return not self.estimated

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """As it is."""
        return height, width

    def network_for(self, picture: Picture | None) -> Network:
        """One for all, told the noise level where that is to be estimated."""
        network = self.network
        if self.estimated:
            assert picture is not None
            network = tell(network, max(LEAST_SIGMA, estimate_sigma(picture.pixels)))
        return find_network(network, self.ensemble)

    def seen(self, picture: Picture) -> Pixels:
        """The pixels in the channels that the network wants."""
        return fit_channels(picture.pixels, self.network.channels)

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
    if sigma is not None:
        level = parse_sigma(sigma)
        if not getattr(network, "tellable", False):
            raise InputError(
                "this model finds the noise level itself; leave the sigma out, or take "
                "denoise-photo"
            )
        if level is None:
            check_estimable(network)
            return Denoising(network, strength, ensemble, estimated=True)
        network = tell(network, level)
    # the views are made once, so that the engine may keep them prepared
    return Denoising(find_network(network, ensemble), strength)


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
    recipe = network.card.training.get("recipe", {}) if network.card else {}
    if recipe.get("fault", "gaussian") != "gaussian":
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
