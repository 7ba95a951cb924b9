"""A picture far larger than memory: through in parts, killed half-way, gone on with, and looked at.

    python benchmarks/gigapixel.py FOLDER [--megapixels 1000] [--model denoise-photo-fast]
                                   [--memory 2GB] [--json benchmarks/gigapixel.json]

Writes a striped BigTIFF of one of the samples, mirrored to size, with noise of sigma 25; restores
it with the command line in a process of its own, which is killed once after a third of the time and
called again; and compares some squares of the result with the same squares restored alone with what
lies around them. The folder needs room for seven bytes a pixel.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

import restore
from restore.image.tiff import TiffRows
from restore.models.weights import load_model

SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "fur-clean.png"
SIDE, SQUARES, ROWS = 96, 6, 256


def write_noisy(target: Path, height: int, width: int) -> None:
    """The picture, strip by strip."""
    sample = np.rint(restore.load_image(SAMPLE).pixels * 255).astype(np.uint8)
    tile = np.concatenate([sample, sample[::-1]])
    line = np.concatenate([tile, tile[:, ::-1]], axis=1)
    line = np.tile(line, (1, -(-width // line.shape[1]), 1))[:, :width]
    draw = np.random.default_rng(0)

    def strips() -> Any:
        for top in range(0, height, ROWS):
            rows = np.arange(top, min(height, top + ROWS)) % len(line)
            noise = draw.standard_normal((len(rows), width, 3), np.float32) * 25
            yield np.rint((line[rows] + noise).clip(0, 255)).astype(np.uint8)

    tifffile.imwrite(
        target,
        strips(),
        shape=(height, width, 3),
        dtype=np.uint8,
        rowsperstrip=ROWS,
        photometric="rgb",
        bigtiff=True,
        compression=None,
    )


def restored(words: list[str], kill_after: float | None = None) -> float:
    """Seconds that the command took, or ran until it was killed."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "restore", "denoise", *words])
    try:
        code = process.wait(kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return time.perf_counter() - began
    if code:
        raise SystemExit(f"restore denoise ended with {code}")
    return time.perf_counter() - began


def largest_difference(source: Path, target: Path, model: str) -> int:
    """Over some squares, in levels, between the result and the square restored by itself."""
    noisy, clean = TiffRows(source), TiffRows(target)
    network = load_model(model)
    grid, halo = network.multiple_of, network.halo
    draw, most = np.random.default_rng(1), 0
    for _ in range(SQUARES):
        top, left = (
            int(draw.integers(halo, n - halo - SIDE)) // grid * grid for n in noisy.shape[:2]
        )
        columns = slice(left - halo, left + SIDE + halo)
        around = np.ascontiguousarray(noisy[top - halo : top + SIDE + halo][:, columns])
        alone = restore.denoise(around, network).image[halo:-halo, halo:-halo]
        square = clean[top : top + SIDE][:, left : left + SIDE].astype(int)
        most = max(most, int(np.abs(square - alone).max()))
    return most


def main() -> None:
    """Make, restore, kill, restore, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megapixels", type=float, default=1000)
    parser.add_argument("--model", default="denoise-photo-fast")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    height = round(math.sqrt(asked.megapixels * 1e6 / 1.25))
    width = round(1.25 * height)
    source, target = asked.folder / "huge.tif", asked.folder / "huge-restored.tif"
    write_noisy(source, height, width)
    words = [str(source), "-o", str(target), "--model", asked.model, "--memory", asked.memory]
    first = restored(words, kill_after=asked.megapixels / 10 + 10)
    finished = target.exists()
    second = 0.0 if finished else restored(words)
    found = {
        "size": [width, height],
        "model": asked.model,
        "memory_asked": asked.memory,
        "seconds_until_killed": None if finished else round(first, 1),
        "seconds_of_the_rest": round(first if finished else second, 1),
        "peak_of_the_process_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        "largest_difference_in_levels": largest_difference(source, target, asked.model),
    }
    print(json.dumps(found, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
