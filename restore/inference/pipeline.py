"""The whole request: any kind of picture in, the same kind restored out, with what it took.

The command line, the Python API, the benchmarks and the reports all run `restore_picture`, with
`denoise` or `upscale` (in `restore.inference.upscaling`) as the work.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from restore.errors import InputError
from restore.evaluation.metrics import Scores, compare
from restore.image.color import as_grey, as_rgb
from restore.image.image import Picture, Pixels
from restore.image.metadata import without_thumbnails
from restore.image.noise import estimate_sigma
from restore.image.read import read_bytes
from restore.inference.files import Saving, open_picture, save_result
from restore.inference.kinds import Kind, as_kind, to_picture

if TYPE_CHECKING:
    from restore.inference.engine import Report
    from restore.models.weights import Network

DEFAULT_MODEL = "denoise-gaussian"
AUTO = "auto"
LEAST_SIGMA = 0.5  # that a network is told, of 255; a network told 0 is told nothing
Sigma = float | str | None  # a noise level on the 0-255 scale, "auto", or None: not told


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
    sigma:     what a model for Gaussian noise is told of its standard deviation, 0-255: a number,
               "auto" for an estimate from the picture, or None: it finds the level itself, at each
               place. A higher number smooths more
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

    def network_for(self, picture: Picture) -> Network:
        """The network for a picture."""

    def seen(self, picture: Picture) -> Pixels:
        """What the network sees of a picture: `(height, width, its channels)`."""

    def put_back(self, picture: Picture, pixels: Pixels) -> Picture:
        """The result, like the picture, from the network's answer."""

    def unrestored(self, picture: Picture) -> Picture:
        """What the result is compared with: the picture in the result's size, without a network."""


@dataclass(frozen=True)
class Denoising:
    """A network's work on a picture, mixed with the picture by the strength.

    estimated: whether the network is told each picture's noise level, as it is estimated
    """

    network: Network
    strength: float = 1.0
    ensemble: bool = False
    estimated: bool = False

    @property
    def untouched(self) -> bool:
        """Whether the result is the very input."""
        return self.strength == 0

    @property
    def by_size(self) -> bool:
        """Unless each is told its own noise level."""
        return not self.estimated

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """As it is."""
        return height, width

    def network_for(self, picture: Picture | None) -> Network:
        """One for all, told the noise level where that is to be estimated."""
        network = self.network
        if self.estimated:
            assert picture is not None
            network = tell(network, max(LEAST_SIGMA, estimate_sigma(picture.pixels)))
        return find_network(network, self.ensemble)

    def seen(self, picture: Picture) -> Pixels:
        """The pixels in the channels that the network wants."""
        return fit_channels(picture.pixels, self.network.channels)

    def put_back(
        self, picture: Picture, pixels: Pixels, bounds: tuple[float, float] | None = None
    ) -> Picture:
        """Channels, alpha, depth and metadata are the picture's; `pixels` are used up.

        bounds: the range of the whole picture, where `picture` is a part of one
        """
        fitted = fit_channels(pixels, picture.channels)
        mixed = _blend(picture.pixels, fitted, self.strength, bounds)
        restored = picture.replace(pixels=mixed)
        return restored if self.untouched else without_thumbnails(restored)

    def unrestored(self, picture: Picture) -> Picture:
        """The picture itself."""
        return picture


def denoising(
    model: str | os.PathLike[str] | Network,
    strength: float = 1.0,
    ensemble: bool = False,
    sigma: Sigma = None,
) -> Denoising:
    """The work of `denoise`. Raises what can be known without a picture."""
    check_strength(strength)
    network = find_network(model)
    if network.scale != 1:
        raise InputError(
            f"this model makes pictures {network.scale} times as large and takes no noise away; "
            "use `restore upscale`, or a model for noise"
        )
    if sigma is not None:
        level = parse_sigma(sigma)
        if not getattr(network, "tellable", False):
            raise InputError(
                "this model finds the noise level itself; leave the sigma out, or take "
                "denoise-gaussian"
            )
        if level is None:
            return Denoising(network, strength, ensemble, estimated=True)
        network = tell(network, level)
    # the views are made once, so that the engine may keep them prepared
    return Denoising(find_network(network, ensemble), strength)


def parse_sigma(sigma: float | str) -> float | None:
    """A noise level as a person gives it; None for "auto". Raises InputError."""
    if sigma == AUTO:
        return None
    try:
        level = float(sigma)
    except ValueError:
        level = math.nan
    if not 0 < level <= 255:
        raise InputError(
            f"sigma is a noise level above 0 and at most 255, or auto, not {sigma}; "
            "to leave a picture as it is, take strength 0"
        )
    return level


def tell(network: Network, sigma: float) -> Network:
    """A network that is told the noise level; it shares its kernels with the one given."""
    told: Network = network.told(sigma)  # type: ignore[attr-defined]
    return told


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


def _restore(
    picture: Picture,
    work: Work,
    device: str,
    precision: str,
    tile: int | None,
    memory: int | str | None,
    report: Report | None,
) -> Result:
    from restore.inference.engine import network_share, run
    from restore.inference.memory import parse_bytes
    from restore.inference.runtime import (
        choose_device,
        choose_precision,
        device_name,
        precision_name,
    )

    chosen = choose_device(device)
    dtype = choose_precision(precision, chosen)
    network = work.network_for(picture)
    seen = work.seen(picture)
    left = network_share(network, parse_bytes(memory), seen, chosen, dtype)
    started = time.perf_counter()
    ran = run(network, seen, chosen, dtype, tile=tile, memory=left, report=report)
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
        sigma=getattr(network, "sigma", None),
    )


def denoise_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    file_format: str | None = None,
    quality: int | None = None,
    overwrite: bool = False,
    strip_metadata: bool = False,
    **settings: Any,
) -> tuple[Result, Path]:
    """Denoise a picture file into another; returns the result and the file written.

    target: default is `NAME-restored` beside the source, with the source's suffix, or the one of
            `file_format`; a folder takes a file of that name
    file_format, quality: as for `save_image`; by default the source's own
    strip_metadata: leave EXIF, XMP, IPTC and comments out; the colour profile stays
    settings: as for `denoise`

    All that can be refused is refused before the network runs. With strength 0 and nothing to
    convert, the file is copied byte for byte. Raises what `denoise` and `save_image` raise.
    """
    saving = Saving(file_format, quality, overwrite, strip_metadata)
    work = denoising(
        settings.pop("model", DEFAULT_MODEL),
        settings.pop("strength", 1.0),
        settings.pop("ensemble", False),
        settings.pop("sigma", None),
    )
    return restore_file(source, target, work, saving, **settings)


def restore_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None,
    work: Work,
    saving: Saving,
    **settings: Any,
) -> tuple[Result, Path]:
    """Do the work on one file; what can be refused is refused before the network runs."""
    place, wanted = Path(source), None if target is None else Path(target)
    opened = open_picture(place, wanted, saving, read_bytes(place), work.result_size)
    result = restore_picture(opened.picture, work, **settings)
    return result, save_result(opened, result.picture, saving, work.untouched)


def check_strength(strength: float) -> None:
    """Raises InputError unless 0 <= strength <= 1."""
    if not 0 <= strength <= 1:
        raise InputError(
            f"strength is between 0 (as it was) and 1 (fully restored), not {strength}"
        )


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


def _blend(
    original: Pixels,
    restored: Pixels,
    strength: float,
    bounds: tuple[float, float] | None = None,
) -> Pixels:
    """Between the two, written over the second; strength 0 gives the original exactly.

    Never beyond the original's range.
    """
    if strength == 0:
        return np.array(original)
    low, high = bounds or (min(0.0, float(original.min())), max(1.0, float(original.max())))
    result = np.clip(restored, np.float32(low), np.float32(high), out=restored)
    if strength < 1:
        result -= original
        result *= np.float32(strength)
        result += original
    return result
