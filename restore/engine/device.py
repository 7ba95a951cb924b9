"""The choice of the device and of the precision."""

from __future__ import annotations

import functools
import math
import platform
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F

from restore.engine.cores import use_threads
from restore.errors import InputError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """The device of that name ("cpu", "cuda", "cuda:1", "mps", "xpu"), or for "auto" the fastest.

    Of several ("cuda:0,cuda:1", "all") the first. Raises InputError for a name that torch does not
    know and for a device that this machine does not have.
    """
    if name == "all" or "," in name:
        return choose_devices(name)[0]
    if name == "auto":
        return torch.device(available_devices()[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"'{name}' is not a device; this machine has {_listed()}") from None
    count = 1 if device.type in ("cpu", "mps") else _device_count(device.type)
    if device.type not in available_devices() or (device.index or 0) >= count:
        raise InputError(f"there is no device '{name}'; this machine has {_listed()}")
    return device


def choose_devices(name: str) -> list[torch.device]:
    """Several devices, by names separated by commas, or "all" of the fastest kind.

    A device may be named twice: it then gets two processes. Raises what `choose_device` raises.
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
    """The precision of the convolutions: "fp32", "bf16", "fp16", or "auto".

    auto: fp16 on CUDA (tensor cores, 11-bit significand); bf16 on a CPU where it is faster than
    fp32 (`has_fast_bf16`); fp32 elsewhere.
    Raises InputError for any other name, and for fp16 on a CPU, where it is slow.
    """
    if name == "auto":
        if device.type == "cuda":
            return torch.float16
        return torch.bfloat16 if device.type == "cpu" and has_fast_bf16() else torch.float32
    if not isinstance(name, str) or name not in DTYPES:
        raise InputError(f"'{name}' is not a precision; choose auto, {', '.join(DTYPES)}")
    if name == "fp16" and device.type == "cpu":
        raise InputError("the CPU does not support fp16; choose auto, fp32 or bf16")
    return DTYPES[name]


def precision_name(dtype: torch.dtype) -> str:
    """ "fp32", "bf16" or "fp16"."""
    return {value: key for key, value in DTYPES.items()}[dtype]


@functools.cache
def has_fast_bf16() -> bool:
    """Whether 3x3 convolutions in bf16 are faster on this CPU than in fp32; measured once.

    The CPU's feature flags do not show it: AVX512_BF16 doubles the speed on AMD (230 GFLOP/s per
    core against 114 on an EPYC), and loses 40 % of it on an Intel Xeon without AMX in use (105
    against 180; AMX reaches 750). ARM's bf16 instructions double it too, but some builds of torch
    fall back to loops that are a hundred times slower (pytorch/pytorch#180447).
    """
    # Emulated bf16 reaches 0.2, and no known CPU lies between 0.6 and 2: timing noise is harmless.
    return torch.backends.mkldnn.is_available() and _bf16_speedup() > 1.2


def why_precision(device: torch.device) -> str:
    """Why "auto" takes the precision that it takes on a device, in a few words."""
    if device.type == "cuda":
        return "tensor cores compute it as fast as bf16, and it is more exact"
    if device.type != "cpu":
        return "half precision has not been tried on such a device"
    if not torch.backends.mkldnn.is_available():
        return "this build of torch has no fast bf16"
    return f"a small convolution in bf16 has {_bf16_speedup():.1f} times the speed of fp32"


@functools.cache
def _bf16_speedup() -> float:
    """The speed of a small convolution in bf16 divided by that in fp32, on one core."""
    fastest = {torch.float32: math.inf, torch.bfloat16: math.inf}
    threads = use_threads(1)  # starting several would take longer than the convolution
    try:
        with torch.inference_mode():
            x, weight = torch.ones(1, 64, 32, 32), torch.full((64, 64, 3, 3), 0.01)
            inputs = {
                dtype: [t.to(dtype, memory_format=torch.channels_last) for t in (x, weight)]
                for dtype in fastest
            }
            # About 0.3 ms each. The minimum excludes the setup of the first call and the influence
            # of other processes.
            for _ in range(8):
                for dtype, pair in inputs.items():
                    started = time.perf_counter()
                    F.conv2d(pair[0], pair[1], padding=1)
                    fastest[dtype] = min(fastest[dtype], time.perf_counter() - started)
    finally:
        use_threads(threads)
    return fastest[torch.float32] / fastest[torch.bfloat16]


class _WholeFloat32:
    """Keeps torch from rounding float32 to TF32 on CUDA, an error of 1e-3.

    It is a setting of the whole process, and several threads may compute: the first to enter
    changes it, and the last to leave restores it.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._before: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                wanted = _without_tf32()
                self._before = [(place, name, getattr(place, name)) for place, name, _ in wanted]
                for place, name, value in wanted:
                    setattr(place, name, value)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for place, name, value in self._before:
                    setattr(place, name, value)


def _without_tf32() -> list[tuple[Any, str, Any]]:
    """Where torch keeps the precision of convolutions and matrix products, and the exact value."""
    backends: Any = torch.backends
    if hasattr(backends.cudnn, "conv"):  # since torch 2.9; then `allow_tf32` can be overruled
        name, value = "fp32_precision", "ieee"
        return [(backends.cudnn.conv, name, value), (backends.cuda.matmul, name, value)]
    return [(backends.cudnn, "allow_tf32", False), (backends.cuda.matmul, "allow_tf32", False)]


_whole_float32 = _WholeFloat32()


def exact_float32(device: torch.device) -> AbstractContextManager[None]:
    """A context in which float32 keeps all its bits; on CUDA, torch rounds to 10 bits (TF32)."""
    return _whole_float32 if device.type == "cuda" else nullcontext()


def device_name(device: torch.device) -> str:
    """The device for a report: "cuda (NVIDIA H200)" or "cpu (x86_64, 2 threads)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"cpu ({platform.machine()}, {threads} {'thread' if threads == 1 else 'threads'})"
    return str(device)
