"""A network prepared for a device; the smallest tiles it can use."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import nn

from restore.engine.tiling import round_up
from restore.models.ensemble import Ensemble
from restore.models.network import BaseNetwork, Network, Prepared
from restore.models.unet import UNet


def prepare(network: Network, device: torch.device, dtype: torch.dtype) -> Network:
    """A copy of the network on the device, its kernels in `dtype` and channels last."""
    if isinstance(network, Ensemble):
        return Ensemble(prepare(network.network, device, dtype))
    if not isinstance(network, nn.Module):
        return network
    key = "tiles", device, dtype
    found = prepared_of(network).once(key, lambda: _copied(network, device, dtype))
    if isinstance(found, UNet) and isinstance(network, UNet):
        return found.with_head(_copied(network.head, device, dtype))
    return cast("Network", found)


def prepared_of(network: object) -> Prepared:
    """What is kept of a network; an empty one, which nobody keeps, where nothing may be."""
    kept = network.prepared if isinstance(network, BaseNetwork) else None
    return Prepared() if kept is None else kept


def _copied(module: nn.Module, device: torch.device, dtype: torch.dtype) -> Any:
    # torch's type stubs lack this overload of `to`
    return copy.deepcopy(module).eval().to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]


def smallest_tile(network: Network) -> int:
    """The side of the smallest tile that has a core: two halos and one cell of the grid."""
    core = round_up(max(1, 2 * network.blend), network.multiple_of)
    return max(2 * round_up(network.halo, network.multiple_of) + core, network.minimum)


def useful_tile(network: Network) -> int:
    """The side of the smallest tile worth planning if memory is short: half of it is core.

    Smaller tiles would work, but compute each pixel ten or even a thousand times.
    """
    return max(smallest_tile(network), 4 * round_up(network.halo, network.multiple_of))
