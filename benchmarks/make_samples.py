"""Make the pictures in `samples/`: `python benchmarks/make_samples.py samples`.

Each is a public-domain or CC0 photograph that scikit-image carries, degraded by the package's own
functions with a fixed seed; the clean reference lies beside it. One has its camera's own noise, and
no reference.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from skimage import data

from restore.image.picture import Picture, dequantise
from restore.image.write import save_image
from restore.training.degradations.noise import add_gaussian_noise, add_shot_and_read_noise

SEED = 2026


@dataclass(frozen=True)
class Sample:
    """One difficulty, where its picture comes from, and what is done to it."""

    name: str
    source: str  # the function in skimage.data
    crop: tuple[int, int, int, int]  # top, left, height, width
    sigma: float = 0.0  # Gaussian noise, 0-255
    shot: float = 0.0  # else sensor noise of variance shot * x + read
    read: float = 0.0
    depth: int = 8
    cut_out: bool = False  # an elliptical alpha channel of our own
    smaller: int = 1  # pixels each way whose mean becomes one
    as_it_is: bool = False  # noisy by itself: nothing is added, and there is no reference


SAMPLES = [
    Sample("night", "rocket", (0, 0, 427, 640), shot=0.008, read=0.0008),
    Sample("fur", "chelsea", (0, 60, 300, 320), sigma=25),
    Sample("text", "text", (0, 0, 172, 448), sigma=30),
    Sample("grey", "camera", (40, 120, 320, 320), sigma=25),
    Sample("portrait-16bit", "astronaut", (0, 96, 256, 256), sigma=20, depth=16),
    Sample("cut-out", "coffee", (20, 180, 320, 320), sigma=25, cut_out=True),
    Sample("bricks", "brick", (0, 0, 512, 512), sigma=10, smaller=2),
    Sample("handwriting", "text", (0, 0, 172, 448), as_it_is=True),
]


def clean_picture(sample: Sample) -> Picture:
    """The photograph, cropped, with its alpha channel where the sample has one."""
    top, left, height, width = sample.crop
    array = getattr(data, sample.source)()[top : top + height, left : left + width]
    pixels = dequantise(array.reshape(height, width, -1))
    if sample.smaller > 1:
        cells = (height // sample.smaller, sample.smaller, width // sample.smaller, sample.smaller)
        pixels = np.rint(pixels.reshape(*cells, -1).mean((1, 3)) * 255).astype(np.float32) / 255
        height, width = pixels.shape[:2]
    return Picture(pixels, alpha=ellipse(height, width) if sample.cut_out else None)


def ellipse(height: int, width: int) -> np.ndarray:
    """1 inside, 0 outside, with an edge four pixels soft, on the 8-bit grid."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot((y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5) * height
    return np.rint(np.clip((0.46 * height - distance) / 4, 0, 1) * 255).astype(np.float32) / 255


def degrade(sample: Sample, clean: Picture) -> Picture:
    """The clean picture with the sample's noise, from a generator with a fixed seed."""
    generator = torch.Generator().manual_seed(SEED)
    tensor = torch.from_numpy(clean.pixels).permute(2, 0, 1)[None]
    if sample.shot:
        noisy = add_shot_and_read_noise(tensor, sample.shot, sample.read, generator)
    else:
        noisy = add_gaussian_noise(tensor, sample.sigma, generator)
    pixels = np.ascontiguousarray(noisy[0].permute(1, 2, 0).numpy())
    return clean.replace(pixels=pixels, depth=sample.depth)


def main(folder: Path) -> None:
    """Write every sample and its reference."""
    for sample in SAMPLES:
        picture = clean_picture(sample)
        if not sample.as_it_is:
            save_image(picture, folder / f"{sample.name}-clean.png", overwrite=True)
            picture = degrade(sample, picture)
        save_image(picture, folder / f"{sample.name}.png", overwrite=True)
        print(sample.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
