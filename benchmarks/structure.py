"""The parts that a picture file is made of, and files whose parts are damaged, dropped or moved.

Random bytes rarely come past a checksum or a length; here both stay right, so that what lies behind
them is reached: chunks of PNG and WebP, segments of JPEG, boxes of AVIF, HEIC, JPEG 2000 and JPEG
XL, entries of TIFF's directories, blocks of GIF.
"""

from __future__ import annotations

import random
import struct
import zlib

Span = tuple[int, int]  # where a part begins and ends
NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**32 - 1)
CONTAINERS = (b"meta", b"iprp", b"ipco", b"jp2h", b"moov")
PNG, WEBP, JPEG, GIF = b"\x89PNG", b"RIFF", b"\xff\xd8", b"GIF8"


def parts(data: bytes) -> list[Span]:
    """The parts of a file; nothing where it is of another kind, or too damaged to tell."""
    try:
        if data.startswith(PNG):
            return _chunks(data, 8, ">I", around=12, even=False)
        if data.startswith(WEBP):
            return _chunks(data, 12, "<4xI", around=8, even=True)
        if data.startswith(JPEG):
            return _segments(data)
        if data.startswith(GIF):
            return _gif_blocks(data)
        if data[4:8] in (b"ftyp", b"jP  ", b"JXL "):
            return _boxes(data, 0, len(data))
        return _entries(data) if data[:2] in (b"II", b"MM") else []
    except (struct.error, IndexError, ValueError):
        return []


def _chunks(data: bytes, at: int, head: str, around: int, even: bool) -> list[Span]:
    found = []
    while at + around <= len(data):
        size = int(struct.unpack_from(head, data, at)[0])
        end = at + around + size + (size % 2 if even else 0)
        found.append((at, min(end, len(data))))
        at = end
    return found


def _segments(data: bytes) -> list[Span]:
    found, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((at, end))
        at = end
    return found


def _gif_blocks(data: bytes) -> list[Span]:
    """Extensions and pictures, each with its blocks."""
    at, found = 13 + ((3 << ((data[10] & 7) + 1)) if data[10] & 0x80 else 0), []
    while at < len(data) and data[at] in (0x21, 0x2C):
        begin = at
        if data[at] == 0x21:
            at += 2
        else:
            palette = (3 << ((data[at + 9] & 7) + 1)) if data[at + 9] & 0x80 else 0
            at += 11 + palette
        while data[at]:
            at += 1 + data[at]
        at += 1
        found.append((begin, at))
    return found


def _boxes(data: bytes, at: int, end: int) -> list[Span]:
    """Boxes, and those within the ones that hold others."""
    found = []
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        stop = min(at + size if size > 8 else end, end)
        found.append((at, stop))
        if kind in CONTAINERS:
            found += _boxes(data, at + (12 if kind == b"meta" else 8), stop)
        at = stop
    return found


def _entries(data: bytes) -> list[Span]:
    """Entries of the directories of a chain."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)
    found: list[Span] = []
    size, head = (20, 8) if big else (12, 2)
    for _ in range(4):
        if not at:
            break
        (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, at)
        found += [(at + head + size * n, at + head + size * (n + 1)) for n in range(count)]
        (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, at + head + size * count)
    return found


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The file with one part changed, dropped, doubled, moved or emptied; the rest fits."""
    found = parts(data)
    if not found:
        return data
    begin, end = rng.choice(found)
    part = data[begin:end]
    way = rng.randrange(6)
    if data[:2] in (b"II", b"MM"):  # entries have one length: nothing may be dropped
        return data[:begin] + _entry(part, rng) + data[end:]
    if way == 0:
        return data[:begin] + data[end:]
    if way == 1:
        return data[:end] + part + data[end:]
    if way == 2:
        other = rng.choice(found)
        return data[:begin] + data[other[0] : other[1]] + data[end:]
    if way == 3:  # to the place of another
        place = rng.choice(found)[0]
        rest = data[:begin] + data[end:]
        return rest[:place] + part + rest[place:]
    return data[:begin] + _changed(part, data, rng) + data[end:]


def _entry(part: bytes, rng: random.Random) -> bytes:
    """A TIFF entry with another tag, type, count or value."""
    order = rng.choice("<>")
    at, size = rng.choice(((0, 2), (2, 2), (4, 4), (8, 4)))
    values = [rng.choice(NUMBERS), rng.randrange(1, 20), rng.randrange(250, 350)]
    number = rng.choice(values) & ((1 << 8 * size) - 1)
    return part[:at] + struct.pack(order + "HI"[size // 4], number) + part[at + size :]


def _changed(part: bytes, data: bytes, rng: random.Random) -> bytes:
    """A part whose content is changed, with a length and a checksum that fit."""
    head, tail = {PNG: (8, 4), WEBP: (8, 0)}.get(data[:4], (8, 0))
    if data.startswith((JPEG, GIF)):
        head = 4
    body = bytearray(part[head : len(part) - tail])
    for _ in range(rng.randint(1, 4) if body else 0):
        at = rng.randrange(len(body))
        if rng.random() < 0.5:
            body[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        else:
            number = struct.pack(rng.choice("<>") + "I", rng.choice(NUMBERS))
            body[at : at + 4] = number[: len(body) - at]
    if data.startswith(PNG):
        return part[:8] + bytes(body) + struct.pack(">I", zlib.crc32(part[4:8] + bytes(body)))
    return part[:head] + bytes(body)
