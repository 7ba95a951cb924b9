"""The extensions of a GIF file that hold its colour profile and its XMP.

Sources: GIF89a; ICC.1 (GIF, "ICCRGBG1012"); XMP specification part 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

EXTENSION, IMAGE, APPLICATION = 0x21, 0x2C, 0xFF
PROFILE, XMP = b"ICCRGBG1012", b"XMP DataXMP"
XMP_TRAILER = 258  # bytes behind the packet that lead readers of blocks to its end


class Metadata(NamedTuple):
    """The metadata of a file, each None where it is missing."""

    icc: bytes | None
    xmp: bytes | None


def read_metadata(data: bytes) -> Metadata:
    """The profile and the packet before the first picture; nothing of a damaged file."""
    icc = xmp = None
    for name, begin, end in _applications(data):
        if name == PROFILE:
            icc = icc or b"".join(data[at + 1 : at + 1 + data[at]] for at in _blocks(data, begin))
        elif name == XMP:
            xmp = xmp or data[begin : end - XMP_TRAILER]
    return Metadata(icc or None, xmp or None)


def _applications(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The name of each application extension, and where what it holds begins and ends."""
    at = 13
    if len(data) > at and data[10] & 0x80:  # a palette
        at += 3 << ((data[10] & 7) + 1)
    while at + 2 < len(data) and data[at] == EXTENSION:
        kind, at = data[at + 1], at + 2
        name = data[at + 1 : at + 1 + data[at]]
        begin = end = at + 1 + data[at] if kind == APPLICATION else at
        for block in _blocks(data, begin):
            end = block + 1 + data[block]
        if end >= len(data):
            return
        if kind == APPLICATION:
            yield name, begin, end + 1
        at = end + 1


def _blocks(data: bytes, at: int) -> Iterator[int]:
    """Where each block begins that has a length before it, up to the empty one."""
    while at < len(data) and data[at]:
        yield at
        at += 1 + data[at]
