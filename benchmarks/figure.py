"""Draw the README's before-and-after figure: `python benchmarks/figure.py benchmarks/samples.png`.

Each sample through the shipped pipeline, a crop at 100 %: noisy above, restored below.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import restore

SIDE = 200
CROPS = {
    "night": (120, 250),
    "fur": (60, 60),
    "handwriting": (0, 60),
    "bricks": (20, 20),
    "grey": (20, 60),
    "cut-out": (60, 60),
}


def crop(picture: restore.Picture, top: int, left: int) -> np.ndarray:
    """A square of a picture as 8-bit RGB; below its lower edge white."""
    pixels = np.ones((SIDE, SIDE, 3), np.float32)
    part = picture.pixels[top : top + SIDE, left : left + SIDE]
    pixels[: part.shape[0], : part.shape[1]] = part
    return np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)


def main(target: Path) -> None:
    """Restore the samples and put the crops side by side."""
    samples = Path(__file__).resolve().parent.parent / "samples"
    columns = []
    for name, (top, left) in CROPS.items():
        noisy = restore.load_image(samples / f"{name}.png")
        clean = samples / f"{name}-clean.png"
        result = restore.denoise(noisy, reference=clean if clean.exists() else None)
        if result.before is not None:
            print(f"{name}: {result.before.psnr:.2f} -> {result.psnr:.2f} dB")
        pair = [crop(p, top, left) for p in (noisy, result.picture)]
        columns.append(np.concatenate(pair))
    Image.fromarray(np.concatenate(columns, axis=1)).save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
