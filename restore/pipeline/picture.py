"""The whole request: any kind of picture in, the same kind restored out, with what it took.

The command line, the Python API, the benchmarks and the reports all run `restore_picture`, with
`denoise` or `upscale` (in `restore.tasks.upscale`) as the work.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from restore.errors import OutOfMemoryError
from restore.image.arrays import Kind, as_kind, to_picture
from restore.image.metrics import Scores, compare
from restore.image.picture import Picture
from restore.tasks.denoise import DEFAULT_MODEL, Sigma, denoising
from restore.tasks.target_size import make_size
from restore.tasks.task import Work
from restore.tasks.upscale import upscaling

if TYPE_CHECKING:
    from restore.engine.tiled import Report
    from restore.models.network import Network


@dataclass(frozen=True)
class Result:
    """A restored picture and what it took.

    image:   the picture in the kind it was given (a path gives a Picture), or as asked
    picture: the same as a Picture, with alpha, depth and metadata
    seconds: from the decoded picture to the restored one; loading of the model not counted
    sigma:   the noise level that the network was told, 0-255; None: nothing, it finds it itself
    before, after: scores of the picture as it came (where it was upscaled: of its bicubic
             interpolation) and of the result against the reference; None where none was given
    """

    image: Any
    picture: Picture
    model: str
    device: str
    precision: str
    tiles: int
    window: tuple[int, int]  # (height, width) of what the network saw at once
    seconds: float
    sigma: float | None = None
    before: Scores | None = None
    after: Scores | None = None

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


def denoise(
    image: Any,
    model: str | os.PathLike[str] | Network = DEFAULT_MODEL,
    *,
    sigma: Sigma = None,
    strength: float = 1.0,
    ensemble: bool = False,
    reference: Any = None,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    memory: int | str | None = None,
    output: Kind = "same",
    report: Report | None = None,
) -> Result:
    """Remove the noise from a picture.

    image:     a path; an array `(height, width[, channels])`, uint8, uint16, bool, or float in
               [0, 1]; a PIL image; a tensor `([1,] C, H, W)`, uint8 or float in [0, 1]; a Picture.
               Grey, RGB, and either with alpha, which is kept as it is. Never modified.
    model:     a name that `restore models` lists, a weights file, or a loaded network
    sigma:     the noise level to take away, 0-255: a number, "auto" for an estimate (of white
               noise), or None: the model finds the level itself, at each place. A higher number
               smooths more; denoise-gaussian then sees the picture twice, with noise added up to
               the level, which it takes away together with what lies below it
    strength:  0 to 1, the share of the restored picture in the result; 0 gives the input's pixels
    ensemble:  the mean over 8 turned and mirrored views: 8 times slower, a little better
    reference: the clean picture, in any of the kinds above, to score input and result against
    device:    "auto", "cpu", "cuda", "cuda:1", "mps", "xpu"
    precision: "auto", "fp32", "bf16", "fp16": of the convolutions; the result is always float32
    tile:      side of the square the network sees at once, in pixels, halo included; None chooses.
               It changes time and memory, not the result
    memory:    bytes, or a size such as "2GB", that the picture, its result and the network may take
               together; None: as much as pays. It does not change the result either
    output:    the kind of `Result.image`: "same", "picture", "array", "pil" or "tensor"
    report:    called with (tiles done, tiles in all)

    Raises InputError, ReadError, UnknownModelError, WeightsError or OutOfMemoryError, each with
    one sentence that says what is wrong and what would be right.
    """
    return restore_picture(
        image,
        denoising(model, strength, ensemble, sigma),
        reference=reference,
        device=device,
        precision=precision,
        tile=tile,
        memory=memory,
        output=output,
        report=report,
    )


def upscale(
    image: Any,
    scale: Any = None,
    model: str | os.PathLike[str] | Network | None = None,
    *,
    width: int | None = None,
    height: int | None = None,
    fit: str | tuple[int, int] | None = None,
    back_projection: int = 0,
    ensemble: bool = False,
    reference: Any = None,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    memory: int | str | None = None,
    output: Kind = "same",
    report: Report | None = None,
) -> Result:
    """Make a picture larger, with the details that it lost when it was made small.

    image:     any kind of picture that `denoise` takes; alpha is enlarged with it
    scale:     a factor above 1, at most 16; or instead of it
    width, height: the result's, in pixels (the other side follows)
    fit:       "3840x2160" or (3840, 2160): as large as fits into this box
    model:     a name that `restore models` lists, a weights file, a loaded network, or "bicubic"
               for plain interpolation; None takes the shipped model of the next scale. What the
               model makes too large is shrunk to the size asked for, what is lacking interpolated
    back_projection: so many times the result is corrected so that, shrunk to the picture's size,
               it is the picture (Irani and Peleg 1991); 0 to 20
    reference: the picture as it was before it was made small, to score the result against

    All else as for `denoise`. Raises InputError, ReadError, UnknownModelError, WeightsError or
    OutOfMemoryError, each with one sentence that says what is wrong and what would be right.
    """
    return restore_picture(
        image,
        upscaling(make_size(scale, width, height, fit), model, back_projection, ensemble),
        reference=reference,
        device=device,
        precision=precision,
        tile=tile,
        memory=memory,
        output=output,
        report=report,
    )


def restore_picture(
    image: Any,
    work: Work,
    *,
    reference: Any = None,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    memory: int | str | None = None,
    output: Kind = "same",
    report: Report | None = None,
) -> Result:
    """Do the work on one picture of any kind; arguments and errors as for `denoise`."""
    try:
        picture = to_picture(image)
        work.result_size(picture.height, picture.width)
        clean = None if reference is None else to_picture(reference)
        before = None if clean is None else compare(work.unrestored(picture), clean)
        restored = _restore(picture, work, device, precision, tile, memory, report)
        return dataclasses.replace(
            restored,
            image=as_kind(restored.picture, image, output),
            before=before,
            after=None if clean is None else compare(restored.picture, clean),
        )
    except MemoryError:
        raise OutOfMemoryError(
            "the picture and its result do not fit into memory; free some, or restore a TIFF into "
            "a TIFF with --memory, which is done in parts"
        ) from None


def _restore(
    picture: Picture,
    work: Work,
    device: str,
    precision: str,
    tile: int | None,
    memory: int | str | None,
    report: Report | None,
) -> Result:
    from restore.engine.device import (
        choose_device,
        choose_precision,
        device_name,
        precision_name,
    )
    from restore.engine.memory import parse_bytes
    from restore.engine.passes import run_views

    chosen = choose_device(device)
    dtype = choose_precision(precision, chosen)
    started = time.perf_counter()
    work = work.fitted_to(picture)
    network = work.network_for(picture)
    budget = parse_bytes(memory)
    ran = run_views(network, work, picture, chosen, dtype, tile=tile, memory=budget, report=report)
    restored = work.put_back(picture, ran.pixels)
    return Result(
        image=None,
        picture=restored,
        model=network.card.name if network.card else type(network).__name__,
        device=device_name(ran.plan.device),
        precision=precision_name(ran.plan.dtype),
        tiles=len(ran.plan.tiles),
        window=ran.plan.window,
        seconds=time.perf_counter() - started,
        sigma=work.sigma,
    )
