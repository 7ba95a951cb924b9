"""Another network's answers as the aim of a training, in place of the clean pictures.

Synthetic noise is never quite a camera's, and a network trained on it is sure of what it has not
seen: it takes what is left of real noise for texture. The mean of its answers to a picture with
white noise added, once as it is and once negated, is free of that, because what the added noise
hides cannot be taken for anything; and a network that learns to give this mean at once keeps it.
The answers of a large network are also a good aim for a small one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.models.noise_level import noise_levels
from restore.models.unet import UNet
from restore.training.degradations.noise import add_gaussian_noise
from restore.training.degradations.pairs import Pair
from restore.training.precision import autocast

LEAST_TAUGHT = 1.5  # of 255: pictures with less noise are their own aim


class Teacher:
    """A network that is only asked."""

    def __init__(
        self, network: UNet, antithetic: float, device: torch.device, dtype: torch.dtype
    ) -> None:
        """antithetic: standard deviation (0-255) of white noise added with either sign; 0: none."""
        self.network = network.eval().requires_grad_(False).to(device)
        self.antithetic, self.device, self.dtype = antithetic, device, dtype

    @torch.no_grad()
    def taught(self, pair: Pair, generator: torch.Generator) -> Pair:
        """The pair with the teacher's answer in place of the clean picture.

        Pictures that come with their noise level keep theirs: to know it is better. Where several
        numbers tell the noise, the teacher's answer is taken for those that it makes much better,
        the clean picture for all others: see `helped`.
        """
        if pair.sigma is not None and pair.sigma.ndim == 2:
            return self.helped(pair)
        given = pair.degraded.to(self.device)
        views = [given]
        if self.antithetic:
            noisy = add_gaussian_noise(given, self.antithetic, generator)
            views = [noisy, 2 * given - noisy]
        with autocast(self.device, self.dtype):
            answers = [self.network(view).float() for view in views]
        answer = sum(answers[1:], answers[0]) / len(views)
        if pair.sigma is not None:
            told = (pair.sigma.view(len(answer), -1) > 0).any(1).view(-1, 1, 1, 1)
            answer = torch.where(told, pair.clean, answer)
        return pair._replace(clean=answer)

    def _tell(self, noise: Tensor) -> tuple[Tensor, ...]:
        """What the teacher can be told of noise (N, 3, H, W): nothing, its level, or all levels."""
        count = self.network.noise_inputs
        if count == 0:
            return ()
        if count == 1:
            return (noise.square().mean((1, 2, 3)).sqrt() * 255,)
        return (noise_levels(noise * 255),)

    @torch.no_grad()
    def helped(self, pair: Pair) -> Pair:
        """The pair with the teacher's answer where that has less than half of the noise.

        So a network keeps what the teacher does to real noise, which is smoother than what clean
        pictures would teach it, and not what the teacher does to patterns and to clean pictures.
        """
        given, clean = pair.degraded.to(self.device), pair.clean.to(self.device)
        noise = (given - clean).square().mean((1, 2, 3))
        noisy = (noise.sqrt() * 255 > LEAST_TAUGHT).nonzero().view(-1)
        if not len(noisy):
            return pair
        told = self._tell(given[noisy] - clean[noisy])
        with autocast(self.device, self.dtype):
            answer = self.network(given[noisy], *told).float()
        left = (answer - clean[noisy]).square().mean((1, 2, 3))
        better = (left < noise[noisy] / 2).view(-1, 1, 1, 1)
        aim = clean.clone()
        aim[noisy] = torch.where(better, answer, clean[noisy])
        return pair._replace(clean=aim)
