"""The interface of a task: what is done with a picture before and after the network."""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from restore.errors import InputError
from restore.image.color import as_grey, as_rgb
from restore.image.picture import Picture, Pixels

if TYPE_CHECKING:
    from restore.models.network import Network

Bounds = tuple[float, float]
AUTO = "auto"  # for a noise level that is estimated


class Task(Protocol):
    """What to do with any number of pictures: denoise or upscale them."""

    @property
    def first(self) -> Task | None:
        """A task to be done before this one, on whose result this one works; None for most."""

    @property
    def uniform(self) -> bool:
        """Whether pictures of one size need the same network once, so that they can be batched."""

    @property
    def by_rows(self) -> bool:
        """Whether a row of the result depends only on rows nearby of the network's output.

        Only such a task can be done on a picture that is larger than memory.
        """

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result for a picture of this size; InputError if impossible."""

    def for_picture(self, picture: Picture) -> PictureTask:
        """The task for this picture, with its network, noise level and size decided."""

    def baseline(self, picture: Picture) -> Picture:
        """What the result is compared with: the picture at the result's size, without a network."""


class PictureTask(Protocol):
    """What to do with one picture."""

    @property
    def network(self) -> Network:
        """The network to run."""

    @property
    def unchanged(self) -> bool:
        """Whether this picture is returned as it is, so that no network is needed."""

    @property
    def sigma(self) -> float | None:
        """The noise level (0-255) that was given or estimated; None if there is none."""

    @property
    def context(self) -> int:
        """Rows above and below a row on which its result depends, for a task that is `by_rows`.

        Where it is not 0, the first row that `postprocess` is given is a multiple of it, and the
        result of so many rows at each end that is not the picture's is not valid.
        """

    @property
    def passes(self) -> int:
        """How many times the network runs; the mean of its outputs is used."""

    def preprocess(self, picture: Picture, index: int = 0) -> Pixels:
        """The network's input `(height, width, network.channels)` for pass number `index`."""

    def postprocess(
        self, picture: Picture, pixels: Pixels, bounds: Bounds | None = None
    ) -> Picture:
        """The result, from the picture and the network's output, whose memory may be overwritten.

        bounds: the lowest and highest value of the whole picture, if `picture` is part of its rows
        """


def find_network(model: str | os.PathLike[str] | Network, ensemble: bool = False) -> Network:
    """A network by name or file, or the given network; with `ensemble`, as an `Ensemble`.

    A file is loaded once and cached until it changes. What backends make of its kernels is kept as
    long as the network is, so that they must not be changed meanwhile. Raises UnknownModelError,
    WeightsError, and InputError for an object that is not a network.
    """
    from restore.models.network import check_network, keeping

    if isinstance(model, (str, os.PathLike)):
        from restore.models.folders import find_weights

        path = find_weights(model)
        model = _load(path, path.stat().st_mtime_ns)
    else:
        check_network(model)
    model = keeping(model)
    if not ensemble:
        return model
    from restore.models.ensemble import Ensemble

    return Ensemble(model)


def model_name(network: Network) -> str:
    """The name in the network's card, or that of its class."""
    return network.card.name if network.card else type(network).__name__


@functools.lru_cache(maxsize=4)
def _load(path: Path, _modified: int) -> Network:
    from restore.models.folders import added_models, available_models
    from restore.models.network import keeping
    from restore.models.weights import load_model

    network = load_model(path)
    if network.card is not None and path not in available_models().values():
        # a person's own weights, or a copy: not to be reported as the model that is shipped
        added = {file: name for name, file in added_models().items()}
        network.card = dataclasses.replace(network.card, name=added.get(path, path.name))
    return keeping(network)


def fit_channels(pixels: Pixels, channels: int) -> Pixels:
    """Grey to three equal channels, or RGB to luma; unchanged if the count is right already."""
    if pixels.shape[2] == channels:
        return pixels
    return as_rgb(pixels) if channels == 3 else as_grey(pixels)


def check_strength(strength: float) -> None:
    """Raises InputError unless 0 <= strength <= 1."""
    if not isinstance(strength, numbers.Real) or not 0 <= strength <= 1:
        raise InputError(
            "strength must be a number between 0 (unchanged) and 1 (fully restored), "
            f"not {strength!r}"
        )


def check_detail(detail: float) -> None:
    """Raises InputError unless 0 <= detail <= 1."""
    if not isinstance(detail, (int, float)) or not 0 <= detail <= 1:
        raise InputError(
            f"detail must be between 0 (nothing is given back) and 1 (the most), not {detail}"
        )


def parse_sigma(sigma: float | str) -> float | None:
    """A noise level as a person gives it; None for "auto". Raises InputError."""
    if isinstance(sigma, str) and sigma == AUTO:
        return None
    try:
        level = float(sigma)
    except (ValueError, TypeError):
        level = math.nan
    if not 0 < level <= 255:
        raise InputError(
            f"sigma must be a noise level above 0 and at most 255, or auto, not {sigma}; "
            "to leave a picture as it is, use strength 0"
        )
    return level
