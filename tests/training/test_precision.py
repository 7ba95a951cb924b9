"""The precision of a training's convolutions; the rest stays float32."""

from __future__ import annotations

import pytest
import torch

from restore.engine.device import choose_precision
from restore.training.precision import autocast, training_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["fp32", "bf16", "auto"])
def test_on_a_cpu_it_is_that_of_inference(name: str) -> None:
    assert training_precision(name, CPU) == choose_precision(name, CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_convolutions_change_their_type(dtype: torch.dtype) -> None:
    x, weight = torch.rand(1, 2, 8, 8), torch.rand(3, 2, 3, 3)
    with autocast(CPU, dtype):
        assert torch.nn.functional.conv2d(x, weight).dtype == dtype
        assert (x + x).dtype == torch.float32
