"""Which device to use and in which precision, found out and not assumed."""

from __future__ import annotations

import platform
from typing import Literal

import torch

from restore.errors import InputError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name ("cpu", "cuda", "cuda:1", "mps", "xpu"), or the best one present.

    Of several ("cuda:0,cuda:1", "all") the first. Raises InputError for a name torch does not know
    and for a device that is not there.
    """
    if name == "all" or "," in name:
        return choose_devices(name)[0]
    if name == "auto":
        return torch.device(available_devices()[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"'{name}' is no device; here are: {_listed()}") from None
    count = 1 if device.type in ("cpu", "mps") else _device_count(device.type)
    if device.type not in available_devices() or (device.index or 0) >= count:
        raise InputError(f"there is no device '{name}' on this machine; here are: {_listed()}")
    return device


def choose_devices(name: str) -> list[torch.device]:
    """Several devices, named with commas between, or "all" of the best kind present.

    One may be named twice: each is given a process of its own. Raises what `choose_device` does.
    """
    if name != "all":
        return [choose_device(part.strip()) for part in name.split(",")]
    kind = available_devices()[0]
    return [torch.device(kind, index) for index in range(_device_count(kind))] or [
        torch.device(kind)
    ]


def available_devices() -> list[str]:
    """The kinds of device on this machine, the fastest first; "cpu" is always the last."""
    kinds = []
    if torch.cuda.is_available():
        kinds.append("cuda")
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        kinds.append("xpu")
    if torch.backends.mps.is_available():
        kinds.append("mps")
    return [*kinds, "cpu"]


def _listed() -> str:
    return ", ".join(available_devices())


def _device_count(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count()
    return torch.xpu.device_count() if kind == "xpu" and hasattr(torch, "xpu") else 0


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The number format of the convolutions: "fp32", "bf16", "fp16", or "auto".

    auto: on CUDA fp16 (tensor cores, 11 bits of mantissa); on a CPU bf16 where it has bf16 matrix
    units, which are 4 to 8 times faster there than fp32, and fp32 elsewhere, where bf16 is slower.
    Raises InputError for any other name and for fp16 on a CPU, which has no fast path for it.
    """
    if name == "auto":
        if device.type == "cuda":
            return torch.float16
        return torch.bfloat16 if device.type == "cpu" and has_bf16_matrix_units() else torch.float32
    if name not in DTYPES:
        raise InputError(f"'{name}' is no precision; choose auto, {', '.join(DTYPES)}")
    if name == "fp16" and device.type == "cpu":
        raise InputError("fp16 is not for the CPU; choose auto, fp32 or bf16")
    return DTYPES[name]


def precision_name(dtype: torch.dtype) -> str:
    """ "fp32", "bf16" or "fp16"."""
    return {value: key for key, value in DTYPES.items()}[dtype]


def has_bf16_matrix_units() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware (Intel AMX)."""
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe and probe())


def device_name(device: torch.device) -> str:
    """The device in words for a report, e.g. "cuda (NVIDIA H200)" or "cpu (2 threads)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"
    return str(device)
