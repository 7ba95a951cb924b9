"""Maker notes in other files: what their offsets point at is what it was."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from restore.image import exif
from restore.image.maker_notes import moved
from restore.image.picture import Picture
from restore.image.read import decode_image
from restore.image.write import encode_image

WORDS = (b"lens 15 mm, of our own", b"owner's name, quite long")
# Bytes before the directory, and what offsets are counted from.
KINDS = {
    "Canon": (b"", "header"),
    "Panasonic": (b"Panasonic\0\0\0", "header"),
    "Sony": (b"SONY DSC \0\0\0", "header"),
    "Olympus, old": (b"OLYMP\0\1\0", "header"),
    "Olympus": (b"OLYMPUS\0II\3\0", "note"),
    "Fujifilm": (b"FUJIFILM\x0c\0\0\0", "note"),
}


def note(kind: str, order: str, place: int) -> bytes:
    """A note of two texts, that begins at `place` of the file."""
    start, base = KINDS[kind]
    first = len(start) + 2 + 2 * 12 + 4
    shift = place if base == "header" else 0
    body = start + struct.pack(f"{order}H", 2)
    for tag, words in enumerate(WORDS):
        at = shift + first + sum(len(w) for w in WORDS[:tag])
        body += struct.pack(f"{order}HHII", tag + 1, 2, len(words), at)
    body += bytes(4) + b"".join(WORDS)
    if kind == "Canon":
        body += {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", place)
    return body


def texts(block: bytes, kind: str) -> list[bytes]:
    """The texts of the note in an EXIF block or a TIFF file, by its own offsets."""
    layout, directory = exif.parse_exif(block)
    found = directory.below[exif.EXIF].tags[exif.MAKER_NOTE]
    start, base = KINDS[kind]
    read = []
    for number in range(2):
        at = len(start) + 2 + 12 * number
        _, _, count, offset = struct.unpack_from(f"{layout.order}HHII", found.data, at)
        read.append((block if base == "header" else found.data)[offset : offset + count])
    if kind == "Canon":
        assert struct.unpack(f"{layout.order}I", found.data[-4:])[0] == found.place
    return read


def block_with(kind: str, order: str) -> bytes:
    """An EXIF block with a note, its offsets right for where it lies."""
    layout, below = exif.Layout(order), exif.Directory()
    place = 0
    for _ in range(2):  # its place is known after the first time
        below.tags = {
            0x829A: exif.Tag(5, struct.pack(f"{order}II", 1, 125)),
            exif.MAKER_NOTE: exif.Tag(7, note(kind, order, place)),
        }
        whole = exif.Directory({0x010F: exif.Tag(2, b"Maker of things\0")}, {exif.EXIF: below})
        block = exif.file_header(layout, 8) + exif.build_directory(whole, 8, layout)
        place = exif.parse_exif(block)[1].below[exif.EXIF].tags[exif.MAKER_NOTE].place
    return block


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_note_is_right_in_every_file_that_it_comes_into(kind: str, order: str) -> None:
    """From JPEG to TIFF all values outside the note's directory were lost or others."""
    block = block_with(kind, order)
    assert texts(block, kind) == list(WORDS)
    picture = Picture(np.zeros((40, 50, 3), np.float32), exif=block)
    tiff = encode_image(picture, "TIFF")
    assert texts(tiff, kind) == list(WORDS)
    again = decode_image(tiff)
    assert again.exif is not None and texts(again.exif, kind) == list(WORDS)
    back = decode_image(encode_image(again, "JPEG")).exif
    assert back is not None and texts(back, kind) == list(WORDS)
    third = encode_image(decode_image(encode_image(again, "TIFF")), "TIFF")
    assert texts(third, kind) == list(WORDS)


def test_a_note_that_is_not_understood_stays_as_it_is() -> None:
    rng = np.random.default_rng(0)
    for size in (0, 1, 7, 30, 500):
        other = rng.bytes(size)
        assert moved(other, 1000, 90_000) == other
    whole = note("Canon", "<", 1000)
    for cut in range(len(whole)):
        assert len(moved(whole[:cut], 1000, 90_000)) == cut
    assert moved(whole, 1000, 2**32 - 10) == whole  # offsets have 32 bits
