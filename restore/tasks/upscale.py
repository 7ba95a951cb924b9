"""Upscaling as a whole request: any factor by the next model and an antialiased resize.

What is not the network's is done here: the choice of the model by the factor, alpha with the
colour bled under it, the exact size, and the step back to the picture that was given.
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
from restore.image.picture import Picture, Pixels
from restore.image.resize import resize
from restore.tasks.target_size import Size
from restore.tasks.task import find_network, fit_channels

if TYPE_CHECKING:
    from torch import Tensor

    from restore.models.card import ModelCard
    from restore.models.network import Network

BICUBIC = "bicubic"
MOST_STEPS_BACK = 20
COLOUR_RADIUS = 8  # pixels of the small picture, the standard deviation of a Gaussian


class Interpolation:
    """The network that is none: it gives back what it gets, and the resize does all."""

    channels, scale, multiple_of, halo = 3, 1, 1, 0

    def __init__(self) -> None:
        """A card, so that results say what made them."""
        from restore.models.card import ModelCard

        self.card: ModelCard | None = ModelCard(BICUBIC, "upscale", "Interpolation", {})

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W), the same."""
        return x


@dataclass(frozen=True)
class Upscaling:
    """The work of making pictures larger.

    networks: by their scales; a factor takes the smallest that reaches it, else the largest
    """

    size: Size
    networks: dict[int, Network | Path]
    back_projection: int = 0
    ensemble: bool = False
    untouched: bool = field(default=False, init=False)
    by_size: bool = field(default=True, init=False)
    views: int = field(default=1, init=False)
    sigma: float | None = field(default=None, init=False)
    _views: dict[int, Network] = field(default_factory=dict, init=False, repr=False)

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """What was asked for. Raises InputError where it cannot be."""
        return self.size.of(height, width)

    def fitted_to(self, picture: Picture) -> Upscaling:
        """As it is."""
        return self

    def network_for(self, picture: Picture) -> Network:
        """The network of the next scale."""
        rows, columns = self.size.of(picture.height, picture.width)
        factor = min(rows / picture.height, columns / picture.width)
        enough = [scale for scale in sorted(self.networks) if scale >= factor]
        scale = enough[0] if enough else max(self.networks)
        network = find_network(self.networks[scale])
        if not self.ensemble or _is_bicubic(network):
            return network
        if scale not in self._views:  # one for each, so that the engine may keep it prepared
            self._views[scale] = find_network(network, ensemble=True)
        return self._views[scale]

    def seen(self, picture: Picture, view: int = 0) -> Pixels:
        """The pixels in the channels that the network wants, colour under all of them."""
        network = self.network_for(picture)
        pixels = _opaque(picture)
        return pixels if _is_bicubic(network) else fit_channels(pixels, network.channels)

    def put_back(self, picture: Picture, pixels: Pixels) -> Picture:
        """The result in the size asked for, with all that the picture's file said about it."""
        height, width = self.size.of(picture.height, picture.width)
        fine = resize(fit_channels(pixels, picture.channels), height, width)
        if _judges_noise(self.network_for(picture)):
            fine = keep_colours(fine, _opaque(picture))
        if self.back_projection:
            fine = project_back(fine, _opaque(picture), self.back_projection)
        low = min(0.0, float(picture.pixels.min()))
        high = max(1.0, float(picture.pixels.max()))
        alpha = picture.alpha
        if alpha is not None:
            alpha = resize(alpha[:, :, None], height, width)[:, :, 0].clip(0, 1)
        about = with_size(without_thumbnails(picture), height, width)
        return about.replace(pixels=fine.clip(np.float32(low), np.float32(high)), alpha=alpha)

    def unrestored(self, picture: Picture) -> Picture:
        """The bicubic interpolation."""
        plain = Upscaling(self.size, {1: Interpolation()})
        return plain.put_back(picture, _opaque(picture))


def upscaling(
    size: Size,
    model: str | os.PathLike[str] | Network | None = None,
    back_projection: int = 0,
    ensemble: bool = False,
) -> Upscaling:
    """The work of `upscale`. Raises what can be known without a picture."""
    if isinstance(back_projection, bool) or not 0 <= back_projection <= MOST_STEPS_BACK:
        raise InputError(
            f"back-projection takes 0 to {MOST_STEPS_BACK} steps, not {back_projection}"
        )
    if model is None:
        networks: dict[int, Network | Path] = dict(shipped_upscalers())
        if not networks:
            raise UnknownModelError(
                "this version ships no weights for upscaling; give --model bicubic, or a file "
                "that `restore train upscale-x4` has written"
            )
        return Upscaling(size, networks, back_projection, ensemble)
    if model == BICUBIC:
        return Upscaling(size, {1: Interpolation()}, back_projection)
    network = find_network(model)
    if network.scale == 1:
        raise InputError(
            "this model leaves pictures in their size; give one for upscaling, or bicubic"
        )
    return Upscaling(size, {network.scale: network}, back_projection, ensemble)


def shipped_upscalers() -> dict[int, Path]:
    """The shipped models that are taken by default, by their scales: `upscale-x2` and so on."""
    from restore.models.weights import available_models

    found = {name: re.fullmatch(r"upscale-x(\d)", name) for name in available_models()}
    return {int(m[1]): available_models()[name] for name, m in found.items() if m is not None}


def project_back(fine: Pixels, picture: Pixels, steps: int) -> Pixels:
    """New pixels that shrink to the picture more closely with each step.

    Each adds the interpolated difference between the picture and the shrunk result (Irani and
    Peleg, "Improving resolution by image registration", CVGIP 1991). It takes out what little the
    network changed of colour and brightness, and assumes that the picture is without noise.
    """
    height, width = fine.shape[:2]
    for _ in range(steps):
        missing = picture - resize(fine, picture.shape[0], picture.shape[1])
        fine = fine + resize(missing, height, width)
    return fine


def keep_colours(fine: Pixels, picture: Pixels) -> Pixels:
    """New pixels whose colours over some distance are the picture's.

    What was taken for noise or blocks need not have a mean of zero; the blurred difference between
    the picture and the shrunk result puts that right and brings neither of them back.
    """
    import cv2

    missing = picture - resize(fine, picture.shape[0], picture.shape[1])
    border = cv2.BORDER_REFLECT
    smooth: Any = cv2.GaussianBlur(missing, (0, 0), COLOUR_RADIUS, borderType=border)
    added = resize(smooth.reshape(picture.shape), fine.shape[0], fine.shape[1])
    return fine + added


def _judges_noise(network: Network) -> bool:
    """Whether it was trained to take away what is in the picture."""
    return network.card is not None and network.card.degradation == "second-order"


def _opaque(picture: Picture) -> Pixels:
    return picture.pixels if picture.alpha is None else bleed(picture.pixels, picture.alpha)


def _is_bicubic(network: Network) -> bool:
    return isinstance(network, Interpolation)
