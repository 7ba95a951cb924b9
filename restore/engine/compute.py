"""The settings of a computation: device, precision, engine, tile and memory.

Importing it does not import torch, so that a setting that is not valid is refused at once.
"""

from __future__ import annotations

import importlib.util
import numbers
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from restore.errors import InputError

if TYPE_CHECKING:
    import torch

    from restore.models.network import Network

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
UNITS |= {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
# What can compute a network, and the package that each needs.
ENGINES = {"torch": "torch", "openvino": "openvino", "onnx": "onnxruntime"}
# What has to be installed for it; ONNX Runtime gets the network from torch's exporter.
INSTALLED_BY = {"openvino": "openvino", "onnx": "onnx onnxscript onnxruntime"}


@dataclass(frozen=True)
class Compute:
    """The settings as a caller gives them, passed as one object from the public API to the engine.

    device:    "auto", "cpu", "cuda", "cuda:1", "mps" or "xpu"; for batches also several, separated
               by commas, or "all"
    precision: of the convolutions: "auto", "fp32", "bf16" or "fp16"
    tile:      side in pixels of a square tile, halo included; None: chosen for speed
    memory:    limit in bytes, or a size such as "2GB", for pictures, results and network together;
               None: chosen for speed
    engine:    what computes the network: "torch"; "openvino" or "onnx", on a CPU, where they are
               installed; or "auto": torch, unless another was measured to be faster here
    """

    device: str | torch.device = "auto"
    precision: str = "auto"
    tile: int | None = None
    memory: int | str | None = None
    engine: str = "auto"

    def resolve(self) -> Resources:
        """The settings for one device. Raises InputError for a name or a size that is not valid."""
        from restore.engine.device import choose_device

        return self._on(choose_device(self._device_name))

    def resolve_each(self) -> list[Resources]:
        """The settings for each of several devices, the memory divided equally between them.

        Raises what `resolve` raises.
        """
        from restore.engine.device import choose_devices

        each = [self._on(device) for device in choose_devices(self._device_name)]
        return [replace(r, memory=r.memory and max(1, r.memory // len(each))) for r in each]

    @property
    def _device_name(self) -> str:
        on_cpu = self.device == "auto" and self.engine not in ("auto", "torch")
        return "cpu" if on_cpu else str(self.device)

    def _on(self, device: torch.device) -> Resources:
        from restore.engine.device import choose_precision

        check_engine(self.engine, device.type)
        dtype = choose_precision(self.precision, device)
        tile, memory = check_tile(self.tile), parse_bytes(self.memory)
        chosen = self.precision == "auto"
        return Resources(device, dtype, tile, memory, self.engine, chosen)


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
    engine: str = "auto"
    chosen: bool = False

    def fitting(self, network: Network) -> Resources:
        """The same, in float32 where the network cannot run in half precision, or should not.

        On a CPU denoisers in bf16 stay within one level of 255 of float32 for 99.99 % of the
        values. Not all upscalers do, as the detail that they add has large values of either sign:
        their card says whether it was measured that they do.
        """
        import torch

        from restore.engine.device import precision_name

        unfit = precision_name(self.dtype) not in network.precisions
        close = network.scale == 1 or (network.card is not None and "bf16" in network.card.close)
        if unfit or (self.chosen and self.dtype == torch.bfloat16 and not close):
            return replace(self, dtype=torch.float32)
        return self


def installed_engines() -> list[str]:
    """The engines whose packages are installed."""
    return [name for name, package in ENGINES.items() if importlib.util.find_spec(package)]


def check_engine(name: str, device: str = "cpu") -> None:
    """Raises InputError for an engine that is not known, not installed, or not for this device."""
    if name == "auto":
        return
    if name not in ENGINES:
        raise InputError(f"'{name}' is not an engine; choose auto, {', '.join(ENGINES)}")
    if name not in installed_engines():
        raise InputError(
            f"the engine {name} is not installed; run `pip install {INSTALLED_BY[name]}`, "
            "or leave --engine out"
        )
    if name != "torch" and device != "cpu":
        raise InputError(f"the engine {name} runs on the CPU; give --device cpu, or --engine torch")


def check_tile(tile: int | None) -> int | None:
    """The side of a tile in pixels. Raises InputError unless it is an integer above 0."""
    if tile is None:
        return None
    if isinstance(tile, bool) or not isinstance(tile, numbers.Integral) or tile < 1:
        raise InputError(f"the tile must be a whole number of pixels above 0, not {tile!r}")
    return int(tile)


def parse_bytes(value: int | str | None) -> int | None:
    """Bytes from a size such as 2GB, 1.5GiB or 800M, or from a number; None stays None.

    KB, MB, GB and TB are powers of 1000; KiB, MiB, GiB and TiB are powers of 1024.
    Raises InputError for anything else.
    """
    if value is None or (isinstance(value, numbers.Integral) and not isinstance(value, bool)):
        count = None if value is None else int(value)
    else:
        text = value.strip().upper() if isinstance(value, str) else ""
        match = re.fullmatch(r"(\d{1,20}(?:\.\d+)?)\s*([KMGT]I?)?B?", text)
        if match is None:
            raise InputError(
                f"'{value}' is not an amount of memory; write it like 2GB, 1.5GiB or 800MB"
            )
        count = int(float(match[1]) * UNITS[match[2] or ""])
    if count is not None and count < 1:
        raise InputError(f"memory must be at least 1 byte, not {value}; write it like 2GB")
    return count
