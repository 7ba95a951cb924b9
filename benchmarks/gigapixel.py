"""A picture far larger than memory: through in parts, killed half-way, gone on with, and looked at.

    python benchmarks/gigapixel.py FOLDER [--megapixels 1000] [--model denoise-photo-fast]
                                   [--memory 2GB] [--json benchmarks/gigapixel.json]

Writes a striped BigTIFF of one of the samples, mirrored to size, with noise of sigma 25; restores
it with the command line in a process of its own, which is killed once after a third of the time and
called again; and compares some squares of the result with the same squares restored alone with what
lies around them. The folder needs room for seven bytes a pixel.

    python benchmarks/gigapixel.py FOLDER --jpeg [--megapixels 200]

A JPEG cannot be read by rows: it is restored in memory, and the bytes that each of its pixels takes
are measured, by the peak of the process beside that for a small picture.
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
from PIL import Image

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


def peak_of(words: list[str]) -> int:
    """The most bytes that the command takes; its process is the only child of another one."""
    measure = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    measure += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
    command = [sys.executable, "-m", "restore", "denoise", "--overwrite", "--quiet", *words]
    done = subprocess.run([sys.executable, "-c", measure, *command], stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"restore denoise ended with {done.returncode}")
    return int(done.stdout.split()[-1]) * 1024


def write_jpeg(target: Path, height: int, width: int) -> None:
    """The picture of `write_noisy` as a JPEG of this size."""
    tiff = target.with_suffix(".tif")
    write_noisy(tiff, height, width)
    Image.fromarray(tifffile.imread(tiff)).save(target, quality=92)
    tiff.unlink()


def bytes_of_a_pixel(folder: Path, height: int, width: int, model: str) -> dict[str, Any]:
    """How much memory a JPEG takes, and how long: all of it is held."""
    small, large = folder / "small.jpg", folder / "large.jpg"
    write_jpeg(small, 500, 500)
    write_jpeg(large, height, width)
    least = peak_of([str(small), "--model", model])
    began = time.perf_counter()
    peak = peak_of([str(large), "--model", model])
    return {
        "size": [width, height],
        "model": model,
        "seconds": round(time.perf_counter() - began, 1),
        "peak_of_the_process_bytes": peak,
        "peak_for_a_small_picture_bytes": least,
        "bytes_of_a_pixel": round((peak - least) / (width * height), 1),
    }


def main() -> None:
    """Make, restore, kill, restore, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jpeg", action="store_true", help="a JPEG, which is held in memory")
    parser.add_argument("--megapixels", type=float, help="1000, or 200 of a JPEG")
    parser.add_argument("--model", default="denoise-photo-fast")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    megapixels = asked.megapixels or (200 if asked.jpeg else 1000)
    height = round(math.sqrt(megapixels * 1e6 / 1.25))
    width = round(1.25 * height)
    if asked.jpeg:
        save(bytes_of_a_pixel(asked.folder, height, width, asked.model), asked.json)
        return
    source, target = asked.folder / "huge.tif", asked.folder / "huge-restored.tif"
    write_noisy(source, height, width)
    words = [str(source), "-o", str(target), "--model", asked.model, "--memory", asked.memory]
    first = restored(words, kill_after=megapixels / 10 + 10)
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
    save(found, asked.json)


def save(found: dict[str, Any], place: Path | None) -> None:
    """Print what was found, and write it where that is wanted."""
    print(json.dumps(found, indent=1))
    if place:
        place.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
