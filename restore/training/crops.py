"""Clean pictures in memory, and random crops of them, cut on the device that trains.

All pictures lie end to end in one uint8 tensor on the training device, and a batch is one gather
from it: no workers, no copying, no Python loop over pictures, so no step waits for its data.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from restore.errors import TrainingError
from restore.image.color import as_grey, as_rgb
from restore.image.find import list_pictures
from restore.image.picture import quantise
from restore.image.read import load_image

SMALLER_PATCH = ", or train with a smaller patch"


@dataclass(frozen=True)
class PictureStore:
    """Pictures as one tensor: samples (pixels, channels) uint8, and where each picture lies in it.

    starts, heights, widths: int64, one entry a picture
    """

    samples: Tensor
    starts: Tensor
    heights: Tensor
    widths: Tensor

    def __len__(self) -> int:
        """How many pictures it holds."""
        return len(self.starts)

    def picture(self, index: int) -> Tensor:
        """One of the pictures, uint8 (height, width, channels)."""
        start, height, width = (
            int(each[index]) for each in (self.starts, self.heights, self.widths)
        )
        return self.samples[start : start + height * width].view(height, width, -1)

    def crops(
        self, count: int, side: int, generator: torch.Generator, candidates: int = 1
    ) -> Tensor:
        """Random square crops, as `crops_and_pictures`, which also says what they are from."""
        return self.crops_and_pictures(count, side, generator, candidates)[0]

    def crops_and_pictures(
        self,
        count: int,
        side: int,
        generator: torch.Generator,
        candidates: int = 1,
        transposed: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Random square crops, each turned or mirrored in one of the 8 dihedral ways.

        Without `transposed`, they are mirrored alone, and rows stay rows.

        Pictures are drawn in proportion to their area. `candidates`: so many places are drawn for
        each crop and the one with the most detail is taken, for half of a photograph is sky and
        blur, which teach little. Returns float32 (count, C, side, side) in [0, 1], channels last
        in memory, and the number of each one's picture, (count,). `generator` must live on the
        store's device.
        """
        chosen, firsts, strides = self._places(count * candidates, side, generator)
        if candidates > 1:
            detail = self._detail(firsts, strides, side).view(count, candidates)
            best = detail.argmax(1) + torch.arange(count, device=detail.device) * candidates
            chosen, firsts, strides = chosen[best], firsts[best], strides[best]
        turns = torch.rand(3, count, 1, 1, generator=generator, device=firsts.device) < 0.5
        turns[2] &= transposed
        rows, columns = _turned_grid(side, turns)
        index = firsts.view(-1, 1, 1) + rows * strides.view(-1, 1, 1) + columns
        return self.samples[index].permute(0, 3, 1, 2).float() / 255, chosen

    def _places(
        self, count: int, side: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Random squares: each one's picture, the index of its first pixel, the picture's width."""
        areas = (self.heights * self.widths).double()
        chosen = torch.multinomial(areas, count, replacement=True, generator=generator)
        draws = torch.rand(2, count, generator=generator, device=self.samples.device)
        heights, widths = self.heights[chosen], self.widths[chosen]
        top = (draws[0] * (heights - side + 1)).long()
        left = (draws[1] * (widths - side + 1)).long()
        return chosen, self.starts[chosen] + top * widths + left, widths

    def _detail(self, firsts: Tensor, strides: Tensor, side: int) -> Tensor:
        """Mean absolute difference of neighbours in the middle channel, on every second row."""
        rows = torch.arange(0, side, 2, device=firsts.device).view(1, -1, 1)
        columns = torch.arange(side, device=firsts.device).view(1, 1, -1)
        index = firsts.view(-1, 1, 1) + rows * strides.view(-1, 1, 1) + columns
        values = self.samples[:, self.samples.shape[1] // 2][index].float()
        return values.diff(dim=2).abs().mean((1, 2))

    def to(self, device: torch.device) -> PictureStore:
        """The same store on another device."""
        return PictureStore(
            self.samples.to(device),
            self.starts.to(device),
            self.heights.to(device),
            self.widths.to(device),
        )


def _turned_grid(side: int, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of each pixel of a square after a turn: (count, side, side) each.

    turns: bool (3, count, 1, 1): mirror the rows, mirror the columns, swap the two
    """
    ramp = torch.arange(side, device=turns.device)
    rows, columns = ramp.view(1, side, 1), ramp.view(1, 1, side)
    rows = torch.where(turns[0], side - 1 - rows, rows).expand(-1, -1, side)
    columns = torch.where(turns[1], side - 1 - columns, columns).expand(-1, side, -1)
    return (
        torch.where(turns[2], rows.mT, rows),
        torch.where(turns[2], columns.mT, columns),
    )


def build_store(
    pictures: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]] | Sequence[Tensor],
) -> PictureStore:
    """A store of `(height, width, channels)` uint8 arrays, which must agree in channels.

    Tensors must lie on one device, which becomes that of the store.
    """
    pixels = [torch.as_tensor(picture.reshape(-1, picture.shape[2])) for picture in pictures]
    device = pixels[0].device
    heights = torch.tensor([picture.shape[0] for picture in pictures], device=device)
    widths = torch.tensor([picture.shape[1] for picture in pictures], device=device)
    areas = heights * widths
    return PictureStore(torch.cat(pixels), areas.cumsum(0) - areas, heights, widths)


def load_store(
    folder: Path, channels: int, smallest: int, or_else: str = SMALLER_PATCH
) -> PictureStore:
    """All pictures below a folder, decoded by as many threads as the machine has cores.

    smallest: pictures with a shorter side than this are left out, for no crop fits into them
    or_else:  what helps besides larger pictures, for the message where all are left out
    Raises TrainingError for a folder without pictures of that size, and ReadError for a file that
    cannot be read: a training that silently goes without half of its data is worse than none.
    """
    return store_of([[file] for file in list_pictures(folder)], channels, smallest, folder, or_else)


def store_of(
    groups: Sequence[Sequence[Path]],
    channels: int,
    smallest: int,
    folder: Path,
    or_else: str = SMALLER_PATCH,
) -> PictureStore:
    """Files of `folder` as a store; those of a group lie over each other, as channels of a picture.

    channels: of each file; a picture of the store has them once for each file of its group
    Raises what `load_store` raises, and TrainingError for a group of different sizes.
    """
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(partial(_stacked, channels=channels), groups))
    usable = [p for p in decoded if min(p.shape[:2]) >= smallest]
    if not usable:
        raise TrainingError(
            f"no picture in {folder} is {smallest} pixels high and wide; give larger ones{or_else}"
        )
    return build_store(usable)


def _stacked(
    files: Sequence[Path], channels: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    decoded = [_decode(file, channels) for file in files]
    if len({pixels.shape for pixels in decoded}) > 1:
        names = " and ".join(str(file) for file in files)
        raise TrainingError(
            f"{names} differ in size; pictures of one scene must lie pixel on pixel"
        )
    return np.concatenate(decoded, 2)


def _decode(file: Path, channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    pixels = load_image(file).pixels
    return quantise(as_rgb(pixels) if channels == 3 else as_grey(pixels), 8)


def fitting_side(store: PictureStore, side: int, multiple: int) -> int:
    """The largest multiple up to `side` that is no longer than the shortest side of a picture."""
    shortest = int(torch.minimum(store.heights, store.widths).min())
    return min(side, shortest) // multiple * multiple


def centre_crops(store: PictureStore, side: int) -> Tensor:
    """The middle of each picture, for validation: float32 (pictures, C, side, side) in [0, 1]."""
    crops = []
    for index in range(len(store)):
        picture = store.picture(index)
        top, left = ((length - side) // 2 for length in picture.shape[:2])
        crops.append(picture[top : top + side, left : left + side])
    return torch.stack(crops).permute(0, 3, 1, 2).float() / 255
