"""The interface of a network: what the engine and the tasks know of it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from restore.errors import InputError
from restore.models.card import ModelCard, Noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


Made = TypeVar("Made")


class Network(Protocol):
    """What the engine and the tasks know of a network.

    A class satisfies it by declaring these attributes, or by deriving from `BaseNetwork` and
    declaring the first four.

    channels:    1 or 3, of the input and of the output
    scale:       factor by which the output is higher and wider than the input; 1 for denoising
    multiple_of: height and width of the input must be multiples of this
    halo:        input pixels around a tile on which the tile's output can depend
    border:      width in pixels of the mirrored border that is added on all sides of the picture, a
                 multiple of `multiple_of`; it keeps the zero padding away from the picture
    minimum:     least height and width of its input, a multiple of `multiple_of`
    square:      whether its input must be square
    blend:       0: a tile with its halo gives what the whole picture gives. Else the output also
                 depends on pixels beyond the halo, and neighbouring tiles are blended over this
                 many pixels of the halo on each side of their common edge
    precisions:  of its kernels, those it may run in: "fp32" and any of "bf16" and "fp16"
    footprint:   values per input pixel that it holds in memory at once, where it was measured;
                 None: the engine's estimate
    noise:       what it was trained to remove: "none", "white" noise only, "mixed" noise as found
                 in photographs and compressed files, or "unknown"
    noise_inputs: how many numbers `conditioned_on` takes: 0 for a blind network, 1 for a noise
                 level, 3 for `models.noise_level.LEVELS`
    sigma:       the noise level (0-255) it is conditioned on; None: no level is given to it
    card:        the model card; None unless the network was loaded from a weights file
    """

    channels: int
    scale: int
    multiple_of: int
    halo: int
    border: int
    minimum: int
    square: bool
    blend: int
    precisions: tuple[str, ...]
    footprint: int | None
    noise: Noise
    sigma: float | None
    card: ModelCard | None

    @property
    def noise_inputs(self) -> int:
        """How many numbers `conditioned_on` takes; 0 for a blind network."""

    def conditioned_on(self, *noise: float) -> Network:
        """A network with the same kernels, conditioned on these noise levels (0-255)."""

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, scale H, scale W)."""


class Prepared(dict[Any, Any]):
    """What backends made of a network's kernels, by what they made; it is not copied or sent."""

    def once(self, key: Any, make: Callable[[], Made]) -> Made:
        """What is kept by this key; made if there is none yet."""
        if key not in self:
            self[key] = make()
        found: Made = self[key]
        return found

    def __reduce__(self) -> Any:
        """An empty one."""
        return Prepared, ()


class BaseNetwork:
    """Default values of the attributes that few networks need to change; see `Network`.

    prepared: what backends keep of its kernels for the next picture, shared by the networks that
              differ only in what they are conditioned on; None: they keep nothing, as its kernels
              may change
    """

    border: int = 0
    minimum: int = 1
    square: bool = False
    blend: int = 0
    precisions: tuple[str, ...] = ("fp32", "bf16", "fp16")
    footprint: int | None = None
    noise: Noise = "none"
    sigma: float | None = None
    card: ModelCard | None = None
    prepared: Prepared | None = None

    @property
    def noise_inputs(self) -> int:
        """0: the network is blind."""
        return 0

    def conditioned_on(self, *noise: float) -> Any:
        """Raises ValueError, because the network is blind."""
        raise ValueError(f"this network takes 0 noise levels, not {len(noise)}")


DECLARED = (
    "channels", "scale", "multiple_of", "halo", "border", "minimum", "square", "blend",
    "precisions", "footprint", "noise", "sigma", "card",
)  # fmt: skip


def declare_like(network: Any, other: Network) -> None:
    """Give a network around another one the attributes of that one."""
    for name in DECLARED:
        setattr(network, name, getattr(other, name))


def keeping(network: Network) -> Network:
    """The network with `prepared`: itself, or a copy that shares its kernels.

    They must not be changed while it is used. A network that is no module of torch has none.
    """
    from torch import nn

    if not isinstance(network, BaseNetwork) or not isinstance(network, nn.Module):
        return network
    if network.prepared is not None:
        return network
    kept = copy.copy(network)
    kept.prepared = Prepared()
    return kept


def check_network(network: object) -> None:
    """Raise InputError for an object that does not satisfy `Network`."""
    missing = [name for name in (*DECLARED, "noise_inputs") if not hasattr(network, name)]
    if missing or not callable(network):
        lacking = ", ".join(missing) or "__call__"
        raise InputError(
            f"{type(network).__name__} cannot be run as a network, because it lacks {lacking}; "
            "derive it from restore.models.network.BaseNetwork and declare channels, scale, "
            "multiple_of and halo"
        )
