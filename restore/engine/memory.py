"""Memory: how much is free, how much a picture and a network need, and what fits."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import torch

from restore.errors import InputError
from restore.image.picture import Depth
from restore.models.network import Network

# Bytes per RGB pixel by the depth of the samples. Of a picture: its file, and float32. Of its
# result: float32, the samples, and what coding noisy ones takes: of 8 bits WebP the most, but for
# JPEG 2000, which takes another 15. A test measures them.
PICTURE_BYTES: dict[Depth, int] = {8: 16, 16: 18, "float": 24}
RESULT_BYTES: dict[Depth, int] = {8: 31, 16: 48, "float": 50}
# Values per pixel of a tile of a network that is not streamed by rows: the tensors alive at once
# in the widest part of the shipped network (32 channels at full resolution: input, two outputs, a
# skip, a workspace).
TILE_CHANNELS = 5 * 32
# Bytes per pixel of a picture that is read and written by rows, for the conversions.
ROW_BYTES = 60
# The most pixels of a tile on CUDA: cuDNN fails on tensors of 2^31 values, and the widest that the
# package's own networks have at full resolution are of 64 channels.
MOST_CUDA_PIXELS = 3 * 2**23
MOST_CUDA_VALUES = 2**31 - 1
# The most bytes of a tile's result on CUDA: it comes back through page-locked memory, which torch
# takes in powers of two, and keeps.
MOST_RESULT_BYTES = 2**30
CGROUP = Path("/sys/fs/cgroup")


class TooLittleMemoryError(InputError):
    """A limit of memory that is too small. need: the smallest that works, in bytes."""

    def __init__(self, message: str, need: int) -> None:
        """message: one sentence, in which `need` is told."""
        super().__init__(message)
        self.need = need


def format_bytes(count: int) -> str:
    """A number of bytes as text, such as "7 KB", "740 MB" or "1.52 GB"; rounded up."""
    if count >= 10**9:
        return f"{-(-count // 10**7) / 100:.2f} GB"
    if count >= 10**6:
        return f"{-(-count // 10**6)} MB"
    return f"{-(-count // 10**3)} KB"


def free_memory(device: torch.device) -> int:
    """Bytes of memory that are free on a device now."""
    if device.type == "cuda":
        # what torch keeps for itself without using it is free, too
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + max(0, kept)
    free = [_available()]
    with contextlib.suppress(OSError, ValueError):  # a container's limit
        limit = int((CGROUP / "memory.max").read_text())
        free.append(limit - int((CGROUP / "memory.current").read_text()))
    return max(0, min(free))


def check_room(count: int, device: torch.device) -> None:
    """Raise RuntimeError where so many bytes cannot be had on a CPU now.

    oneDNN does not raise where some of its own allocations fail: it crashes the process. So no
    network is run before the memory that it is planned to take has been reserved, and released.
    """
    if device.type == "cpu":
        torch.empty(count, dtype=torch.uint8)  # never touched: takes no time


def _available() -> int:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 2**31


def held_bytes(height: int, width: int, channels: int, depth: Depth = 8, results: int = 1) -> int:
    """Bytes to restore a picture in memory, without the network's own tensors.

    results: pixels of the result, and of others that are held beside it, for each of the picture's
    """
    pixel = PICTURE_BYTES[depth] + RESULT_BYTES[depth] * results
    return height * width * pixel * channels // 3


def for_network(
    memory: int, shape: tuple[int, int, int], least: int, depth: Depth = 8, results: int = 1
) -> int:
    """Bytes of a limit that are left for the network beside a picture `(height, width, channels)`.

    least: bytes that the network needs; depth, results: as for `held_bytes`
    Raises TooLittleMemoryError with the smallest limit that works, if they are not left.
    """
    held = held_bytes(*shape, depth, results)
    if memory < held + least:
        raise TooLittleMemoryError(
            f"{format_bytes(memory)} of memory is too little for this picture of "
            f"{shape[1]}x{shape[0]}; it needs at least {format_bytes(held + least)}",
            held + least,
        )
    return memory - held


def too_little_for_network(memory: int, need: int) -> TooLittleMemoryError:
    """The error for a network that does not fit beside the picture."""
    return TooLittleMemoryError(
        f"{format_bytes(max(1, memory))} of memory, as left beside the picture, is too little for "
        f"the network; it needs at least {format_bytes(need)}",
        need,
    )


def too_little_for_rows(memory: int, rows: int, need: int) -> TooLittleMemoryError:
    """The error for a picture of which too few rows fit into memory."""
    return TooLittleMemoryError(
        f"{format_bytes(memory)} of memory is too little for {rows} rows of this picture; "
        f"it needs at least {format_bytes(need)}",
        need,
    )


def tile_bytes(network: Network, dtype: torch.dtype) -> int:
    """An upper estimate of the bytes per pixel of a tile, with float32 input and output."""
    values = network.footprint or TILE_CHANNELS * max(1, network.scale**2 // 2)
    return values * dtype.itemsize + 4 * network.channels * (1 + network.scale**2)


def tile_pixels(
    network: Network, device: torch.device, dtype: torch.dtype, memory: int | None
) -> int:
    """The number of pixels of the tiles that are computed at once.

    1 MP on a CPU, for its caches. On a CUDA device as many as half of its free memory holds,
    up to `cuda_pixels`, so that few pixels are computed twice. 4 MP on other devices. Where tiles
    are blended, as many as half of the free memory holds, since the whole is better.
    memory: limit in bytes, or None. It is of the machine's memory: a CUDA device may have less
    """
    fitting = free_memory(device) // 2 if memory is None else memory
    if device.type == "cuda":
        most, fitting = cuda_pixels(network), min(fitting, free_memory(device) // 2)
    elif network.blend:
        most = MOST_CUDA_PIXELS
    else:
        most = 2**20 if device.type == "cpu" else 2**22
    return min(most, fitting // tile_bytes(network, dtype))


def cuda_pixels(network: Network) -> int:
    """The most pixels of a tile on CUDA: no tensor, and no result, may be too large."""
    values = network.footprint or MOST_CUDA_VALUES // MOST_CUDA_PIXELS
    result = 4 * network.channels * network.scale**2
    return min(MOST_CUDA_PIXELS, MOST_CUDA_VALUES // values, MOST_RESULT_BYTES // result)


def give_back(device: torch.device) -> None:
    """Give back what torch keeps without using it, on a CUDA device and page-locked beside it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        if hasattr(torch, "accelerator") and hasattr(torch.accelerator, "empty_host_cache"):
            torch.accelerator.empty_host_cache()


def pixels_together(device: torch.device) -> int:
    """Pixels of small pictures that are computed in one batch: 1 MP on a CPU, else 4 MP."""
    return 2**20 if device.type == "cpu" else 2**22
