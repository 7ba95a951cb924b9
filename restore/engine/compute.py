"""The settings of a computation: device, precision, tile and memory, as given and as resolved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from restore.models.network import Network


@dataclass(frozen=True)
class Compute:
    """The settings as a caller gives them, passed as one object from the public API to the engine.

    device:    "auto", "cpu", "cuda", "cuda:1", "mps" or "xpu"; for batches also several, separated
               by commas, or "all"
    precision: of the convolutions: "auto", "fp32", "bf16" or "fp16"
    tile:      side in pixels of a square tile, halo included; None: chosen for speed
    memory:    limit in bytes, or a size such as "2GB", for pictures, results and network together;
               None: chosen for speed
    """

    device: str | torch.device = "auto"
    precision: str = "auto"
    tile: int | None = None
    memory: int | str | None = None

    def resolve(self) -> Resources:
        """The settings for one device. Raises InputError for a name or a size that is not valid."""
        from restore.engine.device import choose_device

        return self._on(choose_device(str(self.device)))

    def resolve_each(self) -> list[Resources]:
        """The settings for each of several devices, the memory divided equally between them.

        Raises what `resolve` raises.
        """
        from restore.engine.device import choose_devices

        each = [self._on(device) for device in choose_devices(str(self.device))]
        return [replace(r, memory=r.memory and max(1, r.memory // len(each))) for r in each]

    def _on(self, device: torch.device) -> Resources:
        from restore.engine.device import choose_precision
        from restore.engine.memory import check_tile, parse_bytes

        dtype = choose_precision(self.precision, device)
        tile, memory = check_tile(self.tile), parse_bytes(self.memory)
        return Resources(device, dtype, tile, memory, chosen=self.precision == "auto")


@dataclass(frozen=True)
class Resources:
    """The settings resolved for one device.

    memory: limit in bytes; None: no limit
    chosen: whether `dtype` was chosen here, so that it may give way to a network's needs
    """

    device: torch.device
    dtype: torch.dtype
    tile: int | None = None
    memory: int | None = None
    chosen: bool = False

    def fitting(self, network: Network) -> Resources:
        """The same, in float32 where the network cannot run in half precision, or should not.

        On a CPU denoisers in bf16 stay within one level of 255 of float32 for 99.99 % of the
        values. Upscalers do not: the detail that they add has large values of either sign.
        """
        import torch

        from restore.engine.device import precision_name

        unfit = precision_name(self.dtype) not in network.precisions
        if unfit or (self.chosen and self.dtype == torch.bfloat16 and network.scale > 1):
            return replace(self, dtype=torch.float32)
        return self
