"""White noise on pictures of stronger colours than photographs have.

    python benchmarks/saturated.py VAL [--models denoise-gaussian,denoise-gaussian-fast]

The middles of a folder's pictures, 256 pixels wide, with their saturation multiplied (the chroma
planes of YCbCr, clipped), and noise from seed 0. Prints the mean PSNR over the pictures in RGB, and
the lowest gain.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from restore.image.find import list_pictures
from restore.image.metrics import compare
from restore.image.picture import Picture
from restore.image.read import load_image
from restore.pipeline.picture import denoise
from restore.training.degradations.downscale import to_levels
from restore.training.degradations.jpeg import TO_RGB, TO_YCC, mix

SIDE = 256


def middle(path: Path) -> np.ndarray:
    """The middle of a picture, as colour."""
    pixels = load_image(path).pixels
    top, left = ((side - SIDE) // 2 for side in pixels.shape[:2])
    return np.broadcast_to(pixels[top : top + SIDE, left : left + SIDE], (SIDE, SIDE, 3))


def saturated(pixels: np.ndarray, factor: float) -> np.ndarray:
    """The same with its chroma multiplied, in 8 bits."""
    planes = mix(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None], TO_YCC)
    planes[:, 1:] *= factor
    return to_levels(mix(planes, TO_RGB))[0].permute(1, 2, 0).contiguous().numpy()


def main() -> None:
    """Print a row for each model, saturation and noise level."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", default="denoise-gaussian,denoise-gaussian-fast")
    parser.add_argument("--factors", default="1,2,3")
    parser.add_argument("--sigmas", default="15,25,50")
    asked = parser.parse_args()
    pictures = [(path.name, middle(path)) for path in list_pictures(asked.data)]
    for model in asked.models.split(","):
        for factor in map(float, asked.factors.split(",")):
            for sigma in map(float, asked.sigmas.split(",")):
                scores = []
                for name, pixels in pictures:
                    clean = saturated(pixels, factor)
                    noise = np.random.default_rng(0).normal(0, sigma / 255, clean.shape)
                    noisy = Picture((clean + noise).astype(np.float32), depth="float")
                    found, before = (
                        compare(each, Picture(clean)).psnr
                        for each in (denoise(noisy, model).picture, noisy)
                    )
                    scores.append((found - before, found, name))
                gain, _, worst = min(scores)
                mean = np.mean([psnr for _, psnr, _ in scores])
                print(
                    f"{model}, saturation {factor:g}, sigma {sigma:g}: {mean:.2f} dB, "
                    f"smallest gain {gain:.2f} ({worst})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
