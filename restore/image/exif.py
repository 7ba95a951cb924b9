"""Directories of tags, as in EXIF blocks and TIFF files: parsed, built, patched in place.

Tags are copied byte for byte: a value that need not be decoded is not, so nothing is lost. An EXIF
block here starts at its TIFF header ("II*" or "MM"), without the "Exif" prefix of JPEG files.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from restore.image import maker_notes

ORIENTATION = 0x0112
WIDTHS, HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)  # of the first directory, of the EXIF one
EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
SUBFILE, MAKER_NOTE = 254, 0x927C
FARTHEST_NOTE = 60_000  # where a maker note may end, so that the block still fits into a JPEG
MOST_DIRECTORIES, MOST_TAGS = 1000, 200_000

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
# Bytes of a value of each type, of TIFF 6.0 and of BigTIFF.
SIZES = maker_notes.SIZES | {LONG8: 8, 17: 8, 18: 8}
CODES = {BYTE: "B", SHORT: "H", LONG: "I", 9: "I", 13: "I", LONG8: "Q", 18: "Q"}

# Tags that say how one file stores its pixels, or that have a field of their own in `Picture`.
STRUCTURE = {
    *range(254, 260), *range(262, 267), 273, ORIENTATION, *range(277, 282), 282, 283, 284,
    *range(288, 294), 296, 301, 317, *range(320, 326), 330, *range(332, 348), *range(512, 522),
    *range(529, 533), 700, 34377, 34675, 37724,
}  # fmt: skip
# Tags of a raw file that say how its own samples are to be developed (DNG 1.7, TIFF/EP). With them
# a TIFF of developed pixels would be taken for a raw file.
# Models, serial number, lens and the raw file's name describe the picture.
DEVELOPING = {33421, 33422, 37398, *range(50_706, 51_200), *range(52_525, 52_600)}
DEVELOPING -= {50_708, 50_709, 50_735, 50_736, 50_827}


@dataclass(frozen=True)
class Layout:
    """How a TIFF structure is laid out: struct's sign of its byte order, and whether BigTIFF."""

    order: str
    big: bool = False

    @property
    def count(self) -> str:
        """The struct code of the number of entries."""
        return self.order + ("Q" if self.big else "H")

    @property
    def entry(self) -> str:
        """The struct code of an entry: tag, type, count, value."""
        return self.order + ("HHQ8s" if self.big else "HHI4s")

    @property
    def offset(self) -> str:
        """The struct code of an offset."""
        return self.order + ("Q" if self.big else "I")


@dataclass(frozen=True)
class Tag:
    """One tag: its TIFF type, and its values as the file's bytes."""

    type: int
    data: bytes
    place: int = field(default=0, compare=False)  # of a maker note, from the TIFF header; 0: none


@dataclass
class Directory:
    """Tags by number, the directories that some point to (`below`), and the next one's offset.

    `lost` are tags whose values lie beyond the end of the data.
    """

    tags: dict[int, Tag] = field(default_factory=dict)
    below: dict[int, Directory] = field(default_factory=dict)
    next: int = 0
    lost: set[int] = field(default_factory=set)

    def integers(self, number: int, layout: Layout) -> tuple[int, ...]:
        """The values of an integer tag; nothing where it is missing or of another type."""
        tag = self.tags.get(number)
        code = CODES.get(tag.type) if tag else None
        if tag is None or code is None:
            return ()
        return struct.unpack(f"{layout.order}{len(tag.data) // SIZES[tag.type]}{code}", tag.data)


def header(data: bytes) -> tuple[Layout, int]:
    """Layout and offset of the first directory; ValueError where no TIFF structure begins."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    version = struct.unpack(f"{order}H", data[2:4])[0] if order and len(data) >= 8 else 0
    if order and version == 42:
        return Layout(order), struct.unpack(f"{order}I", data[4:8])[0]
    if order and version == 43 and len(data) >= 16:
        return Layout(order, big=True), struct.unpack(f"{order}Q", data[8:16])[0]
    raise ValueError("no TIFF header")


def file_header(layout: Layout, offset: int) -> bytes:
    """The 8 bytes (BigTIFF: 16) before everything else, with the first directory's offset."""
    mark = b"II" if layout.order == "<" else b"MM"
    version = [43, 8, 0] if layout.big else [42]
    return (
        mark
        + struct.pack(f"{layout.order}{len(version)}H", *version)
        + struct.pack(layout.offset, offset)
    )


def parse_directory(data: bytes, offset: int, layout: Layout, depth: int = 0) -> Directory:
    """The directory at `offset` with those below it; ValueError where it lies beyond the end.

    Damaged ones below it are left out.
    """
    directory, total = Directory(), 0
    for tag, kind, values, at in _entries(data, offset, layout):
        if values is None:
            directory.lost.add(tag)
            continue
        total += len(values)
        if total > len(data):  # healthy values do not share their bytes
            raise ValueError("tags claim more bytes than the file has")
        place = _place(data, at, layout) if tag == MAKER_NOTE else 0
        directory.tags[tag] = Tag(kind, values or b"\0", place)
        if tag in (EXIF, GPS, INTEROPERABILITY) and depth < 2:
            below = directory.integers(tag, layout)
            if below and 0 < below[0] < len(data):
                with contextlib.suppress(ValueError, struct.error):
                    directory.below[tag] = parse_directory(data, below[0], layout, depth + 1)
    end = _end(data, offset, layout)
    tail = data[end : end + struct.calcsize(layout.offset)]
    directory.next = struct.unpack(layout.offset, tail)[0] if tail else 0
    return directory


def count_directories(data: bytes, offset: int, layout: Layout, skip: int) -> int:
    """The directories of a chain whose first tag, if it is 254, has no bit of `skip` set.

    It ends at the 1,000th directory or the 200,000th tag. ValueError where one lies outside.
    """
    seen: set[int] = set()
    found = looked = 0
    while offset and offset not in seen and len(seen) < MOST_DIRECTORIES and looked < MOST_TAGS:
        seen.add(offset)
        end = _end(data, offset, layout)
        first = offset + struct.calcsize(layout.count)
        looked += (end - first) // struct.calcsize(layout.entry)
        tag, kind, _, inline = struct.unpack_from(layout.entry, data, first)
        code = CODES.get(kind, "")
        value = 0
        if tag == SUBFILE and code:
            (value,) = struct.unpack_from(layout.order + code, inline)
        found += not value & skip
        (offset,) = struct.unpack_from(layout.offset, data, end)
    return found


def _place(data: bytes, at: int, layout: Layout) -> int:
    """Where the value of the entry at `at` begins, when it is not in the entry itself."""
    room = struct.calcsize(layout.offset)
    end = at + struct.calcsize(layout.entry)
    return int(struct.unpack(layout.offset, data[end - room : end])[0])


def _end(data: bytes, offset: int, layout: Layout) -> int:
    head = struct.calcsize(layout.count)
    if not 0 < offset <= len(data) - head:
        raise ValueError("a directory of tags lies outside the file")
    (count,) = struct.unpack_from(layout.count, data, offset)
    end = offset + head + int(count) * struct.calcsize(layout.entry)
    if end > len(data):
        raise ValueError("a directory of tags reaches beyond the end of the file")
    return end


def _entries(
    data: bytes, offset: int, layout: Layout
) -> Iterable[tuple[int, int, bytes | None, int]]:
    """Tag, type, bytes of the values (None: beyond the end), and where the entry itself begins.

    Entries without a value are passed over, but for texts, which may be empty.
    """
    end, width = _end(data, offset, layout), struct.calcsize(layout.entry)
    for at in range(offset + struct.calcsize(layout.count), end, width):
        tag, kind, count, inline = struct.unpack_from(layout.entry, data, at)
        size = SIZES.get(kind, 0) * count
        if size > len(inline):
            (start,) = struct.unpack(layout.offset, inline)
            values = data[start : start + size]
        else:
            values = inline[:size]
        if size or kind == ASCII:
            yield tag, kind, (values if len(values) == size else None), at


def build_directory(directory: Directory, offset: int, layout: Layout, kept: int = 0) -> bytes:
    """The bytes of a directory to be placed at `offset`: entries, values, sub-directories.

    kept: bytes from the start of the file in which a maker note lies where it lay; any other moves
    """
    numbers = sorted({*directory.tags, *directory.below})
    width, inline = struct.calcsize(layout.entry), struct.calcsize(layout.offset)
    head = struct.calcsize(layout.count) + width * len(numbers) + inline
    entries, values = [struct.pack(layout.count, len(numbers))], bytearray()
    for number in numbers:
        at = offset + head + len(values)
        if number in directory.below:
            kind, count = (LONG8 if layout.big else LONG), 1
            data = struct.pack(layout.offset, at)
            values += build_directory(directory.below[number], at, layout, kept)
        else:
            tag = directory.tags[number]
            kind, count, data = tag.type, len(tag.data) // SIZES[tag.type], tag.data
            if tag.place and tag.place + len(data) <= kept:
                data = struct.pack(layout.offset, tag.place)
            elif len(data) > inline:
                values += maker_notes.moved(data, tag.place, at) if tag.place else data
                data = struct.pack(layout.offset, at)
        values += b"\0" * (len(values) % 2)  # the specification wants values on even offsets
        entries.append(struct.pack(layout.entry, number, kind, count, data))
    return b"".join(entries) + struct.pack(layout.offset, 0) + bytes(values)


def integers_tag(kind: int, values: Iterable[int], layout: Layout) -> Tag:
    """A tag of integers of the TIFF type `kind`."""
    numbers = list(values)
    return Tag(kind, struct.pack(f"{layout.order}{len(numbers)}{CODES[kind]}", *numbers))


def descriptive(directory: Directory) -> Directory:
    """The tags that describe the picture (camera, time, place), without those of its storage."""
    left_out = STRUCTURE | DEVELOPING | {EXIF, GPS, INTEROPERABILITY}
    kept = {n: t for n, t in directory.tags.items() if n not in left_out}
    below = {n: d for n, d in directory.below.items() if d.tags}
    return Directory(kept, {n: descriptive(d) if n == EXIF else d for n, d in below.items()})


def build_exif(directory: Directory, order: str) -> bytes | None:
    """An EXIF block of a directory's descriptive tags; None where there are none."""
    described = descriptive(directory)
    if not described.tags and not described.below:
        return None
    layout = Layout(order)
    start = _with_note_in_place(described)
    at = len(start)
    return file_header(layout, at) + start[8:] + build_directory(described, at, layout, kept=at)


def _with_note_in_place(directory: Directory) -> bytes:
    """The first bytes of a block: zeros, and the maker note where it lay, unless that is too far.

    What it holds counts from the start of the file, and not all of it is known to `maker_notes`.
    """
    below = directory.below.get(EXIF)
    note = below.tags.get(MAKER_NOTE) if below else None
    if note is None or not 8 <= note.place <= FARTHEST_NOTE - len(note.data):
        return bytes(8)
    start = bytes(note.place) + note.data
    return start + bytes(len(start) % 2)


def bytes_to_keep(block: bytes | None) -> bytes:
    """The first bytes of a file that shall hold a block's tags: all of it where a maker note is.

    The offsets in a note count from the start of the file, and may lead beyond the note.
    """
    below = parse_exif(block)[1].below.get(EXIF)
    note = below.tags.get(MAKER_NOTE) if below else None
    return block + bytes(len(block) % 2) if block and note and note.place else b""


def parse_exif(block: bytes | None) -> tuple[Layout, Directory]:
    """An EXIF block as tags; an empty directory where there is none, or a damaged one."""
    try:
        layout, offset = header(block or b"")
        return layout, parse_directory(block or b"", offset, layout)
    except (ValueError, struct.error):
        return Layout("<"), Directory()


def orientation(block: bytes | None) -> int | None:
    """EXIF orientation 1..8 of a block (or a TIFF file); None where it has none."""
    layout, directory = parse_exif(block)
    value = directory.integers(ORIENTATION, layout)
    if value:
        return value[0] if 1 <= value[0] <= 8 else 1
    return None


def without_rotation(block: bytes) -> bytes:
    """The block (or TIFF file) with its orientation set to 1 in place; no other tag moves.

    Rebuilding it would break the absolute offsets in maker notes. The thumbnail of an EXIF block is
    unlinked, because it is rotated as the pixels were.
    """
    if orientation(block) in (None, 1):
        return block
    layout, offset = header(block)
    patched = bytearray(block)
    for tag, kind, values, at in _entries(block, offset, layout):
        if tag == ORIENTATION and values and kind in CODES:
            place = at + struct.calcsize(layout.entry) - struct.calcsize(layout.offset)
            one = struct.pack(layout.order + CODES[kind], 1)
            patched[place : place + len(values)] = one.ljust(len(values), b"\0")
    if 0x0201 not in parse_directory(block, offset, layout).tags:
        end = _end(block, offset, layout)
        patched[end : end + struct.calcsize(layout.offset)] = bytes(struct.calcsize(layout.offset))
    return bytes(patched[: len(block)])


def without_thumbnail(block: bytes) -> bytes:
    """The block without its thumbnail, whose pixels are no longer the picture's; no tag moves.

    The second directory, which describes it, is unlinked; its pixels are cut off at the block's
    end or zeroed, unless a damaged block lets them overlap other tags.
    """
    try:
        layout, offset = header(block)
        directory = parse_directory(block, offset, layout)
        if not directory.next:
            return block
        width, end = struct.calcsize(layout.offset), _end(block, offset, layout)
        unlinked = block[:end] + bytes(width) + block[end + width :]
        small = parse_directory(block, directory.next, layout, depth=2)
    except (ValueError, struct.error):
        return block
    start, length = (small.integers(tag, layout)[:1] or (0,) for tag in (0x0201, 0x0202))
    begin, stop = start[0], start[0] + length[0]
    if not 8 <= begin < stop <= len(block):
        return unlinked
    blank = b"" if stop >= len(block) - 3 else bytes(stop - begin) + unlinked[stop:]
    wiped = unlinked[:begin] + blank
    return wiped if parse_exif(wiped)[1] == parse_exif(unlinked)[1] else unlinked


def with_size(block: bytes, height: int, width: int) -> bytes:
    """The block with its pixel dimensions, where it has them, changed in place; no tag moves."""
    try:
        layout, offset = header(block)
        directories = [offset, *parse_directory(block, offset, layout).integers(EXIF, layout)[:1]]
        entries = [(at, tag) for o in directories for tag, *_, at in _entries(block, o, layout)]
    except (ValueError, struct.error):
        return block
    patched = bytearray(block)
    for at, tag in entries:
        if tag in WIDTHS or tag in HEIGHTS:
            value = struct.pack(f"{layout.order}I", width if tag in WIDTHS else height)
            room = struct.calcsize(layout.offset)
            data = (LONG, 1, value.ljust(room, b"\0"))
            struct.pack_into(layout.entry, patched, at, tag, *data)
    return bytes(patched)


def with_values(block: bytes, values: Mapping[int, Tag]) -> bytes:
    """The block with other values of tags that its first directory has; no other tag moves.

    A value that needs more room goes behind the block's end.
    """
    try:
        layout, offset = header(block)
        entries = list(_entries(block, offset, layout))
    except (ValueError, struct.error):
        return block
    patched, room = bytearray(block), struct.calcsize(layout.offset)
    for number, kind, old, at in entries:
        new = values.get(number)
        if new is None or old is None:
            continue
        inline = at + struct.calcsize(layout.entry) - room
        place = inline if len(old) <= room else struct.unpack_from(layout.offset, block, inline)[0]
        if kind != new.type or len(new.data) != len(old):
            patched += b"\0" * (len(patched) % 2)
            place = inline if len(new.data) <= room else len(patched)
            where = struct.pack(layout.offset, place) if place != inline else bytes(room)
            count = len(new.data) // SIZES[new.type]
            struct.pack_into(layout.entry, patched, at, number, new.type, count, where)
        patched[place : place + len(new.data)] = new.data
    return bytes(patched)
