"""Another network's answers as the aim of a training, in place of the clean pictures.

Synthetic noise is never quite a camera's, and a network trained on it is sure of what it has not
seen: it takes what is left of real noise for texture. The mean of its answers to a picture with
white noise added, once as it is and once negated, is free of that, because what the added noise
hides cannot be taken for anything; and a network that learns to give this mean at once keeps it.
The answers of a large network are also a good aim for a small one.
"""

from __future__ import annotations

import torch

from restore.models.unet import UNet
from restore.training.degradations.noise import add_gaussian_noise
from restore.training.degradations.pairs import Pair
from restore.training.precision import autocast


class Teacher:
    """A network that is only asked."""

    def __init__(
        self, network: UNet, masked: float, device: torch.device, dtype: torch.dtype
    ) -> None:
        """masked: standard deviation of the white noise added (0-255); 0: one answer, as it is."""
        self.network = network.eval().requires_grad_(False).to(device)
        self.masked, self.device, self.dtype = masked, device, dtype

    @torch.no_grad()
    def taught(self, pair: Pair, generator: torch.Generator) -> Pair:
        """The pair with the teacher's answer in place of the clean picture.

        Pictures that come with their noise level keep theirs: to know it is better.
        """
        given = pair.degraded.to(self.device)
        views = [given]
        if self.masked:
            noisy = add_gaussian_noise(given, self.masked, generator)
            views = [noisy, 2 * given - noisy]
        with autocast(self.device, self.dtype):
            answers = [self.network(view).float() for view in views]
        answer = sum(answers[1:], answers[0]) / len(views)
        if pair.sigma is not None:
            told = (pair.sigma > 0).view(-1, 1, 1, 1)
            answer = torch.where(told, pair.clean, answer)
        return pair._replace(clean=answer)
