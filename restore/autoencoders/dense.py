"""Autoencoders of dense layers: linear, vanilla, and stacked with layer-wise pretraining."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.autoencoders.base import (
    Autoencoder,
    Loss,
    Phase,
    as_float32,
    check_widths,
    dense_layers,
    initialise,
    linear_layers,
    shrink_weights,
    squared_error,
)
from restore.errors import InputError


class LinearAutoencoder(Autoencoder):
    """One linear layer to the code and one back, without activation: it learns PCA's subspace.

    Baldi and Hornik, "Neural networks and principal component analysis" (Neural Networks 2, 1989):
    every minimum of the squared error is a projection onto the leading principal components, up to
    an invertible linear map of the code. The output is not clipped to [0, 1].
    """

    linear_output = True

    def __init__(self, shape: Sequence[int], latent: int = 32, seed: int | None = 0) -> None:
        """`seed` draws the first weights."""
        super().__init__(shape, latent)
        self.encoder = nn.Linear(self.size, latent)
        self.decoder = nn.Linear(latent, self.size)
        initialise(self, seed)
        # Weights off the subspace of the data get no gradient, so they must begin near zero.
        shrink_weights(self.encoder, self.decoder, factor=0.02)

    def outer_layers(self) -> tuple[nn.Linear, nn.Linear]:
        """The encoder and the decoder."""
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
    """Dense layers with ReLU between them, a linear code and a sigmoid output.

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
        """`hidden`: widths of the encoder's hidden layers; the decoder has them in reverse."""
        super().__init__(shape, latent, hidden=check_widths(hidden))
        self.encoder = dense_layers([self.size, *hidden, latent])
        self.decoder = dense_layers([latent, *reversed(hidden), self.size])
        initialise(self, seed)
        shrink_weights(self.decoder[-1])

    def outer_layers(self) -> tuple[nn.Linear, nn.Linear]:
        """The first layer of the encoder, the last of the decoder."""
        return linear_layers(self.encoder)[0], linear_layers(self.decoder)[-1]

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, latent)."""
        z: Tensor = self.encoder(x.flatten(1))
        return z

    def decode(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, C, H, W) in [0, 1]."""
        y: Tensor = self.decoder(z)
        pictures: Tensor = torch.sigmoid(as_float32(y)).unflatten(1, self.shape)
        return pictures


class StackedAutoencoder(VanillaAutoencoder):
    """Several layers, first trained one by one, each on the output of those before, then together.

    Bengio, Lamblin, Popovici and Larochelle, "Greedy layer-wise training of deep networks"
    (NIPS 2006). The default widths are half those of Hinton and Salakhutdinov (2006),
    784-1000-500-250-30. With `pretrain=0` it is trained from scratch, for comparison.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 32,
        hidden: Sequence[int] = (500, 250, 125),
        pretrain: float = 0.5,
        seed: int | None = 0,
    ) -> None:
        """`pretrain`: share of the epochs spent on layer-wise training, from 0 to below 1."""
        if not 0 <= pretrain < 1:
            raise InputError(
                f"the share of pretraining must be at least 0 and below 1, not {pretrain}"
            )
        super().__init__(shape, latent, hidden, seed)
        self.arguments["pretrain"] = pretrain
        self.pretrain = pretrain
        # Each pair of layers begins with tied weights, as in that paper: the transpose of a random
        # layer with ReLU roughly inverts it. The last layer begins at the mean picture instead.
        encoders, decoders = linear_layers(self.encoder), linear_layers(self.decoder)[::-1]
        for encoder, decoder in zip(encoders[1:], decoders[1:], strict=True):
            decoder.weight.data.copy_(encoder.weight.data.T)

    def phases(self) -> list[Phase]:
        """One phase for each pair of layers, outermost first, then one for the whole network."""
        encoders, decoders = linear_layers(self.encoder), linear_layers(self.decoder)[::-1]
        count, phases = len(encoders), []
        for index in range(count if self.pretrain else 0):
            parameters = [*encoders[index].parameters(), *decoders[index].parameters()]
            phases.append(
                Phase(
                    f"layer {index + 1}",
                    # mypy cannot infer the type of a lambda with a default
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
        """Squared error of one pair of layers, which reconstructs the output of those before it."""
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
