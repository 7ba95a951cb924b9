"""The autoencoder family's common interface, and its plain dense members.

Every member learns to give back its input through a code: `encode` makes the code, `decode` turns
it into a picture, `loss` says how badly that went. Pictures are float32 (N, C, H, W) in [0, 1],
codes are (N, latent). Losses are per picture, summed over its samples and averaged over the batch:
the unit of Hinton and Salakhutdinov (Science 313:504, 2006) for squared error, nats for entropies.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import InputError
from restore.models.card import ModelCard


class Loss(NamedTuple):
    """A scalar to minimise and the named parts it is made of, before their weights."""

    total: Tensor
    parts: dict[str, Tensor]


class Phase(NamedTuple):
    """A stretch of a training: what is minimised, over which parameters, for how much of it."""

    name: str
    loss: Callable[[Tensor, torch.Generator | None], Loss]
    parameters: list[nn.Parameter]
    share: float  # of all epochs


class Autoencoder(nn.Module):
    """What all members have in common; each gives `encode` and `decode`, and some their own loss.

    shape:  (channels, height, width) of a picture
    latent: numbers in a code
    """

    linear_exit = False  # a sigmoid follows the last layer

    def __init__(self, shape: Sequence[int], latent: int, **arguments: Any) -> None:
        """Check the sizes and keep the arguments, from which a weights file is loaded again."""
        super().__init__()
        self.shape = check_shape(shape)
        self.latent = check_latent(latent, self.shape)
        self.size = math.prod(self.shape)
        self.arguments = {"shape": list(self.shape), "latent": latent, **arguments}
        self.card: ModelCard | None = None

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, latent)."""
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, C, H, W)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The picture through its code and back: (N, C, H, W) -> (N, C, H, W)."""
        return self.decode(self.encode(x))

    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """How badly pictures are given back; `generator` is for the members that draw at random."""
        reconstruction = squared_error(self(x), x)
        return Loss(reconstruction, {"reconstruction": reconstruction})

    def phases(self) -> list[Phase]:
        """The stretches of its training, in order: for most members one."""
        return [Phase("training", self.loss, list(self.parameters()), 1.0)]

    def edges(self) -> tuple[nn.Linear | None, nn.Module]:
        """The dense layer that sees the picture, if it has one, and the layer that makes it."""
        raise NotImplementedError

    def centre(self, mean: Tensor) -> None:
        """Before a training: the exit gives back the mean picture, the entry sees what differs.

        mean: (C, H, W), of the training pictures. An exit that has learned a bias is left alone.
        Without it the first epochs are spent on learning that corners are black.
        """
        entry, last = self.edges()
        # exits are convolutions or matrices, which have one; to mypy it may be a module
        bias: Tensor = last.bias  # type: ignore[assignment]
        if bias.any():
            return
        with torch.no_grad():
            start = mean if len(bias) == self.size else mean.mean((1, 2))
            bias.copy_((start if self.linear_exit else start.clamp(0.002, 0.998).logit()).flatten())
            if entry is not None:
                entry.bias.sub_(entry.weight @ mean.flatten())

    def anneal(self, progress: float) -> None:
        """Told at each step how far the training is (0 to 1); only the variational one listens."""


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Summed over the samples of a picture, averaged over the pictures."""
    return (full(output) - full(target)).square().flatten(1).sum(1).mean()


def full(x: Tensor) -> Tensor:
    """Out of half precision. Exits and losses are float32 where a training runs in bf16."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def check_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Three positive whole numbers. Raises InputError for anything else."""
    sizes = tuple(shape)
    if len(sizes) != 3 or not all(isinstance(s, int) and s > 0 for s in sizes):
        raise InputError(f"a picture's shape is (channels, height, width), not {sizes}")
    return sizes


def check_latent(latent: int, shape: tuple[int, int, int]) -> int:
    """A code size from 1 to the picture's own size. Raises InputError for any other."""
    size = math.prod(shape)
    if not 1 <= latent <= size:
        raise InputError(
            f"a code of {latent} numbers cannot be learned from pictures of {size} samples; "
            f"give a code size from 1 to {size}"
        )
    return latent


def check_widths(widths: Sequence[int]) -> list[int]:
    """Layer widths, all positive. Raises InputError otherwise."""
    if not all(isinstance(w, int) and w > 0 for w in widths):
        raise InputError(f"layer widths are whole numbers above 0, not {list(widths)}")
    return list(widths)


def initialise(network: nn.Module, seed: int | None) -> None:
    """He initialisation and zero biases, drawn from a seed; None leaves them to be loaded over."""
    if seed is None:
        return
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def shrink(*layers: nn.Module, factor: float = 0.1) -> None:
    """Scale the first weights of layers down. An exit then begins at mid-grey, not at noise."""
    for layer in layers:
        # to mypy the weight of a module may be a module
        layer.weight.data.mul_(factor)  # type: ignore[operator]


def dense(widths: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers from width to width with an activation between them, none after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


class LinearAutoencoder(Autoencoder):
    """One linear layer in, one out, no activation: its best code spans PCA's subspace.

    Baldi and Hornik, "Neural networks and principal component analysis" (Neural Networks 2, 1989):
    every minimum of the squared error is a projection onto the leading principal components, up to
    an invertible change of the code. The output is not bound to [0, 1].
    """

    linear_exit = True

    def __init__(self, shape: Sequence[int], latent: int = 32, seed: int | None = 0) -> None:
        """`seed`: of the first weights."""
        super().__init__(shape, latent)
        self.encoder = nn.Linear(self.size, latent)
        self.decoder = nn.Linear(latent, self.size)
        initialise(self, seed)
        # what lies off the data's subspace never decays: begin near zero
        shrink(self.encoder, self.decoder, factor=0.02)

    def edges(self) -> tuple[nn.Linear, nn.Linear]:
        """Encoder and decoder."""
        return self.encoder, self.decoder

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, latent)."""
        z: Tensor = self.encoder(x.flatten(1))
        return z

    def decode(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, C, H, W), not clipped."""
        y: Tensor = self.decoder(z)
        pictures: Tensor = y.unflatten(1, self.shape)
        return pictures


class VanillaAutoencoder(Autoencoder):
    """Dense layers, ReLU between them, a linear code and a sigmoid at the exit.

    Goodfellow, Bengio and Courville, "Deep Learning" (2016), chapter 14. By default
    784-128-32-128-784 on digits of 28x28.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 32,
        hidden: Sequence[int] = (128,),
        seed: int | None = 0,
    ) -> None:
        """`hidden`: widths of the encoder's layers; the decoder has them in reverse."""
        super().__init__(shape, latent, hidden=check_widths(hidden))
        self.encoder = dense([self.size, *hidden, latent])
        self.decoder = dense([latent, *reversed(hidden), self.size])
        initialise(self, seed)
        shrink(self.decoder[-1])

    def edges(self) -> tuple[nn.Linear, nn.Linear]:
        """The first layer of the encoder, the last of the decoder."""
        return linear_layers(self.encoder)[0], linear_layers(self.decoder)[-1]

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, latent)."""
        z: Tensor = self.encoder(x.flatten(1))
        return z

    def decode(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, C, H, W) in [0, 1]."""
        y: Tensor = self.decoder(z)
        pictures: Tensor = torch.sigmoid(full(y)).unflatten(1, self.shape)
        return pictures


class StackedAutoencoder(VanillaAutoencoder):
    """Several layers, each first trained alone on the codes of those below, then all together.

    Bengio, Lamblin, Popovici and Larochelle, "Greedy layer-wise training of deep networks"
    (NIPS 2006). The widths are those of Hinton and Salakhutdinov (2006), 784-1000-500-250-30, by
    half. With `pretrain=0` it is trained from scratch, to be compared with.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 32,
        hidden: Sequence[int] = (500, 250, 125),
        pretrain: float = 0.5,
        seed: int | None = 0,
    ) -> None:
        """`pretrain`: share of the epochs spent on training the layers one by one."""
        if not 0 <= pretrain < 1:
            raise InputError(f"the share of pretraining is from 0 to below 1, not {pretrain}")
        super().__init__(shape, latent, hidden, seed)
        self.arguments["pretrain"] = pretrain
        self.pretrain = pretrain
        # Each pair of layers begins tied, as that paper kept them: of a random layer of ReLU the
        # transpose is roughly the way back. The exit has a sigmoid and begins at the mean picture.
        encoders, decoders = linear_layers(self.encoder), linear_layers(self.decoder)[::-1]
        for encoder, decoder in zip(encoders[1:], decoders[1:], strict=True):
            decoder.weight.data.copy_(encoder.weight.data.T)

    def phases(self) -> list[Phase]:
        """A phase for each pair of layers, from the outside in, then one for all of them."""
        encoders, decoders = linear_layers(self.encoder), linear_layers(self.decoder)[::-1]
        count, phases = len(encoders), []
        for index in range(count if self.pretrain else 0):
            parameters = [*encoders[index].parameters(), *decoders[index].parameters()]
            phases.append(
                Phase(
                    f"layer {index + 1}",
                    lambda x, generator, index=index: self.layer_loss(x, index),  # type: ignore[misc]
                    parameters,
                    self.pretrain / count,
                )
            )
        return [
            *phases,
            Phase("fine-tuning", self.loss, list(self.parameters()), 1 - self.pretrain),
        ]

    def layer_loss(self, x: Tensor, index: int) -> Loss:
        """Squared error of giving back, through one pair of layers, what the layers below made."""
        encoders, decoders = linear_layers(self.encoder), linear_layers(self.decoder)[::-1]
        with torch.no_grad():
            h = x.flatten(1)
            for layer in encoders[:index]:
                h = F.relu(layer(h))
        code = encoders[index](h)
        code = code if index == len(encoders) - 1 else F.relu(code)
        back = decoders[index](code)
        back = torch.sigmoid(back) if index == 0 else F.relu(back)
        error = squared_error(back, h)
        return Loss(error, {"reconstruction": error})


def linear_layers(stack: nn.Sequential) -> list[nn.Linear]:
    """The layers with weights of a dense stack, in order."""
    return [layer for layer in stack if isinstance(layer, nn.Linear)]
