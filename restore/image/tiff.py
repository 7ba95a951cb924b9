"""TIFF files read: what the header says, and the samples, whole or row by row.

The header is read and checked here, so that nothing is decoded, or allocated, that the file cannot
hold. tifffile and imagecodecs decode the samples; Pillow those of the few old kinds that they do
not know. Sources: TIFF 6.0, BigTIFF.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import mmap
import os
import struct
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin
from PIL.TiffImagePlugin import COMPRESSION_INFO as PACKINGS_OF_PILLOW

from restore.errors import ReadError
from restore.image import calibration, color, exif
from restore.image import xmp as xmp_module
from restore.image.atomic import stamp
from restore.image.calibration import DESCRIPTION
from restore.image.exif import (
    ASCII,
    ORIENTATION,
    RATIONAL,
    SIZES,
    STRUCTURE,
    Directory,
    Layout,
    Tag,
    build_directory,
    count_directories,
    file_header,
    header,
    parse_directory,
)
from restore.image.guard import quietly, reporting
from restore.image.jpeg import RESOURCES_START
from restore.image.picture import Depth, Picture, check_range
from restore.image.sizes import coded_size

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIPS, SAMPLES, ROWS, STRIP_BYTES, X_DPI, Y_DPI, PLANAR = 273, 277, 278, 279, 282, 283, 284
UNIT, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 296, 317, 322, 323, 324, 325
EXTRA, FORMAT, XMP, RESOURCES, ICC, DNG_VERSION = 338, 339, 700, 34377, 34675, 50706
COLOUR_MAP, DEPTH_IN_SPACE, LAYERS = 320, 32997, 37724

NONE, DEFLATE, JPEG, JPEG_OF_12_BITS = 1, 8, 7, 34892  # values of COMPRESSION
# Values of COMPRESSION that tifffile may decode; not JPEG XR, whose old decoder prints.
PACKINGS = frozenset({
    NONE, 2, 3, 4, 5, JPEG, DEFLATE, 32773, 32946, 33003, 33004, 33005, 34712, 34887,
    JPEG_OF_12_BITS, 34925, 34926, 34927, 34933, 50000, 50001, 50002, 50013, 52546,
})  # fmt: skip
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
COLOURS = {  # samples of a pixel, by photometric interpretation
    WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3
}  # fmt: skip
SPACES = {  # in words, of those that are read and of others that files are found in
    WHITE_IS_ZERO: "grey", BLACK_IS_ZERO: "grey", RGB: "RGB", PALETTE: "palette colours",
    4: "a transparency mask", CMYK: "CMYK", YCBCR: "YCbCr", LAB: "CIELAB", 9: "ICC Lab",
    10: "ITU Lab", 32803: "a camera's colour filter array", 32844: "LogL", 32845: "LogLuv",
    34892: "a camera's linear raw colours",
}  # fmt: skip
PREMULTIPLIED, STRAIGHT, OF_COREL_DRAW = 1, 2, 999  # values of EXTRA: kinds of alpha
MOST_EXTRA = 8  # more are no picture, but measurements
THUMBNAIL, MASK = 1, 4  # bits of SUBFILE: pages that are no pictures of their own
LARGEST_DPI = 1e6
LEFT_OUT = "its extra channels other than transparency (a selection, a spot colour) are left out"
LAYERS_LEFT_OUT = "its layers, which hold the pixels as they were, are left out"
TEXTS_LEFT_OUT = "its descriptions after the first are left out"
OF_64_BITS = "its floats of 64 bits are read with the precision of 32 bits"
LARGEST_PART = 2**28  # bytes of a strip, or of a row of tiles, unpacked

Samples = npt.NDArray[Any]


@dataclass(frozen=True)
class Header:
    """The first page of a TIFF file, with the defaults of the specification filled in.

    texts: the descriptions; the first is in the directory, too
    """

    layout: Layout
    directory: Directory
    pages: int
    texts: tuple[bytes, ...] = ()

    def first(self, tag: int, default: int = 0) -> int:
        """The first value of an integer tag."""
        values = self.directory.integers(tag, self.layout)
        return values[0] if values else default

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.first(HEIGHT), self.first(WIDTH)

    @property
    def deep(self) -> bool:
        """Whether a sample holds more than 8 bits."""
        return self.first(BITS, 1) > 8

    @property
    def depth(self) -> Depth:
        """8, 16 or "float"."""
        return 8 if not self.deep else ("float" if self.first(FORMAT, 1) == 3 else 16)

    @property
    def orientation(self) -> int:
        """EXIF orientation 1..8: of the tag, else of the XMP packet, else 1."""
        found = self.first(ORIENTATION)
        if ORIENTATION in self.directory.tags:
            return found if 1 <= found <= 8 else 1
        return xmp_module.orientation(self.bytes_of(XMP))

    @property
    def channels(self) -> int:
        """Channels of the picture when decoded: 1 or 3, and one more with alpha."""
        photometric = self.first(PHOTOMETRIC, BLACK_IS_ZERO)
        return (1 if photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO) else 3) + self.alpha

    @property
    def colours(self) -> int:
        """Samples of a pixel's colour, as they are stored."""
        return COLOURS.get(self.first(PHOTOMETRIC, BLACK_IS_ZERO), 1)

    @property
    def extra(self) -> list[int]:
        """What each sample beyond the colours is: 0 unknown, 1 premultiplied alpha, 2 alpha."""
        beyond = self.first(SAMPLES, 1) - self.colours
        kinds = self.directory.integers(EXTRA, self.layout)
        if not kinds and beyond == 1:
            return [STRAIGHT]  # which some programs do not tell
        known = [STRAIGHT if k == OF_COREL_DRAW else k for k in kinds]
        return (known + [0] * beyond)[: max(beyond, 0)]

    @property
    def alpha(self) -> bool:
        """Whether one of the samples beyond the colours is alpha."""
        return self.alpha_sample is not None

    @property
    def alpha_sample(self) -> int | None:
        """The number of the sample that is alpha."""
        kinds = self.extra
        found = [n for n, k in enumerate(kinds) if k in (PREMULTIPLIED, STRAIGHT)]
        return self.colours + found[0] if found else None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the decoded samples: uint8, uint16, or a float."""
        bits = max(8, self.first(BITS, 1))
        return np.dtype(f"{'f' if self.depth == 'float' else 'u'}{bits // 8}")

    @property
    def compression(self) -> str:
        """What a similar file is written with: "none", or "deflate" for any other."""
        return "none" if self.first(COMPRESSION, NONE) == NONE else "deflate"

    def bytes_of(self, tag: int) -> bytes | None:
        """The bytes of a tag, or None."""
        found = self.directory.tags.get(tag)
        return found.data if found else None

    def dpi(self) -> tuple[float, float] | None:
        """Dots per inch, across and down, where the file gives them in a unit of length."""
        unit = {2: 1.0, 3: 2.54}.get(self.first(UNIT, 2))
        x, y = (self.bytes_of(t) or b"" for t in (X_DPI, Y_DPI))
        if unit is None or len(x) != 8 or len(y) != 8:
            return None
        (a, b), (c, d) = (struct.unpack(self.layout.order + "II", v) for v in (x, y))
        if not (a and b and c and d):
            return None
        across, down = a / b * unit, c / d * unit
        return (across, down) if max(across, down) < LARGEST_DPI else None


def read_header(data: bytes, name: str) -> Header:
    """The first page's header; ReadError for files that are no single whole picture of ours."""
    try:
        layout, offset = header(data)
        directory = parse_directory(data, offset, layout)
        pages = count_directories(data, offset, layout, THUMBNAIL | MASK)
        texts = _descriptions(data, offset, layout)
    except (ValueError, struct.error) as error:
        raise ReadError(f"{name} is damaged or truncated: {error}") from error
    if directory.lost:
        raise ReadError(f"{name} is truncated: parts of its header lie beyond its end")
    if texts:  # of several the directory has the last
        directory.tags[DESCRIPTION] = Tag(ASCII, texts[0] or b"\0")
    return Header(layout, directory, pages, texts)


def _descriptions(data: bytes, offset: int, layout: Layout) -> tuple[bytes, ...]:
    """The different descriptions of a directory that `parse_directory` has read, in their order.

    Behind a description tifffile writes a second one, of the shape of its array. That says only
    how the pixels are stored, and counts where it is the only one.
    """
    first, width = offset + struct.calcsize(layout.count), struct.calcsize(layout.entry)
    (count,) = struct.unpack_from(layout.count, data, offset)
    texts = []
    for at in range(first, first + count * width, width):
        tag, kind, size, inline = struct.unpack_from(layout.entry, data, at)
        if tag == DESCRIPTION and kind == ASCII:
            (start,) = struct.unpack(layout.offset, inline)
            texts.append(inline[:size] if size <= len(inline) else data[start : start + size])
    others = dict.fromkeys(text for text in texts if text.strip(b"\0") and not _is_shape(text))
    return tuple(others or texts[:1])


def _is_shape(text: bytes) -> bool:
    """Whether a description is tifffile's, of nothing but the shape of an array."""
    if not text.startswith(b'{"shape":'):
        return False
    try:
        return list(json.loads(text.rstrip(b"\0"))) == ["shape"]
    except (ValueError, RecursionError):
        return False


def is_raw(data: bytes, page: Header) -> bool:
    """Whether a file is a camera's: its first page is a preview, or says how to develop another."""
    return (
        data[8:10] == b"CR" or bool(page.first(SUBFILE) & 1) or DNG_VERSION in page.directory.tags
    )


def check(page: Header, length: int, name: str) -> None:
    """ReadError for a kind of TIFF that cannot be read without loss, and for a truncated file.

    length: bytes of the file
    """
    bits = set(page.directory.integers(BITS, page.layout)) or {1}
    kind, photometric = page.first(FORMAT, 1), page.first(PHOTOMETRIC, BLACK_IS_ZERO)
    allowed = {1: ({1}, {2}, {4}, {8}, {16}), 3: ({16}, {32}, {64})}.get(kind, ())
    deep = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
    if bits not in allowed or photometric not in (deep if page.deep else COLOURS):
        raise ReadError(
            f"{name} stores {SPACES.get(photometric, 'an unknown colour space')} in "
            f"{_samples_in_words(kind, max(bits))}, which is not read; "
            "save it as grey or RGB, of 8 or 16 bits or of floats in [0, 1]"
        )
    beyond = page.first(SAMPLES, 1) - page.colours
    if beyond < 0 or page.first(DEPTH_IN_SPACE, 1) != 1:
        raise ReadError(f"{name} is damaged: its header lists too few samples for its colours")
    if beyond > MOST_EXTRA or (beyond > 1 and EXTRA not in page.directory.tags):
        raise ReadError(
            f"{name} has {page.first(SAMPLES, 1)} samples to a pixel, of which nothing says what "
            "they are; save the ones to restore as grey or RGB"
        )
    packings = () if page.deep else PACKINGS_OF_PILLOW
    if _only_pillow_decodes(page) and page.first(COMPRESSION, NONE) not in packings:
        raise ReadError(
            f"{name} is packed in a way that is not read: {page.first(COMPRESSION, NONE)}; "
            "save it without compression, or with deflate"
        )
    _check_parts(page, length, name)


def _samples_in_words(kind: int, bits: int) -> str:
    """Samples of a SampleFormat, such as "signed integers of 32 bits"."""
    kinds = {1: "unsigned integers", 2: "signed integers", 3: "floats", 6: "complex numbers"}
    return f"{kinds.get(kind, 'samples of an unknown kind')} of {bits} bits"


def _check_parts(page: Header, length: int, name: str) -> None:
    height, width = page.size
    parts = _Parts.of(page)
    planes = page.first(SAMPLES, 1) if page.first(PLANAR, 1) == 2 else 1
    expected = parts.across * ceil(height / parts.rows) * planes if height and width else 0
    if not expected or len(parts.offsets) < expected:
        raise ReadError(f"{name} is damaged: its header lists too few parts of the picture")
    if any(at + size > length for at, size in zip(parts.offsets, parts.sizes, strict=False)):
        raise ReadError(f"{name} is truncated: parts of the picture lie beyond its end")
    if max(parts.offsets) >= length or (parts.sizes and len(parts.sizes) < len(parts.offsets)):
        raise ReadError(f"{name} is damaged: its header lists parts of the picture beyond its end")


@dataclass(frozen=True)
class _Parts:
    """The strips or tiles of a page: how large they are, and where they lie in the file.

    rows, columns: of one part (a strip has all columns); across: parts beside each other
    """

    rows: int
    columns: int
    across: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, page: Header) -> _Parts:
        """The parts as the header lists them."""
        height, width = page.size
        tiled = TILES in page.directory.tags
        numbers = (TILES, TILE_BYTES) if tiled else (STRIPS, STRIP_BYTES)
        offsets, sizes = (page.directory.integers(n, page.layout) for n in numbers)
        if not tiled:
            rows = min(page.first(ROWS, height) or height, height)
            return cls(max(rows, 1), width, 1, offsets, sizes)
        rows, columns = page.first(TILE_HEIGHT), page.first(TILE_WIDTH)
        if not rows or not columns:
            return cls(1, 1, 0, (), ())
        return cls(rows, columns, ceil(width / columns), offsets, sizes)


class PageReader:
    """The samples of a page as rows `(rows, width, channels)`: grey or RGB, alpha last.

    Palettes, CMYK and CIELAB become RGB; white-is-zero is inverted, premultiplied alpha divided
    out; samples of less than 8 bits fill the 8 bits.
    """

    def __init__(self, file: Path | IO[bytes], page: Header, name: str) -> None:
        """Open a page that `check` has passed. Raises ReadError where tifffile cannot decode it."""
        import tifffile

        self.page, self.name = page, name
        self._parts = _Parts.of(page)
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
    if _only_pillow_decodes(page):
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


def _only_pillow_decodes(page: Header) -> bool:
    """Whether tifffile does not know the kind: YCbCr outside JPEG, and a few old packings."""
    from tifffile import TIFF

    packing = page.first(COMPRESSION, NONE)
    ycbcr = page.first(PHOTOMETRIC, BLACK_IS_ZERO) == YCBCR
    unknown = packing not in PACKINGS or packing not in TIFF.DECOMPRESSORS
    return unknown or (ycbcr and packing not in (JPEG, JPEG_OF_12_BITS))


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
        rows = min(_Parts.of(page).rows, page.size[0])
        stored = rows * page.size[1] * page.first(SAMPLES, 1) * page.dtype.itemsize
        wrong = {
            f"holds {page.pages} pages": page.pages != 1,
            "is stored turned": page.orientation != 1,
            "is packed in an old way": _only_pillow_decodes(page),
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
