"""Compare models and settings on a picture of your own, with noise that you add.

python docs/examples/compare_models.py samples/fur-clean.png 25
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import restore


def main(path: str, sigma: float) -> None:
    """Print PSNR and SSIM of each setting."""
    clean = restore.load_image(path)
    noise = np.random.default_rng(0).normal(0, sigma / 255, clean.pixels.shape)
    noisy = np.clip(clean.pixels + noise, 0, 1).astype(np.float32)
    settings: dict[str, dict[str, Any]] = {
        "denoise-gaussian": {"model": "denoise-gaussian"},
        "denoise-gaussian-fast": {"model": "denoise-gaussian-fast"},
        "denoise-photo": {"model": "denoise-photo"},
        "denoise-photo, told the level": {"model": "denoise-photo", "sigma": sigma},
    }
    for name, chosen in settings.items():
        result = restore.denoise(noisy, reference=clean.pixels, **chosen)
        print(f"{name:32} {result.psnr:.2f} dB  SSIM {result.ssim:.4f}  {result.seconds:.2f} s")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
