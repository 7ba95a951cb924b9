"""Learning without clean pictures against learning with them: the same network, the same steps.

    python benchmarks/self_supervised.py --data TRAIN --val VAL [--json RESULT.json]

The pictures of TRAIN get Gaussian noise of sigma 25, once, and are rounded to 8 bits, as a folder
of noisy files would hold them. One network of the recipe `denoise-gaussian-fast` learns from those
alone (Neighbor2Neighbor), one from two noisy shots of each (Noise2Noise), one from the clean
pictures with fresh noise in every step. All are scored on the clean pictures of VAL under sigma 25.

Also measured: the autocorrelation that decides on the warning, for white noise, for demosaiced
noise, and for white noise through JPEG.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from restore.engine.device import device_name, precision_name
from restore.image.find import list_pictures
from restore.training.crops import PictureStore, build_store, load_store, store_of
from restore.training.degradations.camera import add_camera_noise, draw_cameras
from restore.training.degradations.pairs import ValidationSet
from restore.training.job import UNSUPERVISED
from restore.training.loop import Training, train
from restore.training.recipe import Recipe, load_recipe
from restore.training.self_supervised import CORRELATED, autocorrelation
from restore.training.sources import Degraded, Given, Noisy, Source

SIGMA = 25.0
SIDE = 512  # pixels of the middle of each picture that is used
BASE = {
    **UNSUPERVISED,
    "batch": [8],
    "patch": [64],
    "stages": [0.0],
    "sigma": [SIGMA, SIGMA],
    "flat": 0.0,
    "grey": 0.0,
    "candidates": 1,
    "validate_sigma": [SIGMA],
}


def middles(folder: Path, most: int) -> list[np.ndarray]:
    """The middle of each of so many pictures of a folder, as uint8 arrays."""
    files = list_pictures(folder)
    spread = files[:: max(1, len(files) // most)][:most]
    store, found = store_of([[file] for file in spread], 3, 256, folder), []
    for index in range(len(store)):
        start, height, width = (int(v[index]) for v in (store.starts, store.heights, store.widths))
        picture = store.samples[start : start + height * width].view(height, width, 3)
        top, left = max(0, height - SIDE) // 2, max(0, width - SIDE) // 2
        found.append(picture[top : top + SIDE, left : left + SIDE].numpy().copy())
    return found


def shot(pictures: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """The pictures with noise of their own, as 8-bit files would hold them."""
    rng = np.random.default_rng(seed)
    return [
        (p + rng.normal(0, SIGMA, p.shape)).round().clip(0, 255).astype(np.uint8) for p in pictures
    ]


def trained(name: str, recipe: Recipe, source: Source, val: PictureStore) -> dict[str, object]:
    """Train, and score the averaged network."""
    training, started = Training(recipe), time.monotonic()
    validation = ValidationSet(val, load_recipe("denoise-gaussian-fast", **BASE))
    for event in train(training, source, validation):
        if event.psnr is not None or event.step % 100 == 0:
            print(f"{name} {event.step} loss {event.loss:.5f} {event.psnr}", flush=True)
    return {
        "psnr": round(training.best or 0.0, 3),
        "steps": training.step,
        "minutes": round((time.monotonic() - started) / 60, 1),
    }


def correlations(clean: list[np.ndarray]) -> dict[str, float]:
    """The autocorrelation for noise of several kinds."""
    generator = torch.Generator().manual_seed(0)
    floats = [picture.astype(np.float32) / 255 for picture in clean]

    def camera(picture: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(picture).permute(2, 0, 1).unsqueeze(0)
        noisy = add_camera_noise(x, draw_cameras(1, generator), generator)
        return noisy[0].permute(1, 2, 0).numpy()

    def packed(picture: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=85)
        return np.asarray(Image.open(buffer), np.float32) / 255

    noisy = shot(clean, 1)
    kinds = {
        "white noise, sigma 25": [p.astype(np.float32) / 255 for p in noisy],
        "demosaiced camera noise": [camera(p) for p in floats],
        "white noise through JPEG of quality 85": [packed(p) for p in noisy],
    }
    return {kind: round(autocorrelation(pictures), 3) for kind, pictures in kinds.items()}


def main() -> None:
    """Train the three, print, and store where a file is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--only", default="supervised,neighbours,shots")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    clean, val = middles(asked.data, asked.pictures), load_store(asked.val, 3, 256)
    result: dict[str, object] = json.loads(asked.json.read_text()) if _there(asked.json) else {}
    result["correlations"] = {**correlations(clean[:24]), "warned of above": CORRELATED}
    print(json.dumps(result, indent=1), flush=True)
    for name in asked.only.split(","):
        changes = {**BASE, "steps": asked.steps, "validate_every": max(1, asked.steps // 4)}
        kind = {"supervised": "gaussian"}.get(name, name)
        recipe = load_recipe("denoise-gaussian-fast", **changes, degradation=kind)
        sources = {
            "supervised": lambda recipe: Degraded(build_store(clean), recipe),
            "neighbours": lambda _: Noisy(build_store(shot(clean, 1))),
            "shots": lambda _: Given(
                build_store(
                    [
                        np.concatenate(two, 2)
                        for two in zip(shot(clean, 1), shot(clean, 2), strict=True)
                    ]
                ),
                swap=True,
            ),
        }
        result[name] = trained(name, recipe, sources[name](recipe), val)
        trial = Training(recipe)
        result["device"] = f"{device_name(trial.device)}, {precision_name(trial.dtype)}"
        print(json.dumps(result, indent=1), flush=True)
        if asked.json:
            asked.json.write_text(json.dumps(result, indent=1) + "\n")


def _there(path: Path | None) -> bool:
    return path is not None and path.is_file()


if __name__ == "__main__":
    main()
