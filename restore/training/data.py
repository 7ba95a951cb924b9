"""Clean pictures in memory, and random crops of them, cut on the device that trains.

All pictures lie end to end in one uint8 tensor on the training device, and a batch is one gather
from it: no workers, no copying, no Python loop over pictures, so no step waits for its data.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from restore.errors import TrainingError
from restore.image.color import as_grey, as_rgb
from restore.image.folder import list_pictures
from restore.image.image import quantise
from restore.image.read import load_image


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

    def crops(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        """Random square crops, each turned or mirrored in one of the 8 dihedral ways.

        Pictures are drawn in proportion to their area. Returns float32 (count, C, side, side) in
        [0, 1], channels last in memory. `generator` must live on the store's device.
        """
        device = self.samples.device
        areas = (self.heights * self.widths).double()
        chosen = torch.multinomial(areas, count, replacement=True, generator=generator)
        draws = torch.rand(5, count, generator=generator, device=device)
        heights, widths = self.heights[chosen], self.widths[chosen]
        top = (draws[0] * (heights - side + 1)).long()
        left = (draws[1] * (widths - side + 1)).long()

        ramp = torch.arange(side, device=device)
        rows, columns = ramp.view(1, side, 1), ramp.view(1, 1, side)
        flip_rows, flip_columns, transpose = (draws[2:] < 0.5).view(3, count, 1, 1)
        rows = torch.where(flip_rows, side - 1 - rows, rows)
        columns = torch.where(flip_columns, side - 1 - columns, columns)
        rows, columns = rows.expand(-1, -1, side), columns.expand(-1, side, -1)
        rows, columns = (
            torch.where(transpose, rows.mT, rows),
            torch.where(transpose, columns.mT, columns),
        )
        first = (self.starts[chosen] + top * widths + left).view(count, 1, 1)
        index = first + rows * widths.view(count, 1, 1) + columns
        return self.samples[index].permute(0, 3, 1, 2).float() / 255

    def to(self, device: torch.device) -> PictureStore:
        """The same store on another device."""
        return PictureStore(
            self.samples.to(device),
            self.starts.to(device),
            self.heights.to(device),
            self.widths.to(device),
        )


def build_store(
    pictures: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]],
) -> PictureStore:
    """A store of `(height, width, channels)` uint8 arrays, which must agree in channels."""
    heights = torch.tensor([p.shape[0] for p in pictures])
    widths = torch.tensor([p.shape[1] for p in pictures])
    areas = heights * widths
    samples = torch.empty((int(areas.sum()), pictures[0].shape[2]), dtype=torch.uint8)
    starts = areas.cumsum(0) - areas
    for picture, start, area in zip(pictures, starts.tolist(), areas.tolist(), strict=True):
        samples[start : start + area] = torch.from_numpy(picture.reshape(area, -1))
    return PictureStore(samples, starts, heights, widths)


def load_store(folder: Path, channels: int, smallest: int) -> PictureStore:
    """All pictures below a folder, decoded by as many threads as the machine has cores.

    smallest: pictures with a shorter side than this are left out, for no crop fits into them
    Raises TrainingError for a folder without pictures of that size, and ReadError for a file that
    cannot be read: a training that silently goes without half of its data is worse than none.
    """
    files = list_pictures(folder)
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(lambda file: _decode(file, channels), files))
    usable = [p for p in decoded if min(p.shape[:2]) >= smallest]
    if not usable:
        raise TrainingError(
            f"no picture in {folder} is {smallest} pixels high and wide; "
            "give larger ones or a smaller patch"
        )
    return build_store(usable)


def _decode(file: Path, channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    pixels = load_image(file).pixels
    return quantise(as_rgb(pixels) if channels == 3 else as_grey(pixels), 8)


def centre_crops(store: PictureStore, side: int) -> Tensor:
    """The middle of each picture, for validation: float32 (pictures, C, side, side) in [0, 1]."""
    crops = []
    for start, height, width in zip(
        store.starts.tolist(), store.heights.tolist(), store.widths.tolist(), strict=True
    ):
        picture = store.samples[start : start + height * width].view(height, width, -1)
        top, left = (height - side) // 2, (width - side) // 2
        crops.append(picture[top : top + side, left : left + side])
    return torch.stack(crops).permute(0, 3, 1, 2).float() / 255
