"""IDX, the file format of MNIST and Fashion-MNIST, plain or gzipped.

Two zero bytes, the type of a sample, the number of dimensions, each dimension as a big-endian
32-bit integer, then the samples (the format's description is on MNIST's own page, by Y. LeCun).
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from restore.errors import ReadError

LARGEST = 2**32  # bytes of samples: a lying header or a bomb of zeros shall not fill the memory
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> npt.NDArray[Any]:
    """The array in an IDX file, in native byte order.

    Raises ReadError for a file that cannot be read, is not IDX, or is shorter or longer than its
    header says.
    """
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else open(path, "rb") as file:
            shape, dtype = _header(file.read(4), file, path)
            wanted = math.prod(shape) * dtype.itemsize
            data = file.read(wanted + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ReadError(f"{path} is truncated or damaged inside its gzip; fetch it again") from None
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) != wanted:
        state = "truncated" if len(data) < wanted else "longer than its header says"
        raise ReadError(
            f"{path} is {state}: {'x'.join(map(str, shape))} samples take {wanted} bytes, "
            f"it has {len(data) if len(data) < wanted else 'more'}"
        )
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def _header(magic: bytes, file: Any, path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not 1 <= magic[3] <= 4:
        raise ReadError(f"{path} is not an IDX file: it does not begin as one")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ReadError(f"{path} is truncated: its header ends before the sizes do")
    shape = tuple(int(n) for n in np.frombuffer(sizes, ">u4"))
    dtype = np.dtype(TYPES[magic[2]])
    if math.prod(shape) * dtype.itemsize > LARGEST:
        raise ReadError(f"{path} says it holds {'x'.join(map(str, shape))} samples: too many")
    return shape, dtype
