"""Self-ensemble: the mean of a network's outputs for eight rotated and mirrored inputs.

The output for a rotated picture is not exactly the rotated output; the mean of all eight is closer
to the clean picture (Timofte et al., "Seven ways to improve example-based single image super
resolution", CVPR 2016). It takes eight times as long and gains a few hundredths of a decibel. Each
window is rotated, not the picture: windows begin and end on the network's grid, so the tiled result
still equals the untiled one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from restore.models.network import BaseNetwork, Network, declare_like

VIEWS = tuple((mirrored, turns) for mirrored in (False, True) for turns in range(4))


class Ensemble(nn.Module, BaseNetwork):
    """The mean of another network's outputs for eight views; its geometry is that network's."""

    channels: int
    scale: int
    multiple_of: int
    halo: int

    def __init__(self, network: Network) -> None:
        """network: any `Network`."""
        super().__init__()
        self.network = network
        declare_like(self, network)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, scale H, scale W)."""
        total = None
        for mirrored, turns in VIEWS:
            view = torch.rot90(x.flip(3) if mirrored else x, turns, (2, 3))
            output = self.network(view.contiguous(memory_format=torch.channels_last))
            output = torch.rot90(output, -turns, (2, 3))
            output = output.flip(3) if mirrored else output
            total = output.clone() if total is None else total.add_(output)
        assert total is not None
        return total.div_(len(VIEWS))
