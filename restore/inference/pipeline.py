"""The whole request: any kind of picture in, the same kind restored out, with what it took.

The command line, the Python API, the benchmarks and the reports all run `denoise`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from restore.errors import InputError
from restore.evaluation.metrics import Scores, compare
from restore.image.arrays import (
    from_array,
    from_pil,
    from_tensor,
    to_array,
    to_pil,
    to_tensor,
)
from restore.image.color import as_grey, as_rgb
from restore.image.image import Picture, Pixels
from restore.image.metadata import without_thumbnails
from restore.image.read import load_image, read_bytes
from restore.inference.files import Saving, open_picture, save_result

if TYPE_CHECKING:
    from restore.inference.engine import Output, Report
    from restore.models.weights import Network

DEFAULT_MODEL = "denoise-gaussian"

Array = npt.NDArray[Any]
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}

Kind = Literal["same", "picture", "array", "pil", "tensor"]


@dataclass(frozen=True)
class Result:
    """A restored picture and what it took.

    image:   the picture in the kind it was given (a path gives a Picture), or as asked
    picture: the same as a Picture, with alpha, depth and metadata
    seconds: from the decoded picture to the restored one; loading of the model not counted
    before, after: scores against the reference, or None where none was given
    """

    image: Any
    picture: Picture
    model: str
    device: str
    precision: str
    tiles: int
    window: tuple[int, int]  # (height, width) of what the network saw at once
    seconds: float
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
        """Megapixels of the picture restored in a second."""
        return self.picture.megapixels / self.seconds if self.seconds else math.inf


def denoise(
    image: Any,
    model: str | os.PathLike[str] | Network = DEFAULT_MODEL,
    *,
    strength: float = 1.0,
    ensemble: bool = False,
    reference: Any = None,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    output: Kind = "same",
    report: Report | None = None,
) -> Result:
    """Remove the noise from a picture.

    image:     a path; an array `(height, width[, channels])`, uint8, uint16, bool, or float in
               [0, 1]; a PIL image; a tensor `([1,] C, H, W)`, uint8 or float in [0, 1]; a Picture.
               Grey, RGB, and either with alpha, which is kept as it is. Never modified.
    model:     a name that `restore models` lists, a weights file, or a loaded network
    strength:  0 to 1, the share of the restored picture in the result; 0 gives the input's pixels
    ensemble:  the mean over 8 turned and mirrored views: 8 times slower, a little better
    reference: the clean picture, in any of the kinds above, to score input and result against
    device:    "auto", "cpu", "cuda", "cuda:1", "mps", "xpu"
    precision: "auto", "fp32", "bf16", "fp16": of the convolutions; the result is always float32
    tile:      side of the square the network sees at once, in pixels, halo included; None chooses.
               It changes time and memory, not the result
    output:    the kind of `Result.image`: "same", "picture", "array", "pil" or "tensor"
    report:    called with (tiles done, tiles in all)

    Raises InputError, ReadError, UnknownModelError, WeightsError or OutOfMemoryError, each with
    one sentence that says what is wrong and what would be right.
    """
    check_strength(strength)
    picture = to_picture(image)
    clean = None if reference is None else to_picture(reference)
    before = None if clean is None else compare(picture, clean)
    network = find_network(model, ensemble)
    restored = _restore(picture, network, strength, device, precision, tile, report)
    return dataclasses.replace(
        restored,
        image=_as_kind(restored.picture, image, output),
        before=before,
        after=None if clean is None else compare(restored.picture, clean),
    )


def _restore(
    picture: Picture,
    network: Network,
    strength: float,
    device: str,
    precision: str,
    tile: int | None,
    report: Report | None,
) -> Result:
    from restore.inference.engine import run
    from restore.inference.runtime import choose_device, choose_precision

    chosen = choose_device(device)
    dtype = choose_precision(precision, chosen)
    started = time.perf_counter()
    ran = run(network, seen_by(network, picture), chosen, dtype, tile=tile, report=report)
    return put_back(picture, ran, network, strength, time.perf_counter() - started)


def seen_by(network: Network, picture: Picture) -> Pixels:
    """The pixels in the channels that the network wants."""
    return _fit_channels(picture.pixels, network.channels)


def put_back(
    picture: Picture, ran: Output, network: Network, strength: float, seconds: float
) -> Result:
    """What the network gave as a picture like the one it saw: channels, alpha, depth, metadata."""
    from restore.inference.runtime import device_name, precision_name

    pixels = _blend(picture.pixels, _fit_channels(ran.pixels, picture.channels), strength)
    restored = picture.replace(pixels=pixels)
    return Result(
        image=None,
        picture=restored if strength == 0 else without_thumbnails(restored),
        model=network.card.name if network.card else type(network).__name__,
        device=device_name(ran.plan.device),
        precision=precision_name(ran.plan.dtype),
        tiles=len(ran.plan.tiles),
        window=ran.plan.window,
        seconds=seconds,
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
    source = Path(source)
    saving = Saving(file_format, quality, overwrite, strip_metadata)
    opened = open_picture(
        source, None if target is None else Path(target), saving, read_bytes(source)
    )
    result = denoise(opened.picture, **settings)
    untouched = settings.get("strength", 1.0) == 0
    return result, save_result(opened, result.picture, saving, untouched)


def check_strength(strength: float) -> None:
    """Raises InputError unless 0 <= strength <= 1."""
    if not 0 <= strength <= 1:
        raise InputError(
            f"strength is between 0 (as it was) and 1 (fully restored), not {strength}"
        )


def to_picture(image: Any) -> Picture:
    """A Picture from any kind of picture; the input is neither modified nor kept."""
    if isinstance(image, Picture):
        return image
    if isinstance(image, (str, os.PathLike)):
        return load_image(Path(image))
    if isinstance(image, np.ndarray):
        return from_array(image)
    kind = _kind(image)
    if kind == "pil":
        return from_pil(image)
    if kind == "tensor":
        return from_tensor(image)
    raise InputError(
        f"a {type(image).__name__} is no picture; "
        "give a path, a NumPy array, a PIL image or a tensor"
    )


def _kind(image: Any) -> Kind:
    """What kind of picture this is, told by its class without importing that class's library."""
    modules = {parent.__module__.partition(".")[0] for parent in type(image).__mro__}
    if isinstance(image, np.ndarray):
        return "array"
    if "PIL" in modules:
        return "pil"
    return "tensor" if "torch" in modules else "picture"


def _as_kind(picture: Picture, given: Any, output: Kind) -> Any:
    """The picture in the kind asked for; in the given one's own type where the kinds agree."""
    kind = _kind(given) if output == "same" else output
    if kind == "picture":
        return picture
    if kind not in ("array", "pil", "tensor"):
        raise InputError(f"output is same, picture, array, pil or tensor, not {output!r}")
    array = given if kind == _kind(given) == "array" else _natural_array(picture)
    if kind == "array":
        return to_array(picture, array)
    if kind == "pil":
        from PIL import Image

        bands = picture.channels + (picture.alpha is not None)
        return to_pil(picture, given if _kind(given) == "pil" else Image.new(MODES[bands], (1, 1)))
    import torch

    like = given if _kind(given) == "tensor" else torch.empty(array.shape[2], 1, 1)
    return to_tensor(picture, like)


def _natural_array(picture: Picture) -> Array:
    """An array of the type and the channels, alpha counted, that hold the picture as it is."""
    dtypes = {8: np.uint8, 16: np.uint16, "float": np.float32}
    channels = picture.channels + (picture.alpha is not None)
    return np.empty((1, 1, channels), dtypes[picture.depth])


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


@functools.lru_cache(maxsize=2)
def _load(path: Path, _modified: int) -> Network:
    from restore.models.weights import load_model

    return load_model(path)


def _fit_channels(pixels: Pixels, channels: int) -> Pixels:
    """Grey as three equal channels, or colour as its luma, where the other side needs it."""
    if pixels.shape[2] == channels:
        return pixels
    return as_rgb(pixels) if channels == 3 else as_grey(pixels)


def _blend(original: Pixels, restored: Pixels, strength: float) -> Pixels:
    """Between the two; strength 0 gives the original exactly. Never beyond the original's range."""
    if strength == 0:
        return np.array(original)
    low, high = min(0.0, float(original.min())), max(1.0, float(original.max()))
    result: Pixels = np.clip(restored, np.float32(low), np.float32(high))
    if strength < 1:
        result -= original
        result *= np.float32(strength)
        result += original
    return result
