"""TIFF files larger than memory: read row by row, and written strip by strip, also in several runs.

What is written lies under a hidden name beside the target until it is whole, with a journal that
says which strips are done; a run that was killed goes on there. tifffile unpacks the parts of the
source (with imagecodecs, of the extra `huge`, also LZW, JPEG and others).
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from restore.errors import ReadError, WriteError
from restore.image import exif, tiff
from restore.image.atomic import _rename, _sync_folder, exists_words
from restore.image.picture import Picture

LARGEST_PART = 2**28  # bytes of a strip, or of a row of tiles, unpacked
Samples = npt.NDArray[Any]

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # to mypy a module's name is a module for good


class TiffRows:
    """The rows of a tiled or striped (Big)TIFF file; only the parts that were asked for are read.

    shape: (height, width, 1..4), alpha last; dtype: uint8, uint16 or float32
    """

    def __init__(self, path: Path) -> None:
        """Read the header. Raises ReadError for what cannot be read in parts."""
        import tifffile

        self.path = path
        try:
            with path.open("rb") as file:
                self._read_header(file)
            self._segments = self._plan()
            self._tiff = tifffile.TiffFile(path)
        except (OSError, ValueError) as error:
            raise ReadError(f"{path} cannot be read: {error}") from error
        self._page = cast(tifffile.TiffPage, self._tiff.pages[0])
        self._held: tuple[int, Samples] | None = None

    def _read_header(self, file: IO[bytes]) -> None:
        name = str(self.path)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            whole = cast(bytes, data)  # it is sliced like one
            self.page = tiff.read_header(whole, name)
            tiff.check(self.page, len(data), name)
            self._check(exif.orientation(whole))

    def _plan(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shape, type and parts by the header; where each part lies and how long it is."""
        height, width = self.page.size
        channels = self.page.first(tiff.SAMPLES, 1)
        self.shape: tuple[int, ...] = (height, width, channels)
        bits = self.page.first(tiff.BITS, 1)
        self.dtype = np.dtype(f"{'f' if self.page.depth == 'float' else 'u'}{bits // 8}")
        self.alpha = channels in (2, 4)
        tiled = tiff.TILES in self.page.directory.tags
        rows = self.page.first(tiff.TILE_HEIGHT if tiled else tiff.ROWS, height) or height
        self.part = min(rows, height)
        self.across = -(-width // self.page.first(tiff.TILE_WIDTH)) if tiled else 1
        if self.part * width * channels * self.dtype.itemsize > LARGEST_PART:
            raise ReadError(
                f"{self.path} is stored in parts of {self.part} rows, too large to read singly; "
                "save it in tiles or in small strips"
            )
        numbers = (tiff.TILES, tiff.TILE_BYTES) if tiled else (tiff.STRIPS, tiff.STRIP_BYTES)
        places, sizes = (self.page.directory.integers(n, self.page.layout) for n in numbers)
        return places, sizes

    def _check(self, turned: int) -> None:
        page = self.page
        wrong = {
            f"holds {page.pages} pages": page.pages != 1,
            "is stored turned": turned != 1,
            "is not grey or RGB": page.first(tiff.PHOTOMETRIC, 1) not in (1, 2),
            "has its colours one after the other": page.first(tiff.PLANAR, 1) == 2,
            "has samples of less than 8 bits": page.first(tiff.BITS, 1) < 8,
            "has premultiplied alpha": page.directory.integers(tiff.EXTRA, page.layout)[:1] == (1,),
        }
        for words, found in wrong.items():
            if found:
                raise ReadError(
                    f"{self.path} {words}, which is not read in parts; save it as one upright "
                    "picture, grey or RGB, of 8 or 16 bits or floats"
                )

    def __getitem__(self, wanted: slice) -> Samples:
        """Rows [start, stop)."""
        first, last = wanted.start, wanted.stop
        parts = []
        while first < last:
            index = first // self.part
            if self._held is None or self._held[0] != index:
                self._held = None
                self._held = (index, self._decode(index))
            top = index * self.part
            end = min(last, top + self.part)
            parts.append(self._held[1][first - top : end - top])
            first = end
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _decode(self, index: int) -> Samples:
        """All tiles of a row of tiles, side by side; or a strip."""
        height, width, channels = self.shape
        rows = min(self.part, height - index * self.part)
        found = np.empty((rows, width, channels), self.dtype)
        column = self.page.first(tiff.TILE_WIDTH) if self.across > 1 else width
        for x in range(self.across):
            at = index * self.across + x
            try:
                handle = self._tiff.filehandle
                handle.seek(self._segments[0][at])
                part = self._page.decode(handle.read(self._segments[1][at]), at)[0]
            except Exception as error:  # decoders raise nearly every type for damaged files
                raise ReadError(f"{self.path}: {_reason(error)}") from error
            if part is None:
                raise ReadError(f"{self.path} leaves a part of the picture out; save it anew")
            part = part.reshape(part.shape[-3:])[:rows, : width - x * column]
            found[:, x * column : x * column + part.shape[1]] = part
        return found

    def said(self) -> Picture:
        """A picture of one pixel that has all the metadata of this one."""
        page = self.page
        xmp = page.bytes_of(tiff.XMP)
        block = exif.build_exif(page.directory, page.layout.order)
        return Picture(
            np.zeros((1, 1, self.shape[2] - self.alpha), np.float32),
            depth=page.depth,
            icc=page.bytes_of(tiff.ICC),
            exif=exif.without_rotation(block) if block else None,
            xmp=exif.xmp_without_rotation(xmp) if xmp else None,
            path=self.path,
            format="TIFF",
            source={"compression": page.compression, "dpi": page.dpi()},
        )

    def close(self) -> None:
        """Let go of the file."""
        self._tiff.close()


def _reason(error: Exception) -> str:
    if "imagecodecs" in str(error):
        return "its compression is read with the extra `huge`: pip install 'restore[huge]'"
    return f"damaged or truncated: {str(error).splitlines()[0] if str(error) else error!r}"


class TiffStrips:
    """A BigTIFF that grows strip by strip under a hidden name, and takes its own at the end.

    done: rows that an earlier run, which was killed, has left; those are not written again
    """

    def __init__(
        self, target: Path, like: Picture, shape: tuple[int, ...], key: dict[str, Any],
        *, dtype: npt.DTypeLike, grid: int, overwrite: bool,
    ) -> None:  # fmt: skip
        """Begin, or go on where `key` is that of the earlier run: source, network, settings.

        like: holds the metadata; shape: (height, width, 1..4); grid: strips are a multiple of it
        Raises WriteError where the target exists, or another process is writing it.
        """
        if not overwrite and os.path.lexists(target):
            raise WriteError(exists_words(target))
        self.target, self.like, self.overwrite = target, like, overwrite
        self.shape, self.dtype = shape, np.dtype(dtype)
        layout, self._about = exif.parse_exif(like.exif)
        self.layout = exif.Layout(layout.order, big=True)
        row = shape[1] * shape[2] * self.dtype.itemsize
        self.rows = min(shape[0], max(grid, tiff.STRIP // row // grid * grid))
        self.compression = like.source.get("compression", "deflate")
        self.aside, self.journal = unfinished(target)
        self._waiting: list[Samples] = []
        self._lengths: list[int] = []
        head = json.dumps({**key, "strip": self.rows, "shape": shape}, sort_keys=True)
        try:
            self._file = self._lock()
            self._resume(head)
            self._log = self.journal.open("a")
            if not self._lengths:
                self._log.truncate(0)
                self._log.write(head + "\n")
                self._log.flush()
        except OSError as error:
            raise WriteError(f"{target} cannot be written: {error.strerror}") from error
        self.done = min(shape[0], len(self._lengths) * self.rows)

    def _lock(self) -> Any:
        file = os.fdopen(os.open(self.aside, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise WriteError(f"{self.target} is being written by another process") from None
            except OSError:  # a file system without locks
                pass
        return file

    def _resume(self, head: str) -> None:
        """Keep the strips that the journal lists and whose bytes are as it says."""
        lines = self.journal.read_text().split("\n") if self.journal.exists() else [""]
        good = [head] if lines[0] == head else []
        self._file.seek(16)
        for line in lines[1:-1] if good else ():
            with contextlib.suppress(ValueError):
                length, check = map(int, line.split())
                strip = self._file.read(length)
                if len(strip) == length and zlib.crc32(strip) == check:
                    self._lengths.append(length)
                    good.append(line)
                    continue
            break
        self._file.truncate(16 + sum(self._lengths))
        self._file.seek(16 + sum(self._lengths))
        if not self._lengths:
            self._file.seek(0)
            self._file.write(exif.file_header(self.layout, 16))
        self.journal.write_text("".join(f"{line}\n" for line in good))

    def take_back(self) -> int:
        """Where all strips are there: the last is written again; returns the row it begins at."""
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
            strip = tiff.pack_rows(rows[:count], self.layout, self.compression)
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

    def finish(self) -> Path:
        """The directory behind the strips, the file synced, and under its own name."""
        try:
            at = self._file.seek(0, os.SEEK_END)
            at += self._file.write(b"\0" * (at % 2))
            self._file.write(exif.build_directory(self._directory(), at, self.layout))
            self._file.seek(0)
            self._file.write(exif.file_header(self.layout, at))
            self._file.flush()
            os.fsync(self._file.fileno())
            _rename(self.aside, self.target, self.overwrite)
            _sync_folder(self.target.parent)
        except FileExistsError:
            raise WriteError(exists_words(self.target)) from None
        except (OSError, struct.error) as error:
            raise WriteError(f"{self.target} cannot be written: {error}") from error
        self.close()
        self.aside.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)
        return self.target

    def _directory(self) -> exif.Directory:
        directory, layout = exif.descriptive(self._about), self.layout
        alike = np.broadcast_to(np.zeros((), self.dtype), self.shape)
        alpha = self.shape[2] in (2, 4)
        directory.tags |= tiff.pixel_tags(alike, alpha, self.compression, self.rows, layout)
        blocks = ((tiff.ICC, exif.UNDEFINED, self.like.icc), (tiff.XMP, 1, self.like.xmp))
        for tag, kind, block in blocks:
            directory.tags |= {tag: exif.Tag(kind, block)} if block else {}
        directory.tags |= tiff.resolution_tags(self.like.source.get("dpi"), self._about, layout)
        places = 16 + np.cumsum([0, *self._lengths[:-1]], dtype=np.int64)
        directory.tags[tiff.STRIP_BYTES] = exif.integers_tag(exif.LONG8, self._lengths, layout)
        directory.tags[tiff.STRIPS] = exif.integers_tag(exif.LONG8, places.tolist(), layout)
        return directory

    def close(self) -> None:
        """Let go; what was written stays for the next run."""
        self._log.close()
        self._file.close()


def unfinished(target: Path) -> tuple[Path, Path]:
    """The hidden files of a result that is not whole yet: its strips, and their journal."""
    return (
        target.with_name(f".{target.name}.restore-unfinished"),
        target.with_name(f".{target.name}.restore-journal"),
    )
