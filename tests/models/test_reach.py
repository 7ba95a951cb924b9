"""What is measured of a network is what its construction says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.models import reach
from restore.models.denoiser import Denoiser
from restore.models.reach import LiveBytes, Subject, measure
from restore.models.upscaler import Upscaler


def test_a_stack_of_convolutions_reaches_its_radius() -> None:
    layers = nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 1, 7, padding=3))
    found = measure(Subject(layers, 1, 1))
    assert (found.multiple_of, found.halo, found.blend, found.reach) == (1, 5, 0, 5)
    assert found.difference < reach.ROUNDING and found.channels_last


def test_kernels_that_are_zero_are_seen_through() -> None:
    layer = nn.Conv2d(1, 1, 9, padding=4)
    nn.init.zeros_(layer.weight)
    assert measure(Subject(layer, 1, 1)).halo == 4


def test_the_halo_that_our_networks_declare_is_the_measured_one(small_network: Denoiser) -> None:
    found = measure(Subject(small_network, 3, 1, small_network.multiple_of))
    assert (found.halo, found.multiple_of) == (small_network.halo, small_network.multiple_of)
    assert found.blend == 0


def test_distances_are_in_pixels_of_the_input(small_upscaler: Upscaler) -> None:
    found = measure(Subject(small_upscaler, 3, 3, small_upscaler.multiple_of))
    assert found.blend == 0 and found.halo == small_upscaler.halo


def windows(x: Tensor, side: int) -> Tensor:
    """The mean of each window in place of its pixels, padded inside as Swin networks do it."""
    height, width = x.shape[2:]
    x = F.pad(x, (0, -width % side, 0, -height % side), mode="reflect")
    mean = F.avg_pool2d(x, side)
    return F.interpolate(mean, scale_factor=side)[:, :, :height, :width]


@pytest.mark.parametrize("side", [8, 12, 7])
def test_windows_have_a_grid_of_their_own(side: int) -> None:
    found = measure(Subject(lambda x: x + windows(x, side), 1, 1))
    assert found.multiple_of == side and found.blend == 0
    assert found.halo % side == 0


def test_what_looks_at_the_whole_picture_is_blended() -> None:
    found = measure(Subject(lambda x: x * x.mean(dim=(2, 3), keepdim=True), 1, 1))
    assert found.reach is None
    assert (found.halo, found.blend) == (reach.OVERLAP, reach.BLEND)
    assert found.difference > 100 * reach.ROUNDING


def test_a_grid_is_found_where_the_whole_picture_is_seen_too() -> None:
    def both(x: Tensor) -> Tensor:
        return x + windows(x, 8) + 0.1 * x.mean(dim=(2, 3), keepdim=True)

    found = measure(Subject(both, 1, 1))
    assert (found.multiple_of, found.halo % 8, found.blend) == (8, 0, reach.BLEND)


def test_a_reach_that_is_too_far_gets_the_halo_after_which_nothing_changes() -> None:
    kernel = torch.exp(-torch.arange(-220, 221.0).abs())  # far, but 1e-9 after 20 pixels

    def blurred(x: Tensor) -> Tensor:
        rows = F.conv2d(x, kernel.view(1, 1, 1, -1), padding=(0, 220))
        return F.conv2d(rows, kernel.view(1, 1, -1, 1), padding=(220, 0)) / 5

    found = measure(Subject(blurred, 1, 1))
    assert found.reach is None and found.blend == reach.BLEND
    assert reach.BLEND + 8 <= found.halo < reach.BLEND + 30
    assert found.difference <= reach.ROUNDING


def test_nan_that_does_not_survive_is_not_taken_for_no_reach() -> None:
    found = measure(Subject(lambda x: windows(torch.nan_to_num(x), 4), 1, 1))
    assert found.blend > 0


def test_networks_that_view_their_tensors_do_not_run_channels_last() -> None:
    class Viewing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            flat = x.view(x.shape[0], -1)  # fails where channels lie side by side
            return flat.view(x.shape)

    assert not measure(Subject(Viewing(), 3, 1)).channels_last


def test_memory_is_what_is_alive_at_once() -> None:
    x = torch.zeros(1000)
    with LiveBytes() as live:
        a: Any = x + 1
        a = a + 1  # two, then one of them is gone
        a = a.view(10, 100) + 1
    assert live.most == 2 * x.nbytes
