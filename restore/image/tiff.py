"""TIFF files: what their header says, samples of 16 bits and floats, and files written anew.

Pillow decodes colour TIFFs of 16 bits as 8, and floats not at all. But it unpacks any compression
that libtiff knows when it is told that the samples are bytes: so deep samples are read as a grey
picture of bytes, several to a sample, and put together here. Source: TIFF 6.0, and BigTIFF.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from restore.errors import ReadError
from restore.image.exif import (
    LONG,
    LONG8,
    ORIENTATION,
    RATIONAL,
    SHORT,
    SIZES,
    STRUCTURE,
    UNDEFINED,
    Directory,
    Layout,
    Tag,
    build_directory,
    descriptive,
    file_header,
    header,
    integers_tag,
    parse_directory,
    parse_exif,
)
from restore.image.picture import Depth

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIPS, SAMPLES, ROWS, STRIP_BYTES, X_DPI, Y_DPI, PLANAR = 273, 277, 278, 279, 282, 283, 284
UNIT, PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 296, 317, 322, 323, 324, 325
EXTRA, FORMAT, XMP, ICC, DNG_VERSION = 338, 339, 700, 34675, 50706

NONE, DEFLATE, OLD_DEFLATE = 1, 8, 32946
COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3, 8: 3}  # samples by photometric interpretation
STRIP = 1 << 20  # bytes of pixels to a strip, before compression
CLASSIC_LIMIT = 4_000_000_000  # offsets of classic TIFF have 32 bits
MOST_PAGES = 10_000


@dataclass(frozen=True)
class Header:
    """The first page of a TIFF file, with the defaults of the specification filled in."""

    layout: Layout
    directory: Directory
    pages: int

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
    def compression(self) -> str:
        """What its writer can repeat: "none", or "deflate" for any other."""
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
        return (a / b * unit, c / d * unit) if a and b and c and d else None


def read_header(data: bytes, name: str) -> Header:
    """The first page's header; ReadError for files that are no single whole picture of ours."""
    try:
        layout, offset = header(data)
        directory = parse_directory(data, offset, layout)
        found = Header(layout, directory, _count_pages(data, offset, layout))
    except (ValueError, struct.error) as error:
        raise ReadError(f"{name} is damaged or truncated: {error}") from error
    if directory.lost:
        raise ReadError(f"{name} is truncated: parts of its header lie beyond its end")
    return found


def is_raw(data: bytes, page: Header) -> bool:
    """Whether a file is a camera's: its first page is a preview, or says how to develop another."""
    return (
        data[8:10] == b"CR" or bool(page.first(SUBFILE) & 1) or DNG_VERSION in page.directory.tags
    )


def _count_pages(data: bytes, offset: int, layout: Layout) -> int:
    """Pages that are pictures of their own: neither thumbnails nor masks."""
    seen: set[int] = set()
    pages = 0
    while offset and offset not in seen and len(seen) < MOST_PAGES:
        seen.add(offset)
        directory = parse_directory(data, offset, layout, depth=2)
        kind = directory.integers(SUBFILE, layout)
        pages += not (kind and kind[0] & 0b101)
        offset = directory.next
    return pages


def check(page: Header, length: int, name: str) -> None:
    """ReadError for a kind of TIFF that cannot be read without loss, and for a truncated file."""
    height, width = page.size
    bits = set(page.directory.integers(BITS, page.layout)) or {1}
    kind, photometric = page.first(FORMAT, 1), page.first(PHOTOMETRIC, 1)
    allowed = {1: ({1}, {2}, {4}, {8}, {16}), 3: ({16}, {32}, {64})}.get(kind, ())
    if bits not in allowed or (page.deep and photometric not in (0, 1, 2)):
        words = {1: "unsigned", 2: "signed", 3: "float"}.get(kind, "unknown")
        raise ReadError(
            f"{name} stores {words} samples of {max(bits)} bits in a colour space of kind "
            f"{photometric}; save it as grey or RGB of 8 or 16 bits, or as float"
        )
    extra = page.directory.integers(EXTRA, page.layout)
    beyond = page.first(SAMPLES, 1) - COLOURS.get(photometric, 1)
    if beyond > 1 or (beyond == 1 and extra[:1] == (0,)):
        raise ReadError(f"{name} holds extra channels that are not transparency; remove them first")
    _check_segments(page, height, width, length, name)


def _check_segments(page: Header, height: int, width: int, length: int, name: str) -> None:
    tiled = TILES in page.directory.tags
    offsets = page.directory.integers(TILES if tiled else STRIPS, page.layout)
    sizes = page.directory.integers(TILE_BYTES if tiled else STRIP_BYTES, page.layout)
    planes = page.first(SAMPLES, 1) if page.first(PLANAR, 1) == 2 else 1
    if tiled:
        across, down = page.first(TILE_WIDTH), page.first(TILE_HEIGHT)
        expected = ceil(width / across) * ceil(height / down) if across and down else 0
    else:
        expected = ceil(height / min(page.first(ROWS, height) or height, height)) if height else 0
    if not expected or len(offsets) < expected * planes:
        raise ReadError(f"{name} is damaged: its header lists too few parts of the picture")
    if any(at + size > length for at, size in zip(offsets, sizes, strict=False)):
        raise ReadError(f"{name} is truncated: parts of the picture lie beyond its end")
    if max(offsets) >= length or (sizes and len(sizes) < len(offsets)):
        raise ReadError(f"{name} is damaged: its header lists parts of the picture beyond its end")


def decode_plain(data: bytes, page: Header) -> Image.Image:
    """A page as Pillow decodes it, shown only the tags that matter: neither rotation nor EXIF.

    Some versions of Pillow turn TIFFs upright themselves, and warn of damaged EXIF. Raises whatever
    Pillow raises for damaged pixels.
    """
    hidden = (ORIENTATION, SUBFILE, XMP)
    wanted = {n: t for n, t in page.directory.tags.items() if n in STRUCTURE and n not in hidden}
    # Samples of up to 8 bits have no byte order, and Pillow fails on BigTIFFs of one of the two.
    order = page.layout.order
    tags = {n: t if order == "<" else Tag(t.type, _swapped(t)) for n, t in wanted.items()}
    return _decode(_with_directory(data, Directory(tags), Layout("<", page.layout.big)))


def _swapped(tag: Tag) -> bytes:
    width = 4 if tag.type in (RATIONAL, 10) else SIZES[tag.type]
    return np.frombuffer(tag.data, np.uint8).reshape(-1, width)[:, ::-1].tobytes()


def _decode(data: bytes) -> Image.Image:
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(data), "")
    # Pillow checks its own limit, a global of the host's, only where it makes this memory itself.
    image.im = Image.new(image.mode, image.size, None).im
    image.load()
    return image


def decode_deep(data: bytes, page: Header) -> npt.NDArray[Any]:
    """Samples of 16 bits or floats, `(height, width, channels)`, alpha last, not premultiplied.

    Raises whatever Pillow raises for damaged pixels.
    """
    channels = page.first(SAMPLES, 1)
    if page.first(PLANAR, 1) == 2:
        planes = [_decode_plane(data, page, k, 1) for k in range(channels)]
        samples = np.concatenate(planes, axis=2)
    else:
        samples = _decode_plane(data, page, 0, channels)
    if page.first(PHOTOMETRIC, 1) == 0:  # white is zero
        samples[:, :, 0] = (1 if page.depth == "float" else 65535) - samples[:, :, 0]
    extra = page.directory.integers(EXTRA, page.layout)
    return _not_premultiplied(samples) if extra[:1] == (1,) else samples


def _not_premultiplied(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    top = 65535.0 if samples.dtype == np.uint16 else 1.0
    alpha = samples[:, :, -1:].astype(np.float64) / top
    colour = samples[:, :, :-1] / np.where(alpha > 0, alpha, 1.0)
    if top > 1:
        colour = np.rint(np.clip(colour, 0, top))
    whole: npt.NDArray[Any] = np.concatenate([colour.astype(samples.dtype), samples[:, :, -1:]], 2)
    return whole


def _decode_plane(data: bytes, page: Header, plane: int, channels: int) -> npt.NDArray[Any]:
    """One plane's samples: bytes unpacked by Pillow, then the predictor undone."""
    height, width = page.size
    bits = page.first(BITS)
    wide = channels * bits // 8  # bytes to a pixel
    tiled = TILES in page.directory.tags
    column = page.first(TILE_WIDTH) if tiled else width
    tags, layout = {}, Layout("<", page.layout.big)  # bytes have no order
    numbers = {WIDTH: width * wide, HEIGHT: height, BITS: 8, SAMPLES: 1, PHOTOMETRIC: 1}
    numbers |= {COMPRESSION: page.first(COMPRESSION, NONE)}
    numbers |= {TILE_WIDTH: column * wide, TILE_HEIGHT: page.first(TILE_HEIGHT)} if tiled else {}
    numbers |= {} if tiled else {ROWS: min(page.first(ROWS, height) or height, height)}
    for number, value in numbers.items():
        tags[number] = integers_tag(LONG, [value], layout)
    for number in (TILES, TILE_BYTES) if tiled else (STRIPS, STRIP_BYTES):
        values = page.directory.integers(number, page.layout)
        count = len(values) // (page.first(SAMPLES, 1) if page.first(PLANAR, 1) == 2 else 1)
        part = values[plane * count : (plane + 1) * count]
        tags[number] = integers_tag(LONG8 if layout.big else LONG, part, layout)
    told = _with_directory(data, Directory(tags), layout)
    unpacked = np.asarray(_decode(told))
    kind = np.dtype(f"{page.layout.order}{'f' if page.depth == 'float' else 'u'}{bits // 8}")
    parts = [
        _unpredicted(unpacked[:, x * wide : (x + column) * wide], page, channels, kind)
        for x in range(0, width, column)
    ]
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _with_directory(data: bytes, directory: Directory, layout: Layout) -> bytes:
    """The file with another first directory, put behind its end."""
    at = len(data) + len(data) % 2
    head = file_header(layout, at)
    body = head + data[len(head) :]
    return body.ljust(at, b"\0") + build_directory(directory, at, layout)


def _unpredicted(
    unpacked: npt.NDArray[np.uint8], page: Header, channels: int, kind: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Bytes of a strip or a column of tiles as native samples, with differences summed up."""
    height, native = len(unpacked), kind.newbyteorder("=")
    predictor = page.first(PREDICTOR, 1) if page.first(COMPRESSION, NONE) != NONE else 1
    if predictor == 3:  # Adobe: bytes by significance, each the difference to the channel's last
        rows = unpacked.reshape(height, -1, channels)
        summed = np.add.accumulate(rows, axis=1, dtype=np.uint8).reshape(height, kind.itemsize, -1)
        big = np.ascontiguousarray(summed.transpose(0, 2, 1)).view(kind.newbyteorder(">"))
        return np.asarray(big.reshape(height, -1, channels).astype(native))
    samples = np.ascontiguousarray(unpacked).view(kind).reshape(height, -1, channels)
    if predictor == 2:
        whole = samples.view(kind.str.replace("f", "u")).astype(f"u{kind.itemsize}")
        return np.add.accumulate(whole, axis=1, dtype=whole.dtype).view(native)
    return samples.astype(native)


def encode(
    samples: npt.NDArray[Any],
    *,
    alpha: bool,
    compression: str = "deflate",
    icc: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    big: bool | None = None,
) -> bytes:
    """A TIFF file of `(height, width, 1..4)` samples, uint8, uint16 or float32, with its metadata.

    The file takes the byte order of the EXIF block, so that its tags go in byte for byte. It is a
    BigTIFF where classic offsets of 32 bits would not reach, or where `big` asks for it.
    """
    layout, said = parse_exif(exif)
    wide = samples.nbytes + sum(len(b or b"") for b in (icc, exif, xmp)) > CLASSIC_LIMIT
    layout = Layout(layout.order, big=wide if big is None else big)
    height = len(samples)
    rows = min(height, max(1, STRIP // (samples.nbytes // height)))
    strips = [
        pack_rows(samples[top : top + rows], layout, compression) for top in range(0, height, rows)
    ]
    directory = descriptive(said)
    directory.tags |= pixel_tags(samples, alpha, compression, rows, layout)
    for tag, kind, block in ((ICC, UNDEFINED, icc), (XMP, 1, xmp)):
        directory.tags |= {tag: Tag(kind, block)} if block else {}
    directory.tags |= resolution_tags(dpi, said, layout)
    lengths = [len(s) for s in strips]
    offset = LONG8 if layout.big else LONG
    directory.tags[STRIP_BYTES] = integers_tag(offset, lengths, layout)
    directory.tags[STRIPS] = integers_tag(offset, [0] * len(strips), layout)
    start = 16 if layout.big else 8
    # Its length does not depend on the offsets, so the pixels' place is known after a first build.
    at = start + len(build_directory(directory, start, layout))
    places = at + np.cumsum([0, *lengths[:-1]], dtype=np.int64)
    directory.tags[STRIPS] = integers_tag(offset, places.tolist(), layout)
    return b"".join(
        [file_header(layout, start), build_directory(directory, start, layout), *strips]
    )


def pixel_tags(
    samples: npt.NDArray[Any], alpha: bool, compression: str, rows: int, layout: Layout
) -> dict[int, Tag]:
    """How samples of this shape and type are stored in strips of `rows` rows."""
    height, width, channels = samples.shape
    whole = samples.dtype.kind == "u"
    numbers: dict[int, list[int]] = {
        WIDTH: [width],
        HEIGHT: [height],
        BITS: [samples.itemsize * 8] * channels,
        COMPRESSION: [NONE if compression == "none" else DEFLATE],
        PHOTOMETRIC: [2 if channels - alpha == 3 else 1],
        SAMPLES: [channels],
        ROWS: [rows],
        PLANAR: [1],
        FORMAT: [1 if whole else 3] * channels,
    }
    if compression != "none" and whole:
        numbers[PREDICTOR] = [2]
    if alpha:
        numbers[EXTRA] = [2]  # not premultiplied
    wide = (WIDTH, HEIGHT, ROWS)
    return {t: integers_tag(LONG if t in wide else SHORT, v, layout) for t, v in numbers.items()}


def resolution_tags(
    dpi: tuple[float, float] | None, said: Directory, layout: Layout
) -> dict[int, Tag]:
    """Resolution as the EXIF block has it, else as dots per inch, else none."""
    if dpi is None:
        return {t: said.tags[t] for t in (X_DPI, Y_DPI, UNIT) if t in said.tags}
    tags = {UNIT: integers_tag(SHORT, [2], layout)}
    for tag, value in zip((X_DPI, Y_DPI), dpi, strict=True):
        scale = 1 if float(value).is_integer() else 10_000
        ratio = struct.pack(layout.order + "II", round(value * scale), scale)
        tags[tag] = Tag(RATIONAL, ratio)
    return tags


def pack_rows(rows: npt.NDArray[Any], layout: Layout, compression: str) -> bytes:
    """A strip as it lies in a file: differences between neighbours, deflated, or plainly."""
    stored = rows.astype(np.dtype(f"{layout.order}{rows.dtype.str[1:]}"))
    if compression == "none":
        return stored.tobytes()
    if rows.dtype.kind == "u":  # predictor 2: differences to the pixel on the left, modulo 2^bits
        differences = rows.copy()
        differences[:, 1:] = rows[:, 1:] - rows[:, :-1]
        stored = differences.astype(stored.dtype)
    return zlib.compress(stored.tobytes(), 6)
