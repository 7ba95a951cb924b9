"""The fused operators do what the plain ones do, and are not needed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from restore.engine.rows import convolution as fused
from restore.engine.rows.convolution import Convolution, Upsampling, can_fuse

CHANNELS_LAST = torch.channels_last


def made(*shape: int) -> torch.Tensor:
    return (torch.rand(*shape) - 0.5).contiguous(memory_format=CHANNELS_LAST)


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("with_fusion", [False, True])
@torch.inference_mode()
def test_a_band_is_convolved_and_added(with_fusion: bool, framed: bool) -> None:
    if with_fusion and not can_fuse(torch.float32):
        pytest.skip("this build of torch has no fused operators")
    weight = made(5, 5, 3, 3)
    x = made(1, 5, 9, 13 if framed else 11)
    convolution = Convolution(weight, framed=framed, fused=with_fusion)
    wanted = F.conv2d(x, weight, padding=(0, 0 if framed else 1))
    assert wanted.shape == (1, 5, 7, 11)
    torch.testing.assert_close(convolution(x), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(convolution(x, relu=True), wanted.relu(), atol=1e-5, rtol=0)
    held = made(1, 5, 11, 11)
    before = held.clone()
    found = convolution.added_to(held[:, :, 2:-2], x)
    torch.testing.assert_close(found, before[:, :, 2:-2] + wanted, atol=1e-5, rtol=0)
    assert torch.equal(held[:, :, :2], before[:, :, :2])


@torch.inference_mode()
def test_growth_is_the_transposed_convolution() -> None:
    weight, x = made(6, 4, 2, 2), made(1, 6, 3, 5)
    wanted = F.conv_transpose2d(x, weight, stride=2)[0].permute(1, 2, 0)
    for row in (0, 1):
        torch.testing.assert_close(Upsampling(weight)(x, row), wanted[row::2], atol=1e-6, rtol=0)


def test_a_torch_without_the_operators_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(weight: torch.Tensor, padding: list[int]) -> torch.Tensor:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute")

    can_fuse.cache_clear()
    monkeypatch.setattr(fused, "_pack", missing)
    assert not can_fuse(torch.float32)
    can_fuse.cache_clear()


def test_operators_that_do_something_else_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    real = fused._pack
    monkeypatch.setattr(fused, "_pack", lambda weight, padding: real(2 * weight, padding))
    can_fuse.cache_clear()
    assert not can_fuse(torch.float32)
    can_fuse.cache_clear()
