"""Learning without clean pictures against learning with them: the same network, the same steps.

    python benchmarks/self_supervised.py --data TRAIN --val VAL [--json RESULT.json]
    python benchmarks/self_supervised.py --data TRAIN --val VAL --noise spread --steps 500 ...

The pictures of TRAIN get Gaussian noise of sigma 25, once, and are rounded to 8 bits, as a folder
of noisy files would hold them. One network of the recipe `denoise-gaussian-fast` learns from those
alone (Neighbor2Neighbor), one from two noisy shots of each (Noise2Noise), one from the clean
pictures with fresh noise in every step. All are scored on the clean pictures of VAL under sigma 25.

`--noise spread` does the same with noise that is spread over pixels: blurred by a Gaussian of one
pixel, and brought to sigma 25 again. There, learning from the noisy pictures alone is what
`--self-supervised` chooses by the autocorrelation (Recorrupted-to-Recorrupted), beside what it
would be if the noise were taken for independent.

Also measured: the autocorrelation that decides on the warning, for white noise, for demosaiced
noise, and for white noise through JPEG.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from restore.engine.device import device_name, precision_name
from restore.image.find import list_pictures
from restore.image.metrics import psnr
from restore.training.crops import build_store, load_store, store_of
from restore.training.degradations.camera import add_camera_noise, draw_cameras
from restore.training.degradations.pairs import Pair, ValidationSet
from restore.training.job import UNSUPERVISED
from restore.training.loop import Training, train
from restore.training.noise_model import autocorrelation, measure_noise
from restore.training.recipe import Recipe, load_recipe
from restore.training.self_supervised import CORRELATED
from restore.training.sources import Degraded, Given, GivenValidation, Noisy, Recorrupted, Source

SIGMA, SPREAD = 25.0, 1.0  # of 255; pixels
CHOICES = {
    "white": ("supervised", "neighbours", "shots"),
    "spread": ("supervised", "neighbours", "recorrupted"),
}
Pictures = list[np.ndarray]
SIDE = 512  # pixels of the middle of each picture that is used
BASE = {
    **UNSUPERVISED,
    "blocks": [2, 1, 1],  # 0.24 M parameters
    "batch": [8],
    "patch": [64],
    "stages": [0.0],
    "sigma": [SIGMA, SIGMA],
    "flat": 0.0,
    "grey": 0.0,
    "candidates": 1,
    "validate_sigma": [SIGMA],
}


def middles(folder: Path, most: int) -> Pictures:
    """The middle of each of so many pictures of a folder, as uint8 arrays."""
    files = list_pictures(folder)
    spread = files[:: max(1, len(files) // most)][:most]
    store, found = store_of([[file] for file in spread], 3, 256, folder), []
    for index in range(len(store)):
        picture = store.picture(index)
        top, left = (max(0, length - SIDE) // 2 for length in picture.shape[:2])
        found.append(picture[top : top + SIDE, left : left + SIDE].numpy().copy())
    return found


def shot(pictures: Pictures, seed: int, kind: str = "white") -> Pictures:
    """The pictures with noise of their own, as 8-bit files would hold them."""
    rng, noisy = np.random.default_rng(seed), []
    for picture in pictures:
        noise = rng.normal(0, 1, picture.shape)
        if kind == "spread":
            noise = gaussian_filter(noise, (SPREAD, SPREAD, 0))
        noise *= SIGMA / noise.std()
        noisy.append((picture + noise).round().clip(0, 255).astype(np.uint8))
    return noisy


def two(first: Pictures, second: Pictures) -> Pictures:
    """Pictures over each other, as `Given` takes them."""
    return [np.concatenate(each, 2) for each in zip(first, second, strict=True)]


def source_of(name: str, clean: Pictures, kind: str) -> Source:
    """What a network learns from."""
    noisy = shot(clean, 1, kind)
    if name == "neighbours":
        return Noisy(build_store(noisy))
    if name == "recorrupted":
        noise = measure_noise(noisy)
        assert noise is not None
        print(f"noise measured: {noise}", flush=True)
        return Recorrupted(build_store(noisy), noise)
    if name == "shots":
        return Given(build_store(two(noisy, shot(clean, 2, kind))), swap=True)
    if kind == "spread":
        return Given(build_store(two(noisy, clean)))
    return Degraded(build_store(clean), load_recipe("denoise-gaussian-fast", **BASE))


def validation_of(folder: Path, kind: str) -> Iterable[Pair]:
    """The middles of the clean pictures of a folder, and these with noise."""
    store = load_store(folder, 3, 256)
    if kind == "white":
        return ValidationSet(store, load_recipe("denoise-gaussian-fast", **BASE))
    clean = [store.picture(index).numpy() for index in range(len(store))]
    return GivenValidation(Given(build_store(two(shot(clean, 3, kind), clean))), 256, 4)


def trained(name: str, recipe: Recipe, source: Source, pairs: Iterable[Pair]) -> dict[str, object]:
    """Train, and score the averaged network."""
    training, started = Training(recipe), time.monotonic()
    for event in train(training, source, pairs):
        if event.psnr is not None or event.step % 100 == 0:
            print(f"{name} {event.step} loss {event.loss:.5f} {event.psnr}", flush=True)
    return {
        "psnr": round(training.best or 0.0, 3),
        "steps": training.step,
        "minutes": round((time.monotonic() - started) / 60, 1),
    }


def score_of_given(pairs: Iterable[Pair]) -> float:
    """The mean PSNR of the pictures as they are."""
    scores = [
        psnr(noisy.numpy(), clean.numpy(), data_range=1)
        for pair in pairs
        for clean, noisy in zip(pair.clean, pair.degraded, strict=True)
    ]
    return round(float(np.mean(scores)), 3)


def correlations(clean: Pictures) -> dict[str, float]:
    """The autocorrelation for noise of several kinds."""
    generator = torch.Generator().manual_seed(0)

    def camera(picture: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1).unsqueeze(0)
        noisy = add_camera_noise(x, draw_cameras(1, generator), generator)
        return 255 * noisy[0].permute(1, 2, 0).numpy()

    def packed(picture: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=85)
        return np.asarray(Image.open(buffer))

    noisy = shot(clean, 1)
    kinds = {
        "white noise, sigma 25": noisy,
        "spread noise, sigma 25": shot(clean, 1, "spread"),
        "demosaiced camera noise": [camera(p) for p in clean],
        "white noise through JPEG of quality 85": [packed(p) for p in noisy],
    }
    return {kind: round(autocorrelation(pictures), 3) for kind, pictures in kinds.items()}


def main() -> None:
    """Train what is asked for, print, and store where a file is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--noise", choices=CHOICES, default="white")
    parser.add_argument("--only", help="some of the ways to learn, with commas between")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    clean, pairs = middles(asked.data, asked.pictures), validation_of(asked.val, asked.noise)
    result: dict[str, Any] = json.loads(asked.json.read_text()) if _there(asked.json) else {}
    result["correlations"] = {
        **correlations(clean[:24]),
        "above it the noise is spread": CORRELATED,
    }
    part = result
    if asked.noise == "spread":
        part = result.setdefault("spread", {})
        part["noisy"] = score_of_given(pairs)
    for name in asked.only.split(",") if asked.only else CHOICES[asked.noise]:
        changes = {**BASE, "steps": asked.steps, "validate_every": max(1, asked.steps // 4)}
        supervised = "gaussian" if asked.noise == "white" else "pairs"
        kind = supervised if name == "supervised" else name
        recipe = load_recipe("denoise-gaussian-fast", **changes, degradation=kind)
        part[name] = trained(name, recipe, source_of(name, clean, asked.noise), pairs)
        trial = Training(recipe)
        result["device"] = f"{device_name(trial.device)}, {precision_name(trial.dtype)}"
        print(json.dumps(result, indent=1), flush=True)
        if asked.json:
            asked.json.write_text(json.dumps(result, indent=1) + "\n")


def _there(path: Path | None) -> bool:
    return path is not None and path.is_file()


if __name__ == "__main__":
    main()
