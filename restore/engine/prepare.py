"""A network made ready for a device, and kept ready; how small its tiles may be."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from restore.engine.tiling import round_up
from restore.models.network import BaseNetwork, Network


class CachedNetwork(BaseNetwork):
    """A network whose prepared copies are kept for the next picture; it must not be changed."""

    def __init__(self, network: Network) -> None:
        """Wrap a network."""
        self.network, self.card = network, network.card
        self.noise, self.sigma = network.noise, network.sigma
        self.channels, self.scale = network.channels, network.scale
        self.multiple_of, self.halo = network.multiple_of, network.halo
        self.border = network.border
        self.copies: dict[tuple[torch.device, torch.dtype], Network] = {}
        self.layouts: dict[torch.dtype, object] = {}  # of backends that lay out kernels themselves

    def __call__(self, x: Tensor) -> Tensor:
        """The network itself."""
        return self.network(x)


def prepare(network: Network, device: torch.device, dtype: torch.dtype) -> Network:
    """The network on the device, its kernels in `dtype` and channels last; the given one stays."""
    if isinstance(network, CachedNetwork):
        key = (device, dtype)
        if key not in network.copies:
            network.copies[key] = prepare(network.network, device, dtype)
        return network.copies[key]
    if not isinstance(network, nn.Module):
        return network
    # torch's stubs know `to` with a memory format only alone
    return copy.deepcopy(network).eval().to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def uncached(network: Network) -> Network:
    """The network itself, without its cache."""
    return network.network if isinstance(network, CachedNetwork) else network


def smallest_tile(network: Network) -> int:
    """The side of the smallest tile that keeps anything: two halos and one cell of the grid."""
    return 2 * round_up(network.halo, network.multiple_of) + network.multiple_of


def useful_tile(network: Network) -> int:
    """The side of the smallest tile that is planned where memory is short: half of it is kept.

    Smaller ones would work, too, and compute each pixel ten or a thousand times.
    """
    return max(smallest_tile(network), 4 * round_up(network.halo, network.multiple_of))
