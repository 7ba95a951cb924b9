"""A network made ready for a device: a copy there, or its layers laid out for bands of rows."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from restore.engine.rows.layers import Layers, can_stream
from restore.engine.tiling import round_up
from restore.models.network import Network


class Kept:
    """A network that is not changed any more: its prepared copies are kept for the next picture."""

    def __init__(self, network: Network) -> None:
        """Wrap a network."""
        self.network, self.card = network, network.card
        self.channels, self.scale = network.channels, network.scale
        self.multiple_of, self.halo = network.multiple_of, network.halo
        self.border = border_of(network)
        self.copies: dict[tuple[torch.device, torch.dtype], Network] = {}
        self.layers: dict[torch.dtype, Layers] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """As the network itself."""
        return self.network(x)


def prepare(network: Network, device: torch.device, dtype: torch.dtype) -> Network:
    """The network on the device, its kernels in `dtype` and channels last; the given one stays."""
    if isinstance(network, Kept):
        key = (device, dtype)
        if key not in network.copies:
            network.copies[key] = prepare(network.network, device, dtype)
        return network.copies[key]
    if not isinstance(network, nn.Module):
        return network
    # torch's stubs know `to` with a memory format only alone
    return copy.deepcopy(network).eval().to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def layers_of(network: Network, dtype: torch.dtype) -> Layers:
    """The layers of a network that can be streamed; those of a kept one are laid out once."""
    plain = bare(network)
    assert can_stream(plain)
    if not isinstance(network, Kept):
        return Layers(plain, dtype)
    if dtype not in network.layers:
        network.layers[dtype] = Layers(plain, dtype)
    return network.layers[dtype]


def bare(network: Network) -> Network:
    """The network itself, out of what keeps its copies."""
    return network.network if isinstance(network, Kept) else network


def border_of(network: Network) -> int:
    """By how many pixels a picture is mirrored around itself before the network sees it."""
    return int(getattr(network, "border", 0))


def smallest_window(network: Network) -> int:
    """The side of the smallest window that keeps anything: two halos and one grid cell."""
    return 2 * round_up(network.halo, network.multiple_of) + network.multiple_of


def useful_window(network: Network) -> int:
    """The side of the smallest window that is planned where memory is short: half of it is kept.

    Smaller ones would work, too, and compute each pixel ten or a thousand times.
    """
    return max(smallest_window(network), 4 * round_up(network.halo, network.multiple_of))
