"""A network prepared for a device and cached; the smallest tiles it can use."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from restore.engine.tiling import round_up
from restore.models.network import BaseNetwork, Network, declare_like


class CachedNetwork(BaseNetwork):
    """A network whose prepared copies are cached; it must not be modified afterwards."""

    channels: int
    scale: int
    multiple_of: int
    halo: int

    def __init__(self, network: Network) -> None:
        """Wrap a network."""
        self.network = network
        declare_like(self, network)
        self.copies: dict[tuple[torch.device, torch.dtype], Network] = {}
        self.layouts: dict[
            torch.dtype, object
        ] = {}  # prepared kernels, for backends that have their own format

    def __call__(self, x: Tensor) -> Tensor:
        """The output of the network itself."""
        return self.network(x)


def prepare(network: Network, device: torch.device, dtype: torch.dtype) -> Network:
    """A copy of the network on the device, its kernels in `dtype` and channels last."""
    if isinstance(network, CachedNetwork):
        key = (device, dtype)
        if key not in network.copies:
            network.copies[key] = prepare(network.network, device, dtype)
        return network.copies[key]
    if not isinstance(network, nn.Module):
        return network
    # torch's type stubs lack this overload of `to`
    return copy.deepcopy(network).eval().to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def uncached(network: Network) -> Network:
    """The network without its cache."""
    return network.network if isinstance(network, CachedNetwork) else network


def smallest_tile(network: Network) -> int:
    """The side of the smallest tile that has a core: two halos and one cell of the grid."""
    core = round_up(max(1, 2 * network.blend), network.multiple_of)
    return max(2 * round_up(network.halo, network.multiple_of) + core, network.minimum)


def useful_tile(network: Network) -> int:
    """The side of the smallest tile worth planning if memory is short: half of it is core.

    Smaller tiles would work, but compute each pixel ten or even a thousand times.
    """
    return max(smallest_tile(network), 4 * round_up(network.halo, network.multiple_of))
