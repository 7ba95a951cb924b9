"""The variational autoencoder: its codes are distributions, so it can generate new pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.autoencoders.base import (
    Autoencoder,
    Loss,
    as_float32,
    check_widths,
    dense_layers,
    initialise,
    linear_layers,
    shrink_weights,
)
from restore.errors import InputError


class VariationalAutoencoder(Autoencoder):
    """The encoder gives the mean and log-variance of a Gaussian, the decoder Bernoulli means.

    Kingma and Welling, "Auto-encoding variational Bayes" (ICLR 2014); the weight beta of the KL
    term is that of Higgins et al., "beta-VAE" (ICLR 2017). With beta 1 and binary pictures the loss
    is the negative evidence lower bound (ELBO) in nats; with grey ones it is no likelihood.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 20,
        hidden: Sequence[int] = (512, 256),
        beta: float = 1.0,
        warm_up: float = 0.2,
        seed: int | None = 0,
    ) -> None:
        """Set the layers and the weight of the KL term.

        hidden:  widths of the encoder's hidden layers; the decoder has them in reverse
        beta:    weight of the KL term, 0 or more
        warm_up: share of the training, 0 to 1, over which that weight rises from 0 to beta, so
                 that the code is used before it is penalised (Bowman et al., CoNLL 2016)
        Raises InputError for values outside these.
        """
        super().__init__(shape, latent, hidden=check_widths(hidden), beta=beta, warm_up=warm_up)
        if not 0 <= beta < math.inf:
            raise InputError(f"beta must be 0 or more, not {beta}")
        if not 0 <= warm_up <= 1:
            raise InputError(f"the share of the warm-up must be from 0 to 1, not {warm_up}")
        self.beta, self.warm_up, self.annealed = beta, warm_up, 1.0
        self.encoder = dense_layers([self.size, *hidden, 2 * latent], nn.SiLU)
        self.decoder = dense_layers([latent, *reversed(hidden), self.size], nn.SiLU)
        initialise(self, seed)
        shrink_weights(self.decoder[-1])

    def outer_layers(self) -> tuple[nn.Linear, nn.Linear]:
        """The first layer of the encoder and the last of the decoder."""
        return linear_layers(self.encoder)[0], linear_layers(self.decoder)[-1]

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the codes: two tensors (N, latent)."""
        mean, log_variance = as_float32(self.encoder(x.flatten(1))).chunk(2, 1)
        return mean, log_variance.clamp(-12, 12)  # exp of more could overflow

    def encode(self, x: Tensor) -> Tensor:
        """The mean of each posterior: (N, C, H, W) -> (N, latent)."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Bernoulli means: (N, latent) -> (N, C, H, W) in [0, 1]."""
        return torch.sigmoid(self.logits(z))

    def logits(self, z: Tensor) -> Tensor:
        """The decoder's output before the sigmoid: (N, latent) -> (N, C, H, W)."""
        y: Tensor = as_float32(self.decoder(z))
        pictures: Tensor = y.unflatten(1, self.shape)
        return pictures

    def loss(self, x: Tensor, generator: torch.Generator | None = None) -> Loss:
        """Cross-entropy for one draw of the code, plus beta * KL(posterior || standard normal)."""
        mean, log_variance = self.posterior(x)
        logits = self.logits(reparameterise(mean, log_variance, generator))
        entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        reconstruction = entropy.flatten(1).sum(1).mean()
        kl = gaussian_kl(mean, log_variance).mean()
        weight = self.beta * (self.annealed if self.training else 1.0)
        return Loss(reconstruction + weight * kl, {"reconstruction": reconstruction, "kl": kl})

    def anneal(self, progress: float) -> None:
        """Set the KL weight, which rises to beta over the first `warm_up` of the training."""
        self.annealed = min(1.0, progress / self.warm_up) if self.warm_up else 1.0

    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """New pictures, decoded from codes drawn from the prior: (count, C, H, W) in [0, 1]."""
        device = next(self.parameters()).device
        return self.decode(torch.randn(count, self.latent, generator=generator, device=device))


def reparameterise(
    mean: Tensor, log_variance: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """A draw from N(mean, exp(log_variance)) that gradients pass through: mean + std * noise."""
    noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + noise * (0.5 * log_variance).exp()


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, summed over the code: (N, latent) -> (N,).

    In closed form (Kingma and Welling 2014, appendix B): -1/2 sum(1 + log s^2 - m^2 - s^2).
    """
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Codes from `start` to `end` in equal steps: two (N, latent) -> (N, steps, latent).

    Spherical interpolation (Shoemake, SIGGRAPH 1985): in many dimensions the mass of the prior lies
    in a thin shell, which a straight line would leave. The length changes linearly.
    """
    along = torch.linspace(0, 1, steps).view(1, -1, 1)
    lengths = [z.norm(dim=1, keepdim=True).clamp(min=1e-12) for z in (start, end)]
    a, b = start / lengths[0], end / lengths[1]
    angle = (a * b).sum(1, keepdim=True).clamp(-1, 1).acos().clamp(1e-3, math.pi - 1e-3)[:, None]
    direction = (((1 - along) * angle).sin() * a[:, None] + (along * angle).sin() * b[:, None]) / (
        angle.sin()
    )
    length = (1 - along) * lengths[0][:, None] + along * lengths[1][:, None]
    codes: Tensor = direction * length
    return codes
