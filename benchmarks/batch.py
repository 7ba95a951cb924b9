"""The throughput of a folder of mixed pictures, as a ratio to the network's own time.

    python benchmarks/batch.py [--pictures 200] [--model NAME] [--json benchmarks/batch.json]

Makes pictures of several formats and sizes from those in `samples/`, restores the folder as
`restore denoise FOLDER -o OUT` does, and then sends the same pixels through the network alone,
decoded beforehand and written nowhere.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from restore.engine.compute import Resources
from restore.engine.device import (
    choose_device,
    choose_precision,
    device_name,
    precision_name,
)
from restore.engine.run import run_array
from restore.image.read import load_image
from restore.image.write import save_image
from restore.pipeline.batch import denoise_files
from restore.tasks.denoise import Denoise
from restore.tasks.task import find_network

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
# Suffix, height and width; a third of them small and of one size, as thumbnails of a site are.
MIX = [
    (".jpg", (1024, 1536)),
    (".png", (768, 1024)),
    (".jpg", (160, 240)),
    (".tif", (600, 800)),
    (".webp", (720, 1280)),
    (".jpg", (160, 240)),
]


def make_pictures(folder: Path, count: int, scale: float) -> None:
    """Crops of the samples, tiled up to each size by mirroring; every tenth one of 16 bits."""
    draw = random.Random(0)
    names = sorted(p for p in SAMPLES.glob("*.png") if "clean" not in p.stem)
    sources = [load_image(p).replace(alpha=None) for p in names if p.stem != "grey"]
    for number in range(count):
        suffix, size = MIX[number % len(MIX)]
        height, width = (max(16, round(side * scale)) for side in size)
        picture = draw.choice(sources)
        down, right = (
            max(0, a - b) for a, b in zip((height, width), picture.pixels.shape, strict=False)
        )
        pixels = np.pad(picture.pixels, ((0, down), (0, right), (0, 0)), "symmetric")
        top = draw.randint(0, pixels.shape[0] - height)
        left = draw.randint(0, pixels.shape[1] - width)
        cut = np.ascontiguousarray(pixels[top : top + height, left : left + width])
        depth: Any = 16 if suffix in (".png", ".tif") and number % 10 == 1 else 8
        made = picture.replace(pixels=cut, depth=depth, exif=None, source={})
        save_image(made, folder / f"{number:04}{suffix}")


def alone(folder: Path, model: str, device: str, precision: str) -> float:
    """Seconds of the network over the same pictures, one by one and already decoded."""
    network = find_network(model)
    chosen = choose_device(device)
    dtype = choose_precision(precision, chosen)
    seconds = 0.0
    for path in sorted(folder.iterdir()):
        pixels = Denoise(network).preprocess(load_image(path))
        began = time.perf_counter()
        run_array(network, pixels, Resources(chosen, dtype))
        seconds += time.perf_counter() - began
    return seconds


def main() -> None:
    """Make, restore, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--scale", type=float, default=1.0, help="of the pictures' sides")
    parser.add_argument("--model", default="denoise-gaussian")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        source = Path(root) / "in"
        source.mkdir()
        make_pictures(source, asked.pictures, asked.scale)
        # The first picture pays for what a device sets up once.
        Image.new("RGB", (64, 64)).save(Path(root) / "first.png")
        settings = {"device": asked.device, "precision": asked.precision}
        list(denoise_files(Path(root) / "first.png", None, asked.model, **settings))
        batch = denoise_files(source, Path(root) / "out", asked.model, **settings)
        outcomes = list(batch)
        failed = [o.reason for o in outcomes if o.status != "written"]
        if failed:
            raise SystemExit(f"{len(failed)} pictures failed: {failed[0]}")
        network_alone = alone(source, asked.model, asked.device, asked.precision)
    device = choose_device(asked.device)
    megapixels = sum(o.megapixels for o in outcomes)
    results = {
        "pictures": len(outcomes),
        "megapixels": round(megapixels, 2),
        "device": device_name(device),
        "precision": precision_name(choose_precision(asked.precision, device)),
        "cores": os.cpu_count(),
        "seconds": round(batch.seconds, 2),
        "megapixels_per_second": round(megapixels / batch.seconds, 3),
        "network_seconds_in_the_batch": round(batch.network_seconds, 2),
        "network_share": round(batch.network_share, 4),
        "network_seconds_alone": round(network_alone, 2),
        "throughput_ratio": round(network_alone / batch.seconds, 4),
    }
    print(json.dumps(results, indent=1))
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
