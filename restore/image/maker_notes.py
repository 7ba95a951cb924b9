"""Maker notes that move: the offsets in them are counted from the start of the file they are in.

A maker note is a directory in a form of its maker's own. Some count from the note itself and may
move freely; most count from the TIFF header, and after a move each value is looked for where it
was. Source: ExifTool, MakerNotes.pm and FixBase.pl, which tell the kinds apart in the same way.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

# Bytes of a value of each type of TIFF 6.0.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
# What stands before the directory, and how many bytes that are. Others begin with it at once
# (Canon, Minolta, an old form of Nikon's), or count from themselves (Fujifilm, Apple, Olympus).
NAMES = {
    b"AGFA \0": 8, b"AOC\0": 6, b"CAMER\0": 8, b"EPSON\0": 8, b"FOVEON\0": 10, b"KYOCERA": 22,
    b"LEICA\0\0\0": 8, b"MINOL\0": 8, b"Nikon\0\1": 8, b"OLYMP\0": 8, b"PREMI\0": 8,
    b"Panasonic\0": 12, b"QVC\0": 6, b"RICOH\0": 8, b"Ricoh\0": 8, b"SANYO\0": 8, b"SIGMA\0": 10,
    b"SONY CAM \0": 12, b"SONY DSC \0": 12, b"SONY MOBILE\0": 12, b"VHAB     \0": 12,
}  # fmt: skip
OWN_HEADERS = (b"II*\0", b"MM\0*")  # a note with one counts from that
MOST_ENTRIES = 1000
LARGEST_OFFSET = 2**32 - 1


class _Value(NamedTuple):
    """A value outside the directory: where its offset stands, the offset, and its length."""

    at: int
    offset: int
    size: int


def moved(note: bytes, before: int, after: int) -> bytes:
    """The note with its offsets changed for another place in a file.

    before, after: where the note began, and where it begins, counted from the TIFF header. A note
    that counts from itself, or that is not understood, stays as it is.
    """
    footer = note[-8:-4] in OWN_HEADERS  # Canon's: the place that the offsets are true for
    if footer:
        order = "<" if note[-8:-6] == b"II" else ">"
        (before,) = struct.unpack(f"{order}I", note[-4:])
    elif any(header in note[:32] for header in OWN_HEADERS):
        return note
    if before == after or after + len(note) > LARGEST_OFFSET:
        return note
    start = next((size for name, size in NAMES.items() if note.startswith(name)), 0)
    for order in "<>":
        values = _values(note, start, order)
        if values is not None:
            changed = _rebased(note, values, start, order, before, after)
            if footer and changed != note:
                changed = changed[:-4] + struct.pack(f"{order}I", after)
            return changed
    return note


def _values(note: bytes, start: int, order: str) -> list[_Value] | None:
    """The values outside a directory at `start`; None where there is no directory."""
    if start + 2 > len(note):
        return None
    (count,) = struct.unpack_from(f"{order}H", note, start)
    if not 1 <= count <= MOST_ENTRIES or start + 2 + 12 * count > len(note):
        return None
    found, last = [], -1
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, number, offset = struct.unpack_from(f"{order}HHII", note, at)
        if kind not in SIZES or tag < last:
            return None
        last = tag
        size = SIZES[kind] * number
        if size > 4:
            found.append(_Value(at + 8, offset, size))
    return found


def _rebased(
    note: bytes, values: list[_Value], start: int, order: str, before: int, after: int
) -> bytes:
    inside = [v for v in values if before <= v.offset and v.offset + v.size <= before + len(note)]
    if not inside:
        return note
    (count,) = struct.unpack_from(f"{order}H", note, start)
    directory_end = start + 2 + 12 * count
    first = min(value.offset for value in values)
    # The first value follows the directory: counted from the note, or from the TIFF header.
    if abs(first - directory_end) < abs(first - before - directory_end):
        return note
    changed = bytearray(note)
    for value in inside:
        struct.pack_into(f"{order}I", changed, value.at, value.offset - before + after)
    return bytes(changed)
