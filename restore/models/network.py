"""The contract between a network and everything that runs one."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from restore.models.card import ModelCard


class Network(Protocol):
    """What the engine asks of a network; the classes satisfy it without importing it."""

    channels: int  # 1 or 3
    scale: int  # 1 for denoising; 2, 3 or 4 for upscaling
    multiple_of: int  # input height and width must be multiples of this
    halo: int  # input pixels around a tile on which its output can depend
    # optional `border: int`, a multiple of multiple_of: pixels by which the picture is mirrored on
    # all sides first, so that the zeros of the convolutions' padding lie outside
    card: ModelCard | None

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, scale H, scale W)."""
