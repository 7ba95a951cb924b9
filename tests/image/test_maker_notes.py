"""Maker notes in other files: what their offsets point at is what it was."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restore.image import exif, tiff_write
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


def note_of_nobody(base: int) -> bytes:
    """A note in a form of its own: numbers, and the place of a text that lies outside of it."""
    return b"NOBODY\0\1" + struct.pack("<II", 0xDEADBEEF, base)


def block_of_nobody() -> bytes:
    """An EXIF block with it; the text is the description, in the first directory."""
    words = b"a text far from the note that names its place\0"
    place = 0
    for _ in range(2):
        below = exif.Directory({exif.MAKER_NOTE: exif.Tag(7, note_of_nobody(place))})
        tags = {0x010E: exif.Tag(2, words), 0x010F: exif.Tag(2, b"Nobody at all\0")}
        whole = exif.Directory(tags, {exif.EXIF: below})
        block = exif.file_header(exif.Layout("<"), 8) + exif.build_directory(
            whole, 8, exif.Layout("<")
        )
        place = block.index(words)
    return block


def text_of_nobody(file: bytes) -> bytes:
    note = exif.parse_exif(file)[1].below[exif.EXIF].tags[exif.MAKER_NOTE].data
    number, place = struct.unpack("<II", note[8:16])
    assert number == 0xDEADBEEF
    return file[place : place + 44]


@pytest.mark.parametrize("big", [False, True])
def test_a_note_in_any_form_is_right_in_a_tiff_also_where_it_leads_beyond_itself(big: bool) -> None:
    """Samples of Nikon, Olympus, Ricoh and JVC lost tags, as ExifTool tells them."""
    block = block_of_nobody()
    words = text_of_nobody(block)
    assert words.startswith(b"a text far from")
    samples = np.zeros((400, 300, 3), np.uint8)
    data = tiff_write.encode(samples, alpha=False, exif=block, big=big)
    assert text_of_nobody(data) == words
    picture = decode_image(data)
    np.testing.assert_array_equal(picture.pixels, 0)
    tags = exif.parse_exif(picture.exif)[1]
    assert tags.tags[0x010F].data == b"Nobody at all\0"
    note = tags.below[exif.EXIF].tags[exif.MAKER_NOTE]
    assert note.place == exif.parse_exif(block)[1].below[exif.EXIF].tags[exif.MAKER_NOTE].place


def test_rows_of_a_large_tiff_come_behind_a_note_that_stays(tmp_path: Path) -> None:
    block = block_of_nobody()
    like = Picture(np.zeros((1, 1, 3), np.float32), exif=block)
    samples = np.random.default_rng(0).integers(0, 256, (50, 37, 3), np.uint8)
    asked: dict[str, Any] = {"dtype": "uint8", "grid": 8, "overwrite": False}
    strips = tiff_write.TiffStrips(tmp_path / "a.tif", like, (50, 37, 3), {}, **asked)
    strips.append(samples)
    strips.finish()
    data = (tmp_path / "a.tif").read_bytes()
    assert text_of_nobody(data) == text_of_nobody(block)
    np.testing.assert_array_equal(decode_image(data).pixels, samples / np.float32(255))


def test_a_note_too_far_back_for_a_jpeg_moves() -> None:
    """Behind the pixels of a TIFF; the others keep their place, with zeros before them."""
    for place, stays in ((1000, True), (59_000, True), (60_000, False), (5_000_000, False)):
        below = exif.Directory({exif.MAKER_NOTE: exif.Tag(7, b"NOBODY" * 20, place)})
        block = exif.build_exif(exif.Directory({}, {exif.EXIF: below}), "<")
        assert block is not None
        found = exif.parse_exif(block)[1].below[exif.EXIF].tags[exif.MAKER_NOTE]
        assert found.data == b"NOBODY" * 20 and (found.place == place) == stays
        assert len(block) < 65_527
