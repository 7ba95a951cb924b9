"""What training minimises: one function per loss, picture batches in, a scalar out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def l1(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (restored - clean).abs().mean()


def charbonnier(restored: Tensor, clean: Tensor) -> Tensor:
    """sqrt(difference^2 + 1e-6), averaged: L1 with a round tip (Lai et al., LapSRN, CVPR 2017)."""
    return ((restored - clean).square() + 1e-6).sqrt().mean()


def mse(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean squared difference."""
    return (restored - clean).square().mean()


def log_mse(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean over the batch of log10 of each picture's squared error, in decibels (negative PSNR).

    So light and heavy noise count alike, as they do in a mean of PSNRs (Chen et al., "HINet",
    CVPRW 2021). The floor of half a grey level keeps pictures without noise from dominating.
    """
    errors = (restored - clean).square().flatten(1).mean(1)
    return 10 * torch.log10(errors + (0.5 / 255) ** 2).mean()


def l1_edges(restored: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute difference of the pictures and, at equal weight, of their steps.

    A step is the difference of two neighbours. A blurred edge is wrong by little in its pixels but
    by all of its height in its steps; texture that is not there costs in both, so none is invented.
    """
    wrong = restored - clean
    return wrong.abs().mean() + wrong.diff(dim=2).abs().mean() + wrong.diff(dim=3).abs().mean()


Loss = Callable[[Tensor, Tensor], Tensor]  # of what is restored and what is clean

LOSSES: dict[str, Loss] = {
    "l1": l1,
    "charbonnier": charbonnier,
    "mse": mse,
    "log_mse": log_mse,
    "l1_edges": l1_edges,
}


def psnr_of_batch(restored: Tensor, clean: Tensor) -> Tensor:
    """PSNR of each picture of a batch in [0, 1], (N, C, H, W) -> (N,), not rounded to 8 bits."""
    errors = (restored - clean).square().flatten(1).mean(1)
    return -10 * errors.clamp(min=1e-12).log10()
