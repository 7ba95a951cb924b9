"""The number format of a training's convolutions."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from restore.engine.device import choose_precision


def training_precision(name: str, device: torch.device) -> torch.dtype:
    """As for inference, but bf16 before fp16 on CUDA: its range needs no loss scaling."""
    if name == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(False):
        return torch.bfloat16
    return choose_precision(name, device)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Convolutions in `dtype`; nothing at all for float32."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype)
