"""TIFF files read: the samples, whole or row by row, and the metadata.

tifffile and imagecodecs decode the samples; Pillow those of the few old kinds that they do not
know. What the header says is read and checked in `tiff_header`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import mmap
import os
from math import ceil
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from restore.errors import ReadError
from restore.image import calibration, color, exif
from restore.image import xmp as xmp_module
from restore.image.atomic import stamp
from restore.image.exif import (
    ORIENTATION,
    RATIONAL,
    SIZES,
    STRUCTURE,
    Directory,
    Layout,
    Tag,
    build_directory,
    file_header,
)
from restore.image.guard import quietly, reporting
from restore.image.jpeg import RESOURCES_START
from restore.image.picture import Picture, check_range
from restore.image.sizes import coded_size
from restore.image.tiff_header import (
    BITS,
    BLACK_IS_ZERO,
    CMYK,
    COLOUR_MAP,
    COMPRESSION,
    ICC,
    JPEG,
    JPEG_OF_12_BITS,
    LAB,
    LAYERS,
    NONE,
    PALETTE,
    PHOTOMETRIC,
    PLANAR,
    PREMULTIPLIED,
    RESOURCES,
    SAMPLES,
    SUBFILE,
    WHITE_IS_ZERO,
    XMP,
    Header,
    Parts,
    Samples,
    check,
    only_pillow_decodes,
    read_header,
)

LEFT_OUT = "its extra channels other than transparency (a selection, a spot colour) are left out"
LAYERS_LEFT_OUT = "its layers, which hold the pixels as they were, are left out"
TEXTS_LEFT_OUT = "its descriptions after the first are left out"
OF_64_BITS = "its floats of 64 bits are read with the precision of 32 bits"
LARGEST_PART = 2**28  # bytes of a strip, or of a row of tiles, unpacked


class PageReader:
    """The samples of a page as rows `(rows, width, channels)`: grey or RGB, alpha last.

    Palettes, CMYK and CIELAB become RGB; white-is-zero is inverted, premultiplied alpha divided
    out; samples of less than 8 bits fill the 8 bits.
    """

    def __init__(self, file: Path | IO[bytes], page: Header, name: str) -> None:
        """Open a page that `check` has passed. Raises ReadError where tifffile cannot decode it."""
        import tifffile

        self.page, self.name = page, name
        self._parts = Parts.of(page)
        logger = logging.getLogger("tifffile")
        if not logger.handlers:  # without one, what it logs of damaged files goes to the terminal
            logger.addHandler(logging.NullHandler())
        with quietly(name), contextlib.ExitStack() as opened:
            self._file = opened.enter_context(tifffile.TiffFile(file))
            self._page = cast(tifffile.TiffPage, self._file.pages[0])
            found = self._page.imagelength, self._page.imagewidth, self._page.samplesperpixel
            if found != (*page.size, page.first(SAMPLES, 1)) or self._page.dtype is None:
                raise ReadError(f"{name} is damaged: its header contradicts itself")
            opened.pop_all()
        self._options: dict[str, Any] = {}
        if page.first(COMPRESSION, NONE) in (JPEG, JPEG_OF_12_BITS):
            self._options = {
                "jpegtables": self._page.jpegtables, "jpegheader": self._page.jpegheader
            }  # fmt: skip
        self._last: tuple[int, Samples] | None = None  # the part decoded last, and its number

    def rows(self, first: int, last: int) -> Samples:
        """Rows [first, last). Raises ReadError for damaged samples."""
        page, step = self.page, self._parts.rows
        found = np.empty((last - first, page.size[1], page.channels), page.dtype)
        for number in range(first // step, ceil(last / step)):
            if self._last is None or self._last[0] != number:
                self._last = None  # before the next is made: not both in memory
                with reporting(self.name):
                    self._last = number, self._converted(self._decode(number))
            top, samples = number * step, self._last[1]
            begin, end = max(first, top), min(last, top + len(samples))
            found[begin - first : end - first] = samples[begin - top : end - top]
        return found

    def close(self) -> None:
        """Close the file."""
        self._last = None
        self._file.close()

    def _decode(self, number: int) -> Samples:
        """A strip, or a row of tiles side by side, of all planes, as it is stored."""
        page, parts = self.page, self._parts
        height, width = page.size
        rows = min(parts.rows, height - number * parts.rows)
        channels = page.first(SAMPLES, 1)
        found = np.empty((rows, width, channels), self._page.dtype)
        planes = channels if page.first(PLANAR, 1) == 2 else 1
        down = ceil(height / parts.rows)
        for plane in range(planes):
            target = found[:, :, plane : plane + 1] if planes > 1 else found
            for x in range(parts.across):
                left = x * parts.columns
                index = (plane * down + number) * parts.across + x
                place = target[:, left : left + parts.columns]
                samples = self._part(index)[: len(place), : place.shape[1]]
                if samples.shape != place.shape:
                    raise ReadError(f"{self.name} is truncated: a part of the picture is too short")
                place[...] = samples
        return found

    def _part(self, index: int) -> Samples:
        offset, sizes = self._parts.offsets[index], self._page.databytecounts
        size = self._parts.sizes[index] if self._parts.sizes else sizes[index]
        handle = self._file.filehandle
        handle.seek(offset)
        data = handle.read(size) if offset and size else b""
        coded = coded_size(data)
        if coded and (coded[0] > self._parts.rows or coded[1] > self._parts.columns):
            raise ReadError(f"{self.name} is damaged: a part of it is larger than the header says")
        samples = self._page.decode(data, index, **self._options)[0] if data else None
        if samples is None:
            raise ReadError(f"{self.name} leaves out a part of the picture; save it anew")
        return np.asarray(samples.reshape(samples.shape[-3:]))

    def _converted(self, samples: Samples) -> Samples:
        """Stored samples as grey or RGB, alpha last."""
        page = self.page
        bits, photometric = page.first(BITS, 1), page.first(PHOTOMETRIC, BLACK_IS_ZERO)
        alpha = page.alpha_sample
        if samples.shape[2] > page.colours:
            kept = [*range(page.colours), *([] if alpha is None else [alpha])]
            samples = samples[:, :, kept]
        if bits < 8 and photometric != PALETTE:
            samples = samples.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
        if photometric == WHITE_IS_ZERO:
            white = 1 if page.depth == "float" else np.iinfo(samples.dtype).max
            samples[:, :, 0] = white - samples[:, :, 0]
        elif photometric in (PALETTE, CMYK, LAB):
            rgb = self._as_rgb(samples[:, :, : page.colours], photometric)
            samples = np.concatenate([rgb, samples[:, :, page.colours :]], axis=2)
        if alpha is not None and page.extra[alpha - page.colours] == PREMULTIPLIED:
            samples = _not_premultiplied(samples)
        if alpha is not None and page.depth == "float":
            check_range(samples[:, :, -1], f"the alpha of {self.name}")
        return samples

    def _as_rgb(self, samples: Samples, photometric: int) -> npt.NDArray[np.uint8]:
        if photometric == PALETTE:
            return _palette(self.page, self.name)[samples[:, :, 0].astype(np.uint8)]
        mode = "CMYK" if photometric == CMYK else "LAB"
        size = samples.shape[1], samples.shape[0]
        image = Image.frombytes(mode, size, np.ascontiguousarray(samples).tobytes(), "raw", mode)
        profile = self.page.bytes_of(ICC)
        image.info.update({"icc_profile": profile} if profile else {})
        return np.asarray(color.simplify(image))


def _palette(page: Header, name: str) -> npt.NDArray[np.uint8]:
    """The colours of a palette, `(256, 3)`; those that it leaves out are black."""
    values = np.array(page.directory.integers(COLOUR_MAP, page.layout), np.uint32)
    if values.size != 3 * 2 ** page.first(BITS, 1):
        raise ReadError(f"{name} is damaged: its palette has {values.size} entries")
    colours = np.zeros((256, 3), np.uint8)
    colours[: values.size // 3] = (values >> 8).reshape(3, -1).T
    return colours


def _not_premultiplied(samples: Samples) -> Samples:
    whole = samples.dtype.kind == "u"
    top = float(np.iinfo(samples.dtype).max) if whole else 1.0
    alpha = samples[:, :, -1:].astype(np.float64) / top
    colour = samples[:, :, :-1] / np.where(alpha > 0, alpha, 1.0)
    if whole:
        colour = np.rint(np.clip(colour, 0, top))
    joined: Samples = np.concatenate([colour.astype(samples.dtype), samples[:, :, -1:]], 2)
    return joined


def decode(data: bytes, page: Header, name: str) -> Samples:
    """The samples of a whole page that `check` has passed, as `PageReader` gives them."""
    if only_pillow_decodes(page):
        with quietly(name):
            image = _decode_by_pillow(data, page)
        with reporting(name):
            return _of_image(color.simplify(image))
    reader = PageReader(io.BytesIO(data), page, name)
    try:
        return reader.rows(0, page.size[0])
    finally:
        reader.close()


def _of_image(image: Image.Image) -> Samples:
    samples = np.asarray(image)
    return samples[:, :, np.newaxis] if samples.ndim == 2 else samples


def _decode_by_pillow(data: bytes, page: Header) -> Image.Image:
    """A page of up to 8 bits as Pillow decodes it, with only the tags that matter.

    Some versions of Pillow turn TIFFs upright themselves, and warn of damaged EXIF. Raises whatever
    Pillow raises for damaged pixels.
    """
    hidden = (ORIENTATION, SUBFILE, XMP)
    wanted = {n: t for n, t in page.directory.tags.items() if n in STRUCTURE and n not in hidden}
    # Samples of up to 8 bits have no byte order, and Pillow fails on BigTIFFs of one of the two.
    order = page.layout.order
    tags = {n: t if order == "<" else Tag(t.type, _swapped(t)) for n, t in wanted.items()}
    layout = Layout("<", page.layout.big)
    at = len(data) + len(data) % 2  # the new directory lies behind the file's end
    head = file_header(layout, at)
    rewritten = (head + data[len(head) :]).ljust(at, b"\0")
    rewritten += build_directory(Directory(tags), at, layout)
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(rewritten), "")
    # Pillow checks its own limit, a global of the host's, only where it makes this memory itself.
    image.im = Image.new(image.mode, image.size, None).im
    image.load()
    return image


def _swapped(tag: Tag) -> bytes:
    width = 4 if tag.type in (RATIONAL, 10) else SIZES[tag.type]
    return np.frombuffer(tag.data, np.uint8).reshape(-1, width)[:, ::-1].tobytes()


def metadata(page: Header, path: Path | None = None) -> Picture:
    """A picture of one pixel with the page's channels, depth and metadata; its EXIF is upright."""
    xmp = page.bytes_of(XMP)
    block = exif.build_exif(page.directory, page.layout.order)
    converted = page.first(PHOTOMETRIC, BLACK_IS_ZERO) in (CMYK, LAB)
    source: dict[str, Any] = {"compression": page.compression, "dpi": page.dpi()}
    per_unit = calibration.resolution_without_unit(page.directory, page.layout)
    source |= {"pixels_per_unit": per_unit} if per_unit else {}
    if resources := page.bytes_of(RESOURCES):
        source["app13"] = [RESOURCES_START + resources]
    left_out = {
        LEFT_OUT: len(page.extra) > page.alpha,
        LAYERS_LEFT_OUT: LAYERS in page.directory.tags,
        TEXTS_LEFT_OUT: len(page.texts) > 1,
        OF_64_BITS: page.dtype.itemsize > 4,
    }
    return Picture(
        np.zeros((1, 1, page.channels - page.alpha), np.float32),
        depth=page.depth,
        icc=None if converted else page.bytes_of(ICC),
        exif=exif.without_rotation(block) if block else None,
        xmp=xmp_module.without_rotation(xmp) if xmp else None,
        path=path,
        format="TIFF",
        source=source,
        notes=tuple(words for words, found in left_out.items() if found),
    )


class TiffRows:
    """The rows of a (Big)TIFF file, of which only the parts that are needed are read.

    shape: (height, width, 1..4), alpha last; dtype: uint8, uint16 or a float
    """

    def __init__(self, path: Path) -> None:
        """Read the header. Raises ReadError for what cannot be read in parts."""
        self.path, name = path, str(path)
        if path.exists() and not path.is_file():
            raise ReadError(f"{path} is not a regular file; give a TIFF file")
        try:
            with (
                path.open("rb") as file,
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            ):
                self.stamp = stamp(os.fstat(file.fileno()))
                data = cast(bytes, mapped)  # it is sliced like one
                self.page = read_header(data, name)
                check(self.page, len(data), name)
        except (OSError, ValueError) as error:
            raise ReadError(f"{path} cannot be read: {error}") from error
        self._check()
        self.shape: tuple[int, ...] = (*self.page.size, self.page.channels)
        self.dtype, self.alpha = self.page.dtype, self.page.alpha
        self._reader = PageReader(path, self.page, name)

    def _check(self) -> None:
        page = self.page
        rows = min(Parts.of(page).rows, page.size[0])
        stored = rows * page.size[1] * page.first(SAMPLES, 1) * page.dtype.itemsize
        wrong = {
            f"holds {page.pages} pages": page.pages != 1,
            "is stored turned": page.orientation != 1,
            "is packed in an old way": only_pillow_decodes(page),
            f"is stored in parts of {rows} rows, too large to decode singly": stored > LARGEST_PART,
        }
        for words, found in wrong.items():
            if found:
                raise ReadError(
                    f"{self.path} {words}, and is not read in parts; save it as one upright "
                    "picture, in tiles or in small strips"
                )

    def __getitem__(self, wanted: slice) -> Samples:
        """Rows [start, stop). Raises ReadError for damaged ones, and where the file has changed."""
        found = self._reader.rows(wanted.start, wanted.stop)
        self.check_unchanged()
        return found

    def check_unchanged(self) -> None:
        """ReadError where the file was written to or replaced since it was opened."""
        try:
            same = stamp(os.stat(self.path)) == self.stamp
        except OSError:
            same = False
        if not same:
            raise ReadError(f"{self.path} changed while it was read; run again when it is written")

    def metadata(self) -> Picture:
        """A picture of one pixel that has all the metadata of this one."""
        return metadata(self.page, self.path)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
