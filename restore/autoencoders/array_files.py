"""Arrays from IDX and NumPy files; a size that is absurd or wrong is refused by the header.

IDX is the format of MNIST (described on its page by Y. LeCun): two zero bytes, the type of a value,
the number of dimensions, each dimension as a big-endian 32-bit integer, then the values; often
gzipped. torchvision's reader is not used: it reads no gzip, allocates before it looks at the sizes,
and reports a damaged file by an AssertionError without words. NumPy's loaders, too, allocate what
the header says.
"""

from __future__ import annotations

import gzip
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch

from restore.engine.memory import format_bytes, free_memory
from restore.errors import ReadError

Array = npt.NDArray[Any]

IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# Compressed pictures are seldom below a hundredth of their size; files made to fill the memory are.
MOST_EXPANSION = 200
SMALL = 64 * 2**20  # bytes that are read without asking how far they were compressed


def read_arrays(path: Path) -> tuple[Array, Array | None]:
    """Pictures, and labels where the file has some, of an IDX, .npy or .npz file.

    Of a .npz file: the array "pictures", "images" or "x", else the first; and "labels" or "y".
    Raises ReadError for a file that is unreadable, damaged, or too large for the memory.
    """
    if path.suffix == ".npz":
        return _read_npz(path)
    return (read_npy(path) if path.suffix == ".npy" else read_idx(path)), None


def read_idx(path: Path) -> Array:
    """The array in an IDX file, plain or gzipped, in native byte order.

    Raises ReadError for a file that cannot be read, is not IDX, has another length than its header
    says, or unpacks to more than fits into the memory.
    """
    with _sentences(path, "fetch it again"):
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb") as stream:
            shape, dtype = _idx_header(stream, path)
            size = _check_size(path, shape, dtype, os.path.getsize(path) if zipped else None)
            if not zipped:
                _check_length(path, shape, os.path.getsize(path) - 4 - 4 * len(shape), size)
            data = stream.read(size + 1)
    _check_length(path, shape, len(data), size)
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def read_npy(path: Path) -> Array:
    """The array in a .npy file. Raises ReadError as `read_idx` does, and for Python objects."""
    with _sentences(path, "save it again with numpy.save"), open(path, "rb") as file:
        return _npy_values(file, path, os.path.getsize(path), None)


def _read_npz(path: Path) -> tuple[Array, Array | None]:
    advice = "save it again with numpy.savez"
    with _sentences(path, advice), zipfile.ZipFile(path) as archive:
        names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
        if not names:
            raise ReadError(f"{path} holds no arrays; {advice}")
        first = next((n for n in ("pictures", "images", "x") if n in names), names[0])
        second = next((n for n in ("labels", "y") if n in names and n != first), None)
        labels = None if second is None else _member(archive, second, path)
        return _member(archive, first, path), labels


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> Array:
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as stream:
        return _npy_values(stream, path, entry.file_size, entry.compress_size)


def _npy_values(stream: IO[bytes], path: Path, length: int, packed: int | None) -> Array:
    """The array whose header and values, `length` bytes, the stream gives."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):  # 3.0 is for records with names that are not Latin
        raise ReadError(f"{path} holds records or is of a newer format; save plain numbers")
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read_header(stream)
    if dtype.hasobject or dtype.fields is not None:
        raise ReadError(f"{path} holds Python objects or records; save an array of plain numbers")
    size = _check_size(path, shape, dtype, packed)
    _check_length(path, shape, length - stream.tell(), size)
    stream.seek(0)
    array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


@contextmanager
def _sentences(path: Path, advice: str) -> Iterator[None]:
    """Turns what libraries raise for a damaged file into a ReadError of one sentence."""
    if path.exists() and not path.is_file():
        raise ReadError(f"{path} is not a regular file; give an IDX, .npy or .npz file")
    try:
        yield
    except RuntimeError as error:  # NotImplementedError included; an encrypted member is the other
        raise ReadError(f"{path} is encrypted or packed in an unknown way; {advice}") from error
    except (
        EOFError,
        ValueError,
        OverflowError,
        MemoryError,  # of a length in the header: that of the values is checked
        KeyError,
        SyntaxError,
        tokenize.TokenError,
        zlib.error,
        zipfile.BadZipFile,
        gzip.BadGzipFile,
    ) as error:
        raise ReadError(f"{path} is truncated or damaged; {advice}") from error
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror or error}") from error


def _idx_header(stream: Any, path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    magic = stream.read(4)
    if (
        len(magic) < 4
        or magic[:2] != b"\0\0"
        or magic[2] not in IDX_TYPES
        or not 1 <= magic[3] <= 4
    ):
        raise ReadError(f"{path} is not an IDX file; give one, or a .npy or .npz file")
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ReadError(f"{path} is truncated within its header; fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    return shape, np.dtype(IDX_TYPES[magic[2]])


def _check_size(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], packed: int | None
) -> int:
    """The bytes of an array, if they can be had; packed: their compressed size in the file.

    Read, the values are held twice for a moment, and once more as float32.
    """
    if min(shape, default=1) < 0:
        raise ReadError(f"{path} has a negative size in its shape {shape}; save it again")
    values = math.prod(shape)
    size, free = values * dtype.itemsize, free_memory(torch.device("cpu"))
    words = "x".join(map(str, shape))
    if 2 * size + 4 * values > free:
        # digits of absurd sizes would fill the screen
        needed = format_bytes(2 * size + 4 * values) if size < 2**60 else "far more memory"
        raise ReadError(
            f"{path} says that it holds {words[:60]} values, which take {needed}, and "
            f"{format_bytes(free)} are free; give fewer pictures"
        )
    if packed is not None and size > max(SMALL, MOST_EXPANSION * packed):
        raise ReadError(
            f"{path} would unpack to {format_bytes(size)}, more than {MOST_EXPANSION} times its "
            "size; if you trust it, unpack it first"
        )
    return size


def _check_length(path: Path, shape: tuple[int, ...], found: int, size: int) -> None:
    if found != size:
        state = "truncated" if found < size else "longer than its header says"
        raise ReadError(
            f"{path} is {state}: {'x'.join(map(str, shape))} values take {size} bytes, "
            f"and it has {found if found < size else 'more'}"
        )
