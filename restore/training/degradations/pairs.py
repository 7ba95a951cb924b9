"""The degradations a network can be trained on: clean crops in, pairs of clean and degraded out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.models.noise_level import noise_levels
from restore.training.crops import PictureStore, centre_crops
from restore.training.degradations.camera import add_camera_noise, draw_cameras
from restore.training.degradations.downscale import degrade_twice, shrink
from restore.training.degradations.graphics import draw_graphics
from restore.training.degradations.jpeg import TO_RGB, TO_YCC, jpeg, mix
from restore.training.degradations.noise import (
    add_common_noise,
    add_gaussian_noise,
    add_poisson_noise,
    add_speckle_noise,
    blur,
    draw_sigmas,
    luma,
    spread_noise,
)
from restore.training.degradations.patterns import draw_patterns, patterned
from restore.training.recipe import Recipe

Draw = Callable[[int], Tensor]  # side of the crops -> float32 (N, C, side, side) in [0, 1]


class Pair(NamedTuple):
    """A batch to learn from."""

    clean: Tensor
    degraded: Tensor
    sigma: Tensor | None = None  # (N,) or (N, inputs): what the network is conditioned on


def joined_pairs(pairs: Sequence[Pair]) -> Pair:
    """Several batches as one."""
    if len(pairs) == 1:
        return pairs[0]
    clean = torch.cat([pair.clean for pair in pairs])
    degraded = torch.cat([pair.degraded for pair in pairs])
    conditions = [pair.sigma for pair in pairs if pair.sigma is not None]
    return Pair(clean, degraded, torch.cat(conditions) if conditions else None)


def every(pair: Pair, first: int, step: int) -> Pair:
    """Of a batch every `step`-th picture, from the `first` on."""
    sigma = None if pair.sigma is None else pair.sigma[first::step]
    return Pair(pair.clean[first::step], pair.degraded[first::step], sigma)


Degradation = Callable[[Draw, int, Recipe, torch.Generator], Pair]

VALIDATION_DRAWS = 3  # of random degradations for each validation picture


def gaussian(draw: Draw, patch: int, recipe: Recipe, generator: torch.Generator) -> Pair:
    """White Gaussian noise of the recipe's range of sigma.

    A share of the crops is turned grey and gets one noise for all channels, for that is what a
    grey photograph looks like to a network for colour. Another share is one even colour, every
    second of these without noise: so the network learns to leave alone what is at rest, up to the
    border.
    """
    crops = draw(patch)
    count, device = len(crops), crops.device
    sigmas = draw_sigmas(recipe.sigma[0], recipe.sigma[1], count, generator, recipe.sigma_power)
    draws = torch.rand(3, count, 1, 1, 1, generator=generator, device=device)
    grey = draws[0] < recipe.grey
    sigmas = torch.where(draws[1].view(-1) < recipe.flat / 2, torch.zeros_like(sigmas), sigmas)
    noise = add_gaussian_noise(torch.zeros_like(crops), sigmas, generator)
    clean = torch.where(grey, luma(crops), flatten(crops, draws[1] < recipe.flat))
    conditions = None
    if recipe.conditioned:
        conditions = sigmas * (draws[2].view(-1) < recipe.conditioned)
    return Pair(clean, clean + torch.where(grey, noise[:, :1], noise), conditions)


def photo(draw: Draw, patch: int, recipe: Recipe, generator: torch.Generator) -> Pair:
    """What cameras, phones and the web do to a picture, in random order of magnitude.

    Most crops enlarged, the others sharp to the pixel, a share of them fine patterns and graphics;
    noise of the sensor (three of five), plain Gaussian, Poisson or speckle noise, or none; spread
    as a camera's own processing would, a tenth of the batches at half to full size; then JPEG, its
    grid of blocks anywhere; rounded to 8 bits. A share of the crops stays as it is: clean pictures
    must survive. The clean target is never blurred.
    """
    crops = draw(patch)
    count, device = len(crops), crops.device
    chances = torch.rand(5, count, generator=generator, device=device)
    crops = with_patterns(crops, recipe.patterned, generator)
    clean = flatten(crops, (chances[0] < recipe.flat).view(-1, 1, 1, 1))
    noise = mixed_noise(clean, chances[1], generator)
    at_rest = (chances[0] < recipe.flat / 2) | (chances[0] > 1 - recipe.clean)
    at_rest = at_rest.view(-1, 1, 1, 1)
    noise = torch.where(at_rest, 0.0, spread_randomly(noise, generator))
    grey = (chances[2] < recipe.grey).view(-1, 1, 1, 1)
    clean = torch.where(grey, luma(clean), clean)
    degraded = (clean + torch.where(grey, luma(noise), noise)).clamp(0, 1)
    clean, degraded = enlarge_randomly(clean, degraded, generator)
    quality = draw_qualities(count, generator)
    shift = torch.randint(0, 16, (2,), generator=generator, device=device).tolist()
    packed = jpeg(degraded, quality, (shift[0], shift[1]))
    as_file = (chances[3] < 0.75).view(-1, 1, 1, 1) & ~at_rest
    degraded = torch.where(as_file, packed, (degraded * 255).round() / 255)
    clean = torch.where(at_rest, degraded, clean)  # whose rounding is no noise to be undone
    conditions = None
    if recipe.conditioned:
        conditions = noise_inputs_of((degraded - clean) * 255, recipe, generator)
        conditions = conditions * (chances[4] < recipe.conditioned).view(
            -1, *(1,) * (conditions.ndim - 1)
        )
    return Pair(clean, degraded, conditions)


def with_patterns(crops: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Crops of photographs, most of them enlarged; in a share of them fine patterns instead.

    Of that share two in five are patterns alone, one is graphics, two are sharp photographs with a
    pattern in a part of them.
    """
    count, side = len(crops), crops.shape[-1]
    kind = torch.rand(count, generator=generator, device=crops.device) / max(share, 1e-9)
    result = enlarge_some(crops, generator)
    alone, drawn, within = kind < 0.4, (kind >= 0.4) & (kind < 0.6), (kind >= 0.6) & (kind < 1)
    if bool(alone.any()):
        result[alone] = draw_patterns(int(alone.sum()), side, generator)
    if bool(drawn.any()):
        result[drawn] = draw_graphics(int(drawn.sum()), side, generator)
    if bool(within.any()):
        result[within] = patterned(crops[within], generator)
    return result


def noise_inputs_of(noise: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """The noise inputs of the network on the 0-255 scale: (N,), or (N, 3) for three numbers.

    The recipe's jitter stands for the error of an estimate. A quarter has three times as much: at
    inference the level is that of the whole picture, which differs from that of a dark crop. Up
    to 1 is added in the mean square, up to 8 in the share `overstated`: the level is an upper
    bound, and where there is no noise nothing must be removed.
    """
    count, device = len(noise), noise.device
    if recipe.noise_inputs == 1:
        return noise.square().mean((1, 2, 3)).sqrt()
    draws = torch.rand(3, count, 1, generator=generator, device=device)
    common, own = (
        torch.randn(count, k, generator=generator, device=device) for k in (1, recipe.noise_inputs)
    )
    wide = torch.where(draws[0] < 0.25, 3.0, 1.0) * recipe.jitter
    factor = (wide * (0.8 * common + 0.6 * own)).exp()
    more = draws[1] * torch.where(draws[2] < recipe.overstated, 8.0, 1.0)
    return ((noise_levels(noise) * factor).square() + more.square()).sqrt()


def bicubic(draw: Draw, patch: int, recipe: Recipe, generator: torch.Generator) -> Pair:
    """A picture and its MATLAB-like bicubic reduction by the recipe's scale, of 8 bits.

    Of a share of the crops half are photographs with a pattern in a part of them, the others are
    patterns and graphics alone. Many patterns are too fine for the small picture, where they turn
    into false lines: only a network that has seen such lines does not make them bolder. `patch` is
    the side of the small picture.
    """
    clean = _greyed(draw(patch * recipe.scale), recipe, generator)
    if recipe.patterned:
        clean = _drawn_over(clean, recipe.patterned / 2, generator, recipe.scale)
        chances = torch.rand(len(clean), generator=generator, device=clean.device)
        within = chances < recipe.patterned / 2
        if bool(within.any()):
            clean[within] = patterned(clean[within], generator)
    return Pair(clean, shrink(clean, recipe.scale))


def second_order(draw: Draw, patch: int, recipe: Recipe, generator: torch.Generator) -> Pair:
    """A picture and what is left of it after two rounds of blur, resize, noise and JPEG.

    A share of the crops is patterns and graphics; another is made small and has no other fault.
    `patch` is the side of the small picture.
    """
    clean = _greyed(draw(patch * recipe.scale), recipe, generator)
    clean = _drawn_over(clean, recipe.patterned, generator, recipe.scale)
    chance = torch.rand(len(clean), 1, 1, 1, generator=generator, device=clean.device)
    degraded = degrade_twice(clean, recipe.scale, generator)
    flawless = chance < recipe.clean
    return Pair(clean, torch.where(flawless, shrink(clean, recipe.scale), degraded))


def _drawn_over(clean: Tensor, share: float, generator: torch.Generator, scale: int) -> Tensor:
    """Patterns, and as many graphics, in place of a share of the crops.

    Patterns are enlarged by half to one and a half times the scale: most are still patterns when
    they are small.
    """
    chances = torch.rand(2, len(clean), generator=generator, device=clean.device)
    patterns = chances[0] < 0.5 * share
    graphics = ~patterns & (chances[0] < share)
    if bool(patterns.any()):
        zoom = scale * (0.5 + float(chances[1, 0]))
        clean[patterns] = draw_patterns(int(patterns.sum()), clean.shape[-1], generator, zoom)
    if bool(graphics.any()):
        clean[graphics] = draw_graphics(int(graphics.sum()), clean.shape[-1], generator)
    return clean


def _greyed(crops: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """The recipe's shares of the crops in grey, and of one even colour."""
    draws = torch.rand(2, len(crops), 1, 1, 1, generator=generator, device=crops.device)
    grey, flat = draws[0] < recipe.grey, draws[1] < recipe.flat
    if bool(grey.any()):  # either takes a twentieth of the time of a small network's step
        crops = torch.where(grey, luma(crops), crops)
    return flatten(crops, flat) if bool(flat.any()) else crops


DEGRADATIONS: dict[str, Degradation] = {
    "gaussian": gaussian,
    "photo": photo,
    "bicubic": bicubic,
    "second-order": second_order,
}


def flatten(crops: Tensor, chosen: Tensor) -> Tensor:
    """The chosen crops as one even colour each: their mean, rounded to 8 bits."""
    even = (crops.mean((2, 3), keepdim=True) * 255).round() / 255
    return torch.where(chosen, even, crops)


def mixed_noise(clean: Tensor, chance: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of one kind for each picture, chosen by a chance in [0, 1): the difference to clean."""
    noise = torch.zeros_like(clean)
    kinds = [
        (0.00, 0.60, _camera),
        (0.60, 0.74, _plain),
        (0.74, 0.78, _poisson),
        (0.78, 0.82, _speckle),
    ]
    for first, last, kind in kinds:
        chosen = (first <= chance) & (chance < last)
        if bool(chosen.any()):
            noise[chosen] = kind(clean[chosen], generator) - clean[chosen]
    return noise


def _camera(clean: Tensor, generator: torch.Generator) -> Tensor:
    return add_camera_noise(clean, draw_cameras(len(clean), generator), generator)


def _plain(clean: Tensor, generator: torch.Generator) -> Tensor:
    share = torch.rand(len(clean), generator=generator, device=clean.device)
    share = ((share - 0.4) / 0.3).clamp(0, 1)  # two of five colour, three of ten grey, else between
    sigmas = draw_sigmas(0, 50, len(clean), generator, power=1.5)
    return add_common_noise(clean, sigmas, share, generator)


def _poisson(clean: Tensor, generator: torch.Generator) -> Tensor:
    exponent = torch.rand(len(clean), generator=generator, device=clean.device) * 2 + 2
    return add_poisson_noise(clean, 10**exponent, generator)


def _speckle(clean: Tensor, generator: torch.Generator) -> Tensor:
    return add_speckle_noise(clean, draw_sigmas(2, 50, len(clean), generator, 1.5), generator)


def spread_randomly(noise: Tensor, generator: torch.Generator) -> Tensor:
    """Noise smoothed and sharpened as by a camera, in four of five pictures.

    What the smoothing takes from it is given back, to between 0.5 and 1.4 of its strength: where a
    camera smooths much there was much noise, it sharpens what is left, and what people see of it is
    coarse, above all in its colour. The colour is smoothed more than the brightness. In three of
    ten of these the noise has any other spectrum instead, for no two cameras smooth alike.
    """
    draws = torch.rand(6, len(noise), generator=generator, device=noise.device)
    on = (draws[0] < 0.8).float()
    luma_sigma = on * 1.1 * draws[1]
    chroma_sigma = on * torch.maximum(1.1 * draws[1], 3 * draws[2])
    spread = spread_noise(noise, luma_sigma, chroma_sigma, on * draws[3])
    banded = torch.rand(len(noise), generator=generator, device=noise.device) < 0.3
    spread = torch.where((banded & (on > 0)).view(-1, 1, 1, 1), in_bands(noise, generator), spread)
    gains = 0.5 + 0.9 * draws[4:]
    return torch.where(on.view(-1, 1, 1, 1) > 0, as_strong(spread, noise, gains), spread)


def in_bands(noise: Tensor, generator: torch.Generator) -> Tensor:
    """Noise whose four octaves are weighted at random: (N, 3, H, W), brightness and colour apart.

    The octaves end at Gaussians of 0.6, 1.2 and 2.4 pixels; their weights are up to 4.5 times as
    strong as before or as weak, the coarser ones of the colour stronger by as much as they like.
    """
    count, device = len(noise), noise.device
    planes = mix(noise, TO_YCC)
    logs = 3 * torch.rand(4, 2, count, generator=generator, device=device) - 1.5
    logs[2:, 1] += 1
    left, found = planes, torch.zeros_like(planes)
    for log, width in zip(logs.exp(), (0.6, 1.2, 2.4, None), strict=True):
        smooth = torch.zeros_like(left)
        if width is not None:
            smooth = blur(planes, torch.full((count,), width, device=device))
        weights = torch.stack([log[0], log[1], log[1]], 1).view(count, 3, 1, 1)
        found = found + weights * (left - smooth)
        left = smooth
    return mix(found, TO_RGB)


def as_strong(spread: Tensor, noise: Tensor, gains: Tensor) -> Tensor:
    """`spread` with the strength of `noise` times gains (2, N), for brightness and for colour."""
    planes, before = mix(spread, TO_YCC), mix(noise, TO_YCC)
    parts = []
    for part, gain in ((slice(0, 1), gains[0]), (slice(1, 3), gains[1])):
        had, has = (p[:, part].square().mean((1, 2, 3)) for p in (before, planes))
        factor = gain * (had / has.clamp(min=1e-12)).sqrt()
        parts.append(planes[:, part] * factor.view(-1, 1, 1, 1))
    return mix(torch.cat(parts, 1), TO_RGB)


def enlarge_some(crops: Tensor, generator: torch.Generator) -> Tensor:
    """The middle of three of four crops enlarged to their size, up to four times.

    Pictures for training are small ones, sharp to the pixel. A camera's picture at full size is
    not: lens, colour mosaic and focus leave little of the finest detail, and its noise is finer
    than what it shows. A network that never saw that takes such noise for texture.
    """
    count = len(crops)
    chance, size = torch.rand(2, count, generator=generator, device=crops.device)
    factor = torch.where(chance < 0.75, 1 + 3 * size, torch.ones_like(size))
    grids = torch.zeros(count, 2, 3, device=crops.device)
    grids[:, 0, 0] = grids[:, 1, 1] = 1 / factor
    places = F.affine_grid(grids, list(crops.shape), align_corners=False)
    larger = F.grid_sample(
        crops, places, mode="bicubic", padding_mode="reflection", align_corners=False
    ).clamp(0, 1)
    return torch.where((factor > 1).view(-1, 1, 1, 1), larger, crops)


def enlarge_randomly(
    clean: Tensor, degraded: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A tenth of the batches: the middle enlarged up to twice, in both of the pair alike."""
    chance, size = torch.rand(2, generator=generator, device=clean.device).tolist()
    if chance >= 0.1:
        return clean, degraded
    side = clean.shape[-1]
    inner = 2 * round(side * (0.5 + 0.5 * size) / 2)
    first = (side - inner) // 2
    both = torch.cat([clean, degraded])[..., first : first + inner, first : first + inner]
    both = F.interpolate(both, (side, side), mode="bicubic", align_corners=False).clamp(0, 1)
    clean, degraded = both.chunk(2)
    return clean, degraded


def draw_qualities(count: int, generator: torch.Generator) -> Tensor:
    """JPEG qualities: half of them 75 to 100, as cameras and galleries save, half 10 to 75."""
    high, place = torch.rand(2, count, generator=generator, device=generator.device)
    return torch.where(high < 0.5, 75 + 25 * place, 10 + 65 * place).round()


@dataclass(frozen=True)
class ValidationSet:
    """Fixed pairs from the middle of each validation picture, the same in every run."""

    store: PictureStore
    recipe: Recipe

    def __iter__(self) -> Iterator[Pair]:
        """Pairs in batches of 8: a pass per noise level, three of random degradations, else one."""
        crops = centre_crops(self.store, self.recipe.validate_side)
        if self.recipe.degradation == "gaussian":
            for sigma in self.recipe.validate_sigma:
                generator = torch.Generator().manual_seed(0)
                for clean in crops.split(8):
                    yield Pair(clean, add_gaussian_noise(clean, sigma, generator))
            return
        generator = torch.Generator().manual_seed(0)
        degradation, side = DEGRADATIONS[self.recipe.degradation], self.recipe.validate_side
        for _ in range(1 if self.recipe.degradation == "bicubic" else VALIDATION_DRAWS):
            for clean in crops.split(8):
                yield degradation(partial(_given, clean), side, self.recipe, generator)


def _given(crops: Tensor, _: int) -> Tensor:
    return crops
