"""Transfer of tiles to a device and back, while the device computes the previous tiles.

8-bit pictures are sent as bytes and converted on the device. On CUDA, inputs use page-locked memory
and a separate stream, and an output is waited for only after the next tiles were started. On any
other device the same calls run one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from restore.image.picture import Pixels, dequantise


def as_bytes(pixels: Pixels) -> npt.NDArray[np.uint8] | None:
    """The 8-bit samples that these floats represent exactly, or None if there are none."""
    result = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(pixels), 256):  # in bands, so that a large picture is not copied
        band = pixels[top : top + 256]
        samples = np.rint(np.clip(band, 0, 1) * np.float32(255)).astype(np.uint8)
        if not np.array_equal(dequantise(samples), band):
            return None
        result[top : top + 256] = samples
    return result


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


class Transfer:
    """Sends tiles of some rows of a picture to a device, and results back."""

    def __init__(self, pixels: Pixels, device: torch.device, in_bytes: bool | None = None) -> None:
        """in_bytes: send an 8-bit picture as bytes; None: unless the device is the CPU."""
        self.device = device
        self.side = torch.cuda.Stream(device) if device.type == "cuda" else None
        if in_bytes is None:
            in_bytes = device.type != "cpu"
        samples = as_bytes(pixels) if in_bytes else None
        self.source = torch.from_numpy(np.ascontiguousarray(pixels) if samples is None else samples)

    def load(self, columns: Sequence[slice]) -> Tensor:
        """Start sending some columns of all rows, `(N, height, width, channels)`, for `ready`."""
        windows = torch.stack([self.source[:, span] for span in columns])
        if self.side is None:
            return windows.to(self.device)
        with torch.cuda.stream(self.side):
            return windows.pin_memory().to(self.device, non_blocking=True)

    def ready(self, windows: Tensor) -> Tensor:
        """The tiles that were sent, as `(N, channels, height, width)` in [0, 1]."""
        if self.side is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(self.side)
            windows.record_stream(current)
        x = windows.permute(0, 3, 1, 2)
        return x.float().div_(255) if x.dtype == torch.uint8 else x

    def unload(self, output: Tensor) -> Leaving:
        """Start sending a result `(N, channels, height, width)` back as float32."""
        pixels = output.permute(0, 2, 3, 1).float()
        if self.side is None:
            return Leaving(pixels.cpu(), None)
        host = torch.empty(pixels.shape, dtype=torch.float32, pin_memory=True)
        host.copy_(pixels, non_blocking=True)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self.device))
        return Leaving(host, event)
