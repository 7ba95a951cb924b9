"""How much memory there is, how much a picture and a network need, and what fits."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import torch

from restore.errors import InputError
from restore.models.network import Network

# A picture in memory: its file's samples, float32 before and after, and the result's samples; with
# something to spare. For RGB, by the pixel; a test measures it.
HELD_BYTES = 36
# A tile of a network that is not streamed by rows: the tensors alive at once in the widest part
# of the shipped network (32 channels at full resolution: input, two results, a skip, a workspace).
TILE_CHANNELS = 5 * 32
# A pixel of a picture that is read and written by rows, on its way through the conversions.
ROW_BYTES = 60
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
UNITS |= {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
CGROUP = Path("/sys/fs/cgroup")


def parse_bytes(value: int | str | None) -> int | None:
    """A size such as 2GB, 1.5GiB, 800M, or a number of bytes. Raises InputError for anything else.

    GB and its like count in thousands, GiB and its like in steps of 1024.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        found = value
    else:
        text = value.strip().upper() if isinstance(value, str) else ""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]I?)?B?", text)
        if match is None:
            raise InputError(f"'{value}' is no size of memory; write it like 2GB, 1.5GiB or 800MB")
        found = int(float(match[1]) * UNITS[match[2] or ""])
    if found is not None and found < 1:
        raise InputError(f"a memory of {value} is too small; write it like 2GB")
    return found


def format_bytes(count: int) -> str:
    """A size in words, rounded up so that it is one that works: "740 MB", "1.52 GB"."""
    if count >= 10**9:
        return f"{-(-count // 10**7) / 100:.2f} GB"
    return f"{-(-count // 10**6)} MB"


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on a device now, as the system tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = [_available()]
    with contextlib.suppress(OSError, ValueError):  # a container's limit
        most = int((CGROUP / "memory.max").read_text())
        free.append(most - int((CGROUP / "memory.current").read_text()))
    return max(0, min(free))


def _available() -> int:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 2**31


def held_bytes(height: int, width: int, channels: int) -> int:
    """What a picture takes that is restored in memory, the network's own tensors not counted."""
    return height * width * HELD_BYTES * channels // 3


def for_network(memory: int, shape: tuple[int, int, int], least: int) -> int:
    """What a budget leaves to the network beside a picture `(height, width, channels)`.

    least: bytes that the network needs. Raises InputError where it does not get them, with the
    smallest budget that works.
    """
    held = held_bytes(*shape)
    if memory < held + least:
        raise InputError(
            f"a memory of {format_bytes(memory)} is too little for this picture of "
            f"{shape[1]}x{shape[0]}; the smallest that works is {format_bytes(held + least)} "
            "(less does from TIFF to TIFF, which is done in parts)"
        )
    return memory - held


def too_little_for_network(memory: int, need: int) -> InputError:
    """The error for a network that does not fit beside the picture."""
    return InputError(
        f"the network does not fit into {format_bytes(max(1, memory))} beside the picture; "
        f"it needs at least {format_bytes(need)} there"
    )


def too_little_for_rows(memory: int, rows: int, need: int) -> InputError:
    """The error for a picture of which not enough rows fit into memory."""
    return InputError(
        f"a memory of {format_bytes(memory)} does not hold {rows} rows of this picture; "
        f"the smallest that works is {format_bytes(need)}"
    )


def check_tile(tile: int | None) -> int | None:
    """The side of a tile. Raises InputError unless it is a whole number above 0."""
    if tile is not None and (isinstance(tile, bool) or not isinstance(tile, int) or tile < 1):
        raise InputError(f"a tile of {tile} is too small; give a whole number of pixels above 0")
    return tile


def tile_bytes(network: Network, dtype: torch.dtype) -> int:
    """Bytes for each pixel of a tile, float32 input and output counted; an upper estimate."""
    inner = TILE_CHANNELS * dtype.itemsize
    return inner * max(1, network.scale**2 // 2) + 4 * network.channels * (1 + network.scale**2)


def tile_pixels(
    network: Network, device: torch.device, dtype: torch.dtype, memory: int | None
) -> int:
    """Pixels that the network may see at once.

    By default 1 MP on a CPU (its caches), and on a GPU what half of its free memory holds, between
    1 and 64 MP, so that few pixels are computed twice. `memory`: bytes, which bound it further.
    """
    pixels = 2**20
    if device.type == "cuda":
        most = free_memory(device) // 2 // tile_bytes(network, dtype)
        pixels = max(2**20, min(2**26, most))
    elif device.type != "cpu":
        pixels = 2**22
    if memory is not None:
        pixels = min(pixels, memory // tile_bytes(network, dtype))
    return pixels


def pixels_together(device: torch.device) -> int:
    """Pixels of small pictures that go through a network together: 1 MP on a CPU, else 4 MP."""
    return 2**20 if device.type == "cpu" else 2**22
