"""What is done with a picture: what a request asks of denoising and of upscaling alike."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from restore.image.color import as_grey, as_rgb
from restore.image.picture import Picture, Pixels

if TYPE_CHECKING:
    from restore.models.network import Network


class Work(Protocol):
    """What is done with a picture: what the engine asks before, and what comes after it."""

    @property
    def untouched(self) -> bool:
        """Whether the result is the very input."""

    @property
    def by_size(self) -> bool:
        """Whether all pictures of one size have one network."""

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """The size of the result of a picture; InputError where that cannot be."""

    @property
    def views(self) -> int:
        """How often the network sees a picture, each time otherwise; the answers' mean counts."""

    @property
    def sigma(self) -> float | None:
        """The noise level that the network is told, 0-255; None: nothing."""

    def fitted_to(self, picture: Picture) -> Work:
        """The same, with what is this picture's own: its noise level."""

    def network_for(self, picture: Picture) -> Network:
        """The network for a picture."""

    def seen(self, picture: Picture, view: int = 0) -> Pixels:
        """What the network sees of a picture: `(height, width, its channels)`."""

    def put_back(self, picture: Picture, pixels: Pixels) -> Picture:
        """The result, like the picture, from the network's answer."""

    def unrestored(self, picture: Picture) -> Picture:
        """What the result is compared with: the picture in the result's size, without a network."""


def find_network(model: str | os.PathLike[str] | Network, ensemble: bool = False) -> Network:
    """The network itself; a name or a file is loaded once and kept while the file is the same."""
    if isinstance(model, (str, os.PathLike)):
        from restore.models.weights import find_weights

        path = find_weights(model)
        model = _load(path, path.stat().st_mtime_ns)
    if not ensemble:
        return model
    from restore.models.ensemble import Ensemble

    return Ensemble(model)


@functools.lru_cache(maxsize=4)
def _load(path: Path, _modified: int) -> Network:
    from restore.models.weights import load_model

    return load_model(path)


def fit_channels(pixels: Pixels, channels: int) -> Pixels:
    """Grey as three equal channels, or colour as its luma, where the other side needs it."""
    if pixels.shape[2] == channels:
        return pixels
    return as_rgb(pixels) if channels == 3 else as_grey(pixels)
