"""The fused operators do what the plain ones do, and are not needed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from restore.inference import fused
from restore.inference.fused import Convolution, Growth, can_fuse

CHANNELS_LAST = torch.channels_last


def made(*shape: int) -> torch.Tensor:
    return (torch.rand(*shape) - 0.5).contiguous(memory_format=CHANNELS_LAST)


@pytest.mark.parametrize("with_fusion", [False, True])
@torch.inference_mode()
def test_a_band_is_convolved_and_added(with_fusion: bool) -> None:
    if with_fusion and not can_fuse(torch.float32):
        pytest.skip("this build of torch has no fused operators")
    conv = nn.Conv2d(5, 7, 3, padding=1, bias=False)
    x = made(1, 5, 9, 11)
    convolution = Convolution(conv, with_fusion)
    wanted = conv(x)[:, :, 1:-1]
    torch.testing.assert_close(convolution(x), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(convolution(x, relu=True), wanted.relu(), atol=1e-5, rtol=0)
    held = made(1, 7, 11, 11)
    before = held.clone()
    found = convolution.added_to(held[:, :, 2:-2], x)
    torch.testing.assert_close(found, before[:, :, 2:-2] + wanted, atol=1e-5, rtol=0)
    assert torch.equal(held[:, :, :2], before[:, :, :2])


@torch.inference_mode()
def test_growth_is_the_transposed_convolution() -> None:
    conv = nn.ConvTranspose2d(6, 4, 2, stride=2, bias=False)
    x, skip = made(1, 6, 3, 5), made(1, 4, 6, 10)
    wanted = skip + F.conv_transpose2d(x, conv.weight, stride=2)
    skip = skip.contiguous(memory_format=torch.channels_last)
    Growth(conv).added_to(skip, x)
    torch.testing.assert_close(skip, wanted, atol=1e-6, rtol=0)


def test_a_torch_without_the_operators_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(weight: torch.Tensor) -> torch.Tensor:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute")

    can_fuse.cache_clear()
    monkeypatch.setattr(fused, "_pack", missing)
    assert not can_fuse(torch.float32)
    can_fuse.cache_clear()


def test_operators_that_do_something_else_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    real = fused._pack
    monkeypatch.setattr(fused, "_pack", lambda weight: real(2 * weight))
    can_fuse.cache_clear()
    assert not can_fuse(torch.float32)
    can_fuse.cache_clear()
