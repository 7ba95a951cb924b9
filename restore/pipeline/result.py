"""The result of a request: the picture, its scores, and how it was computed."""

from __future__ import annotations

import dataclasses
import io
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore.errors import InputError
from restore.image.metrics import Scores
from restore.image.picture import Depth, Picture

if TYPE_CHECKING:
    from PIL.Image import Image

    from restore.view.pair import Pair


@dataclass(frozen=True)
class Result:
    """A restored picture and how it was computed.

    image:   the picture in the kind of the input (for a path, a Picture), or in the `output` kind
    picture: the same as a Picture, with alpha, depth and metadata
    model:   the name of the model; device, precision, engine: those it ran on, in and by
    tiles:   the number of tiles; 0 if no network ran
    window:  (height, width) of a tile, halo included
    seconds: from the decoded picture to the restored one, without loading the model
    sigma:   the noise level (0-255) that was given or estimated, for upscaling of what was removed
             first; None: the network needs none
    unchanged: whether the picture was left as it is, because it has no noise or the strength is 0
    before, after: scores of the input (for upscaling, of its bicubic interpolation) and of the
             result against the reference; None without a reference
    original: the picture that went in; None if it was too large to be in memory as a whole
    reference: what the result was scored against, or None

    In a notebook a result is shown as a slider between before and after.
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
    engine: str = "torch"
    before: Scores | None = None
    after: Scores | None = None
    original: Picture | None = field(default=None, repr=False)
    reference: Picture | None = field(default=None, repr=False)

    def save(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write the picture to a file, and return its path; options and errors: `save_image`."""
        from restore.image.write import save_image

        return save_image(self.picture, path, **options)

    def show(self) -> None:
        """Open the picture in the system's viewer, as `PIL.Image.Image.show` does."""
        from PIL import Image

        from restore.view.pair import displayed

        Image.fromarray(displayed(self.picture)).show()

    def compare(self) -> Image:
        """A sheet of before and after, as a PIL image: windows at 100 %, with the scores.

        The windows are those of the largest change and of the finest texture; for upscaling, before
        is the bicubic interpolation. With a reference, it is the third column.
        Raises InputError for a picture that was restored by rows, whose original is not in memory.
        """
        from restore.view.sheet import draw_sheet

        return draw_sheet(self.pair())

    def pair(self) -> Pair:
        """Before and after, as the sheet, the slider and the report take them; see `compare`."""
        if self.original is None:
            raise InputError(
                "the picture was restored by rows and its original is not in memory; "
                "compare the files, or a part of them"
            )
        name = self.original.path.name if self.original.path else self.model
        pair = make_pair(name, self.original, self.picture)
        return dataclasses.replace(
            pair, reference=self.reference, before_scores=self.before, after_scores=self.after
        )

    def _repr_png_(self) -> bytes | None:
        """The sheet for a notebook; None if there is no original."""
        if self.original is None:
            return None
        memory = io.BytesIO()
        self.compare().save(memory, "PNG")
        return memory.getvalue()

    def _repr_html_(self) -> str | None:
        """A slider for a notebook; None if there is no original."""
        from restore.view.slider import slider_frame

        return None if self.original is None else slider_frame(self.pair())

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out when the file was read, and what about tiles, a sentence each."""
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
    engine: str = "torch"
    notes: tuple[str, ...] = ()

    @property
    def megapixels_per_second(self) -> float:
        """Megapixels restored per second."""
        done = (self.height - self.start) * self.width / 1e6
        return done / self.seconds if self.seconds else math.inf


def make_pair(name: str, original: Picture, restored: Picture) -> Pair:
    """A picture before and after; if it was enlarged, before is the bicubic interpolation."""
    from restore.view.pair import Pair

    height, width = restored.height, restored.width
    if (original.height, original.width) == (height, width):
        return Pair(name, original, restored)
    from restore.tasks.upscale import interpolated

    before = interpolated(original, height, width)
    return Pair(name, before, restored, labels=("bicubic", "after"))
