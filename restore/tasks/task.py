"""A task: what is done with a picture before and after a network sees it."""

from __future__ import annotations

import functools
import math
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
    """A request for any number of pictures: denoise them, or make them larger."""

    @property
    def first(self) -> Task | None:
        """A task to do before this one, whose result this one takes."""

    @property
    def unchanged(self) -> bool:
        """Whether the result is the input, so that no network is needed."""

    @property
    def uniform(self) -> bool:
        """Whether pictures of one size share one network and one pass, and may go in one batch."""

    @property
    def by_rows(self) -> bool:
        """Whether each row of the result depends on the same row of the network's output alone.

        Such a task can be done on a picture that is larger than memory.
        """

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the result of a picture of this size; InputError if impossible."""

    def for_picture(self, picture: Picture) -> PictureTask:
        """The task with all that depends on the picture decided: network, noise level, size."""

    def baseline(self, picture: Picture) -> Picture:
        """What a result is compared with: the picture at the result's size, without a network."""


class PictureTask(Protocol):
    """A task for one picture."""

    @property
    def network(self) -> Network:
        """The network to run."""

    @property
    def unchanged(self) -> bool:
        """Whether this picture stays as it is, so that no network is needed."""

    @property
    def sigma(self) -> float | None:
        """The noise level (0-255) that the network is told, or made to see; None: neither."""

    @property
    def passes(self) -> int:
        """How many times the network runs; the mean of its outputs is the answer."""

    def preprocess(self, picture: Picture, index: int = 0) -> Pixels:
        """The network's input `(height, width, network.channels)` for the pass `index`."""

    def postprocess(
        self, picture: Picture, pixels: Pixels, bounds: Bounds | None = None
    ) -> Picture:
        """The result, from the picture and the network's answer, which is used up.

        bounds: the range of the whole picture, where `picture` is some rows of it
        """


def find_network(model: str | os.PathLike[str] | Network, ensemble: bool = False) -> Network:
    """A network by name or file, or the network itself; with `ensemble` the mean over its views.

    A file is loaded once and kept while it does not change. Raises UnknownModelError, WeightsError,
    and InputError for an object that is not a network.
    """
    from restore.models.network import check_network

    if isinstance(model, (str, os.PathLike)):
        from restore.models.weights import find_weights

        path = find_weights(model)
        model = _load(path, path.stat().st_mtime_ns)
    else:
        check_network(model)
    if not ensemble:
        return model
    from restore.models.ensemble import Ensemble

    return Ensemble(model)


@functools.lru_cache(maxsize=4)
def _load(path: Path, _modified: int) -> Network:
    from restore.models.weights import load_model

    return load_model(path)


def fit_channels(pixels: Pixels, channels: int) -> Pixels:
    """Grey as three equal channels, or colour as its luma; unchanged where the count agrees."""
    if pixels.shape[2] == channels:
        return pixels
    return as_rgb(pixels) if channels == 3 else as_grey(pixels)


def check_strength(strength: float) -> None:
    """Raises InputError unless 0 <= strength <= 1."""
    if not isinstance(strength, (int, float)) or not 0 <= strength <= 1:
        raise InputError(
            f"strength is between 0 (as it was) and 1 (fully restored), not {strength}"
        )


def parse_sigma(sigma: float | str) -> float | None:
    """A noise level as a person gives it; None for "auto". Raises InputError."""
    if sigma == AUTO:
        return None
    try:
        level = float(sigma)
    except (ValueError, TypeError):
        level = math.nan
    if not 0 < level <= 255:
        raise InputError(
            f"sigma is a noise level above 0 and at most 255, or auto, not {sigma}; "
            "to leave a picture as it is, take strength 0"
        )
    return level
