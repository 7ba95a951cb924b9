"""How well the noise level is estimated: ours beside scikit-image's, on noise that is known.

    python benchmarks/noise_level.py VAL [--json benchmarks/noise_level.json]

VAL is a folder of clean pictures. The noise is that of `restore evaluate --noise gaussian:SIGMA`:
neither clipped nor rounded. scikit-image's `estimate_sigma` takes the median of the finest wavelet
coefficients and wants PyWavelets; it is given the mean over the channels.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from skimage.restoration import estimate_sigma as estimate_by_wavelets

from restore.evaluation.testsets import add_noise
from restore.image.find import list_pictures
from restore.image.picture import Pixels
from restore.image.read import load_image
from restore.tasks.white_noise import estimate_sigma

SIGMAS = (5, 10, 15, 25, 35, 50)


def by_wavelets(pixels: Pixels) -> float:
    """scikit-image's estimate, on the 0-255 scale."""
    return 255 * float(estimate_by_wavelets(pixels, channel_axis=2, average_sigmas=True))


METHODS = {"restore": estimate_sigma, "scikit-image": by_wavelets}


def measure(pictures: list[Pixels]) -> list[dict[str, Any]]:
    """The mean error of each method at each level, and its time for a megapixel."""
    rows = []
    for name, estimate in METHODS.items():
        for sigma in SIGMAS:
            errors, seconds, megapixels = [], 0.0, 0.0
            for clean in pictures:
                noisy = add_noise(clean, sigma)
                started = time.perf_counter()
                errors.append(estimate(noisy) - sigma)
                seconds += time.perf_counter() - started
                megapixels += clean.shape[0] * clean.shape[1] / 1e6
            row: dict[str, Any] = {"method": name, "sigma": sigma}
            row["mean_error"] = round(fmean(map(abs, errors)), 3)
            row["worst"] = round(max(map(abs, errors)), 3)
            row["seconds_per_megapixel"] = round(seconds / megapixels, 3)
            print(row, flush=True)
            rows.append(row)
    return rows


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    pictures = [load_image(path).pixels for path in list_pictures(asked.folder)]
    rows = measure(pictures)
    if asked.json:
        data = {"data": asked.folder.name, "pictures": len(pictures), "rows": rows}
        asked.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
