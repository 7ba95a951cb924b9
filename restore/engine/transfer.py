"""Transfer of tiles to a device and back, while the device computes other tiles.

On CUDA, copies go from and to page-locked memory, in a stream for each direction, so that they
neither wait for the computation nor hold it up. A stream waits for another one only where it needs
what that one did. On any other device the same calls run one after the other.

Tiles are sent as floats: to find out on the CPU whether a picture could go in bytes takes longer
than sending four times as many.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from restore.image.picture import Pixels


@dataclass
class Leaving:
    """A result whose transfer may not be complete."""

    host: Tensor
    event: Any

    def arrived(self) -> Pixels:
        """Wait for the transfer; float32 `(N, height, width, channels)`."""
        if self.event is not None:
            self.event.synchronize()
        pixels: Pixels = self.host.numpy()
        return pixels


class Streams:
    """The streams of a CUDA device in which tiles are sent there and back."""

    def __init__(self, device: torch.device) -> None:
        """Create them; memory that was used in one is reused in the same one only."""
        self.to, self.back = torch.cuda.Stream(device), torch.cuda.Stream(device)


@functools.cache
def streams_of(device: torch.device) -> Streams | None:
    """The streams of a device, always the same; None where it has none."""
    return Streams(device) if device.type == "cuda" else None


class Transfer:
    """Sends tiles of some rows of a picture to a device, and results back."""

    def __init__(self, pixels: Pixels, device: torch.device) -> None:
        """pixels: `(height, width, channels)`, not copied if they are contiguous."""
        self.device, self.streams = device, streams_of(device)
        self.source = torch.from_numpy(np.ascontiguousarray(pixels))

    def load(self, columns: Sequence[slice]) -> Tensor:
        """Start sending some columns of all rows, `(N, height, width, channels)`, for `ready`."""
        windows = [self.source[:, span] for span in columns]
        if self.streams is None:
            return torch.stack(windows).to(self.device)
        host = page_locked((len(windows), *windows[0].shape))
        torch.stack(windows, out=host)
        with torch.cuda.stream(self.streams.to):
            # The allocator of page-locked memory reuses it only after this copy.
            return host.to(self.device, non_blocking=True)

    def ready(self, windows: Tensor) -> Tensor:
        """The tiles that were sent, as `(N, channels, height, width)` in [0, 1]."""
        if self.streams is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self.streams.to)
            windows.record_stream(current)  # it was allocated in the other stream
        return windows.permute(0, 3, 1, 2)

    def unload(self, output: Tensor) -> Leaving:
        """Start sending a result `(N, channels, height, width)` back as float32."""
        pixels = output.permute(0, 2, 3, 1).float()
        if self.streams is None:
            return Leaving(pixels.cpu(), None)
        pixels = pixels.contiguous()
        host = page_locked(pixels.shape)
        back = self.streams.back
        back.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(back):
            host.copy_(pixels, non_blocking=True)
            pixels.record_stream(back)  # it was allocated in the other stream
            event = torch.cuda.Event()
            event.record(back)
        return Leaving(host, event)


def page_locked(shape: Sequence[int]) -> Tensor:
    """Uninitialised float32 memory on the host that a device can copy from and to by itself."""
    return torch.empty(tuple(shape), dtype=torch.float32, pin_memory=True)
