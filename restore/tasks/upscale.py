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
from restore.models.card import ModelCard
from restore.models.network import BaseNetwork
from restore.tasks.denoise import DEFAULT_MODEL, DenoiseMeasured
from restore.tasks.target_size import Size
from restore.tasks.task import Bounds, Task, check_strength, find_network, fit_channels

if TYPE_CHECKING:
    from torch import Tensor

    from restore.models.network import Network

BICUBIC = "bicubic"
MOST_STEPS_BACK = 20
WORTH_REMOVING = 2.0  # of 255: less noise than this stays before a picture is enlarged
COLOUR_RADIUS = 8  # pixels of the small picture, the standard deviation of a Gaussian


class Interpolation(BaseNetwork):
    """No network at all: the picture passes through, and the resize does everything."""

    channels, scale, multiple_of, halo = 3, 1, 1, 0
    card: ModelCard | None = ModelCard(BICUBIC, "upscale", "Interpolation", {})

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W), unchanged."""
        return x


@dataclass(frozen=True)
class Upscale:
    """Enlarge pictures to a size.

    networks: by their scales; a factor takes the smallest that reaches it, else the largest
    first:    removes the noise before the picture is enlarged; None: nothing does
    """

    size: Size
    networks: dict[int, Network | Path]
    back_projection: int = 0
    ensemble: bool = False
    first: Task | None = None
    _loaded: dict[int, Network] = field(default_factory=dict, init=False, repr=False)

    unchanged = False
    by_rows = False

    @property
    def uniform(self) -> bool:
        """Unless the noise of each picture is removed first."""
        return self.first is None

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """The size asked for. Raises InputError where it cannot be."""
        return self.size.of(height, width)

    def for_picture(self, picture: Picture) -> UpscalePicture:
        """With the network of the next scale."""
        sides = self.size.of(picture.height, picture.width)
        factor = min(sides[0] / picture.height, sides[1] / picture.width)
        enough = [scale for scale in sorted(self.networks) if scale >= factor]
        scale = enough[0] if enough else max(self.networks)
        if scale not in self._loaded:  # one object for each, so that the engine can keep it ready
            network = find_network(self.networks[scale])
            ensemble = self.ensemble and not isinstance(network, Interpolation)
            self._loaded[scale] = find_network(network, ensemble)
        return UpscalePicture(self._loaded[scale], sides, self.back_projection)

    def baseline(self, picture: Picture) -> Picture:
        """The bicubic interpolation."""
        plain = UpscalePicture(Interpolation(), self.size.of(picture.height, picture.width))
        return plain.postprocess(picture, _opaque(picture))


@dataclass(frozen=True)
class UpscalePicture:
    """Enlarge one picture to a size (height, width)."""

    network: Network
    size: tuple[int, int]
    back_projection: int = 0

    unchanged = False
    passes = 1
    sigma = None

    def preprocess(self, picture: Picture, index: int = 0) -> Pixels:
        """The pixels in the channels of the network, with colour under transparent ones."""
        pixels = _opaque(picture)
        if isinstance(self.network, Interpolation):
            return pixels
        return fit_channels(pixels, self.network.channels)

    def postprocess(
        self, picture: Picture, pixels: Pixels, bounds: Bounds | None = None
    ) -> Picture:
        """The result at the size asked for, with everything the picture's file said about it."""
        height, width = self.size
        fine = resize(fit_channels(pixels, picture.channels), height, width)
        if self.network.noise == "mixed":
            fine = keep_colours(fine, _opaque(picture))
        if self.back_projection:
            fine = project_back(fine, _opaque(picture), self.back_projection)
        fine = within_range(fine, _opaque(picture))
        alpha = picture.alpha
        if alpha is not None:
            alpha = resize(alpha[:, :, None], height, width)[:, :, 0].clip(0, 1)
        about = with_size(without_thumbnails(picture), height, width)
        low, high = min(0.0, float(picture.pixels.min())), max(1.0, float(picture.pixels.max()))
        return about.replace(pixels=fine.clip(np.float32(low), np.float32(high)), alpha=alpha)


def upscaling(
    size: Size,
    model: str | os.PathLike[str] | Network | None = None,
    back_projection: int = 0,
    ensemble: bool = False,
    strength: float = 1.0,
) -> Upscale:
    """The task of `upscale`. Raises what can be known without a picture.

    strength: of what removes noise first, where no model is named; 0: nothing does
    """
    check_strength(strength)
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
        first = restoring_first(strength) if strength else None
        return Upscale(size, networks, back_projection, ensemble, first)
    if model == BICUBIC:
        return Upscale(size, {1: Interpolation()}, back_projection)
    network = find_network(model)
    if network.scale == 1:
        raise InputError(
            "this model leaves pictures in their size; give one for upscaling, or bicubic"
        )
    return Upscale(size, {network.scale: network}, back_projection, ensemble)


def restoring_first(strength: float) -> Task | None:
    """Denoising for small pictures: of their noise and JPEG blocks upscaling would make details.

    None where no denoiser is shipped that is told the noise found in a picture.
    """
    from restore.models.weights import available_models

    if DEFAULT_MODEL not in available_models():
        return None
    network = find_network(DEFAULT_MODEL)
    if network.noise_inputs < 2:
        return None
    return DenoiseMeasured(network, strength, least=WORTH_REMOVING)


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


def within_range(fine: Pixels, picture: Pixels) -> Pixels:
    """New pixels that stay near the range of the picture's own pixels around each of them.

    In each channel a result may exceed the lowest and the highest of 3x3 pixels by as much as they
    differ. So an even colour stays that colour, and white beside orange stays white: both have
    the same red. Of what the networks do to photographs it changes 0.001 dB.
    """
    import cv2

    around = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(picture, around), cv2.dilate(picture, around)
    limits = low - (high - low), high + (high - low)
    size = fine.shape[1], fine.shape[0]
    low, high = (cv2.resize(each, size, interpolation=cv2.INTER_NEAREST) for each in limits)
    result: Pixels = np.clip(fine, low.reshape(fine.shape), high.reshape(fine.shape))
    return result


def _opaque(picture: Picture) -> Pixels:
    return picture.pixels if picture.alpha is None else bleed(picture.pixels, picture.alpha)
