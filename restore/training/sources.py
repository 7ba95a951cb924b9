"""Where the pairs of a training come from: made from clean pictures, or given by photographs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from restore.errors import TrainingError
from restore.evaluation.testsets import PAIRS, clean_files, degraded_file
from restore.image.find import list_pictures
from restore.training.crops import PictureStore, build_store, centre_crops, fitting_side
from restore.training.degradations.colours import vary_colours
from restore.training.degradations.downscale import shrink
from restore.training.degradations.pairs import DEGRADATIONS, Pair
from restore.training.noise_model import NoiseModel
from restore.training.recipe import Recipe
from restore.training.self_supervised import recorrupted


class Source(Protocol):
    """What a training draws its pairs from."""

    def pairs(self, count: int, side: int, generator: torch.Generator) -> Pair:
        """So many random pairs, `side` pixels high and wide as the network sees them."""

    def to(self, device: torch.device) -> Source:
        """The same on another device, that of the generators."""


@dataclass(frozen=True)
class Degraded:
    """Clean pictures, degraded as the recipe says."""

    store: PictureStore
    recipe: Recipe

    def pairs(self, count: int, side: int, generator: torch.Generator) -> Pair:
        """Random crops and what the degradation makes of them."""
        crops = partial(self._crops, count, generator)
        return DEGRADATIONS[self.recipe.degradation](crops, side, self.recipe, generator)

    def to(self, device: torch.device) -> Degraded:
        """The same on another device."""
        return replace(self, store=self.store.to(device))

    @property
    def halved_side(self) -> int:
        """Height and width that a picture must have to be used at half the size, too."""
        return 2 * max(self.recipe.patch) * self.recipe.scale

    @property
    def halvable(self) -> list[int]:
        """The pictures that are used at half the size, too: those that are large enough."""
        large = torch.minimum(self.store.heights, self.store.widths) >= self.halved_side
        found: list[int] = large.nonzero().view(-1).tolist()
        return found if self.recipe.halved else []

    @cached_property
    def halves(self) -> PictureStore | None:
        """These pictures at half the size; None where there are none."""
        halves = [_half(self.store.picture(index)) for index in self.halvable]
        return build_store(halves) if halves else None

    def _crops(self, count: int, generator: torch.Generator, side: int) -> Tensor:
        """Clean crops, a share of them from the halved pictures, a share in other colours."""
        recipe, halves = self.recipe, self.halves
        halved = 0 if halves is None else round(recipe.halved * count)
        shares = [(self.store, count - halved), (halves, halved)]
        crops = torch.cat(
            [
                store.crops(number, side, generator, recipe.candidates)
                for store, number in shares
                if store is not None and number
            ]
        )
        return vary_colours(crops, recipe.colours, generator) if recipe.colours else crops


def _half(picture: Tensor) -> Tensor:
    """uint8 (H, W, C) -> (H / 2, W / 2, C); an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    pixels = picture[:height, :width].permute(2, 0, 1)[None].float() / 255
    return (shrink(pixels, 2) * 255).round().to(torch.uint8)[0].permute(1, 2, 0)


@dataclass(frozen=True)
class Given:
    """Pictures that come in twos, each noisy one with what is to be made of it.

    store:  of twice the channels: first those of the noisy picture, then those of the other
    swap:   whether the two are alike, two shots of a scene, of which either may be the target
    inputs: (pictures, numbers) the noise inputs for each picture; None: none
    jitter: standard deviation of the logarithm of a random factor on these
    """

    store: PictureStore
    swap: bool = False
    inputs: Tensor | None = None
    jitter: float = 0.0

    def pairs(self, count: int, side: int, generator: torch.Generator) -> Pair:
        """Random crops, the same of both."""
        # rows stay rows, for many a camera has stripes along one of the two
        crops, chosen = self.store.crops_and_pictures(count, side, generator, transposed=False)
        noisy, other = crops.chunk(2, 1)
        if self.swap:
            draws = torch.rand(count, 1, 1, 1, generator=generator, device=crops.device)
            first = draws < 0.5
            noisy, other = torch.where(first, noisy, other), torch.where(first, other, noisy)
        if self.inputs is None:
            return Pair(other, noisy)
        factor = torch.randn(count, 1, generator=generator, device=crops.device) * self.jitter
        return Pair(other, noisy, self.inputs[chosen] * factor.exp())

    def to(self, device: torch.device) -> Given:
        """The same on another device."""
        inputs = None if self.inputs is None else self.inputs.to(device)
        return replace(self, store=self.store.to(device), inputs=inputs)


def shots_of(folder: Path) -> list[list[Path]]:
    """Twos of shots: in each sub-folder each with the next, and the last with the first.

    A folder without sub-folders has none.
    """
    found = []
    for scene in sorted(place for place in folder.iterdir() if place.is_dir()):
        shots = list_pictures(scene)
        if len(shots) < 2:
            raise TrainingError(
                f"{scene} holds one picture; several shots of a scene are needed to learn from "
                "each other, or all pictures in one folder"
            )
        following = [*shots[1:], shots[0]] if len(shots) > 2 else shots[1:]
        found += [list(two) for two in zip(shots, following, strict=False)]
    return found


def pairs_of(folder: Path) -> list[list[Path]]:
    """Each noisy picture of a folder of pairs, and its clean one."""
    return [[degraded_file(clean), clean] for clean in clean_files(folder, PAIRS)]


@dataclass(frozen=True)
class Noisy:
    """Noisy pictures alone: the crops stand on both sides of a pair, for the scheme to part."""

    store: PictureStore

    def pairs(self, count: int, side: int, generator: torch.Generator) -> Pair:
        """Random crops of twice the side, which the scheme halves."""
        crops = self.store.crops(count, 2 * side, generator)
        return Pair(crops, crops)

    def to(self, device: torch.device) -> Noisy:
        """The same on another device."""
        return replace(self, store=self.store.to(device))


@dataclass(frozen=True)
class Recorrupted:
    """Noisy pictures alone, and the noise that was measured in them."""

    store: PictureStore
    noise: NoiseModel

    def pairs(self, count: int, side: int, generator: torch.Generator) -> Pair:
        """Random crops with more noise, and what they teach."""
        # rows stay rows, for the noise may be wider than it is high
        crops, chosen = self.store.crops_and_pictures(count, side, generator, transposed=False)
        return recorrupted(crops, self.noise.draw(crops, chosen, generator))

    def to(self, device: torch.device) -> Recorrupted:
        """The same on another device."""
        return replace(self, store=self.store.to(device), noise=self.noise.to(device))


@dataclass(frozen=True)
class GivenValidation:
    """The middle of each given pair, `side` pixels or the largest multiple of `multiple` below."""

    given: Given
    side: int
    multiple: int

    def __iter__(self) -> Iterator[Pair]:
        """Pairs in batches of 8."""
        store = self.given.store
        side = fitting_side(store, self.side, self.multiple)
        inputs = self.given.inputs
        for first, crops in zip(
            range(0, len(store), 8), centre_crops(store, side).split(8), strict=True
        ):
            noisy, clean = crops.chunk(2, 1)
            yield Pair(clean, noisy, None if inputs is None else inputs[first : first + 8])
