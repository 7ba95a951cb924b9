"""The losses in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from restore.training.losses import LOSSES, psnr_of_batch

OFFSET = {
    "l1": 0.1,
    "charbonnier": math.sqrt(0.01 + 1e-6),
    "mse": 0.01,
    "log_mse": 10 * math.log10(0.01 + (0.5 / 255) ** 2),
    "l1_edges": 0.1,  # no step is wrong
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_constant_offset(name: str) -> None:
    clean = torch.rand(3, 3, 8, 8)
    assert LOSSES[name](clean + 0.1, clean).item() == pytest.approx(OFFSET[name], rel=1e-4)


def test_log_mse_counts_pictures_and_not_energy() -> None:
    clean = torch.zeros(2, 1, 4, 4)
    restored = torch.stack([torch.full((1, 4, 4), 0.1), torch.full((1, 4, 4), 0.01)])
    assert LOSSES["log_mse"](restored, clean).item() == pytest.approx(-30, abs=0.1)


def test_psnr_of_a_batch() -> None:
    clean = torch.zeros(2, 1, 4, 4)
    assert psnr_of_batch(clean + 0.1, clean).tolist() == pytest.approx([20, 20], abs=1e-4)
