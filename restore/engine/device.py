"""Which device to compute on, and in which precision."""

from __future__ import annotations

import functools
import math
import platform
import time
from typing import Literal

import torch
import torch.nn.functional as F

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

    auto: fp16 on CUDA (tensor cores, 11 bits of mantissa); bf16 on a CPU that multiplies it faster
    than fp32 (`has_fast_bf16`); fp32 elsewhere.
    Raises InputError for any other name, and for fp16 on a CPU, which has no fast path for it.
    """
    if name == "auto":
        if device.type == "cuda":
            return torch.float16
        return torch.bfloat16 if device.type == "cpu" and has_fast_bf16() else torch.float32
    if name not in DTYPES:
        raise InputError(f"'{name}' is no precision; choose auto, {', '.join(DTYPES)}")
    if name == "fp16" and device.type == "cpu":
        raise InputError("fp16 is not for the CPU; choose auto, fp32 or bf16")
    return DTYPES[name]


def precision_name(dtype: torch.dtype) -> str:
    """ "fp32", "bf16" or "fp16"."""
    return {value: key for key, value in DTYPES.items()}[dtype]


@functools.cache
def has_fast_bf16() -> bool:
    """Whether 3x3 convolutions in bf16 are faster on this CPU than in fp32; measured once.

    The names of the CPU's features do not tell: AVX512_BF16 doubles the speed on AMD (230 GFLOP/s
    a core against 114 on an EPYC), and costs 40 % of it on an Intel Xeon whose AMX is left unused
    (105 against 180, where AMX gives 750). ARM's bf16 instructions double it, too, but some builds
    of torch fall back to loops a hundred times slower (pytorch/pytorch#180447).
    """
    # Emulated bf16 reaches 0.2; nothing known lies between 0.6 and 2, so noise changes nothing.
    return torch.backends.mkldnn.is_available() and _bf16_speedup() > 1.2


def _bf16_speedup() -> float:
    """How many times as fast as fp32 a small convolution in bf16 is, on one core."""
    threads = torch.get_num_threads()
    fastest = {torch.float32: math.inf, torch.bfloat16: math.inf}
    torch.set_num_threads(1)  # or handing out the work takes longer than doing it
    try:
        with torch.inference_mode():
            x, weight = torch.ones(1, 64, 32, 32), torch.full((64, 64, 3, 3), 0.01)
            inputs = {
                dtype: [t.to(dtype, memory_format=torch.channels_last) for t in (x, weight)]
                for dtype in fastest
            }
            # Some 0.3 ms each. The minimum is free of the first call's preparations and of what
            # other processes do meanwhile.
            for _ in range(8):
                for dtype, pair in inputs.items():
                    started = time.perf_counter()
                    F.conv2d(pair[0], pair[1], padding=1)
                    fastest[dtype] = min(fastest[dtype], time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return fastest[torch.float32] / fastest[torch.bfloat16]


def device_name(device: torch.device) -> str:
    """The device in words for a report, e.g. "cuda (NVIDIA H200)" or "cpu (2 threads)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"
    return str(device)
