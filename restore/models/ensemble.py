"""Self-ensemble: a network that answers with the mean over the eight dihedral views of its input.

A network's answer to a turned picture is not quite the turned answer; the mean over all eight is
closer to the truth (Timofte et al., "Seven ways to improve example-based single image super
resolution", CVPR 2016). Eight times the work for a few hundredths of a decibel. Each window is
turned, not the picture: windows begin and end on the network's grid, so tiled still equals untiled.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from restore.models.network import BaseNetwork, Network

VIEWS = tuple((mirrored, turns) for mirrored in (False, True) for turns in range(4))


class Ensemble(nn.Module, BaseNetwork):
    """The mean over eight views of what another network gives; its geometry is that network's."""

    def __init__(self, network: Network) -> None:
        """`network`: any network of the engine's contract."""
        super().__init__()
        self.network = network
        self.channels, self.scale = network.channels, network.scale
        self.multiple_of, self.halo = network.multiple_of, network.halo
        self.border, self.noise = network.border, network.noise
        self.sigma, self.card = network.sigma, network.card

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, scale H, scale W)."""
        total = None
        for mirrored, turns in VIEWS:
            view = torch.rot90(x.flip(3) if mirrored else x, turns, (2, 3))
            answer = self.network(view.contiguous(memory_format=torch.channels_last))
            answer = torch.rot90(answer, -turns, (2, 3))
            answer = answer.flip(3) if mirrored else answer
            total = answer.clone() if total is None else total.add_(answer)
        assert total is not None
        return total.div_(len(VIEWS))
