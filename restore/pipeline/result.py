"""What a request gives back: the picture or the file, and what it took."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from restore.image.metrics import Scores
from restore.image.picture import Depth, Picture


@dataclass(frozen=True)
class Result:
    """A restored picture and what it took.

    image:   the picture in the kind it was given (a path gives a Picture), or as asked
    picture: the same as a Picture, with alpha, depth and metadata
    window:  (height, width) of what the network saw at once
    seconds: from the decoded picture to the restored one; loading of the model not counted
    sigma:   the noise level (0-255) that was found or asked for; None: the network judges it itself
    unchanged: whether the picture was left as it is: no noise was found, or the strength is 0
    before, after: scores of the picture as it came (where it was upscaled: of its bicubic
             interpolation) and of the result against the reference; None where none was given
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
        """Megapixels of the result in a second."""
        return self.picture.megapixels / self.seconds if self.seconds else math.inf


@dataclass(frozen=True)
class LargeResult:
    """What it took to restore a picture by rows, which never was in memory whole.

    memory: bytes that were planned for, at most
    start:  the row it began at, where an earlier run had come
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
        """Megapixels restored in a second."""
        done = (self.height - self.start) * self.width / 1e6
        return done / self.seconds if self.seconds else math.inf
