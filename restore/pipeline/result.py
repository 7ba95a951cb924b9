"""The result of a request: the picture, its scores, and how it was computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from restore.image.metrics import Scores
from restore.image.picture import Depth, Picture


@dataclass(frozen=True)
class Result:
    """A restored picture and how it was computed.

    image:   the picture in the kind of the input (for a path, a Picture), or in the `output` kind
    picture: the same as a Picture, with alpha, depth and metadata
    model:   the name of the model; device, precision: those it ran on and in
    tiles:   the number of tiles; 0 if no network ran
    window:  (height, width) of a tile, halo included
    seconds: from the decoded picture to the restored one, without loading the model
    sigma:   the noise level (0-255) that was given or estimated; None: the network needs none
    unchanged: whether the picture was left as it is, because it has no noise or the strength is 0
    before, after: scores of the input (for upscaling, of its bicubic interpolation) and of the
             result against the reference; None without a reference
    """

    image: Any
    picture: Picture
    model: str
    device: str
    precision: str
    tiles: int
    window: tuple[int, int]
    seconds: float
    sigma: float | None = None
    unchanged: bool = False
    before: Scores | None = None
    after: Scores | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out when the file was read, a sentence each."""
        return self.picture.notes

    @property
    def psnr(self) -> float | None:
        """PSNR of the result against the reference in decibels, 8 bit, RGB; None without one."""
        return self.after.psnr if self.after else None

    @property
    def ssim(self) -> float | None:
        """SSIM of the result against the reference; None without one."""
        return self.after.ssim if self.after else None

    @property
    def megapixels_per_second(self) -> float:
        """Megapixels of the result per second."""
        return self.picture.megapixels / self.seconds if self.seconds else math.inf


@dataclass(frozen=True)
class LargeResult:
    """How a picture was restored by rows, without ever being in memory as a whole.

    height, width, channels, depth: of the picture; others as for `Result`
    memory: the planned limit of the network's memory, in bytes
    start:  the row at which it began, after those of an earlier, interrupted run
    """

    height: int
    width: int
    channels: int
    depth: Depth
    model: str
    device: str
    precision: str
    window: tuple[int, int]
    memory: int
    seconds: float
    start: int = 0
    sigma: float | None = None
    unchanged: bool = False
    notes: tuple[str, ...] = ()

    @property
    def megapixels_per_second(self) -> float:
        """Megapixels restored per second."""
        done = (self.height - self.start) * self.width / 1e6
        return done / self.seconds if self.seconds else math.inf
