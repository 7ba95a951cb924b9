"""A picture in memory, and the conversions between its floats and stored samples.

Inside the package, pixels are float32 in [0, 1], `(height, width, channels)`, grey or RGB, upright.
Files, arrays and tensors are converted when they come in and when they go out.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from restore.errors import InputError

Depth = Literal[8, 16, "float"]
Pixels = npt.NDArray[np.float32]

LEVELS: dict[Depth, int] = {8: 255, 16: 65535}
BAND = 256  # rows at once where a picture is converted
# Values with noise stay within these; others have another range (0 to 255, say).
LOWEST, HIGHEST = -4.0, 5.0


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, with the metadata of its file.

    pixels: float32 `(height, width, 1 or 3)`; grey or RGB in [0, 1], upright (noise may
            reach beyond the range)
    alpha:  float32 `(height, width)` in [0, 1], not premultiplied, or None
    depth:  what the source stored a sample as: 8 or 16 bits, or "float"
    icc, exif, xmp: the file's raw bytes, or None; `exif` starts at its TIFF header ("II*" or "MM")
            and never holds a rotation (it was applied)
    path:   the file it came from, or None
    format: that file's format as Pillow spells it ("JPEG", "PNG", "TIFF" ...), or None
    notes:  what was left out when the file was read, a sentence each
    source: what else is needed to write a similar file, where it is known: mode, compression, dpi,
            pixels_per_unit (of a unit that the description names), cicp (code points of primaries
            and transfer function), gamma, chromaticities, chunks (PNG), comments, app13, qtables,
            subsampling, progressive (JPEG), lossless (WebP)

    Two pictures are equal only where they are the same object; compare their pixels with NumPy.
    """

    pixels: Pixels = dataclasses.field(repr=False)
    alpha: Pixels | None = dataclasses.field(default=None, repr=False)
    depth: Depth = 8
    icc: bytes | None = dataclasses.field(default=None, repr=False)
    exif: bytes | None = dataclasses.field(default=None, repr=False)
    xmp: bytes | None = dataclasses.field(default=None, repr=False)
    path: Path | None = None
    format: str | None = None
    notes: tuple[str, ...] = ()
    source: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB; alpha is not counted."""
        return int(self.pixels.shape[2])

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.height * self.width / 1e6

    def replace(self, **changes: Any) -> Picture:
        """The same picture with some fields changed; this one stays as it is."""
        return dataclasses.replace(self, **changes)


def quantise(values: npt.NDArray[np.floating[Any]], depth: Depth) -> npt.NDArray[Any]:
    """Values in [0, 1] as stored samples: clipped and rounded to uint8 or uint16; floats stay.

    The only place where floats become integers. It rounds half to even and never truncates;
    `quantise(dequantise(x), depth)` is x for every x.
    """
    if depth == "float":
        return values.astype(np.float32, copy=True)
    stored = np.uint8 if depth == 8 else np.uint16
    samples = np.empty(values.shape, stored)
    for top in range(0, len(values), BAND):  # in bands: a large picture is not copied as floats
        scaled: npt.NDArray[Any] = np.clip(values[top : top + BAND], 0.0, 1.0)
        scaled *= np.float32(LEVELS[depth])
        samples[top : top + BAND] = np.rint(scaled, out=scaled)
    return samples


def dequantise(samples: npt.NDArray[Any]) -> Pixels:
    """Stored samples as float32: uint8 and uint16 land in [0, 1], bool in {0, 1}, floats stay."""
    whole = samples.dtype in (np.uint8, np.uint16)
    if not whole and samples.dtype.kind not in "bf":
        raise InputError(
            f"samples of type {samples.dtype} have no known range; "
            "give uint8, uint16, or floats in [0, 1]"
        )
    floats: Pixels = samples.astype(np.float32, order="C")
    if whole:
        floats /= np.float32(np.iinfo(samples.dtype).max)
    return floats


def check_range(values: npt.NDArray[Any], what: str) -> None:
    """InputError where floats are not finite, or lie too far outside [0, 1] to be noise.

    what: names them in the message ("the array")
    """
    if not values.size or values.dtype.kind != "f":
        return
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN goes through min and max
        raise InputError(f"{what} holds values that are not finite (NaN or infinite); replace them")
    if low < LOWEST or high > HIGHEST:
        beyond = high if high > HIGHEST else low
        advice = {255: "divide by 255", 65535: "divide by 65535"}.get(round(beyond), "scale it")
        raise InputError(f"{what} holds values in [0, 1]; this one reaches {beyond:g}: {advice}")
