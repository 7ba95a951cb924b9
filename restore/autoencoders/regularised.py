"""Dense members with more than a small code to hold them back: denoising and sparse."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from restore.autoencoders.dense import (
    Autoencoder,
    Loss,
    VanillaAutoencoder,
    dense,
    full,
    initialise,
    linear_layers,
    shrink,
    squared_error,
)
from restore.errors import InputError

CORRUPTIONS = ("gaussian", "masking")
PENALTIES = ("kl", "l1")


class DenoisingAutoencoder(VanillaAutoencoder):
    """Sees a corrupted picture and must give back the clean one.

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
        """Choose the degradation it learns to undo.

        corruption: "gaussian" (noise of standard deviation `level`, on the scale of [0, 1]) or
                    "masking" (each sample is set to 0 with probability `level`)
        """
        check_corruption(corruption, level)
        super().__init__(shape, latent, hidden, seed)
        self.arguments |= {"corruption": corruption, "level": level}
        self.corruption, self.level = corruption, level

    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Squared error between the clean picture and what is made of the corrupted one."""
        error = squared_error(self(corrupt(x, self.corruption, self.level, generator)), x)
        return Loss(error, {"reconstruction": error})


def check_corruption(kind: str, level: float) -> None:
    """InputError for an unknown corruption, or a level that it cannot have."""
    if kind not in CORRUPTIONS:
        raise InputError(f"'{kind}' is no corruption; choose {' or '.join(CORRUPTIONS)}")
    if not (0 < level < 1 if kind == "masking" else 0 < level < math.inf):
        raise InputError(
            f"{level} is no level of {kind} corruption; give a probability between 0 and 1 "
            "for masking, a standard deviation above 0 for gaussian"
        )


def corrupt(x: Tensor, kind: str, level: float, generator: torch.Generator | None = None) -> Tensor:
    """Pictures with Gaussian noise (not clipped) or with samples set to 0; see the member."""
    draw = torch.randn if kind == "gaussian" else torch.rand
    noise = draw(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x + level * noise if kind == "gaussian" else x * (noise >= level)


class SparseAutoencoder(Autoencoder):
    """A hidden layer wider than the picture, of which only a few units may answer at a time.

    Ng, "Sparse autoencoder" (CS294A lecture notes, 2011): the penalty is the sum over hidden units
    of KL(target || mean activation), or, with "l1", of the distance of the mean activation from
    the target. The sparse layer is `features`; a linear layer makes the code of it, so that codes
    are as large as the other members'.
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

        hidden:  units of the sparse layer, more than the picture has samples (overcomplete)
        penalty: "kl" or "l1"
        target:  the mean activation that units shall have, between 0 and 1
        weight:  of the penalty in the loss
        """
        super().__init__(
            shape, latent, hidden=hidden, penalty=penalty, target=target, weight=weight
        )
        check_sparsity(penalty, target, weight)
        if hidden <= self.size:
            raise InputError(
                f"the sparse layer has {hidden} units for {self.size} samples; it must have more"
            )
        self.penalty, self.target, self.weight = penalty, target, weight
        self.first = nn.Linear(self.size, hidden)
        self.code = nn.Linear(hidden, latent)
        self.decoder = dense([latent, hidden, self.size])
        initialise(self, seed)
        shrink(self.first, self.decoder[-1])  # of pixels that never change, noise would stay
        if seed is not None:  # begin at the target, not at the one half of a sigmoid of 0
            nn.init.constant_(self.first.bias, math.log(target / (1 - target)))

    def edges(self) -> tuple[nn.Linear, nn.Linear]:
        """The sparse layer, which stays at its target, and the last of the decoder."""
        return self.first, linear_layers(self.decoder)[-1]

    def features(self, x: Tensor) -> Tensor:
        """The sparse layer: (N, C, H, W) -> (N, hidden) in (0, 1)."""
        return torch.sigmoid(full(self.first(x.flatten(1))))

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, latent)."""
        z: Tensor = self.code(self.features(x))
        return z

    def decode(self, z: Tensor) -> Tensor:
        """(N, latent) -> (N, C, H, W) in [0, 1]."""
        y: Tensor = self.decoder(z)
        pictures: Tensor = torch.sigmoid(full(y)).unflatten(1, self.shape)
        return pictures

    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Squared error and the weighted penalty on the batch's mean activations."""
        features = self.features(x)
        reconstruction = squared_error(self.decode(self.code(features)), x)
        sparsity = sparsity_penalty(features.mean(0), self.target, self.penalty)
        parts = {"reconstruction": reconstruction, "sparsity": sparsity}
        return Loss(reconstruction + self.weight * sparsity, parts)


def check_sparsity(penalty: str, target: float, weight: float) -> None:
    """InputError for an unknown penalty, a target outside (0, 1) or a negative weight."""
    if penalty not in PENALTIES:
        raise InputError(f"'{penalty}' is no sparsity penalty; choose {' or '.join(PENALTIES)}")
    if not 0 < target < 1:
        raise InputError(f"a sparsity target lies between 0 and 1, without them; not {target}")
    if not 0 <= weight < math.inf:
        raise InputError(f"the weight of the sparsity penalty is 0 or more, not {weight}")


def sparsity_penalty(activations: Tensor, target: float, penalty: str) -> Tensor:
    """Summed over units: KL of Bernoulli(target) from Bernoulli(activation), or |difference|.

    activations: (units,) mean activations in (0, 1)
    """
    if penalty == "l1":
        return (activations - target).abs().sum()
    a = activations.clamp(1e-6, 1 - 1e-6)
    return (target * (target / a).log() + (1 - target) * ((1 - target) / (1 - a)).log()).sum()
