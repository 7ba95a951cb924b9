"""What every autoencoder of the family has in common: its interface, checks and first weights.

An autoencoder learns to reconstruct its input from a code: `encode` turns a picture into the code,
`decode` turns the code into a picture, `loss` measures how different the two pictures are. Pictures
are float32 (N, C, H, W) in [0, 1], codes are (N, latent). A loss is summed over the values of a
picture and averaged over the batch: squared errors in the unit of Hinton and Salakhutdinov (Science
313:504, 2006), cross-entropies in nats.
"""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from restore.errors import InputError
from restore.models.card import ModelCard


class Loss(NamedTuple):
    """A scalar to minimise, and the named terms it is the weighted sum of."""

    total: Tensor
    parts: dict[str, Tensor]


class Phase(NamedTuple):
    """A phase of a training: which loss is minimised, over which parameters, for how long."""

    name: str
    loss: Callable[[Tensor, torch.Generator | None], Loss]
    parameters: list[nn.Parameter]
    share: float  # of all epochs, 0 to 1


class Autoencoder(nn.Module, abc.ABC):
    """The interface of every autoencoder; each kind defines the abstract methods.

    shape:  (channels, height, width) of a picture
    latent: numbers in a code
    card:   the model card, where the network was loaded from a weights file
    """

    linear_output = False  # else a sigmoid follows the last layer

    def __init__(self, shape: Sequence[int], latent: int, **arguments: Any) -> None:
        """Check the sizes; keep all arguments, for a weights file is rebuilt from them.

        Raises InputError for a shape or a code size that is impossible.
        """
        super().__init__()
        self.shape = check_shape(shape)
        self.latent = check_latent(latent, self.shape)
        self.size = math.prod(self.shape)
        self.arguments = {"shape": list(self.shape), "latent": latent, **arguments}
        self.card: ModelCard | None = None

    @abc.abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [0, 1] -> codes (N, latent)."""

    @abc.abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Codes (N, latent) -> pictures (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of pictures: (N, C, H, W) -> (N, C, H, W)."""
        return self.decode(self.encode(x))

    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """The training loss on pictures (N, C, H, W); `generator` draws what is random in it."""
        reconstruction = squared_error(self(x), x)
        return Loss(reconstruction, {"reconstruction": reconstruction})

    def phases(self) -> list[Phase]:
        """The phases of its training, in order; most kinds have one."""
        return [Phase("training", self.loss, list(self.parameters()), 1.0)]

    @abc.abstractmethod
    def outer_layers(self) -> tuple[nn.Linear | None, nn.Module]:
        """The first layer, or None where that is a convolution, and the last layer."""

    def centre(self, mean: Tensor) -> None:
        """Set the first biases so that an untrained network outputs the mean picture.

        mean: (C, H, W), of the training pictures. The first layer then works on the difference
        from it. Without this the first epochs only teach the network that corners are black. A
        last layer whose bias is not zero has been trained, and nothing is changed.
        """
        first, last = self.outer_layers()
        # mypy does not know that every last layer has a bias
        bias: Tensor = last.bias  # type: ignore[assignment]
        if bias.any():
            return
        with torch.no_grad():
            start = mean if len(bias) == self.size else mean.mean((1, 2))
            bias.copy_(
                (start if self.linear_output else start.clamp(0.002, 0.998).logit()).flatten()
            )
            if first is not None:
                first.bias.sub_(first.weight @ mean.flatten())

    def anneal(self, progress: float) -> None:
        """Called before each step with the progress of the training, 0 to 1; does nothing here."""


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Squared error summed over the values of a picture and averaged over the pictures."""
    return (as_float32(output) - as_float32(target)).square().flatten(1).sum(1).mean()


def as_float32(x: Tensor) -> Tensor:
    """Half precision to float32, for sigmoids and losses; other types unchanged."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def check_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Three positive whole numbers. Raises InputError for anything else."""
    sizes = tuple(shape)
    if len(sizes) != 3 or not all(isinstance(s, int) and s > 0 for s in sizes):
        raise InputError(
            f"the shape of a picture is (channels, height, width), each at least 1, not {sizes}"
        )
    return sizes


def check_latent(latent: int, shape: tuple[int, int, int]) -> int:
    """A code size from 1 to the number of values in a picture. Raises InputError for any other."""
    size = math.prod(shape)
    if not isinstance(latent, int) or not 1 <= latent <= size:
        raise InputError(
            f"the code size must be from 1 to {size}, the number of values in a picture, "
            f"not {latent}"
        )
    return latent


def check_widths(widths: Sequence[int]) -> list[int]:
    """Layer widths, all positive. Raises InputError otherwise."""
    if not all(isinstance(w, int) and w > 0 for w in widths):
        raise InputError(f"layer widths are whole numbers of at least 1, not {list(widths)}")
    return list(widths)


def initialise(network: nn.Module, seed: int | None) -> None:
    """He initialisation and zero biases, drawn from a seed.

    With None nothing is drawn: the weights will be loaded.
    """
    if seed is None:
        return
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def shrink_weights(*layers: nn.Module, factor: float = 0.1) -> None:
    """Scale the first weights of layers down, so that an untrained output is even, not noise."""
    for layer in layers:
        # mypy does not know that the weight of these modules is a tensor
        layer.weight.data.mul_(factor)  # type: ignore[operator]


def dense_layers(widths: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers from width to width, with an activation between them and none at the end."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def linear_layers(stack: nn.Sequential) -> list[nn.Linear]:
    """The linear layers of `dense_layers`, in order."""
    return [layer for layer in stack if isinstance(layer, nn.Linear)]
