"""Pictures as libraries read them that `restore` does not use for the same kind, and how alike.

All answers are RGBA in [0, 1], `(height, width, 4)`, colour multiplied by alpha: what lies under
full transparency is anybody's choice. Grey is repeated, and alpha is 1 where there is none.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from restore.image import jpeg
from restore.image.jp2 import deepest
from restore.image.picture import Picture
from restore.image.read import turn

Values = npt.NDArray[np.float32]
CODECS = {
    "JPEG": imagecodecs.jpeg8_decode,
    "PNG": imagecodecs.png_decode,
    "WEBP": imagecodecs.webp_decode,
    "AVIF": imagecodecs.avif_decode,
    "JPEG2000": imagecodecs.jpeg2k_decode,
    "GIF": imagecodecs.gif_decode,
    "BMP": imagecodecs.bmp_decode,
}
# What reads these in `restore`, by format and whether a sample has more than 8 bits.
OURS = {
    ("PNG", True): ("OpenCV",),
    ("TIFF", False): (),  # decoded by tifffile, put together here
    ("TIFF", True): (),
    ("BMP", False): (),
    ("AVIF", True): ("imagecodecs",),
    ("HEIF", False): ("pi-heif",),
    ("HEIF", True): ("pi-heif",),
    ("JPEGXL", False): ("imagecodecs",),
    ("JPEGXL", True): ("imagecodecs",),
}
LOSSY = ("JPEG", "WEBP", "AVIF", "JPEG2000", "HEIF")
# Levels of 255 by which decoders of one lossy file may differ: conversions of colour, rounded.
MOST_APART, MEAN_APART = 6.0, 1.0


class Reading(NamedTuple):
    """A picture as another library reads it; `upright`: it has applied the orientation itself."""

    reader: str
    samples: npt.NDArray[Any]
    upright: bool = False

    @property
    def deep(self) -> bool:
        """Whether it has more than 8 bits."""
        return bool(self.samples.itemsize > 1)


def readings(data: bytes, kind: str, deep: bool) -> list[Reading]:
    """What the libraries make of a file that `restore` does not read it by itself."""
    found = []
    for name, read in READERS.items():
        if name in OURS.get((kind, deep), ("Pillow",)):
            continue
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reading = read(data, kind)
            if reading is not None and np.atleast_3d(reading.samples).shape[2] <= 4:
                found.append(reading)
    return found


def _by_pillow(data: bytes, kind: str) -> Reading | None:
    with Image.open(io.BytesIO(data)) as image:
        if image.mode in ("CMYK", "LAB", "YCbCr"):
            return None
        image.load()
        deep = image.mode in ("F", "I") or image.mode.startswith("I;16")
        array = np.asarray(image) if deep else np.asarray(image.convert("RGBA"))
        if image.mode == "I":
            array = array.astype(np.uint16)
        return Reading("Pillow", array, upright=kind == "TIFF")


def _by_opencv(data: bytes, kind: str) -> Reading | None:
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        return None
    if array.ndim == 3 and array.shape[2] >= 3:
        array = array[:, :, [2, 1, 0, 3][: array.shape[2]]]
    return Reading("OpenCV", _to_white(array, data, kind))


def _by_imagecodecs(data: bytes, kind: str) -> Reading | None:
    if kind not in CODECS:
        return None
    array = np.asarray(CODECS[kind](data))
    return Reading("imagecodecs", _to_white(array, data, kind), upright=kind == "AVIF")


def _by_tifffile(data: bytes, kind: str) -> Reading | None:
    if kind != "TIFF":
        return None
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        if page.photometric not in (1, 2) or page.bitspersample not in (8, 16, 32, 64):
            return None
        array = page.asarray()
        if page.planarconfig == 2 and array.ndim == 3:
            array = np.moveaxis(array, 0, 2)
        return Reading("tifffile", array)


def _by_pi_heif(data: bytes, kind: str) -> Reading | None:
    if kind not in ("HEIF", "AVIF"):
        return None
    import pi_heif

    array = np.asarray(pi_heif.open_heif(io.BytesIO(data)))
    return Reading("pi-heif", array, upright=True)


def _to_white(array: npt.NDArray[Any], data: bytes, kind: str) -> npt.NDArray[Any]:
    """Samples that do not fill their type, which these libraries leave as they are, up to 1."""
    if kind == "AVIF" and array.dtype == np.uint16:
        return array / np.float32(1023 if array.max() < 1024 else 4095)
    if kind not in ("JPEG", "JPEG2000"):
        return array
    most = jpeg.bits_of_samples(data) if kind == "JPEG" else deepest(data)
    bits = most if array.itemsize > 1 else min(most, 8)
    lowest = 1 << (bits - 1) if array.dtype.kind == "i" else 0
    if not lowest and (bits >= 8 * array.itemsize or array.max() >= 1 << bits):
        return array
    return (array.astype(np.float32) + lowest) / np.float32((1 << bits) - 1)


READERS: dict[str, Callable[[bytes, str], Reading | None]] = {
    "Pillow": _by_pillow,
    "OpenCV": _by_opencv,
    "imagecodecs": _by_imagecodecs,
    "tifffile": _by_tifffile,
    "pi-heif": _by_pi_heif,
}


def premultiplied(samples: npt.NDArray[Any], already: bool = False) -> Values:
    """Samples of any layout as RGBA, colour multiplied by alpha unless it is that already."""
    top = float(np.iinfo(samples.dtype).max) if samples.dtype.kind == "u" else 1.0
    values = np.atleast_3d(samples).astype(np.float32) / np.float32(top)
    with_alpha = values.shape[2] in (2, 4)
    alpha = values[:, :, -1:] if with_alpha else np.ones_like(values[:, :, :1])
    colour = values[:, :, :-1] if with_alpha else values
    colour = np.broadcast_to(colour, (*colour.shape[:2], 3))
    return np.concatenate([colour if already else colour * alpha, alpha], axis=2)


def of_picture(picture: Picture) -> Values:
    """A picture of ours, likewise."""
    alpha = picture.alpha
    joined = picture.pixels
    if alpha is not None:
        joined = np.concatenate([joined, alpha[:, :, None]], axis=2)
    return premultiplied(joined)


def orientation_told(data: bytes) -> int:
    """The orientation 1..8 that Pillow finds in a file's EXIF or XMP."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                found = image.getexif().get(0x0112, 1)
    except Exception:  # another kind of file
        return 1
    return found if found in range(1, 9) else 1


class Verdict(NamedTuple):
    """What the other readers say: who agrees, and in words how those differ who do not."""

    agree: list[str]
    differ: list[str]


def is_converted(data: bytes) -> bool:
    """Whether a picture is CMYK or CIELAB, of which every library makes another RGB."""
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data)) as image:
            return image.mode in ("CMYK", "LAB")
    return False


def compared(picture: Picture, data: bytes, kind: str) -> Verdict:
    """A picture of ours against what other libraries make of the same file.

    Those that read it at its full depth decide; where there are none, those that cut it to 8 bits.
    Others that contradict each other decide nothing.
    """
    deep = picture.depth != 8
    found = readings(data, kind, deep)
    if deep and any(r.deep for r in found):
        found = [r for r in found if r.deep]
    if is_converted(data):
        return Verdict([], [])
    turned = orientation_told(data)
    mine, lossy = of_picture(picture), kind in LOSSY
    agree, differ, others = [], [], list[Values]()
    for reading in found:
        words = ""
        # Of a TIFF some libraries give the colours as they are stored, multiplied by alpha.
        for already in (False, True) if kind == "TIFF" else (False,):
            theirs = premultiplied(reading.samples, already)
            theirs = theirs if reading.upright else turn(theirs, turned)
            words = _difference(mine, theirs, lossy, cut=_is_cut(picture, reading, kind))
            if not words:
                break
        others.append(theirs)
        if words:
            differ.append(f"{reading.reader}: {words}")
        else:
            agree.append(reading.reader)
    if not agree and any(_difference(others[0], other, lossy, cut=True) for other in others[1:]):
        differ = []
    return Verdict(agree, differ)


def _is_cut(picture: Picture, reading: Reading, kind: str) -> bool:
    """Whether a library may be off by one: samples of other than 8 or 16 bits, or alpha divided."""
    divided = kind == "TIFF" and picture.alpha is not None
    return kind == "BMP" or divided or (picture.depth != 8 and not reading.deep)


def _difference(mine: Values, theirs: Values, lossy: bool, cut: bool) -> str:
    """How two pictures differ, in words; nothing where they are alike."""
    if mine.shape != theirs.shape:
        sizes = [f"{a.shape[1]} x {a.shape[0]}" for a in (mine, theirs)]
        return f"{sizes[1]} pixels, not {sizes[0]}"
    apart = np.abs(np.clip(mine, 0, 1) - np.clip(theirs, 0, 1)) * 255
    most, mean = float(apart.max()), float(apart.mean())
    allowed = MOST_APART if lossy else 1.01 if cut else 0.01
    if most <= allowed or (lossy and mean <= MEAN_APART and most <= 10 * MOST_APART):
        return ""
    return f"up to {most:.2f} of 255 apart, {mean:.3f} on average"
