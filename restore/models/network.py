"""The contract between a network and everything that runs one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from restore.errors import InputError
from restore.models.card import ModelCard, Noise

if TYPE_CHECKING:
    from torch import Tensor


class Network(Protocol):
    """What the engine and the tasks know of a network: all of it declared, nothing looked up.

    A class of your own satisfies it by declaring the same attributes, or by deriving from
    `BaseNetwork` and declaring the first four.

    channels:    1 or 3, of the input and of the output
    scale:       the output is so many times as high and wide as the input; 1 for denoising
    multiple_of: height and width of the input must be multiples of this
    halo:        input pixels around a tile on which the tile's output can depend
    border:      pixels by which the picture is mirrored on all sides before the network sees it, a
                 multiple of `multiple_of`, so that the zeros of its padding lie outside the picture
    noise:       what it was trained to remove: "none", "white" noise only, or "mixed" noise as
                 cameras and files have it
    noise_inputs: how many numbers about the noise it is conditioned on with `conditioned_on`: 0 for
                 a blind network, 1 for the noise level, 3 for `models.noise_level.LEVELS`
    sigma:       the noise level (0-255) that it is conditioned on; None: it judges that itself
    card:        the model card, where the network was loaded from a weights file
    """

    channels: int
    scale: int
    multiple_of: int
    halo: int
    border: int
    noise: Noise
    sigma: float | None
    card: ModelCard | None

    @property
    def noise_inputs(self) -> int:
        """How many numbers about the noise it is conditioned on."""

    def conditioned_on(self, *noise: float) -> Network:
        """A network that shares the kernels of this one and is told these numbers (0-255)."""

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C, scale H, scale W)."""


class BaseNetwork:
    """Defaults for what few networks declare otherwise; see `Network`."""

    border: int = 0
    noise: Noise = "none"
    sigma: float | None = None
    card: ModelCard | None = None

    @property
    def noise_inputs(self) -> int:
        """None: the network is blind."""
        return 0

    def conditioned_on(self, *noise: float) -> Any:
        """Raises ValueError: the network is blind."""
        raise ValueError(f"this network is conditioned on 0 numbers, not {len(noise)}")


REQUIRED = (
    "channels", "scale", "multiple_of", "halo", "border", "noise", "sigma", "card", "noise_inputs",
)  # fmt: skip


def check_network(network: object) -> None:
    """Raise InputError for an object that does not declare what `Network` asks for."""
    missing = [name for name in REQUIRED if not hasattr(network, name)]
    if missing or not callable(network):
        lacking = ", ".join(missing) or "a forward call"
        raise InputError(
            f"{type(network).__name__} is not a network that can be run here, it lacks {lacking}; "
            "derive it from restore.models.network.BaseNetwork and declare channels, scale, "
            "multiple_of and halo"
        )
