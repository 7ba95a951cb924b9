"""On what a request is computed: device, precision, tile and memory, as asked and as resolved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Compute:
    """As a person asks for it; it travels whole from the front door to the engine.

    device:    "auto", "cpu", "cuda", "cuda:1", "mps" or "xpu"; for batches also several, separated
               by commas, or "all"
    precision: "auto", "fp32", "bf16" or "fp16", of the convolutions
    tile:      side in pixels of the square that the network sees at once, halo included; None: as
               large as pays
    memory:    bytes, or a size such as "2GB", for pictures, results and network together; None: as
               much as makes it fast
    """

    device: str | torch.device = "auto"
    precision: str = "auto"
    tile: int | None = None
    memory: int | str | None = None

    def resolve(self) -> Resources:
        """For one device. Raises InputError for a name or a size that makes no sense."""
        from restore.engine.device import choose_device

        return self._on(choose_device(str(self.device)))

    def resolve_each(self) -> list[Resources]:
        """For each of several devices, the memory divided between them. Raises as `resolve`."""
        from restore.engine.device import choose_devices

        devices = choose_devices(str(self.device))
        found = [self._on(device) for device in devices]
        return [replace(r, memory=r.memory and max(1, r.memory // len(found))) for r in found]

    def _on(self, device: torch.device) -> Resources:
        from restore.engine.device import choose_precision
        from restore.engine.memory import check_tile, parse_bytes

        dtype = choose_precision(self.precision, device)
        return Resources(device, dtype, check_tile(self.tile), parse_bytes(self.memory))


@dataclass(frozen=True)
class Resources:
    """The same, resolved for one device; `memory` in bytes."""

    device: torch.device
    dtype: torch.dtype
    tile: int | None = None
    memory: int | None = None
