"""Autoencoders regularised by more than a small code: denoising and sparse."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from restore.autoencoders.base import (
    Autoencoder,
    Loss,
    as_float32,
    dense_layers,
    initialise,
    linear_layers,
    shrink_weights,
    squared_error,
)
from restore.autoencoders.dense import VanillaAutoencoder
from restore.errors import InputError

CORRUPTIONS = ("gaussian", "masking")
PENALTIES = ("kl", "l1")


class DenoisingAutoencoder(VanillaAutoencoder):
    """A vanilla autoencoder that reconstructs the clean picture from a corrupted one.

    Vincent, Larochelle, Bengio and Manzagol, "Extracting and composing robust features with
    denoising autoencoders" (ICML 2008).
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 32,
        hidden: Sequence[int] = (128,),
        corruption: str = "gaussian",
        level: float = 0.3,
        seed: int | None = 0,
    ) -> None:
        """Choose the corruption it learns to undo.

        corruption: "gaussian" (noise of standard deviation `level`, on the scale of [0, 1]) or
                    "masking" (each value is set to 0 with probability `level`)
        Raises InputError for another corruption or an impossible level.
        """
        check_corruption(corruption, level)
        super().__init__(shape, latent, hidden, seed)
        self.arguments |= {"corruption": corruption, "level": level}
        self.corruption, self.level = corruption, level

    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Squared error between the clean picture and the reconstruction of the corrupted one."""
        error = squared_error(self(corrupt(x, self.corruption, self.level, generator)), x)
        return Loss(error, {"reconstruction": error})


def check_corruption(kind: str, level: float) -> None:
    """Raises InputError for an unknown corruption or an impossible level."""
    if kind not in CORRUPTIONS:
        raise InputError(f"the corruption is {' or '.join(CORRUPTIONS)}, not '{kind}'")
    if not (0 < level < 1 if kind == "masking" else 0 < level < math.inf):
        limits = "above 0 and below 1" if kind == "masking" else "above 0"
        raise InputError(f"the level of {kind} corruption must be {limits}, not {level}")


def corrupt(x: Tensor, kind: str, level: float, generator: torch.Generator | None = None) -> Tensor:
    """Pictures with Gaussian noise (not clipped) or with values set to 0.

    x: (N, C, H, W); kind and level as for `DenoisingAutoencoder`
    """
    draw = torch.randn if kind == "gaussian" else torch.rand
    noise = draw(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + level * noise if kind == "gaussian" else x * (noise >= level)


class SparseAutoencoder(Autoencoder):
    """A hidden layer wider than the picture, of which few units are active at a time.

    Ng, "Sparse autoencoder" (CS294A lecture notes, 2011): the penalty is the sum over hidden units
    of KL(target || mean activation), or, with "l1", of |mean activation - target|. `features` gives
    the sparse layer; a linear layer turns it into a code of the same size as the other kinds have.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 32,
        hidden: int = 1024,
        penalty: str = "kl",
        target: float = 0.05,
        weight: float = 3.0,
        seed: int | None = 0,
    ) -> None:
        """Set the sparsity.

        hidden:  units of the sparse layer, more than a picture has values (overcomplete)
        penalty: "kl" or "l1"
        target:  desired mean activation of each unit, between 0 and 1
        weight:  of the penalty in the loss, 0 or more
        Raises InputError for values outside these.
        """
        super().__init__(
            shape, latent, hidden=hidden, penalty=penalty, target=target, weight=weight
        )
        check_sparsity(penalty, target, weight)
        if hidden <= self.size:
            raise InputError(
                f"the sparse layer must have more than {self.size} units, the size of a "
                f"picture, not {hidden}"
            )
        self.penalty, self.target, self.weight = penalty, target, weight
        self.first = nn.Linear(self.size, hidden)
        self.code = nn.Linear(hidden, latent)
        self.decoder = dense_layers([latent, hidden, self.size])
        initialise(self, seed)
        shrink_weights(self.first, self.decoder[-1])  # else noise stays where pixels never change
        if seed is not None:  # begin at the target activation, not at sigmoid(0) = 0.5
            nn.init.constant_(self.first.bias, math.log(target / (1 - target)))

    def outer_layers(self) -> tuple[nn.Linear, nn.Linear]:
        """The sparse layer and the last layer of the decoder."""
        return self.first, linear_layers(self.decoder)[-1]

    def features(self, x: Tensor) -> Tensor:
        """The sparse layer: (N, C, H, W) -> (N, hidden) in (0, 1)."""
        return torch.sigmoid(as_float32(self.first(x.flatten(1))))

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, latent)."""
        z: Tensor = self.code(self.features(x))
        return z

    def decode(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, C, H, W) in [0, 1]."""
        y: Tensor = self.decoder(z)
        pictures: Tensor = torch.sigmoid(as_float32(y)).unflatten(1, self.shape)
        return pictures

    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Squared error plus the weighted sparsity penalty on the mean activations of the batch."""
        features = self.features(x)
        reconstruction = squared_error(self.decode(self.code(features)), x)
        sparsity = sparsity_penalty(features.mean(0), self.target, self.penalty)
        parts = {"reconstruction": reconstruction, "sparsity": sparsity}
        return Loss(reconstruction + self.weight * sparsity, parts)


def check_sparsity(penalty: str, target: float, weight: float) -> None:
    """Raises InputError for an unknown penalty, a target outside (0, 1) or a negative weight."""
    if penalty not in PENALTIES:
        raise InputError(f"the sparsity penalty is {' or '.join(PENALTIES)}, not '{penalty}'")
    if not 0 < target < 1:
        raise InputError(f"the sparsity target must be above 0 and below 1, not {target}")
    if not 0 <= weight < math.inf:
        raise InputError(f"the weight of the sparsity penalty must be 0 or more, not {weight}")


def sparsity_penalty(activations: Tensor, target: float, penalty: str) -> Tensor:
    """KL(Bernoulli(target) || Bernoulli(activation)), or |activation - target|, summed over units.

    activations: (units,) mean activations in (0, 1); penalty: "kl" or "l1"
    """
    if penalty == "l1":
        return (activations - target).abs().sum()
    a = activations.clamp(1e-6, 1 - 1e-6)
    return (target * (target / a).log() + (1 - target) * ((1 - target) / (1 - a)).log()).sum()
