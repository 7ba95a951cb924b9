"""Another network's output as the target of a training, in place of the clean pictures.

Synthetic noise differs from a camera's, and a network that was trained on it takes a part of real
noise for texture. The mean of its outputs for a picture with white noise added, once as it is and
once negated, does not: the added noise hides what would be mistaken. A network that learns this
mean gives it in one pass. The output of a large network is also a good target for a small one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from restore.models.noise_level import noise_levels
from restore.models.unet import UNet
from restore.training.degradations.noise import add_gaussian_noise
from restore.training.degradations.pairs import Pair
from restore.training.precision import autocast

LEAST_NOISE = 1.5  # of 255: for pictures with less noise the clean picture is the target


class Teacher:
    """A trained network that provides targets; its weights do not change."""

    def __init__(
        self, network: UNet, antithetic: float, device: torch.device, dtype: torch.dtype
    ) -> None:
        """antithetic: standard deviation (0-255) of white noise added with either sign; 0: none."""
        self.network = network.eval().requires_grad_(False).to(device)
        self.antithetic, self.device, self.dtype = antithetic, device, dtype

    @torch.no_grad()
    def taught(self, pair: Pair, generator: torch.Generator) -> Pair:
        """The pair with the teacher's output in place of the clean picture.

        Pictures that come with their noise level keep the clean picture as the target. For networks
        that are conditioned on several numbers, see `helped`.
        """
        if pair.sigma is not None and pair.sigma.ndim == 2:
            return self.helped(pair, generator)
        answer = self.answer(pair.degraded.to(self.device), None, generator)
        if pair.sigma is not None:
            known = (pair.sigma.view(len(answer), -1) > 0).any(1).view(-1, 1, 1, 1)
            answer = torch.where(known, pair.clean, answer)
        return pair._replace(clean=answer)

    def answer(self, given: Tensor, clean: Tensor | None, generator: torch.Generator) -> Tensor:
        """The network's output; the mean over both signs of the added noise, if any is added.

        clean: to condition the network on the levels of all the noise it sees, the added included
        """
        views = [given]
        if self.antithetic:
            noisy = add_gaussian_noise(given, self.antithetic, generator)
            views = [noisy, 2 * given - noisy]
        conditions = [() if clean is None else self._conditions(view - clean) for view in views]
        with autocast(self.device, self.dtype):
            answers = [
                self.network(view, *known).float()
                for view, known in zip(views, conditions, strict=True)
            ]
        mean: Tensor = sum(answers[1:], answers[0]) / len(views)
        return mean

    def _conditions(self, noise: Tensor) -> tuple[Tensor, ...]:
        """The numbers that the teacher takes about noise (N, 3, H, W): none, one or all of them."""
        count = self.network.noise_inputs
        if count == 0:
            return ()
        if count == 1:
            return (noise.square().mean((1, 2, 3)).sqrt() * 255,)
        return (noise_levels(noise * 255),)

    def helped(self, pair: Pair, generator: torch.Generator) -> Pair:
        """The pair with the teacher's output as target where it has less than half of the noise.

        So a network learns what the teacher does to noise, and not what it does to patterns and to
        clean pictures.
        """
        given, clean = pair.degraded.to(self.device), pair.clean.to(self.device)
        noise = (given - clean).square().mean((1, 2, 3))
        noisy = (noise.sqrt() * 255 > LEAST_NOISE).nonzero().view(-1)
        if not len(noisy):
            return pair
        answer = self.answer(given[noisy], clean[noisy], generator)
        left = (answer - clean[noisy]).square().mean((1, 2, 3))
        better = (left < noise[noisy] / 2).view(-1, 1, 1, 1)
        target = clean.clone()
        target[noisy] = torch.where(better, answer, clean[noisy])
        return pair._replace(clean=target)
