"""The header of a TIFF file: read, and checked against the file.

So nothing is decoded, or allocated, that the file cannot hold. Sources: TIFF 6.0, BigTIFF.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.TiffImagePlugin import COMPRESSION_INFO as PACKINGS_OF_PILLOW

from restore.errors import ReadError
from restore.image import xmp as xmp_module
from restore.image.calibration import DESCRIPTION
from restore.image.exif import (
    ASCII,
    ORIENTATION,
    Directory,
    Layout,
    Tag,
    count_directories,
    header,
    parse_directory,
)
from restore.image.picture import Depth

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
    if only_pillow_decodes(page) and page.first(COMPRESSION, NONE) not in packings:
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
    parts = Parts.of(page)
    planes = page.first(SAMPLES, 1) if page.first(PLANAR, 1) == 2 else 1
    expected = parts.across * ceil(height / parts.rows) * planes if height and width else 0
    if not expected or len(parts.offsets) < expected:
        raise ReadError(f"{name} is damaged: its header lists too few parts of the picture")
    if any(at + size > length for at, size in zip(parts.offsets, parts.sizes, strict=False)):
        raise ReadError(f"{name} is truncated: parts of the picture lie beyond its end")
    if max(parts.offsets) >= length or (parts.sizes and len(parts.sizes) < len(parts.offsets)):
        raise ReadError(f"{name} is damaged: its header lists parts of the picture beyond its end")


@dataclass(frozen=True)
class Parts:
    """The strips or tiles of a page: how large they are, and where they lie in the file.

    rows, columns: of one part (a strip has all columns); across: parts beside each other
    """

    rows: int
    columns: int
    across: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, page: Header) -> Parts:
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


def only_pillow_decodes(page: Header) -> bool:
    """Whether tifffile does not know the kind: YCbCr outside JPEG, and a few old packings."""
    from tifffile import TIFF

    packing = page.first(COMPRESSION, NONE)
    ycbcr = page.first(PHOTOMETRIC, BLACK_IS_ZERO) == YCBCR
    unknown = packing not in PACKINGS or packing not in TIFF.DECOMPRESSORS
    return unknown or (ycbcr and packing not in (JPEG, JPEG_OF_12_BITS))
