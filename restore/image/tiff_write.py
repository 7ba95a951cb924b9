"""TIFF files written: a whole picture as bytes, or strip by strip, also in several runs.

`TiffStrips` writes a file larger than memory under a hidden name beside the target, with a journal
of the finished strips; a run that was killed continues there.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import struct
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from restore.errors import WriteError
from restore.image import exif
from restore.image.atomic import JOURNAL, UNFINISHED, Note, exists_words, lock, publish
from restore.image.exif import (
    BYTE,
    LONG,
    LONG8,
    RATIONAL,
    SHORT,
    UNDEFINED,
    Directory,
    Layout,
    Tag,
    build_directory,
    descriptive,
    file_header,
    integers_tag,
    parse_exif,
)
from restore.image.jpeg import RESOURCES_START
from restore.image.picture import Picture
from restore.image.tiff_header import (
    BITS,
    COMPRESSION,
    DEFLATE,
    EXTRA,
    FORMAT,
    HEIGHT,
    ICC,
    NONE,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    RESOURCES,
    ROWS,
    SAMPLES,
    STRIP_BYTES,
    STRIPS,
    UNIT,
    WIDTH,
    X_DPI,
    XMP,
    Y_DPI,
)

CLOSE_TO_REMOVE = os.name == "nt"  # whether open files cannot be removed
NO_UNIT, INCH = 1, 2  # values of UNIT
STRIP = 1 << 20  # bytes of pixels to a strip, before compression
CLASSIC_LIMIT = 4_000_000_000  # offsets of classic TIFF have 32 bits
Samples = npt.NDArray[Any]


def encode(
    samples: npt.NDArray[Any],
    *,
    alpha: bool,
    compression: str = "deflate",
    icc: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    source: dict[str, Any] | None = None,
    big: bool | None = None,
) -> bytes:
    """A TIFF file of `(height, width, 1..4)` samples, uint8, uint16 or float32, with its metadata.

    The file takes the byte order of the EXIF block, so that its tags go in byte for byte. It is a
    BigTIFF where classic offsets of 32 bits would not reach, or where `big` asks for it.
    """
    layout, described = parse_exif(exif)
    wide = samples.nbytes + sum(len(b or b"") for b in (icc, exif, xmp)) > CLASSIC_LIMIT
    layout = Layout(layout.order, big=wide if big is None else big)
    height = len(samples)
    rows = min(height, max(1, STRIP // (samples.nbytes // height)))
    strips = [
        pack_rows(samples[top : top + rows], layout, compression) for top in range(0, height, rows)
    ]
    directory = descriptive(described)
    directory.tags |= pixel_tags(samples, alpha, compression, rows, layout)
    directory.tags |= block_tags(icc, xmp, source or {})
    directory.tags |= resolution_tags(source or {}, described, layout)
    lengths = [len(s) for s in strips]
    offset = LONG8 if layout.big else LONG
    directory.tags[STRIP_BYTES] = integers_tag(offset, lengths, layout)
    directory.tags[STRIPS] = integers_tag(offset, [0] * len(strips), layout)
    head = bytes_before_directory(exif, layout)
    start = len(head)
    # Its length does not depend on the offsets, so the pixels' place is known after a first build.
    at = start + len(build_directory(directory, start, layout, kept=start))
    places = at + np.cumsum([0, *lengths[:-1]], dtype=np.int64)
    directory.tags[STRIPS] = integers_tag(offset, places.tolist(), layout)
    described_by = build_directory(directory, start, layout, kept=start)
    opening = file_header(layout, start)
    return b"".join([opening, head[len(opening) :], described_by, *strips])


def bytes_before_directory(exif_block: bytes | None, layout: Layout) -> bytes:
    """Room for the file's header, and the EXIF block behind it where a maker note needs it there.

    Not even the directories in it move, so it may be read by offsets that count from its start.
    """
    room = 16 if layout.big else 8
    return bytes(room) + exif.bytes_to_keep(exif_block)[room:]


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


def block_tags(icc: bytes | None, xmp: bytes | None, source: dict[str, Any]) -> dict[int, Tag]:
    """The profile, the XMP packet and Photoshop's resources, where there are any."""
    starts = (b for b in source.get("app13", ()) if b.startswith(RESOURCES_START))
    resources = b"".join(block.removeprefix(RESOURCES_START) for block in starts)
    blocks = ((ICC, UNDEFINED, icc), (XMP, BYTE, xmp), (RESOURCES, BYTE, resources))
    return {tag: Tag(kind, block) for tag, kind, block in blocks if block}


def resolution_tags(source: dict[str, Any], described: Directory, layout: Layout) -> dict[int, Tag]:
    """Dots per inch, or pixels per unit of the description, or what the EXIF block has, or none.

    source: as `Picture.source` has it
    """
    dpi = source.get("dpi")
    values: tuple[float, float] | None = dpi or source.get("pixels_per_unit")
    if values is None:
        return {t: described.tags[t] for t in (X_DPI, Y_DPI, UNIT) if t in described.tags}
    tags = {UNIT: integers_tag(SHORT, [INCH if dpi else NO_UNIT], layout)}
    for tag, value in zip((X_DPI, Y_DPI), values, strict=True):
        ratio = Fraction(value).limit_denominator(max(1, min(10**6, int(2**31 / max(value, 1)))))
        tags[tag] = Tag(
            RATIONAL, struct.pack(layout.order + "II", ratio.numerator, ratio.denominator)
        )
    return tags


def pack_rows(rows: npt.NDArray[Any], layout: Layout, compression: str) -> bytes:
    """A strip as it is stored: differences between neighbours deflated, or plain samples."""
    stored = rows.astype(np.dtype(f"{layout.order}{rows.dtype.str[1:]}"))
    if compression == "none":
        return stored.tobytes()
    if rows.dtype.kind == "u":  # predictor 2: differences to the pixel on the left, modulo 2^bits
        differences = rows.copy()
        differences[:, 1:] = rows[:, 1:] - rows[:, :-1]
        stored = differences.astype(stored.dtype)
    return zlib.compress(stored.tobytes(), 6)


class TiffStrips:
    """A BigTIFF written strip by strip under a hidden name, and renamed when it is whole.

    done: rows finished by an earlier run that was killed; they are not written again
    """

    def __init__(
        self, target: Path, like: Picture, shape: tuple[int, ...], key: dict[str, Any],
        *, dtype: npt.DTypeLike, grid: int, overwrite: bool, mode: int = 0o666,
    ) -> None:  # fmt: skip
        """Begin, or continue an earlier run of the same `key`: source, network, settings.

        like: holds the metadata; shape: (height, width, 1..4); grid: strips are a multiple of it
        mode: the permissions of a new file, of which the umask takes some
        Raises WriteError where the target exists, or another process is writing it.
        """
        if not overwrite and os.path.lexists(target):
            raise WriteError(exists_words(target))
        self.target, self.like, self.overwrite, self.mode = target, like, overwrite, mode
        self.shape, self.dtype = shape, np.dtype(dtype)
        layout, self._about = exif.parse_exif(like.exif)
        self.layout = exif.Layout(layout.order, big=True)
        self._head = bytes_before_directory(like.exif, self.layout)
        row = shape[1] * shape[2] * self.dtype.itemsize
        self.rows = min(shape[0], max(grid, STRIP // row // grid * grid))
        self.compression = like.source.get("compression", "deflate")
        self.aside, self.journal = unfinished(target)
        self._waiting: list[Samples] = []
        self._lengths: list[int] = []
        head = json.dumps({**key, "strip": self.rows, "shape": shape}, sort_keys=True)
        try:
            self._file = self._open()
            self._resume(head)
            self._log = self.journal.open("a")
            if not self._lengths:
                self._log.truncate(0)
                self._log.write(head + "\n")
                self._log.flush()
        except OSError as error:
            raise WriteError(f"{target} cannot be written: {error.strerror}") from error
        self.done = min(shape[0], len(self._lengths) * self.rows)

    def _open(self) -> Any:
        """The hidden file, locked; never one that is a link, or has another name beside this."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        for path in (self.aside, self.journal):
            found = os.lstat(path) if os.path.lexists(path) else None
            if found and (not stat.S_ISREG(found.st_mode) or found.st_nlink > 1):
                path.unlink()  # killed between its last two steps, a run leaves its result
        file = os.fdopen(os.open(self.aside, flags, self.mode), "r+b")
        if not lock(file.fileno()):
            file.close()
            raise WriteError(f"{self.target} is being written by another process")
        return file

    def _resume(self, head: str) -> None:
        """Keep the strips that the journal lists and whose bytes are as it says."""
        lines = self.journal.read_text().split("\n") if self.journal.exists() else [""]
        good = [head] if lines[0] == head else []
        begin = len(self._head)
        self._file.seek(begin)
        for line in lines[1:-1] if good else ():
            with contextlib.suppress(ValueError):
                length, check = map(int, line.split())
                strip = self._file.read(length)
                if len(strip) == length and zlib.crc32(strip) == check:
                    self._lengths.append(length)
                    good.append(line)
                    continue
            break
        self._file.truncate(begin + sum(self._lengths))
        if not self._lengths:
            self._file.seek(0)
            self._file.write(self._head)
        self._file.seek(0, os.SEEK_END)
        self.journal.write_text("".join(f"{line}\n" for line in good))

    def take_back(self) -> int:
        """Drop the last strip, where all are there, to write it again; returns its first row."""
        self._file.seek(-self._lengths.pop(), os.SEEK_END)
        self._file.truncate()
        self.done = len(self._lengths) * self.rows
        return self.done

    def append(self, samples: Samples) -> None:
        """The next rows. Raises WriteError where the disk is full."""
        self._waiting.append(samples)
        ready = sum(map(len, self._waiting))
        written = min(self.shape[0], len(self._lengths) * self.rows)
        while ready >= min(self.rows, self.shape[0] - written) > 0:
            rows = np.concatenate(self._waiting)
            count = min(self.rows, self.shape[0] - written)
            strip = pack_rows(rows[:count], self.layout, self.compression)
            try:
                self._file.write(strip)
                self._file.flush()
                self._log.write(f"{len(strip)} {zlib.crc32(strip)}\n")
                self._log.flush()
            except OSError as error:
                raise WriteError(f"{self.target} cannot be written: {error.strerror}") from error
            self._lengths.append(len(strip))
            self._waiting = [rows[count:]]
            written, ready = written + count, ready - count

    def finish(self, note: Note | None = None) -> Path:
        """The directory behind the strips, the file synced, and under its own name.

        note: as for `atomic.publish`
        """
        try:
            at = self._file.seek(0, os.SEEK_END)
            at += self._file.write(b"\0" * (at % 2))
            kept = len(self._head)
            self._file.write(exif.build_directory(self._directory(), at, self.layout, kept))
            self._file.seek(0)
            self._file.write(exif.file_header(self.layout, at))
            self._file.flush()
            os.fsync(self._file.fileno())
            publish(self.aside, self.target, self.overwrite, note)
        except FileExistsError:
            raise WriteError(exists_words(self.target)) from None
        except (OSError, struct.error) as error:
            raise WriteError(f"{self.target} cannot be written: {error}") from error
        self.discard()
        return self.target

    def _directory(self) -> exif.Directory:
        directory, layout = exif.descriptive(self._about), self.layout
        alike = np.broadcast_to(np.zeros((), self.dtype), self.shape)
        alpha = self.shape[2] in (2, 4)
        directory.tags |= pixel_tags(alike, alpha, self.compression, self.rows, layout)
        directory.tags |= block_tags(self.like.icc, self.like.xmp, self.like.source)
        directory.tags |= resolution_tags(self.like.source, self._about, layout)
        places = len(self._head) + np.cumsum([0, *self._lengths[:-1]], dtype=np.int64)
        directory.tags[STRIP_BYTES] = exif.integers_tag(exif.LONG8, self._lengths, layout)
        directory.tags[STRIPS] = exif.integers_tag(exif.LONG8, places.tolist(), layout)
        return directory

    def close(self) -> None:
        """Close the files; strips stay for the next run, and without any both are removed."""
        if not self._file.closed and not self._lengths:
            self.discard()
        self._log.close()
        self._file.close()

    def discard(self) -> None:
        """Remove both files, where the next run could not go on either, and close them."""
        self._log.close()
        if not CLOSE_TO_REMOVE:  # as long as it is locked, no other process takes it for its own
            self._remove()
        self._file.close()
        if CLOSE_TO_REMOVE:
            self._remove()

    def _remove(self) -> None:
        for path in (self.aside, self.journal):  # what cannot be removed now is swept later
            with contextlib.suppress(OSError):
                path.unlink()


def unfinished(target: Path) -> tuple[Path, Path]:
    """The hidden files of an unfinished result: its strips, and their journal."""
    return (
        target.with_name(f".{target.name}{UNFINISHED}"),
        target.with_name(f".{target.name}{JOURNAL}"),
    )
